"""From the text of a request to arrays, in one pass: `Reader`, compiled from signature and contract when a model loads.

::

    '{"instances": [...]}' ─► decoder made for this model ─► columns ─► struct.pack ─► Array
                                    │ refuses
                                    └─► any JSON ─► encode.py, enforcement.py ─► which row, which field, why

The decoder is msgspec's, over structs that have a field for each input, typed with the ranges and categories of the
contract: what it returns is right in type, shape and value and needs no other look. Its rule: it is only ever stricter
than the slow path. What it refuses is read again, and the slow path decides and explains; what both take is the same.
"""

import struct
import typing
from collections.abc import Callable
from itertools import chain, starmap
from math import inf
from operator import attrgetter
from typing import Any

import msgspec

from modelyard.contract.document import MOST_ELEMENTS, Contract
from modelyard.errors import RequestError
from modelyard.predictor.array import CODES, Array
from modelyard.predictor.encode import absent, encode
from modelyard.predictor.enforcement import FieldCheck, checks_of
from modelyard.predictor.signature import FLOATS, INTEGERS, Signature, Tensor

_EXAMPLE = 'Send {"instances": [...]}.'
_INT64 = range(-(2**63), 2**63)
_UNWRITABLE = frozenset('"\\').union(map(chr, range(32)))  # names that a struct cannot have


