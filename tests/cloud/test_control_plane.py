"""The control plane as a program uses it: signed requests through the deployed HTTP API, checked against the CLI.

What is registered and put live here is a model of its own; the models that the other tests use are looked at only.
"""

import hashlib
import json
import pickle
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest

from modelyard.control.routes import ROUTES
from tests.cloud.conftest import PROJECT, REGION, System
from tests.cloud.signing import request

MODEL = "control_probe"
DIGITS = (PROJECT / "models" / "digits" / "digits.onnx").read_bytes()
DEVELOPER = "arn:aws:iam::000000000000:user/developer"
DEPLOYED = ("digits", "seattle_weather")


def _get(system: System, path: str) -> Any:
    status, headers, answer = request("GET", system.url(path), credentials=system.developer)
    assert (status, headers["content-type"]) == (200, "application/json"), answer
    return answer


def _post(system: System, path: str, body: Any, **how: Any) -> tuple[int, Any]:
    status, _, answer = request("POST", system.url(path), body, **{"credentials": system.developer, **how})
    return status, answer


def _put(signed: Mapping[str, Any], body: bytes) -> int:
    """Send the file where the control plane said, as it said."""
    sent = urllib.request.Request(signed["url"], data=body, headers=signed["headers"], method=signed["method"])  # noqa: S310
    try:
        with urllib.request.urlopen(sent, timeout=60) as answer:  # noqa: S310 - the private local AWS
            status: int = answer.status
            return status
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def _upload(system: System, model: str, body: bytes, *, announced: bytes | None = None) -> tuple[str, int]:
    """The digest under which a file was announced, and what S3 answered to it."""
    announced = body if announced is None else announced
    digest = hashlib.sha256(announced).hexdigest()
    status, signed = _post(system, f"/models/{model}/uploads", {"sha256": digest, "size": len(announced)})
    assert status == 200, signed
    return digest, _put(signed, body)


@pytest.fixture(scope="module")
def registered(system: System) -> dict[str, Any]:
    """The digits again, under another name, from the file to the version."""
    digest, stored = _upload(system, MODEL, DIGITS)
    assert stored == 200
    asked = {"sha256": digest, "task": "multiclass", "note": "a probe", "owner": "tests"}
    status, answer = _post(system, f"/models/{MODEL}/versions", asked)
    assert status == 201, answer
    return {**answer, "asked": asked}


@pytest.fixture(scope="module")
def live(system: System, registered: dict[str, Any]) -> dict[str, Any]:
    asked = {"version": 1, "reason": "try it", "expected_revision": 0, "operation": "probe-1"}
    status, answer = _post(system, f"/models/{MODEL}/promote", asked)
    assert status == 200, answer
    return {**answer, "asked": asked}


def test_models_are_listed_as_the_command_line_shows_them(system: System) -> None:
    listed = {line["name"]: line for line in _get(system, "/models?limit=100")["items"]}
    shown = {row["model"]: row for row in system.json("status")}
    assert set(shown) == set(DEPLOYED) <= set(listed)
    for name, row in shown.items():
        model = _get(system, f"/models/{name}")
        assert (model["versions"], model["deployment"]["champion"]) == (row["newest"], row["live"])
        told = {key: value for key, value in listed[name].items() if value is not None}  # the rest: with a search
        assert {"name", "task", "description", "owner", "tags", "created_at"} <= set(told)
        assert {key: model[key] for key in told} == told


@pytest.mark.parametrize("name", DEPLOYED)
def test_versions_are_those_of_the_command_line(system: System, name: str) -> None:
    shown = system.json("versions", name)
    listed = _get(system, f"/models/{name}/versions")["items"]
    assert [line["number"] for line in listed] == [version["number"] for version in shown]
    for version in shown:
        found = _get(system, f"/models/{name}/versions/{version['number']}")
        assert found == {**version.pop("manifest"), **version}


@pytest.mark.parametrize("name", DEPLOYED)
def test_history_and_deployment_are_those_of_the_command_line(system: System, name: str) -> None:
    ledger = _get(system, f"/models/{name}/history?limit=20")
    assert ledger["items"] == system.json("history", name)
    deployment = _get(system, f"/models/{name}/deployment")
    at = deployment["changed_at"]
    assert deployment == system.json("history", name, "--at", at)
    then = _get(system, f"/models/{name}/history?at={quote(at)}")
    assert (then["deployment"], then["at"], then["items"][0]["at"]) == (deployment, at, at)
    before = _get(system, f"/models/{name}/history?at={quote('2020-01-01T01:00:00+01:00')}")
    assert (before["deployment"], before["items"], before["at"]) == (None, [], "2020-01-01T00:00:00.000000Z")


