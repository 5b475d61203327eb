"""The signature: names, dtypes, shapes and classes of what a model takes and gives.

Written once, at registration, from a session (`signature_of`); stored on the version and in the pointer; read by the
endpoint into `Signature`. The rule: axis 0 is the batch axis and ``None`` is a size that may vary. No numpy, pydantic
or dataclasses here, because the endpoint pays for this import at every cold start and the CLI has no use for them.
"""

from typing import Any

from modelyard.errors import AdmissionError

FLOATS = frozenset({"float16", "float32", "float64"})
INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})
DTYPES = FLOATS | INTEGERS | {"bool", "string"}

CLASSES_KEY = "modelyard.classes"
"""ONNX metadata key with the class names as a JSON list, in the order of the probabilities' last axis."""

_ONNX_DTYPES = {"float": "float32", "double": "float64"}
_ZIPMAPS = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")


class Tensor:
    """One input or output.

    Attributes:
        name: As in the ONNX graph, and as the key in requests and answers.
        dtype: One of `DTYPES`.
        shape: Sizes; ``None`` where a size may vary. Empty means that the graph does not say (outputs only).
        classes: Names along the last axis of a probability output, or ``None``.
        scalar: Whether one row holds one value: shape ``[batch]`` or ``[batch, 1]``.
        nullable: Whether ``null`` stands for a missing value: float inputs of shape ``[batch, 1]``.
    """

    __slots__ = ("classes", "dtype", "name", "nullable", "scalar", "shape")

    def __init__(
        self, name: str, dtype: str, shape: tuple[int | None, ...], classes: tuple[str, ...] | None = None
    ) -> None:
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.classes = classes
        one_column = len(shape) == 2 and shape[1] == 1
        self.scalar = len(shape) == 1 or one_column
        self.nullable = one_column and dtype in FLOATS

    def row_shape(self) -> str:
        """The shape of one row for a message, like ``8 x 8``; a size that may vary reads ``n``."""
        return " x ".join("n" if size is None else str(size) for size in self.shape[1:])


class Signature:
    """What a model takes and gives."""

    __slots__ = ("inputs", "outputs")

    def __init__(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        self.inputs = inputs
        self.outputs = outputs

    @classmethod
    def parse(cls, document: Any) -> "Signature":
        """Read the JSON form, as the registry and the pointer hold it.

        Raises:
            AdmissionError: When it is not a signature, or an input has no batch axis (code ``invalid_signature``).
        """
        inputs, outputs = _tensors(document, "inputs"), _tensors(document, "outputs")
        for tensor in inputs:
            if not tensor.shape:
                raise _invalid(f"input {tensor.name!r} has no batch axis; its shape must be [null, ...]")
        return cls(inputs, outputs)


def signature_of(session: Any, zipmaps: "dict[str, list[Any]] | None" = None) -> dict[str, Any]:
    """The signature of an onnxruntime session, in its JSON form.

    The output of a ZipMap, which is a map of classes for each row, counts as the table of probabilities that it was
    made of.

    Args:
        session: An `onnxruntime.InferenceSession`, or an engine.
        zipmaps: The classes of each output that is a ZipMap's, where they are known
            (`modelyard.compiling.zipmap_classes`).

    Raises:
        AdmissionError: For inputs or outputs that are not plain tensors (sequences, bfloat16), and for class names that
            are not a list of different strings.
    """
    classes = _classes_in(session.get_modelmeta().custom_metadata_map)
    return {
        "inputs": [_described("input", node) for node in session.get_inputs()],
        "outputs": [
            _table(node.name, (zipmaps or {}).get(node.name))
            if node.type in _ZIPMAPS
            else _with_classes(_described("output", node), classes)
            for node in session.get_outputs()
        ],
    }


def _described(role: str, node: Any) -> dict[str, Any]:
    onnx_type: str = node.type
    element = onnx_type.removeprefix("tensor(").removesuffix(")")
    dtype = _ONNX_DTYPES.get(element, element)
    if not onnx_type.startswith("tensor(") or dtype not in DTYPES:
        raise AdmissionError(
            f"{role} {node.name!r} is {onnx_type}; allowed are tensors of {', '.join(sorted(DTYPES))}",
            code="unsupported_signature",
            field=node.name,
            next_step="Export the model with plain tensors; for scikit-learn: to_onnx(..., options={'zipmap': False}).",
        )
    shape = [size if isinstance(size, int) else None for size in node.shape]
    return {"name": node.name, "dtype": dtype, "shape": shape}


def _table(name: str, classes: list[Any] | None) -> dict[str, Any]:
    names = None if classes is None else [str(label) for label in classes]
    return {"name": name, "dtype": "float32", "shape": [None, None if names is None else len(names)], "classes": names}


def _with_classes(output: dict[str, Any], classes: list[str] | None) -> dict[str, Any]:
    shape = output["shape"]
    fits = classes is not None and output["dtype"] in FLOATS and len(shape) == 2 and shape[1] == len(classes)
    return {**output, "classes": classes if fits else None}


def _classes_in(metadata: dict[str, str]) -> list[str] | None:
    text = metadata.get(CLASSES_KEY)
    if text is None:
        return None
    import msgspec

    try:
        names = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise _invalid(f"metadata {CLASSES_KEY!r} is not JSON: {error}") from error
    if not isinstance(names, list) or not names or len(set(map(str, names))) != len(names):
        raise _invalid(f"metadata {CLASSES_KEY!r} is {text[:80]!r}; it must be a JSON list of different names")
    return [str(name) for name in names]


def _tensors(document: Any, key: str) -> tuple[Tensor, ...]:
    entries = document.get(key) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise _invalid(f"a signature needs {key!r}, a list with at least one tensor")
    tensors = tuple(_tensor(entry, key) for entry in entries)
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise _invalid(f"a name appears twice in {key!r}")
    return tensors


def _tensor(entry: Any, key: str) -> Tensor:
    if not isinstance(entry, dict):
        raise _invalid(f"{key!r} holds {entry!r}; each entry is an object with name, dtype and shape")
    name, dtype, shape, classes = (entry.get(part) for part in ("name", "dtype", "shape", "classes"))
    if not isinstance(name, str) or not name:
        raise _invalid(f"{key!r} holds a tensor without a name")
    if dtype not in DTYPES:
        raise _invalid(f"{name!r} has dtype {dtype!r}; allowed are {', '.join(sorted(DTYPES))}")
    if not isinstance(shape, list) or not all(size is None or (type(size) is int and size >= 0) for size in shape):
        raise _invalid(f"{name!r} has shape {shape!r}; it must be a list of sizes, null where a size may vary")
    if classes is None:
        return Tensor(name, dtype, tuple(shape))
    if not isinstance(classes, list) or not all(isinstance(label, str) for label in classes):
        raise _invalid(f"{name!r} has classes {classes!r}; it must be a list of strings")
    return Tensor(name, dtype, tuple(shape), tuple(classes))


def _invalid(message: str) -> AdmissionError:
    return AdmissionError(message, code="invalid_signature", next_step="Register the model again from its ONNX file.")
