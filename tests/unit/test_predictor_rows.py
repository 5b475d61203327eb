"""`RowReader`: what the library takes is what the decoder would have taken, to the bit; the rest it leaves alone."""

import json
import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.compiling import kernel
from modelyard.contract.document import parse
from modelyard.errors import RequestError
from modelyard.predictor import reader as module
from modelyard.predictor.reader import Reader
from modelyard.predictor.rows import RowReader
from modelyard.predictor.signature import Signature
from tests.fakes.native import row_reader


@pytest.fixture(autouse=True, scope="module")
def _built() -> None:
    row_reader()


FLOATS, INTEGERS = ("float32", "float64"), ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def signature(*inputs: tuple[str, str, list[int | None]]) -> Signature:
    return Signature.parse(
        {
            "inputs": [{"name": name, "dtype": dtype, "shape": shape} for name, dtype, shape in inputs],
            "outputs": [{"name": "y", "dtype": "float32", "shape": [None, 1]}],
        }
    )


TABLE = signature(("a", "float32", [None, 1]), ("long name", "float64", [None]), ("ü", "int32", [None, 1]))
MATRIX = signature(("x", "float32", [None, 3]))


def reader_of(what: Signature, contract: dict[str, Any] | None = None) -> Reader:
    return Reader(what, None if contract is None else parse(contract))


def taken(reader: Reader, body: str | bytes) -> list[tuple[Any, ...]] | None:
    """What the library makes of a body."""
    rows = RowReader.of(reader.inputs, reader.checks)
    assert rows is not None
    found = rows.arrays(body)
    return None if found is None else [(array.dtype, array.shape, bytes(array.buffer)) for array in found]


def decoded(reader: Reader, body: str | bytes) -> list[tuple[Any, ...]] | str:
    """What the decoder in Python makes of it."""
    reader._row_reader = False
    try:
        return [(array.dtype, array.shape, bytes(array.buffer)) for array in reader.read(body).arrays]
    except RequestError as refused:
        return refused.code


def table(*rows: str) -> str:
    return f'{{"instances": [{", ".join(rows)}]}}'


@pytest.mark.parametrize(
    "body",
    [
        table('{"a": 1, "long name": 2.5, "ü": 3}'),
        table('{"a": -0.0, "long name": 1e-3, "ü": -3}', '{"a": 1E+2, "long name": 0, "ü": 0}'),
        table('{"ü": 3, "a": 1, "long name": 2.5}', '{"ü": 4, "a": 2, "long name": 0.1}'),
        table('{"a":1,"long name":0.30000000000000004,"ü":3}'),
        ' {\n"instances"\t:\r[ { "a" : 1 , "long name" : 2 , "ü" : 3 } ] } ',
        table('{"a": 3.4028235e38, "long name": 1.7976931348623157e308, "ü": 2147483647}'),
        table('{"a": 16777217, "long name": 9007199254740993, "ü": -2147483648}'),
        table('{"a": 123456789012345678, "long name": 0.000000000000000000012345, "ü": 0}'),
        table('{"a": 1.17549435e-38, "long name": 2.2250738585072014e-308, "ü": 0}'),
    ],
)
def test_plain_rows_are_taken_as_the_decoder_takes_them(body):
    reader = reader_of(TABLE)
    for text in (body, body.encode()):
        assert taken(reader, text) == decoded(reader, text)


