"""Several batches as one, and one run's outputs as those of each: pure, over `Array`.

Batches go together where every input has the same dtype and the same sizes but for the first axis, which counts rows.
"""

from math import prod
from typing import Any

from modelyard.predictor.array import ITEM_BYTES, Array
from modelyard.predictor.reader import Batch

Kind = tuple[tuple[str, tuple[int, ...]], ...]


def kind_of(batch: Batch) -> Kind:
    """What two batches must have in common to be run together."""
    layout = getattr(batch.arrays, "layout", None)  # of a `modelyard.predictor.block.Block`
    kind: Kind = layout.kind if layout else tuple([(array.dtype, array.shape[1:]) for array in batch.arrays])
    return kind


def merged(batches: list[Batch]) -> Batch:
    """One batch with the rows of all, in their order; they are of one kind."""
    rows = sum(batch.rows for batch in batches)
    arrays = [
        Array(parts[0].dtype, (rows, *parts[0].shape[1:]), _joined([part.buffer for part in parts]))
        for parts in zip(*(batch.arrays for batch in batches), strict=True)
    ]
    return Batch(rows, arrays, [])


def shared_out(outputs: list[Any], batches: list[Batch]) -> list[list[Any]] | None:
    """The outputs of each batch; None where an output has not one row for each row that went in.

    Args:
        outputs: Of the run of what `merged` made of the batches.
        batches: The same, in the same order.
    """
    rows = sum(batch.rows for batch in batches)
    cuts: list[list[Any]] = [[] for _ in batches]
    for output in outputs:
        if (len(output) if type(output) is list else output.shape[0] if output.shape else -1) != rows:
            return None
        at = 0
        for batch, own in zip(batches, cuts, strict=True):
            own.append(_cut(output, at, at + batch.rows))
            at += batch.rows
    return cuts


def _joined(buffers: list[Any]) -> Any:
    if type(buffers[0]) is list:  # of text
        return [text for buffer in buffers for text in buffer]
    return b"".join(buffers)


def _cut(output: Any, start: int, end: int) -> Any:
    if type(output) is list:  # the rows of a ZipMap
        return output[start:end]
    width, shape = prod(output.shape[1:]), (end - start, *output.shape[1:])
    if output.dtype == "string":
        return Array(output.dtype, shape, output.buffer[start * width : end * width])
    size = width * ITEM_BYTES[output.dtype]
    return Array(output.dtype, shape, memoryview(output.buffer).cast("B")[start * size : end * size])
