"""Batches put together and taken apart: every row's elements are its own again, in every dtype and form of output."""

from typing import Any

import pytest

from modelyard.predictor.array import CODES, Array
from modelyard.predictor.reader import Batch
from modelyard.server.merging import kind_of, merged, shared_out

ELEMENTS: dict[str, list[Any]] = {
    dtype: [at % 2 == 0 for at in range(12)] if dtype == "bool" else list(range(12)) for dtype in CODES
} | {"string": [f"é{at}" for at in range(12)]}


def batch(rows: int, *arrays: Array) -> Batch:
    return Batch(rows, list(arrays), [])


def rows_of(dtype: str, start: int, end: int, *sizes: int) -> Array:
    width = 1
    for size in sizes:
        width *= size
    return Array.pack(dtype, (end - start, *sizes), ELEMENTS[dtype][start * width : end * width])


@pytest.mark.parametrize("sizes", [(), (2,), (1, 2)], ids=str)
@pytest.mark.parametrize("dtype", ELEMENTS)
def test_what_was_put_together_comes_apart_as_it_was(dtype: str, sizes: tuple[int, ...]) -> None:
    cuts = [(0, 1), (1, 4), (4, 6)]
    batches = [batch(end - start, rows_of(dtype, start, end, *sizes)) for start, end in cuts]
    together = merged(batches)
    (whole,) = together.arrays
    expected = rows_of(dtype, 0, 6, *sizes)
    assert (together.rows, whole.shape, whole.elements()) == (6, expected.shape, expected.elements())
    shares = shared_out([whole, ["a", "b", "c", "d", "e", "f"]], batches)
    assert shares is not None
    for (start, end), (array, maps), one in zip(cuts, shares, batches, strict=True):
        assert (array.dtype, array.shape) == (dtype, one.arrays[0].shape)
        assert array.elements() == one.arrays[0].elements()
        assert array.rows() == one.arrays[0].rows()
        assert maps == ["a", "b", "c", "d", "e", "f"][start:end]


def test_every_input_is_put_together_in_its_own_place() -> None:
    one = batch(1, rows_of("float32", 0, 1, 2), rows_of("string", 0, 1))
    two = batch(2, rows_of("float32", 1, 3, 2), rows_of("string", 1, 3))
    numbers, texts = merged([one, two]).arrays
    assert numbers.rows() == [[0, 1], [2, 3], [4, 5]]
    assert texts.rows() == ["é0", "é1", "é2"]


def test_what_may_be_run_together_has_the_same_dtypes_and_sizes_whatever_its_rows() -> None:
    kind = kind_of(batch(1, rows_of("float32", 0, 1, 2)))
    assert kind_of(batch(3, rows_of("float32", 0, 3, 2))) == kind
    for other in (rows_of("float64", 0, 1, 2), rows_of("float32", 0, 1, 3), rows_of("float32", 0, 1),
                  rows_of("float32", 0, 1, 2, 1)):  # fmt: skip
        assert kind_of(batch(1, other)) != kind
    assert kind_of(batch(1, rows_of("float32", 0, 1, 2), rows_of("float32", 0, 1, 2))) != kind


@pytest.mark.parametrize(
    "output",
    [Array("float32", (), bytes(4)), Array.pack("float32", (2,), [1, 2]), Array.pack("float32", (4, 1), [1] * 4),
     Array.pack("float32", (1, 3), [1, 2, 3]), ["a", "b"], ["a"] * 4],
    ids=["no axes", "one less", "one more", "another axis", "one map less", "one map more"],
)  # fmt: skip
def test_an_output_without_a_row_for_each_that_went_in_is_not_shared_out(output: Any) -> None:
    batches = [batch(1, rows_of("float32", 0, 1)), batch(2, rows_of("float32", 1, 3))]
    right = Array.pack("float32", (3, 1), [1, 2, 3])
    assert shared_out([right], batches) is not None
    assert shared_out([right, output], batches) is None
    assert shared_out([output, right], batches) is None


def test_an_output_whose_rows_are_empty_is_shared_out() -> None:
    batches = [batch(1, rows_of("float32", 0, 1)), batch(2, rows_of("float32", 1, 3))]
    shares = shared_out([Array("float32", (3, 0), b""), Array("string", (3, 0), [])], batches)
    assert shares is not None
    assert [[array.shape for array in share] for share in shares] == [[(1, 0), (1, 0)], [(2, 0), (2, 0)]]
