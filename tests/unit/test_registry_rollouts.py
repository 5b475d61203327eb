"""Rollouts as the registry keeps them: one at a time, lost answers, processes that die, people who meet."""

import contextlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard.errors import ConflictError, ModelyardError, NotFoundError, UsageError
from modelyard.registry import Registry, Rollout
from modelyard.rollout.plan import RolloutPlan, Shadow, Step
from modelyard.rollout.steps import conclude_rollout
from modelyard.rollout.workbench import RolloutBench
from tests.fakes.broken_stores import Death, Outage
from tests.fakes.faults import Outcome, check_after_the_repetition, faults_of
from tests.fakes.invariants import Shelf
from tests.fakes.registries import Yard
from tests.fakes.rollouts import FiringAlarms
from tests.fakes.verbs import Act, Verb, versions

MODEL = "weather"
PLAN = RolloutPlan(model=MODEL, shadow=Shadow(5, 10), steps=(Step(5, 1), Step(50, 1)), approval="promotion")
EXECUTION = "arn:aws:states:eu-west-1:111122223333:execution:Rollout:r-1"


def started(registry: Registry, model: str = MODEL) -> Rollout:
    versions(3, 1)(registry, model)
    return registry.start_rollout(model, 2, rollout_id="r-1", reason="better")


def begun(registry: Registry, model: str = MODEL) -> Rollout:
    started(registry, model)
    return registry.begin_rollout(model, "r-1", plan=PLAN, execution=EXECUTION)


def in_phase(phase: int) -> Act:
    def act(registry: Registry, model: str) -> Rollout:
        rollout = begun(registry, model)
        for number in range(phase + 1):
            rollout = registry.start_phase(rollout, number, reason="on")
        return rollout

    return act


def asked(registry: Registry, model: str = MODEL) -> Rollout:
    from modelyard.rollout import record

    in_phase(2)(registry, model)
    return registry.change_rollout(
        model, "r-1", lambda found, change: record.wait_for_person(found, change, token="secret")
    )


def now(registry: Registry, model: str) -> Rollout:
    found = registry.rollout_called(model, "r-1")
    assert found is not None
    return found


def done(*codes: str) -> frozenset[str]:
    return frozenset(codes)


VERBS = [
    Verb("start: the first", lambda r, m: r.start_rollout(m, 2, rollout_id="r-1"), versions(2, 1)),
    Verb("start: without an id", lambda r, m: r.start_rollout(m, 2), versions(2, 1)),
    Verb("begin", lambda r, m: r.begin_rollout(m, "r-1", plan=PLAN, execution=EXECUTION), started),
    Verb("move: the shadow", lambda r, m: r.start_phase(now(r, m), 0), begun),
    Verb("move: a step", lambda r, m: r.start_phase(now(r, m), 1), in_phase(0)),
    Verb("move: the next step", lambda r, m: r.start_phase(now(r, m), 2), in_phase(1)),
    Verb("pause", lambda r, m: r.pause_rollout(m, reason="freeze"), in_phase(1), done("already_paused")),
    Verb(
        "resume",
        lambda r, m: r.resume_rollout(m),
        lambda r, m: [in_phase(1)(r, m), r.pause_rollout(m)],
        done("not_paused"),
    ),
    Verb("approve", lambda r, m: r.approve_rollout(m, reason="fine"), asked, done("already_answered")),
    Verb("reject", lambda r, m: r.reject_rollout(m, reason="no"), asked, done("already_answered")),
    Verb("abort: claimed", lambda r, m: r.abort_rollout(m, reason="stop"), started, done("rollout_ended")),
    Verb("abort: in a step", lambda r, m: r.abort_rollout(m, reason="stop"), in_phase(1), done("rollout_ended")),
    Verb("promote", lambda r, m: r.promote_rollout(now(r, m), reason="good"), in_phase(2)),
    Verb("take back", lambda r, m: r.take_back(now(r, m), reason="bad"), in_phase(1)),
    Verb("end", lambda r, m: r.end_rollout(m, "r-1", outcome="aborted", cause="slow", reason="slow"), in_phase(1)),
]


