"""Arrays from buffers are held to what JSON is held to, with the same codes."""

from typing import Any

import numpy as np
import pytest

from modelyard.errors import RequestError
from modelyard.predictor.array import Array
from modelyard.predictor.arrays import from_numpy
from modelyard.predictor.encode import encode
from modelyard.predictor.signature import DTYPES, FLOATS, INTEGERS, Tensor
from modelyard.predictor.values import check_finite, check_shape, converted

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("shape", "given"), [((None, 2), (3, 2)), ((None,), (1,)), ((None, None, 3), (0, 5, 3)), ((4, 2), (9, 2))]
)
def test_a_shape_that_fits_passes_whatever_its_number_of_rows(shape: Any, given: tuple[int, ...]) -> None:
    check_shape(Tensor("x", "float32", shape), given)


@pytest.mark.parametrize(
    ("shape", "given"),
    [((None, 2), (3, 3)), ((None, 2), (3,)), ((None,), ()), ((None, None), (3, 0)), ((None,), (1,) * 99)],
)
def test_a_shape_that_does_not_fit_is_refused_in_few_words(shape: Any, given: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match="'x' has shape") as refused:
        check_shape(Tensor("x", "float32", shape), given)
    assert (refused.value.code, refused.value.field) == ("wrong_shape", "x")
    assert len(refused.value.message) < 120


@pytest.mark.parametrize("dtype", sorted(FLOATS))
@pytest.mark.parametrize(
    ("value", "nullable", "code"),
    [(NAN, False, "wrong_type"), (NAN, True, None), (INF, True, "out_of_range"), (-INF, False, "out_of_range")],
)
def test_infinity_is_no_value_and_nan_only_where_one_may_be_missing(
    dtype: str, value: float, nullable: bool, code: str | None
) -> None:
    array = from_numpy(np.array([[1, 2], [3, value]]).astype(dtype))
    tensor = Tensor("x", dtype, (None, 2))
    if code is None:
        check_finite(tensor, array, nullable=nullable)
        return
    with pytest.raises(RequestError) as refused:
        check_finite(tensor, array, nullable=nullable)
    assert (refused.value.code, refused.value.row) == (code, 1)


def test_the_largest_numbers_are_finite_though_their_sum_is_not() -> None:
    check_finite(Tensor("x", "float64", (None,)), from_numpy(np.full(9, 1.7e308)), nullable=False)


@pytest.mark.parametrize("given", sorted(DTYPES))
@pytest.mark.parametrize("wanted", sorted(DTYPES))
def test_a_dtype_is_converted_exactly_where_json_would_be_taken(given: str, wanted: str) -> None:
    array = Array("string", (1,), ["1"]) if given == "string" else from_numpy(np.ones(1).astype(given))
    tensor = Tensor("x", wanted, (None,))
    try:
        encode((tensor,), array.elements())
    except RequestError:
        with pytest.raises(RequestError) as refused:
            converted(tensor, array)
        assert refused.value.code == "wrong_type"
    else:
        found = converted(tensor, array)
        assert (found.dtype, found.elements()) == (wanted, encode((tensor,), array.elements())[0].elements())


@pytest.mark.parametrize(
    ("wanted", "step"),
    [
        ("string", "Convert it: column.cast('string') in Arrow; NPY holds no text."),
        ("int64", "Convert it: column.cast('int64') in Arrow, array.astype('int64') in numpy."),
    ],
)
def test_a_dtype_that_never_fits_is_refused_with_how_to_convert_it(wanted: str, step: str) -> None:
    with pytest.raises(RequestError) as refused:
        converted(Tensor("x", wanted, (None,)), from_numpy(np.ones(1)))
    assert refused.value.next_step == step


def test_the_same_dtype_is_the_same_array() -> None:
    array = from_numpy(np.ones(2, np.float32))
    assert converted(Tensor("x", "float32", (None,)), array) is array


@pytest.mark.parametrize(
    ("given", "wanted", "value"),
    [("float64", "float32", 1e39), ("float32", "float16", 1e5), ("int64", "int8", 128), ("int64", "uint64", -1),
     ("uint64", "int64", 2**63), ("int64", "float16", 70_000)],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused_with_its_row(given: str, wanted: str, value: Any) -> None:
    array = Array.pack(given, (3, 1), [1, value, value])
    with pytest.raises(RequestError, match=f"of instance 1 is .*; {wanted} goes from") as refused:
        converted(Tensor("x", wanted, (None, 1)), array)
    assert (refused.value.code, refused.value.row, refused.value.field) == ("out_of_range", 1, "x")


def test_every_integer_dtype_takes_its_own_limits() -> None:
    for dtype in INTEGERS:
        limits = np.iinfo(dtype)
        wide = "int64" if limits.min < 0 else "uint64"
        array = Array.pack(wide, (2,), [limits.min, limits.max])
        assert converted(Tensor("x", dtype, (None,)), array).elements() == [limits.min, limits.max]
