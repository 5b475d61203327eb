"""Everything wrong that somebody may send to an endpoint, in each form that it speaks: refused, said, and audited.

The entries of "Predict" in the list of bad inputs, and the tests that cover them. `BAD` has those that are a body, once
for each form; each test runs with both engines.

====================================  ================================================================================
empty                                 BAD "empty"
wrong content type                    BAD "wrong content type"
invalid JSON                          BAD "invalid JSON", "bytes that are no UTF-8"
depth 20,000                          BAD "depth 20,000"
NaN and Infinity in                   BAD "NaN", "Infinity"; test_predictor_values; test_screen
NaN and Infinity out                  test_an_answer_that_is_no_number_is_the_models_failure_in_every_form
2^63, 1e400                           BAD "2^63", "1e400"
wrong dtype, rank, feature count      BAD "wrong dtype", "wrong rank", "wrong feature count"
ragged rows                           BAD "ragged rows"
missing, extra, duplicate keys        BAD "missing key", "extra key", "duplicate key"
unknown category                      BAD "unknown category"; "outside the range" beside it
batch of 0 and of 10^6                BAD "batch of 0", "batch of 10^6"; test_one_row_more_than_allowed_is_refused
bad base64                            BAD "bad base64"
gzip bomb                             BAD "gzip bomb"; test_forms_arrow (compressed batches)
6 MB - 1, 6 MB, 6 MB + 1 in           test_the_largest_request_is_answered_and_one_byte_more_is_413
6 MB - 1, 6 MB, 6 MB + 1 out          test_the_largest_response_goes_out_and_one_byte_more_is_413;
                                      test_serving_endpoint (characters that grow when they are written)
unknown model or version              test_another_models_route_is_404, test_a_version_that_is_not_live_is_404_and_...;
                                      test_control_protocol (no endpoint has the name)
retired version                       test_a_retired_version_is_404_and_names_the_live_one
no, expired, other environment's      test_iam (cloud: API Gateway refuses before the function is asked)
credentials
forged caller header                  test_a_forged_header_is_not_the_caller
a model that raises                   test_a_model_that_raises_is_500_without_its_cause_and_goes_on
504                                   test_under_the_runtime (a timeout)
====================================  ================================================================================
"""

import base64
import copy
import gzip
import io
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from modelyard.errors import RequestError
from modelyard.predictor.array import Array
from modelyard.serving.forms import arrow, arrow_writer
from modelyard.serving.response import MAX_RESPONSE_BYTES, binary_response, json_response
from tests.fakes import onnx_models
from tests.fakes.endpoint import CONTEXT, EndpointStand, event
from tests.fakes.objects import promote

MIB = 1024 * 1024
NPY, ARROW, OCTETS = "application/x-npy", arrow.CONTENT_TYPE, "application/octet-stream"
ENGINES = ("standard", "lean")
MODEL = onnx_models.echo(
    ("size", "float32", [None, 1]),
    ("count", "int64", [None, 1]),
    ("kind", "string", [None, 1]),
    ("pair", "float32", [None, 2]),
)
CONTRACT = {
    "format": 1,
    "rows": 100,
    "fields": {
        "size": {"dtype": "float32", "shape": [None, 1], "mode": "reject", "minimum": -1.0, "maximum": 1e38,
                 "nulls": False},
        "kind": {"dtype": "string", "shape": [None, 1], "mode": "reject", "categories": {"rain": 0.5, "sun": 0.5},
                 "nulls": False},
    },
}  # fmt: skip
RIGHT = {"size": 0.5, "count": 1, "kind": "rain", "pair": [1.0, 2.0]}
DEEP = "[" * 20_000 + "]" * 20_000


@pytest.fixture(scope="module", params=ENGINES)
def stand(request: pytest.FixtureRequest) -> EndpointStand:
    return EndpointStand(MODEL, engine=request.param, contract=CONTRACT)


@pytest.fixture(scope="module", params=ENGINES)
def sums(request: pytest.FixtureRequest) -> EndpointStand:
    return EndpointStand(onnx_models.row_sum(), engine=request.param)


# -- the same request in each form ------------------------------------------------------------------------------------


