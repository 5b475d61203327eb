"""Runs the programs of the install and compile stages so that an interrupted build ends at once.

Ctrl-C in a terminal reaches every process of the foreground group, and a compiler that is interrupted half-way exits
like one that met a bad file. So a program runs in a session of its own, and this module ends it.
"""

import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_S = 0.1

Checkpoint = Callable[[], None]
"""Called again and again during long work; whatever it raises ends the work."""


def unchecked() -> None:
    """A checkpoint that never ends anything."""


@dataclass(frozen=True)
class Outcome:
    """How a program ended: its exit status (negative: by that signal) and all that it wrote."""

    status: int
    output: str


def run_program(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    folder: Path,
    deadline_s: float,
    given: str = "",
    checkpoint: Checkpoint = unchecked,
) -> Outcome:
    """Run a program to its end; end it early when ``checkpoint`` raises.

    Args:
        command: The program and its arguments; no shell.
        env: Its whole environment.
        folder: Where it runs.
        deadline_s: Longest time it may take.
        given: What it reads on its standard input.
        checkpoint: Called every tenth of a second.

    Raises:
        TimeoutError: When the deadline passes; the program is ended.
    """
    ends = time.monotonic() + deadline_s
    # A file and no pipe: communicate() sends nothing more after its first timeout, and the program would wait for ever.
    with tempfile.TemporaryFile() as read:
        read.write(given.encode())
        read.seek(0)
        with subprocess.Popen(  # noqa: S603 - callers give uv's binary or an interpreter that was checked
            command,
            env=dict(env),
            cwd=folder,
            stdin=read,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as program:
            try:
                while True:
                    try:
                        output, _ = program.communicate(timeout=_LOOK_S)
                    except subprocess.TimeoutExpired:
                        checkpoint()
                        if time.monotonic() > ends:
                            raise TimeoutError(f"not done after {deadline_s:.0f} s") from None
                    else:
                        return Outcome(program.returncode, output)
            except BaseException:
                program.kill()
                raise
