"""Requests made at random, through the Lambda event, to every route of several models, on both engines.

What must hold for each: no 5xx and nothing uncaught; a response of one of the forms that we speak, whole; one audit
line, with the same status and code; no other line; and both engines answer alike. The models cannot fail by themselves:
whatever is let through to them has an answer.

``MODELYARD_FUZZ=100000`` is the long run; Hypothesis shrinks what it finds and prints the request.
"""

import base64
import contextlib
import copy
import io
import json
import os
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from onnx import helper

from modelyard.errors import RequestError
from modelyard.predictor.array import Array
from modelyard.predictor.arrays import encode
from modelyard.predictor.code import ModelCode
from modelyard.predictor.signature import Signature, Tensor
from modelyard.serving.forms import arrow_writer, npy
from modelyard.serving.request import ARROW, NPY
from tests.fakes import onnx_models
from tests.fakes.endpoint import CONTEXT, EndpointStand, event

EXAMPLES = int(os.environ.get("MODELYARD_FUZZ", "400"))
"""Requests for all models together, each sent to both engines."""

OCTETS = "application/octet-stream"
CALLERS_FAULT = {400, 404, 405, 406, 413, 415, 422}


# -- models that have an answer to whatever the signature and the contract let through --------------------------------


def columns() -> bytes:
    """Scalar columns of several dtypes, of which floats may be null: the answer says where they are."""
    value = onnx_models._value
    graph = helper.make_graph(
        [
            helper.make_node("IsNaN", ["size"], ["missing"]),
            helper.make_node("Identity", ["count"], ["count_out"]),
            helper.make_node("Identity", ["kind"], ["kind_out"]),
            helper.make_node("Not", ["flag"], ["flag_out"]),
        ],
        "g",
        [value("size", "float32", [None, 1]), value("count", "int64", [None]), value("kind", "string", [None, 1]),
         value("flag", "bool", [None, 1])],
        [value("missing", "bool", [None, 1]), value("count_out", "int64", [None]),
         value("kind_out", "string", [None, 1]), value("flag_out", "bool", [None, 1])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def field(dtype: str, shape: list[int | None], mode: str = "reject", **rules: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "mode": mode, "nulls": False, **rules}


CONTRACT = {
    "format": 1,
    "rows": 10,
    "fields": {
        "size": field("float32", [None, 1], minimum=-1.5, maximum=1e30, nulls=True),
        "count": field("int64", [None], "clip", minimum=0, maximum=9),
        "kind": field("string", [None, 1], "warn", categories={"rain": 0.5, "sun": 0.5}),
    },
}
PICTURE = (Tensor("pixels", "float32", (None, 2)),)


def _preprocess(instances: list[Any]) -> dict[str, Any]:
    pixels = encode(PICTURE, instances)["pixels"]
    if (abs(pixels) > 1e6).any():
        raise RequestError("too bright", code="too_bright")
    return {"x": pixels}


def _postprocess(outputs: dict[str, Any]) -> list[Any]:
    return [{"sum": total} for (total,) in outputs["y"].tolist()]


OWN_CODE = ModelCode("own", _preprocess, _postprocess)
MODELS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "dtypes": (onnx_models.echo(*((f"x_{dtype}", dtype, [None, 2]) for dtype in onnx_models.ELEMENTS)), {}),
    "columns": (columns(), {}),
    "contract": (columns(), {"contract": CONTRACT}),
    "classes": (onnx_models.classifier(), {}),
    "zipmap": (onnx_models.zipmap(), {}),
    "cube": (onnx_models.echo(("x", "float32", [None, 2, None])), {}),
    "text": (onnx_models.echo(("x", "string", [None])), {}),
    "code": (onnx_models.highest("float32", width=2), {"code": OWN_CODE}),
}
SEARCH = settings(
    max_examples=max(10, EXAMPLES // len(MODELS)),
    deadline=None,
    database=None,
    derandomize=EXAMPLES < 1000,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
"""Of one model's requests."""


@pytest.fixture(scope="module")
def stands() -> dict[str, list[EndpointStand]]:
    with contextlib.redirect_stdout(io.StringIO()):
        return {
            name: [EndpointStand(model, name=name, engine=engine, **settings) for engine in ("standard", "lean")]
            for name, (model, settings) in MODELS.items()
        }


# -- a request that is nearly right -----------------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(
        [0, -1, 1, 255, 256, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 0.5, -0.0, 1e39, 1e308, 5e-324,
         float("nan"), float("inf"), float("-inf"), "", "1", "NaN", "\0", "é" * 40, "\u202e", "rain", "x", [], {}, [[]],
         [{}], {"x": 1}, [None], [1, 2], [[1.0, 2.0]], ["a", "b"], [True, False], "x" * 300]
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.one_of(st.integers(-5, 5), st.floats(width=32, allow_nan=False)), max_size=4),
)  # fmt: skip
VALUES = HOSTILE.map(copy.deepcopy)
"""A list that was drawn is put into documents and changed there, and the next one must be as it was."""

KEYS = st.sampled_from(["x", "inputs", "outputs", "instances", "name", "shape", "data", "parameters", "id", "é", ""])


def _nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += _nodes(child, (*path, key))
    return found


@st.composite
def changed_document(draw: st.DrawFn, document: Any) -> Any:
    """The document with up to three of its parts replaced, removed, repeated, or added to."""
    found = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(_nodes(found)))
        if not path:
            if draw(st.integers(0, 9)) == 0:
                return draw(VALUES)
            if isinstance(found, dict):
                found[draw(KEYS)] = draw(VALUES)
            continue
        parent = found
        for key in path[:-1]:
            parent = parent[key]
        match draw(st.integers(0, 4)):
            case 0:
                del parent[path[-1]]
            case 1 if isinstance(parent, list):
                parent.insert(path[-1], copy.deepcopy(parent[path[-1]]))
            case 2 if isinstance(parent, dict):
                parent[draw(KEYS)] = draw(VALUES)
            case _:
                parent[path[-1]] = draw(VALUES)
    return found