def instances(*rows: Any, **changes: Any) -> dict[str, Any]:
    found = [{**RIGHT, **changes}] if not rows else list(rows)
    return as_json(json.dumps({"instances": found}))


def as_json(text: str | bytes, path: str = "/models/weather/predict", **headers: str) -> dict[str, Any]:
    return event("POST", path, text, headers={"content-type": "application/json", **headers})


TENSORS: dict[str, dict[str, Any]] = {
    "size": {"name": "size", "datatype": "FP32", "shape": [1, 1], "data": [0.5]},
    "count": {"name": "count", "datatype": "INT64", "shape": [1, 1], "data": [1]},
    "kind": {"name": "kind", "datatype": "BYTES", "shape": [1, 1], "data": ["rain"]},
    "pair": {"name": "pair", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]},
}
INFER = "/v2/models/weather/infer"


def tensors(*more: dict[str, Any], **changes: dict[str, Any]) -> dict[str, Any]:
    """An OIP request in JSON; a change replaces parts of the input of that name."""
    inputs = [{**tensor, **changes.get(name, {})} for name, tensor in TENSORS.items()]
    return as_json(json.dumps({"inputs": [*inputs, *more]}), INFER)


BYTES = {
    "size": struct.pack("<f", 0.5),
    "count": struct.pack("<q", 1),
    "kind": b"\x04\0\0\0rain",
    "pair": struct.pack("<2f", 1, 2),
}


def tensor_bytes(shapes: dict[str, list[int]] | None = None, **changes: bytes) -> dict[str, Any]:
    """An OIP request with bytes after the JSON."""
    data = {**BYTES, **changes}
    inputs = [
        {key: value for key, value in tensor.items() if key != "data"}
        | {"shape": (shapes or {}).get(name, tensor["shape"]), "parameters": {"binary_data_size": len(data[name])}}
        for name, tensor in TENSORS.items()
    ]
    text = json.dumps({"inputs": inputs}).encode()
    headers = {"content-type": OCTETS, "inference-header-content-length": str(len(text))}
    return event("POST", INFER, b"".join((text, *data.values())), headers=headers)


def npy(array: Any, **changes: Any) -> dict[str, Any]:
    file = io.BytesIO()
    np.save(file, array, **changes)
    return event("POST", "/models/weather/predict", file.getvalue(), headers={"content-type": NPY})


COLUMNS: dict[str, Array] = {
    "size": Array.pack("float32", (1,), [0.5]),
    "count": Array.pack("int64", (1,), [1]),
    "kind": Array.pack("string", (1,), ["rain"]),
    "pair": Array.pack("float32", (1, 2), [1.0, 2.0]),
}


def columns(*names: str, **changes: Array) -> dict[str, Any]:
    found = {**COLUMNS, **changes}
    body = arrow_writer.write_table([(name, found[name]) for name in names or found])
    return event("POST", "/models/weather/predict", body, headers={"content-type": ARROW})


def changed(made: dict[str, Any], **parts: Any) -> dict[str, Any]:
    found = copy.deepcopy(made)
    found.update(parts)
    return found


def headed(made: dict[str, Any], **headers: str) -> dict[str, Any]:
    found = copy.deepcopy(made)
    found["headers"].update({name.replace("_", "-"): value for name, value in headers.items()})
    return found


def array(dtype: str, shape: tuple[int, ...], *elements: Any) -> Array:
    return Array.pack(dtype, shape, list(elements))


def without(*names: str) -> dict[str, Any]:
    return {key: value for key, value in RIGHT.items() if key not in names}


