"""What the retraining tables of a ``model.toml`` have to keep beyond the types of their keys: keys that agree.

Like `modelyard.spec_rules` they read the raw document and say nothing about a value of a wrong type.
"""

from collections.abc import Iterator
from typing import Any

from modelyard.tasks import CANDIDATES, METRICS, SETTINGS
from modelyard.toml import Problem, dotted, nearest, value_at
from modelyard.training.plan import DEFAULT_TIMEOUT_S, LABEL, LONGEST_FUNCTION_S, PREDICTION, PROBABILITIES

_KEYS_OF_TRIGGERS = {
    "prefix": ("upload", "labels"),
    "suffix": ("upload", "labels"),
    "minimum_rows": ("upload", "labels"),
    "count": ("labels",),
    "cron": ("schedule",),
    "timezone": ("schedule",),
    "alarms": ("alarm",),
}
_NEEDED = {"labels": "count", "schedule": "cron"}


def disagreements(document: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong between the keys of ``[training]``, ``[evaluation]`` and ``[[triggers]]``."""
    training = value_at(document, "training")
    if training is None:
        for section in ("triggers", "evaluation"):
            if value_at(document, section):
                yield section, "needs a [training] section; a model that is brought is not retrained"
        return
    if value_at(document, "evaluation") is None:
        yield "evaluation", "is required beside [training]: its metric says which version is better"
    yield from _wrong_for_task(document)
    yield from _wrong_columns(value_at(training, "target"), value_at(training, "features"))
    yield from _wrong_place(training)
    yield from _wrong_triggers(document)
    yield from _wrong_evaluation(value_at(document, "evaluation"), training)


def _wrong_for_task(document: dict[str, Any]) -> Iterator[Problem]:
    task, metric = value_at(document, "model", "task"), value_at(document, "evaluation", "metric")
    known_task = isinstance(task, str) and task in METRICS
    if known_task and _misplaced(metric, METRICS, task):
        yield "evaluation.metric", f"{metric!r} does not fit task {task!r}; {', '.join(METRICS[task])} do"
    for index, candidate in _entries(value_at(document, "training", "candidates")):
        kind = value_at(candidate, "kind")
        if known_task and _misplaced(kind, CANDIDATES, task):
            key = f"training.candidates[{index}].kind"
            yield key, f"{kind!r} does not fit task {task!r}; {', '.join(CANDIDATES[task])} do"
        yield from _wrong_settings(index, candidate, kind)
    if value_at(document, "training", "entry") is not None and value_at(document, "training", "candidates"):
        yield "training.candidates", "stand beside training.entry; a model is trained by candidates or by its own code"


def _wrong_settings(index: int, candidate: Any, kind: object) -> Iterator[Problem]:
    known = SETTINGS.get(kind, frozenset()) if isinstance(kind, str) else frozenset()
    grid, space = value_at(candidate, "grid"), value_at(candidate, "space")
    for section, named in (("grid", grid), ("space", space)):
        for name in named if known and isinstance(named, dict) else ():
            if name not in known:
                key = dotted(("training", "candidates", index, section, name))
                yield key, f"unknown setting; {nearest(name, sorted(known))}"
    for name, found in space.items() if isinstance(space, dict) else ():
        key = dotted(("training", "candidates", index, "space", name))
        low, high = value_at(found, "low"), value_at(found, "high")
        if isinstance(grid, dict) and name in grid:
            yield key, "stands in grid as well; a setting is tried from a list or drawn from a range"
        if isinstance(low, int | float) and isinstance(high, int | float):
            if low >= high:
                yield f"{key}.low", f"{low} is not below high, {high}"
            elif value_at(found, "log") is True and low <= 0:
                yield f"{key}.low", f"{low} has no logarithm; with log, low is above 0"


def _misplaced(choice: object, choices: dict[str, tuple[str, ...]], task: str) -> bool:
    """Whether a choice exists, but for other tasks."""
    return choice not in choices[task] and any(choice in others for others in choices.values())


def _wrong_columns(target: object, features: object) -> Iterator[Problem]:
    if not isinstance(features, dict):
        return
    if isinstance(target, str) and target in features:
        yield "training.target", f"{target!r} is also a feature; the model would see the answer"
    for name in (LABEL, PROBABILITIES, PREDICTION):
        if name in features:  # in ONNX, inputs and outputs share one namespace
            yield f"training.features.{name}", "is the name of a model's output; rename the column in the data"


def _wrong_place(training: Any) -> Iterator[Problem]:
    where, instance = value_at(training, "where"), value_at(training, "instance")
    timeout_s, budget_s = value_at(training, "timeout_s"), value_at(training, "budget_s")
    if where == "sagemaker" and instance is None:
        yield "training.instance", "is required where the model trains on SageMaker, such as 'ml.m5.xlarge'"
    if where == "lambda" and instance is not None:
        yield "training.instance", "stands beside where = 'lambda'; leave one of them out"
    if isinstance(timeout_s, int) and timeout_s > LONGEST_FUNCTION_S and (where == "lambda" or instance is None):
        yield (
            "training.timeout_s",
            f"{timeout_s} is more than the {LONGEST_FUNCTION_S} s that a Lambda function has; training.instance lets "
            "SageMaker train it",
        )
    timeout_s = DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s
    if isinstance(timeout_s, int) and isinstance(budget_s, int) and budget_s > timeout_s:
        yield "training.budget_s", f"{budget_s} is more than the deadline, timeout_s = {timeout_s}"


def _wrong_triggers(document: dict[str, Any]) -> Iterator[Problem]:
    name = value_at(document, "model", "name")
    for index, trigger in _entries(value_at(document, "triggers")):
        if not isinstance(trigger, dict):
            continue
        kind = trigger.get("kind", "upload")
        prefix = trigger.get("prefix")
        if isinstance(prefix, str) and isinstance(name, str) and not prefix.startswith(f"{name}/"):
            yield f"triggers[{index}].prefix", f"{prefix!r} must start with {name + '/'!r}, the model's own"
        for key, kinds in _KEYS_OF_TRIGGERS.items():
            if key in trigger and kind not in kinds and isinstance(kind, str):
                yield f"triggers[{index}].{key}", f"is of kind {' or '.join(map(repr, kinds))}, not of {kind!r}"
        needed = _NEEDED.get(kind) if isinstance(kind, str) else None
        if needed is not None and needed not in trigger:
            yield f"triggers[{index}].{needed}", f"is required where kind is {kind!r}"


def _wrong_evaluation(evaluation: Any, training: Any) -> Iterator[Problem]:
    by, column = value_at(evaluation, "split", "by"), value_at(evaluation, "split", "column")
    if by in ("time", "group") and column is None:
        yield "evaluation.split.column", f"is required where by is {by!r}: the column that holds it"
    if column is not None and by in (None, "stratified"):
        yield "evaluation.split.column", "is for by = 'time' or by = 'group'"
    target, slices = value_at(training, "target"), value_at(evaluation, "slices")
    if target is not None and column == target:
        yield "evaluation.split.column", f"{column!r} is the target; another column says where a row belongs"
    if target is not None and isinstance(slices, list) and target in slices:
        yield "evaluation.slices", f"{target!r} is the target; rows are sliced by what is known before the answer"
    kind = value_at(training, "features", column, "kind") if isinstance(column, str) else None
    if by == "time" and kind in ("number", "category", "text"):
        yield (
            "evaluation.split.column",
            f"{column!r} is a feature of kind {kind!r}; time is read as text that sorts, such as 2012-01-31: of kind "
            "'date', or a column that is no feature",
        )
    if value_at(evaluation, "max_slice_loss") is not None and not slices:
        yield "evaluation.max_slice_loss", "needs slices: the columns whose values are looked at"


def _entries(tables: object) -> Iterator[tuple[int, Any]]:
    yield from enumerate(tables if isinstance(tables, list) else ())
