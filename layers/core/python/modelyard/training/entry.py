"""A model's own training code: what it is given, what it gives back, and whether that can be served.

The rule: the same in and out as training by configuration. The code gets the rows as columns and returns one ONNX file
of the form that `modelyard.training.export` writes: one input per feature, and ``label`` with ``probabilities`` or
``prediction`` out. What does not have that form is refused here, with everything that is wrong with it, and not by an
endpoint later. Nothing that was pickled is read.
"""

import importlib
import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from modelyard.errors import UsageError
from modelyard.training.export import CLASSES_KEY, FEATURES_KEY, TASK_KEY, settled
from modelyard.training.plan import LABEL, PREDICTION, PROBABILITIES, Plan, Setting, time_for_code
from modelyard.training.table import Column, Table

Columns = Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What training code is given.

    Attributes:
        plan: The model's plan: task, features, metric.
        columns: The training rows, one array for each feature: float64 with NaN where missing, or text.
        target: Their target: text for classes, float64 for a regression.
        others: Columns that rows are split or sliced by and the model does not see.
        evaluation: The frozen rows, to be answered: the same columns.
        seed: For everything that is random, so that a run can be repeated.
        ends: When the time is up, by `time.monotonic`.
    """

    plan: Plan
    columns: Columns
    target: Column
    others: Columns
    evaluation: Columns
    seed: int
    ends: float

    @classmethod
    def of(cls, plan: Plan, training: Table, evaluation: Table, *, seconds: float | None = None) -> "TrainingJob":
        """From checked rows; ``seconds`` are what is left, None all that own code has."""
        ends = time.monotonic() + (time_for_code(plan) if seconds is None else seconds)
        seed = plan.training.seed
        return cls(plan, training.columns, training.target, training.others, evaluation.columns, seed, ends)

    def seconds_left(self) -> float:
        """How long the training may still take."""
        return max(0.0, self.ends - time.monotonic())


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """What training code gives back; the bytes alone do as well.

    Attributes:
        model: The ONNX file.
        predict: Answers columns such as ``job.evaluation`` as the framework does: numbers for a regression, a matrix of
            probabilities for classes. With it the run checks that the ONNX file answers the same.
        classes: The names of the probabilities' columns; needed unless the file's metadata has them.
        settings: What a reader of the report should know about it.
        note: How it was trained, in a sentence.
    """

    model: bytes
    predict: Callable[[Columns], Any] | None = None
    classes: Sequence[str] | None = None
    settings: dict[str, Setting] = field(default_factory=dict)
    note: str = ""


def call(entry: str, job: TrainingJob, *, code: Path | None = None) -> TrainedModel:
    """Run ``package.module:function``.

    Args:
        entry: What the spec names.
        job: What it is given.
        code: The folder that the package lies in, where it is not importable anyway.

    Raises:
        UsageError: With code ``entry_failed`` and the end of the traceback.
    """
    with _importable(code):
        try:
            returned = _function(entry)(job)
        except UsageError:
            raise
        except ModuleNotFoundError as error:
            raise _failed(entry, _in_words(entry, error), next_step=_MISSING) from error
        except (Exception, SystemExit) as error:
            raise _failed(entry, _in_words(entry, error)) from error
    if isinstance(returned, bytes | bytearray):
        return TrainedModel(bytes(returned))
    if not isinstance(returned, TrainedModel):
        kind = type(returned).__name__
        raise _failed(entry, f"it returned {kind}; expected the bytes of an ONNX file, or a TrainedModel")
    settings = {str(name): _setting(value) for name, value in returned.settings.items()}
    return replace(returned, settings=settings)


def _function(entry: str) -> Callable[[TrainingJob], Any]:
    module, _, name = entry.partition(":")
    function = getattr(importlib.import_module(module), name, None)
    if not callable(function):
        raise _failed(entry, f"{module} has no function {name!r}")
    return function  # type: ignore[no-any-return]  # own code may carry no types


def _setting(value: Any) -> Setting:
    """A setting as JSON has it; frameworks give numpy's numbers, lists and objects."""
    plain = value.item() if isinstance(value, np.generic) else value
    is_number = isinstance(plain, int) or (isinstance(plain, float) and math.isfinite(plain))
    return plain if is_number else str(plain)


_MISSING = (
    "Put the module into the model's python/, or the package into layers/training/requirements.in; run 'make lock', "
    "deploy, and start the run again."
)


def _failed(
    entry: str, said: str, *, next_step: str = "Correct the code that training.entry names, and start the run again."
) -> UsageError:
    return UsageError(f"{entry} did not train a model: {said}", code="entry_failed", next_step=next_step)


def _in_words(entry: str, error: BaseException) -> str:
    """What happened, and the last line of the model's own code on the way there: no frames of a library."""
    frames = traceback.extract_tb(error.__traceback__)
    package = entry.partition(":")[0].partition(".")[0]
    own = [frame for frame in frames if package in Path(frame.filename).with_suffix("").parts]
    last = (own or frames)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"


@contextmanager
def _importable(code: Path | None) -> Iterator[None]:
    """A folder of packages on the path, and forgotten afterwards: another job may bring other code of the same name."""
    if code is None or not code.is_dir():
        yield
        return
    sys.path.insert(0, str(code))
    importlib.invalidate_caches()
    before = set(sys.modules)
    try:
        yield
    finally:
        sys.path.remove(str(code))
        for name in set(sys.modules) - before:
            place = getattr(sys.modules[name], "__file__", None)
            if place is not None and Path(place).is_relative_to(code):
                del sys.modules[name]