NAN, INF = float("nan"), float("inf")
GZIPPED = gzip.compress(b"0" * 10**7)
EVERY = {
    "instances": instances(),
    "OIP": tensors(),
    "OIP bytes": tensor_bytes(),
    "Arrow": columns(),
}
BAD: dict[str, list[tuple[dict[str, Any], int, str]]] = {
    "empty": [(changed(made, body=None), 400, "empty_body") for made in EVERY.values()],
    "wrong content type": [
        (headed(made, content_type="text/html"), 415, "unsupported_media_type") for made in EVERY.values()
    ],
    "invalid JSON": [
        (as_json('{"instances": [}'), 400, "invalid_json"),
        (as_json('{"inputs": [}', INFER), 400, "invalid_json"),
        (as_json('{"inputs": [{"name": "size", "datatype": "FP32", "shape": [1, 1], "data": [1}]}', INFER), 400,
         "invalid_json"),
        (headed(tensor_bytes(), inference_header_content_length="40"), 400, "invalid_json"),
        (headed(tensor_bytes(), inference_header_content_length="9" * 30), 400, "invalid_header"),
        (headed(tensor_bytes(), inference_header_content_length="-1"), 400, "invalid_header"),
        (changed(columns(), body=base64.b64encode(b"\xff\xff\xff\xff\x10").decode()), 400, "invalid_arrow"),
    ],
    "bytes that are no UTF-8": [
        (changed(instances(), body=base64.b64encode(b'{"instances": ["\xff"]}').decode(), isBase64Encoded=True), 400,
         "invalid_json"),
        (tensor_bytes(kind=b"\x04\0\0\0r\xffin"), 400, "wrong_type"),
    ],
    "depth 20,000": [
        (as_json('{"instances": ' + DEEP + "}"), 400, "invalid_json"),
        (as_json('{"inputs": ' + DEEP + "}", INFER), 400, "wrong_type"),
        (as_json(json.dumps({"inputs": [TENSORS["size"]]}).replace("[0.5]", DEEP), INFER), 400, "invalid_json"),
    ],
    "NaN": [
        (as_json(json.dumps({"instances": [{**RIGHT, "size": NAN}]})), 400, "invalid_json"),
        (as_json(json.dumps({"inputs": [{**TENSORS["size"], "data": [NAN]}]}), INFER), 400, "invalid_json"),
        (tensor_bytes(size=struct.pack("<f", NAN)), 422, "null_not_allowed"),
        (tensor_bytes(pair=struct.pack("<2f", 1, NAN)), 400, "wrong_type"),
        (columns(size=array("float32", (1,), NAN)), 422, "null_not_allowed"),
        (columns(pair=array("float64", (1, 2), 1.0, NAN)), 400, "wrong_type"),
        (instances(size=None), 422, "null_not_allowed"),
        (tensors(size={"data": [None]}), 422, "null_not_allowed"),
        (tensors(pair={"data": [1.0, None]}), 400, "wrong_type"),
    ],
    "Infinity": [
        (as_json('{"instances": [{"size": -Infinity}]}'), 400, "invalid_json"),
        (tensor_bytes(size=struct.pack("<f", -INF)), 400, "out_of_range"),
        (tensor_bytes(pair=struct.pack("<2f", INF, 1)), 400, "out_of_range"),
        (columns(size=array("float32", (1,), INF)), 400, "out_of_range"),
        (columns(pair=array("float64", (1, 2), 1.0, INF)), 400, "out_of_range"),
    ],
    "2^63": [
        (instances(count=2**63), 400, "out_of_range"),
        (tensors(count={"data": [2**63]}), 400, "out_of_range"),
        (columns(count=array("uint64", (1,), 2**63)), 400, "out_of_range"),
        (tensors(count={"shape": [2**63, 1]}), 400, "wrong_type"),
        (tensors(count={"shape": [2**63 - 1, 1]}), 400, "wrong_size"),
        (as_json(json.dumps({"inputs": [TENSORS["count"]]}).replace("[1]", f"[1{'0' * 5000}]"), INFER), 400,
         "invalid_json"),
        (as_json('{"instances": [{"count": 1' + "0" * 5000 + "}]}"), 400, "invalid_json"),
    ],
    "1e400": [
        (as_json(json.dumps({"instances": [RIGHT]}).replace("0.5", "1e400")), 400, "invalid_json"),
        (as_json(json.dumps({"inputs": [TENSORS["size"]]}).replace("0.5", "1e400"), INFER), 400, "invalid_json"),
        (columns(size=array("float64", (1,), 1e300)), 400, "out_of_range"),
        (instances(size=1e39), 400, "out_of_range"),
        (tensors(size={"data": [1e39]}), 400, "out_of_range"),
    ],
    "wrong dtype": [
        (instances(count="1"), 400, "wrong_type"),
        (instances(count=True), 400, "wrong_type"),
        (instances(count=1.0), 400, "wrong_type"),
        (instances(kind=1), 400, "wrong_type"),
        (tensors(count={"data": ["1"]}), 400, "wrong_type"),
        (tensors(count={"data": [True]}), 400, "wrong_type"),
        (tensors(count={"datatype": "INT32"}), 400, "wrong_type"),
        (tensors(count={"datatype": "int64"}), 400, "wrong_type"),
        (tensors(kind={"data": [1]}), 400, "wrong_type"),
        (tensor_bytes(count=b"\0\0\0\0"), 400, "wrong_size"),
        (columns(count=array("float64", (1,), 1.0)), 400, "wrong_type"),
        (columns(size=array("string", (1,), "1")), 400, "wrong_type"),
        (columns(kind=array("int64", (1,), 1)), 400, "wrong_type"),
    ],
    "wrong rank": [
        (instances(pair=1.0), 400, "wrong_shape"),
        (instances(size=[[1.0]]), 400, "wrong_type"),
        (tensors(pair={"shape": [2]}), 400, "wrong_shape"),
        (tensors(pair={"shape": [1, 2, 1]}), 400, "wrong_shape"),
        (tensors(pair={"shape": [1] * 10_000}), 400, "wrong_shape"),
        (tensor_bytes({"pair": [2]}), 400, "wrong_shape"),
        (columns(pair=array("float32", (1,), 1.0)), 400, "wrong_shape"),
    ],
    "wrong feature count": [
        (instances(pair=[1.0]), 400, "wrong_shape"),
        (tensors(pair={"shape": [1, 3], "data": [1.0, 2.0, 3.0]}), 400, "wrong_shape"),
        (tensors(pair={"data": [1.0, 2.0, 3.0]}), 400, "wrong_size"),
        (tensor_bytes({"pair": [1, 3]}, pair=bytes(12)), 400, "wrong_shape"),
        (tensor_bytes(pair=bytes(12)), 400, "wrong_size"),
        (tensor_bytes(kind=b"\x05\0\0\0rain"), 400, "wrong_size"),
        (tensor_bytes(kind=b"\xff\xff\xff\xffrain"), 400, "wrong_size"),
        (tensor_bytes(kind=b""), 400, "wrong_size"),
        (columns(pair=array("float32", (1, 3), 1.0, 2.0, 3.0)), 400, "wrong_shape"),
    ],
    "ragged rows": [
        (instances(RIGHT, {**RIGHT, "pair": [1.0]}), 400, "wrong_shape"),
        (tensors(pair={"shape": [2, 2], "data": [[1.0, 2.0], [3.0]]}), 400, "wrong_shape"),
        (tensors(pair={"shape": [2, 2], "data": [1.0, 2.0, 3.0, 4.0]}), 400, "ragged"),
        (tensor_bytes({"pair": [2, 2]}, pair=bytes(16)), 400, "ragged"),
    ],
    "missing key": [
        (instances(without("count")), 400, "missing_field"),
        (as_json("{}"), 400, "missing_field"),
        (as_json("{}", INFER), 400, "missing_field"),
        (as_json(json.dumps({"inputs": [TENSORS["size"]]}), INFER), 400, "missing_field"),
        (as_json(json.dumps({"inputs": [{"name": "size"}]}), INFER), 400, "missing_field"),
        (tensors(size={"data": None}), 400, "wrong_type"),
        (columns("size", "kind", "pair"), 400, "missing_field"),
    ],
    "extra key": [
        (instances(colour=1), 400, "unknown_field"),
        (tensors({**TENSORS["size"], "name": "colour"}), 400, "unknown_field"),
        (tensors(size={"colour": 1}), 400, "unknown_field"),
        (as_json(json.dumps({"inputs": list(TENSORS.values()), "colour": 1}), INFER), 400, "unknown_field"),
        (as_json(json.dumps({"inputs": list(TENSORS.values()), "outputs": [{"name": "colour"}]}), INFER), 400,
         "unknown_field"),
        (columns(colour=array("float32", (1,), 1.0)), 400, "unknown_field"),
    ],
    "duplicate key": [
        (as_json('{"instances": [], "instances": []}'), 400, "duplicate_key"),
        (as_json('{"instances": [{"size": 1.0, "size": 2.0}]}'), 400, "duplicate_key"),
        (as_json('{"inputs": [], "inputs": []}', INFER), 400, "duplicate_key"),
        (as_json('{"inputs": [{"name": "size", "name": "size", "datatype": "FP32", "shape": [1, 1], "data": [1]}]}',
                 INFER), 400, "duplicate_key"),
        (tensors(TENSORS["size"]), 400, "duplicate_key"),
        (as_json(json.dumps({"inputs": list(TENSORS.values()), "outputs": [{"name": "size_out"}] * 2}), INFER), 400,
         "duplicate_key"),
        (columns("size", "size", "kind", "pair", "count"), 400, "duplicate_key"),
    ],
    "unknown category": [
        (instances(kind="snow"), 422, "unknown_category"),
        (tensors(kind={"data": ["snow"]}), 422, "unknown_category"),
        (tensor_bytes(kind=b"\x04\0\0\0snow"), 422, "unknown_category"),
        (columns(kind=array("string", (1,), "snow")), 422, "unknown_category"),
        (instances(size=-2), 422, "outside_range"),
        (tensors(size={"data": [-2]}), 422, "outside_range"),
        (tensor_bytes(size=struct.pack("<f", -2)), 422, "outside_range"),
        (columns(size=array("float64", (1,), -2.0)), 422, "outside_range"),
    ],
    "batch of 0": [
        (as_json('{"instances": []}'), 400, "empty_batch"),
        (tensors(**{name: {"shape": [0, *tensor["shape"][1:]], "data": []} for name, tensor in TENSORS.items()}), 400,
         "empty_batch"),
        (tensor_bytes({name: [0, *tensor["shape"][1:]] for name, tensor in TENSORS.items()},
                      **dict.fromkeys(TENSORS, b"")), 400, "empty_batch"),
        (columns(**{name: Array.pack(found.dtype, (0, *found.shape[1:]), []) for name, found in COLUMNS.items()}), 400,
         "empty_batch"),
    ],
    "batch of 10^6": [
        (as_json('{"instances": [' + ",".join(["0"] * 10**6) + "]}"), 413, "batch_too_large"),
        (columns(**{name: Array.pack(found.dtype, (100_000, *found.shape[1:]), found.elements() * 100_000)
                    for name, found in COLUMNS.items()}), 413, "batch_too_large"),
    ],
    "bad base64": [
        (changed(made, body="%%%", isBase64Encoded=True), 400, "invalid_base64") for made in EVERY.values()
    ],
    "gzip bomb": [
        (changed(headed(made, content_encoding="gzip"), body=base64.b64encode(GZIPPED).decode(), isBase64Encoded=True),
         415, "unsupported_encoding")
        for made in EVERY.values()
    ],
    "shared memory": [
        (tensors(size={"parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 4}}), 400,
         "unsupported_parameter"),
    ],
    "parameters of another type": [
        (tensors(size={"parameters": {"binary_data_size": "4"}}), 400, "wrong_type"),
        (tensors(size={"parameters": {"binary_data_size": 4}}), 400, "wrong_size"),
        (as_json(json.dumps({"inputs": [], "parameters": {"binary_data_output": 1}}), INFER), 400, "wrong_type"),
        (as_json(json.dumps({"inputs": [], "outputs": [{"name": "size_out", "parameters": {"classification": -1}}]}),
                 INFER), 400, "wrong_type"),
        (as_json(json.dumps({"inputs": [], "id": 5}), INFER), 400, "wrong_type"),
    ],
}  # fmt: skip
CASES = [
    pytest.param(made, status, code, id=f"{entry} {number}")
    for entry, cases in BAD.items()
    for number, (made, status, code) in enumerate(cases)
]


@pytest.mark.parametrize(("made", "status", "code"), CASES)
def test_a_bad_input_is_a_problem_with_its_code_and_leaves_one_line(
    stand: EndpointStand, capsys: pytest.CaptureFixture[str], made: dict[str, Any], status: int, code: str
) -> None:
    capsys.readouterr()
    answer = stand.send(made)
    assert (answer.status, answer.code) == (status, code), answer.content[:500]
    assert len(answer.json["detail"]) < 500
    assert ("error" in answer.json) == ("/v2/" in made["routeKey"])
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["kind"], line["status"], line["code"], line["outcome"]) == ("audit", status, code, "refused")
    assert line["prediction_id"] is None


@pytest.mark.parametrize("form", EVERY)
def test_what_is_right_about_them_is_answered(stand: EndpointStand, form: str) -> None:
    assert stand.send(EVERY[form]).status == 200


NPY_CASES = {
    "objects": (npy(np.array([{"w": 1}], dtype=object), allow_pickle=True), 400, "wrong_type"),
    "text": (npy(np.array(["a", "b"])), 400, "wrong_type"),
    "records": (npy(np.zeros(2, dtype=[("a", "f4"), ("b", "f4")])), 400, "invalid_npy"),
    "big-endian": (npy(np.zeros((1, 2), dtype=">f4")), 400, "wrong_type"),
    "complex": (npy(np.zeros((1, 2), dtype=np.complex64)), 400, "wrong_type"),
    "booleans": (npy(np.zeros((1, 2), dtype=bool)), 400, "wrong_type"),
    "no axes": (npy(np.float32(1)), 400, "empty_batch"),
    "rank": (npy(np.zeros((1, 2, 1), dtype=np.float32)), 400, "wrong_shape"),
    "feature count": (npy(np.zeros((1, 3), dtype=np.float32)), 400, "wrong_shape"),
    "batch of 0": (npy(np.zeros((0, 2), dtype=np.float32)), 400, "empty_batch"),
    "batch of 10^5": (npy(np.zeros((100_000, 2), dtype=np.float32)), 413, "batch_too_large"),
    "NaN": (npy(np.array([[1, NAN]], dtype=np.float32)), 400, "wrong_type"),
    "Infinity": (npy(np.array([[1, INF]])), 400, "out_of_range"),
    "above float32": (npy(np.array([[1, 1e300]])), 400, "out_of_range"),
}


@pytest.mark.parametrize("case", NPY_CASES)
def test_a_bad_npy_is_a_problem_with_its_code(sums: EndpointStand, case: str) -> None:
    made, status, code = NPY_CASES[case]
    answer = sums.send(made)
    assert (answer.status, answer.code) == (status, code), answer.content[:500]


# -- limits -----------------------------------------------------------------------------------------------------------


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


def _as_lambda_writes_it(response: dict[str, Any]) -> int:
    return len(json.dumps(response, ensure_ascii=False).encode())


def _json_response(size: int) -> dict[str, Any]:
    return json_response(b'"' + b"a" * (size - 2 - 2 - 128) + b'"')


def _binary_response(size: int) -> dict[str, Any]:
    headers = {"content-type": OCTETS, "inference-header-content-length": "1000"}
    room = size - 128 - sum(len(name) + len(value) + 8 for name, value in headers.items())
    return binary_response(bytes(room // 4 * 3), headers, instances=1)


@pytest.mark.parametrize(("write", "step"), [(_json_response, 1), (_binary_response, 4)])
def test_the_largest_response_goes_out_and_one_byte_more_is_413(write: Any, step: int) -> None:
    """What is not JSON grows by 4 characters of base64 at a time."""
    for less in (step, 0):
        written = _as_lambda_writes_it(write(MAX_RESPONSE_BYTES - less))
        assert MAX_RESPONSE_BYTES - 64 <= written <= MAX_RESPONSE_BYTES
    with pytest.raises(RequestError) as refused:
        write(MAX_RESPONSE_BYTES + step)
    assert (refused.value.status, refused.value.code) == (413, "response_too_large")


@pytest.mark.parametrize("headers", [{"accept": ARROW}, {"accept": NPY}])
def test_an_answer_in_bytes_that_is_too_large_is_413(headers: dict[str, str]) -> None:
    stand = EndpointStand(onnx_models.echo(("x", "float32", [None, None])), engine="lean")
    made = npy(np.zeros((2, 600_000), dtype=np.float32))
    assert stand.send(headed(made, **headers)).code == "response_too_large"


@pytest.mark.parametrize("rows", [9_999, 10_000, 10_001])
def test_one_row_more_than_allowed_is_refused(sums: EndpointStand, rows: int) -> None:
    ones = np.ones((rows, 2), dtype=np.float32)
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 2]}
    text = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": ones.nbytes}}]}).encode()
    headers = {"content-type": OCTETS, "inference-header-content-length": str(len(text))}
    table = arrow_writer.write_table([("x", Array("float32", (rows, 2), ones.tobytes()))])
    asked = [
        as_json(json.dumps({"instances": ones.tolist()})),
        as_json(json.dumps({"inputs": [{**tensor, "data": ones.ravel().tolist()}]}), INFER),
        event("POST", INFER, text + ones.tobytes(), headers=headers),
        npy(ones),
        event("POST", "/models/weather/predict", table, headers={"content-type": ARROW}),
    ]  # fmt: skip
    expected = "batch_too_large" if rows > 10_000 else "ok"
    assert [sums.send(made).code for made in asked] == [expected] * len(asked)


# -- which model, which version, who ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/models/other/predict"),
        ("GET", "/models/other/openapi.json"),
        ("GET", "/v2/models/other"),
        ("GET", "/v2/models/other/ready"),
        ("POST", "/v2/models/other/infer"),
    ],
)
def test_another_models_route_is_404(sums: EndpointStand, method: str, path: str) -> None:
    answer = sums.send(event(method, path, "{}"))
    assert (answer.status, answer.code) == (404, "unknown_model")
    assert "'weather'" in answer.json["detail"]
    assert ("error" in answer.json) == path.startswith("/v2")