def registry_of(yard: Yard, outage: Outage | None = None) -> Registry:
    outage = outage or Outage()
    return Registry(
        outage.over(yard.records), outage.over(yard.artifacts), actor="ana", clock=yard.clock, sleep=lambda _: None
    )


@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_a_verb_survives_every_harm_at_every_call(verb: Verb) -> None:
    outcome = Outcome.of(verb, MODEL, Yard())
    faults = faults_of(outcome.calls)
    assert len(faults) >= 9
    for fault in faults:
        yard = Yard()
        verb.before(registry_of(yard), MODEL)
        with contextlib.suppress(ModelyardError, Death):
            verb.act(registry_of(yard, Outage(fault=fault)), MODEL)
        shelf = Shelf(yard.records, yard.artifacts, MODEL)
        assert shelf.violations() == [], fault
        assert shelf.deployment is not None
        assert shelf.deployment.challengers in ((), (2,)), fault
        try:
            verb.act(registry_of(yard), MODEL)
        except ModelyardError as refused:
            if refused.code not in verb.already:
                raise
        try:
            check_after_the_repetition(Shelf(yard.records, yard.artifacts, MODEL), outcome)
        except AssertionError as failed:
            failed.add_note(f"{verb}; {fault} ({outcome.calls[fault.at]})")
            raise


@pytest.mark.parametrize("before", ["none", "another"])
def test_of_many_that_start_at_once_one_rollout_comes(yard: Yard, before: str) -> None:
    versions(3, 1)(yard.registry(), MODEL)
    if before == "another":
        yard.registry().start_rollout(MODEL, 2, rollout_id="before")
        yard.registry().abort_rollout(MODEL, reason="another")

    def start(number: int) -> str:
        try:
            registry = yard.registry(f"person-{number}")
            return registry.start_rollout(MODEL, 2 + number % 2, rollout_id=f"r-{number}").rollout_id
        except ConflictError as refused:
            return refused.code

    with ThreadPoolExecutor(24) as pool:
        answers = Counter(pool.map(start, range(24)))
    assert answers.pop("rollout_running") == 23
    ((winner, count),) = answers.items()
    assert count == 1
    present = yard.registry().rollout(MODEL)
    assert present is not None
    assert present.rollout_id == winner
    kinds = [entry.kind for entry in yard.registry().history(MODEL, limit=100).items]
    assert kinds.count("rollout_started") == 1 + int(before == "another")


class Overtaken:
    """A store over which somebody else acts just before the first transaction."""

    def __init__(self, store: Any, act: Callable[[], Any]) -> None:
        self._store, self._act = store, [act]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def transact(self, writes: Any) -> None:
        if self._act:
            self._act.pop()()
        self._store.transact(writes)


@pytest.mark.parametrize("before", ["none", "another", "failed"])
def test_who_is_overtaken_between_looking_and_claiming_begins_nothing(yard: Yard, before: str) -> None:
    registry = yard.registry()
    versions(3, 1)(registry, MODEL)
    act = lambda: registry.start_rollout(MODEL, 3, rollout_id="first")  # noqa: E731
    if before != "none":
        registry.start_rollout(MODEL, 2, rollout_id="before")
        registry.begin_rollout(MODEL, "before", plan=PLAN, execution=EXECUTION)
        registry.end_rollout(MODEL, "before", outcome="failed" if before == "failed" else "aborted")
    if before == "failed":
        act = lambda: registry.begin_rollout(MODEL, "before", plan=PLAN, execution=EXECUTION)  # noqa: E731
    overtaken = yard.registry("late", records=Overtaken(yard.records, act))
    with pytest.raises(ConflictError, match="a model has one at a time"):
        overtaken.start_rollout(MODEL, 2, rollout_id="late")
    assert registry.rollout_called(MODEL, "late") is None
    present = registry.rollout(MODEL)
    assert present is not None
    assert present.rollout_id == ("before" if before == "failed" else "first")


