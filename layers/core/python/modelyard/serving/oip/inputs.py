"""A request's tensors as arrays of the model: from JSON, flat or nested, and from the bytes after it.

::

    { "inputs": [ {"name", "shape", "datatype", "data"}, {... "binary_data_size": n} ] }  n bytes  ...
    └────────── Inference-Header-Content-Length, where there are bytes ─────────────────┘

The rule: a tensor is believed only if name, datatype, shape and size all say the same; then its bytes go to the engine
where they lie. What JSON values may be is decided where every other request's are: `modelyard.predictor.encode`.
"""

import struct
from math import prod
from typing import Annotated, Any

import msgspec

from modelyard.errors import RequestError
from modelyard.predictor.array import ITEM_BYTES, Array, nested
from modelyard.predictor.encode import absent, encode, listed
from modelyard.predictor.reader import read_json, refuse_duplicate_keys, why_not_json
from modelyard.predictor.signature import FLOATS, INTEGERS, Tensor
from modelyard.predictor.values import check_shape
from modelyard.serving.oip.datatypes import DATATYPES

HEADER = "inference-header-content-length"
EXAMPLE = 'Send {"inputs": [{"name", "shape", "datatype", "data"}, ...]}; GET /v2/models/<model> names the inputs.'
_NO_DATA = msgspec.Raw()
_LENGTH = struct.Struct("<I")
_Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class RequestInput(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One input as a caller gives it."""

    name: str
    shape: list[_Size]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: msgspec.Raw = _NO_DATA


class RequestOutput(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One output that a caller asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A request without its bytes. ``model_name`` and ``model_version`` are sent by some clients; the URL decides."""

    inputs: list[RequestInput]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[RequestOutput] | None = None
    model_name: Any = None
    model_version: Any = None


_decoder = msgspec.json.Decoder(InferRequest)
_flat: dict[tuple[str, bool], Any] = {}


def split(body: str | bytes, header: object) -> tuple[str | bytes, str | bytes]:
    """The request's JSON, and all of the body, of which it is the beginning.

    Args:
        body: As it came.
        header: Of the header ``Inference-Header-Content-Length``; ``None`` where there is none.

    Raises:
        RequestError: With code ``invalid_header``.
    """
    if header is None:
        return body, body
    raw = body.encode() if isinstance(body, str) else body
    text = str(header)
    length = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else -1
    if not 0 < length <= len(raw):
        raise RequestError(
            f"the header {HEADER} is {text[:40]!r}; it must be the length of the JSON, 1 to {len(raw):,}",
            code="invalid_header",
            field=HEADER,
        )
    return raw[:length], raw


def read_request(text: str | bytes) -> InferRequest:
    """The JSON of a request.

    Raises:
        RequestError: When it is not JSON, or not a request of the protocol.
    """
    try:
        request = _decoder.decode(text)
    except msgspec.ValidationError as error:
        problem = str(error)[:300]
        raise RequestError(
            f"the body is not a request of the protocol: {problem}", code=_code(problem), next_step=EXAMPLE
        ) from None
    except RecursionError:
        raise RequestError("the body nests too deep", code="invalid_json", next_step=EXAMPLE) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        why = why_not_json(text, error)
        raise RequestError(f"the body is not valid JSON: {why}", code="invalid_json", next_step=EXAMPLE) from None
    colons = text.count(":") if isinstance(text, str) else text.count(b":")
    if colons != _keys(request):
        refuse_duplicate_keys(text)
    return request


def arrays_of(request: InferRequest, tail: "Tail", tensors: tuple[Tensor, ...], nulls: frozenset[str]) -> list[Array]:
    """One array for each input of the model, in its order.

    Args:
        request: The JSON.
        tail: The bytes after it.
        tensors: The model's inputs.
        nulls: Names of inputs in which a value may be missing.

    Raises:
        RequestError: Naming the input at fault, and the row where there is one.
    """
    known = {tensor.name: tensor for tensor in tensors}
    found: dict[str, Array] = {}
    for given in request.inputs:
        tensor = known.get(given.name)
        if tensor is None:
            raise RequestError(
                f"{given.name[:80]!r} is no input; allowed are {listed(list(known))}",
                code="unknown_field",
                field=given.name[:80],
            )
        if given.name in found:
            raise RequestError(f"input {given.name!r} is given twice", code="duplicate_key", field=given.name)
        size, shape = _binary_size(given), _checked_shape(given, tensor)
        if size is None:
            found[given.name] = _from_json(tensor, shape, given.data, nulls)
        else:
            found[given.name] = _from_bytes(tensor, shape, tail, size)
    missing = next((name for name in known if name not in found), None)
    if missing is not None:
        raise RequestError(f"the input {missing!r} is missing", code="missing_field", field=missing)
    if tail.left:
        raise RequestError(
            f"{tail.left:,} bytes are left when every input has its own; binary_data_size must account for all",
            code="wrong_size",
        )
    arrays = [found[tensor.name] for tensor in tensors]
    rows = arrays[0].shape[0]
    for tensor, array in zip(tensors, arrays, strict=True):
        if array.shape[0] != rows:
            raise RequestError(
                f"{tensor.name!r} has {array.shape[0]} rows and {tensors[0].name!r} {rows}; they must be equal",
                code="ragged",
                field=tensor.name,
            )
    return arrays


class Tail:
    """The bytes after the JSON, taken from the front.

    Args:
        body: The whole body.
        place: Where in it the bytes begin.
    """

    __slots__ = ("_place", "_view")

    def __init__(self, body: bytes, place: int) -> None:
        self._view = memoryview(body)
        self._place = place

    @property
    def left(self) -> int:
        """How many were not taken."""
        return len(self._view) - self._place

    def take(self, size: int, item: int) -> "memoryview | bytes":
        """The next ``size`` bytes, where a number of ``item`` bytes may lie: the body itself begins at such a place.

        They are copied only if they lie elsewhere, which the length of the JSON before them decides.
        """
        place, self._place = self._place, self._place + size
        taken = self._view[place : place + size]
        return taken if place % item == 0 else bytes(taken)


def _binary_size(given: RequestInput) -> int | None:
    """How many bytes an input has after the JSON; None where its values are in it."""
    parameters = given.parameters or {}
    if "shared_memory_region" in parameters:
        raise RequestError(
            f"input {given.name!r} lies in shared memory, which a function does not share with its callers",
            code="unsupported_parameter",
            field=given.name,
            next_step="Send the tensor in the request.",
        )
    size = parameters.get("binary_data_size")
    if size is None:
        if not given.data:
            raise RequestError(
                f"input {given.name!r} has neither data nor binary_data_size", code="missing_field", field=given.name
            )
        return None
    if type(size) is not int or size < 0:
        raise RequestError(
            f"the binary_data_size of input {given.name!r} is {str(size)[:40]!r}; it must be a number of bytes",
            code="wrong_type",
            field=given.name,
        )
    if given.data:
        raise RequestError(
            f"input {given.name!r} has both data and binary_data_size; it must have one", code="wrong_size",
            field=given.name,
        )  # fmt: skip
    return size


def _checked_shape(given: RequestInput, tensor: Tensor) -> tuple[int, ...]:
    """The shape, after a look at the datatype."""
    if given.datatype != DATATYPES[tensor.dtype]:
        raise RequestError(
            f"input {tensor.name!r} has datatype {given.datatype[:40]!r}; the model takes {DATATYPES[tensor.dtype]}",
            code="wrong_type",
            field=tensor.name,
        )
    shape = tuple(given.shape)
    check_shape(tensor, shape)
    if shape[0] <= 0:
        raise RequestError(
            f"{tensor.name!r} has {shape[0]} rows; send at least 1", code="empty_batch", field=tensor.name
        )
    return shape


def _from_json(tensor: Tensor, shape: tuple[int, ...], data: msgspec.Raw, nulls: frozenset[str]) -> Array:
    if tensor.dtype == "float16":
        raise RequestError(
            f"input {tensor.name!r} is FP16, which has no form in JSON",
            code="wrong_type",
            field=tensor.name,
            next_step="Send it as bytes, with binary_data_size.",
        )
    count, nullable = prod(shape), tensor.name in nulls
    try:
        elements = _flat_decoder(tensor.dtype, nullable).decode(data)
        if len(elements) == count:
            packed = absent(tensor.dtype, elements) if nullable and None in elements else elements
            return Array.pack(tensor.dtype, shape, packed)
    except (msgspec.DecodeError, UnicodeError, OverflowError, RecursionError, struct.error):
        pass  # nested, or wrong; below it is found out what
    values = _values(tensor, data)
    if len(shape) == 1 or list not in set(map(type, values)):
        if len(values) != count:
            raise RequestError(
                f"input {tensor.name!r} has {len(values):,} values; its shape takes {count:,}",
                code="wrong_size",
                field=tensor.name,
            )
        values = nested(values, shape)
    (array,) = encode((tensor,), [{tensor.name: row} for row in values], nulls=nulls)
    if array.shape != shape:
        raise RequestError(
            f"data of input {tensor.name!r} has shape {list(array.shape)}; the shape beside it is {list(shape)}",
            code="wrong_shape",
            field=tensor.name,
        )
    return array


def _values(tensor: Tensor, data: msgspec.Raw) -> list[Any]:
    values = read_json(data, example=EXAMPLE)
    if type(values) is not list:
        raise RequestError(f"data of input {tensor.name!r} is not a list", code="wrong_type", field=tensor.name)
    return values


def _flat_decoder(dtype: str, nullable: bool) -> Any:
    found = _flat.get((dtype, nullable))
    if found is None:
        element: Any = float if dtype in FLOATS else int if dtype in INTEGERS else bool if dtype == "bool" else str
        found = msgspec.json.Decoder(list[element | None] if nullable else list[element])
        _flat[dtype, nullable] = found
    return found


def _from_bytes(tensor: Tensor, shape: tuple[int, ...], tail: Tail, size: int) -> Array:
    if size > tail.left:
        raise RequestError(
            f"input {tensor.name!r} has {size:,} bytes by its binary_data_size; {tail.left:,} are left",
            code="wrong_size",
            field=tensor.name,
            next_step=f"Send all bytes, as application/octet-stream, and the header {HEADER}.",
        )
    count = prod(shape)
    if tensor.dtype == "string":
        return Array("string", shape, _texts(tensor, tail.take(size, 1), count, shape[0]))
    item = ITEM_BYTES[tensor.dtype]
    if size != count * item:
        raise RequestError(
            f"input {tensor.name!r} has {size:,} bytes; its shape and datatype take {count * item:,}",
            code="wrong_size",
            field=tensor.name,
        )
    data = tail.take(size, item)
    if tensor.dtype == "bool" and bytes(data).translate(None, b"\x00\x01"):
        raise RequestError(
            f"input {tensor.name!r} holds a byte that is neither 0 nor 1", code="wrong_type", field=tensor.name
        )
    return Array(tensor.dtype, shape, data)


def _texts(tensor: Tensor, data: "memoryview | bytes", count: int, rows: int) -> list[str]:
    """Elements, each with its length in 4 bytes before it."""
    texts: list[str] = []
    place, end = 0, len(data)
    while place + 4 <= end and len(texts) < count:
        (length,) = _LENGTH.unpack_from(data, place)
        start, place = place + 4, place + 4 + length
        if place > end:
            break
        try:
            texts.append(str(data[start:place], "utf-8"))
        except UnicodeDecodeError as error:
            row = len(texts) * rows // count
            raise RequestError(
                f"{tensor.name!r} of instance {row} is not UTF-8: {error.reason}",
                code="wrong_type",
                field=tensor.name,
                row=row,
            ) from None
    if place != end or len(texts) != count:
        raise RequestError(
            f"the {end:,} bytes of input {tensor.name!r} are not {count:,} elements, each after its length in 4 bytes",
            code="wrong_size",
            field=tensor.name,
        )
    return texts


def _code(problem: str) -> str:
    if problem.startswith("Object missing required field"):
        return "missing_field"
    return "unknown_field" if problem.startswith("Object contains unknown field") else "wrong_type"


def _keys(request: InferRequest) -> int:
    """How many keys a request has, or fewer; never more."""
    parts: list[msgspec.Struct] = [request, *request.inputs, *(request.outputs or ())]
    values = [getattr(part, name) for part in parts for name in part.__struct_fields__]
    present = [value for value in values if value is not None and value is not _NO_DATA]
    return len(present) + sum(len(value) for value in present if type(value) is dict)
