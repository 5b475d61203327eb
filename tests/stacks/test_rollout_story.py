"""The synthesized rollout workflow, run: good and bad challengers, people, others who change what is live, deaths."""

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from modelyard.errors import ConflictError
from modelyard.rollout import judging_step
from modelyard.rollout.plan import RolloutPlan, Shadow, Step
from modelyard.rollout.policy import Policy
from modelyard.rollout.verdict import Samples, Verdict
from tests.fakes.broken_stores import Fault, Harm, Outage
from tests.fakes.rollouts import MODEL, RolloutYard, raising, same, swapped
from tests.fakes.state_machine import Execution
from tests.stacks.conftest import ending

PLAN = RolloutPlan(
    model=MODEL,
    shadow=Shadow(minutes=30, requests=400),
    steps=(Step(5, 2), Step(25, 2), Step(50, 2)),
    policy=Policy(min_samples=50, max_error_rate=0.01),
    longest_hours=6,
)
BRIEF = RolloutPlan(
    model=MODEL, shadow=Shadow(minutes=2, requests=5), steps=(Step(5, 1), Step(50, 1)), approval="promotion",
    longest_hours=2,
)  # fmt: skip


def yard(definition: dict[str, Any], plan: RolloutPlan = PLAN, **settings: Any) -> RolloutYard:
    return RolloutYard(definition, plan, **{"answers": {1: same, 2: same, 3: same}, **settings})


# -- with traffic and the real verdict --------------------------------------------------------------------------------


def test_a_version_as_good_as_the_champion_goes_through_every_step_and_is_promoted(definition: dict[str, Any]) -> None:
    there = yard(definition)
    there.open(hours=4)
    execution = there.start()
    there.run(hours=4)
    assert (execution.status, there.rollout().outcome) == ("SUCCEEDED", "promoted"), there.rollout()
    assert (there.live().champion, there.live().mode) == (2, "live")
    assert execution.path[-1] == "Promoted"
    assert there.told() == ["Rollout Promoted"]
    kinds = there.kinds()
    assert kinds[0] == "rollout_started"
    assert Counter(kinds) == {
        "rollout_started": 1, "shadow_started": 1, "canary_started": 3, "rollout_moved": 4, "promoted": 1,
        "rollout_ended": 1,
    }  # fmt: skip
    document = json.loads(there.yard.artifacts.objects[f"rollouts/{MODEL}/rollout-1.json"])
    assert document["verdict"]["decision"] == "promote"
    assert document["read"]["requests"].keys() == {"0", "1", "2", "3"}
    assert there.machine.largest < 64 * 1024


@pytest.mark.parametrize(("answers", "cause"), [(swapped, "swapped_classes"), (raising, "raises")])
def test_a_bad_version_is_taken_back_in_the_shadow_and_nobody_has_seen_its_answers(
    definition: dict[str, Any], answers: Any, cause: str
) -> None:
    there = yard(definition, answers={1: same, 2: answers})
    there.open(hours=1)
    execution = there.start()
    there.run(hours=1)
    ended = there.rollout()
    assert (execution.status, ended.outcome, ended.cause, ended.phase) == ("SUCCEEDED", "aborted", cause, 0)
    assert (there.live().champion, there.live().mode) == (1, "live")
    assert there.told() == ["Rollout Aborted"]
    assert there.kinds()[-2:] == ["trial_ended", "rollout_ended"]
    assert "canary_started" not in there.kinds()


def test_a_version_that_turns_bad_in_the_first_step_is_taken_back_there(definition: dict[str, Any]) -> None:
    there = yard(definition)

    def turn_bad() -> None:
        if there.live().mode == "canary":
            there.answers[2] = raising

    there.watch = turn_bad
    there.open(hours=4)
    execution = there.start()
    there.run(hours=4)
    ended = there.rollout()
    assert (ended.outcome, ended.cause, ended.phase) == ("aborted", "raises", 1), ended
    assert execution.path[-1] == "The champion stays"
    assert there.live().champion == 1


def test_without_traffic_it_ends_undecided_at_its_limit_and_within_the_history_of_an_execution(
    definition: dict[str, Any],
) -> None:
    long = msgspec.structs.replace(PLAN, longest_hours=720, judge_every_s=5)
    there = yard(definition, long)
    there.machine.definition["TimeoutSeconds"] = 721 * 3600
    execution = there.start()
    there.run(hours=722)
    ended = there.rollout()
    assert (execution.status, ended.outcome, ended.cause) == ("SUCCEEDED", "undecided", "out_of_time")
    assert "720 hours were not enough" in (ended.end.reason if ended.end else "")
    assert execution.events < 20_000
    assert 0 <= (there.machine.now - execution.started).total_seconds() - 720 * 3600 < 3 * 3600
    assert there.live().mode == "live"