@pytest.mark.parametrize("seed", range(8))
def test_whoever_moves_promotes_and_aborts_at_once_the_traffic_is_that_of_one_of_them(yard: Yard, seed: int) -> None:
    rollout = in_phase(seed % 2)(yard.registry(), MODEL)

    def act(number: int) -> str:
        registry = yard.registry(f"a-{number}")
        acts: list[Callable[[], Any]] = [
            lambda: registry.start_phase(rollout, rollout.phase + 1),
            lambda: registry.promote_rollout(rollout),
            lambda: registry.abort_rollout(MODEL, reason="stop"),
            lambda: registry.pause_rollout(MODEL),
        ]
        try:
            acts[(number + seed) % 4]()
        except ConflictError as refused:
            return refused.code
        return "done"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(act, range(8)))
    live, after = yard.registry().deployment(MODEL), yard.registry().rollout(MODEL)
    assert live is not None
    assert after is not None
    assert Shelf(yard.records, yard.artifacts, MODEL).violations() == []
    if after.outcome == "aborted":
        assert (live.champion, live.challengers) == (1, ())
    elif after.outcome == "promoted":
        assert (live.champion, live.challengers) == (2, ())
    else:
        assert (live.champion, live.challengers) == (1, (2,))


def test_an_abort_takes_back_what_a_dying_move_has_just_given(yard: Yard) -> None:
    rollout = in_phase(0)(yard.registry(), MODEL)
    dying = Outage()
    calls = iter(range(100))
    for at in calls:
        dying = Outage(at, after=True)
        with contextlib.suppress(ModelyardError):
            registry_of(yard, dying).start_phase(rollout, 1)
        live = yard.registry().deployment(MODEL)
        assert live is not None
        if live.mode == "canary":
            break
    assert now(yard.registry(), MODEL).phase == 0, "it was not written down"
    yard.registry().abort_rollout(MODEL, reason="stop")
    live = yard.registry().deployment(MODEL)
    assert live is not None
    assert (live.mode, live.champion) == ("live", 1)


class TooLate(Registry):
    """Its rollout is promoted just before it takes the traffic back; that is not written down yet."""

    def take_back(self, rollout: Rollout, *, reason: str = "", by_person: bool = False) -> bool:
        workflow = Registry(self.records, self.artifacts, actor="workflow")
        operation = rollout.operation("promote")
        workflow.promote(MODEL, rollout.version, expected_revision=rollout.deployed, operation=operation)
        return super().take_back(rollout, reason=reason, by_person=by_person)


def test_an_abort_that_a_promotion_overtakes_does_not_say_aborted(yard: Yard) -> None:
    rollout = in_phase(1)(yard.registry(), MODEL)
    with pytest.raises(ConflictError) as refused:
        TooLate(yard.records, yard.artifacts, actor="ana").abort_rollout(MODEL, reason="stop")
    assert refused.value.code == "already_live"
    assert yard.registry().promote_rollout(rollout).outcome == "promoted"
    live = yard.registry().deployment(MODEL)
    assert live is not None
    assert (live.champion, live.challengers) == (rollout.version, ())


def test_an_execution_that_is_stopped_while_it_promotes_ends_as_promoted(yard: Yard) -> None:
    in_phase(1)(yard.registry(), MODEL)
    registry = TooLate(yard.records, yard.artifacts, actor="workflow")
    bench = RolloutBench(registry, yard.artifacts, FiringAlarms(), yard.clock)
    told = conclude_rollout(bench, {"outcome": "failed", "plan": {"model": MODEL}, "run_id": "r-1"})
    assert told["status"] == now(yard.registry(), MODEL).outcome == "promoted"
    assert Shelf(yard.records, yard.artifacts, MODEL).violations() == []


