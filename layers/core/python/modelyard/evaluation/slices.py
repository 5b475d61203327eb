"""The metric on parts of the rows: a model that is better on the whole may be worse for some.

The rule: every value of a category is a slice, the 20 most frequent by themselves and the rest together; numbers are
cut into four parts with about as many rows each; dates go by calendar month, whatever the year, so that a slice stands
for a season that comes again; missing values are a slice of their own. A slice of fewer than 20 rows is shown and not
judged: there, one row moves accuracy by more than 5 points, and a model would be refused for one unlucky row.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from modelyard.evaluation.intervals import improvement_interval, slack_of
from modelyard.evaluation.rows import Answers, EvaluationSet
from modelyard.evaluation.words import quoted
from modelyard.metrics import METRICS, Rows
from modelyard.training.plan import FeatureKind
from modelyard.training.rows import NUMBER
from modelyard.training.table import MISSING_NUMBERS

MOST_VALUES = 20
FEWEST_ROWS = 20
PARTS = 4
RESAMPLES = 1_000
"""Fewer than for the whole: the ends are shown and decide nothing."""
MISSING, OTHER = "(missing)", "(other)"
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DATE = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-[0-9]{2}([T ].*)?", re.DOTALL)
Part = tuple[str, Rows]


class Slice(msgspec.Struct, frozen=True):
    """The rows with one value of one column.

    Attributes:
        column: Which column.
        value: What the rows have in it.
        rows: How many.
        challenger: The challenger's metric on them; None where it is no number.
        champion: The champion's; None at the first version.
        improvement: By how much the challenger is better there.
        low: The lower end of the interval of that.
        high: The upper end.
        passed: Whether it may stay so. True as well where it is not judged.
        judged: Whether there are enough rows, and a champion to lose against.
    """

    column: str
    value: str
    rows: int
    challenger: float | None
    champion: float | None
    improvement: float | None
    low: float | None
    high: float | None
    passed: bool
    judged: bool


def measure_slices(
    rows: EvaluationSet,
    columns: Sequence[str],
    *,
    challenger: Answers,
    champion: Answers | None,
    metric: str,
    max_loss: float | None,
    level: float,
    seed: int = 0,
) -> tuple[list[Slice], list[str]]:
    """The metric on every slice of some columns, and the columns that the rows do not have.

    Args:
        rows: The frozen rows; a column that is not in their ``columns`` is looked for among the instances' features.
        columns: Which columns.
        challenger: The new model's answers.
        champion: The champion's; None at the first version.
        metric: The metric's name.
        max_loss: Most that the metric may lose; None is no limit.
        level: Of the intervals.
        seed: Makes the intervals repeatable.
    """
    found: list[Slice] = []
    absent: list[str] = []
    for column in columns:
        values = _values(rows, column)
        if values is None:
            absent.append(column)
            continue
        for value, part in parts_of(values, rows.kinds.get(column)):
            sides = challenger.take(part), None if champion is None else champion.take(part)
            found.append(_slice(column, value, *sides, metric=metric, max_loss=max_loss, level=level, seed=seed))
    return found, absent


def parts_of(values: Sequence[Any], kind: FeatureKind | None = None) -> list[Part]:
    """Name each slice of a column and say which rows are in it.

    Args:
        values: What each row has, as text or as numbers.
        kind: What the column holds; None reads it off the values.
    """
    texts = [_text(value) for value in values]
    kind = kind or _kind([text for text in texts if text])
    if kind == "number":
        texts = ["" if text.lower() in MISSING_NUMBERS else text for text in texts]
    missing = [row for row, text in enumerate(texts) if text == ""]
    there = [row for row, text in enumerate(texts) if text != ""]
    told = [texts[row] for row in there]
    try:
        parts = _CUTS[kind](told)
    except ValueError:  # declared a number or a date, and is none: its texts are what it has
        parts = _values_one_by_one(told)
    named = [(name, np.array(there, dtype=np.int64)[part]) for name, part in parts]
    return [*named, (MISSING, np.array(missing, dtype=np.int64))] if missing else named


def _slice(
    column: str,
    value: str,
    challenger: Answers,
    champion: Answers | None,
    *,
    metric: str,
    max_loss: float | None,
    level: float,
    seed: int,
) -> Slice:
    kind = METRICS[metric]
    score = kind.score(challenger)
    if champion is None:
        return Slice(column, value, len(challenger), _finite(score), None, None, None, None, passed=True, judged=False)
    other = kind.score(champion)
    improvement = _finite(kind.improvement(score, other))
    interval = improvement_interval(challenger, champion, metric=metric, level=level, resamples=RESAMPLES, seed=seed)
    judged = len(challenger) >= FEWEST_ROWS
    passed = True
    if max_loss is not None and judged:
        passed = improvement is not None and improvement >= -max_loss - slack_of(score, other)
    return Slice(
        column, value, len(challenger), _finite(score), _finite(other), improvement, interval.low, interval.high,
        passed=passed, judged=judged,
    )  # fmt: skip


def _values(rows: EvaluationSet, column: str) -> Sequence[Any] | None:
    if column in rows.columns:
        return rows.columns[column]
    if all(column in instance for instance in rows.instances):
        return [instance[column] for instance in rows.instances]
    return None


def _text(value: Any) -> str:
    """A value as text, "" for a missing one."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return str(value).strip()


def _kind(texts: list[str]) -> FeatureKind:
    if any(map(NUMBER.fullmatch, texts)) and all(
        NUMBER.fullmatch(text) or text.lower() in MISSING_NUMBERS for text in texts
    ):
        return "number"
    return "date" if texts and all(map(_DATE.fullmatch, texts)) else "category"


def _values_one_by_one(texts: list[str]) -> list[Part]:
    most = [text for text, _ in sorted(Counter(texts).items(), key=lambda found: (-found[1], found[0]))]
    shown = most if len(most) <= MOST_VALUES else most[:MOST_VALUES]
    places = {text: place for place, text in enumerate(shown)}
    return _parts([places.get(text, MOST_VALUES) for text in texts], [*map(quoted, shown), OTHER])


def _quarters(texts: list[str]) -> list[Part]:
    values = np.array([float(text) for text in texts])
    if not np.isfinite(values).all():
        raise ValueError("1e999 is no number")
    distinct = np.unique(values)
    if len(distinct) <= PARTS:
        return _parts(np.searchsorted(distinct, values).tolist(), [f"{value:g}" for value in distinct])
    edges = np.unique(np.quantile(values, np.arange(1, PARTS) / PARTS, method="inverted_cdf"))
    edges = edges[edges < distinct[-1]]
    if not len(edges):  # more than three quarters of the rows have the largest value
        edges = distinct[-2:-1]
    names = [f"up to {edges[0]:g}"]
    names += [f"above {low:g}, up to {high:g}" for low, high in pairwise(edges)]
    return _parts(np.searchsorted(edges, values).tolist(), [*names, f"above {edges[-1]:g}"])


def _months(texts: list[str]) -> list[Part]:
    if not all(map(_DATE.fullmatch, texts)):
        raise ValueError("a date is not ISO 8601")
    return _parts([int(text[5:7]) - 1 for text in texts], _MONTHS)


def _parts(places: Sequence[int], names: Sequence[str]) -> list[Part]:
    found = np.array(places, dtype=np.int64)
    return [(names[place], np.flatnonzero(found == place)) for place in np.unique(found).tolist()]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


_CUTS: dict[FeatureKind, Callable[[list[str]], list[Part]]] = {
    "number": _quarters,
    "category": _values_one_by_one,
    "text": _values_one_by_one,
    "date": _months,
}
