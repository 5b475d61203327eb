"""An ONNX file becomes the draft of a model that is brought finished.

The bytes were admitted before (`modelyard.admission`): what is here has a signature and answered once. The first
request is made up from the signature, of the values that the trial tried first. Zeros would end the process of a model
that divides whole numbers by its input.
"""

from pathlib import PurePath
from typing import Any

from modelyard.errors import UsageError
from modelyard.scaffold.draft import Draft
from modelyard.scaffold.naming import plain
from modelyard.trial import FILLS
from modelyard.version import OutputSpec, Signature, Task, TensorSpec

LARGEST_EXAMPLE = 100_000
"""Values in a first request; as JSON about 0.5 MB, where a request may have 6 MB."""
NUMBER, TEXT = FILLS[0]

_LABELS = frozenset({"int64", "int32", "string"})
_PROBABILITIES = frozenset({"float16", "float32", "float64"})


def from_onnx(content: bytes, *, source: str, name: str, signature: Signature, task: Task | None = None) -> Draft:
    """Draft a model around a finished file.

    Args:
        content: The file's bytes.
        source: The file's name.
        name: The model's name.
        signature: From `modelyard.admission.admit`.
        task: None reads it from the outputs, where they tell.

    Raises:
        UsageError: With code ``unknown_task``, when they do not.
    """
    told = task_of(signature)
    if task is None and told is None:
        outputs = ", ".join(f"{output.name} {output.dtype} {shape(output)}" for output in signature.outputs)
        raise UsageError(
            f"{source}: its outputs ({outputs}) do not tell what kind of answer they are",
            code="unknown_task",
            field="task",
            next_step="Say it: --task regression, --task binary or --task multiclass.",
        )
    chosen, note = (told, "by its outputs") if task is None and told is not None else (task or "regression", "as given")
    return Draft(
        name=name,
        source=source,
        task=chosen,
        task_note=note,
        file=f"{plain(PurePath(source).stem) or name}.onnx",
        content=content,
        instances=first_request(signature),
        signature=signature,
    )


def task_of(signature: Signature) -> Task | None:
    """What the outputs tell: named classes, or a label beside probabilities; None when they could be anything."""
    widths = [len(output.classes) for output in signature.outputs if output.classes]
    if not widths and any(_is_label(output) for output in signature.outputs):
        widths = [
            output.shape[1]
            for output in signature.outputs
            if output.dtype in _PROBABILITIES and len(output.shape) == 2 and output.shape[1] is not None
        ]
    if not widths or widths[0] < 2:
        return None
    return "binary" if widths[0] == 2 else "multiclass"


def _is_label(output: OutputSpec) -> bool:
    one_per_row = len(output.shape) == 1 or (len(output.shape) == 2 and output.shape[1] == 1)
    return output.dtype in _LABELS and one_per_row


def first_request(signature: Signature) -> list[dict[str, Any]]:
    """Instances of the right shape; none when one would be too large to be read by a person."""
    rows = next((tensor.shape[0] for tensor in signature.inputs if tensor.shape[0]), 1)
    sizes = [[size if size is not None else 1 for size in tensor.shape[1:]] for tensor in signature.inputs]
    values = 0
    for size in sizes:
        product = rows
        for length in size:
            product *= length
        values += product
    if values > LARGEST_EXAMPLE:
        return []
    instance = {tensor.name: _filled(tensor, size) for tensor, size in zip(signature.inputs, sizes, strict=True)}
    return [instance] * rows


def _filled(tensor: TensorSpec, sizes: list[int]) -> Any:
    value: Any = TEXT if tensor.dtype == "string" else NUMBER
    if tensor.dtype == "bool":
        value = bool(value)
    elif tensor.dtype in _PROBABILITIES:
        value = float(value)
    if tensor.shape[1:] in ((), (1,)):  # one value a row; an axis that may vary makes it a list
        return value
    for length in reversed(sizes):
        value = [value] * length
    return value


def shape(tensor: TensorSpec) -> str:
    """A shape for people, like ``[n, 8, 8]``."""
    return f"[{', '.join('n' if size is None else str(size) for size in tensor.shape)}]"
