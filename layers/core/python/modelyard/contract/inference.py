"""From arrays to a contract: what was seen in them, with room around it.

The rule: more data never makes a contract narrower. A range grows with the span that was seen, a category stays once it
is known, and where a contract would get too long it says less. So a model that is retrained on a growing data set never
breaks its callers by that alone.

What no request can hold is refused here too, with its row: an infinity anywhere, NaN where the signature has no
missing values. A sample with such values was not made of requests.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelyard.contract.document import NUMBERS, Contract, Field, Limit, Mode, own_limits, pairs
from modelyard.contract.rules import FieldRules, Rules
from modelyard.errors import UsageError
from modelyard.predictor.signature import INTEGERS, Tensor
from modelyard.version import TensorSpec

Array = NDArray[Any]
Texts = Literal["free", "categories"]

MOST_CATEGORIES = 100
"""More distinct texts than that are free text."""
LONGEST_CATEGORY = 200
"""Characters of a text that can be a category."""
LARGEST = 96 * 1024
"""Bytes of JSON up to which a contract keeps all detail; a manifest has room for 256 KiB, with its training files."""
_FIELD_BYTES, _ELEMENT_BYTES, _SHARE_BYTES = 160, 64, 12
_DIGITS = 9


def infer(
    arrays: Mapping[str, Array],
    inputs: Sequence[TensorSpec],
    rules: Rules | None = None,
    *,
    texts: Mapping[str, Texts] | None = None,
) -> Contract:
    """What a contract says after a look at these arrays.

    Args:
        arrays: One for each input, by name, rows first; for an input ``[batch, 1]`` also one axis. Missing is NaN in
            an array of floats, the empty text or None in one of texts. Empty: only the rules say something.
        inputs: The inputs of the signature.
        rules: What the spec says; default: nothing.
        texts: Which text inputs are known to be free text (dates), and which to be categories however few their rows.
            By default, texts are categories when there are at most ``MOST_CATEGORIES`` distinct ones and each came
            twice on average.

    Raises:
        UsageError: With code ``invalid_sample`` when the arrays are none that requests could make,
            ``invalid_contract`` when the rules do not fit the inputs.
    """
    rules, texts = rules or Rules(), texts or {}
    _check_rules(rules, inputs)
    rows = _rows(arrays, inputs)
    fields: dict[str, Field] = {}
    for tensor in inputs:
        said = rules.fields.get(tensor.name, FieldRules())
        array = _as_rows(tensor, arrays[tensor.name]) if rows else None
        found = _Seen() if array is None else _look(tensor, array, texts.get(tensor.name))
        fields[tensor.name] = _field(tensor, found, said, rules)
    return _shortened(Contract(rows=rows, fields=fields))


def _check_rules(rules: Rules, inputs: Sequence[TensorSpec]) -> None:
    known = {tensor.name: tensor for tensor in inputs}
    for name, said in rules.fields.items():
        if name not in known:
            shown = ", ".join(repr(found) for found in list(known)[:12])
            raise _refused_rule(name, f"is no input of the model; its inputs are {shown}")
        dtype = known[name].dtype
        if dtype not in NUMBERS:
            if said.minimum is not None or said.maximum is not None:
                raise _refused_rule(name, f"has a minimum or maximum; {dtype} has no range")
            if said.mode == "clip":
                raise _refused_rule(name, f"has mode 'clip'; {dtype} cannot be clipped, only rejected or warned about")


def _refused_rule(name: str, problem: str) -> UsageError:
    return UsageError(
        f"contract.fields.{name} {problem}",
        code="invalid_contract",
        field=f"contract.fields.{name}",
        next_step="Correct [contract.fields] in model.toml.",
    )


def _rows(arrays: Mapping[str, Array], inputs: Sequence[TensorSpec]) -> int:
    """The number of rows; 0 without arrays."""
    if not arrays:
        return 0
    missing = [tensor.name for tensor in inputs if tensor.name not in arrays]
    if missing:
        raise _refused(f"the sample lacks {missing[0]!r}; it needs every input of the model", missing[0])
    counts = {tensor.name: len(arrays[tensor.name]) for tensor in inputs}
    first = next(iter(counts))
    for name, count in counts.items():
        if count != counts[first]:
            raise _refused(f"the sample has {count} rows of {name!r} and {counts[first]} of {first!r}", name)
    return counts[first]


def _as_rows(tensor: TensorSpec, array: Array) -> Array:
    """The array with the shape that the signature says."""
    if array.ndim == 1 and len(tensor.shape) == 2 and tensor.shape[1] == 1:
        array = array.reshape(-1, 1)
    sizes = tensor.shape[1:]
    fits = array.ndim == len(tensor.shape) and all(
        size in (None, found) for size, found in zip(sizes, array.shape[1:], strict=True)
    )
    if not fits:
        wanted = ["n" if size is None else size for size in sizes]
        raise _refused(f"{tensor.name!r} has rows of shape {list(array.shape[1:])}; expected {wanted}", tensor.name)
    return array


def _refused(problem: str, field: str, row: int | None = None) -> UsageError:
    return UsageError(
        problem,
        code="invalid_sample",
        field=field,
        row=row,
        next_step="Give a sample of values as requests have them.",
    )


# -- what is seen -------------------------------------------------------------------------------------------------


class _Seen(msgspec.Struct, frozen=True):
    """What one array holds; everything None where nothing was looked at."""

    low: Limit | None = None
    high: Limit | None = None
    categories: dict[str, float] | None = None
    null_rate: float | None = None


def _look(tensor: TensorSpec, array: Array, texts: Texts | None) -> _Seen:
    if tensor.dtype == "string":
        return _look_at_texts(array, texts)
    if tensor.dtype == "bool":
        return _Seen(null_rate=0.0)
    return _look_at_numbers(tensor, array)


def _look_at_numbers(tensor: TensorSpec, array: Array) -> _Seen:
    missing = np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, dtype=bool)
    nullable = takes_null(tensor)
    refused = ~np.isfinite(array) & ~missing if array.dtype.kind == "f" else missing
    if refused.any():
        row = int(np.argwhere(refused)[0][0])
        raise _refused(f"{tensor.name!r} of row {row} is infinite; no request can hold that", tensor.name, row)
    if missing.any() and not nullable:
        row = int(np.argwhere(missing)[0][0])
        raise _refused(f"{tensor.name!r} of row {row} is missing; this input takes no missing value", tensor.name, row)
    rate = _rounded(float(missing.mean())) if missing.size else 0.0
    present = array[~missing] if missing.any() else array
    if not present.size:
        return _Seen(null_rate=rate)
    if own_limits(tensor.shape) is not None:
        low, high = present.min(axis=0), present.max(axis=0)
        return _Seen(tuple(map(plain_number, low)), tuple(map(plain_number, high)), null_rate=rate)
    return _Seen(plain_number(present.min()), plain_number(present.max()), null_rate=rate)


def plain_number(value: Any) -> int | float:
    """A numpy number as Python's, with the fewest digits that are the same number in its own precision.

    Example:
        >>> plain_number(np.float32(35.6))
        35.6
    """
    if isinstance(value, np.float16 | np.float32):
        value = np.float64(str(value))
    plain: int | float = value.item()
    return plain + 0.0 if isinstance(plain, float) else plain  # adding zero turns -0.0 into 0.0


def _look_at_texts(array: Array, texts: Texts | None) -> _Seen:
    values = ["" if value is None else str(value) for value in array.ravel().tolist()]
    present = Counter(value for value in values if value)
    count = sum(present.values())
    rate = _rounded(1 - count / len(values)) if values else 0.0
    often = texts == "categories" or 2 * len(present) <= count
    if texts == "free" or not often or not 0 < len(present) <= MOST_CATEGORIES or not all(map(_can_be_key, present)):
        return _Seen(null_rate=rate)
    order = sorted(present.items(), key=lambda item: (-item[1], item[0]))
    return _Seen(categories={name: _rounded(found / count) for name, found in order}, null_rate=rate)


def _can_be_key(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return len(text) <= LONGEST_CATEGORY


def _rounded(share: float) -> float:
    """A share with four digits; what happened at all is never rounded to nothing."""
    return float(f"{share:.4g}")


# -- what is allowed ----------------------------------------------------------------------------------------------


def _field(tensor: TensorSpec, seen: _Seen, said: FieldRules, rules: Rules) -> Field:
    mode: Mode = said.mode or rules.mode
    if mode == "clip" and tensor.dtype not in NUMBERS:
        mode = "reject"  # the mildest that is left: there is no nearest text
    span = list(zip(*(_room(tensor.dtype, *ends, rules.tolerance) for ends in pairs(seen.low, seen.high)), strict=True))
    low, high = (_like(seen.low, limits) for limits in span) if span else (None, None)
    low = low if said.minimum is None else _given(tensor.dtype, said.minimum, math.ceil)
    high = high if said.maximum is None else _given(tensor.dtype, said.maximum, math.floor)
    for one, two in pairs(low, high):
        if one > two:
            raise _refused_rule(
                tensor.name, f"allows from {one:g} to {two:g}, which is nothing; what was seen goes to the other limit"
            )
    nulls = takes_null(tensor) if tensor.dtype != "string" else bool(seen.null_rate)
    return Field(
        dtype=tensor.dtype,
        shape=tensor.shape,
        mode=mode,
        minimum=low,
        maximum=high,
        seen=None if seen.low is None or seen.high is None else (seen.low, seen.high),
        categories=seen.categories,
        nulls=nulls,
        null_rate=seen.null_rate,
    )


def takes_null(tensor: TensorSpec) -> bool:
    """Whether the signature has a missing value for this input."""
    return Tensor(tensor.name, tensor.dtype, tensor.shape).nullable


def _like(pattern: Limit | None, limits: Iterable[int | float]) -> Limit:
    """Limits in the form of another: one number, or one for each element."""
    found = tuple(limits)
    return found if isinstance(pattern, tuple) else found[0]


def _room(dtype: str, low: int | float, high: int | float, tolerance: float) -> tuple[int | float, int | float]:
    """The range that is allowed around one that was seen, within what the dtype can hold."""
    if tolerance == 0:
        return low, high
    least, most = _limits(dtype)
    span = high - low
    margin = tolerance * (span or max(abs(low), 1))
    if dtype in INTEGERS:
        # Python's integers are exact where a float of this size is not.
        room = math.ceil(margin)
        return max(int(low) - room, least), min(int(high) + room, most)
    bottom, top = (float(f"{limit:.{_DIGITS}g}") for limit in (low - margin, high + margin))
    return max(min(bottom, low), least), min(max(top, high), most)


def _given(dtype: str, limit: float, whole: Any) -> int | float:
    """A limit that the spec sets, in the dtype's kind of number and within what it can hold."""
    least, most = _limits(dtype)
    value: int | float = whole(limit) if dtype in INTEGERS else limit
    return min(max(value, least), most)


