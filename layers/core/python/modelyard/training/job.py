"""A training as a folder in and a folder out: the one form in which it travels.

::

    in/plan.json           the plan, as the workflow carries it
    in/training.csv        the rows to learn from: every column of the plan
    in/evaluation.csv      the frozen rows without their target, to be answered
    in/given.json          optional: {"candidate": …, "settings": …}: train this once more, without a search
    in/code/               optional, of a model that trains itself: its folder's python/ and its notebook, where no
                           layer has them
    out/model.onnx         the trained model
    out/notebook.ipynb     of a notebook, as it ran
    out/training.json      who won and why, the leaderboard, answers to the evaluation rows, seconds (`Trained`)

A Lambda step, SageMaker's container, ``modelyard reproduce``, a model's own code and a notebook all read and write
these files, so what trains in one place trains in each of them. The files were checked before: what is wrong with them
is an error here and no finding.
"""

import csv
import io
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from modelyard.training.plan import Plan, Setting, decode_plan, time_for_code
from modelyard.training.table import Table, table_of

if TYPE_CHECKING:
    from modelyard.training import trainer
    from modelyard.training.entry import TrainedModel, TrainingJob

PLAN, TRAINING, EVALUATION, GIVEN = "plan.json", "training.csv", "evaluation.csv", "given.json"
CODE = "code"
MODEL, TRAINED, REFUSED = "model.onnx", "training.json", "refused.txt"
LIBRARIES = ("scikit-learn", "skl2onnx", "onnx", "numpy", "scipy", "lightgbm")
"""What a trained model depends on, beside our own code."""


class Given(msgspec.Struct, frozen=True):
    """What won an earlier search."""

    candidate: str
    settings: dict[str, Setting]


class Trained(msgspec.Struct, frozen=True):
    """What a training says about itself; the model lies beside it.

    Attributes:
        candidate: The kind that won, or the entry that trained.
        settings: Its settings.
        why: Why it won, in words.
        leaderboard: Everything that was tried, best first.
        predictions: The framework's own answers to the evaluation rows; None where a model's own code gave none.
        baseline: The one answer of the model without learning.
        remarks: What a person should know.
        seconds: How long it took.
        environment: Python, architecture and libraries that trained.
    """

    candidate: str
    settings: dict[str, Setting]
    why: str
    leaderboard: list[dict[str, Any]]
    predictions: list[Any] | None
    baseline: Any
    remarks: list[str]
    seconds: float
    environment: dict[str, Any]


def read_trained(document: bytes) -> Trained:
    """Read ``out/training.json``."""
    return msgspec.json.decode(document, type=Trained)


def run_job(source: Path, destination: Path, *, progress: Callable[[str], None] = lambda _: None) -> Trained:
    """Train what a folder holds, and write what came of it into another.

    Args:
        source: ``in/``.
        destination: ``out/``; it exists.
        progress: Is told, in words, what has just been done.

    Raises:
        UsageError: When the data or the plan does not allow a training; nothing is written then.
    """
    from modelyard.training import trainer  # scikit-learn takes its time; who only reads the files has none of it

    began = time.monotonic()
    plan = decode_plan(msgspec.json.decode((source / PLAN).read_bytes()))
    training = table_of(plan, (source / TRAINING).read_bytes(), name=TRAINING)
    evaluation = table_of(plan, (source / EVALUATION).read_bytes(), name=EVALUATION, without_target=True)
    given, code = source / GIVEN, source / CODE
    if plan.training.entry is not None and plan.training.entry.endswith(".ipynb"):
        seconds = time_for_code(plan) - (time.monotonic() - began)
        result = _run_notebook(plan, training, evaluation, source, destination, seconds=seconds)
    elif given.is_file():
        found = msgspec.json.decode(given.read_bytes(), type=Given)
        candidate, settings = found.candidate, found.settings
        result = trainer.refit(plan, training, evaluation, candidate=candidate, settings=settings, code=code / "python")
    else:
        result = trainer.train(plan, training, evaluation, progress=progress, code=code / "python")
    trained = Trained(
        candidate=result.candidate,
        settings=result.settings,
        why=result.why,
        leaderboard=msgspec.to_builtins(result.leaderboard),
        predictions=result.predictions,
        baseline=result.baseline,
        remarks=list(result.remarks),
        seconds=round(time.monotonic() - began, 3),
        environment=environment(),
    )
    document = msgspec.json.encode(trained)
    (destination / MODEL).write_bytes(result.model)
    (destination / TRAINED).write_bytes(document)
    return read_trained(document)


def read_job(source: Path | str) -> "TrainingJob":
    """What a folder holds, as training code gets it; for notebooks, which get the folder.

    Args:
        source: ``in/``: a notebook's parameter ``job_in``.
    """
    from modelyard.training.entry import TrainingJob
    from modelyard.training.notebook import ENDS

    source = Path(source)
    plan = decode_plan(msgspec.json.decode((source / PLAN).read_bytes()))
    training = table_of(plan, (source / TRAINING).read_bytes(), name=TRAINING)
    evaluation = table_of(plan, (source / EVALUATION).read_bytes(), name=EVALUATION, without_target=True)
    ends = os.environ.get(ENDS)
    return TrainingJob.of(plan, training, evaluation, seconds=None if ends is None else float(ends) - time.time())


def write_model(destination: Path | str, job: "TrainingJob", trained: "TrainedModel") -> None:
    """Leave a model as training code gives it back; for notebooks.

    Args:
        destination: ``out/``: a notebook's parameter ``job_out``.
        job: What `read_job` gave.
        trained: The ONNX file, what its probabilities are of, and how the framework predicts.

    Raises:
        UsageError: With code ``wrong_model`` and everything that is wrong with the file.
    """
    from modelyard.training.entry import answers_of, checked, classes_of
    from modelyard.training.notebook import PREDICTIONS

    model = checked(job.plan, trained)
    rows = len(next(iter(job.evaluation.values())))
    answers = answers_of(job.plan, trained, classes_of(model), job.evaluation, rows)
    Path(destination, MODEL).write_bytes(model)
    if answers is not None:
        Path(destination, PREDICTIONS).write_bytes(msgspec.json.encode(answers))


def _run_notebook(
    plan: Plan, training: Table, evaluation: Table, source: Path, destination: Path, *, seconds: float
) -> "trainer.TrainingResult":
    from modelyard.training import notebook, trainer
    from modelyard.training.entry import TrainedModel

    code = source / CODE
    file = notebook.find(str(plan.training.entry), code)
    notebook.execute(file, source, destination, deadline_s=max(1.0, seconds), code=code / "python")
    trained = TrainedModel(
        notebook.model_in(destination, file), note=f"executed; its outputs are in {notebook.EXECUTED}"
    )
    predictions = notebook.predictions_in(destination, file, len(evaluation))
    return trainer.of_own_code(plan, training, evaluation, trained, predictions=predictions)


def environment() -> dict[str, Any]:
    """What trains here: equal environments make equal bytes of equal rows."""
    libraries: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            libraries[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "architecture": {"aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "libraries": libraries,
    }


def write_rows(plan: Plan, table: Table, *, without_target: bool = False) -> bytes:
    """``training.csv`` or ``evaluation.csv``: the cells as their files had them, the plan's columns only."""
    names = [name for name in plan.columns if not (without_target and name == plan.training.target)]
    places = [[header.index(name) for name in names] for header in table.headers]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(names)
    for file, row in zip(table.files.tolist(), table.rows, strict=True):
        writer.writerow([row[place] for place in places[file]])
    return text.getvalue().encode("utf-8")
