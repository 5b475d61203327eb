"""The turn to train, as the registry keeps it: many at once, lost answers, processes that die."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard.errors import AWSError, UsageError
from modelyard.ports import ConditionFailedError, Put
from modelyard.retraining.turn_records import Asking, Turn, TurnAnswer
from tests.fakes.broken_stores import Outage
from tests.fakes.registries import Yard
from tests.fakes.stores import InMemoryRecordStore


def asking(run: str, **rules: Any) -> Asking:
    return Asking(run_id=run, **{"train_s": 600, "usd": 0.1} | rules)


def begun(yard: Yard, *runs: str) -> None:
    for run in runs:
        yard.registry().record_run("weather", run, status="running", trigger="upload")


def test_nobody_has_the_turn_of_a_model_that_never_trained(yard: Yard) -> None:
    assert yard.registry().turn("weather") == Turn(model="weather")


def test_of_many_at_once_one_trains_one_waits_and_the_others_are_merged_into_it(yard: Yard) -> None:
    runs = [f"run-{number}" for number in range(24)]
    begun(yard, *runs)
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda run: yard.registry().take_turn("weather", asking(run)), runs))
    by_status: dict[str, list[str]] = {}
    for run, answer in zip(runs, answers, strict=True):
        by_status.setdefault(answer.status, []).append(run)
    assert {status: len(found) for status, found in by_status.items()} == {"go": 1, "wait": 1, "merged": 22}
    assert {answer.into for answer in answers if answer.status == "merged"} == {by_status["wait"][0]}
    turn = yard.registry().turn("weather")
    assert turn.holder is not None
    assert turn.waiter is not None
    assert [turn.holder.run_id, turn.waiter.run_id] == [by_status["go"][0], by_status["wait"][0]]
    assert turn.revision == 24
    for run in by_status["merged"]:
        record = yard.registry().run("weather", run)
        assert (record.status, record.into) == ("merged", by_status["wait"][0])
        assert record.ended_at is not None
        assert record.trigger == "upload"


def test_models_have_turns_of_their_own(yard: Yard) -> None:
    registry = yard.registry()
    assert registry.take_turn("weather", asking("a")).status == "go"
    assert registry.take_turn("digits", asking("b")).status == "go"


def test_who_was_merged_is_told_so_however_late_it_asks_again(yard: Yard) -> None:
    registry = yard.registry()
    begun(yard, "a", "b", "c")
    for run in ("a", "b"):
        registry.take_turn("weather", asking(run))
    told = registry.take_turn("weather", asking("c"))
    registry.release_turn("weather", "a", usd=0.02)
    assert registry.take_turn("weather", asking("b")).status == "go"
    assert registry.take_turn("weather", asking("c")) == told
    registry.release_turn("weather", "b", usd=0.02)
    assert registry.take_turn("weather", asking("c")) == told, "also when nobody waits any more"


@pytest.mark.parametrize(
    "rules",
    [{"count": 100, "rows": 10}, {"starts": False, "rows": 10}, {"monthly_usd": 0.01}],
    ids=["too few rows", "no trigger", "too dear"],
)
def test_who_may_not_train_is_told_the_same_each_time_and_counted_once(yard: Yard, rules: dict[str, Any]) -> None:
    registry = yard.registry()
    begun(yard, "a")
    answers = [registry.take_turn("weather", asking("a", **rules)) for _ in range(3)]
    assert answers == [answers[0]] * 3
    assert registry.run("weather", "a").status == answers[0].status
    assert registry.turn("weather").rows == rules.get("rows", 0)


def test_who_was_taken_along_by_another_is_told_so(yard: Yard) -> None:
    registry = yard.registry()
    begun(yard, "a", "b", "m")
    registry.take_turn("weather", asking("a"))
    registry.release_turn("weather", "a", usd=0.0)
    assert registry.take_turn("weather", asking("b", cooldown_s=3600)).status == "wait"
    assert registry.take_turn("weather", asking("m", manual=True)).status == "go"
    answer = registry.take_turn("weather", asking("b", cooldown_s=3600))
    assert answer == TurnAnswer(status="merged", reason="merged into run m, which starts now", into="m")


def test_what_a_run_cost_stands_in_its_record_and_in_the_month(yard: Yard) -> None:
    registry = yard.registry()
    begun(yard, "a")
    registry.take_turn("weather", asking("a"))
    registry.record_run("weather", "a", status="promoted", version=3)
    for _ in range(2):
        registry.release_turn("weather", "a", usd=0.042)
    run = registry.run("weather", "a")
    assert (run.status, run.version, run.usd) == ("promoted", 3, 0.042)
    assert registry.turn("weather").spent == {"2026-11": 0.042}


def test_a_run_that_died_in_its_turn_is_recorded_by_whoever_comes_after_it(yard: Yard) -> None:
    registry = yard.registry()
    begun(yard, "a", "b", "done")
    registry.take_turn("weather", asking("a"))
    yard.clock.now = yard.clock.now.replace(hour=20)
    assert registry.take_turn("weather", asking("b")).status == "go"
    run = registry.run("weather", "a")
    assert run.status == "failed"
    assert "said nothing until its turn ended at" in run.reason


def test_a_run_that_ended_and_did_not_give_its_turn_back_keeps_its_end(yard: Yard) -> None:
    registry = yard.registry()
    begun(yard, "a")
    registry.take_turn("weather", asking("a"))
    registry.record_run("weather", "a", status="rejected", reason="no better")
    yard.clock.now = yard.clock.now.replace(hour=20)
    assert registry.take_turn("weather", asking("b")).status == "go"
    assert registry.run("weather", "a").reason == "no better"


def test_a_run_that_was_never_recorded_is_when_it_ends(yard: Yard) -> None:
    registry = yard.registry()
    registry.take_turn("weather", asking("a", starts=False))
    assert registry.run("weather", "a").status == "collected"


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
@pytest.mark.parametrize("then", ["go", "wait", "merged", "collected", "skipped"])
def test_an_outage_at_any_call_leaves_a_turn_that_the_same_question_completes(then: str, after: bool) -> None:
    rules: dict[str, Any] = {"collected": {"count": 9}, "skipped": {"monthly_usd": 0.01}}.get(then, {})
    others = {"wait": ["x"], "merged": ["x", "y"]}.get(then, [])
    for number in range(20):
        yard = Yard()
        begun(yard, "a", *others)
        for other in others:
            yard.registry().take_turn("weather", asking(other))
        outage = Outage(number, after=after)
        broken = yard.registry(records=outage.over(yard.records))
        try:
            broken.take_turn("weather", asking("a", rows=5, **rules))
        except AWSError:
            answer = yard.registry().take_turn("weather", asking("a", rows=5, **rules))
        else:
            assert number >= len(outage.calls), "only what made fewer calls can have gone well"
            break
        assert answer.status == then
        assert yard.registry().turn("weather").rows == (0 if then == "go" else 5)
        status = yard.registry().run("weather", "a").status
        assert status == ("running" if then in {"go", "wait"} else then)
    else:
        pytest.fail("it never went well")


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
def test_an_outage_while_a_turn_is_given_back_is_completed_by_saying_it_again(after: bool) -> None:
    for number in range(20):
        yard = Yard()
        begun(yard, "a")
        yard.registry().take_turn("weather", asking("a"))
        outage = Outage(number, after=after)
        try:
            yard.registry(records=outage.over(yard.records)).release_turn("weather", "a", usd=0.04)
        except AWSError:
            yard.registry().release_turn("weather", "a", usd=0.04)
        else:
            break
        turn = yard.registry().turn("weather")
        assert (turn.holder, turn.spent) == (None, {"2026-11": 0.04})
        assert yard.registry().run("weather", "a").usd == 0.04


class Overtaken(InMemoryRecordStore):
    """Somebody else is faster, once: between what a verb read and what it writes."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Any = None

    def transact(self, writes: Any) -> None:
        first, self.first = self.first, None
        if first is not None:
            first()
        super().transact(writes)


