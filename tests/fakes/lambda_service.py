"""One execution environment of a Lambda function: its process under `awslambdaric`, and when it may run.

What is Lambda's and is kept here, with the times that count:

- INIT ends when the runtime and every registered extension have asked for their next event.
- The caller has the answer when the runtime has posted it; the invocation goes on until everybody asks for the next.
- Then the environment is frozen (SIGSTOP) until the next invocation (SIGCONT).
- The function's timeout holds for the whole invocation, extensions included. What is late is reset: shut down, and
  started anew by the next invocation.
- Shutdown: SIGTERM, and SIGKILL after 500 ms, where an internal extension is registered; else SIGKILL at once.
- SnapStart: INIT ends in a snapshot; here the process stands still in its place, and is restored once.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.fakes.runtime_api import CREDENTIALS, Invocation, RuntimeApi

PROJECT = Path(__file__).parents[2]
SHUTDOWN_S = 0.5
TICK_S = 0.01  # the shutdown's time is counted in these: a machine that stands still takes nothing from it
INIT_S = 30.0  # Lambda gives 10; the machine that runs the tests may be slow


class InitFailed(Exception):  # noqa: N818 - what Lambda calls it
    """The process ended, or reported an error, before it asked for its first event."""


class LambdaService:
    """Runs one function, from its first invocation or `start` until `close`.

    Args:
        handler: ``module.function``, as in the function's configuration.
        environment: The function's own variables; Lambda's are added.
        timeout_s: The function's timeout.
        snap_start: Whether the function is a published version with SnapStart.
        credentials: What the container credential endpoint hands out, under SnapStart.
        python_version: What ``AWS_EXECUTION_ENV`` names; it changes how the runtime client waits and encodes.

    Attributes:
        starts: How often a process was started.
        init_s: How long the last INIT took.
        killed: Whether the last process had to be killed.
        refuse_extensions: Whether this Lambda has no Extensions API, as some stand-ins of Lambda.
    """

    def __init__(
        self,
        handler: str,
        *,
        environment: Mapping[str, str],
        timeout_s: float = 3.0,
        snap_start: bool = False,
        credentials: dict[str, str] | None = None,
        python_version: str = "3.13",
    ) -> None:
        self.handler = handler
        self.environment = dict(environment)
        self.timeout_s = timeout_s
        self.snap_start = snap_start
        self.credentials = credentials
        self.python_version = python_version
        self.starts = 0
        self.init_s = 0.0
        self.killed = False
        self.frozen = False
        self.refuse_extensions = False
        self.api = RuntimeApi()
        self.process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._watcher: threading.Thread | None = None

    # -- the life of the environment ----------------------------------------------------------------------------------

    def start(self) -> None:
        """INIT: until everybody waits for the first event, or for the restore of the snapshot.

        Raises:
            InitFailed: With what was reported.
        """
        self.api.close()
        self.api = RuntimeApi(snap_start=self.snap_start, credentials=self.credentials)
        self.api.registration_open = not self.refuse_extensions
        self.starts += 1
        began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", self.handler],
            env=self._variables(),
            cwd=PROJECT,
            stdout=self._log,
            stderr=self._log,
        )
        api = self.api
        self._wait(lambda: api.ready_to_snapshot if self.snap_start else api.all_waiting(), "INIT")
        if self.snap_start:
            self._wait(lambda: all(extension.waiting for extension in api.extensions.values()), "INIT")
        self.init_s = time.monotonic() - began
        self.freeze()

    def restore(self) -> None:
        """Resume from the snapshot, until everybody waits for the first event."""
        self.thaw()
        with self.api.changed:
            self.api.restored = True
            self.api.changed.notify_all()
        self._wait(self.api.all_waiting, "RESTORE")
        self.freeze()

    def invoke(self, event: Any, *, timeout_s: float | None = None) -> Invocation:
        """Invoke the function and return as soon as the caller has an answer; `settle` waits for the rest."""
        self.settle()
        if self.process is None:
            self.start()
        invocation = Invocation(event, timeout_s=timeout_s or self.timeout_s)
        self.thaw()
        self.api.hand_out(invocation)
        self._watcher = threading.Thread(target=self._watch, args=(invocation,), daemon=True)
        self._watcher.start()
        with self.api.changed:
            self.api.changed.wait_for(lambda: invocation.answered is not None)
        return invocation

    def settle(self) -> None:
        """Wait until the environment is frozen, or gone."""
        if self._watcher is not None:
            self._watcher.join()
            self._watcher = None

    def shutdown(self) -> None:
        """End the environment as Lambda does when it no longer needs it."""
        self.settle()
        if self.process is not None:
            self._end(self.process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        self.thaw()
        self.killed = True
        if self.api.extensions:
            process.send_signal(signal.SIGTERM)
            for _ in range(round(SHUTDOWN_S / TICK_S)):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(TICK_S)
                    self.killed = False
                    break
        if self.killed:
            process.kill()
        process.wait()
        self.process = None

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.frozen = False

    # -- what was written ---------------------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        """Everything that the function has written so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    # -- inside -------------------------------------------------------------------------------------------------------

    def _watch(self, invocation: Invocation) -> None:
        """Freeze the environment when everybody is done; reset it when it is late or its runtime is gone."""
        api, process = self.api, self.process
        assert process is not None
        for _ in self._ticks(until=invocation.began + invocation.timeout_s):
            if api.all_waiting() and invocation.answered is not None:
                invocation.finished = time.monotonic()
                self.freeze()
                return
            if process.poll() is not None:
                invocation.fail("Runtime.ExitError", f"Runtime exited with error: exit status {process.returncode}")
                break
        else:
            invocation.fail("Sandbox.Timedout", f"Task timed out after {invocation.timeout_s:.2f} seconds")
        with api.changed:
            api.changed.notify_all()
        self._end(process)

    def _ticks(self, *, until: float) -> Iterator[None]:
        """After each change of the API's state, and every 20 ms, until the time is up."""
        with self.api.changed:
            while time.monotonic() < until:
                yield
                self.api.changed.wait(min(0.02, max(0.0, until - time.monotonic())))

    def _wait(self, reached: Any, phase: str) -> None:
        assert self.process is not None
        for _ in self._ticks(until=time.monotonic() + INIT_S):
            if reached():
                return
            if self.process.poll() is not None:
                raise InitFailed(f"{phase}: exit status {self.process.returncode}: {self.api.posted}\n{self.log}")
        raise InitFailed(f"{phase} did not end in {INIT_S} s\n{self.log}")

    def _variables(self) -> dict[str, str]:
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "test"}
        containers = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{self.api.address}{CREDENTIALS}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.api.token,
        }
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ},
            "AWS_LAMBDA_RUNTIME_API": self.api.address,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start" if self.snap_start else "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{self.python_version}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
            "AWS_REGION": "eu-west-1",
            "LAMBDA_TASK_ROOT": str(PROJECT),
            **(containers if self.snap_start else keys),
            **self.environment,
        }

    def close(self) -> None:
        """End everything, whatever state it is in."""
        if self._watcher is not None:
            self._watcher.join()
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        self.api.close()
        self._log.close()
