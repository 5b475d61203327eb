"""Requests to try, made of what a version's training data looked like: its ranges and its most frequent categories.

The rule: no row of the data is shown, and every example is one that the contract allows. Pure.
"""

from itertools import cycle, islice
from typing import Any

from modelyard.contract.document import Field, Limit
from modelyard.predictor.signature import INTEGERS, Tensor

VARIABLE = 2
"""Length of an axis that may vary."""

MOST_ROWS = 64
"""Rows of an example, where a model takes one number of them and no other; of more there is no example."""


def instances(tensors: tuple[Tensor, ...], fields: dict[str, Field]) -> list[dict[str, Any]]:
    """Up to three instances: the middle of what was seen, and both ends; one where nothing is known of the data."""
    known = any(field.seen or field.categories for field in fields.values())
    made: list[dict[str, Any]] = []
    for place, share in enumerate((0.5, 0.0, 1.0) if known else (0.5,)):
        instance = {tensor.name: _value(tensor, fields.get(tensor.name), share, place) for tensor in tensors}
        if instance not in made:
            made.append(instance)
    return made


def batches(tensors: tuple[Tensor, ...], fields: dict[str, Field], exactly: int | None) -> list[list[dict[str, Any]]]:
    """Up to two lists of instances that one request may hold, the shortest first.

    Args:
        tensors: The model's inputs.
        fields: What the contract says of them.
        exactly: The only number of rows that the model takes, or None.
    """
    shown = instances(tensors, fields)
    if exactly is None:
        return [shown[:1], shown] if len(shown) > 1 else [shown]
    return [list(islice(cycle(shown), exactly))] if exactly <= MOST_ROWS else []


def _value(tensor: Tensor, field: Field | None, share: float, place: int) -> Any:
    """A value: ``share`` says where between the ends, ``place`` which category."""
    sizes = () if tensor.scalar else tensor.shape[1:]
    if tensor.dtype == "string":
        categories = list(field.categories or ()) if field is not None else []
        element: Any = categories[place % len(categories)] if categories else "text"
    elif tensor.dtype == "bool":
        element = place % 2 == 0
    else:
        elements = [_between(tensor, low, high, share) for low, high in _ends(field)]
        if len(elements) > 1:
            return elements
        element = elements[0]
    for size in reversed(sizes):
        element = [element] * (VARIABLE if size is None else size)
    return element


def _ends(field: Field | None) -> list[tuple[Any, Any]]:
    """Lowest and highest to show, for each element that has limits of its own: what was seen, if it is allowed."""
    if field is None:
        return [(0, 0)]
    count = field.elements or 1
    least, most = _each(field.minimum, count), _each(field.maximum, count)
    low, high = (least, most) if field.seen is None else (_each(field.seen[0], count), _each(field.seen[1], count))
    ends = []
    for place in range(count):
        pair = [
            _clamped(0 if value is None else value, least[place], most[place]) for value in (low[place], high[place])
        ]
        ends.append((pair[0], pair[1]))
    return ends


def _clamped(value: Any, least: Any, most: Any) -> Any:
    value = value if least is None else max(value, least)
    return value if most is None else min(value, most)


def _between(tensor: Tensor, low: Any, high: Any, share: float) -> Any:
    """A number to read: whole where the model takes whole numbers, else of four digits if that stays inside."""
    if tensor.dtype in INTEGERS:
        return (
            int(low) + round((int(high) - int(low)) * share)
            if share not in (0.0, 1.0)
            else int((low, high)[int(share)])
        )
    # And not the way from one to the other, which may be too far for a float; halves of the smallest are 0.
    value = _clamped(low * (1 - share) + high * share, low, high)
    short = float(f"{value:.4g}")
    return short if low <= short <= high else value


def _each(limit: Limit | None, count: int) -> tuple[Any, ...]:
    return limit if isinstance(limit, tuple) else (limit,) * count
