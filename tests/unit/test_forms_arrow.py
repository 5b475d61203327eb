"""Arrow's stream: what pyarrow writes is read, what we write pyarrow has read, and no bytes lead anywhere else."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.errors import RequestError
from modelyard.predictor.array import Array
from modelyard.predictor.signature import Tensor
from modelyard.serving.forms import arrow, arrow_writer
from modelyard.serving.forms.flatbuffer import MalformedError, Table, write
from tests.fakes import onnx_models

FIXTURES = json.loads((Path(__file__).parents[1] / "fixtures" / "arrow" / "streams.json").read_text())
STREAMS = FIXTURES["streams"]
OURS = [(Array.pack(dtype, tuple(shape), elements), base64.b64decode(found["stream"]))
        for found in FIXTURES["ours"] for dtype, shape, elements in [found["array"]]]  # fmt: skip
EVERY = tuple(Tensor(f"x_{dtype}", dtype, (None, 1)) for dtype in onnx_models.ELEMENTS)
ONE = (Tensor("x", "float32", (None, 1)),)
TEXT = (Tensor("x", "string", (None, 1)),)


def stream(name: str) -> bytes:
    return base64.b64decode(STREAMS[name]["stream"])


def read(body: bytes, tensors: tuple[Tensor, ...] = ONE, nulls: tuple[str, ...] = (), most: int = 100) -> list[Array]:
    return arrow.read_table(body, tensors, frozenset(nulls), most_rows=most)


def values(array: Array) -> list[Any]:
    return array.rows() if len(array.shape) > 1 else array.elements()


@pytest.mark.parametrize(
    "name",
    ["every dtype", "two batches", "a slice, whose bits begin in the middle", "an empty batch between two", "metadata",
     "version 4"],
)  # fmt: skip
def test_what_pyarrow_writes_is_read(name: str) -> None:
    arrays = read(stream(name), EVERY)
    expected = STREAMS[name]["columns"]
    assert [array.dtype for array in arrays] == list(onnx_models.ELEMENTS)
    assert {tensor.name: values(array) for tensor, array in zip(EVERY, arrays, strict=True)} == expected


@pytest.mark.parametrize(
    "name", ["lists of one length", "lists of fixed length", "lists from the middle", "lists of doubles"]
)
def test_lists_of_one_length_are_a_matrix(name: str) -> None:
    (array,) = read(stream(name))
    assert array.shape == (2, 2)
    assert array.rows() == STREAMS[name]["columns"]["x"]


@pytest.mark.parametrize("name", ["large text", "missing texts"])
def test_texts_of_either_size_are_read_and_missing_ones_are_empty(name: str) -> None:
    (array,) = read(stream(name), TEXT, ("x",))
    assert array.elements() == [value or "" for value in STREAMS[name]["columns"]["x"]]


def test_a_missing_number_is_nan_where_it_may_be_missing() -> None:
    (array,) = read(stream("missing numbers"), nulls=("x",))
    one, missing, three = array.elements()
    assert (one, missing != missing, three) == (1.0, True, 3.0)


def test_a_schema_that_came_before_is_known_for_its_model_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    arrow._schemas.clear()
    first = read(stream("every dtype"), EVERY)
    with monkeypatch.context() as changed:
        changed.setattr(arrow, "_columns", lambda *_: pytest.fail("it is read once more"))
        again = read(stream("every dtype"), EVERY)
    assert [array.elements() for array in again] == [array.elements() for array in first]
    with pytest.raises(RequestError, match="is no input") as refused:
        read(stream("every dtype"), ONE)
    assert refused.value.code == "unknown_field"


def test_few_schemas_are_known_and_none_that_is_long_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    arrow._schemas.clear()
    for number in range(3 * arrow._MOST_SCHEMAS):
        read(arrow_writer.write_table([(f"x{number}", Array("float32", (1,), bytes(4)))]), (named(f"x{number}"),))
    assert len(arrow._schemas) <= arrow._MOST_SCHEMAS
    arrow._schemas.clear()
    with pytest.raises(RequestError):
        read(stream("every dtype"), ONE)
    monkeypatch.setattr(arrow, "_LONGEST_SCHEMA", 8)
    read(stream("every dtype"), EVERY)
    assert not arrow._schemas


def named(name: str) -> Tensor:
    return Tensor(name, "float32", (None, 1))


def test_a_missing_integer_is_nan_where_the_model_takes_floats_that_may_be_missing() -> None:
    (array,) = read(stream("missing integers"), nulls=("x",))
    one, missing = array.elements()
    assert (array.dtype, one, missing != missing) == ("float64", 1.0, True)


def test_batches_of_integers_with_and_without_missing_ones_are_one_column() -> None:
    whole = stream("missing integers")
    at = whole.index(struct.pack("<I", 0xFFFFFFFF), 8)
    body = struct.pack("<2q", 5, 7)
    full = arrow_writer._framed(
        {0: ("h", 4), 1: ("B", 3), 2: {0: ("q", 2), 1: [(2, 0)], 2: [(0, 0), (0, 16)]}, 3: ("q", len(body))}
    )
    (array,) = read(whole[:at] + full + body + whole[at:], nulls=("x",))
    five, seven, one, missing = array.elements()
    assert (array.shape, five, seven, one, missing != missing) == ((4,), 5.0, 7.0, 1.0, True)


@pytest.mark.parametrize(
    ("name", "row"),
    [("missing numbers", 1), ("missing texts", 1), ("missing integers", 1), ("a missing list", 0),
     ("a missing number in a list", 0)],
)  # fmt: skip
def test_a_missing_value_is_refused_elsewhere_with_its_row(name: str, row: int) -> None:
    nulls = ("x",) if name == "a missing list" else ()
    with pytest.raises(RequestError, match="is null") as refused:
        read(stream(name), TEXT if "texts" in name else ONE, nulls)
    assert (refused.value.code, refused.value.row, refused.value.field) == ("wrong_type", row, "x")


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("lists of different lengths", "ragged", "different lengths"),
        ("lists in lists", "wrong_type", "lists in lists"),
        ("lists in lists of fixed length", "wrong_type", "lists in lists"),
        ("dictionary", "wrong_type", "dictionary"),
        ("timestamps", "wrong_type", "timestamp"),
        ("views", "wrong_type", "string view"),
        ("large lists", "wrong_type", "large list"),
        ("compressed", "unsupported_encoding", "compressed"),
    ],
)
def test_what_is_not_read_is_refused_by_its_name(name: str, code: str, said: str) -> None:
    with pytest.raises(RequestError, match=said) as refused:
        read(stream(name))
    assert refused.value.code == code


@pytest.mark.parametrize("name", ["no rows", "no batches"])
def test_a_table_without_rows_has_arrays_without_rows(name: str) -> None:
    (array,) = read(stream(name))
    assert (array.dtype, array.shape[0], array.elements()) == ("float32", 0, [])


def test_reading_stops_at_the_most_rows() -> None:
    with pytest.raises(RequestError) as refused:
        read(stream("two batches"), EVERY, most=8)
    assert (refused.value.status, refused.value.code) == (413, "batch_too_large")
    assert len(read(stream("two batches"), EVERY, most=9)) == len(EVERY)


def test_many_empty_batches_are_too_many() -> None:
    whole = arrow_writer.write_table([("x", Array("float32", (0,), b""))])
    at = whole.index(struct.pack("<I", 0xFFFFFFFF), 8)
    batch = whole[at:-8]
    assert read(whole[:at] + batch * 1000)[0].shape == (0,)
    with pytest.raises(RequestError) as refused:
        read(whole[:at] + batch * 1001)
    assert refused.value.code == "batch_too_large"


def test_numbers_are_read_where_they_lie_and_copied_only_out_of_place() -> None:
    body = arrow_writer.write_table([("x", Array.pack("float32", (3,), [1, 2, 3]))])
    (array,) = read(body)
    assert isinstance(array.buffer, memoryview)
    assert array.buffer.obj is body


@pytest.mark.parametrize(("array", "read_by_pyarrow"), OURS, ids=lambda value: getattr(value, "dtype", ""))
def test_what_is_written_is_what_pyarrow_has_read_and_is_read_again(array: Array, read_by_pyarrow: bytes) -> None:
    body = arrow_writer.write_table([("x", array)])
    assert body == read_by_pyarrow
    (found,) = read(body, (Tensor("x", array.dtype, (None, 1)),))
    assert (found.dtype, found.elements()) == (array.dtype, array.elements())
    assert found.shape[0] == array.shape[0]


# -- hostile bytes ----------------------------------------------------------------------------------------------------

Parts = list[tuple[int, int]]


def crafted(tensor: Tensor, rows: int, nodes: Parts, buffers: Parts, body: bytes, width: int = 0) -> bytes:
    """A stream whose only batch says what it likes; with a width, of lists with offsets."""
    honest = Array.pack(tensor.dtype, (1,), ["" if tensor.dtype == "string" else 0])
    field = arrow_writer._field("x", honest)
    if width:
        field = {0: "x", 1: ("B", 1), 2: ("B", 12), 3: {}, 5: [{**field, 0: "item"}]}
    schema = arrow_writer._framed({0: ("h", 4), 1: ("B", 1), 2: {1: [field]}, 3: ("q", 0)})
    batch = {0: ("q", rows), 1: nodes, 2: buffers}
    return schema + arrow_writer._framed({0: ("h", 4), 1: ("B", 3), 2: batch, 3: ("q", len(body))}) + body


FLOATS, BOOLS = (Tensor("x", "float64", (None, 1)),), (Tensor("x", "bool", (None, 1)),)
CRAFTED: dict[str, tuple[tuple[Tensor, ...], int, Parts, Parts, bytes, int]] = {
    "honest": (FLOATS, 2, [(2, 0)], [(0, 0), (0, 16)], bytes(16), 0),
    "fewer bytes than values": (FLOATS, 3, [(3, 0)], [(0, 0), (0, 16)], bytes(16), 0),
    "a buffer before its batch": (FLOATS, 1, [(1, 0)], [(0, 0), (-16, 8)], bytes(16), 0),
    "a buffer beyond its batch": (FLOATS, 1, [(1, 0)], [(0, 0), (16, 8)], bytes(16), 0),
    "a buffer of less than nothing": (FLOATS, 1, [(1, 0)], [(0, 0), (8, -8)], bytes(16), 0),
    "rows of less than nothing": (FLOATS, -1, [(-1, 0)], [(0, 0), (0, 0)], b"", 0),
    "a column of other rows": (FLOATS, 2, [(1, 0)], [(0, 0), (0, 16)], bytes(16), 0),
    "a column of more rows": (FLOATS, 1, [(2, 0)], [(0, 0), (0, 16)], bytes(16), 0),
    "more missing than there are": (FLOATS, 1, [(1, 2)], [(0, 8), (8, 8)], bytes(16), 0),
    "missing values without bits": (FLOATS, 1, [(1, 1)], [(0, 0), (0, 8)], bytes(16), 0),
    "no node": (FLOATS, 1, [], [(0, 0), (0, 8)], bytes(8), 0),
    "no buffer": (FLOATS, 1, [(1, 0)], [(0, 0)], bytes(8), 0),
    "a buffer too many": (FLOATS, 1, [(1, 0)], [(0, 0), (0, 8), (0, 8)], bytes(8), 0),
    "fewer bits than booleans": (BOOLS, 9, [(9, 0)], [(0, 0), (0, 1)], bytes(8), 0),
    "fewer offsets than texts": (TEXT, 2, [(2, 0)], [(0, 0), (0, 8), (8, 8)], bytes(16), 0),
    "offsets that go back": (TEXT, 2, [(2, 0)], [(0, 0), (0, 12), (16, 8)], struct.pack("<6i", 0, 4, 2, 0, 0, 0), 0),
    "offsets beyond the text": (TEXT, 1, [(1, 0)], [(0, 0), (0, 8), (8, 8)], struct.pack("<2i", 0, 9) + bytes(8), 0),
    "offsets before the text": (TEXT, 1, [(1, 0)], [(0, 0), (0, 8), (8, 8)], struct.pack("<2i", -4, 4) + bytes(8), 0),
    "lists before their values": (FLOATS, 1, [(1, 0), (1, 0)], [(0, 0), (0, 8), (0, 0), (8, 16)],
                                  struct.pack("<2i", -1, 0) + bytes(16), 1),
    "lists beyond their values": (FLOATS, 1, [(1, 0), (1, 0)], [(0, 0), (0, 8), (0, 0), (8, 16)],
                                  struct.pack("<2i", 0, 2) + bytes(16), 1),
}  # fmt: skip


@pytest.mark.parametrize("case", CRAFTED)
def test_a_length_or_an_offset_that_is_not_true_is_refused(case: str) -> None:
    tensors, rows, nodes, buffers, body, width = CRAFTED[case]
    made = crafted(tensors[0], rows, nodes, buffers, body, width)
    if case == "honest":
        assert read(made, tensors, ("x",))[0].elements() == [0.0, 0.0]
        return
    with pytest.raises(RequestError) as refused:
        read(made, tensors, ("x",))
    assert refused.value.code == "invalid_arrow"


def test_numbers_out_of_place_are_copied_to_where_they_may_lie() -> None:
    body = bytes(4) + struct.pack("<d", 1.5) + bytes(4)
    (array,) = read(crafted(FLOATS[0], 1, [(1, 0)], [(0, 0), (4, 8)], body), FLOATS)
    assert isinstance(array.buffer, bytes)
    assert array.elements() == [1.5]


HONEST = [
    (stream("every dtype"), EVERY),
    (stream("two batches"), EVERY),
    (stream("lists of one length"), ONE),
    (stream("missing texts"), TEXT),
    (arrow_writer.write_table([("x", OURS[2][0])]), (Tensor("x", "float64", (None, 3)),)),
]
EDGES = [0, 1, 2, 4, 7, 8, 2**31 - 1, -1, -(2**31), 2**30, 255]


@settings(max_examples=1500, deadline=None)
@given(
    st.sampled_from(HONEST),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(EDGES), st.sampled_from([1, 4, 8])), min_size=1, max_size=5),
    st.floats(0.2, 1),
)
def test_changed_bytes_are_refused_or_read_but_never_lead_out(honest: Any, changes: Any, end: float) -> None:
    body, tensors = bytearray(honest[0]), honest[1]
    for where, edge, size in changes:
        at = int(where * (len(body) - size))
        body[at : at + size] = (edge % 2 ** (8 * size)).to_bytes(size, "little")
    if end < 0.5:
        del body[int(2 * end * len(body)) :]
    try:
        arrays = read(bytes(body), tensors, tuple(tensor.name for tensor in tensors))
    except RequestError as refused:
        assert len(refused.message) < 500  # noqa: PT017 - both outcomes are right
        return
    for array in arrays:
        assert len(array.elements()) == _count(array)


def _count(array: Array) -> int:
    count = 1
    for size in array.shape:
        count *= size
    return count


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_as_a_flatbuffer_are_refused_or_read(content: bytes) -> None:
    try:
        table = Table.root(content)
        for field in range(4):
            table.has(field)
            table.number(field, "q")
            table.text(field)
            table.pairs(field)
            table.tables(field, 3)
    except MalformedError:
        pass


def test_a_flatbuffer_gives_back_what_was_written() -> None:
    table = Table.root(
        write({0: ("h", -3), 1: "é", 2: {0: ("q", 2**40)}, 4: [{0: "a"}, {0: "b"}], 5: [(1, -2), (3, 4)]})
    )
    assert (table.number(0, "h"), table.text(1), table.table(2).number(0, "q")) == (-3, "é", 2**40)
    assert [inner.text(0) for inner in table.tables(4, 9)] == ["a", "b"]
    assert table.pairs(5) == [(1, -2), (3, 4)]
    assert (table.has(3), table.number(3, "i", 7), table.text(3)) == (False, 7, "")