def test_the_openapi_document_names_every_route_that_is_deployed(system: System) -> None:
    document = _get(system, "/openapi.json")
    documented = {(method.upper(), path) for path, found in document["paths"].items() for method in found}
    assert documented | {("GET", "/docs"), ("GET", "/openapi.json")} == set(ROUTES)


def test_the_page_comes_whole_through_the_gateway(system: System) -> None:
    status, headers, page = request("GET", system.url("/docs"), credentials=system.developer)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.startswith("<!doctype html>")
    assert page.endswith("</html>")
    assert "default-src 'none'" in headers["content-security-policy"]


def test_a_file_becomes_a_version_of_whoever_signed(system: System, registered: dict[str, Any]) -> None:
    version = registered["version"]
    assert (registered["created"], version["number"], version["author"]) == (True, 1, DEVELOPER)
    assert (version["digest"], version["size"]) == (hashlib.sha256(DIGITS).hexdigest(), len(DIGITS))
    (digits,) = system.json("versions", "digits")
    assert version["signature"] == digits["manifest"]["signature"]
    assert _get(system, f"/models/{MODEL}/versions/1") == version
    (shown,) = system.json("versions", MODEL)
    assert version == {**shown.pop("manifest"), **shown}


def test_the_same_file_again_is_the_same_version(system: System, registered: dict[str, Any]) -> None:
    status, again = _post(system, f"/models/{MODEL}/versions", registered["asked"])
    assert (status, again) == (200, {"created": False, "version": registered["version"]})


def test_a_version_goes_live_and_the_ledger_says_who_did_it(system: System, live: dict[str, Any]) -> None:
    assert (live["champion"], live["revision"], live["changed_by"], live["reason"]) == (1, 1, DEVELOPER, "try it")
    deployment = _get(system, f"/models/{MODEL}/deployment")
    assert deployment == {key: live[key] for key in deployment}
    items, start = [], ""
    while start is not None:
        page = _get(system, f"/models/{MODEL}/history?limit=1{start and f'&start={quote(start)}'}")
        items, start = [*items, *page["items"]], page["next"]
    assert items == system.json("history", MODEL)
    assert [(entry["kind"], entry["actor"]) for entry in items] == [("promoted", DEVELOPER), ("registered", DEVELOPER)]


def test_a_promotion_that_is_sent_again_gives_its_first_answer(system: System, live: dict[str, Any]) -> None:
    status, again = _post(system, f"/models/{MODEL}/promote", live["asked"])
    assert (status, again) == (200, {key: live[key] for key in again})


def test_what_conflicts_is_said_with_409_and_changes_nothing(system: System, live: dict[str, Any]) -> None:
    conflicts = {
        ("rollback", "no_predecessor"): {"reason": "back"},
        ("promote", "already_live"): {"version": 1, "reason": "again"},
        ("promote", "revision_changed"): {"version": 1, "reason": "late", "expected_revision": 0},
        ("promote", "operation_reused"): {"version": 2, "reason": "other", "operation": "probe-1"},
    }
    for (route, code), body in conflicts.items():
        status, answer = _post(system, f"/models/{MODEL}/{route}", body)
        assert (status, answer["code"]) == (409, code)
    assert _get(system, f"/models/{MODEL}/deployment")["revision"] == 1


