"""What a rollout does next: the order in which reasons count, and how often it is looked at."""

import datetime as dt
from typing import Any

import msgspec
import pytest

from modelyard.rollout.deciding import MOST_LOOKS, decide, next_look_s
from modelyard.rollout.observed import Given
from modelyard.rollout.plan import RolloutPlan, Shadow, Step
from modelyard.rollout.record import Approval, Rollout, Said
from modelyard.rollout.verdict import Samples, Verdict
from modelyard.times import parse_stamp, stamp

START = parse_stamp("2026-11-21T10:00:00.000000Z")
PLAN = RolloutPlan(model="m", shadow=Shadow(60, 1000), steps=(Step(5, 10), Step(50, 10)), longest_hours=72)


def at(minutes: float) -> dt.datetime:
    return START + dt.timedelta(minutes=minutes)


def rollout(phase: int = 0, **changes: Any) -> Rollout:
    parts = {
        "model": "m", "rollout_id": "r", "version": 2, "champion": 1, "deployed": 3, "started_at": stamp(START),
        "started_by": "ana", "plan": PLAN, "phase": phase, "since": stamp(START), "deadline": stamp(at(72 * 60)),
    }  # fmt: skip
    return Rollout(**{**parts, **changes})


def verdict(decision: Any = "promote", cause: str | None = None) -> Verdict:
    return Verdict(
        decision=decision, cause=cause, explanation=None, reasons=["said so"], checks=[],
        samples=Samples(300, 300, 0, 0, 0, 300, 0, 0, {}), frozen=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("minutes", "requests", "decision", "status"),
    [
        (30, 400, "promote", "continue"),  # neither the time nor the requests
        (61, 400, "promote", "move"),  # the time
        (5, 1000, "promote", "move"),  # the requests
        (61, 1000, "continue", "continue"),  # the verdict has not enough
    ],
)
def test_a_shadow_ends_when_the_verdict_is_good_and_time_or_requests_have_come(
    minutes: float, requests: int, decision: str, status: str
) -> None:
    following = decide(rollout(), verdict(decision), now=at(minutes), requests=requests)
    assert (following.status, following.phase) == (status, 1 if status == "move" else 0)


def test_a_step_takes_its_time_and_the_last_one_is_followed_by_the_promotion() -> None:
    assert decide(rollout(1), verdict(), now=at(9), requests=10_000).status == "continue"
    assert decide(rollout(1), verdict(), now=at(10), requests=1).status == "move"
    assert decide(rollout(2), verdict(), now=at(10), requests=1).status == "promote"


REFUSED = Approval("t", "token", "refused", Said("t", "ana", "too dear"))


@pytest.mark.parametrize(
    ("found", "changes", "more", "outcome", "cause"),
    [
        ("abort", {}, {}, "aborted", "slow"),
        ("abort", {"paused": Said("t", "ana")}, {}, "aborted", "slow"),
        ("promote", {"approval": REFUSED}, {}, "refused", "refused"),
        ("promote", {}, {"given": Given("not_loaded", "no such file")}, "aborted", "not_loaded"),
        ("promote", {}, {"firing": ("Latency",)}, "aborted", "alarm"),
        ("promote", {"deadline": stamp(at(20))}, {}, "undecided", "out_of_time"),
        ("abort", {"deadline": stamp(at(20))}, {}, "aborted", "slow"),
    ],
)
def test_what_is_wrong_counts_before_what_may_go_on(
    found: str, changes: dict[str, Any], more: dict[str, Any], outcome: str, cause: str
) -> None:
    plan = msgspec.structs.replace(PLAN, approval="promotion")
    following = decide(
        rollout(2, plan=plan, **changes), verdict(found, "slow" if found == "abort" else None), now=at(30), **more
    )
    assert (following.status, following.outcome, following.cause) == ("back", outcome, cause)
    assert following.reason


def test_a_person_is_asked_once_and_then_waited_for() -> None:
    plan = msgspec.structs.replace(PLAN, approval="promotion")
    approved = Approval("t", "token", "approved", Said("t", "ana"))
    for approval, status in ((None, "ask"), (Approval("t", "token"), "waiting"), (approved, "promote")):
        following = decide(rollout(2, plan=plan, approval=approval), verdict(), now=at(30))
        assert following.status == status
        assert following.wait_s == (0 if status == "promote" else 260), "people are shown when the next look is due"


def test_a_pause_keeps_it_from_going_on_and_an_alarm_that_fired_before_says_nothing() -> None:
    paused = rollout(2, paused=Said("t", "ana"), alarms=("Latency",))
    assert decide(paused, verdict(), now=at(30), firing=("Latency",)).status == "continue"


@pytest.mark.parametrize("every_s", [5, 60, 3600])
@pytest.mark.parametrize("hours", [1, 72, 744])
def test_looks_are_dense_at_first_and_never_more_than_a_history_holds(every_s: int, hours: int) -> None:
    plan = msgspec.structs.replace(PLAN, judge_every_s=every_s, longest_hours=hours)
    looks, now = 0, START
    found = rollout(plan=plan, deadline=stamp(START + dt.timedelta(hours=hours)))
    assert next_look_s(found, now) == every_s
    while now < parse_stamp(found.deadline):
        wait_s = next_look_s(msgspec.structs.replace(found, looks=looks), now)
        assert wait_s >= 1
        now += dt.timedelta(seconds=wait_s)
        looks += 1
    assert looks <= MOST_LOOKS + 2
    assert now <= parse_stamp(found.deadline) + dt.timedelta(seconds=2), "and the last is at the limit"
