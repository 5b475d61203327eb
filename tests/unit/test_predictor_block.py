"""`Block`: a model is run over it as over a list of the same arrays."""

import struct
from typing import Any

import pytest

from modelyard.predictor.array import CODES, Array
from modelyard.predictor.block import ALIGNED, Block, Layout, Packer
from modelyard.predictor.columns import FEW, Column, Columns
from modelyard.predictor.lean import LeanEngine
from modelyard.predictor.reader import Batch
from modelyard.predictor.signature import FLOATS, Tensor
from modelyard.predictor.slot import MOST_BYTES
from modelyard.predictor.standard import StandardEngine
from modelyard.server.merging import kind_of, merged
from tests.fakes import onnx_models

ENGINES = (LeanEngine, StandardEngine)
ALIKE = [("a", "float32", [None, 1]), ("b", "float32", [None, 1]), ("c", "float32", [None, 1])]
FLAT = [("a", "int64", [None]), ("b", "int64", [None])]
MIXED = [("a", "int8", [None, 1]), ("b", "float64", [None]), ("c", "uint16", [None, 1, 1])]
ONE = [("a", "float32", [None, 5])]
MODELS = {"alike": ALIKE, "flat": FLAT, "mixed": MIXED, "one": ONE}


def tensors_of(tensors: list[Any]) -> list[Tensor]:
    return [Tensor(name, dtype, tuple(shape)) for name, dtype, shape in tensors]


def block_of(tensors: list[Any], rows: int, first: int = 1) -> Block:
    """Column after column, row after row counts up from ``first``; what lies between the columns is no zero."""
    layout = Layout(tensors_of(tensors))
    room = rows + ALIGNED - 1 & -ALIGNED
    memory = bytearray(b"\x77" * ((room + 32) * layout.row_bytes))
    for dtype, rest, start, _ in layout.columns:
        elements = [(first + number) % 100 for number in range(rows * (rest[-1] if rest else 1))]
        packed = Array.pack(dtype, (len(elements),), elements).buffer
        memory[start * room : start * room + len(packed)] = packed
        first += rows
    return Block(layout, rows, memoryview(memory))


def bits(arrays: Any) -> list[Any]:
    return [(array.dtype, tuple(array.shape), bytes(array.buffer)) for array in arrays]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", MODELS)
def test_a_block_runs_like_a_list_of_its_arrays(engine: Any, case: str) -> None:
    loaded = engine(onnx_models.echo(*MODELS[case]))
    for rows, first in ((1, 1), (3, 2), (16, 3), (17, 4), (3, 5), (3, 6), (3, 7), (1000, 8), (4000, 9)):
        block = block_of(MODELS[case], rows, first)
        arrays = [Array(array.dtype, array.shape, bytes(array.buffer)) for array in block]
        assert [array.shape[0] for array in arrays] == [rows] * len(MODELS[case])
        assert arrays[0].elements()[0] == first
        for _ in range(3):  # the first makes a slot, the second has its outputs written into it
            assert bits(loaded.run(block)) == bits(arrays)
            assert bits(loaded.run(arrays)) == bits(arrays)


def test_a_slot_of_a_block_and_one_of_a_list_are_two() -> None:
    engine = LeanEngine(onnx_models.echo(*ALIKE))
    block = block_of(ALIKE, 3)
    engine.run(block)
    engine.run(list(block))
    assert set(engine._slots) == {(3,), ((3, 1),) * 3}


def test_a_large_block_is_not_copied() -> None:
    engine = LeanEngine(onnx_models.echo(*ALIKE))
    assert len(block_of(ALIKE, 4000).memory) > MOST_BYTES
    engine.run(block_of(ALIKE, 4000))
    assert not engine._slots


@pytest.mark.parametrize("case", MODELS)
def test_a_block_is_a_sequence_of_arrays(case: str) -> None:
    block = block_of(MODELS[case], 7)
    assert len(block) == len(MODELS[case]) == len(list(block))
    assert block[-1] is list(block)[-1]
    assert [array.dtype for array in block[:2]] == [dtype for _, dtype, _ in MODELS[case]][:2]
    together = merged([Batch(7, block, []), Batch(7, list(block), [])])
    assert kind_of(together) == kind_of(Batch(7, block, []))
    assert together.rows == 14


def value_of(dtype: str, number: int) -> Any:
    return number % 2 == 0 if dtype == "bool" else number / 4 if dtype in FLOATS else number


EVERY = [(dtype, dtype, [None, 1] if place % 2 else [None]) for place, dtype in enumerate(CODES)]


@pytest.mark.parametrize("rows", range(1, FEW + 1))
def test_a_few_rows_of_every_dtype_are_packed_as_one_by_one(rows: int) -> None:
    values = [tuple(value_of(dtype, row * 7 + at) for at, dtype in enumerate(CODES)) for row in range(rows)]
    made = Columns([Column(tensor, None) for tensor in tensors_of(EVERY)])
    first, second = made.arrays(values), made.arrays(values)
    assert (type(first), type(second)) == (list, Block)
    assert bits(first) == bits(second)


def test_more_rows_are_no_block() -> None:
    made = Columns([Column(tensor, None) for tensor in tensors_of(ALIKE)])
    for rows in (1, FEW + 1, 1000):
        assert type(made.arrays([(1.0, 2.0, 3.0)] * rows)) is list
    assert FEW == ALIGNED


def test_what_does_not_fit_is_left_to_the_way_of_single_columns() -> None:
    made = Columns([Column(tensor, None) for tensor in tensors_of(ALIKE)])
    for _ in range(3):
        assert made.arrays([(1.0, None, 3.0)])[2].elements() == [3.0]
        with pytest.raises(OverflowError):
            made.arrays([(1.0, 1e300, 3.0)])
    whole = Columns([Column(tensor, None) for tensor in tensors_of(FLAT)])
    for _ in range(3):
        with pytest.raises(struct.error):
            whole.arrays([(1, 2**63)])


def test_text_beside_numbers_is_no_block() -> None:
    made = Columns([Column(tensor, None) for tensor in tensors_of([*ALIKE, ("t", "string", [None, 1])])])
    for _ in range(3):
        assert type(made.arrays([(1.0, 2.0, 3.0, "x")])) is list


def test_a_packer_makes_the_block_that_a_reader_makes() -> None:
    packed = Packer(tensors_of(ALIKE)).block([(1.0, 4.0, 7.0), (2.0, 5.0, 8.0), (3.0, 6.0, 9.0)])
    other = block_of(ALIKE, 3)
    assert (packed.key, bits(packed), len(packed.memory)) == (other.key, bits(other), len(other.memory))
