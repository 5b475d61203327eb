"""The Open Inference Protocol's server routes, and what a name without an endpoint gets on a model's routes."""

from fnmatch import fnmatchcase

import pytest

from modelyard import __version__
from modelyard.control.routes import CALLS, MODEL_ROUTES, ROUTES, SERVER_ROUTES, route_of
from modelyard.errors import AWSError
from tests.fakes.control import MODEL, ControlStand
from tests.fakes.gateway import Answer, event


@pytest.fixture
def stand() -> ControlStand:
    return ControlStand()


def called(stand: ControlStand, method: str, path: str, name: str) -> Answer:
    return stand.send(event(method, route_of(path, name).replace("{proxy+}", "versions/1/infer"), "{}"))


def test_the_server_says_what_it_is_and_that_it_lives(stand: ControlStand) -> None:
    shown = stand.get("/v2").body
    assert shown == {
        "name": "modelyard",
        "version": __version__,
        "extensions": ["binary_tensor_data", "classification"],
    }
    assert stand.get("/v2/health/live").body == {"live": True}


def test_the_server_is_ready_when_the_registry_can_be_read(
    stand: ControlStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stand.get("/v2/health/ready").body["ready"] is True

    def gone(*_: object, **__: object) -> None:
        raise AWSError("no table")

    monkeypatch.setattr("modelyard.registry.Registry.models", gone)
    refused = stand.get("/v2/health/ready")
    assert (refused.status, refused.code, refused.body["error"]) == (502, "aws", "no table")


@pytest.mark.parametrize(("method", "path"), MODEL_ROUTES)
@pytest.mark.parametrize("name", ["absent", "%E2%80%AE"])
def test_a_name_without_an_endpoint_is_a_problem_and_leaves_a_line(
    stand: ControlStand, method: str, path: str, name: str
) -> None:
    answer = called(stand, method, path, name)
    assert (answer.status, answer.code) == (404, "unknown_model")
    assert ("error" in answer.body) == path.startswith("/v2")
    assert ("absent" in answer.body["detail"]) == (name == "absent")
    line = stand.journal.lines[-1]
    assert (line.status, line.code, line.model) == (404, "unknown_model", "absent" if name == "absent" else None)


def test_problems_of_other_routes_have_no_error_member(stand: ControlStand) -> None:
    assert "error" not in stand.get("/nothing").body
    assert "error" not in stand.get(f"/models/{MODEL}").body


def test_what_callers_may_call_covers_every_route_of_a_model_and_none_of_the_control_plane() -> None:
    def allowed(method: str, path: str) -> bool:
        return any(method == of and fnmatchcase(path, pattern) for of, pattern in CALLS)

    assert all(allowed(method, path) for method, path in (*MODEL_ROUTES, *SERVER_ROUTES))
    others = [route for route in ROUTES if route not in SERVER_ROUTES]
    assert [route for route in others if allowed(*route)] == []