def _limits(dtype: str) -> tuple[int | float, int | float]:
    if dtype in INTEGERS:
        integers = np.iinfo(dtype)
        return int(integers.min), int(integers.max)
    return float(np.finfo(dtype).min), float(np.finfo(dtype).max)


# -- how long it gets ---------------------------------------------------------------------------------------------


def _shortened(contract: Contract) -> Contract:
    """The contract with less detail where it is too long: the longest field gives first, and only ever widens."""
    fields = dict(contract.fields)
    sizes = {name: _most_bytes(name, field) for name, field in fields.items()}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        if sum(sizes.values()) <= LARGEST:
            break
        fields[name] = _with_less(fields[name])
        sizes[name] = _most_bytes(name, fields[name])
    return msgspec.structs.replace(contract, fields=fields)


def _most_bytes(name: str, field: Field) -> int:
    """About the most bytes of JSON that a field takes.

    Not those that it does take: limits get shorter by chance, and a contract must not say more again because of that.
    """
    limits = (field.minimum, field.maximum, *(field.seen or ()))
    elements = max((len(limit) for limit in limits if isinstance(limit, tuple)), default=1)
    texts = sum(len(category.encode()) + _SHARE_BYTES for category in field.categories or ())
    return _FIELD_BYTES + len(name.encode()) + elements * _ELEMENT_BYTES + texts


def _with_less(field: Field) -> Field:
    """One pair of limits for all elements; free text in the place of categories."""
    low, high, seen = field.minimum, field.maximum, field.seen
    return msgspec.structs.replace(
        field,
        minimum=min(low) if isinstance(low, tuple) else low,
        maximum=max(high) if isinstance(high, tuple) else high,
        seen=None if seen is None else (_end(seen[0], min), _end(seen[1], max)),
        categories=None,
    )


def _end(limit: Limit, which: Any) -> Limit:
    found: Limit = which(limit) if isinstance(limit, tuple) else limit
    return found
