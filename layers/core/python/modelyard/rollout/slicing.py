"""What is frozen at the first look: the bins of answers, the spread of numbers, what is slow, the slices.

The rule: what answers are compared by is made from the champion alone, from the first 100 rows that it answered, and
stays the same. Bins that moved from look to look would follow the answers that they are to judge. The workflow hands
`Frozen` from one verdict to the next; without it, it is made from the same first rows again. A shift is counted in the
rows after those, so that bins which fit the first rows by luck prove nothing.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from modelyard.evaluation.slices import MISSING, MOST_VALUES, OTHER, PARTS
from modelyard.evaluation.words import quoted
from modelyard.metrics import Rows
from modelyard.rollout.answers import Answer
from modelyard.rollout.observations import Observations, Request, Table

FREEZE = 100
"""Rows of the champion."""
BINS = 10
SLOW = 0.95
"""Not the very slowest: with those in it, one garbage collection among the first requests would hide all others."""
FEWEST_SHARE = 0.05
"""A bin of scores that holds less than this of the champion's is joined with the next."""


class Cut(msgspec.Struct, frozen=True):
    """How a column is cut into slices: at edges where it holds numbers, else by its values."""

    names: list[str]
    edges: list[float] | None = None
    values: list[str] | None = None

    @property
    def parts(self) -> list[str]:
        """Every slice's name; the last two hold what has no slice of its own, and what is missing."""
        return [*self.names, OTHER, MISSING]


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """What the champion's first answers say, and what every look measures by.

    Attributes:
        rows: How many rows it was made from.
        until: Time and prediction id of the last request among them; answers after it are counted for a shift.
        form: Which form the champion's answers have.
        edges: Of the bins of numbers.
        classes: The champion's classes, the most frequent first; the bins of labels.
        score_edges: Of the bins of probabilities.
        spread: Of its numbers: the width of the middle 80 %, as the standard deviation of a normal distribution.
        slow_ms: What it took for the slowest of its first requests but one in twenty.
        cuts: Of each column that is sliced.
    """

    rows: int
    until: tuple[str, str]
    form: str
    edges: list[float]
    classes: list[str]
    score_edges: list[float]
    spread: float
    slow_ms: float | None
    cuts: dict[str, Cut]


def freeze(observations: Observations, slices: Sequence[str], *, rows: int = FREEZE) -> Frozen | None:
    """Freeze from the champion's first rows; None while there are fewer than ``rows`` of them."""
    requests = sorted([*observations.pairs.requests, *observations.champion_arm.requests], key=lambda one: one.key)
    used: list[Request] = []
    answers: list[Answer] = []
    for request in requests:
        used.append(request)
        answers += [answer for answer in request.champion or () if not answer.problem]
        if len(answers) >= rows:
            break
    else:
        return None
    form = Counter(answer.form for answer in answers).most_common(1)[0][0]
    numbers = np.array([answer.number for answer in answers if math.isfinite(answer.number)])
    if form == "vector" or not len(numbers):
        numbers = np.array([length_of(answer) for answer in answers if answer.vector])
    took = sorted(request.champion_ms for request in used if math.isfinite(request.champion_ms))
    instances = [instance for request in used for instance in request.instances]
    counted = Counter(answer.key for answer in answers)
    known = {name for answer in answers for name in answer.probabilities or ()}
    classes = sorted({*counted, *known}, key=lambda name: (-counted[name], name))
    is_number = form in ("number", "vector")
    return Frozen(
        rows=len(answers),
        until=used[-1].key,
        form=form,
        edges=_quantiles(numbers, BINS) if is_number else [],
        classes=[] if is_number else classes[:MOST_VALUES],
        score_edges=[] if is_number else _quantiles(numbers, BINS) if form == "other" else _score_edges(numbers),
        spread=spread_of(numbers) if len(numbers) else 1.0,
        slow_ms=took[math.ceil(SLOW * len(took)) - 1] if took else None,
        cuts={column: _cut([value_of(instance, column) for instance in instances]) for column in slices},
    )


def length_of(answer: Answer) -> float:
    """The numbers of an answer as one: the length of their vector."""
    return float(np.linalg.norm(answer.vector or ()))


def value_of(instance: Any, column: str) -> Any:
    """What a row has in a column; None where it has nothing."""
    if isinstance(instance, Mapping):
        return instance.get(column)
    if isinstance(instance, list) and column.isdecimal() and int(column) < len(instance):
        return instance[int(column)]
    return None


def places(observations: Observations, side: str, table: Table, column: str, cut: Cut) -> Rows:
    """The slice of each row, as an index into ``cut.parts``; what is known from the last look is not asked again."""
    known, done = observations.places.get((side, column)), 0
    found: list[Rows] = []
    if known is not None and known[0] == cut and len(known[1]) <= len(table.of):
        found, done = [known[1]], len(known[1])
    if done < len(table.of):
        first = int(table.of[done])
        new = [instance for request in table.requests[first:] for instance in request.instances]
        found.append(np.array([_place(value_of(instance, column), cut) for instance in new], dtype=np.int64))
    all_places = np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
    observations.places[side, column] = cut, all_places
    return all_places


def number_of(value: Any) -> float:
    """A value as a number, NaN where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def text_of(value: Any) -> str:
    """A value as the name of a slice."""
    return quoted(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _place(value: Any, cut: Cut) -> int:
    if value is None or value == "":
        return len(cut.names) + 1
    if cut.edges is not None:
        number = number_of(value)
        return len(cut.names) if math.isnan(number) else int(np.searchsorted(cut.edges, number))
    names = cut.values or []
    text = text_of(value)
    return names.index(text) if text in names else len(names)


def _cut(values: list[Any]) -> Cut:
    there = [value for value in values if value is not None and value != ""]
    numbers = np.array([number_of(value) for value in there])
    if len(numbers) and np.isfinite(numbers).all() and len(np.unique(numbers)) > PARTS:
        edges = _quantiles(numbers, PARTS)
        names = [f"up to {edges[0]:g}", *(f"above {low:g}, up to {high:g}" for low, high in pairwise(edges))]
        return Cut([*names, f"above {edges[-1]:g}"], edges=edges)
    counted = Counter(map(text_of, there))
    names = [name for name, _ in sorted(counted.items(), key=lambda one: (-one[1], one[0]))][:MOST_VALUES]
    return Cut(names, values=names)


def _quantiles(values: Any, parts: int) -> list[float]:
    """Inner edges of parts with about as many values each; values that are equal stay together."""
    distinct = np.unique(values)
    if len(distinct) <= parts:
        return [float(edge) for edge in distinct[:-1]]
    edges = np.unique(np.quantile(values, np.arange(1, parts) / parts, method="inverted_cdf"))
    edges = edges[edges < distinct[-1]]
    return [float(edge) for edge in edges] if len(edges) else [float(distinct[-2])]


def _score_edges(scores: Any) -> list[float]:
    if not len(scores):
        return []
    edges: list[float] = []
    below = 0.0
    for edge in np.arange(1, BINS) / BINS:
        share = float((scores <= edge).mean())
        if share - below >= FEWEST_SHARE and 1 - share >= FEWEST_SHARE:
            edges.append(float(edge))
            below = share
    return edges


def spread_of(numbers: Any) -> float:
    """How far numbers scatter: the width of the middle 80 %, which a heavy tail does not move."""
    low, high = np.quantile(numbers, [0.1, 0.9])
    for found in (float(high - low) / 2.563, float(numbers.std()), float(abs(numbers).max())):
        if found > 0 and math.isfinite(found):
            return found
    return 1.0
