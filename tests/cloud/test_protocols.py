"""What an endpoint speaks, through the deployed gateway: its routes, bytes both ways, names without an endpoint."""

import io
import json
import struct
from typing import Any

import numpy as np
import pytest

from modelyard.control.routes import MODEL_ROUTES, route_of
from tests.cloud.conftest import PROJECT, System
from tests.cloud.signing import request

DIGITS = json.loads((PROJECT / "models" / "digits" / "example.json").read_text())
INFER = "/v2/models/digits/infer"


def _call(system: System, method: str, path: str, body: Any = None, **settings: Any) -> tuple[int, Any, Any]:
    return request(method, system.url(path), body, credentials=system.developer, **settings)


def _metadata(system: System) -> Any:
    status, _, found = _call(system, "GET", "/v2/models/digits")
    assert status == 200, found
    return found


def test_the_server_and_the_model_are_there_and_ready(system: System) -> None:
    assert _call(system, "GET", "/v2")[2]["name"] == "modelyard"
    assert _call(system, "GET", "/v2/health/live")[2] == {"live": True}
    assert _call(system, "GET", "/v2/health/ready")[2]["ready"] is True
    version = _metadata(system)["versions"][0]
    for path in ("/v2/models/digits/ready", f"/v2/models/digits/versions/{version}/ready"):
        assert _call(system, "GET", path)[2] == {"name": "digits", "version": version, "ready": True}
    status, _, problem = _call(system, "GET", "/v2/models/digits/versions/999/ready")
    assert (status, problem["code"], f"version {version} answers" in problem["error"]) == (404, "unknown_version", True)


def test_tensors_go_through_the_gateway_in_json_and_in_bytes(system: System) -> None:
    (tensor,) = _metadata(system)["inputs"]
    sizes = [1 if size == -1 else size for size in tensor["shape"]]
    values = np.linspace(0, 1, int(np.prod(sizes)), dtype=np.float32)
    asked = {"name": tensor["name"], "datatype": tensor["datatype"], "shape": sizes}
    status, _, plain = _call(system, "POST", INFER, {"inputs": [{**asked, "data": values.tolist()}]})
    assert status == 200, plain
    sent = {**asked, "parameters": {"binary_data_size": values.nbytes}}
    text = json.dumps({"inputs": [sent], "parameters": {"binary_data_output": True}}).encode()
    more = {"inference-header-content-length": str(len(text))}
    status, headers, content = _call(
        system, "POST", INFER, text + values.tobytes(), content_type="application/octet-stream", more=more
    )
    assert status == 200, content
    place = int(headers["inference-header-content-length"])
    for tensor, expected in zip(json.loads(content[:place])["outputs"], plain["outputs"], strict=True):
        data = content[place : (place := place + tensor["parameters"]["binary_data_size"])]
        kind = {"FP32": "f", "INT64": "q"}[tensor["datatype"]]
        assert list(struct.unpack(f"<{len(data) // struct.calcsize(kind)}{kind}", data)) == pytest.approx(
            expected["data"]
        )


def test_a_document_describes_the_model_and_its_form(system: System) -> None:
    status, _, document = _call(system, "GET", "/models/seattle_weather/openapi.json")
    assert (status, document["openapi"]) == (200, "3.1.0")
    content = document["paths"]["/models/seattle_weather/predict"]["post"]["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        status, _, answer = _call(system, "POST", "/models/seattle_weather/predict", example["value"])
        assert (status, len(answer["predictions"])) == (200, len(example["value"]["instances"]))


def test_a_file_of_numbers_is_refused_where_the_models_own_code_takes_json(system: System) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((1, 64), np.float32))
    status, _, problem = _call(
        system, "POST", "/models/digits/predict", file.getvalue(), content_type="application/x-npy"
    )
    assert (status, problem["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(("method", "path"), MODEL_ROUTES)
def test_a_name_without_an_endpoint_gets_a_problem_of_ours(system: System, method: str, path: str) -> None:
    called = route_of(path, "absent").replace("{proxy+}", "infer")
    status, _, problem = _call(system, method, called, DIGITS if method == "POST" else None)
    assert (status, problem["code"]) == (404, "unknown_model")


def test_an_unsigned_call_gets_403_on_every_route(system: System) -> None:
    for method, path in MODEL_ROUTES:
        called = route_of(path, "digits").replace("{proxy+}", "ready")
        assert request(method, system.url(called), DIGITS if method == "POST" else None)[0] == 403
