"""The JSON form of a contract, typed: what a version's manifest holds and the pointer quotes.

No numpy, pydantic or dataclasses here, because the endpoint imports this at every cold start. `parse` believes nothing:
a document comes from a database or from a file in a bucket, and what the endpoint compiles from it decides which
requests are answered.
"""

import struct
from math import isfinite
from typing import Any, Literal

import msgspec

from modelyard.errors import UsageError
from modelyard.predictor.array import CODES
from modelyard.predictor.signature import DTYPES, FLOATS, INTEGERS

FORMAT = 1
Mode = Literal["reject", "clip", "warn"]
MODES: tuple[Mode, ...] = ("warn", "clip", "reject")
"""What happens to a value outside, the mildest first: answered with a warning, moved to the nearest limit, refused."""

NUMBERS = FLOATS | INTEGERS
MOST_ELEMENTS = 1024
"""Elements of a row that have limits of their own; more (pictures, embeddings) share one pair."""

Limit = int | float | tuple[int | float, ...]


class Field(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a contract says about one input.

    Attributes:
        dtype: As in the signature.
        shape: As in the signature; None is a size that may vary.
        mode: What happens to a value outside. Only numbers are ever clipped.
        minimum: The lowest value allowed: one for all elements, or for an input ``[batch, F]`` one for each of the F.
        maximum: The highest, likewise.
        seen: The lowest and the highest that the sample held, without tolerance.
        categories: The texts that are allowed, with their shares of the rows that have a value. None is free text.
        nulls: Whether a value may be missing: null in a request, NaN in an array of floats, the empty text in one of
            texts.
        null_rate: The share of rows in which it was. None where no sample was looked at.
    """

    dtype: str
    shape: tuple[int | None, ...]
    mode: Mode
    minimum: Limit | None = None
    maximum: Limit | None = None
    seen: tuple[Limit, Limit] | None = None
    categories: dict[str, float] | None = None
    nulls: bool
    null_rate: float | None = None

    @property
    def elements(self) -> int | None:
        """How many elements of a row may have limits of their own; None when they share one pair."""
        return own_limits(self.shape)


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What a version promises to answer. ``rows`` is the size of the sample; 0 when there was none."""

    format: int = FORMAT
    rows: int
    fields: dict[str, Field]


def own_limits(shape: tuple[int | None, ...]) -> int | None:
    """How many elements of a row of this shape have limits of their own; None when they share one pair.

    Example:
        >>> own_limits((None, 30)), own_limits((None, 1)), own_limits((None, 8, 8))
        (30, None, None)
    """
    if len(shape) == 2 and shape[1] is not None and 1 < shape[1] <= MOST_ELEMENTS:
        return shape[1]
    return None


def to_json(contract: Contract) -> dict[str, Any]:
    """The JSON form: plain dicts and lists, without what is not known."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(contract))  # to_builtins would keep tuples
    return document


def parse(document: Any) -> Contract:
    """Read the JSON form.

    Raises:
        UsageError: With code ``invalid_contract`` and the path of the value at fault.
    """
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise _invalid("contract.format", f"is {_shown(found)}; this release reads {FORMAT}")
    try:
        contract = msgspec.convert(document, Contract)
    except msgspec.ValidationError as wrong:
        raise _invalid("contract", f"is not valid: {wrong}") from wrong
    if contract.rows < 0:
        raise _invalid("contract.rows", f"is {contract.rows}; it must be 0 or more")
    for name, field in contract.fields.items():
        problem = _problem(field)
        if problem is not None:
            raise _invalid(f"contract.fields.{name[:80]}", problem)
    return contract


def _problem(field: Field) -> str | None:
    """What is wrong with a field beyond the types of its keys."""
    if field.dtype not in DTYPES:
        return f"has dtype {_shown(field.dtype)}; allowed are {', '.join(sorted(DTYPES))}"
    if not field.shape or any(size is not None and size < 0 for size in field.shape):
        return f"has shape {list(field.shape)}; it must be [null, ...], sizes from 0 on, null where one may vary"
    for name, share in (("null_rate", field.null_rate), *(field.categories or {}).items()):
        if share is not None and not 0 <= share <= 1:
            return f"has the share {share} for {_shown(name)}; it must lie between 0 and 1"
    if field.categories is not None and (field.dtype != "string" or not field.categories):
        return "has categories; only text has them, and at least one"
    if field.mode == "clip" and field.dtype not in NUMBERS:
        return f"has mode 'clip' and dtype {field.dtype}; only numbers can be clipped"
    limits = {"minimum": field.minimum, "maximum": field.maximum}
    if field.seen is not None:
        limits |= {"seen[0]": field.seen[0], "seen[1]": field.seen[1]}
    for name, limit in limits.items():
        problem = None if limit is None else _limit_problem(field, limit)
        if problem is not None:
            return f"has {name} {problem}"
    crossed = next((low for low, high in pairs(field.minimum, field.maximum) if low > high), None)
    return None if crossed is None else f"has a minimum of {crossed:g} above its maximum"


def _limit_problem(field: Field, limit: Limit) -> str | None:
    if field.dtype not in NUMBERS:
        return f"and dtype {field.dtype}; only numbers have limits"
    if isinstance(limit, tuple) and len(limit) != field.elements:
        wanted = "one number" if field.elements is None else f"one number or a list of {field.elements}"
        return f"with {len(limit)} values; it must be {wanted}"
    values = limit if isinstance(limit, tuple) else (limit,)
    if not all(isinstance(value, int) or isfinite(value) for value in values):
        return "that is not a finite number"
    beyond = next((value for value in values if not _holds(field.dtype, value)), None)
    return None if beyond is None else f"of {_shown(beyond)}, which {field.dtype} cannot hold"


def _holds(dtype: str, value: float) -> bool:
    """Whether a dtype has the value, a float one as near as it comes."""
    if dtype in INTEGERS and value != int(value):
        return False
    try:
        struct.pack(f"={CODES[dtype]}", value if dtype in FLOATS else int(value))
    except (OverflowError, struct.error):
        return False
    return True


def pairs(low: Limit | None, high: Limit | None) -> list[tuple[int | float, int | float]]:
    """Two limits element by element, one number standing for every element; empty where either is missing.

    Example:
        >>> pairs(0, (1, 2)), pairs(None, 1)
        ([(0, 1), (0, 2)], [])
    """
    if low is None or high is None:
        return []
    count = max(len(limit) if isinstance(limit, tuple) else 1 for limit in (low, high))
    lows, highs = (limit if isinstance(limit, tuple) else (limit,) * count for limit in (low, high))
    return list(zip(lows, highs, strict=True))


def _invalid(field: str, problem: str) -> UsageError:
    return UsageError(
        f"{field} {problem}",
        code="invalid_contract",
        field=field,
        next_step="Register the model again: its contract is made anew, from its training data or from a sample.",
    )


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
