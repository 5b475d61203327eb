"""Everything wrong that somebody may send, over HTTP to a server: refused, said and audited as by a function.

The entries are those of test_bad_inputs_predict and beside it, sent in both ways: straight to the model's route, and
through SageMaker's with what the way in says of the request. What only a Lambda event can be wrong in is not here.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.fakes import onnx_models
from tests.fakes.endpoint import event
from tests.fakes.predict_requests import (
    CONTRACT,
    ENGINES,
    EVERY,
    INFER,
    MODEL,
    as_json,
    headed,
    npy,
    ones_in_every_form,
)
from tests.fakes.served import WAYS, ServedStand
from tests.functions.test_bad_inputs_predict import BAD, NPY_CASES
from tests.functions.test_bad_inputs_predict_addresses import NO_ROUTES, OTHER_MODELS
from tests.functions.test_bad_inputs_predict_failures import _one_value

OF_EVENTS = {"bad base64"}
"""Entries that only an event has: over HTTP bytes come as bytes."""

CASES = [
    pytest.param(made, status, code, way, id=f"{entry} {number} {way}")
    for entry, cases in BAD.items()
    if entry not in OF_EVENTS
    for number, (made, status, code) in enumerate(cases)
    for way in WAYS
]


@pytest.fixture(scope="module", params=ENGINES)
def stand(request: pytest.FixtureRequest) -> Iterator[ServedStand]:
    """The model that `tests.fakes.predict_requests` is about, with its contract."""
    with ServedStand({"weather": MODEL}, engine=request.param, contracts={"weather": CONTRACT}) as started:
        yield started


@pytest.fixture(scope="module", params=ENGINES)
def sums(request: pytest.FixtureRequest) -> Iterator[ServedStand]:
    """A model that adds up two numbers."""
    with ServedStand({"weather": onnx_models.row_sum()}, engine=request.param) as started:
        yield started


@pytest.mark.parametrize(("made", "status", "code", "way"), CASES)
def test_a_bad_input_is_a_problem_with_its_code_and_leaves_one_line(
    stand: ServedStand, made: dict[str, Any], status: int, code: str, way: str
) -> None:
    stand.audits()
    answer = stand.send(made, way)
    assert (answer.status, answer.code) == (status, code), answer.content[:500]
    assert len(answer.json["detail"]) < 500
    assert ("error" in answer.json) == ("/v2/" in made["routeKey"])
    (line,) = stand.audits()
    assert (line["model"], line["status"], line["code"], line["outcome"]) == ("weather", status, code, "refused")
    assert line["prediction_id"] is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", EVERY)
def test_what_is_right_about_them_is_answered(stand: ServedStand, form: str, way: str) -> None:
    assert stand.send(EVERY[form], way).status == 200


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", NPY_CASES)
def test_a_bad_npy_is_a_problem_with_its_code(sums: ServedStand, case: str, way: str) -> None:
    made, status, code = NPY_CASES[case]
    answer = sums.send(made, way)
    assert (answer.status, answer.code) == (status, code), answer.content[:500]


# -- who, which model, which version ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", EVERY)
def test_a_forged_header_is_not_the_caller(stand: ServedStand, form: str, way: str) -> None:
    stand.audits()
    forged = headed(EVERY[form], x_caller="arn:aws:iam::1:root", x_amzn_iam_arn="arn:aws:iam::1:root")
    assert stand.send(forged, way).status == 200
    (line,) = stand.audits()
    known = "arn:aws:iam::111122223333:user/forecast-app"
    assert line["caller"] == (known if way == "sagemaker" else None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("method", "path"), OTHER_MODELS)
def test_another_models_route_is_404(sums: ServedStand, method: str, path: str, way: str) -> None:
    sums.audits()
    answer = sums.send(event(method, path, "{}"), way)
    assert (answer.status, answer.code) == (404, "unknown_model")
    assert "weather" in answer.json["detail"]
    assert ("error" in answer.json) == path.startswith("/v2")
    (line,) = sums.audits()
    assert (line["status"], line["code"], line["model"]) == (404, "unknown_model", "unknown")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", ["2", "4", "03", "latest", "-3", "3.0", "٣", "x" * 500])
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("GET", "/ready"), ("POST", "/infer")])
def test_a_version_that_is_not_live_is_404_and_the_live_one_is_named(
    sums: ServedStand, version: str, method: str, rest: str, way: str
) -> None:
    answer = sums.send(event(method, f"/v2/models/weather/versions/{version}{rest}", "{}"), way)
    assert (answer.status, answer.code) == (404, "unknown_version")
    assert "version 3 answers" in answer.json["error"]
    assert len(answer.json["detail"]) < 300


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        *NO_ROUTES,
        ("GET", "/v2/models/weather/" + "x" * 500, 404, "unknown_route"),
    ],
)
def test_what_is_no_route_is_404_and_another_method_405(
    sums: ServedStand, method: str, path: str, status: int, code: str, way: str
) -> None:
    sums.audits()
    answer = sums.send(event(method, path), way)
    assert (answer.status, answer.code) == (status, code)
    assert len(answer.json["detail"]) < 300
    if status == 405:
        assert answer.headers["allow"] in ("GET", "POST")
        assert answer.headers["allow"] != method
    (line,) = sums.audits()
    assert (line["status"], line["code"]) == (status, code)


# -- limits -----------------------------------------------------------------------------------------------------------

LIMIT = 25 * 1_048_576


def _sized(size: int, form: str) -> dict[str, Any]:
    text = '{"instances": [[1, 2]]}'
    if form == "JSON":
        return as_json(text + " " * (size - len(text)))
    return npy(np.zeros((1, (size - 128) // 4), dtype=np.float32))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_largest_request_is_answered_and_one_byte_more_is_413(sums: ServedStand, more: int, way: str) -> None:
    sums.audits()
    answer = sums.send(_sized(LIMIT + more, "JSON"), way)
    assert (answer.status, answer.code) == ((413, "body_too_large") if more > 0 else (200, "ok")), answer.json
    (line,) = sums.audits()
    assert line["code"] == answer.code
    assert sums.predict([1, 2], way=way).json["predictions"] == [3.0]  # on the same connection


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rows", [9_999, 10_000, 10_001])
def test_one_row_more_than_allowed_is_refused(sums: ServedStand, rows: int, way: str) -> None:
    asked = ones_in_every_form(rows)
    expected = "batch_too_large" if rows > 10_000 else "ok"
    assert [sums.send(made, way).code for made in asked] == [expected] * len(asked)


# -- the model's fault, and while nothing is live ---------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_an_answer_that_is_no_number_is_the_models_failure_in_every_form(engine: str) -> None:
    with ServedStand({"weather": onnx_models.logarithm()}, engine=engine) as stand:
        for way in WAYS:
            for value in (0.0, -1.0):
                for made in _one_value(value):
                    answer = stand.send(made, way)
                    assert (answer.status, answer.code, answer.json["row"]) == (500, "not_finite", 0)
                    assert [line["code"] for line in stand.lines() if line["kind"] == "audit"] == ["not_finite"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_that_raises_is_500_without_its_cause_and_goes_on(engine: str) -> None:
    with ServedStand({"weather": onnx_models.fails_unless_two_rows()}, engine=engine) as stand:
        for way in WAYS:
            for made in _one_value(1.0):
                answer = stand.send(made, way)
                assert (answer.status, answer.code) == (500, "model_failed")
                assert "Reshape" not in answer.content.decode()
            assert stand.predict(1.0, 2.0, way=way).status == 200


def test_while_nothing_is_live_every_route_is_503_and_says_so() -> None:
    with ServedStand({"weather": None}) as stand:
        for way in WAYS:
            for path in ("/models/weather/predict", INFER, "/v2/models/weather", "/v2/models/weather/ready",
                         "/models/weather/openapi.json"):  # fmt: skip
                stand.lines()
                method = "POST" if path.endswith(("predict", "infer")) else "GET"
                answer = stand.send(event(method, path, "{}", headers={"content-type": "application/json"}), way)
                assert (answer.status, answer.code) == (503, "no_deployment")
                assert [line["status"] for line in stand.lines() if line["kind"] == "audit"] == [503]
