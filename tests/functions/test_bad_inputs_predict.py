"""Everything wrong that somebody may send to an endpoint, in each form that it speaks: refused, said, and audited.

The entries of "Predict" in the list of bad inputs, and the tests that cover them. `BAD` has those that are a body, once
for each form; each of its tests runs with both engines. Other tests without a file are in ..._limits (1),
..._addresses (2) and ..._failures (3) beside this file.

====================================  ================================================================================
empty                                 BAD "empty"
wrong content type                    BAD "wrong content type"
invalid JSON                          BAD "invalid JSON", "bytes that are no UTF-8"
depth 20,000                          BAD "depth 20,000"
NaN and Infinity in                   BAD "NaN", "Infinity"; test_predictor_values; test_predictor_screen
NaN and Infinity out                  test_an_answer_that_is_no_number_is_the_models_failure_in_every_form (3)
2^63, 1e400                           BAD "2^63", "1e400"
wrong dtype, rank, feature count      BAD "wrong dtype", "wrong rank", "wrong feature count"
ragged rows                           BAD "ragged rows"
missing, extra, duplicate keys        BAD "missing key", "extra key", "duplicate key"
unknown category                      BAD "unknown category"; "outside the range" beside it
batch of 0 and of 10^6                BAD "batch of 0", "batch of 10^6"; test_one_row_more_than_allowed_is_refused (1)
bad base64                            BAD "bad base64"
gzip bomb                             BAD "gzip bomb"; test_forms_arrow (compressed batches)
6 MB - 1, 6 MB, 6 MB + 1 in           test_the_largest_request_is_answered_and_one_byte_more_is_413 (1)
6 MB - 1, 6 MB, 6 MB + 1 out          test_the_largest_response_goes_out_and_one_byte_more_is_413 (1);
                                      test_serving_endpoint (characters that grow when they are written)
unknown model or version              test_another_models_route_is_404 (2);
                                      test_a_version_that_is_not_live_is_404_and_the_live_one_is_named (2);
                                      test_control_protocol (no endpoint has the name)
retired version                       test_a_retired_version_is_404_and_names_the_live_one (2)
no, expired, other environment's      test_iam (cloud: API Gateway refuses before the function is asked)
credentials
forged caller header                  test_a_forged_header_is_not_the_caller (2)
a model that raises                   test_a_model_that_raises_is_500_without_its_cause_and_goes_on (3)
504                                   test_under_the_runtime (a timeout)
====================================  ================================================================================
"""

import base64
import gzip
import json
import struct
from typing import Any

import numpy as np
import pytest

from modelyard.predictor.array import Array
from tests.fakes.endpoint import EndpointStand
from tests.fakes.predict_requests import (
    COLUMNS,
    EVERY,
    INFER,
    RIGHT,
    TENSORS,
    array,
    as_json,
    changed,
    columns,
    headed,
    instances,
    npy,
    tensor_bytes,
    tensors,
    without,
)

DEEP = "[" * 20_000 + "]" * 20_000
NAN, INF = float("nan"), float("inf")
GZIPPED = gzip.compress(b"0" * 10**7)

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
        (as_json('{"instances": ["\\ud83d"]}'), 400, "invalid_json"),
        (as_json('{"inputs": [{"name": "\\ud83d"}]}', INFER), 400, "invalid_json"),
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
