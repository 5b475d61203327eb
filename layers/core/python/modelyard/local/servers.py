"""`LocalServers`: the models on SageMaker, on this machine: one supervised process beside the local AWS.

It holds no state: what it serves is in a file, and where that has changed it is ended, which drains it, and started
anew. It listens on 127.0.0.1 only (`modelyard.local.sagemaker`).
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from modelyard.errors import LocalError
from modelyard.local.processes import has_ended, is_process, kill_group, port_taken

HOST = "127.0.0.1"
MODULE = "modelyard.local.sagemaker"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 40.0

Start = Literal["running", "started", "restarted"]


class LocalServers:
    """The process of one project.

    Args:
        home: Folder for its file, log and record; made when needed.
        port: Port on 127.0.0.1.
    """

    def __init__(self, *, home: Path, port: int) -> None:
        self.home, self.port = home, port
        self.log, self._file, self._record = home / "servers.log", home / "endpoints.json", home / "process.json"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where clients of SageMaker's runtime connect."""
        return f"http://{HOST}:{self.port}"

    def start(self, endpoints: Mapping[str, Any], environment: Mapping[str, str]) -> Start:
        """Have the process serve these endpoints and no others.

        Args:
            endpoints: By name, as `modelyard.local.sagemaker` reads them.
            environment: Where the local AWS is, and as whom to ask it.

        Raises:
            LocalError: When the port is taken, or the process does not come up.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        wanted = json.dumps({"port": self.port, "endpoints": endpoints}, indent=1, sort_keys=True)
        there = self._file.read_text() if self._file.exists() else None
        if there == wanted and self.is_running() and not self._is_older_than_its_code():
            return "running"
        found: Start = "restarted" if self.stop() else "started"
        if self._answers():
            raise port_taken(HOST, self.port, "sagemaker_port")
        self._file.write_text(wanted)
        self._file.chmod(0o600)
        self._spawn(environment)
        return found

    def stop(self) -> bool:
        """End the process when it has answered what it was asked; False when it was not running."""
        pid = self._pid()
        if pid is None or not is_process(pid, MODULE):
            self._record.unlink(missing_ok=True)
            return False
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline and not self._has_ended(pid):
            time.sleep(0.05)
        if not self._has_ended(pid):
            kill_group(pid)
        self._record.unlink(missing_ok=True)
        return True

    def is_running(self) -> bool:
        """Whether the process is alive and answers."""
        pid = self._pid()
        return pid is not None and is_process(pid, MODULE) and self._answers()

    def _spawn(self, environment: Mapping[str, str]) -> None:
        kept = {
            name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH", "TMPDIR") if name in os.environ
        }
        path = os.pathsep.join(filter(None, (environment.get("PYTHONPATH"), kept.get("PYTHONPATH"))))
        with self.log.open("ab") as log:
            child = self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                [sys.executable, "-m", MODULE, str(self._file)],
                env={**kept, **environment, **({"PYTHONPATH": path} if path else {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal that started it is not for it
                cwd=self.home,
            )
        self._record.write_text(json.dumps({"pid": child.pid}))
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and child.poll() is None:
            if self._answers():
                return
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.wait()
        self._record.unlink(missing_ok=True)
        tail = self.log.read_text(errors="replace").splitlines()[-5:]
        raise LocalError(
            "the server of models on SageMaker did not come up; the last lines of its log are:\n  " + "\n  ".join(tail),
            next_step=f"Look at {self.log}.",
        )

    def _is_older_than_its_code(self) -> bool:
        """Whether the library has changed since it was started."""
        library = Path(__file__).parents[1]
        newest = max(file.stat().st_mtime for file in library.rglob("*.py"))
        return self._record.exists() and self._record.stat().st_mtime < newest

    def _has_ended(self, pid: int) -> bool:
        return has_ended(pid, MODULE, self._child)

    def _answers(self) -> bool:
        """Whether anything does: a refused request is an answer too."""
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((HOST, self.port)) != 0:
                return False
        try:
            with urllib.request.urlopen(f"{self.endpoint}/ping", timeout=5):  # noqa: S310 - our own address
                return True
        except urllib.error.HTTPError:
            return True
        except (OSError, urllib.error.URLError):
            return False

    def _pid(self) -> int | None:
        try:
            return int(json.loads(self._record.read_text())["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
