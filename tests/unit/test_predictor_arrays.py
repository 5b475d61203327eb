"""From numpy to `Array`: what another byte order, text and a dtype that no tensor has become."""

import struct
from typing import Any

import numpy as np
import pytest

from modelyard.errors import ModelError
from modelyard.predictor.array import CODES
from modelyard.predictor.arrays import from_numpy, to_numpy
from modelyard.predictor.code import ModelCode
from modelyard.predictor.predictor import Predictor
from tests.fakes import onnx_models

OTHER_ORDER = [dtype for dtype in CODES if np.dtype(dtype).itemsize > 1]


@pytest.mark.parametrize("engine", ["standard", "lean"])
@pytest.mark.parametrize("dtype", OTHER_ORDER)
def test_own_code_may_give_numbers_in_the_other_byte_order(dtype: str, engine: Any) -> None:
    swapped = np.array([[1], [100]], dtype).astype(np.dtype(dtype).newbyteorder())
    model = Predictor.load(
        onnx_models.echo(("x", dtype, [None, 1])),
        code=ModelCode("own", lambda rows: {"x": swapped}),
        engine=engine,
    )
    assert model.predict(["a", "b"]) == [1, 100]


@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_in_either_byte_order_are_the_machines_bytes(order: str) -> None:
    array = from_numpy(np.array([[1.5, -2.0], [3.0, 0.0]], f"{order}f4").T)
    assert (array.dtype, array.shape) == ("float32", (2, 2))
    assert bytes(array.buffer) == struct.pack("=4f", 1.5, 3.0, -2.0, 0.0)
    assert to_numpy(array).tolist() == [[1.5, 3.0], [-2.0, 0.0]]


@pytest.mark.parametrize("dtype", [object, "<U4", ">U4", "S4"])
def test_text_is_text_in_each_form_that_numpy_has(dtype: Any) -> None:
    texts = ["rain", "ß"]
    array = from_numpy(np.array([[text.encode() if dtype == "S4" else text] for text in texts], dtype))
    assert (array.dtype, array.shape, array.buffer) == ("string", (2, 1), texts)


@pytest.mark.parametrize("dtype", ["complex64", "longdouble", "datetime64[s]", "timedelta64[s]", "V4", "f4,f4"])
def test_a_dtype_that_no_tensor_has_is_said_and_is_no_text(dtype: str) -> None:
    with pytest.raises(ModelError, match="a tensor has one of float16, ") as refused:
        from_numpy(np.zeros((2, 1), dtype))
    assert refused.value.code == "wrong_output"
    assert str(np.dtype(dtype)) in refused.value.message
