"""A notebook that trains: executed by papermill in a process of its own, with the job's folders as its parameters.

The rule: the same folders as every other training. The notebook gets ``job_in`` and ``job_out`` and writes
``model.onnx``, and, if it wants the ONNX file compared with its framework, ``predictions.json``: a list with one answer
for each evaluation row, in the form of a response. The notebook as it ran is kept beside them, with its outputs.

papermill and a kernel are an optional extra (``modelyard[notebook]``): no function carries them.
"""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from modelyard.errors import UsageError

EXECUTED, MODEL, PREDICTIONS = "notebook.ipynb", "model.onnx", "predictions.json"
NEEDED = ("papermill", "ipykernel")
_TOLD = 1_500
"""Characters of the notebook's error that are told."""


def execute(notebook: Path, source: Path, destination: Path, *, deadline_s: float, code: Path | None = None) -> None:
    """Run a notebook to its end.

    Args:
        notebook: The file.
        source: The job's folder with what is given: ``job_in``.
        destination: The job's folder for what is made: ``job_out``, where the notebook runs.
        deadline_s: Seconds that it may take.
        code: A folder with packages that it may import.

    Raises:
        UsageError: With code ``notebook_extra_missing`` or ``entry_failed``.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{notebook.name} is a notebook, and {' and '.join(missing)} to run it with "
            f"{'is' if len(missing) == 1 else 'are'} not installed",
            code="notebook_extra_missing",
            next_step="Install the extra: pip install 'modelyard[notebook]'.",
        )
    if not notebook.is_file():
        raise _failed(notebook, f"there is no {notebook.name} among the job's code")
    folders = {"job_in": str(source.resolve()), "job_out": str(destination.resolve())}
    command = [sys.executable, "-m", "papermill", str(notebook.resolve()), EXECUTED, "--no-progress-bar"]
    command += ["--kernel", "python3", "--language", "python"]
    command += [word for pair in folders.items() for word in ("-r", *pair)]
    path = [str(code.resolve())] if code is not None else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*path, *filter(None, sys.path)])}
    environment |= {"PYTHONWARNINGS": "ignore"}  # papermill's and Jupyter's own; the notebook's outputs are kept
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        command,
        cwd=destination,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    ) as process:
        try:
            said, _ = process.communicate(timeout=deadline_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # with the kernel, which is a child of papermill
            if isinstance(error, subprocess.TimeoutExpired):
                raise _failed(notebook, f"it took more than {deadline_s:g} s") from error
            raise
    if process.returncode != 0:
        raise _failed(notebook, said.strip()[-_TOLD:])


def model_in(destination: Path, notebook: Path) -> bytes:
    """The model that a notebook left.

    Raises:
        UsageError: With code ``entry_failed`` when it left none.
    """
    file = destination / MODEL
    if not file.is_file():
        raise _failed(notebook, f"it ran to its end and wrote no {MODEL} into job_out")
    return file.read_bytes()


def predictions_in(destination: Path, notebook: Path, rows: int) -> list[Any] | None:
    """The answers that a notebook left, or None.

    Raises:
        UsageError: With code ``entry_failed`` when they are no list with one for each row.
    """
    file = destination / PREDICTIONS
    if not file.is_file():
        return None
    try:
        found = msgspec.json.decode(file.read_bytes(), type=list[Any])
    except msgspec.DecodeError as error:
        raise _failed(notebook, f"{PREDICTIONS} is no list as JSON: {error}") from error
    if len(found) != rows:
        raise _failed(notebook, f"{PREDICTIONS} has {len(found)} answers for {rows} evaluation rows")
    return found


def _failed(notebook: Path, said: str) -> UsageError:
    return UsageError(
        f"{notebook.name} did not train a model: {said}",
        code="entry_failed",
        next_step="Open the notebook, correct it, and start the run again.",
    )