def checked(plan: Plan, trained: TrainedModel) -> bytes:
    """The model as it is stored: of the form that endpoints serve, with the metadata that they read.

    Raises:
        UsageError: With code ``wrong_model`` and everything that is wrong with it.
    """
    try:
        model = onnx.load_from_string(trained.model)
    except Exception as error:  # protobuf's, which ships no types
        raise _wrong_model(["it is no ONNX file"]) from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    problems = [*_wrong_inputs(plan, model.graph), *_wrong_outputs(plan, model.graph)]
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer):
        problems.append("weights lie outside the file; write them into it")
    if plan.classification:
        given = trained.classes
        classes = _classes_in(metadata) if given is None else [str(name) for name in given]
        problems += _wrong_classes(model.graph, classes)
        metadata[CLASSES_KEY] = json.dumps(classes, ensure_ascii=False)
    if problems:
        raise _wrong_model(problems)
    kinds = {name: feature.kind for name, feature in plan.training.features.items()}
    return settled(plan, model, metadata | {TASK_KEY: plan.task, FEATURES_KEY: json.dumps(kinds, ensure_ascii=False)})


def _wrong_model(problems: list[str]) -> UsageError:
    return UsageError(
        "\n".join(f"the trained model cannot be served: {problem}" for problem in problems),
        code="wrong_model",
        next_step="Return a file with one input for each feature, shaped [rows, 1], and the outputs "
        f"{LABEL!r} and {PROBABILITIES!r}, or {PREDICTION!r}; see docs/training.md.",
    )


_TYPES = {TensorProto.FLOAT: "float32", TensorProto.STRING: "text"}


def _wrong_inputs(plan: Plan, graph: Any) -> Iterator[str]:
    constants = {value.name for value in graph.initializer}
    found = {value.name: value for value in graph.input if value.name not in constants}
    for name, feature in plan.training.features.items():
        if name not in found:
            yield f"there is no input for feature {name!r}"
            continue
        expected = "float32" if feature.kind == "number" else "text"
        yield from _wrong_value(f"input {name!r}", found[name], expected, 1)
    for name in found.keys() - plan.training.features.keys():
        yield f"input {name!r} is no feature"


def _wrong_outputs(plan: Plan, graph: Any) -> Iterator[str]:
    expected = (
        {LABEL: ("text", None), PROBABILITIES: ("float32", 0)} if plan.classification else {PREDICTION: ("float32", 1)}
    )
    found = {value.name: value for value in graph.output}
    for name, (dtype, columns) in expected.items():
        if name in found:
            yield from _wrong_value(f"output {name!r}", found[name], dtype, columns)
        else:
            yield f"there is no output {name!r}; it has {', '.join(map(repr, found)) or 'none'}"


def _wrong_value(shown: str, value: Any, expected: str, columns: int | None) -> Iterator[str]:
    """What is wrong with a tensor's type or shape; ``columns``: None for one dimension, 0 for any number of columns."""
    tensor = value.type.tensor_type
    dtype = _TYPES.get(tensor.elem_type, f"type {TensorProto.DataType.Name(tensor.elem_type).lower()}")
    shape = [dimension.dim_value or None for dimension in tensor.shape.dim]
    if dtype != expected:
        yield f"{shown} is {dtype}; expected {expected}"
    right = len(shape) == 1 if columns is None else len(shape) == 2 and (not columns or shape[1] in (None, columns))
    if not right or shape[0] is not None:
        wanted = "[rows]" if columns is None else f"[rows, {columns or 'classes'}]"
        yield f"{shown} has shape {[size or 'rows' for size in shape]}; expected {wanted}, rows being any number"


def _classes_in(metadata: dict[str, str]) -> list[str] | None:
    try:
        found = json.loads(metadata.get(CLASSES_KEY, "null"))
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(name, str) for name in found) else None


def _wrong_classes(graph: Any, classes: list[str] | None) -> Iterator[str]:
    if not classes:
        yield "it does not say which class each probability is of; give TrainedModel its classes"
        return
    for value in graph.output:
        dimensions = value.type.tensor_type.shape.dim
        if value.name == PROBABILITIES and len(dimensions) == 2 and dimensions[1].dim_value not in (0, len(classes)):
            yield f"there are {dimensions[1].dim_value} probabilities for {len(classes)} classes"


def answers_of(plan: Plan, trained: TrainedModel, classes: list[str], columns: Columns, rows: int) -> list[Any] | None:
    """The framework's own answers in the form of a response; None where the code gives no ``predict``.

    Raises:
        UsageError: With code ``entry_failed`` when they have another form.
    """
    if trained.predict is None:
        return None
    entry = str(plan.training.entry)
    try:
        found = np.asarray(trained.predict(columns), dtype=np.float64)
    except (Exception, SystemExit) as error:
        raise _failed(entry, f"its predict failed: {_in_words(entry, error)}") from error
    if not plan.classification:
        if found.size != rows:
            raise _failed(entry, f"its predict gave {found.size} numbers for {rows} rows")
        values: list[Any] = found.ravel().tolist()
        return values
    if found.shape != (rows, len(classes)):
        raise _failed(entry, f"its predict gave shape {list(found.shape)}; expected [{rows}, {len(classes)}]")
    return as_response(found, classes)


def as_response(probabilities: NDArray[np.float64], classes: list[str]) -> list[Any]:
    """A matrix of probabilities as an endpoint would answer it."""
    return [
        {LABEL: classes[int(row.argmax())], PROBABILITIES: dict(zip(classes, row.tolist(), strict=True))}
        for row in probabilities
    ]


def classes_of(model: bytes) -> list[str]:
    """The classes that `checked` wrote into a model."""
    metadata = {entry.key: entry.value for entry in onnx.load_from_string(model).metadata_props}
    return _classes_in(metadata) or []