def test_a_rollout_needs_a_champion_another_version_and_no_trial(yard: Yard) -> None:
    registry = yard.registry()
    versions(3)(registry, MODEL)
    for prepare, version, code in (
        (lambda: None, 2, "no_champion"),
        (lambda: registry.promote(MODEL, 1), 1, "already_live"),
        (lambda: registry.start_canary(MODEL, 3, split=5), 2, "trial_running"),
    ):
        prepare()
        with pytest.raises(ConflictError) as refused:
            registry.start_rollout(MODEL, version)
        assert refused.value.code == code
    with pytest.raises(NotFoundError):
        registry.start_rollout(MODEL, 9)
    registry.end_trial(MODEL)
    registry.start_rollout(MODEL, 2, rollout_id="mine")
    with pytest.raises(ConflictError, match="is of version 2 and not of version 3"):
        registry.start_rollout(MODEL, 3, rollout_id="mine")
    with pytest.raises(UsageError, match="at most 100"):
        registry.start_rollout(MODEL, 2, rollout_id="r" * 101)


def test_what_cannot_be_is_refused_in_words(yard: Yard) -> None:
    registry = yard.registry()
    versions(2, 1)(registry, MODEL)
    with pytest.raises(NotFoundError, match="has had no rollout"):
        registry.pause_rollout(MODEL)
    registry.start_rollout(MODEL, 2, rollout_id="r-1")
    with pytest.raises(ConflictError, match="does not wait for a person yet"):
        registry.approve_rollout(MODEL)
    with pytest.raises(ConflictError, match="is not paused"):
        registry.resume_rollout(MODEL)
    with pytest.raises(ConflictError, match="a model has one at a time"):
        registry.start_rollout(MODEL, 2, rollout_id="r-2")
    registry.abort_rollout(MODEL, reason="no")
    with pytest.raises(ConflictError, match="has ended: aborted"):
        registry.resume_rollout(MODEL)


def test_a_token_is_shown_nowhere(yard: Yard) -> None:
    rollout = asked(yard.registry())
    assert rollout.approval is not None
    assert rollout.approval.token == "secret"
    assert "secret" not in repr(rollout)
    ledger = yard.registry().history(MODEL, limit=100).items
    assert "secret" not in repr(ledger)
    ended = yard.registry().abort_rollout(MODEL, reason="no")
    assert ended.approval is not None
    assert ended.approval.token == "", "nor kept for longer than it is of use"


def test_a_failed_rollout_is_taken_up_again_unless_another_has_begun(yard: Yard) -> None:
    registry = yard.registry()
    rollout = in_phase(1)(registry, MODEL)
    registry.take_back(rollout)
    registry.end_rollout(MODEL, "r-1", outcome="failed", reason="a bug")
    again = registry.begin_rollout(MODEL, "r-1", plan=PLAN, execution=EXECUTION)
    assert (again.attempt, again.phase, again.outcome) == (2, -1, None)
    moved = registry.start_phase(again, 0)
    assert moved.phase == 0, "its changes have ids of their own"
    registry.take_back(moved)
    registry.end_rollout(MODEL, "r-1", outcome="failed", reason="a bug")
    registry.start_rollout(MODEL, 3, rollout_id="r-2")
    with pytest.raises(ConflictError, match="a model has one at a time"):
        registry.begin_rollout(MODEL, "r-1", plan=PLAN, execution=EXECUTION)


def test_the_ledger_tells_the_story(yard: Yard) -> None:
    registry = yard.registry()
    asked(registry)
    registry.pause_rollout(MODEL, reason="freeze")
    registry.resume_rollout(MODEL)
    registry.approve_rollout(MODEL, reason="fine")
    registry.promote_rollout(now(registry, MODEL), reason="good")
    entries = list(reversed(registry.history(MODEL, limit=100).items))
    told = [(entry.kind, entry.reason) for entry in entries if entry.kind.startswith("rollout")]
    assert [kind for kind, _ in told] == [
        "rollout_started", "rollout_moved", "rollout_moved", "rollout_moved", "rollout_asked", "rollout_paused",
        "rollout_resumed", "rollout_approved", "rollout_ended",
    ]  # fmt: skip
    assert dict(told)["rollout_paused"] == "freeze"
    last = entries[-1]
    assert (last.details["outcome"], last.version, last.previous) == ("promoted", 2, 1)
    assert {entry.details.get("rollout") for entry in entries if entry.kind.startswith("rollout")} == {"r-1"}
