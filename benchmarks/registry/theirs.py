"""MLflow's side: its environment, from a lock with hashes, and the process in it that answers commands."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring.environments import interpreter  # noqa: E402 - the path comes first

HERE = Path(__file__).parent
LOCK = HERE / "requirements.txt"


class Theirs:
    """MLflow's registry, as a process that is asked line by line."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process, self._log = process, log
        self.version = self._answer()["mlflow"]

    def __getattr__(self, verb: str) -> Any:
        return lambda *arguments: self._ask(verb, arguments)

    def _ask(self, verb: str, arguments: tuple[Any, ...]) -> Any:
        assert self._process.stdin is not None  # noqa: S101 - PIPE was asked for
        self._process.stdin.write(json.dumps({"do": verb, "with": arguments}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None  # noqa: S101 - as above
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"MLflow's side ended:\n{self._log.read_text()[-2000:]}")
        return json.loads(line)


@contextmanager
def started() -> Iterator[Theirs]:
    """MLflow over a SQLite file in a folder that goes away."""
    folder = Path(tempfile.mkdtemp(prefix="mlflow-benchmark-"))
    log = folder / "mlflow.log"
    command = [str(interpreter("mlflow", LOCK)), str(HERE / "mlflow_worker.py"), str(folder)]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    try:
        with (
            log.open("w") as said,
            subprocess.Popen(
                command, env=kept, cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
            ) as process,
        ):
            try:
                yield Theirs(process, log)
            finally:
                process.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
