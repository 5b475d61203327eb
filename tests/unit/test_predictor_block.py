"""`Block`: a model is run over it as over a list of the same arrays."""

from typing import Any

import pytest

from modelyard.predictor.array import ITEM_BYTES, Array
from modelyard.predictor.block import ALIGNED, Block, Layout
from modelyard.predictor.lean import LeanEngine
from modelyard.predictor.reader import Batch
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


def block_of(tensors: list[Any], rows: int, first: int = 1) -> Block:
    """Column after column, row after row counts up from ``first``; what lies between the columns is no zero."""
    columns, at = [], 0
    for _, dtype, shape in tensors:
        width = shape[-1] or 1
        columns.append((dtype, tuple(shape[1:]), at, at + width * ITEM_BYTES[dtype]))
        at = columns[-1][3]
    room = rows + ALIGNED - 1 & -ALIGNED
    memory = bytearray(b"\x77" * ((room + 32) * at))
    for dtype, rest, start, _ in columns:
        elements = [(first + number) % 100 for number in range(rows * (rest[-1] if rest else 1))]
        packed = Array.pack(dtype, (len(elements),), elements).buffer
        memory[start * room : start * room + len(packed)] = packed
        first += rows
    return Block(Layout(columns), rows, memoryview(memory))


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