@pytest.mark.parametrize("version", ["2", "4", "03", "latest", "-3", "3.0", "٣", "x" * 5000])
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("GET", "/ready"), ("POST", "/infer")])
def test_a_version_that_is_not_live_is_404_and_the_live_one_is_named(
    sums: EndpointStand, version: str, method: str, rest: str
) -> None:
    answer = sums.send(event(method, f"/v2/models/weather/versions/{version}{rest}", "{}"))
    assert (answer.status, answer.code) == (404, "unknown_version")
    assert "version 3 answers" in answer.json["error"]
    assert len(answer.json["detail"]) < 300


def test_a_retired_version_is_404_and_names_the_live_one() -> None:
    stand = EndpointStand(onnx_models.row_sum(), version=3)
    assert stand.get("/v2/models/weather/versions/3/ready").status == 200
    promote(stand.objects, "weather", onnx_models.row_sum(1.0), version=4, revision=2)
    stand.endpoint._follower.check_now()
    assert "version 4 answers" in stand.get("/v2/models/weather/versions/3/ready").json["detail"]
    assert stand.get("/v2/models/weather/versions/4/ready").json["ready"] is True


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v2/models/weather/infer", 405, "method_not_allowed"),
        ("POST", "/v2/models/weather/ready", 405, "method_not_allowed"),
        ("POST", "/v2/models/weather/versions/3", 405, "method_not_allowed"),
        ("GET", "/models/weather/predict", 405, "method_not_allowed"),
        ("DELETE", "/v2/models/weather", 405, "method_not_allowed"),
        ("GET", "/v2/models/weather/", 404, "unknown_route"),
        ("GET", "/v2/models/weather/versions", 404, "unknown_route"),
        ("GET", "/v2/models/weather/versions/", 404, "unknown_route"),
        ("GET", "/v2/models/weather/versions/3/", 404, "unknown_route"),
        ("GET", "/v2/models/weather/ready/", 404, "unknown_route"),
        ("POST", "/v2/models/weather/versions/3/explain", 404, "unknown_route"),
        ("POST", "/elsewhere", 404, "unknown_route"),
        ("GET", "/v2/models/weather/" + "x" * 5000, 404, "unknown_route"),
    ],
)
def test_what_is_no_route_is_404_and_another_method_405(
    sums: EndpointStand, capsys: pytest.CaptureFixture[str], method: str, path: str, status: int, code: str
) -> None:
    capsys.readouterr()
    answer = sums.send(event(method, path))
    assert (answer.status, answer.code) == (status, code)
    assert len(answer.json["detail"]) < 300
    if status == 405:
        assert answer.headers["allow"] in ("GET", "POST")
        assert answer.headers["allow"] != method
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["status"], line["code"]) == (status, code)