def test_whoever_was_overtaken_looks_again(yard: Yard) -> None:
    records = Overtaken()
    yard.records = records
    begun(yard, "a", "b", "c")
    records.first = lambda: yard.registry().take_turn("weather", asking("b"))
    assert yard.registry().take_turn("weather", asking("a")).status == "wait", "b has the turn"
    records.first = lambda: yard.registry().release_turn("weather", "b", usd=0.01)
    assert yard.registry().take_turn("weather", asking("c")).status == "go", "and takes what waits along"
    records.first = lambda: yard.registry().release_turn("weather", "c", usd=0.01)
    yard.registry().release_turn("weather", "c", usd=0.01)
    assert yard.registry().turn("weather").spent == {"2026-11": 0.02}
    assert yard.registry().run("weather", "a").into == "c"


def test_a_run_that_ends_meanwhile_keeps_its_end(yard: Yard) -> None:
    records = Overtaken()
    yard.records = records
    begun(yard, "a")
    yard.registry().take_turn("weather", asking("a"))
    records.first = lambda: yard.registry().record_run("weather", "a", status="promoted", version=2)
    yard.registry().release_turn("weather", "a", usd=0.01)
    run = yard.registry().run("weather", "a")
    assert (run.status, run.version, run.usd) == ("promoted", 2, 0.01)


class Contended(InMemoryRecordStore):
    """Somebody else always writes the turn first."""

    def transact(self, writes: Any) -> None:
        if any(isinstance(write, Put) and write.item["sk"] == "TURN" for write in writes):
            raise ConditionFailedError([0])
        super().transact(writes)


def test_a_turn_that_others_write_without_a_pause_is_an_error_that_the_workflow_repeats(yard: Yard) -> None:
    registry = yard.registry(records=Contended(), deadline_s=0.05)
    with pytest.raises(AWSError) as lost:
        registry.take_turn("weather", asking("a"))
    assert lost.value.code == "contended"


def test_names_and_ids_are_checked(yard: Yard) -> None:
    registry = yard.registry()
    for call in (
        lambda: registry.turn("../x"),
        lambda: registry.take_turn("weather", asking("a/b")),
        lambda: registry.release_turn("weather", ""),
        lambda: registry.claim_event("weather", "a#b", "run-1"),
    ):
        with pytest.raises(UsageError):
            call()


def test_an_event_is_claimed_by_the_first_that_asks(yard: Yard) -> None:
    with ThreadPoolExecutor(16) as pool:
        runs = set(pool.map(lambda n: yard.registry().claim_event("weather", "alarm-1", f"run-{n}"), range(16)))
    assert len(runs) == 1
    assert yard.registry().claim_event("weather", "alarm-2", "run-x") == "run-x"
    assert yard.registry().claim_event("digits", "alarm-1", "run-y") == "run-y"
