"""Requests and responses at the limits: one less, exactly, one more. The list: test_bad_inputs_predict."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from modelyard.errors import RequestError
from modelyard.serving.request import ARROW, NPY
from modelyard.serving.response import MAX_RESPONSE_BYTES, binary_response, json_response
from tests.fakes import onnx_models
from tests.fakes.endpoint import EndpointStand, event
from tests.fakes.predict_requests import INFER, OCTETS, as_json, changed, headed, npy, ones_in_every_form
from tests.fakes.runtime_client import runtime_client

MIB = 1024 * 1024


def _json_of(size: int) -> dict[str, Any]:
    text = '{"instances": [[1, 2]]}'
    return as_json(text + " " * (size - len(text)))


def _base64_json_of(size: int) -> dict[str, Any]:
    text = '{"instances": [[1, 2]]}'
    raw = (text + " " * (size - len(text))).encode()
    return changed(as_json(text), body=base64.b64encode(raw).decode(), isBase64Encoded=True)


def _unicode_json_of(size: int) -> dict[str, Any]:
    start, end = '{"instances": [[1, 2]], "é": "', '"}'
    rest = size - len(start.encode()) - len(end)
    return as_json(start + "é" * (rest // 2) + "e" * (rest % 2) + end)


def _tensor_of(size: int) -> dict[str, Any]:
    made = {"name": "x", "datatype": "UINT8", "shape": [1, 6_000_000], "parameters": {"binary_data_size": 6_000_000}}
    length = len(json.dumps({"inputs": [made]}))
    made["shape"], made["parameters"] = [1, size - length], {"binary_data_size": size - length}
    text = json.dumps({"inputs": [made]}).encode()
    assert len(text) == length
    headers = {"content-type": OCTETS, "inference-header-content-length": str(length)}
    return event("POST", INFER, text + bytes(size - length), headers=headers)


def _npy_of(size: int) -> dict[str, Any]:
    return npy(np.zeros((1, size - 128), dtype=np.uint8))


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize(
    ("form", "model"),
    [
        (_json_of, onnx_models.row_sum()),
        (_base64_json_of, onnx_models.row_sum()),
        (_tensor_of, onnx_models.highest("uint8")),
        (_npy_of, onnx_models.highest("uint8")),
    ],
)
def test_the_largest_request_is_answered_and_one_byte_more_is_413(form: Any, model: bytes, more: int) -> None:
    answer = EndpointStand(model, engine="lean").send(form(6 * MIB + more))
    assert (answer.status, answer.code) == ((413, "body_too_large") if more > 0 else (200, "ok")), answer.json


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_limit_counts_bytes_and_not_characters(sums: EndpointStand, more: int) -> None:
    answer = sums.send(_unicode_json_of(6 * MIB + more))
    assert answer.code == ("body_too_large" if more > 0 else "unknown_field")


def _json_response(size: int) -> dict[str, Any]:
    return json_response(b'"' + b"a" * (size - 2 - 2 - 106) + b'"')


def _binary_response(size: int) -> dict[str, Any]:
    """What is not JSON grows by 4 characters of base64 at a time; the last ones go to a header."""
    room = size - 71 - sum(map(len, ("content-type", OCTETS, "x"))) - 2 * 6 - 2
    return binary_response(bytes(room // 4 * 3), {"content-type": OCTETS, "x": "x" * (room % 4)}, instances=1)


@pytest.mark.parametrize("python", ["3.11", "3.12"])
@pytest.mark.parametrize("write", [_json_response, _binary_response])
def test_the_largest_response_goes_out_and_one_byte_more_is_413(
    write: Any, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = runtime_client(python, monkeypatch)
    for size in (MAX_RESPONSE_BYTES - 1, MAX_RESPONSE_BYTES):
        assert written(write(size)) == size
    with pytest.raises(RequestError) as refused:
        write(MAX_RESPONSE_BYTES + 1)
    assert (refused.value.status, refused.value.code) == (413, "response_too_large")
    assert "6,291,557 bytes as Lambda writes it" in refused.value.message


@pytest.mark.parametrize("headers", [{"accept": ARROW}, {"accept": NPY}])
def test_an_answer_in_bytes_that_is_too_large_is_413(headers: dict[str, str]) -> None:
    stand = EndpointStand(onnx_models.echo(("x", "float32", [None, None])), engine="lean")
    made = npy(np.zeros((2, 600_000), dtype=np.float32))
    assert stand.send(headed(made, **headers)).code == "response_too_large"


@pytest.mark.parametrize("rows", [9_999, 10_000, 10_001])
def test_one_row_more_than_allowed_is_refused(sums: EndpointStand, rows: int) -> None:
    asked = ones_in_every_form(rows)
    expected = "batch_too_large" if rows > 10_000 else "ok"
    assert [sums.send(made).code for made in asked] == [expected] * len(asked)
