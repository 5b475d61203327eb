"""What a person sees while layers are built: moving bars on a terminal, plain lines elsewhere.

A build in which nothing changed says one line, because ``cdk`` runs it before every synth.
"""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from modelyard.packaging.fit import megabytes
from modelyard.packaging.manifest import LayerManifest

STAGES = ("install", "prune", "compile", "zip")
REMARKS = ("Warning: ", "Note: ")
"""How the lines begin that a person should read although the build went on."""


class BuildProgress:
    """Follows one build; its methods may be called from several threads.

    Args:
        console: Where to write.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, float] = {}
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[stage]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, target: str, layer: str, stage: str) -> None:
        """A layer has reached one of ``STAGES``."""
        title = f"{target} {layer}"
        if title not in self._tasks:
            self._begun[title] = time.monotonic()
            self._tasks[title] = self._progress.add_task(title, total=len(STAGES), stage=stage)
        self._progress.update(self._tasks[title], completed=STAGES.index(stage), stage=stage)

    def built(self, layer: LayerManifest) -> None:
        """A layer is finished."""
        title = f"{layer.target} {layer.name}"
        task = self._tasks.get(title)
        if task is not None:
            self._progress.remove_task(task)
        seconds = time.monotonic() - self._begun.get(title, time.monotonic())
        self._say(
            f"{title}: {megabytes(layer.unzipped_bytes)} unzipped, {megabytes(layer.zip_bytes)} zipped, {seconds:.1f} s"
        )

    def waiting(self) -> None:
        """Another build holds the lock."""
        self._say("Another build is running in this project; waiting for it to end.")

    def without_bytecode(self, python: str) -> None:
        """No interpreter of that version was found."""
        self._say(
            f"Warning: no Python {python} on this machine, so layers and functions for it go without bytecode: every "
            f"cold start takes about twice as long. Run 'uv python install {python}', then 'modelyard build'."
        )

    def without_native(self, machine: str, problem: str) -> None:
        """Nothing of ours was compiled."""
        self._say(
            f"Note: {problem}, so layers for {machine} go without our kernel for forests and our reader of large "
            "requests, which then take longer. Install gcc, or 'pip install ziglang' for every platform, then "
            "'modelyard build'."
        )

    def finished(self, built: int, kept: int) -> None:
        """The whole build is done."""
        seconds = time.monotonic() - self._started
        self._say(f"Layers and functions: {built} built, {kept} up to date, in {seconds:.1f} s.")

    def show(self, lines: Iterable[str]) -> None:
        """Something that is several lines long."""
        for line in lines:
            self._say(line)

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)
