"""What a run left behind: metrics and parameters, as far as they can be kept.

Something that cannot be kept never ends an import; it is left out, and a remark says what and why.
"""

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from modelyard.names import text_problem
from modelyard.plain_secrets import looks_like_secret

LONGEST_NAME = 250
"""Characters; MLflow allows no more either."""

MOST_CHARACTERS = 60_000
"""Of all metrics, and of all parameters: a manifest has a limit of its own, and the rest of it needs room too."""

V = TypeVar("V", float, str)

_OF_THE_MACHINE = "system/"
_MOST_REMARKS = 5


@dataclass(frozen=True, slots=True)
class Recorded:
    """Metrics and parameters by name, and remarks about what was left out."""

    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notes:
    """Metrics and parameters of one run, or of one model, as MLflow has them."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)


def recorded(run: Notes, model: Notes | None = None, *, models_of_run: int = 1) -> Recorded:
    """What belongs to a model, of what its run and the model itself have.

    The run's metrics count where it made one model: they are the latest, and a model's own may be those of the step at
    which it was logged. Where the run made several, its metrics may be another's, so only the model's own are taken.

    Args:
        run: Of the run.
        model: Of the model, which has such since MLflow 3.
        models_of_run: How many models the run made.
    """
    own = model or Notes()
    remarks: list[str] = []
    if models_of_run > 1:
        # A database of MLflow keeps NaN for the run, and 0 in its place for the model.
        metrics = {name: value for name, value in own.metrics.items() if not math.isnan(run.metrics.get(name, 0.0))}
        remarks.append(f"the run made {models_of_run} models: only the metrics of this one were taken")
    else:
        metrics = {**own.metrics, **run.metrics}
    kept_metrics, problems = _kept("metric", metrics.items(), _metric_problem)
    kept_params, more = _kept("parameter", {**run.params, **own.params}.items(), _param_problem)
    return Recorded(kept_metrics, kept_params, (*remarks, *problems, *more))


def _kept(
    what: str, entries: Iterable[tuple[str, V]], problem_of: Callable[[V], str | None]
) -> tuple[dict[str, V], list[str]]:
    kept: dict[str, V] = {}
    problems: list[str] = []
    characters = 0
    for name, value in sorted(entries):
        if name.startswith(_OF_THE_MACHINE):
            continue  # memory and load of the machine that trained it
        characters += len(name) + len(str(value))
        problem = _name_problem(name) or problem_of(value)
        if problem is None and characters > MOST_CHARACTERS:
            problem = f"all {what}s together have more than {MOST_CHARACTERS:,} characters"
        if problem is None:
            kept[name] = value
        else:
            problems.append(f"{what} {name[:60]!a} was left out: {problem}")
    if len(problems) > _MOST_REMARKS:
        problems = [*problems[:_MOST_REMARKS], f"{len(problems) - _MOST_REMARKS} more {what}s were left out"]
    return kept, problems


def _name_problem(name: str) -> str | None:
    if not 0 < len(name) <= LONGEST_NAME:
        return f"its name has {len(name)} characters; 1 to {LONGEST_NAME} are allowed"
    problem = text_problem(name, lines=False)
    return None if problem is None else f"its name {problem}"


def _metric_problem(value: float) -> str | None:
    # A database of MLflow keeps an infinity as the largest number there is.
    if not math.isfinite(value) or abs(value) == sys.float_info.max:
        return f"{value} is not a finite number"
    return None


def _param_problem(value: str) -> str | None:
    secret = looks_like_secret(value)
    return text_problem(value) if secret is None else f"it looks like {secret}"
