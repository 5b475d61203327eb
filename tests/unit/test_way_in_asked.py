"""What the way in says of a request: one header of printable ASCII that the container reads back."""

import json
from typing import Any

import pytest

from modelyard.control.routes import MODEL_ROUTES, route_of
from modelyard.errors import ModelyardError, UsageError
from modelyard.serving.oip.inputs import HEADER
from modelyard.way_in.asked import MOST_ATTRIBUTES, TENSORS, asked_of, protocol_of, routes_of
from modelyard.way_in.settings import ASYNC, REALTIME, SERVERLESS, WayInSettings
from tests.fakes.endpoint import event
from tests.fakes.predict_requests import EVERY, headed, instances

SETTINGS = WayInSettings("weather", "modelyard-weather", REALTIME, routing="header:X-Customer")
CALLER = "arn:aws:iam::111122223333:user/forecast-app"


def attributes(made: Any, **more: Any) -> dict[str, Any]:
    text = asked_of(made, SETTINGS, request_id=more.pop("request_id", "r-1"), **more).attributes
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= MOST_ATTRIBUTES
    return json.loads(text)


def test_the_attributes_of_a_prediction():
    assert attributes(instances()) == {
        "route": "POST /models/weather/predict", "id": "r-1", "caller": CALLER, "account": "111122223333",
    }  # fmt: skip


def test_the_attributes_of_tensors_with_bytes_after_the_json():
    made = EVERY["OIP bytes"]
    assert attributes(made) == {
        "route": "POST /v2/models/weather/{proxy+}",
        "proxy": "infer",
        "id": "r-1",
        "caller": CALLER,
        "account": "111122223333",
        "h": {"inference-header-content-length": made["headers"]["inference-header-content-length"]},
    }


def test_the_protocols_header_is_the_one_that_the_container_reads():
    assert TENSORS == HEADER


def test_a_request_that_is_answered_later_says_so():
    assert attributes(instances(), later=True)["async"] == 1


def test_without_an_authorizer_nobody_is_named():
    made = instances()
    del made["requestContext"]["authorizer"]
    assert set(attributes(made)) == {"route", "id"}


@pytest.mark.parametrize("value", ["天気 🌦", "\r\nx-evil: 1", '"}', "\x7f\x00", "\udc80", "a\tb", "é" * 10])
def test_any_text_comes_through_a_header_whole(value):
    made = headed(instances(), x_customer=value)
    sent = attributes(made, request_id=value)
    readable = value.encode("utf-8", "replace").decode()
    assert sent["h"]["x-customer"] == readable
    assert sent["id"] == readable


@pytest.mark.parametrize("value", ["text/\r\nx-evil: 1", "é/天", "\udc80", "\x00", " ", "a" * 5000, 7, None])
@pytest.mark.parametrize("name", ["content-type", "accept"])
def test_a_type_is_a_header_that_nobody_refuses_to_send(name, value):
    made = instances()
    made["headers"][name] = value
    asked = asked_of(made, SETTINGS, request_id="r")
    for sent in (asked.content_type, asked.accept):
        assert sent.isascii()
        assert sent.isprintable()
        assert 0 < len(sent) <= 1024


def test_a_missing_type_is_said_to_be_missing():
    made = instances()
    del made["headers"]["content-type"]
    asked = asked_of(made, SETTINGS, request_id="r")
    assert asked.content_type == "application/octet-stream"
    assert json.loads(asked.attributes)["h"] == {"content-type": ""}


def test_a_get_has_a_body_because_invoke_endpoint_has_one():
    asked = asked_of(event("GET", "/models/weather/openapi.json"), SETTINGS, request_id="r")
    assert (asked.body, asked.content_type) == (b"{}", "application/json")


def test_an_empty_post_stays_empty():
    made = instances()
    made["body"] = None
    assert asked_of(made, SETTINGS, request_id="r").body == b""


def test_what_does_not_fit_is_refused_and_one_character_less_is_not():
    fixed = len(asked_of(headed(instances(), x_customer=""), SETTINGS, request_id="").attributes)
    room = MOST_ATTRIBUTES - fixed
    made = headed(instances(), x_customer="x" * room)
    assert len(asked_of(made, SETTINGS, request_id="").attributes) == MOST_ATTRIBUTES
    with pytest.raises(ModelyardError) as raised:
        asked_of(headed(instances(), x_customer="x" * (room + 1)), SETTINGS, request_id="")
    assert (raised.value.status, raised.value.code) == (431, "header_too_large")


def test_every_route_of_a_model_is_handed_on():
    assert routes_of("wine") == {f"{method} {route_of(path, 'wine')}" for method, path in MODEL_ROUTES}
    for method, path in MODEL_ROUTES:
        made = event(method, route_of(path, "weather").replace("{proxy+}", "ready"), b"{}")
        assert attributes(made)["route"] == f"{method} {route_of(path, 'weather')}"


@pytest.mark.parametrize(
    ("made", "protocol"),
    [
        (instances(), "instances"),
        (EVERY["OIP"], "v2"),
        (event("GET", "/models/weather/openapi.json"), "metadata"),
        (event("POST", "/models/weather/feedback"), "feedback"),
        (None, "instances"),
        ({}, "instances"),
        ({"routeKey": 5}, "instances"),
    ],
)
def test_the_line_says_how_the_caller_speaks(made, protocol):
    assert protocol_of(made) == protocol


ENVIRON = {"MODELYARD_MODEL": "wine", "MODELYARD_SAGEMAKER_ENDPOINT": "e", "MODELYARD_TARGET": SERVERLESS}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"MODELYARD_MODEL": ""}, "MODELYARD_MODEL is not set"),
        ({"MODELYARD_TARGET": "lambda"}, "MODELYARD_TARGET is 'lambda'"),
        ({"MODELYARD_TARGET": ASYNC}, "MODELYARD_ARTIFACT_BUCKET is not set"),
        ({"MODELYARD_ASYNC_TIMEOUT_S": "3601"}, "from 1 to 3600"),
        ({"MODELYARD_ASYNC_TIMEOUT_S": "0"}, "from 1 to 3600"),
        ({"MODELYARD_ASYNC_TIMEOUT_S": "1.5"}, "from 1 to 3600"),
    ],
)
def test_an_environment_that_does_not_do_is_refused(changes, found):
    with pytest.raises(UsageError, match=found):
        WayInSettings.read({**ENVIRON, **changes})


@pytest.mark.parametrize(("routing", "header"), [("header:X-A", "x-a"), ("caller", ""), ("field:x", ""), ("", "")])
def test_only_a_header_that_routes_is_known(routing, header):
    assert WayInSettings.read({**ENVIRON, "MODELYARD_ROUTING": routing}).routing_header == header
