"""What is the model's fault, and while nothing is live. The list of bad inputs: test_bad_inputs_predict."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from modelyard.predictor.array import Array
from modelyard.serving.forms import arrow_writer
from modelyard.serving.request import ARROW, NPY
from tests.fakes import onnx_models
from tests.fakes.endpoint import CONTEXT, EndpointStand, event
from tests.fakes.predict_requests import ENGINES, INFER, as_json, headed, instances, npy


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