# -- with a verdict that is given -------------------------------------------------------------------------------------


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The verdict to come: to be changed by a test; no time is spent on traffic."""
    told: dict[str, Any] = {"decision": "promote", "cause": None}

    def verdict(*_: Any, **__: Any) -> Verdict:
        counted = Samples(9, 9, 0, 0, 0, 9, 0, 0, {})
        return Verdict(
            decision=told["decision"], cause=told["cause"], explanation=None, reasons=[f"said {told['decision']}"],
            checks=[], samples=counted, frozen=None,
        )  # fmt: skip

    monkeypatch.setattr(judging_step, "verdict", verdict)
    return told


@pytest.mark.usefixtures("said")
def test_a_person_is_asked_approves_and_the_workflow_goes_on_at_once(definition: dict[str, Any]) -> None:
    there = yard(definition, BRIEF)
    execution = there.start()
    there.run(hours=0.5)
    waiting = there.rollout()
    assert waiting.approval is not None
    assert (waiting.approval.answer, waiting.outcome, execution.status) == (None, None, "RUNNING")
    assert (there.live().mode, there.live().split) == ("canary", 50)
    assert there.told() == ["Rollout Asked"], "and once, however often the judge looks meanwhile"
    before = there.machine.now
    approved = there.person.approve_rollout(MODEL, reason="looks good")
    assert approved.approval is not None
    there.machine.send_task_success(approved.approval.token, {})
    there.machine.run(until=before + dt.timedelta(seconds=30))
    assert (execution.status, there.rollout().outcome) == ("SUCCEEDED", "promoted")
    assert there.kinds().count("rollout_asked") == there.kinds().count("rollout_approved") == 1
    assert "token" not in json.dumps(there.machine.told)


@pytest.mark.usefixtures("said")
def test_an_answer_whose_token_was_lost_is_read_at_the_next_look(definition: dict[str, Any]) -> None:
    there = yard(definition, BRIEF)
    execution = there.start()
    there.run(hours=0.5)
    there.person.approve_rollout(MODEL, reason="looks good")
    there.run(hours=0.25)
    assert (execution.status, there.rollout().outcome) == ("SUCCEEDED", "promoted")


@pytest.mark.usefixtures("said")
def test_a_refusal_takes_the_traffic_back(definition: dict[str, Any]) -> None:
    there = yard(definition, BRIEF)
    there.start()
    there.run(hours=0.5)
    refused = there.person.reject_rollout(MODEL, reason="too dear")
    there.machine.send_task_success(refused.approval.token, {})  # type: ignore[union-attr]
    there.run(hours=0.1)
    ended = there.rollout()
    assert (ended.outcome, ended.cause) == ("refused", "refused")
    assert "too dear" in (ended.end.reason if ended.end else "")
    assert (there.live().champion, there.live().mode) == (1, "live")
    assert there.told()[-1] == "Rollout Refused"


def test_while_a_person_is_asked_a_bad_verdict_still_takes_the_traffic_back(
    definition: dict[str, Any], said: dict[str, Any]
) -> None:
    there = yard(definition, BRIEF)
    there.start()
    there.run(hours=0.5)
    said.update(decision="abort", cause="slow")
    there.run(hours=0.1)
    assert (there.rollout().outcome, there.rollout().cause, there.live().mode) == ("aborted", "slow", "live")


@pytest.mark.usefixtures("said")
def test_nobody_answers_and_it_ends_undecided(definition: dict[str, Any]) -> None:
    there = yard(definition, BRIEF)
    execution = there.start()
    there.run(hours=3)
    assert (execution.status, there.rollout().outcome, there.live().mode) == ("SUCCEEDED", "undecided", "live")


@pytest.mark.usefixtures("said")
def test_a_paused_rollout_stays_where_it_is_until_it_is_resumed(definition: dict[str, Any]) -> None:
    there = yard(definition, msgspec.structs.replace(BRIEF, approval="never"))
    execution = there.start()
    there.run(hours=0.01)
    there.person.pause_rollout(MODEL, reason="release freeze")
    there.run(hours=1)
    assert (there.rollout().phase, execution.status) == (0, "RUNNING")
    with pytest.raises(ConflictError, match="paused already"):
        there.person.pause_rollout(MODEL)
    there.person.resume_rollout(MODEL)
    there.run(hours=0.5)
    assert there.rollout().outcome == "promoted"
    assert there.kinds().count("rollout_paused") == there.kinds().count("rollout_resumed") == 1


def test_a_bad_verdict_takes_a_paused_rollout_back(definition: dict[str, Any], said: dict[str, Any]) -> None:
    there = yard(definition, BRIEF)
    there.start()
    there.run(hours=0.01)
    there.person.pause_rollout(MODEL)
    said.update(decision="abort", cause="raises")
    there.run(hours=0.1)
    assert (there.rollout().outcome, there.live().mode) == ("aborted", "live")


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize("after_s", [1, 90, 250])
def test_a_person_ends_it_and_the_champion_answers_at_once(definition: dict[str, Any], after_s: float) -> None:
    there = yard(definition, BRIEF)
    execution = there.start()
    there.machine.run(until=there.machine.now + dt.timedelta(seconds=after_s))
    there.person.abort_rollout(MODEL, reason="wrong version")
    assert (there.live().champion, there.live().mode) == (1, "live")
    ended = there.rollout()
    assert (ended.outcome, ended.cause) == ("aborted", "stopped_by_a_person")
    there.run(hours=1)
    assert (execution.status, execution.path[-1]) == ("SUCCEEDED", "The champion stays")
    assert (there.live().champion, there.live().mode, there.rollout()) == (1, "live", ended)
    with pytest.raises(ConflictError, match="has ended: aborted"):
        there.person.abort_rollout(MODEL)


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize("after_s", [1, 90, 250])
@pytest.mark.parametrize("act", ["promote", "share"])
def test_whoever_changes_what_is_live_by_hand_ends_the_rollout_and_keeps_the_change(
    definition: dict[str, Any], act: str, after_s: float
) -> None:
    there = yard(definition, BRIEF)
    execution = there.start()
    there.machine.run(until=there.machine.now + dt.timedelta(seconds=after_s))
    if act == "promote":
        there.person.promote(MODEL, 3, reason="a hot fix")
    else:
        there.person.start_canary(MODEL, 3, split=12, reason="by hand")
    changed = there.live()
    there.run(hours=1)
    assert (execution.status, there.rollout().outcome) == ("SUCCEEDED", "superseded")
    assert there.live() == changed
    assert there.told()[-1] == "Rollout Superseded"


@pytest.mark.usefixtures("said")
def test_an_alarm_that_fires_now_ends_it_and_one_that_fired_before_does_not(definition: dict[str, Any]) -> None:
    there = yard(definition, BRIEF)
    there.alarms.now = ("Latency",)
    there.start()
    there.run(hours=0.05)
    assert there.rollout().outcome is None
    there.alarms.now = ("ErrorRate", "Latency")
    there.run(hours=0.1)
    ended = there.rollout()
    assert (ended.outcome, ended.cause, there.live().mode) == ("aborted", "alarm", "live")
    assert "ErrorRate" in (ended.end.reason if ended.end else "")


@pytest.mark.usefixtures("said")
def test_a_second_execution_begins_nothing_while_a_rollout_runs(definition: dict[str, Any]) -> None:
    there = yard(definition, BRIEF)
    there.start()
    there.run(hours=0.05)
    other = there.machine.start("run-7", {"version": 3, "reason": "the gate passed"})
    twice = there.machine.start("delivered-twice", {"detail": {"version": 2, "rollout_id": "rollout-1"}})
    assert other is not None
    assert twice is not None
    there.run(hours=0.05)
    assert (other.status, other.path[-1]) == ("SUCCEEDED", "Not begun")
    assert (twice.status, twice.path[-1]) == ("SUCCEEDED", "Begun by another execution")
    assert there.rollout().outcome is None
    assert "Rollout Not Begun" in there.told()
    assert there.person.rollout(MODEL) == there.rollout()


@pytest.mark.usefixtures("said")
def test_an_execution_that_is_stopped_from_outside_leaves_the_traffic_with_the_champion(
    definition: dict[str, Any], templates: dict[str, dict[str, Any]]
) -> None:
    there = yard(definition, BRIEF)
    execution = there.start()
    there.run(hours=0.05)
    there.machine.abort(execution)
    rules = [
        item["Properties"]
        for item in ending(templates, "Rollout-seattle-weather")["Resources"].values()
        if item["Type"] == "AWS::Events::Rule"
    ]
    (stopped,) = [rule for rule in rules if rule["EventPattern"]["source"] == ["aws.states"]]
    transformer = stopped["Targets"][0]["InputTransformer"]
    event = transformer["InputTemplate"].replace("seattle_weather", MODEL)
    for name, path in transformer["InputPathsMap"].items():
        value = {"$.detail.name": "rollout-1", "$.detail.status": "ABORTED"}[path]
        event = event.replace(f"<{name}>", json.dumps(value) if f'"<{name}>"' not in event else value)
    there.steps["Conclude"](json.loads(event))
    ended = there.rollout()
    assert (ended.outcome, there.live().champion, there.live().mode) == ("failed", 1, "live")
    assert "ended from outside: ABORTED" in (ended.end.reason if ended.end else "")


# -- deaths -----------------------------------------------------------------------------------------------------------

QUICK = msgspec.structs.replace(BRIEF, approval="never", shadow=Shadow(minutes=1, requests=1), steps=(Step(5, 1),))


def check_traffic(there: RolloutYard) -> None:
    """At any time: a version that exists answers, and the challenger no more than a step gives it."""
    live = there.live()
    assert live.champion in (1, 2)
    assert live.challengers in ((), (2,))
    assert live.split in (0, 5)


def calls_of(definition: dict[str, Any], step: str) -> list[int]:
    """How many calls of a store each invocation of a step makes, when nothing disturbs it."""
    there, outages = yard(definition, QUICK), list[Outage]()

    def counted() -> Outage:
        outages.append(Outage())
        return outages[-1]

    there.dies(step, counted)
    there.start()
    there.run(hours=1)
    assert there.rollout().outcome == "promoted"
    return [len(outage.calls) for outage in outages]


def died_once(definition: dict[str, Any], step: str, invocation: int, at: int, harm: Harm) -> None:
    there = yard(definition, QUICK)
    invocations = iter(range(1000))

    def outage() -> Outage:
        return Outage(fault=Fault(at, harm)) if next(invocations) == invocation else Outage()

    there.dies(step, outage)
    there.watch = lambda: check_traffic(there)
    there.open(hours=0.5)
    there.requests = 1
    execution = there.start()
    there.run(hours=1)
    assert (execution.status, there.rollout().outcome, there.live().champion) == ("SUCCEEDED", "promoted", 2)
    assert Counter(there.kinds()) == {
        "rollout_started": 1, "shadow_started": 1, "canary_started": 1, "rollout_moved": 2, "promoted": 1,
        "rollout_ended": 1,
    }, "nothing twice"  # fmt: skip


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize("step", ["Begin", "Move", "Judge", "Promote"])
def test_a_step_may_die_at_any_call_of_aws_and_the_rollout_goes_on(definition: dict[str, Any], step: str) -> None:
    points = 0
    for invocation, calls in enumerate(calls_of(definition, step)):
        for at in range(calls):
            for harm in (Harm.DIED_BEFORE, Harm.DIED_AFTER, Harm.UNANSWERED):
                try:
                    died_once(definition, step, invocation, at, harm)
                except Exception as failed:
                    failed.add_note(f"{step}, invocation {invocation}, call {at}: {harm}")
                    raise
                points += 1
    assert points >= 12


def always_dying(definition: dict[str, Any], step: str, at: int, harm: Harm) -> Iterator[tuple[RolloutYard, Execution]]:
    there = yard(definition, QUICK)
    there.dies(step, lambda: Outage(fault=Fault(at, harm)))
    execution = there.start()
    there.run(hours=1)
    check_traffic(there)
    yield there, execution


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize("step", ["Begin", "Move", "Judge", "Promote"])
def test_a_step_that_always_dies_leaves_a_valid_version_and_is_taken_up_by_a_redrive(
    definition: dict[str, Any], step: str
) -> None:
    for at in range(max(calls_of(definition, step))):
        for harm in (Harm.DIED_BEFORE, Harm.DIED_AFTER):
            for there, execution in always_dying(definition, step, at, harm):
                if execution.status == "SUCCEEDED":  # no invocation of it came so far
                    assert there.live().champion == 2
                    continue
                assert (execution.status, execution.error) == ("FAILED", "RolloutFailedError"), (at, harm)
                assert there.live().challengers == (), (at, harm)
                there.repaired()
                there.machine.redrive(execution)
                there.run(hours=1)
                assert (execution.status, there.live().champion) == ("SUCCEEDED", 2), (at, harm)
                assert there.live().mode == "live"


@pytest.mark.parametrize("harm", [Harm.DIED_BEFORE, Harm.DIED_AFTER])
def test_the_last_step_may_die_at_any_call_and_the_traffic_goes_back_all_the_same(
    definition: dict[str, Any], said: dict[str, Any], harm: Harm
) -> None:
    for at in range(30):
        there = yard(definition, QUICK)
        said.update(decision="promote", cause=None)
        invocations = iter(range(1000))
        died = Outage(fault=Fault(at, harm))
        there.dies("Conclude", lambda: died if next(invocations) == 0 else Outage())  # noqa: B023 - called in the loop
        execution = there.start()
        there.machine.run(until=there.machine.now + dt.timedelta(seconds=90))
        said.update(decision="abort", cause="raises")
        there.run(hours=1)
        assert (execution.status, there.rollout().outcome, there.rollout().cause) == ("SUCCEEDED", "aborted", "raises")
        assert (there.live().champion, there.live().mode) == (1, "live")
        assert Counter(there.kinds())["rollout_ended"] == Counter(there.kinds())["trial_ended"] == 1
        if not died.happened:
            return
    raise AssertionError("it never came to its end")
