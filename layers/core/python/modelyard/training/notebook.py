"""A notebook that trains: executed by papermill in a process of its own, with the job's folders as its parameters.

The rule: the same folders as every other training. The notebook gets ``job_in`` and ``job_out`` and writes
``model.onnx``, and, if it wants the ONNX file compared with its framework, ``predictions.json``: a list with one answer
for each evaluation row, in the form of a response. `modelyard.training.job` has ``read_job`` and ``write_model`` for
that. The notebook as it ran is kept beside them, with its outputs.

It runs in the same way everywhere. In a function papermill and the kernel come from the layer ``notebook``; elsewhere
from the extra ``modelyard[notebook]``. Both are processes of this very interpreter with its very path, whatever kernels
and settings are installed on the machine, and all that they write lies in a folder of theirs: a function can write
nowhere else.
"""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from modelyard.errors import UsageError

EXECUTED, MODEL, PREDICTIONS = "notebook.ipynb", "model.onnx", "predictions.json"
FOLDER = "training-notebook"
"""Where a layer has a model's notebook: a folder beside its packages that no package can be called."""
ENDS = "MODELYARD_TRAINING_ENDS"
"""Tells the notebook when its time is up, in seconds since 1970."""
NEEDED = ("papermill", "ipykernel")
_TOLD = 1_500
"""Characters of what papermill said that are told, where the notebook says nothing."""
_CELL = 80
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def find(name: str, code: Path) -> Path:
    """A model's notebook: among the code of the job, or in a layer. Where it is in neither, where it should be."""
    places = [code / name, *(Path(entry, FOLDER, name) for entry in sys.path if entry)]
    return next((place for place in places if place.is_file()), places[0])


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
    # Without site-packages where we run without: then nothing of the machine's own gets in.
    python = [sys.executable, *(["-S"] if sys.flags.no_site else [])]
    command = [*python, "-m", "papermill", str(notebook.resolve()), EXECUTED, "--no-progress-bar"]
    command += ["--kernel", "python3", "--language", "python"]
    command += [word for pair in folders.items() for word in ("-r", *pair)]
    with tempfile.TemporaryDirectory(prefix="notebook-", ignore_cleanup_errors=True) as scratch:
        environment = _environment(Path(scratch), python, code) | {ENDS: repr(time.time() + deadline_s)}
        said, status = _run(command, notebook, destination, environment, deadline_s)
    if status != 0:
        raise _failed(notebook, _problem_in(destination / EXECUTED) or _COLOURS.sub("", said).strip()[-_TOLD:])


def _environment(scratch: Path, python: list[str], code: Path | None) -> dict[str, str]:
    """The caller's environment, our path, a kernel of ours, and one folder for all that is written."""
    kernel = scratch / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    launch = [*python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_bytes(msgspec.json.encode({"argv": launch, "display_name": "Python 3", "language": "python"}))
    path = [str(code.resolve())] if code is not None else []
    places = [f"JUPYTER_{what}" for what in ("CONFIG_DIR", "DATA_DIR", "PATH", "RUNTIME_DIR")]
    return (
        {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER_", "XDG_"))}
        | {
            "PYTHONPATH": os.pathsep.join([*path, *filter(None, sys.path)]),
            "PYTHONHASHSEED": "0",  # a set of words has one order, and the same notebook makes the same model
            "PYTHONWARNINGS": "ignore",  # papermill's and Jupyter's own; the notebook's outputs are kept
        }
        | dict.fromkeys(("HOME", "TMPDIR", "IPYTHONDIR", *places), str(scratch))
    )


def _run(
    command: list[str], notebook: Path, folder: Path, environment: dict[str, str], deadline_s: float
) -> tuple[str, int]:
    """What a process and its children say, and its exit status."""
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
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
        return said, process.returncode


def _problem_in(executed: Path) -> str | None:
    """The error that a notebook ended with, and the cell that raised it; None where it holds none."""
    try:
        cells = msgspec.json.decode(executed.read_bytes())["cells"]
        for cell in reversed(cells):  # an earlier one may be allowed to fail
            for output in cell.get("outputs", ()):
                if output["output_type"] == "error":
                    begins = next((line for line in "".join(cell["source"]).splitlines() if line.strip()), "")
                    return f"{output['ename']}: {output['evalue']} (in the cell that begins {begins[:_CELL]!r})"
    except (OSError, msgspec.DecodeError, KeyError, TypeError, AttributeError):
        pass
    return None


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