AT = "at=2026-01-01T00%3A00%3A00Z"
ABSENT = {"sha256": "0" * 64, "task": "binary"}
LARGE = {"sha256": "0" * 64, "size": 2**30}
REFUSED: dict[str, tuple[str, str, Any, int, str]] = {
    "unknown model": ("GET", "no_such_model", None, 404, "not_found"),
    "deployment of an unknown model": ("GET", "no_such_model/deployment", None, 404, "not_found"),
    "unknown version": ("GET", "digits/versions/99", None, 404, "not_found"),
    "name that is none": ("GET", "Digits", None, 400, "invalid_name"),
    "number that is none": ("GET", "digits/versions/1_0", None, 400, "invalid_request"),
    "unknown parameter": ("GET", f"digits?{AT}", None, 400, "invalid_request"),
    "time without a zone": ("GET", "digits/history?at=2026-01-01", None, 400, "invalid_time"),
    "cut JSON": ("POST", "digits/promote", b'{"version": ', 400, "invalid_json"),
    "nested JSON": ("POST", "digits/promote", b"[" * 20_000, 400, "invalid_json"),
    "misspelt field": ("POST", "digits/promote", {"version": 1, "expected": 0}, 400, "invalid_request"),
    "right-to-left reason": ("POST", "digits/promote", {"version": 1, "reason": "\u202ea"}, 400, "invalid_request"),
    "version that is missing": ("POST", "digits/promote", {"version": 99}, 404, "not_found"),
    "nothing uploaded": ("POST", "digits/versions", ABSENT, 404, "unknown_upload"),
    "file that is too large": ("POST", "digits/uploads", LARGE, 413, "artifact_too_large"),
}


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_a_problem_document(
    system: System, method: str, path: str, body: Any, status: int, code: str
) -> None:
    answer = request(method, system.url(f"/models/{path}"), body, credentials=system.developer)
    _check_problem(answer, status, code)


def test_another_content_type_is_refused(system: System) -> None:
    how = {"credentials": system.developer, "content_type": "text/plain"}
    answer = request("POST", system.url("/models/digits/promote"), {"version": 1}, **how)
    _check_problem(answer, 415, "unsupported_media_type")


def _check_problem(answer: tuple[int, Mapping[str, str], Any], status: int, code: str) -> None:
    found, headers, problem = answer
    assert (found, headers["content-type"]) == (status, "application/problem+json"), problem
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"]
    assert problem["detail"].isascii()
    assert "Traceback" not in json.dumps(problem)


def test_a_pickle_becomes_no_version(system: System) -> None:
    digest, stored = _upload(system, "control_pickle", pickle.dumps({"weights": [0.5]}))
    assert stored == 200
    asked = {"sha256": digest, "task": "binary"}
    answer = request("POST", system.url("/models/control_pickle/versions"), asked, credentials=system.developer)
    _check_problem(answer, 422, "not_onnx")
    assert request("GET", system.url("/models/control_pickle"), credentials=system.developer)[0] == 404
    assert "control_pickle" not in {line["name"] for line in _get(system, "/models?limit=100")["items"]}


def test_other_bytes_than_announced_become_no_version(system: System) -> None:
    digest, stored = _upload(system, "control_swapped", DIGITS[::-1], announced=DIGITS)
    status, answer = _post(system, "/models/control_swapped/versions", {"sha256": digest, "task": "multiclass"})
    expected = (422, "checksum_mismatch") if stored == 200 else (404, "unknown_upload")
    assert (status, answer["code"]) == expected
    assert request("GET", system.url("/models/control_swapped"), credentials=system.developer)[0] == 404


@pytest.fixture
def registrar(system: System) -> Iterator[dict[str, str]]:
    """An IAM user who may register versions, and nothing else."""
    api, stage = system.outputs("Api")["Url"].rsplit("/", 2)[1:]
    resource = f"arn:aws:execute-api:{REGION}:000000000000:{api}/{stage}/POST/models/*/versions"
    allowed = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": resource}
    iam, name = system.client("iam"), "registrar"
    iam.create_user(UserName=name)
    iam.put_user_policy(
        UserName=name,
        PolicyName="register",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
    )
    key = iam.create_access_key(UserName=name)["AccessKey"]
    yield {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName=name, PolicyName="register")
    iam.delete_user(UserName=name)


def test_whoever_may_register_may_not_change_what_is_live(system: System, registrar: dict[str, str]) -> None:
    model = "control_registrar"
    digest, _ = _upload(system, model, DIGITS)
    asked = {"sha256": digest, "task": "multiclass"}
    status, answer = _post(system, f"/models/{model}/versions", {**asked, "promote": True}, credentials=registrar)
    assert (status, answer["field"]) == (400, "promote")
    status, answer = _post(system, f"/models/{model}/versions", asked, credentials=registrar)
    assert (status, answer["version"]["author"]) == (201, "arn:aws:iam::000000000000:user/registrar")
    for route, body in (("promote", {"version": 1}), ("rollback", {})):
        assert _post(system, f"/models/{model}/{route}", body, credentials=registrar)[0] == 403
    status, _, answer = request("GET", system.url(f"/models/{model}/deployment"), credentials=system.developer)
    assert (status, answer["code"]) == (404, "nothing_live")
