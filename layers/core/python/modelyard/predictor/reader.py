"""From the text of a request to arrays, in one pass: `Reader`, compiled from signature and contract when a model loads.

::

    a large body of numbers ─► rows.py ─► Block
                                    │ leaves it
    '{"instances": [...]}' ─► decoder made for this model ─► rows ─► struct.pack ─► Array, see columns.py
                                    │ refuses
                                    └─► any JSON ─► encode.py, enforcement.py ─► which row, which field, why

The decoder is msgspec's, over structs that have a field for each input, typed with the ranges and categories of the
contract: what it returns is right in type, shape and value and needs no other look. Its rule: it is only ever stricter
than the slow path. What it refuses is read again, and the slow path decides and explains; what both take is the same.
"""

import struct
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from modelyard.contract.document import Contract
from modelyard.errors import RequestError
from modelyard.predictor.array import Array
from modelyard.predictor.columns import Column, Columns
from modelyard.predictor.encode import encode
from modelyard.predictor.enforcement import checks_of
from modelyard.predictor.signature import Signature
from modelyard.predictor.structs import struct_of

if TYPE_CHECKING:
    from modelyard.predictor.block import Block

LARGE_BODY = 2048
"""Characters from which on a body is worth a look by `modelyard.predictor.rows`."""

_EXAMPLE = 'Send {"instances": [...]}.'


class Batch:
    """What one request asks for.

    Attributes:
        rows: How many instances.
        arrays: One for each input, in the order of the signature.
        warnings: What the contract warns of, at most `modelyard.predictor.enforcement.MOST_WARNINGS`.
    """

    __slots__ = ("arrays", "rows", "warnings")

    def __init__(self, rows: int, arrays: Sequence[Array], warnings: list[dict[str, Any]]) -> None:
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

    __slots__ = (
        "_check_rows", "_columns", "_decoder", "_instance", "_late", "_only", "_row_reader", "_value", "checks",
        "inputs", "nulls",
    )  # fmt: skip

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
        self._row_reader: Any = None  # False where there is none for this model
        self._only: Column | None = None
        self._compile()

    def _compile(self) -> None:
        columns = [Column(tensor, check) for tensor, check in zip(self.inputs, self.checks, strict=True)]
        types = [column.type for column in columns]
        instance = None if None in types else struct_of("Instance", [tensor.name for tensor in self.inputs], types)
        if instance is None:
            return
        row: Any = instance if len(columns) > 1 else instance | types[0]
        body = msgspec.defstruct("Body", [("instances", list[row])], forbid_unknown_fields=True, gc=False)
        self._instance = instance
        if len(columns) == 1:
            self._only, self._value = columns[0], attrgetter(instance.__struct_fields__[0])
        else:
            self._columns = Columns(columns)
        self._decoder = msgspec.json.Decoder(body)

    def read(self, body: str | bytes) -> Batch:
        """The arrays that a body asks for.

        Args:
            body: JSON text, ``{"instances": [...]}``.

        Raises:
            RequestError: For what is wrong with it, with field and row; status 422 where the contract says so.
        """
        if len(body) >= LARGE_BODY and self._row_reader is not False:
            block = self._read_large(body)
            if block is not None:
                return self._enforced(block.rows, block)
        if self._decoder is not None:
            try:
                instances = self._decoder.decode(body).instances
                arrays = self._arrays(body, instances)
            except (msgspec.DecodeError, ValueError, OverflowError, struct.error, RecursionError, _UndecidedError):
                pass  # the slow path finds out what it is
            else:
                return self._enforced(len(instances), arrays)
        return self.batch(read_instances(body))

    def _enforced(self, rows: int, arrays: Sequence[Array]) -> Batch:
        warnings: list[dict[str, Any]] = []
        if self._late:
            arrays = list(arrays)
            for place, check in self._late:
                arrays[place] = check.apply(arrays[place], warnings)
        return Batch(rows, arrays, warnings)

    def _read_large(self, body: str | bytes) -> "Block | None":
        if self._row_reader is None:
            from modelyard.predictor.rows import RowReader

            self._row_reader = RowReader.of(self.inputs, self.checks) or False
            if self._row_reader is False:
                return None
        found: Block | None = self._row_reader.arrays(body)
        return found

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

    def _arrays(self, body: str | bytes, instances: list[Any]) -> Sequence[Array]:
        rows = len(instances)
        if not rows:
            raise _UndecidedError
        if self._only is None:
            refuse_surplus_keys(body, 1 + rows * len(self.inputs))
            return self._columns.arrays(list(map(msgspec.structs.astuple, instances)))
        kinds = set(map(type, instances))
        if self._instance not in kinds:
            refuse_surplus_keys(body, 1)
            return [self._only.array(instances, rows)]
        if len(kinds) > 1:
            raise _UndecidedError  # some bare and some objects
        refuse_surplus_keys(body, 1 + rows)
        return [self._only.array(list(map(self._value, instances)), rows)]


class _UndecidedError(Exception):
    """The fast path leaves this request to the slow one."""


def read_instances(body: str | bytes) -> list[Any]:
    """The instances of a body, whatever they are.

    Raises:
        RequestError: When it is not JSON, not ``{"instances": [...]}``, or has a key twice.
    """
    document = read_object(body, example=_EXAMPLE)
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
    refuse_surplus_keys(body, 1 + sum(len(instance) for instance in instances if type(instance) is dict))
    return instances


def read_object(body: str | bytes, *, example: str) -> dict[str, Any]:
    """The JSON object that a body is; of a key that it has twice, the last.

    Args:
        body: Whatever came.
        example: What to send instead, as a sentence.

    Raises:
        RequestError: When it is not JSON or no object.
    """
    document = read_json(body, example=example)
    if type(document) is not dict:
        raise RequestError("the body must be a JSON object", code="wrong_type", next_step=example)
    return document


def read_json(body: str | bytes | msgspec.Raw, *, example: str) -> Any:
    """The value that a body, or a part of one, is; arguments and errors as for `read_object`."""
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise RequestError("the body nests too deep", code="invalid_json", next_step=example) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        why = why_not_json(body, error)
        raise RequestError(f"the body is not valid JSON: {why}", code="invalid_json", next_step=example) from None


def why_not_json(body: str | bytes | msgspec.Raw, error: Exception) -> str:
    """What a decoder found, in words; of half a character it says that the body ended."""
    text = body if isinstance(body, str) else bytes(body).decode("latin-1")
    if "truncated" not in str(error) or "\\ud" not in text.lower():
        return str(error)
    import json

    try:
        json.loads(text)  # takes them
    except (ValueError, RecursionError):
        return str(error)
    return r'it has half of a surrogate pair, like "\ud83d" without "\ude00" behind it, which is no character'


def refuse_surplus_keys(body: str | bytes, keys: int) -> None:
    """Refuse an object that has a key twice, of which a decoder keeps the last.

    Each key brings one colon. More of them means a key twice, or text with colons in it, which a second look tells.

    Args:
        body: JSON that was decoded.
        keys: How many keys came of it.

    Raises:
        RequestError: As `refuse_duplicate_keys` does.
    """
    # `count` looks at every character; `find` and, between two finds, `replace` leap.
    colon: Any
    other: Any
    colon, other = (":", ";") if type(body) is str else (b":", b";")
    if body.find(colon) != body.rfind(colon) if keys == 1 else colon in body.replace(colon, other, keys):
        refuse_duplicate_keys(body)


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
