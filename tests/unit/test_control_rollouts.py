"""Rollouts over HTTP: who may what, and what is told when."""

import json
from typing import Any

import pytest

from modelyard.errors import AWSError
from modelyard.registry import Rollout
from modelyard.rollout import record
from modelyard.rollout.plan import RolloutPlan, Shadow, Step
from tests.fakes.control import MODEL, ControlStand
from tests.fakes.gateway import CALLER

PATH = f"/models/{MODEL}/rollout"
PLAN = RolloutPlan(model=MODEL, shadow=Shadow(5, 10), steps=(Step(5, 1),), approval="promotion")


class RecordingSignals:
    """``RolloutSignals`` that keeps what it was told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.answered: list[str] = []
        self.fails = False

    def begin(self, rollout: Rollout) -> None:
        if self.fails:
            raise AWSError("the bus is not there", code="unreachable")
        self.begun.append(rollout.rollout_id)

    def answer(self, token: str) -> None:
        if self.fails:
            raise AWSError("Step Functions is not there", code="unreachable")
        self.answered.append(token)


@pytest.fixture
def signals() -> RecordingSignals:
    return RecordingSignals()


@pytest.fixture
def stand(signals: RecordingSignals) -> ControlStand:
    made = ControlStand(signals=signals).with_versions(3)
    made.promote(1)
    return made


def asking(stand: ControlStand) -> None:
    """The rollout waits for a person."""
    stand.post(PATH, {"version": 2, "rollout_id": "r-1"})
    registry = stand.registry("workflow")
    rollout = registry.begin_rollout(MODEL, "r-1", plan=PLAN, execution="arn:r-1")
    for phase in (0, 1):
        rollout = registry.start_phase(rollout, phase)
    registry.change_rollout(
        MODEL, "r-1", lambda found, change: record.wait_for_person(found, change, token="secret-token")
    )


def test_a_rollout_is_claimed_by_its_caller_and_its_workflow_asked_to_begin(
    stand: ControlStand, signals: RecordingSignals
) -> None:
    answer = stand.post(PATH, {"version": 2, "reason": "better"})
    assert answer.status == 202
    assert (answer.body["status"], answer.body["version"], answer.body["champion"]) == ("starting", 2, 1)
    assert answer.body["started_by"] == CALLER
    assert signals.begun == [answer.body["rollout_id"]]
    assert stand.get(PATH).body["rollout_id"] == answer.body["rollout_id"]
    entry = stand.get(f"/models/{MODEL}/history").body["items"][0]
    assert (entry["kind"], entry["actor"], entry["reason"]) == ("rollout_started", CALLER, "better")


def test_a_start_whose_event_was_lost_is_repeated_and_is_the_same_rollout(
    stand: ControlStand, signals: RecordingSignals
) -> None:
    signals.fails = True
    assert stand.post(PATH, {"version": 2}).status == 502
    signals.fails = False
    answer = stand.post(PATH, {"version": 2})
    assert answer.status == 202
    assert signals.begun == [answer.body["rollout_id"]]
    kinds = [entry["kind"] for entry in stand.get(f"/models/{MODEL}/history").body["items"]]
    assert kinds.count("rollout_started") == 1


def test_a_second_rollout_is_a_conflict_that_names_the_first(stand: ControlStand) -> None:
    stand.post(PATH, {"version": 2, "rollout_id": "r-1"})
    answer = stand.post(PATH, {"version": 3})
    assert (answer.status, answer.body["code"]) == (409, "rollout_running")
    assert "r-1" in answer.body["detail"]


@pytest.mark.parametrize(
    ("act", "status"), [("approve", "running"), ("reject", "running"), ("pause", "paused"), ("abort", "aborted")]
)
def test_a_person_steps_in(stand: ControlStand, signals: RecordingSignals, act: str, status: str) -> None:
    asking(stand)
    before = stand.get(PATH)
    assert before.body["status"] == "waiting"
    answer = stand.post(f"{PATH}/{act}", {"reason": "because"})
    assert (answer.status, answer.body["status"]) == (200, status)
    assert signals.answered == (["secret-token"] if act in ("approve", "reject") else [])
    assert "secret-token" not in json.dumps([before.body, answer.body])
    if act == "abort":
        assert answer.body["traffic"] == {"1": 100}
        assert answer.body["end"]["by"] == CALLER


def test_an_answer_that_reaches_no_workflow_is_written_down_all_the_same(
    stand: ControlStand, signals: RecordingSignals
) -> None:
    asking(stand)
    signals.fails = True
    answer = stand.post(f"{PATH}/approve")
    assert (answer.status, answer.body["approval"]["answer"]) == (200, "approved")


def test_a_paused_rollout_is_resumed(stand: ControlStand) -> None:
    asking(stand)
    stand.post(f"{PATH}/pause")
    assert stand.post(f"{PATH}/resume").body["paused"] is None
    again = stand.post(f"{PATH}/resume")
    assert (again.status, again.body["code"]) == (409, "not_paused")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (PATH, {"version": 9}, 404, "not_found"),
        (PATH, {"version": 1}, 409, "already_live"),
        (PATH, {"version": True}, 400, "invalid_request"),
        (PATH, {}, 400, "invalid_request"),
        (PATH, {"version": 2, "share": 5}, 400, "invalid_request"),
        (PATH, {"version": 2, "rollout_id": "../x"}, 400, "invalid_request"),
        (PATH, {"version": 2, "rollout_id": "r" * 101}, 400, "invalid_request"),
        (f"{PATH}/pause", None, 404, "no_rollout"),
        (f"{PATH}/explode", None, 400, "invalid_request"),
        ("/models/unknown/rollout", {"version": 1}, 404, "not_found"),
        ("/models/unknown/rollout/abort", None, 404, "not_found"),
    ],
)
def test_what_cannot_be_is_refused_in_words(stand: ControlStand, path: str, body: Any, status: int, code: str) -> None:
    answer = stand.post(path, body)
    assert (answer.status, answer.body["code"]) == (status, code), answer.body


def test_where_reasons_are_wanted_each_act_wants_one(signals: RecordingSignals) -> None:
    stand = ControlStand(signals=signals, require_reason=True).with_versions(2)
    stand.promote(1, reason="first")
    for path, body in ((PATH, {"version": 2}), (f"{PATH}/abort", {})):
        answer = stand.post(path, body)
        assert (answer.status, answer.body["code"]) == (400, "reason_required")


def test_nothing_to_show_is_said_so(stand: ControlStand) -> None:
    assert stand.get(PATH).body["code"] == "no_rollout"
    assert stand.get("/models/unknown/rollout").body["code"] == "not_found"
