"""A server in processes of its own on one processor; whoever asks it has another.

Servers start together and are asked in turn. One whose turn it is not is stopped (SIGSTOP), with all its processes, so
that its timers and its other threads take nothing from the one that is measured.
"""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

PATIENCE_S = 60.0
ANSWER_S = 30.0
LOG_LINES = 25


def processors() -> tuple[set[int], set[int]]:
    """One for the server, and one for whoever asks it.

    Raises:
        SystemExit: There are no two.
    """
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("The server and the load need a processor each; this needs Linux with two.")
    first, second, *_ = sorted(os.sched_getaffinity(0))
    return {first}, {second}


@contextlib.contextmanager
def running_on(these: set[int]) -> Iterator[None]:
    """What is started in the ``with`` block runs on these processors, and so do its children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, these)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Server:
    """A server while the ``with`` block runs.

    Args:
        name: For messages.
        command: What starts it.
        environment: All its variables.
        url: Where it is asked.
        folder: Where it runs; what it writes to standard error stays there.
        on: The processor of all its processes.
        out: The file that its standard output goes to; left out, a pipe to a process that reads it.
        reader_on: The processor of that process.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        environment: Mapping[str, str],
        *,
        url: str,
        folder: Path,
        on: set[int],
        out: Path | None,
        reader_on: set[int] | None = None,
    ) -> None:
        self.name, self.url = name, url
        self._command, self._environment, self._folder = command, dict(environment), folder
        self._on, self._out, self._reader_on = on, out, reader_on
        self._errors = folder / "errors.log"

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            errors = stack.enter_context(self._errors.open("w"))
            out: Any = subprocess.PIPE if self._out is None else stack.enter_context(self._out.open("w"))
            with running_on(self._on):
                self._process = subprocess.Popen(
                    self._command, env=self._environment, cwd=self._folder, stdout=out, stderr=errors
                )
        self._reader = None
        if self._process.stdout is not None:
            with running_on(self._reader_on or self._on), Path(os.devnull).open("w") as nowhere:
                self._reader = subprocess.Popen(["cat"], stdin=self._process.stdout, stdout=nowhere)
            self._process.stdout.close()
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(descendants(self._process.pid)):
            _signal(process, signal.SIGKILL)
        self._process.wait()
        if self._reader is not None:
            self._reader.wait()

    @property
    def process_id(self) -> int:
        """Of the process that was started; what it starts has others."""
        return self._process.pid

    def answer(self, body: bytes) -> bytes:
        """Its answer to a request, as soon as it gives one.

        Raises:
            SystemExit: It ended, or did not answer in time.
        """
        ends, said = time.monotonic() + PATIENCE_S, "nothing yet"
        while self._process.poll() is None and time.monotonic() < ends:
            try:
                status, answer = post(self.url, body)
            except OSError as error:
                said = repr(error)
            else:
                if status == 200:
                    return answer
                said = f"{status} {answer[:500]!r}"
            time.sleep(0.2)
        told = "\n".join(self._errors.read_text(errors="replace").splitlines()[-LOG_LINES:])
        raise SystemExit(f"{self.name} did not answer: {said}\n{told}")

    def pause(self) -> None:
        """Stop all its processes where they are."""
        for process in descendants(self._process.pid):
            _signal(process, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        for process in descendants(self._process.pid):
            _signal(process, signal.SIGCONT)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def post(url: str, body: bytes) -> tuple[int, bytes]:
    """Send JSON; the status and the body of the answer.

    Raises:
        OSError: Nobody answers.
    """
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - our own
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310 - as above
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def descendants(process: int) -> list[int]:
    """A process, its children and theirs, parents first; they may be in process groups of their own."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(place.name))
    found = [process]
    for one in found:  # grows while it is read
        found += children.get(one, [])
    return found


def resident_mb(process: int) -> float:
    """Memory that a process has in use, in MB (1,048,576 bytes)."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1_048_576


def _signal(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)