@pytest.mark.parametrize(
    "row",
    [
        '{"a": null, "long name": 2, "ü": 3}',
        '{"a": 1, "long name": 2}',
        '{"a": 1, "long name": 2, "ü": 3, "b": 4}',
        '{"a": 1, "a": 1, "ü": 3}',
        '{"a": 1, "long name": 2, "ü": 3, "a": 1}',
        '{"\\u0061": 1, "long name": 2, "ü": 3}',
        '{"a": "1", "long name": 2, "ü": 3}',
        '{"a": true, "long name": 2, "ü": 3}',
        '{"a": NaN, "long name": 2, "ü": 3}',
        '{"a": Infinity, "long name": 2, "ü": 3}',
        '{"a": 1e39, "long name": 2, "ü": 3}',
        '{"a": 1, "long name": 1e309, "ü": 3}',
        '{"a": 1, "long name": 1e-400, "ü": 3}',
        '{"a": 1, "long name": 2, "ü": 3.5}',
        '{"a": 1, "long name": 2, "ü": 2147483648}',
        '{"a": 1, "long name": 2, "ü": 3e0}',
        '{"a": 01, "long name": 2, "ü": 3}',
        '{"a": .5, "long name": 2, "ü": 3}',
        '{"a": 1., "long name": 2, "ü": 3}',
        '{"a": +1, "long name": 2, "ü": 3}',
        '{"a": 0x10, "long name": 2, "ü": 3}',
        '{"a": 1e, "long name": 2, "ü": 3}',
        '{"a": 1e999999999999999999999, "long name": 2, "ü": 3}',
        '{"a": --1, "long name": 2, "ü": 3}',
        '{"a": 1 2, "long name": 2, "ü": 3}',
        '{"a": 1,, "long name": 2, "ü": 3}',
        '{"a": 1, "long name": 2, "ü": 3,}',
        '{"a": [1], "long name": 2, "ü": 3}',
        "{}",
        "[1, 2, 3]",
        "1",
        "",
    ],
)
@pytest.mark.parametrize("after", [0, 1])
def test_whatever_is_not_plain_is_left_to_the_decoder(row, after):
    plain = '{"a": 1, "long name": 2, "ü": 3}'
    assert taken(reader_of(TABLE), table(*[plain] * after, row)) is None


@pytest.mark.parametrize(
    "body",
    [
        "", "{", "[]", "null", '{"instances"', '{"instances": [', '{"instances": []}', '{"instances": {}}',
        table('{"a": 1, "long name": 2, "ü": 3}')[:-1],
        table('{"a": 1, "long name": 2, "ü": 3}') + "x",
        table('{"a": 1, "long name": 2, "ü": 3}') + "\0",
        table('{"a": 1, "long name": 2, "ü": 3}').replace("}]", "}], \"x\": 1"),
        '{"instances": [{"a": 1, "long name": 2, "ü": 3}], "instances": []}',
        '{"Instances": [{"a": 1, "long name": 2, "ü": 3}]}',
        '{"a": 1}',
        "\ud800",
        "\ufeff" + table('{"a": 1, "long name": 2, "ü": 3}'),
        table('{"a": 1, "long name": 2, "ü": 3}', '{"long name": 2, "a": 1, "ü": 3}'),  # another order
    ],
)  # fmt: skip
def test_no_other_document_is_taken(body):
    assert taken(reader_of(TABLE), body) is None


def test_a_text_is_never_read_past_its_end():
    whole = table('{"a": 1.5e3, "long name": 2.25, "ü": 3}', '{"a": 1.5e3, "long name": 2.25, "ü": 3}').encode()
    reader = reader_of(TABLE)
    for end in range(len(whole)):
        assert taken(reader, whole[:end]) is None


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.integers(-300, 300).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FLOATS + INTEGERS), st.lists(numbers, min_size=2, max_size=5), st.booleans())
def test_a_number_that_is_taken_is_the_one_that_the_decoder_reads(dtype, texts, matrix):
    if matrix:
        reader = reader_of(signature(("x", dtype, [None, len(texts)])))
        body = table(f"[{', '.join(texts)}]")
    else:
        reader = reader_of(signature(("x", dtype, [None, 1]), ("y", "float64", [None, 1])))
        body = table(*(f'{{"x": {text}, "y": 0}}' for text in texts))
    found = taken(reader, body)
    assert found is None or found == decoded(reader, body)


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_comes_back_as_it_was_written(value):
    reader = reader_of(signature(("x", "float64", [None, 1]), ("y", "float64", [None, 1])))
    found = taken(reader, table(json.dumps({"x": value, "y": 1.0})))
    if value == 0 or abs(value) >= sys.float_info.min:
        assert found is not None
        assert found[0][2] == struct.pack("d", value)
    else:
        assert found is None  # denormal: the decoder's


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_at_the_edges_of_their_dtype(dtype):
    bits = int(dtype.rpartition("t")[2])
    least, most = (0, 2**bits - 1) if dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    reader = reader_of(signature(("x", dtype, [None, 1]), ("y", dtype, [None, 1])))
    for value in (least - 1, least, least + 1, most - 1, most, most + 1):
        body = table(f'{{"x": {value}, "y": 1}}')
        found = taken(reader, body)
        if not least <= value <= most or abs(value) >= 10**18:
            assert found is None
        else:
            assert found == decoded(reader, body)


