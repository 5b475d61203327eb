"""How the command line shows things: two consoles, tables, steps that take a while."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

out = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def print_json(document: Any) -> None:
    """One JSON document on stdout, for programs."""
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on stdout whose last column is long and stands below its row.

    So a URL stays in one piece, to be clicked or copied, and a reason reads as a sentence, also where the terminal is
    narrow. Values are shown as they are, not as markup.

    Args:
        title: Above the table.
        columns: Headings of all columns but the last, which has none.
        rows: As many values as columns, and one more; None is empty.
    """
    shown = [["" if value is None else str(value) for value in row] for row in rows]
    widths = [max(len(cell) for cell in cells) for cells in zip(columns, *[row[:-1] for row in shown], strict=True)]
    out.print(f"[bold]{escape(title)}[/]")
    out.print(f"[dim]{escape(_aligned(columns, widths))}[/]", soft_wrap=True)
    for *cells, long in shown:
        out.print(escape(_aligned(cells, widths)), soft_wrap=True)
        if long:
            out.print(f"  [dim]{escape(long)}[/]", soft_wrap=True)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def who(actor: str) -> str:
    """An IAM identity in one or two words: the user, or what kind of function it was."""
    name = actor.rsplit("/", 1)[-1]
    for mark, kind in (("-Retraini", "retraining"), ("-Rollout-", "rollout")):
        if ":assumed-role/" in actor and mark in name:
            return kind
    return name


def moment(stamp: str) -> str:
    """A stored UTC time, to the second."""
    return f"{stamp[:10]} {stamp[11:19]}"


class Step:
    """A long step: a spinner with what it is doing right now, then one line with its outcome and seconds.

    The line begins with a check mark, or with a cross after an error or where ``is_failed`` says so. Without a terminal
    only the line is printed, so that logs stay readable.

    Example:
        >>> with Step("Deploy") as step:
        ...     step.doing("bucket")
        ...     step.outcome = "5 stacks"
    """

    def __init__(self, title: str) -> None:
        self.title, self.outcome, self.is_failed = title, "", False
        self._status = errors.status(f"{title} …") if errors.is_terminal else None
        self._began = time.monotonic()

    def doing(self, what: str) -> None:
        """Show what the step is doing right now."""
        if self._status is not None:
            self._status.update(f"{self.title} … [dim]{escape(what[:100])}[/]")

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._status is not None:
            self._status.stop()
        if kind is not None:
            errors.print(f"[red]✗[/] {self.title}")
            return
        seconds = time.monotonic() - self._began
        outcome = f"  {escape(self.outcome)}" if self.outcome else ""
        mark = "[red]✗[/]" if self.is_failed else "[green]✓[/]"
        errors.print(f"{mark} {self.title:<28}{seconds:6.1f} s{outcome}", soft_wrap=True)


@contextmanager
def upload_progress(name: str, size: int) -> Iterator[Callable[[int], None]]:
    """A bar for an upload of ``size`` bytes, where there is a terminal; to be called with the bytes sent since.

    It appears with the first bytes: what comes before them may show something of its own, or send none.
    """
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        console=errors, transient=True, disable=not errors.is_terminal,
    )  # fmt: skip
    task = progress.add_task(f"upload {escape(name)}", total=size)

    def show(sent: int) -> None:
        progress.start()
        progress.update(task, advance=sent)

    try:
        yield show
    finally:
        progress.stop()
