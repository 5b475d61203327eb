"""Around every route: who calls, what is kept of a request, and what happens when something breaks."""

import copy

import pytest

from modelyard.control.adapter import Adapter
from modelyard.control.frame import AuditLine
from modelyard.errors import CredentialsError, UsageError
from modelyard.serving.response import MAX_RESPONSE_BYTES
from tests.fakes.control import MODEL, ControlStand
from tests.fakes.gateway import CALLER, CONTEXT, EVENT, Answer, event


@pytest.fixture
def stand() -> ControlStand:
    return ControlStand()


def broken(error: Exception) -> ControlStand:
    """A control plane whose registry fails."""

    class Broken:
        def __getattr__(self, name: str) -> object:
            raise error

    return ControlStand(records=Broken(), artifacts=Broken())


@pytest.mark.parametrize(
    "authorizer",
    [
        None,
        {},
        {"iam": None},
        {"iam": {}},
        {"iam": {"userArn": None}},
        {"iam": {"userArn": ""}},
        {"iam": {"userArn": {"S": CALLER}}},
        {"jwt": {"claims": {"sub": "ada"}}},
        {"lambda": {"userArn": CALLER}},
        "arn:aws:iam::111122223333:user/ada",
    ],
)
@pytest.mark.parametrize("path", ["/models", "/docs", "/openapi.json", "/nothing"])
def test_without_a_caller_from_the_authorizer_nothing_is_answered(
    stand: ControlStand, authorizer: object, path: str
) -> None:
    made = event("GET", path)
    made["requestContext"]["authorizer"] = authorizer
    answer = Answer(Adapter(stand.app, journal=stand.journal)(made, CONTEXT))
    assert (answer.status, answer.code) == (403, "unknown_caller")
    assert (stand.journal.lines[-1].status, stand.journal.lines[-1].caller) == (403, None)


def test_a_header_says_nothing_about_who_calls(stand: ControlStand) -> None:
    forged = {"userarn": "arn:aws:iam::1:user/root", "x-user-arn": "root", "x-amzn-iam-user-arn": "root"}
    made = event("POST", f"/models/{MODEL}/rollback", {})
    made["headers"].update(forged)
    stand.gateway.caller = None
    assert stand.send(made).code == "unknown_caller"

    stand.gateway.caller = CALLER
    stand.with_versions(1)
    made = event("POST", f"/models/{MODEL}/promote", {"version": 1})
    made["headers"].update(forged)
    assert stand.send(made).body["changed_by"] == CALLER


def test_the_recorded_event_of_a_promotion_is_answered_as_it_came(stand: ControlStand) -> None:
    stand.with_versions(2)
    answer = Answer(Adapter(stand.app, journal=stand.journal)(copy.deepcopy(EVENT), CONTEXT))
    assert answer.status == 200
    assert (answer.body["champion"], answer.body["reason"]) == (2, "Fewer false alarms in the shadow")


@pytest.mark.parametrize(("stage", "path"), [("$default", "/models"), ("live", "/live/models"), ("live", "/models")])
def test_a_stage_in_the_path_is_not_part_of_the_route(stand: ControlStand, stage: str, path: str) -> None:
    made = event("GET", path)
    made["requestContext"]["stage"] = stage
    assert stand.send(made).status == 200


def test_every_request_leaves_one_line_refused_ones_too(stand: ControlStand) -> None:
    stand.with_versions(1)
    stand.journal.lines.clear()
    stand.promote(1)
    stand.promote(1)
    stand.get("/nothing")
    first, second, third = stand.journal.lines
    assert first == AuditLine(
        caller=CALLER,
        account="111122223333",
        method="POST",
        route="POST /models/{name}/promote",
        model=MODEL,
        status=200,
        code="ok",
        latency_ms=first.latency_ms,
        request_id=EVENT["requestContext"]["requestId"],
    )
    assert 0 < first.latency_ms < 10_000
    assert (second.status, second.code) == (409, "already_live")
    assert (third.status, third.code, third.route, third.model) == (404, "unknown_route", "none", None)


def test_the_request_id_is_the_one_that_the_access_log_has(stand: ControlStand) -> None:
    assert stand.get("/nothing").body["request_id"] == EVENT["requestContext"]["requestId"]
    made = event("GET", "/nothing")
    del made["requestContext"]["requestId"]
    assert stand.send(made).body["request_id"] == CONTEXT.aws_request_id


def test_what_nobody_expected_is_a_problem_without_its_cause_which_the_journal_keeps() -> None:
    stand = broken(ZeroDivisionError("secret detail"))
    answer = stand.get("/models")
    assert (answer.status, answer.code) == (500, "internal")
    assert "secret" not in answer.text
    ((error, request_id),) = stand.journal.failures
    assert (str(error), request_id) == ("secret detail", answer.body["request_id"])
    assert (stand.journal.lines[-1].status, stand.journal.lines[-1].code) == (500, "internal")


def test_a_permission_that_the_function_lacks_is_not_blamed_on_the_caller() -> None:
    stand = broken(CredentialsError("cannot read table T: these credentials may not do that", code="access_denied"))
    answer = stand.get("/models")
    assert (answer.status, answer.code) == (502, "access_denied")
    assert "role" in answer.body["next_step"]
    assert isinstance(stand.journal.failures[0][0].__cause__, CredentialsError)


def test_what_a_caller_can_help_is_not_a_failure() -> None:
    stand = broken(UsageError("no"))
    assert stand.get("/models").status == 400
    assert stand.journal.failures == []


def test_an_answer_that_lambda_cannot_carry_is_refused_with_a_way_out(stand: ControlStand) -> None:
    stand.with_versions(1)
    for number in range(22):
        findings = {"findings": "x" * 99_000, "more": ["y" * 99_000] * 2}
        stand.registry().record_outcome(MODEL, "failed", run_id=f"run-{number}", reason="big", details=findings)
    answer = stand.get(f"/models/{MODEL}/history")
    assert (answer.status, answer.code, answer.body["field"]) == (413, "response_too_large", "limit")
    assert f"{MAX_RESPONSE_BYTES:,}" in answer.body["detail"]
    page = stand.get(f"/models/{MODEL}/history", "limit=5")
    assert (page.status, len(page.body["items"])) == (200, 5)


@pytest.mark.parametrize(
    "made",
    [
        None,
        {},
        {"test": True},
        {"version": "2.0", "requestContext": {}},
        {**EVENT, "headers": None},
        {**EVENT, "headers": {**EVENT["headers"], "host": "a:b:c"}},
        {**EVENT, "body": "=", "isBase64Encoded": True},
        {"version": "1.0", "requestContext": {}, "httpMethod": "GET", "path": "/models"},
    ],
)
def test_an_event_that_is_no_request_gets_an_answer_and_is_kept(stand: ControlStand, made: object) -> None:
    answer = Answer(Adapter(stand.app, journal=stand.journal)(made, CONTEXT))
    assert answer.status in (400, 403)
    assert len(stand.journal.failures) + len(stand.journal.lines) == 1


def test_a_rest_api_event_has_no_caller_that_is_trusted_here(stand: ControlStand) -> None:
    made = {
        "version": "1.0",
        "httpMethod": "GET",
        "path": "/models",
        "headers": {},
        "requestContext": {"identity": {"userArn": CALLER, "sourceIp": "203.0.113.17"}},
    }
    assert Answer(Adapter(stand.app, journal=stand.journal)(made, CONTEXT)).code == "unknown_caller"