@pytest.mark.parametrize(
    ("value", "inside"), [("1", True), ("0.9999", False), ("2", True), ("2.0001", False), ("1.5", True)]
)
def test_bounds_of_the_contract_hold(value, inside):
    field = {"dtype": "float32", "shape": [None, 1], "mode": "reject", "minimum": 1, "maximum": 2, "nulls": False}
    reader = reader_of(
        signature(("x", "float32", [None, 1]), ("y", "float32", [None, 1])),
        {"format": 1, "rows": 0, "fields": {"x": field}},
    )
    body = table(f'{{"x": {value}, "y": 1}}')
    found = taken(reader, body)
    assert (found == decoded(reader, body)) if inside else (found is None)


@pytest.mark.parametrize(
    "inputs",
    [
        [("x", "string", [None, 1]), ("y", "float32", [None, 1])],
        [("x", "float16", [None, 1]), ("y", "float32", [None, 1])],
        [("x", "bool", [None, 1]), ("y", "float32", [None, 1])],
        [("x", "float32", [None, 2]), ("y", "float32", [None, 1])],
        [("x", "float32", [None, 1])],
        [("x", "float32", [None, None])],
        [("x", "float32", [None, 2, 2])],
        [('"', "float32", [None, 1]), ("y", "float32", [None, 1])],
    ],
)
def test_models_with_other_inputs_have_no_such_reader(inputs):
    reader = reader_of(signature(*inputs))
    assert RowReader.of(reader.inputs, reader.checks) is None


def test_a_library_that_was_cut_off_is_left_alone(monkeypatch, tmp_path):
    whole = Path(row_reader()).read_bytes()
    library = tmp_path / "rows-1.so"
    monkeypatch.setattr(kernel, "find", lambda name: str(library))
    reader = reader_of(TABLE)
    for size in (0, 64, len(whole) // 2, len(whole) - 1):
        library.write_bytes(whole[:size])
        assert RowReader.of(reader.inputs, reader.checks) is None
    library.write_bytes(whole)
    assert RowReader.of(reader.inputs, reader.checks) is not None


def test_the_reader_uses_it_for_large_bodies_only(monkeypatch):
    body = table(*['{"a": 1, "long name": 2.5, "ü": 3}'] * 3)
    monkeypatch.setattr(module, "LARGE_BODY", len(body) + 1)
    small = reader_of(TABLE)
    expected = [bytes(array.buffer) for array in small.read(body).arrays]
    assert small._row_reader is None
    monkeypatch.setattr(module, "LARGE_BODY", len(body))
    large = reader_of(TABLE)
    assert [bytes(array.buffer) for array in large.read(body).arrays] == expected
    assert isinstance(large._row_reader, RowReader)
    with pytest.raises(RequestError) as refused:
        large.read(body.replace("2.5", "null", 1))
    assert refused.value.field == "long name"


def test_what_the_contract_clips_is_clipped(monkeypatch):
    monkeypatch.setattr(module, "LARGE_BODY", 1)
    field = {"dtype": "float32", "shape": [None, 1], "mode": "clip", "minimum": 1, "maximum": 2, "nulls": False}
    reader = reader_of(
        signature(("x", "float32", [None, 1]), ("y", "float32", [None, 1])),
        {"format": 1, "rows": 0, "fields": {"x": field}},
    )
    read = reader.read(table('{"x": 5, "y": 7}', '{"x": 1.5, "y": 8}'))
    assert [array.elements() for array in read.arrays] == [[2.0, 1.5], [7.0, 8.0]]
    assert isinstance(reader._row_reader, RowReader)


def test_no_memory_is_kept():
    body = table(*['{"a": 1, "long name": 2.5, "ü": 3}'] * 200).encode()
    script = f"""
import resource, sys
sys.path[:0] = {sys.path!r}
from tests.unit.test_predictor_rows import TABLE, reader_of, taken, RowReader
reader = reader_of(TABLE)
rows = RowReader.of(reader.inputs, reader.checks)
body = {body!r}
def many(count):
    for _ in range(count):
        assert rows.arrays(body).rows == 200
        assert rows.arrays(body[:-2]) is None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = many(2000)
print(many(20000) - before)
"""
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 1024  # KB; a leak of a buffer would be 120 MB


def test_a_sum_of_many_rows_is_right():
    reader = reader_of(MATRIX)
    rows = [[place, place / 7, -place * 1e-3] for place in range(1000)]
    found = taken(reader, json.dumps({"instances": rows}))
    assert found is not None
    numbers_read = struct.unpack("3000f", found[0][2])
    assert math.isclose(sum(numbers_read[::3]), 999 * 500, rel_tol=1e-6)
    assert found == decoded(reader, json.dumps({"instances": rows}))
