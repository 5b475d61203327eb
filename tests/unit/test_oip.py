"""The Open Inference Protocol: tensors in JSON and in bytes, outputs as asked for, metadata, what real clients send."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from modelyard.predictor.code import ModelCode
from modelyard.predictor.signature import DTYPES
from modelyard.serving.oip.datatypes import DATATYPES
from modelyard.serving.oip.inputs import Tail
from tests.fakes import onnx_models
from tests.fakes.endpoint import Answer, EndpointStand, event

ENGINES = ("standard", "lean")
RECORDED = json.loads((Path(__file__).parents[1] / "fixtures" / "oip" / "requests.json").read_text())
INFER = "/v2/models/weather/infer"


def endpoint(model: bytes, engine: Any = "standard", **settings: Any) -> EndpointStand:
    return EndpointStand(model, engine=engine, **settings)


@pytest.fixture(params=ENGINES)
def sums(request: pytest.FixtureRequest) -> EndpointStand:
    return endpoint(onnx_models.row_sum(), request.param)


def x(data: Any, shape: list[int], datatype: str = "FP32", name: str = "x", **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **more}


def outputs(answer: Answer) -> dict[str, tuple[str, list[int], Any]]:
    """Datatype, shape and values of each output, from JSON or bytes."""
    assert answer.status == 200, answer.content
    length = int(answer.headers.get("inference-header-content-length", len(answer.content)))
    document, rest, found = json.loads(answer.content[:length]), answer.content[length:], {}
    for output in document["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = output["data"]
        else:
            values, rest = rest[:size], rest[size:]
        found[output["name"]] = (output["datatype"], output["shape"], values)
    assert rest == b""
    assert (answer.type == "application/octet-stream") == ("inference-header-content-length" in answer.headers)
    return found


# -- clients ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("client", RECORDED)
def test_what_real_clients_send_is_answered_as_when_they_understood_it(client: str, engine: Any) -> None:
    """Recorded by ``tests/fixtures/oip/write.py``, where each client checked the values that it got."""
    models = {
        "sums": onnx_models.row_sum(),
        "classes": onnx_models.classifier(),
        "dtypes": onnx_models.echo(*((f"x_{dtype}", dtype, [None, 2]) for dtype in onnx_models.ELEMENTS)),
    }
    stands = {name: endpoint(model, engine, name=name) for name, model in models.items()}
    assert len(RECORDED[client]["requests"]) >= 7
    for asked in RECORDED[client]["requests"]:
        made = event(asked["method"], asked["path"], base64.b64decode(asked["body"]), headers=asked["headers"])
        answer = stands[asked["path"].split("/")[3]].send(made)
        assert answer.status == asked["status"]
        if asked["status"] == 200 and asked["method"] == "POST":
            assert outputs(answer)
        if asked["status"] != 200:
            assert isinstance(answer.json["error"], str)


# -- inputs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [[1, 2, 3, 4.5], [[1, 2], [3, 4.5]], [1.0, 2.0, 3.0, 4.5]])
def test_data_is_flat_or_nested(sums: EndpointStand, data: Any) -> None:
    assert outputs(sums.infer(x(data, [2, 2])))["y"] == ("FP32", [2, 1], [3.0, 7.5])


def test_every_datatype_goes_in_and_comes_out_in_json_and_in_bytes() -> None:
    assert set(DATATYPES) == DTYPES
    for engine in ENGINES:
        for dtype, datatype in DATATYPES.items():
            stand = endpoint(onnx_models.echo(("x", dtype, [None, 2])), engine)
            values = ["a", "é"] if dtype == "string" else [True, False] if dtype == "bool" else [1, 2]
            raw = b"\x01\0\0\0a\x02\0\0\0\xc3\xa9" if dtype == "string" else np.array(values, dtype=dtype).tobytes()
            sent = {"name": "x", "datatype": datatype, "shape": [1, 2], "parameters": {"binary_data_size": len(raw)}}
            answer = stand.infer_bytes({"inputs": [sent], "parameters": {"binary_data_output": True}}, raw)
            assert outputs(answer)["x_out"] == (datatype, [1, 2], raw)
            if dtype != "float16":
                assert outputs(stand.infer(x(values, [1, 2], datatype)))["x_out"] == (datatype, [1, 2], values)


def test_half_floats_have_no_form_in_json_in_or_out() -> None:
    stand = endpoint(onnx_models.echo(("x", "float16", [None, 2])))
    refused = stand.infer(x([1, 2], [1, 2], "FP16"), parameters={"binary_data_output": True})
    assert (refused.code, refused.json["next_step"]) == ("wrong_type", "Send it as bytes, with binary_data_size.")
    sent = {"name": "x", "datatype": "FP16", "shape": [1, 2], "parameters": {"binary_data_size": 4}}
    refused = stand.infer_bytes({"inputs": [sent]}, bytes(4))
    assert (refused.code, refused.json["next_step"]) == ("wrong_type", "Ask for it with binary_data.")


def test_inputs_come_in_any_order_some_in_json_and_some_in_bytes() -> None:
    tensors = ("a", "float64", [None, 1]), ("b", "string", [None, 1]), ("c", "int16", [None, 2])
    stand = endpoint(onnx_models.echo(*tensors), "lean")
    c, a = struct.pack("<4h", 1, 2, 3, 4), struct.pack("<2d", 0.5, 1.5)
    answer = stand.infer_bytes(
        {
            "inputs": [
                {"name": "c", "datatype": "INT16", "shape": [2, 2], "parameters": {"binary_data_size": 8}},
                x(["p", "q"], [2, 1], "BYTES", "b"),
                {"name": "a", "datatype": "FP64", "shape": [2, 1], "parameters": {"binary_data_size": 16}},
            ]
        },
        c,
        a,
    )
    found = {name: values for name, (_, _, values) in outputs(answer).items()}
    assert found == {"a_out": [0.5, 1.5], "b_out": ["p", "q"], "c_out": [1, 2, 3, 4]}


@pytest.mark.parametrize("item", [1, 2, 4, 8])
def test_bytes_are_not_copied_where_a_number_of_their_size_may_lie(item: int) -> None:
    body = bytes(range(64))
    for place in range(16):
        taken = Tail(body, place).take(8, item)
        assert isinstance(taken, memoryview) == (place % item == 0)
        assert bytes(taken) == body[place : place + 8]


def test_bytes_that_begin_anywhere_give_the_same_answer() -> None:
    stand = endpoint(onnx_models.row_sum(), "lean")
    sent = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    for length in range(8):
        answer = stand.infer_bytes({"inputs": [sent], "id": "x" * length}, struct.pack("<2f", 1, 2))
        assert outputs(answer)["y"][2] == [3.0]


@pytest.mark.parametrize("value", [None, float("nan")])
def test_null_in_json_is_nan_in_bytes(value: Any) -> None:
    graph = helper.make_graph(
        [helper.make_node("IsNaN", ["x"], ["missing"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("missing", TensorProto.BOOL, [None, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    stand = endpoint(model.SerializeToString())
    if value is None:
        answer = stand.infer(x([1.0, None], [2, 1]))
    else:
        sent = {"name": "x", "datatype": "FP32", "shape": [2, 1], "parameters": {"binary_data_size": 8}}
        answer = stand.infer_bytes({"inputs": [sent]}, struct.pack("<2f", 1, value))
    assert outputs(answer)["missing"][2] == [False, True]


def test_a_byte_that_is_no_boolean_is_refused() -> None:
    stand = endpoint(onnx_models.echo(("x", "bool", [None, 2])), "lean")
    sent = {"name": "x", "datatype": "BOOL", "shape": [1, 2], "parameters": {"binary_data_size": 2}}
    assert stand.infer_bytes({"inputs": [sent]}, b"\x01\x00").status == 200
    assert stand.infer_bytes({"inputs": [sent]}, b"\x01\x02").code == "wrong_type"


def test_nested_data_of_another_shape_than_is_said_beside_it_is_refused(sums: EndpointStand) -> None:
    refused = sums.infer(x([[1, 2]], [2, 2]))
    assert (refused.code, refused.json["field"]) == ("wrong_shape", "x")
    assert sums.infer(x([[1, 2], [3, 4], [5, 6]], [2, 2])).code == "wrong_shape"


def test_no_content_type_is_one_that_triton_sends(sums: EndpointStand) -> None:
    text = json.dumps({"inputs": [x([1, 2], [1, 2])]})
    assert sums.send(event("POST", INFER, text)).status == 200
    assert sums.post(INFER, text, content_type="application/octet-stream").status == 200


def test_bytes_that_api_gateway_took_for_text_are_refused_with_what_to_send(sums: EndpointStand) -> None:
    sent = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    text = json.dumps({"inputs": [sent]})
    made = event("POST", INFER, text.encode() + b"\xff" * 8, headers={
        "content-type": "application/json", "inference-header-content-length": str(len(text))})  # fmt: skip
    assert made["isBase64Encoded"] is False
    assert sums.send(made).code == "wrong_size"


def test_bytes_after_the_json_without_its_length_are_refused_with_the_header_to_send(sums: EndpointStand) -> None:
    sent = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    body = json.dumps({"inputs": [sent]}).encode() + struct.pack("<2f", 1, 2)
    refused = sums.post(INFER, body, content_type="application/octet-stream")
    assert refused.code == "invalid_json"
    assert "inference-header-content-length" in refused.json["next_step"]


# -- the contract -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "expected"), [("clip", 2.0), ("warn", 9.0)])
@pytest.mark.parametrize("rows", [1, 2000])
def test_the_contract_clips_and_warns_as_it_does_for_instances(mode: str, expected: float, rows: int) -> None:
    field = {"dtype": "float32", "shape": [None, 2], "mode": mode, "minimum": 0, "maximum": 2, "nulls": False}
    stand = endpoint(onnx_models.highest("float32", width=2), contract={"format": 1, "rows": 1, "fields": {"x": field}})
    raw = struct.pack(f"<{2 * rows}f", *[1.0] * (2 * rows - 1), 9.0)
    sent = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "parameters": {"binary_data_size": len(raw)}}
    answer = stand.infer_bytes({"inputs": [sent]}, raw)
    assert outputs(answer)["y"][2][-1] == expected
    parameters = answer.json["parameters"]
    assert parameters.get("warned") == (1 if mode == "warn" else None)
    assert ("contract allows" in parameters.get("warning", "")) == (mode == "warn")
    assert all(isinstance(value, str | int) for value in parameters.values())


def test_a_models_own_code_has_no_part_in_it_but_the_contract_has() -> None:
    def hook(_: Any) -> Any:
        raise AssertionError("the model's own code was called")

    field = {"dtype": "float32", "shape": [None, 2], "mode": "reject", "maximum": 5, "nulls": False}
    contract = {"format": 1, "rows": 1, "fields": {"x": field}}
    stand = endpoint(onnx_models.row_sum(), code=ModelCode("own", hook, hook), contract=contract)
    assert outputs(stand.infer(x([1, 2], [1, 2])))["y"][2] == [3.0]
    assert stand.infer(x([1, 6], [1, 2])).code == "outside_range"
    assert stand.get("/v2/models/weather").json["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]


# -- outputs ----------------------------------------------------------------------------------------------------------


def test_an_answer_names_model_version_and_prediction_and_gives_the_id_back(sums: EndpointStand) -> None:
    answer = sums.infer(x([1, 2], [1, 2]), id="é7").json
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("weather", "3", "é7")
    assert len(answer["parameters"]["prediction_id"]) == 32
    assert len(answer["parameters"]["digest"]) == 64
    assert "id" not in sums.infer(x([1, 2], [1, 2])).json


def test_the_audit_line_has_what_the_answer_says(sums: EndpointStand, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    answer = sums.infer(x([1, 2, 3, 4], [2, 2])).json
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["instances"], line["version"], line["code"], line["protocol"]) == (2, 3, "ok", "v2")
    assert line["prediction_id"] == answer["parameters"]["prediction_id"]


@pytest.fixture
def classes() -> EndpointStand:
    return endpoint(onnx_models.classifier())


def test_outputs_that_are_named_come_alone_and_in_that_order(classes: EndpointStand) -> None:
    logits = x([1, 2, 3], [1, 3], name="logits")
    assert list(outputs(classes.infer(logits))) == ["label", "probabilities"]
    assert list(outputs(classes.infer(logits, outputs=[]))) == ["label", "probabilities"]
    assert list(outputs(classes.infer(logits, outputs=[{"name": "label"}]))) == ["label"]
    both = [{"name": "probabilities"}, {"name": "label"}]
    assert list(outputs(classes.infer(logits, outputs=both))) == ["probabilities", "label"]


@pytest.mark.parametrize(
    ("default", "own", "binary"),
    [(None, None, False), (True, None, True), (True, False, False), (False, True, True), (None, True, True)],
)
def test_an_outputs_own_flag_counts_more_than_the_requests(
    classes: EndpointStand, default: bool | None, own: bool | None, binary: bool
) -> None:
    parameters = {} if default is None else {"binary_data_output": default}
    wanted = {"name": "label"} if own is None else {"name": "label", "parameters": {"binary_data": own}}
    answer = classes.infer(x([1, 2, 3], [1, 3], name="logits"), parameters=parameters, outputs=[wanted])
    assert outputs(answer)["label"] == ("INT64", [1], struct.pack("<q", 2) if binary else [2])


@pytest.mark.parametrize("binary", [False, True])
def test_the_highest_classes_come_as_text(classes: EndpointStand, binary: bool) -> None:
    parameters = {"classification": 2, "binary_data": binary}
    answer = classes.infer(
        x([1, 2, 3, 9, 1, 1], [2, 3], name="logits"), outputs=[{"name": "probabilities", "parameters": parameters}]
    )
    datatype, shape, values = outputs(answer)["probabilities"]
    texts = ["0.665241:2:snow", "0.244728:1:sun", "0.999330:0:rain", "0.000335:1:sun"]
    expected = b"".join(struct.pack("<I", len(text)) + text.encode() for text in texts) if binary else texts
    assert (datatype, shape, values) == ("BYTES", [2, 2], expected)


def test_only_scores_have_highest_classes_and_there_are_no_more_than_there_are(classes: EndpointStand) -> None:
    logits = x([1, 2, 3], [1, 3], name="logits")
    asked = [{"name": "probabilities", "parameters": {"classification": 99}}]
    assert outputs(classes.infer(logits, outputs=asked))["probabilities"][1] == [1, 3]
    assert classes.infer(logits, outputs=[{**asked[0], "name": "label"}]).code == "wrong_type"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_maps_of_a_zipmap_are_a_table_with_a_column_for_each_class(engine: Any) -> None:
    stand = endpoint(onnx_models.zipmap(), engine)
    datatype, shape, values = outputs(stand.infer(x([0, 0, 0, 9, 0, 0], [2, 3])))["probabilities"]
    assert (datatype, shape) == ("FP32", [2, 3])
    assert values[:3] == pytest.approx([1 / 3] * 3)
    assert values[3] > 0.99
    assert stand.get("/v2/models/weather").json["outputs"][0]["shape"] == [-1, -1]


# -- metadata ---------------------------------------------------------------------------------------------------------


def test_metadata_has_datatypes_shapes_and_classes() -> None:
    stand = endpoint(onnx_models.classifier(), version=12)
    expected = {
        "name": "weather",
        "versions": ["12"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {
                "name": "probabilities",
                "datatype": "FP32",
                "shape": [-1, 3],
                "parameters": {"classes": ["rain", "sun", "snow"]},
            },
        ],
    }
    for path in ("/v2/models/weather", "/v2/models/weather/versions/12"):
        assert stand.get(path).json == expected
    for path in ("/v2/models/weather/ready", "/v2/models/weather/versions/12/ready"):
        assert stand.get(path).json == {"name": "weather", "version": "12", "ready": True}


def test_outputs_have_the_rows_of_the_request_whatever_the_graph_says_of_them() -> None:
    for model, rows in ((onnx_models.says_one_row(), -1), (onnx_models.echo(("x", "float32", [4, 1])), 4)):
        (output,) = EndpointStand(model).get("/v2/models/weather").json["outputs"]
        assert output["shape"] == [rows, 1]


def test_metadata_is_no_prediction(capsys: pytest.CaptureFixture[str]) -> None:
    stand = endpoint(onnx_models.classifier())
    capsys.readouterr()
    stand.get("/v2/models/weather")
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["instances"], line["prediction_id"], line["status"]) == (0, None, 200)
    assert line["protocol"] == "metadata"


def test_a_refused_tensor_names_no_more_than_it_must() -> None:
    refused = endpoint(onnx_models.row_sum()).infer(x([1, 2], [1, 2], name="é" * 10_000))
    assert len(refused.content) < 1000
