"""`Process`: a version that answers in a child process. Whatever it does there, the parent gets a word on it.

A run of the engine that takes too long is ended in its place and is an answer (``run_timeout``). What does not end by
that, as a loop in a model's own code, is ended with its process; so is one that ended itself. The next request gets a
new process.
"""

import signal
import socket
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import IO, Self

import msgspec

from modelyard.confined import confined_environment
from modelyard.errors import LocalError
from modelyard.replay.channel import BrokenChannelError, Channel
from modelyard.replay.subject import Answered, Failure, Loaded, Subject

LOAD_S = 60.0
"""For a start: the imports, and the session."""

CRASHED, STUCK, OUT_OF_MEMORY = "crashed", "run_timeout", "memory_budget"
"""Codes of a process that is gone. What each says of the version, `modelyard.rollout.answers.CODES` knows."""

_MOST_SAID = 65_536


class Lost(msgspec.Struct, frozen=True):
    """There is no answer, because the process is gone."""

    failure: Failure


class Process:
    """A version in a process of its own, to be used in a ``with``.

    Args:
        subject: The version.
        deadline_s: For one request, with reading it and a model's own code.
        load_s: For a start.
    """

    def __init__(self, subject: Subject, *, deadline_s: float, load_s: float = LOAD_S) -> None:
        self._subject = subject
        self._deadline_s = deadline_s
        self._load_s = load_s
        self._child: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        # In append mode: it can be emptied while the child writes.
        self._said: IO[bytes] = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed with this
        self._folder = tempfile.TemporaryDirectory(prefix="modelyard-replay-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._said.close()
        self._folder.cleanup()

    def start(self) -> Loaded:
        """Load the version in a new process.

        Raises:
            LocalError: When this machine starts none.
        """
        self._end()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._child = subprocess.Popen(  # noqa: S603 - our own module; the model goes in over the socket
                    [sys.executable, "-m", "modelyard.replay.child", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._said,
                    pass_fds=(theirs.fileno(),),
                    cwd=self._folder.name,
                    env=confined_environment(),
                )
            except OSError as failed:
                ours.close()
                raise LocalError(f"no process could be started to answer in: {failed}") from failed
        self._channel = channel = Channel(ours)
        try:
            channel.send(msgspec.json.encode(self._subject), within_s=self._load_s)
            return msgspec.json.decode(channel.receive(within_s=self._load_s), type=Loaded)
        except TimeoutError:
            self._end()
            return Loaded(failed=Failure("not_loadable", f"it did not load within {self._load_s:g} s"))
        except (BrokenChannelError, msgspec.DecodeError):
            return Loaded(failed=Failure("not_loadable", f"it ended the process that loads it: {self._how_it_ended()}"))

    def ask(self, body: bytes) -> Answered | Lost:
        """Have it answer one request.

        Args:
            body: As a caller sends it.
        """
        if self._child is None:
            loaded = self.start()
            if loaded.failed is not None:
                return Lost(loaded.failed)
        assert self._channel is not None  # noqa: S101 - `start` made it
        try:
            self._channel.send(body, within_s=self._deadline_s)
            answer = msgspec.json.decode(self._channel.receive(within_s=self._deadline_s), type=Answered)
        except TimeoutError:
            self._end()
            return Lost(Failure(STUCK, f"it did not answer within {self._deadline_s:g} s and its process was ended"))
        except (BrokenChannelError, msgspec.DecodeError):
            return self._lost()
        if self._said.seek(0, 2) > _MOST_SAID:
            self._said.truncate(0)
        return answer

    def _lost(self) -> Lost:
        how = self._how_it_ended()
        killed = how.startswith(signal.SIGKILL.name)
        return Lost(Failure(OUT_OF_MEMORY if killed else CRASHED, f"it ended the process that it answers in: {how}"))

    def _how_it_ended(self) -> str:
        """Wait for the child's end; how it came, and what it said last."""
        child = self._child
        assert child is not None  # noqa: S101 - only asked of a child
        try:
            status = child.wait(1.0)
        except subprocess.TimeoutExpired:  # it closed the socket and lives on
            status = 0
        how = f"exit status {status}"
        if status < 0:
            how = signal.Signals(-status).name + (
                ", as the system does for memory" if -status == signal.SIGKILL else ""
            )
        self._end()
        self._said.seek(max(0, self._said.seek(0, 2) - 500))
        last = self._said.read().decode("utf-8", "replace").strip().splitlines()[-1:]
        return f"{how} ({last[0][:200]})" if last else how

    def _end(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._child is not None:
            self._child.kill()  # by its own id; does nothing when it has ended
            self._child.wait()
        self._child = self._channel = None