@st.composite
def changed_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes with up to four of them changed, or parts of them cut, repeated or put in."""
    found = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(found) - 1)))
        match draw(st.integers(0, 4)):
            case 0:
                del found[at:]
            case 1:
                del found[at : at + draw(st.integers(1, 8))]
            case 2:
                found[at:at] = draw(st.binary(min_size=1, max_size=8))
            case 3:
                edge = draw(st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31), 8, 4, 2**16]))
                found[at : at + 4] = struct.pack("<i", edge)
            case _:
                found[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
    return bytes(found)


def _elements(tensor: Tensor, count: int) -> st.SearchStrategy[list[Any]]:
    if tensor.dtype == "string":
        element: st.SearchStrategy[Any] = st.sampled_from(["rain", "sun", "", "é\0:", '"'])
    elif tensor.dtype == "bool":
        element = st.booleans()
    elif tensor.dtype.startswith("float"):
        element = st.sampled_from([0.0, 1.0, -1.5, 0.25, 65504.0])
    else:
        element = st.sampled_from([0, 1, 9, 127])
    return st.lists(element, min_size=count, max_size=count)


@st.composite
def arrays_for(draw: st.DrawFn, tensors: tuple[Tensor, ...]) -> dict[str, Array]:
    rows = draw(st.sampled_from([1, 1, 2, 3, 700]))
    found = {}
    for tensor in tensors:
        shape = (rows, *(2 if size is None else size for size in tensor.shape[1:]))
        count = int(np.prod(shape[1:]))
        found[tensor.name] = Array.pack(tensor.dtype, shape, draw(_elements(tensor, count)) * rows)
    return found


def _instances(tensors: tuple[Tensor, ...], arrays: dict[str, Array]) -> dict[str, Any]:
    values = {
        tensor.name: arrays[tensor.name].elements() if tensor.scalar else arrays[tensor.name].rows()
        for tensor in tensors
    }
    return {"instances": [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]}


DATATYPES = {"float16": "FP16", "float32": "FP32", "float64": "FP64", "bool": "BOOL", "string": "BYTES"}


def _described(name: str, array: Array) -> dict[str, Any]:
    return {"name": name, "datatype": DATATYPES.get(array.dtype, array.dtype.upper()), "shape": list(array.shape)}


def _bytes_of(array: Array) -> bytes:
    if array.dtype != "string":
        return bytes(array.buffer)
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in array.buffer)


@st.composite
def requests(draw: st.DrawFn, name: str, signature: Signature) -> dict[str, Any]:
    """An event for one of the model's routes."""
    arrays = draw(arrays_for(PICTURE if name == "code" else signature.inputs))
    predict, infer = f"/models/{name}/predict", f"/v2/models/{name}/infer"
    headers: dict[str, str] = {}
    form = draw(st.sampled_from(["json", "json", "oip", "oip", "bytes", "bytes", "npy", "arrow", "arrow", "get"]))
    method, path, body = "POST", predict, b""
    if form == "get":
        rest = draw(st.sampled_from(["", "/ready", "/versions/3", "/versions/3/ready", "/versions/2", "/infer", "/x"]))
        path = draw(st.sampled_from([f"/v2/models/{name}{rest}", f"/models/{name}/openapi.json", predict]))
        method = draw(st.sampled_from(["GET", "GET", "GET", "POST", "PUT"]))
    elif form == "json":
        inputs = PICTURE if name == "code" else signature.inputs
        document = draw(changed_document(_instances(inputs, arrays)))
        body, headers["content-type"] = _text(document), "application/json"
    elif form in ("oip", "bytes"):
        inputs = [_described(key, array) for key, array in arrays.items()]
        data = []
        for described, array in zip(inputs, arrays.values(), strict=True):
            if form == "bytes" or array.dtype == "float16":
                data.append(_bytes_of(array))
                described["parameters"] = {"binary_data_size": len(data[-1])}
            else:
                described["data"] = array.elements() if draw(st.booleans()) else array.rows()
        document = {"inputs": inputs, **draw(st.sampled_from(_asked(signature)))}
        text = _text(draw(changed_document(document)))
        path = draw(st.sampled_from([infer, infer, f"/v2/models/{name}/versions/3/infer"]))
        body = text + draw(changed_bytes(b"".join(data)))
        if data:
            headers["inference-header-content-length"] = str(len(text) + draw(st.sampled_from([0, 0, 0, 0, 1, -1])))
        else:
            headers["content-type"] = "application/json"
    elif form == "npy":
        array = next(iter(arrays.values()))
        body = draw(changed_bytes(npy.write(array))) if array.dtype != "string" else b"\x93NUMPY"
        headers["content-type"] = NPY
    else:
        columns = [(key, _column(array)) for key, array in arrays.items()]
        body = draw(changed_bytes(arrow_writer.write_table(columns)))
        headers["content-type"] = ARROW
    if draw(st.integers(0, 3)) == 0:
        headers["accept"] = draw(
            st.sampled_from([NPY, ARROW, "*/*", "application/json", "é", f"text/html, {ARROW};q=1"])
        )
    if draw(st.integers(0, 19)) == 0:
        headers["content-type"] = draw(st.sampled_from(["", OCTETS, "text/plain", "APPLICATION/JSON; charset=x", NPY]))
    made = event(method, path, body, headers=headers)
    return draw(changed_document(made)) if draw(st.integers(0, 9)) == 0 else made


