"""What the control plane is tried with: nothing of it may reach a store, and each answer names what was wrong."""

import json

import pytest
from pydantic import ValidationError

from modelyard.control.bodies import PromoteBody, RegisterBody
from modelyard.control.routes import ROUTES
from modelyard.errors import UsageError
from modelyard.names import check_text
from tests.fakes.control import MODEL, PARTS, ControlStand
from tests.fakes.gateway import event

DIGEST = "ab" * 32
UPLOAD = {"sha256": DIGEST, "size": 1}
REGISTER = {"sha256": DIGEST, "task": "binary"}
NOTES = {"text": "Ask first."}


class Untouched:
    """A store that no refused request may reach."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"a store was asked to {name}")


@pytest.fixture
def stand() -> ControlStand:
    return ControlStand(records=Untouched(), artifacts=Untouched())


NAMES = {
    "upper case": "Weather",
    "dash": "sea-ttle",
    "digit first": "1st",
    "dots": "..",
    "dot in it": "a.b",
    "encoded slash stays one segment": "a%252fb",
    "backslash": "a\\b",
    "NUL": "a%00b",
    "line feed at the end": "weather%0a",
    "right to left": "a\u202eb",
    "look-alike": "\u0430bc",
    "not UTF-8": "%ff%fe",
    "256 characters": "a" * 256,
    "49 characters": "a" * 49,
    "space": "a b",
    "quote": "a'b",
    "key separator": "a%23b",
    "template": "{name}",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if "{name}" in route[1]])
def test_a_name_that_is_none_is_refused_by_every_route(stand: ControlStand, method: str, path: str, name: str) -> None:
    bodies = {"uploads": UPLOAD, "versions": REGISTER, "promote": {"version": 1}, "rollback": {}, "notes": NOTES,
              "trial": {"shadow": 1}, "end": {}, "rollout": {"version": 1}, "pause": {}}  # fmt: skip
    path = path.replace("{act}", "pause")
    body = None if method == "GET" else bodies[path.rpartition("/")[2]]
    answer = stand.send(event(method, path.replace("{number}", "1").replace("{name}", name), body))
    assert (answer.status, answer.code, answer.body["field"]) == (400, "invalid_name", "model")
    assert answer.body["detail"].isascii()
    assert stand.journal.lines[-1].model is None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/files",
        f"/files/{DIGEST}",
        f"/files/{DIGEST}/../{DIGEST}/versions",
        f"/models/{MODEL}/versions/1/card/",
        "/models/",
        "//models",
        f"/models/{MODEL}/",
        f"/models/{MODEL}/../../etc/passwd",
        "/models/a%2fb/versions/1/2",
        "/redoc",
        "/docs/",
        "/favicon.ico",
        "/models/\u202e/nothing",
    ],
)
def test_a_path_that_is_no_route_is_not_found(stand: ControlStand, path: str) -> None:
    answer = stand.get(path)
    assert (answer.status, answer.code) == (404, "unknown_route")
    assert answer.body["detail"].isascii()
    assert stand.journal.lines[-1].route == "none"


@pytest.mark.parametrize(("method", "path"), [("DELETE", f"/models/{MODEL}"), ("PUT", "/models"), ("HEAD", "/models")])
def test_a_method_that_a_path_does_not_take_is_refused(stand: ControlStand, method: str, path: str) -> None:
    answer = stand.send(event(method, path))
    assert (answer.status, answer.code, answer.body["title"]) == (405, "method_not_allowed", "Method Not Allowed")
    assert "takes GET" in answer.body["detail"]


@pytest.mark.parametrize(
    "number", ["0", "-1", "1.0", "1e3", "1_0", "%201", "latest", "\u0663", "9" * 30, "true", "%00"]
)
def test_a_version_number_in_a_path_is_a_plain_number(stand: ControlStand, number: str) -> None:
    answer = stand.get(f"/models/{MODEL}/versions/{number}")
    assert (answer.status, answer.code, answer.body["field"]) == (400, "invalid_request", "number")
    assert answer.body["detail"].isascii()


PROMOTE = {
    "no version": ({}, "version"),
    "text": ({"version": "2"}, "version"),
    "true": ({"version": True}, "version"),
    "fraction": ({"version": 1.0}, "version"),
    "null": ({"version": None}, "version"),
    "zero": ({"version": 0}, "version"),
    "2^63": ({"version": 2**63}, "version"),
    "list": ({"version": [1]}, "version"),
    "misspelt field": ({"version": 1, "expected_revison": 3}, "expected_revison"),
    "right-to-left field": ({"version": 1, "\u202ereason": ""}, "\\u202ereason"),
    "negative revision": ({"version": 1, "expected_revision": -1}, "expected_revision"),
    "revision as text": ({"version": 1, "expected_revision": "1"}, "expected_revision"),
    "reason of 1001": ({"version": 1, "reason": "a" * 1001}, "reason"),
    "reason null": ({"version": 1, "reason": None}, "reason"),
    "reason a number": ({"version": 1, "reason": 1}, "reason"),
    "NUL in reason": ({"version": 1, "reason": "a\0b"}, "reason"),
    "escape in reason": ({"version": 1, "reason": "\x1b[31mred"}, "reason"),
    "right to left in reason": ({"version": 1, "reason": "\u202eevil"}, "reason"),
    "lone surrogate": ('{"version": 1, "reason": "\\ud800"}', "reason"),
    "operation with a separator": ({"version": 1, "operation": "a#b"}, "operation"),
    "empty operation": ({"version": 1, "operation": ""}, "operation"),
    "operation of 129": ({"version": 1, "operation": "a" * 129}, "operation"),
    "operation with a line feed": ({"version": 1, "operation": "a\n"}, "operation"),
    "a list": ([], "body"),
    "a number": ("1", "body"),
    "text body": ('"version"', "body"),
    "NaN": ('{"version": NaN}', "version"),
    "infinity": ('{"version": 1e400}', "version"),
}


@pytest.mark.parametrize(("body", "field"), PROMOTE.values(), ids=PROMOTE)
def test_a_body_that_is_none_for_promote_names_the_field(stand: ControlStand, body: object, field: str) -> None:
    answer = stand.post(f"/models/{MODEL}/promote", body)
    assert (answer.status, answer.code, answer.body["field"]) == (400, "invalid_request", field)
    assert answer.body["detail"].isascii()
    assert len(answer.body["detail"]) < 400


REGISTRATIONS = {
    "upper-case digest": ({**REGISTER, "sha256": "AB" * 32}, "sha256"),
    "short digest": ({**REGISTER, "sha256": "ab"}, "sha256"),
    "digest with a line feed": ({**REGISTER, "sha256": DIGEST + "\n"}, "sha256"),
    "path as digest": ({**REGISTER, "sha256": "../" + "a" * 61}, "sha256"),
    "no task": ({"sha256": DIGEST}, "task"),
    "unknown task": ({**REGISTER, "task": "clustering"}, "task"),
    "note of 4001": ({**REGISTER, "note": "a" * 4001}, "note"),
    "owner of 1001": ({**REGISTER, "owner": "a" * 1001}, "owner"),
    "description with NUL": ({**REGISTER, "description": "a\0"}, "description"),
    "code digest": ({**REGISTER, "code_digest": "x"}, "code_digest"),
    "owner of two lines": ({**REGISTER, "owner": "a\nb"}, "owner"),
    "tag with a blank": ({**REGISTER, "tags": ["a b"]}, "tags.0"),
    "nine tags": ({**REGISTER, "tags": [f"t{number}" for number in range(9)]}, "tags"),
    "tags as one text": ({**REGISTER, "tags": "weather"}, "tags"),
    "promotion": ({**REGISTER, "promote": True}, "promote"),
    "no promotion": ({**REGISTER, "promote": False}, "promote"),
    "reason of a promotion": ({**REGISTER, "reason": "better"}, "reason"),
}


@pytest.mark.parametrize(("body", "field"), REGISTRATIONS.values(), ids=REGISTRATIONS)
def test_a_body_that_is_none_for_a_registration_names_the_field(stand: ControlStand, body: object, field: str) -> None:
    answer = stand.post(f"/models/{MODEL}/versions", body)
    assert (answer.status, answer.code, answer.body["field"]) == (400, "invalid_request", field)


def test_a_text_is_taken_here_when_the_registry_takes_it() -> None:
    for number in (*range(0x100), 0x61C, *range(0x2000, 0x2070), 0xFFFD, 0x1F600):
        text = f"a{chr(number)}b"
        assert _taken(PromoteBody, version=1, reason=text) == _kept(text), hex(number)
        assert _taken(RegisterBody, **REGISTER, note=text, description=text) == _kept(text), hex(number)
        assert _taken(RegisterBody, **REGISTER, owner=text) == _kept(text, lines=False), hex(number)


def _taken(body: type[PromoteBody] | type[RegisterBody], **fields: object) -> bool:
    try:
        body.model_validate(fields)
    except ValidationError:
        return False
    return True


def _kept(text: str, *, lines: bool = True) -> bool:
    try:
        check_text(text, field="text", lines=lines)
    except UsageError:
        return False
    return True


@pytest.mark.parametrize("size", [0, -1, "7", 7.0, None, 2**41, True])
def test_a_size_that_is_none_is_refused(stand: ControlStand, size: object) -> None:
    answer = stand.post(f"/models/{MODEL}/uploads", {"sha256": DIGEST, "size": size})
    assert (answer.status, answer.code, answer.body["field"]) == (400, "invalid_request", "size")


@pytest.mark.parametrize("body", [{"to": "1"}, {"to": 0}, {"version": 1}, {"to": True}])
def test_a_rollback_takes_a_number_or_nothing(stand: ControlStand, body: object) -> None:
    assert stand.post(f"/models/{MODEL}/rollback", body).code == "invalid_request"


def test_all_that_is_wrong_with_a_body_is_said_at_once(stand: ControlStand) -> None:
    answer = stand.post(f"/models/{MODEL}/promote", {"version": 0, "reason": 1, "x": 2})
    for field in ("version is 0", "reason is 1", "x is not something"):
        assert field in answer.body["detail"]
    many = stand.post(f"/models/{MODEL}/promote", {f"field{number}": 0 for number in range(50)})
    assert "and 41 more" in many.body["detail"]


@pytest.mark.parametrize(
    "body",
    ["{", "", "\0", "{'version': 1}", '{"version": 1}}', "\ufeff{}"],
    ids=["cut", "empty", "NUL", "quotes", "more", "BOM"],
)
def test_a_body_that_is_not_json_is_refused(stand: ControlStand, body: str) -> None:
    answer = stand.post(f"/models/{MODEL}/promote", body)
    assert (answer.status, answer.code) in {(400, "invalid_json"), (400, "invalid_request")}


UNREADABLE = {
    "nested without end": "[" * 100_000,
    "nested deeply": '{"reason": ' + "[" * 20_000 + "]" * 20_000 + "}",
    "very many digits": '{"version": ' + "9" * 50_000 + "}",
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_json_that_no_reader_takes_is_refused(stand: ControlStand, body: str) -> None:
    answer = stand.post(f"/models/{MODEL}/promote", body)
    assert (answer.status, answer.code) == (400, "invalid_json")
    assert len(answer.body["detail"]) < 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/csv"])
def test_another_content_type_is_refused_by_name(stand: ControlStand, kind: str) -> None:
    made = event("POST", f"/models/{MODEL}/promote", {"version": 1})
    made["headers"]["content-type"] = kind
    answer = stand.send(made)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")
    assert kind in answer.body["detail"]


def test_a_body_that_is_missing_is_named(stand: ControlStand) -> None:
    answer = stand.post(f"/models/{MODEL}/promote")
    assert (answer.status, answer.code, answer.body["detail"]) == (400, "invalid_request", "body is missing")


def test_a_body_with_broken_utf8_is_refused(stand: ControlStand) -> None:
    made = event("POST", f"/models/{MODEL}/promote", "eyJyZWFzb24iOiAi//4ifQ==", isBase64Encoded=True)
    answer = stand.send(made)
    assert (answer.status, answer.code) == (400, "invalid_json")


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=-1", "limit=1e1", "limit=1_0", "limit=", "limit=x"])
def test_a_limit_is_a_plain_number_between_1_and_100(stand: ControlStand, query: str) -> None:
    answer = stand.get("/models", query)
    assert (answer.status, answer.code, answer.body["field"]) == (400, "invalid_request", "limit")


@pytest.mark.parametrize("start", ["", "%00", "a" * 301, "%E2%80%AE", "a%0ab"])
def test_a_start_is_what_a_page_gave(stand: ControlStand, start: str) -> None:
    answer = stand.get(f"/models/{MODEL}/versions", f"start={start}")
    assert (answer.status, answer.body["field"]) == (400, "start")


@pytest.mark.parametrize(
    "at", ["yesterday", "2026-11-21", "2026-11-21T10:00:00", "2026-11-21T10:00:00+01:00", "", "%00"]
)
def test_a_time_needs_a_zone_and_an_encoded_plus(stand: ControlStand, at: str) -> None:
    answer = stand.get(f"/models/{MODEL}/history", f"at={at}")
    assert (answer.status, answer.code, answer.body["field"]) == (400, "invalid_time", "at")


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[1].startswith(("/models", "/files"))])
def test_a_query_parameter_that_a_route_does_not_take_is_refused(stand: ControlStand, method: str, path: str) -> None:
    body = json.dumps({**UPLOAD}) if path.endswith("uploads") else None
    answer = stand.send(event(method, path.format(**PARTS), body, query="as_of=2026-01-01"))
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert "as_of" in answer.body["detail"]


LONG = "a" * 1_000_000
SEARCHES = {
    "empty name": ("name=", "name"),
    "upper-case name": ("name=Weather", "name"),
    "name with a separator": ("name=a%23b", "name"),
    "name with a line feed": ("name=a%0a", "name"),
    "name of 49": (f"name={'a' * 49}", "name"),
    "name of a million": (f"name={LONG}", "name"),
    "two names": ("name=a&name=b", "name"),
    "empty tag": ("tag=", "tag.0"),
    "second tag": ("tag=a&tag=B", "tag.1"),
    "nine tags": ("&".join(f"tag=t{number}" for number in range(9)), "tag"),
    "a million characters of tags": ("&".join(["tag=abcdef"] * 100_000), "tag"),
    "tags with a comma": ("tag=a,b", "tag.0"),
    "empty owner": ("owner=", "owner"),
    "blank owner": ("owner=%20", "owner"),
    "owner of two lines": ("owner=a%0ab", "owner"),
    "right-to-left owner": ("owner=%E2%80%AEa", "owner"),
    "owner of a million": (f"owner={LONG}", "owner"),
    "unknown task": ("task=clustering", "task"),
    "two tasks": ("task=binary&task=regression", "task"),
    "misspelt filter": ("tags=weather", "tags"),
    "right-to-left key twice": ("%E2%80%AE=1&%E2%80%AE=1", "\\u202e"),
}
BOUNDS = {
    "empty metric": ("metric=&at_least=1", "metric"),
    "metric of a million": (f"metric={LONG}&at_least=1", "metric"),
    "metric with NUL": ("metric=a%00&at_least=1", "metric"),
    "two metrics": ("metric=a&metric=b&at_least=1", "metric"),
    "empty number": ("metric=a&at_least=", "at_least"),
    "NaN": ("metric=a&at_least=NaN", "at_least"),
    "infinity": ("metric=a&at_most=-inf", "at_most"),
    "1e400": ("metric=a&at_most=1e400", "at_most"),
    "a number for Python only": ("metric=a&at_least=1_0", "at_least"),
    "digits of another script": ("metric=a&at_least=%D9%A3", "at_least"),
    "blank before": ("metric=a&at_least=%201", "at_least"),
    "hexadecimal": ("metric=a&at_least=0x10", "at_least"),
    "true": ("metric=a&at_least=true", "at_least"),
    "a million digits": (f"metric=a&at_least={'9' * 1_000_000}", "at_least"),
    "two numbers": ("metric=a&at_least=1&at_least=2", "at_least"),
}


@pytest.mark.parametrize(("query", "field"), (SEARCHES | BOUNDS).values(), ids=SEARCHES | BOUNDS)
def test_a_search_for_what_cannot_be_names_the_parameter(stand: ControlStand, query: str, field: str) -> None:
    answer = stand.get("/models", query)
    assert (answer.status, answer.code, answer.body["field"]) == (400, "invalid_request", field)
    assert answer.body["detail"].isascii()
    assert len(answer.body["detail"]) < 800


@pytest.mark.parametrize(("query", "field"), BOUNDS.values(), ids=BOUNDS)
def test_bounds_that_are_none_are_refused_for_versions_too(stand: ControlStand, query: str, field: str) -> None:
    answer = stand.get(f"/models/{MODEL}/versions", query)
    assert (answer.status, answer.code, answer.body["field"]) == (400, "invalid_request", field)


@pytest.mark.parametrize("query", ["metric=accuracy", "at_least=1", "at_most=0&name=a", "at_least=0&at_most=1"])
@pytest.mark.parametrize("path", ["/models", f"/models/{MODEL}/versions"])
def test_a_metric_goes_with_a_number(stand: ControlStand, path: str, query: str) -> None:
    if path != "/models":
        query = query.removesuffix("&name=a")
    answer = stand.get(path, query)
    assert (answer.status, answer.code, answer.body["field"]) == (400, "invalid_bounds", "metric")


@pytest.mark.parametrize(
    "sha256", ["0", DIGEST.upper(), DIGEST + "0", DIGEST + "%0a", "g" * 64, "\u0663" * 64, "%ff", "{sha256}", LONG]
)
def test_a_digest_in_a_path_is_a_sha256_in_lower_case(stand: ControlStand, sha256: str) -> None:
    answer = stand.get(f"/files/{sha256}/versions")
    assert (answer.status, answer.code, answer.body["field"]) == (400, "invalid_request", "sha256")
    assert answer.body["detail"].isascii()


WRITTEN = {
    "no text": ({}, "text"),
    "null": ({"text": None}, "text"),
    "a list": ({"text": ["a"]}, "text"),
    "20,001 characters": ({"text": "a" * 20_001}, "text"),
    "a million characters": ({"text": LONG}, "text"),
    "escape": ({"text": "\x1b[31mred"}, "text"),
    "right to left": ({"text": "\u202eevil"}, "text"),
    "carriage return": ({"text": "a\r\nb"}, "text"),
    "lone surrogate": ('{"text": "\\ud800"}', "text"),
    "misspelt revision": ({**NOTES, "revision": 1}, "revision"),
    "negative revision": ({**NOTES, "expected_revision": -1}, "expected_revision"),
    "revision as text": ({**NOTES, "expected_revision": "1"}, "expected_revision"),
    "revision 1e400": ('{"text": "", "expected_revision": 1e400}', "expected_revision"),
    "revision NaN": ('{"text": "", "expected_revision": NaN}', "expected_revision"),
    "nothing": (None, "body"),
}


@pytest.mark.parametrize(("body", "field"), WRITTEN.values(), ids=WRITTEN)
def test_a_body_that_is_none_for_notes_names_the_field(stand: ControlStand, body: object, field: str) -> None:
    answer = stand.put(f"/models/{MODEL}/notes", body)
    assert (answer.status, answer.code, answer.body["field"]) == (400, "invalid_request", field)
    assert answer.body["detail"].isascii()
    assert len(answer.body["detail"]) < 400
