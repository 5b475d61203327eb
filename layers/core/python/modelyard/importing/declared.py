"""The signature that MLflow wrote down, against the one that the ONNX graph has.

The graph decides what a model takes and gives; MLflow's signature is what somebody said about it, often with the output
of another library at hand. So the graph's own goes into the registry, and a declaration is asked one thing: does it
contradict the graph? It does when a name, a kind of value or the shape of a row is another. It does not when it

- says less: no names, a size of -1, outputs left out;
- says float64 where the graph says float32: MLflow casts inputs, and scikit-learn computes in float64;
- writes one value per row as [n] where the graph has [n, 1], or the columns of one matrix one by one.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from modelyard.errors import UsageError
from modelyard.version import Signature, TensorSpec

Shape = tuple[int | None, ...]

# MLflow's types of a column. The others (datetime, binary, object, map) are none that a tensor has.
_COLUMNS = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "string",
}
_ANYTHING = "any"
_TEXT = re.compile(r"str\d*|bytes\d*|object|[<>|=]?[USO]\d*")
_FLOATS = frozenset({"float16", "float32", "float64"})
_NUMBERS = _FLOATS | {"bool", "int32", "int64"}
_MOST_SAID = 5


@dataclass(frozen=True, slots=True)
class DeclaredTensor:
    """One entry: a tensor, or a column of a table, whose shape is that of one value per row."""

    name: str | None
    dtype: str
    shape: Shape
    is_column: bool


@dataclass(frozen=True, slots=True)
class Declared:
    """What MLmodel says; None where it says nothing. ``has_params``: it also takes parameters beside the inputs."""

    inputs: tuple[DeclaredTensor, ...] | None = None
    outputs: tuple[DeclaredTensor, ...] | None = None
    has_params: bool = False


def read_declared(signature: dict[str, Any] | None) -> Declared:
    """MLmodel's ``signature``, whose values are JSON inside YAML.

    Raises:
        UsageError: With code ``invalid_declaration``.
    """
    if signature is None:
        return Declared()
    inputs, outputs, params = (_json_at(signature, key) for key in ("inputs", "outputs", "params"))
    return Declared(_tensors(inputs, "inputs"), _tensors(outputs, "outputs"), has_params=bool(params))


def contradictions(declared: Declared, graph: Signature) -> list[str]:
    """Where the two cannot both be right, each with what either says."""
    found = _between("input", declared.inputs or (), graph.inputs)
    found += _between("output", declared.outputs or (), graph.outputs)
    if len(found) > _MOST_SAID:
        found = [*found[:_MOST_SAID], f"and {len(found) - _MOST_SAID} more"]
    return found


def _between(role: str, declared: tuple[DeclaredTensor, ...], graph: tuple[TensorSpec, ...]) -> list[str]:
    if not declared:
        return []
    matrix = _matrix(declared, graph)
    if matrix is not None:
        return _unlike(role, matrix, graph[0])
    by_name = {tensor.name: tensor for tensor in graph}
    if None in {tensor.name for tensor in declared}:
        return _without_names(role, declared, graph)
    named = {str(tensor.name): tensor for tensor in declared}
    missing = named.keys() - by_name.keys()
    # Outputs may be left out: nobody has to look at all of them. An input that is left out is one too few.
    unknown = by_name.keys() - named.keys() if role == "input" else set()
    if missing or unknown:
        return [f"MLmodel names the {role}s {_names(named)}, the graph {_names(by_name)}"]
    return [problem for name, tensor in named.items() for problem in _unlike(role, tensor, by_name[name])]


def _matrix(declared: tuple[DeclaredTensor, ...], graph: tuple[TensorSpec, ...]) -> DeclaredTensor | None:
    """Columns that together are the one matrix of the graph, as a tensor; None when they are not to be read so."""
    if len(graph) != 1 or len(graph[0].shape) != 2 or not all(column.is_column for column in declared):
        return None
    if len(declared) == 1 and declared[0].name in (None, graph[0].name):
        return None
    kinds = {column.dtype for column in declared} - {_ANYTHING}
    dtype = (
        kinds.pop() if len(kinds) == 1 else "float64" if kinds and kinds <= _NUMBERS else " and ".join(sorted(kinds))
    )
    return DeclaredTensor(None, dtype or _ANYTHING, (None, len(declared)), is_column=False)


def _without_names(role: str, declared: tuple[DeclaredTensor, ...], graph: tuple[TensorSpec, ...]) -> list[str]:
    if role == "output" and len(declared) == 1:
        problems = [_unlike(role, declared[0], tensor) for tensor in graph]
        return [] if not all(problems) else problems[0]
    if len(declared) != len(graph):
        return [f"MLmodel has {len(declared)} {role}s without names, the graph {len(graph)}: {_names(graph)}"]
    return [problem for pair in zip(declared, graph, strict=True) for problem in _unlike(role, *pair)]


def _unlike(role: str, declared: DeclaredTensor, graph: TensorSpec) -> list[str]:
    if _same_kind(declared.dtype, graph.dtype) and _same_row(declared.shape, graph.shape):
        return []
    said = f"{declared.dtype} {_shown(declared.shape, '-1')}"
    return [f"{role} {graph.name!a}: MLmodel says {said}, the graph {graph.dtype} {_shown(graph.shape, 'n')}"]


def _same_kind(declared: str, graph: str) -> bool:
    return declared in (graph, _ANYTHING) or {declared, graph} <= _FLOATS


def _same_row(declared: Shape, graph: Shape) -> bool:
    if not declared or not graph:
        return not graph  # a graph that does not say the shape of an output contradicts nothing
    mine, other = _row(declared), _row(graph)
    return len(mine) == len(other) and all(
        None in sizes or sizes[0] == sizes[1] for sizes in zip(mine, other, strict=True)
    )


def _row(shape: Shape) -> Shape:
    """The shape of one row; one value per row is one value, in as many brackets as it may stand."""
    row = shape[1:]
    while row and row[-1] == 1:
        row = row[:-1]
    return row


def _shown(shape: Shape, unknown: str) -> str:
    return f"[{', '.join(unknown if size is None else str(size) for size in shape)}]"


def _names(tensors: Any) -> str:
    names = [ascii(getattr(tensor, "name", tensor))[:60] for tensor in tensors]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _json_at(signature: dict[str, Any], key: str) -> Any:
    text = signature.get(key)
    if text in (None, "", "null"):
        return None
    if not isinstance(text, str):
        raise _invalid(f"{key} is a {type(text).__name__}; it must be JSON as text")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as broken:
        raise _invalid(f"{key} is not JSON") from broken


def _tensors(entries: Any, key: str) -> tuple[DeclaredTensor, ...] | None:
    if entries is None:
        return None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _invalid(f"{key} is not a list of objects")
    tensors = tuple(_tensor(entry, f"{key}[{place}]") for place, entry in enumerate(entries))
    names = [tensor.name for tensor in tensors if tensor.name is not None]
    if len(set(names)) != len(names):
        raise _invalid(f"a name appears twice in {key}")
    return tensors


def _tensor(entry: dict[str, Any], where: str) -> DeclaredTensor:
    name, kind = entry.get("name"), entry.get("type")
    if name is not None and not isinstance(name, str):
        raise _invalid(f"{where}: name is a {type(name).__name__}; it must be text")
    if kind == "tensor":
        tensor = entry.get("tensor-spec")
        if not isinstance(tensor, dict) or not isinstance(tensor.get("dtype"), str):
            raise _invalid(f"{where} is a tensor without dtype")
        dtype = "string" if _TEXT.fullmatch(tensor["dtype"]) else ascii(tensor["dtype"][:40])[1:-1]
        return DeclaredTensor(name, dtype, _shape(tensor.get("shape"), where), is_column=False)
    dtype, depth = _column_dtype(entry, where)
    return DeclaredTensor(name, dtype, (None,) * (1 + depth), is_column=depth == 0)


def _column_dtype(entry: dict[str, Any], where: str) -> tuple[str, int]:
    """A column's type, and how many lists are around it."""
    depth, kind = 0, entry.get("type")
    while kind == "array":
        items = entry.get("items")
        entry, kind = (items, items.get("type")) if isinstance(items, dict) else ({}, items)
        depth += 1
    if not isinstance(kind, str):
        raise _invalid(f"{where} has no type")
    return _COLUMNS.get(kind, ascii(kind[:40])[1:-1]), depth


def _shape(shape: Any, where: str) -> Shape:
    if not isinstance(shape, list) or not all(type(size) is int and size >= -1 for size in shape):
        raise _invalid(f"{where}: shape is not a list of sizes, -1 where a size may vary")
    return tuple(None if size == -1 else size for size in shape)


def _invalid(message: str) -> UsageError:
    return UsageError(
        f"MLmodel: signature: {message}",
        code="invalid_declaration",
        field="source",
        next_step="Write it again with mlflow.models.set_signature.",
    )
