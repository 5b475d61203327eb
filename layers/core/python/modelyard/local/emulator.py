"""The local AWS as one supervised process, and its state as folders that survive it.

MiniStack writes what it holds when it is asked to end, and only then; a process that was killed leaves folders that
no longer agree with each other. So a clean end is followed by a copy of the state (``saved``), a process that is gone
without a clean end is recognised by its record, and the next start goes back to the copy, or to nothing. Everything
binds to 127.0.0.1, with IAM enforced.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelyard.errors import LocalError
from modelyard.local.processes import has_ended, is_process, kill_group, port_taken
from modelyard.local.streams import rewind

HOST = "127.0.0.1"
MODULE = "ministack"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
SAVED = b"Persistence: saved"
SAVED_S = 10.0
"""It logs each service that it has saved, one straight after the other; silence of so long means that it is done.
Only while it writes a file may it take longer: the code of all functions is one of hundreds of megabytes."""
ROOT_ACCESS_KEY = "test"
ROOT_SECRET_KEY = "test"  # noqa: S105 - MiniStack's fixed root credentials; they open nothing but the local AWS

Start = Literal["running", "started", "restored", "fresh", "rebuilt"]
"""What a start found: already running; a clean state; the copy after a kill; no state; a state that was no use."""


@dataclass(frozen=True)
class Process:
    """The record of a started emulator."""

    pid: int
    port: int


class LocalAws:
    """MiniStack on one port, with its state in one folder.

    Args:
        home: Folder for state, logs and the process record; made when needed.
        port: Port on 127.0.0.1.
        python: Interpreter of the environment that holds MiniStack and boto3 and nothing else.
    """

    def __init__(self, *, home: Path, port: int, python: Path) -> None:
        self.home, self.port, self.python = home, port, python
        self.state, self.saved, self.temporary = home / "state", home / "saved", home / "tmp"
        self.log, self._record = home / "emulator.log", home / "process.json"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where AWS clients connect."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> Start:
        """Start the emulator, or find it running; return what it found.

        Raises:
            LocalError: When the port is taken, the emulator is not installed, or it does not come up.
        """
        with self._exclusively():
            if self.is_running():
                return "running"
            outcome = self._recover()
            if self._port_is_taken():
                raise port_taken(HOST, self.port, "port")
            self._spawn()
            return outcome

    def stop(self) -> bool:
        """End the emulator with its state saved; False when it was not running.

        Raises:
            LocalError: When it does not end; its state is then what the last clean end saved.
        """
        with self._exclusively():
            process = self._process()
            if process is None or not _is_emulator(process.pid):
                return False
            logged = self.log.stat().st_size if self.log.exists() else 0
            os.kill(process.pid, signal.SIGTERM)
            if not self._wait_for_end(process.pid, STOP_TIMEOUT_S, logged=logged):
                kill_group(process.pid)
                raise LocalError(
                    f"the local AWS (process {process.pid}) did not end within {STOP_TIMEOUT_S:.0f} s and was killed",
                    next_step="Run 'make up': it goes back to the last saved state.",
                )
            self._record.unlink(missing_ok=True)  # the end was clean: the state may be trusted, copied yet or not
            self._save()
            shutil.rmtree(self.temporary, ignore_errors=True)
            return True

    def forget(self) -> None:
        """Stop without saving and delete everything that the local AWS holds."""
        with self._exclusively():
            process = self._process()
            if process is not None and _is_emulator(process.pid):
                kill_group(process.pid)
                self._wait_for_end(process.pid, 10)
            for path in (self.state, self.saved, self.temporary):
                shutil.rmtree(path, ignore_errors=True)
            self._record.unlink(missing_ok=True)

    def is_running(self) -> bool:
        """Whether the emulator that this folder belongs to is alive and answers."""
        process = self._process()
        return process is not None and _is_emulator(process.pid) and self._answers()

    def _recover(self) -> Start:
        """Make the state folder one that a start may trust."""
        process = self._process()
        if process is None:
            return "started" if self.state.exists() else "fresh"
        if _is_emulator(process.pid) and process.port not in (0, self.port):
            raise LocalError(
                f"the local AWS of this folder is running on port {process.port}, not on {self.port}",
                code="other_port",
                next_step="Run 'make down' first, or give the second one a folder of its own with MODELYARD_HOME.",
            )
        # There is a record, so the last end was not clean.
        if _is_emulator(process.pid):
            kill_group(process.pid)  # ours, alive, and not answering
        self._wait_for_end(process.pid, 10)
        self._record.unlink(missing_ok=True)
        shutil.rmtree(self.temporary, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)
        if self.saved.exists():
            shutil.copytree(self.saved, self.state)
            return "restored"
        return "rebuilt"

    def _save(self) -> None:
        replacement = self.home / "saved.new"
        shutil.rmtree(replacement, ignore_errors=True)
        if self.state.exists():
            shutil.copytree(self.state, replacement)
            shutil.rmtree(self.saved, ignore_errors=True)
            replacement.rename(self.saved)

    def _spawn(self) -> None:
        if not self.python.exists():
            raise LocalError(f"the local AWS is not installed: {self.python} is missing", next_step="Run 'make setup'.")
        self.state.mkdir(exist_ok=True)
        rewind(self.state / "services")
        self.temporary.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            child = self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                [str(self.python), "-m", MODULE],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal that started it must not end it unsaved
                cwd=self.home,
            )
        self._record.write_text(json.dumps({"pid": child.pid, "port": self.port}))
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if child.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.05)
        child.kill()
        child.wait()
        tail = self.log.read_text(errors="replace").splitlines()[-5:]
        raise LocalError(
            "the local AWS did not come up; the last lines of its log are:\n  " + "\n  ".join(tail),
            next_step=f"Look at {self.log}; 'make clean' forgets its state.",
        )

    def _wait_for_end(self, pid: int, timeout_s: float, *, logged: int | None = None) -> bool:
        """Whether it ended; where ``logged`` is given, with its state saved.

        It saves first, and then waits for the threads of its workflows; one of those may wait for a person's answer
        for minutes. So it is killed once all is saved. ``logged`` is the length of its log before it was told to end.
        """
        deadline = time.monotonic() + timeout_s
        saved, since = 0, time.monotonic()
        while time.monotonic() < deadline:
            if self._has_ended(pid):
                return True
            found = 0 if logged is None else self._saved_since(logged)
            if found != saved or self._writes():
                saved, since = found, time.monotonic()
            elif saved and time.monotonic() - since > SAVED_S:
                kill_group(pid)
                saved = 0  # it is gone in a moment
            time.sleep(0.05)
        return False

    def _has_ended(self, pid: int) -> bool:
        return has_ended(pid, MODULE, self._child)

    def _saved_since(self, logged: int) -> int:
        """How many services it has said to have saved since its log had that length."""
        if not self.log.exists():
            return 0
        with self.log.open("rb") as log:
            log.seek(logged)
            return log.read().count(SAVED)

    def _writes(self) -> bool:
        """Whether a part of its state is being written: to a file of another name, which then takes the old one's."""
        return next((self.state / "services").glob("*.tmp"), None) is not None

    def _environment(self) -> dict[str, str]:
        """Only what is named here: functions run as children and must not see the caller's shell."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {
            **kept,
            "TMPDIR": str(self.temporary),
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": HOST,
            "AUTH": "true",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.state / "services"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.state / "s3"),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_WARM_TTL_SECONDS": "600",
            "LOG_LEVEL": "INFO",
        }

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=2) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _port_is_taken(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, self.port)) == 0

    def _process(self) -> Process | None:
        try:
            record = json.loads(self._record.read_text())
            return Process(pid=int(record["pid"]), port=int(record["port"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return Process(pid=0, port=0)  # cut off while it was written: an end that was not clean

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        """One start or stop at a time, across terminals."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _is_emulator(pid: int) -> bool:
    return is_process(pid, MODULE)
