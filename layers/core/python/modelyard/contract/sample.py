"""A sample of requests: instances, or a CSV file, as arrays that a contract is inferred from.

    .csv ──► columns by name ──┐
    .json, .jsonl ──► instances ──► the endpoint's own encoder ──► arrays

The rule: what the endpoint would refuse in a request is refused in a sample, with its row. A CSV file has no types, so
each cell is read as the input of its column asks for; empty is missing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from numpy.typing import NDArray

from modelyard.errors import RequestError, UsageError
from modelyard.predictor.arrays import to_numpy
from modelyard.predictor.encode import encode
from modelyard.predictor.signature import FLOATS, INTEGERS, Tensor
from modelyard.training.records import Records, read_records
from modelyard.training.rows import NUMBER
from modelyard.version import TensorSpec

LARGEST_SAMPLE = 64 * 1024 * 1024
"""Bytes of a sample's file: some hundred thousand rows, of which ten thousand say as much."""
FEW_ROWS = 100
"""With fewer rows, ranges and categories are guesses: a rare value is not among them."""
ENDINGS = (".csv", ".json", ".jsonl")


def instances_in(content: bytes, inputs: Sequence[TensorSpec], *, name: str) -> list[Any]:
    """The instances in a file, told by the ending of its name.

    Args:
        content: Its bytes.
        inputs: The model's inputs: of a CSV file, which columns to read and as what.
        name: The file's name.

    Raises:
        UsageError: With code ``invalid_sample``.
    """
    if len(content) > LARGEST_SAMPLE:
        raise refused(f"{name} has {len(content):,} bytes; at most {LARGEST_SAMPLE:,} are read")
    found: Any
    if name.endswith(".csv"):
        found = _from_csv(content, [_tensor(spec) for spec in inputs], name)
    elif name.endswith(".json"):
        document = _json(content, name)
        found = document.get("instances") if isinstance(document, dict) else document
    elif name.endswith(".jsonl"):
        found = [_json(line, f"{name}: line {at}") for at, line in enumerate(content.splitlines(), 1) if line.strip()]
    else:
        raise refused(f"{name} is none of {', '.join(ENDINGS)}")
    if not isinstance(found, list) or not found:
        raise refused(f'{name} holds no instances; expected {{"instances": [...]}} with at least one')
    return found


def arrays_of(instances: list[Any], inputs: Sequence[TensorSpec]) -> dict[str, NDArray[Any]]:
    """Instances as one array for each input. Missing is NaN in one of floats, the empty text in one of texts.

    Raises:
        UsageError: With code ``invalid_sample``, the field and the row.
    """
    tensors = tuple(_tensor(spec) for spec in inputs)
    texts = frozenset(tensor.name for tensor in tensors if tensor.dtype == "string" and tensor.scalar)
    try:
        arrays = encode(tensors, instances, nulls=texts)
    except RequestError as problem:
        raise refused(f"the sample is none of requests: {problem.message}", problem.field, problem.row) from problem
    return {tensor.name: to_numpy(array) for tensor, array in zip(tensors, arrays, strict=True)}


def refused(problem: str, field: str | None = None, row: int | None = None) -> UsageError:
    """The error for a sample that no contract can be inferred from."""
    return UsageError(
        problem,
        code="invalid_sample",
        field=field or "sample",
        row=row,
        next_step="Give rows as requests have them: a .csv with a column for each input, or .json like example.json.",
    )


def _tensor(spec: TensorSpec) -> Tensor:
    return Tensor(spec.name, spec.dtype, spec.shape)


def _json(content: bytes, where: str) -> Any:
    try:
        return msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise refused(f"{where} is not JSON: {wrong}") from wrong


# -- CSV ----------------------------------------------------------------------------------------------------------


def _from_csv(content: bytes, tensors: list[Tensor], name: str) -> list[Any]:
    """Rows as instances: a column for each input or, for one input ``[batch, F]``, F columns of any names."""
    is_matrix = len(tensors) == 1 and len(tensors[0].shape) == 2 and not tensors[0].scalar
    rows = read_records(content, name=name, expected=() if is_matrix else tuple(tensor.name for tensor in tensors))
    if rows.findings:
        raise refused("\n".join(rows.findings))
    if is_matrix:
        return _matrix(tensors[0], rows)
    for tensor in tensors:
        if not tensor.scalar:
            problem = f"input {tensor.name!r} takes {tensor.row_shape()} values a row, which no cell of {name} can hold"
            raise refused(problem, tensor.name)
    columns = [_column(tensor, rows, rows.header.index(tensor.name), tensor.name) for tensor in tensors]
    names = [tensor.name for tensor in tensors]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _matrix(tensor: Tensor, rows: Records) -> list[Any]:
    """Rows as instances of the model's only input, one column for each element."""
    if tensor.shape[1] not in (None, len(rows.header)):
        problem = (
            f"{rows.name} has {len(rows.header)} columns; input {tensor.name!r} takes {tensor.shape[1]} values a row"
        )
        raise refused(problem, tensor.name)
    columns = [_column(tensor, rows, at, column) for at, column in enumerate(rows.header)]
    return [{tensor.name: list(values)} for values in zip(*columns, strict=True)]


def _column(tensor: Tensor, rows: Records, at: int, column: str) -> list[Any]:
    kind = "number" if tensor.dtype in FLOATS else "integer" if tensor.dtype in INTEGERS else tensor.dtype
    read, expected = _CELLS[kind]
    values: list[Any] = []
    for line, row in zip(rows.lines, rows.rows, strict=True):
        text = row[at]
        value = None if not text else read(text)
        if text and value is None:
            raise refused(f"{rows.name}: line {line}: column {column!r} is {text[:40]!r}; expected {expected}", column)
        values.append(value)
    return values


def _number(text: str) -> float | None:
    return float(text) if NUMBER.fullmatch(text) else None


def _integer(text: str) -> int | None:
    digits = text.removeprefix("-").removeprefix("+")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 40 else None


_CELLS: dict[str, tuple[Callable[[str], Any], str]] = {
    "number": (_number, "a number such as 4.7"),
    "integer": (_integer, "a whole number"),
    "bool": ({"true": True, "false": False, "1": True, "0": False}.get, "true or false"),
    "string": (str, "text"),
}