@pytest.mark.parametrize("key", ["", " ", "POST", "$default", None, 5, [], {}, ["POST"]])
def test_an_event_without_a_route_of_ours_is_refused(sums: EndpointStand, key: Any) -> None:
    assert sums.send(changed(instances(), routeKey=key)).status in (400, 404)


@pytest.mark.parametrize("parameters", [None, [], {}, {"proxy": None}, {"proxy": 5}, {"proxy": {}}, "infer"])
def test_a_route_without_its_parameters_is_refused(sums: EndpointStand, parameters: Any) -> None:
    assert sums.send(changed(tensors(), pathParameters=parameters)).status == 404


@pytest.mark.parametrize("form", EVERY)
def test_a_forged_header_is_not_the_caller(stand: EndpointStand, capsys: pytest.CaptureFixture[str], form: str) -> None:
    capsys.readouterr()
    forged = headed(EVERY[form], x_caller="arn:aws:iam::1:root", x_amzn_iam_arn="arn:aws:iam::1:root")
    assert stand.send(forged).status == 200
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert line["caller"] == "arn:aws:iam::111122223333:user/forecast-app"


# -- what is the model's fault ----------------------------------------------------------------------------------------


def _one_value(value: float) -> Iterator[dict[str, Any]]:
    data = struct.pack("<f", value)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1]}
    text = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 4}}],
                       "parameters": {"binary_data_output": True}}).encode()  # fmt: skip
    table = arrow_writer.write_table([("x", Array("float32", (1,), data))])
    predict = "/models/weather/predict"
    yield as_json(json.dumps({"instances": [value]}))
    yield as_json(json.dumps({"inputs": [{**tensor, "data": [value]}]}), INFER)
    yield event("POST", INFER, text + data, headers={"inference-header-content-length": str(len(text))})
    yield headed(npy(np.array([value])), accept=NPY)
    yield event("POST", predict, table, headers={"content-type": ARROW, "accept": ARROW})


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_an_answer_that_is_no_number_is_the_models_failure_in_every_form(engine: Any, value: float) -> None:
    stand = EndpointStand(onnx_models.logarithm(), engine=engine)
    for made in _one_value(value):
        answer = stand.send(made)
        assert (answer.status, answer.code, answer.json["row"]) == (500, "not_finite", 0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_that_raises_is_500_without_its_cause_and_goes_on(engine: Any) -> None:
    stand = EndpointStand(onnx_models.fails_unless_two_rows(), engine=engine)
    for made in _one_value(1.0):
        answer = stand.send(made)
        assert (answer.status, answer.code) == (500, "model_failed")
        assert "Reshape" not in answer.content.decode()
    assert stand.predict(1.0, 2.0).status == 200


@pytest.mark.parametrize("path", ["/models/weather/predict", INFER, "/v2/models/weather", "/v2/models/weather/ready",
                                  "/models/weather/openapi.json"])  # fmt: skip
def test_while_nothing_is_live_every_route_is_503_and_says_so(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    stand = EndpointStand(None)
    method = "POST" if path.endswith(("predict", "infer")) else "GET"
    capsys.readouterr()
    answer = stand.send(event(method, path, "{}", headers={"content-type": "application/json"}))
    assert (answer.status, answer.code) == (503, "no_deployment")
    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [line["status"] for line in lines if line["kind"] == "audit"] == [503]


def test_an_event_that_the_context_knows_nothing_of_is_answered() -> None:
    response = EndpointStand(onnx_models.row_sum()).endpoint.handle(instances([1.0, 2.0]), CONTEXT)
    assert response["statusCode"] == 200
