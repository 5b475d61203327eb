"""Which model, which version, who: what a request names. The list of bad inputs: test_bad_inputs_predict."""

import json
from typing import Any

import pytest

from tests.fakes import onnx_models
from tests.fakes.endpoint import EndpointStand, event
from tests.fakes.objects import promote
from tests.fakes.predict_requests import EVERY, changed, headed, instances, tensors

OTHER_MODELS = [
    ("POST", "/models/other/predict"),
    ("GET", "/models/other/openapi.json"),
    ("GET", "/v2/models/other"),
    ("GET", "/v2/models/other/ready"),
    ("POST", "/v2/models/other/infer"),
]
NO_ROUTES = [
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
]


@pytest.mark.parametrize(("method", "path"), OTHER_MODELS)
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
        *NO_ROUTES,
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
