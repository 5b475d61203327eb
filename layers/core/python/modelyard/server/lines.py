"""`Lines`: standard output of a server, which goes on answering when nobody takes its lines.

Whoever reads the lines may be gone, may have stopped reading, or may have a disk that is full. Then a write fails, or
waits for ever, and with it the event loop. So a line waits for a moment, the first time; while that goes on lines are
dropped and counted, and the next one that gets through is preceded by one that says how many are missing.
"""

import contextlib
import os
import select
import stat
import threading
import time

from modelyard.serving.audit import utc
from modelyard.serving.json_text import json_text

WAIT_S = 1.0
"""Longest wait for a reader that has stopped reading."""

SLICE = 4096
"""Bytes that a pipe takes at once when it takes any (``PIPE_BUF``)."""


class Lines:
    """Has what `modelyard.serving.audit` and ``print`` need of a text file. Safe to use from several threads at once.

    Args:
        file: Descriptor that lines are written to.
    """

    encoding = "utf-8"

    def __init__(self, file: int) -> None:
        mode = os.fstat(file).st_mode
        # A file never has a write wait for a reader, and neither does a pipe that was opened so.
        self._may_wait = not stat.S_ISREG(mode)
        if stat.S_ISFIFO(mode):
            with contextlib.suppress(OSError):  # another user's; then two workers that write at once may have to wait
                file = os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_NONBLOCK)
                self._may_wait = False
        self._file = file
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(file, select.POLLOUT)
        self._lost = 0

    def write(self, text: str) -> int:
        """Write lines, or drop them. Raises nothing but what encoding them does."""
        content = text.encode()
        with self._lock:
            if self._lost:
                content = self._loss() + content
            if self._written(content):
                self._lost = 0
            else:
                self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def fileno(self) -> int:
        """The descriptor."""
        return self._file

    def isatty(self) -> bool:
        """Whether a person reads along."""
        return os.isatty(self._file)

    def _written(self, content: bytes) -> bool:
        wait_ms = 0 if self._lost else WAIT_S * 1000
        try:
            if len(content) <= SLICE:
                if not self._may_wait:
                    with contextlib.suppress(BlockingIOError):
                        return os.write(self._file, content) == len(content)
                return bool(self._poll.poll(wait_ms)) and os.write(self._file, content) == len(content)
            rest = memoryview(content)
            while rest:  # in parts, so that each one is taken at once
                if not self._poll.poll(wait_ms):
                    return False
                rest = rest[os.write(self._file, rest[:SLICE]) :]
                wait_ms = WAIT_S * 1000
        except OSError:  # closed, or full
            return False
        return True

    def _loss(self) -> bytes:
        line = {"kind": "event", "time": utc(time.time_ns()), "level": "error", "event": "lines_lost",
                "lines": self._lost}  # fmt: skip
        return f"\n{json_text(line)}\n".encode()
