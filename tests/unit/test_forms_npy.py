"""NPY: what numpy saves is read without numpy, what we write numpy loads, and nothing in it is evaluated."""

import io
import struct
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.errors import RequestError
from modelyard.predictor.array import CODES, Array
from modelyard.predictor.arrays import from_numpy, to_numpy
from modelyard.serving.forms import npy


def saved(array: Any, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), version=version)
    return file.getvalue()


def headed(header: str, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("latin-1") + content


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 2, 3), (0, 2), (1, 1)])
def test_what_numpy_saves_is_read_and_what_is_written_numpy_loads(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(np.prod(shape)) % 2).astype(dtype).reshape(shape)
    found = npy.read(saved(array))
    assert (found.dtype, found.shape) == (dtype, shape)
    np.testing.assert_array_equal(to_numpy(found), array)
    written = npy.write(from_numpy(array))
    assert written == saved(array)  # to the bit, header and all
    np.testing.assert_array_equal(np.load(io.BytesIO(written), allow_pickle=False), array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(version: tuple[int, int]) -> None:
    assert npy.read(saved(np.ones((2, 2), np.float32), version)).elements() == [1.0] * 4


def test_columns_one_after_the_other_as_pandas_gives_them_become_rows() -> None:
    array = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4))
    assert b"'fortran_order': True" in saved(array)
    np.testing.assert_array_equal(to_numpy(npy.read(saved(array))), array)


def test_columns_of_three_axes_are_refused() -> None:
    with pytest.raises(RequestError, match="Fortran") as refused:
        npy.read(saved(np.asfortranarray(np.zeros((2, 3, 4)))))
    assert refused.value.code == "wrong_shape"


def test_the_bytes_of_an_aligned_array_are_not_copied_and_others_are() -> None:
    body = saved(np.ones(4, np.float64))
    aligned = npy.read(body).buffer
    assert isinstance(aligned, memoryview)
    assert aligned.obj is body
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (4,), }\n"
    odd = headed(header, body[-32:])
    assert (len(odd) - 32) % 8
    assert isinstance(npy.read(odd).buffer, bytes)
    assert npy.read(odd).elements() == [1.0] * 4


@pytest.mark.parametrize(
    "header",
    [
        "{'shape': (2,), 'fortran_order': False, 'descr': '<f4'}",
        "{'descr':'<f4','fortran_order':False,'shape':(2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }   \n",
    ],
)
def test_headers_of_other_writers_are_read(header: str) -> None:
    assert npy.read(headed(header, bytes(8))).shape == (2,)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': False, 'descr': '<f4'}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os'),)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 40 + ",)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 40 + ")}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (٣,)}".encode().decode("latin-1"),
        "__import__('os').system('true')",
    ],
)
def test_a_header_is_matched_and_never_evaluated(header: str) -> None:
    with pytest.raises(RequestError) as refused:
        npy.read(headed(header, bytes(8)))
    assert refused.value.code == "invalid_npy"
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("descr", ["|O", "<O", "|S3", "<U3", ">f4", "<c8", "<M8[s]", "|V4", "<f16", "=f4", "f4", ""])
def test_a_dtype_that_no_model_takes_is_refused_before_anything_is_read(descr: str) -> None:
    with pytest.raises(RequestError) as refused:
        npy.read(headed(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}", bytes(8)))
    assert refused.value.code == "wrong_type"
    assert ("pickle" in refused.value.message) == ("O" in descr)


def test_blanks_in_a_header_take_no_longer_the_more_there_are() -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)" + " " * 9_900 + "x"
    began = time.process_time()
    with pytest.raises(RequestError):
        npy.read(headed(header))
    assert time.process_time() - began < 0.05


@pytest.mark.parametrize("change", [-1, 1, -8])
def test_more_or_fewer_bytes_than_the_shape_says_are_refused(change: int) -> None:
    body = saved(np.ones(4, np.float32))
    with pytest.raises(RequestError, match="bytes of values"):
        npy.read(body[:change] if change < 0 else body + bytes(change))


def test_a_byte_that_is_no_boolean_is_refused() -> None:
    with pytest.raises(RequestError, match="neither 0 nor 1"):
        npy.read(saved(np.array([True, False]))[:-1] + b"\x02")


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=30), st.integers(0, 160), st.integers(0, 140))
def test_any_bytes_are_refused_or_read(noise: bytes, at: int, end: int) -> None:
    body = saved(np.ones((2, 2), np.float32))
    changed = (body[:at] + noise + body[at + len(noise) :])[:end] if end < 130 else body[:at] + noise + body[at:]
    try:
        found = npy.read(changed)
    except RequestError as refused:
        assert refused.code in ("invalid_npy", "wrong_type", "wrong_shape")  # noqa: PT017 - both outcomes are right
    else:
        assert isinstance(found, Array)
        assert len(found.elements()) == np.prod(found.shape)