class Batch:
    """What one request asks for.

    Attributes:
        rows: How many instances.
        arrays: One for each input, in the order of the signature.
        warnings: What the contract warns of, at most `modelyard.predictor.enforcement.MOST_WARNINGS`.
    """

    __slots__ = ("arrays", "rows", "warnings")

    def __init__(self, rows: int, arrays: list[Array], warnings: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.arrays = arrays
        self.warnings = warnings


class Reader:
    """Reads requests for one version.

    Args:
        signature: What it takes.
        contract: What its values must be, or ``None``.
        check_rows: Refuses a number of instances; asked before each of them is looked at on the slow path.

    Attributes:
        inputs: The signature's.
        checks: What the contract says of each, or ``None``.
        nulls: Names of inputs in which ``null``, or what stands for it, may come.
    """

    __slots__ = ("_check_rows", "_columns", "_decoder", "_instance", "_keys", "_late", "checks", "inputs", "nulls")

    def __init__(
        self,
        signature: Signature,
        contract: Contract | None = None,
        *,
        check_rows: Callable[[int], object] | None = None,
    ) -> None:
        self.inputs = signature.inputs
        self._check_rows = check_rows
        self.checks = checks_of(signature.inputs, contract)
        self.nulls = frozenset(tensor.name for tensor in signature.inputs if tensor.nullable).union(
            check.tensor.name for check in self.checks if check and check.nulls
        )
        # Rules that the decoder does not enforce: what may be clipped or let through.
        self._late = [(place, check) for place, check in enumerate(self.checks) if check and not check.refuses_at_once]
        self._decoder: Any = None
        self._compile()

    def _compile(self) -> None:
        columns = [_Column(tensor, check) for tensor, check in zip(self.inputs, self.checks, strict=True)]
        names = [tensor.name for tensor in self.inputs]
        if any(column.type is None for column in columns) or any(not _UNWRITABLE.isdisjoint(name) for name in names):
            return
        fields = [f"f{place}" for place in range(len(names))]
        # gc=False: instances hold no reference to each other, and need not be tracked.
        self._instance = msgspec.defstruct(
            "Instance",
            [(field, column.type) for field, column in zip(fields, columns, strict=True)],
            rename=dict(zip(fields, names, strict=True)),
            forbid_unknown_fields=True,
            gc=False,
        )
        row: Any = self._instance if len(names) > 1 else self._instance | columns[0].type
        body = msgspec.defstruct("Body", [("instances", list[row])], forbid_unknown_fields=True, gc=False)
        self._columns = columns
        self._keys = attrgetter(*fields)
        self._decoder = msgspec.json.Decoder(body)

    def read(self, body: str | bytes) -> Batch:
        """The arrays that a body asks for.

        Args:
            body: JSON text, ``{"instances": [...]}``.

        Raises:
            RequestError: For what is wrong with it, with field and row; status 422 where the contract says so.
        """
        if self._decoder is not None:
            try:
                instances = self._decoder.decode(body).instances
                arrays = self._arrays(body, instances)
            except (msgspec.DecodeError, ValueError, OverflowError, struct.error, RecursionError, _UndecidedError):
                pass  # the slow path finds out what it is
            else:
                warnings: list[dict[str, Any]] = []
                for place, check in self._late:
                    arrays[place] = check.apply(arrays[place], warnings)
                return Batch(len(instances), arrays, warnings)
        return self.batch(read_instances(body))

    def batch(self, instances: list[Any]) -> Batch:
        """The same for instances that were decoded already.

        Raises:
            RequestError: As `read` does.
        """
        if self._check_rows is not None:
            self._check_rows(len(instances))
        return self.checked(len(instances), encode(self.inputs, instances, nulls=self.nulls))

    def checked(self, rows: int, arrays: list[Array], *, clean: frozenset[int] = frozenset()) -> Batch:
        """The same for arrays that fit the signature.

        Args:
            rows: How many they have.
            arrays: One for each input.
            clean: Places of those in which nothing can be wrong.

        Raises:
            RequestError: Where the contract refuses a value.
        """
        warnings: list[dict[str, Any]] = []
        return Batch(
            rows,
            [
                check.apply(array, warnings) if check and place not in clean else array
                for place, (check, array) in enumerate(zip(self.checks, arrays, strict=True))
            ],
            warnings,
        )

    def _arrays(self, body: str | bytes, instances: list[Any]) -> list[Array]:
        columns, rows = self._columns, len(instances)
        values: list[Any]
        if len(columns) > 1:
            keys = 1 + rows * len(columns)
            values = list(zip(*map(self._keys, instances)))  # noqa: B905 - each has as many as there are fields
        else:
            kinds = set(map(type, instances))
            if self._instance not in kinds:
                keys, values = 1, [instances]
            elif len(kinds) == 1:
                keys, values = 1 + rows, [list(map(self._keys, instances))]
            else:
                raise _UndecidedError  # some bare and some objects
        if not rows:
            raise _UndecidedError
        # Each key brings one colon. More of them means a key twice in one object, of which the decoder keeps the last,
        # or text with colons in it; the slow path tells which.
        if keys == 1:
            colon: Any = ":" if isinstance(body, str) else b":"
            if body.find(colon) != body.rfind(colon):  # several times as fast as counting
                refuse_duplicate_keys(body)
        elif keys != (body.count(":") if isinstance(body, str) else body.count(b":")):
            refuse_duplicate_keys(body)
        return [column.array(found, rows) for column, found in zip(columns, values, strict=True)]


class _UndecidedError(Exception):
    """The fast path leaves this request to the slow one."""


class _Column:
    """One input: its type for the decoder, and how what that gives becomes an array."""

    __slots__ = ("_depth", "_nullable", "_pack_row", "_shape", "tensor", "type")

    def __init__(self, tensor: Tensor, check: FieldCheck | None) -> None:
        self.tensor = tensor
        self._nullable = check.takes_null if check else tensor.nullable
        self._shape = tensor.shape[1:]
        self._depth = 0 if tensor.scalar else len(self._shape)
        self.type: Any = None
        self._pack_row: Any = None
        if self._depth == 1 and tensor.dtype != "string" and self._shape[0] is not None:
            self._pack_row = struct.Struct(f"={self._shape[0]}{CODES[tensor.dtype]}").pack
        if tensor.scalar or None not in self._shape:
            self.type = self._typed(check)

    def array(self, values: Any, rows: int) -> Array:
        if self._pack_row is not None:  # rows of numbers: by far the largest requests
            shape: Any = (rows, *self._shape)
            return Array(self.tensor.dtype, shape, b"".join(starmap(self._pack_row, values)))
        for _ in range(self._depth):
            values = list(chain.from_iterable(values))
        if self._nullable and None in values:
            values = absent(self.tensor.dtype, values)
        return Array.pack(self.tensor.dtype, (rows, *self._shape), values)  # type: ignore[arg-type]  # no None in it

    def _typed(self, check: FieldCheck | None) -> Any:
        """The type for the decoder; None where it has none for what the contract says."""
        dtype = self.tensor.dtype
        element: Any = float if dtype in FLOATS else int if dtype in INTEGERS else bool if dtype == "bool" else str
        if check is not None and check.refuses_at_once:
            if check.categories is not None:
                element = typing.Literal[(*check.categories, "") if check.takes_null else check.categories]
            if isinstance(check.minimum, tuple) or isinstance(check.maximum, tuple):
                return self._row_of(element, check)
            ((least,), (most,)) = check.bounds(1)
            element = _bounded(element, least, most)
            if element is None:
                return None
        if self._nullable:
            element = element | None
        if self._pack_row is not None and self._shape[0] <= MOST_ELEMENTS:  # type: ignore[operator]  # not None then
            return tuple[(element,) * self._shape[0]]  # type: ignore[operator,misc]  # a tenth faster than a list
        for size in reversed(self._shape if self._depth else ()):
            element = typing.Annotated[list[element], msgspec.Meta(min_length=size, max_length=size)]
        return element

    def _row_of(self, element: Any, check: FieldCheck) -> Any:
        """A row of a matrix with bounds of its own for each column."""
        if self._depth != 1:
            return None
        width: int = self._shape[0]  # type: ignore[assignment]  # not None, as the caller knows
        least, most = check.bounds(width)
        if len(least) != width or len(most) != width:
            return None
        row = tuple(_bounded(element, low, high) for low, high in zip(least, most, strict=True))
        return None if None in row else tuple[row]  # type: ignore[valid-type]


def _bounded(element: Any, least: float, most: float) -> Any:
    """The type of a number within bounds; None for bounds that msgspec cannot hold."""
    low, high = None if least == -inf else least, None if most == inf else most
    if element is int and any(limit is not None and limit not in _INT64 for limit in (low, high)):
        return None
    if low is None and high is None:
        return element
    return typing.Annotated[element, msgspec.Meta(ge=low, le=high)]


def read_instances(body: str | bytes) -> list[Any]:
    """The instances of a body, whatever they are.

    Raises:
        RequestError: When it is not JSON, not ``{"instances": [...]}``, or has a key twice.
    """
    try:
        document = msgspec.json.decode(body)
    except RecursionError:
        raise RequestError("the body nests too deep", code="invalid_json", next_step=_EXAMPLE) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise RequestError(f"the body is not valid JSON: {error}", code="invalid_json", next_step=_EXAMPLE) from None
    if type(document) is not dict:
        raise RequestError("the body must be a JSON object", code="wrong_type", next_step=_EXAMPLE)
    instances = document.get("instances")
    if type(instances) is not list:
        problem = "must be a list" if "instances" in document else "is missing"
        code = "wrong_type" if "instances" in document else "missing_field"
        raise RequestError(f"'instances' {problem}", code=code, field="instances", next_step=_EXAMPLE)
    if len(document) > 1:
        unknown = next(key for key in document if key != "instances")[:80]
        raise RequestError(
            f"the body has {unknown!r}; only 'instances' is allowed", code="unknown_field", field=unknown
        )
    colons = body.count(":") if isinstance(body, str) else body.count(b":")
    if colons != 1 + sum(len(instance) for instance in instances if type(instance) is dict):
        refuse_duplicate_keys(body)
    return instances


def refuse_duplicate_keys(body: str | bytes) -> None:
    """Refuse ``{"a": 1, "a": 2}``, of which a parser silently keeps the last.

    Raises:
        RequestError: Naming the key.
    """
    import json

    def unique(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise RequestError(f"the key {key[:80]!r} appears twice in one object", code="duplicate_key")
            seen.add(key)

    try:
        json.loads(body, object_pairs_hook=unique)
    except RecursionError:
        raise RequestError("the body nests too deep", code="invalid_json", next_step=_EXAMPLE) from None
