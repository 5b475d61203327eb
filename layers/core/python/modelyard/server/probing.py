"""What a version's runs cost, and whether its rows can be run together, found out when it is loaded.

The rule: requests are put together only where a row's answer does not depend on the rows beside it. A model may break
that (it normalises over the batch, or quantises with one scale for all), and then its callers would get answers that
change with the traffic. So rows are run alone and together, and compared. That takes values that the model takes: where
those tried here are refused, nothing is put together.
"""

from math import isclose, prod
from typing import Any

from modelyard.errors import ModelError
from modelyard.predictor.array import Array
from modelyard.predictor.predictor import Predictor
from modelyard.predictor.reader import Batch
from modelyard.predictor.signature import FLOATS, INTEGERS, Tensor
from modelyard.server.costs import RunCost
from modelyard.server.merging import merged, shared_out

ROWS = 64
"""That are run together at most."""

LONG_S = 0.25
"""A run that takes longer is the last: nobody waits for more to be found out."""

COMPARED = 16
"""Rows that are run alone, to be compared."""

TIMES = 3
"""How often each size is run at least; the quickest counts."""

WARM_S = 0.005
"""For how long a size is run: the first runs of a version that was just loaded take ten times as long as later ones."""

MOST_TIMES = 50
"""How often at most."""

TOLERANCE = 1e-3
"""By which numbers may differ, as a share: larger matrices are added up in another order."""

FREE = 4
"""Of a size that the model leaves open, apart from the rows."""

SCALES = (1, 10, 100)
"""Of floats that are tried, by turns: a model may look at its neighbours only where a value is large."""

NUMBERS = (97, 11, 2)
"""Integers below which are tried: many, as rows of few look alike where a layer looks them up; fewer where it has no
more. The last is not asked for: what refuses 0 and 1 is not run together."""


class Probed:
    """What was found out.

    Attributes:
        cost: Of runs.
        mergeable: Whether rows can be run together.
    """

    __slots__ = ("cost", "mergeable")

    def __init__(self, cost: RunCost, *, mergeable: bool) -> None:
        self.cost = cost
        self.mergeable = mergeable


def probe(predictor: Predictor, most: int = ROWS) -> Probed:
    """Find out; raises nothing, for a model that refuses what is tried here answers its requests all the same.

    Args:
        predictor: The version.
        most: Rows that are run together at most.
    """
    cost = RunCost()
    try:
        numbers = _numbers(predictor)
        rows = [_row(predictor, number, numbers) for number in range(most)]
        alone: list[list[Any]] = []
        size = 1
        while size <= most:
            part = rows[:size]
            outputs = _timed(predictor, merged(part), cost)
            if size == 1 and predictor.check_rows.exactly is not None:
                return Probed(cost, mergeable=False)
            if size <= COMPARED:
                alone += [predictor.run_timed(row)[0] for row in rows[len(alone) : size]]
            if not _same(outputs, part, alone):
                return Probed(cost, mergeable=False)
            if size > 1 and cost.of(size) > LONG_S:
                break
            size *= 4
    except Exception:  # noqa: BLE001 - whatever it is, requests are answered one by one
        if cost.of(1) == 0.0:  # nothing is known: its runs are no matter for the event loop, until some were short
            cost.saw(1, LONG_S)
        return Probed(cost, mergeable=False)
    return Probed(cost, mergeable=most > 1)


def _same(together: list[Any], rows: list[Batch], alone: list[list[Any]]) -> bool:
    """Whether rows that were run together have answers like those that they have alone."""
    shares = shared_out(together, rows)
    return shares is not None and all(
        _alike(one, other)
        for share, own in zip(shares, alone, strict=False)  # as many as were run alone
        for one, other in zip(share, own, strict=True)
    )


def _timed(predictor: Predictor, batch: Batch, cost: RunCost) -> list[Any]:
    quickest, spent = float("inf"), 0.0
    for number in range(MOST_TIMES):
        if (number >= TIMES and spent >= WARM_S) or spent > LONG_S:
            break
        outputs, seconds = predictor.run_timed(batch)
        quickest = min(quickest, seconds)
        spent += seconds
    cost.saw(batch.rows, quickest)
    return outputs


def _numbers(predictor: Predictor) -> list[int]:
    """For each input, integers below which the model takes; each is found out by itself, with 0 and 1 in the others."""
    inputs = predictor.signature.inputs
    if not any(tensor.dtype in INTEGERS for tensor in inputs):
        return [NUMBERS[-1]] * len(inputs)
    if _takes(predictor, [NUMBERS[0]] * len(inputs)):
        return [NUMBERS[0]] * len(inputs)
    found = [NUMBERS[-1]] * len(inputs)
    for place, tensor in enumerate(inputs):
        if tensor.dtype in INTEGERS:
            others = [NUMBERS[-1]] * len(inputs)
            found[place] = next(
                (below for below in NUMBERS[:-1] if _takes(predictor, [*others[:place], below, *others[place + 1 :]])),
                NUMBERS[-1],
            )
    return found


def _takes(predictor: Predictor, numbers: list[int]) -> bool:
    """Whether the model takes the largest integers of each input."""
    inputs = predictor.signature.inputs
    arrays = [
        Array.pack(tensor.dtype, array.shape, [below - 1] * prod(array.shape)) if tensor.dtype in INTEGERS else array
        for tensor, array, below in zip(inputs, _row(predictor, 1, numbers).arrays, numbers, strict=True)
    ]
    try:
        predictor.run_timed(Batch(1, arrays, []))
    except ModelError:
        return False
    return True


def _row(predictor: Predictor, number: int, numbers: list[int]) -> Batch:
    inputs = predictor.signature.inputs
    return Batch(1, [_array(tensor, number, below) for tensor, below in zip(inputs, numbers, strict=True)], [])


def _array(tensor: Tensor, number: int, below: int) -> Array:
    """A row of values that most models take, another one for each number."""
    sizes = [FREE if size is None else size for size in tensor.shape[1:]]
    count = prod(sizes)
    if tensor.dtype in FLOATS:
        # Another one for each row, or a scale for all would be that of each.
        largest = (1 + number % 8) / 8 * SCALES[number % len(SCALES)]
        elements: list[Any] = [((number * 7 + place * 3) % 11) / 10 * largest for place in range(count)]
    elif tensor.dtype == "string":
        elements = [str(number)] * count
    elif tensor.dtype == "bool":
        elements = [(number + place) % 2 == 0 for place in range(count)]
    else:
        elements = [(number * 7 + place * 3) % below for place in range(count)]
    return Array.pack(tensor.dtype, (1, *sizes), elements)


def _alike(one: Any, other: Any) -> bool:
    if type(one) is list:  # the rows of a ZipMap
        return all(
            row.keys() == its.keys()
            and all(isclose(row[key], its[key], rel_tol=TOLERANCE, abs_tol=1e-5) for key in row)
            for row, its in zip(one, other, strict=True)
        )
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    pairs = zip(one.elements(), other.elements(), strict=True)
    if one.dtype in FLOATS:
        return all(isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-5) or (a != a and b != b) for a, b in pairs)
    return all(a == b for a, b in pairs)