def _column(array: Array) -> Array:
    shape = array.shape
    flat = (shape[0],) if shape[1:] == (1,) else shape if len(shape) < 3 else (shape[0], int(np.prod(shape[1:])))
    return Array(array.dtype, flat, array.buffer)


def _asked(signature: Signature) -> list[dict[str, Any]]:
    outputs = [{"name": tensor.name, "parameters": {"binary_data": True}} for tensor in signature.outputs]
    return [
        {},
        {"id": "7", "parameters": {"binary_data_output": True}},
        {"outputs": outputs[::-1]},
        {"outputs": [{"name": signature.outputs[-1].name, "parameters": {"classification": 2}}]},
    ]


def _text(document: Any) -> bytes:
    return json.dumps(document).encode("utf-8", "replace")


# -- what must hold ---------------------------------------------------------------------------------------------------


def _refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")


def _content(response: dict[str, Any]) -> Any:
    """What a client reads; a part that is not what the headers say fails."""
    headers, body = response["headers"], response["body"]
    raw = base64.b64decode(body, validate=True) if response["isBase64Encoded"] else body.encode()
    kind = headers["content-type"]
    if kind in ("application/json", "application/problem+json"):
        return json.loads(raw, parse_constant=_refuse)
    if kind == OCTETS:
        length = int(headers["inference-header-content-length"])
        answer = json.loads(raw[:length], parse_constant=_refuse)
        sizes = [output.get("parameters", {}).get("binary_data_size", 0) for output in answer["outputs"]]
        assert sum(sizes) == len(raw) - length
        return [answer, raw[length:]]
    if kind == NPY:
        return [str(np.load(io.BytesIO(raw), allow_pickle=False).tolist())]
    assert kind == ARROW
    assert raw.endswith(struct.pack("<Ii", 0xFFFFFFFF, 0))
    return [raw]


def _asked_once(stand: EndpointStand, made: Any) -> tuple[int, Any]:
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        response = stand.endpoint.handle(made, CONTEXT)
    assert set(response) == {"statusCode", "headers", "body", "isBase64Encoded"}
    status, content = response["statusCode"], _content(response)
    assert status == 200 or status in CALLERS_FAULT, (status, content, written.getvalue())
    (line,) = [json.loads(text, parse_constant=_refuse) for text in written.getvalue().splitlines()]
    assert (line["kind"], line["status"]) == ("audit", status)
    assert (line["prediction_id"] is None) == (status != 200 or line["instances"] == 0)
    if status == 200:
        assert line["code"] == "ok"
    else:
        assert response["headers"]["content-type"] == "application/problem+json"
        assert (content["status"], content["code"]) == (status, line["code"])
        assert content["title"] != "Error"
        assert len(content["detail"]) < 1000
    return status, content


def _comparable(content: Any) -> Any:
    """Without the id, which is made anew each time."""
    found = copy.deepcopy(content)
    for part in found if isinstance(found, list) else [found]:
        if isinstance(part, dict):
            part.pop("prediction_id", None)
            if isinstance(part.get("parameters"), dict):
                part["parameters"].pop("prediction_id", None)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_no_request_makes_an_endpoint_fail(stands: dict[str, list[EndpointStand]], name: str) -> None:
    signature = stands[name][0].endpoint._follower.current().predictor.signature
    seen: dict[int, int] = {}

    @SEARCH
    @given(requests(name, signature))
    def ask(made: Any) -> None:
        standard, lean = [_asked_once(stand, copy.deepcopy(made)) for stand in stands[name]]
        assert (standard[0], _comparable(standard[1])) == (lean[0], _comparable(lean[1]))
        seen[standard[0]] = seen.get(standard[0], 0) + 1

    ask()
    assert sum(seen.values()) < 50 or {200, 400} <= set(seen), seen
