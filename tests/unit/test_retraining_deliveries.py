"""Ten thousand deliveries of uploads, duplicated, shuffled and overwritten: each file once, one training at a time.

The workflow runs in a Step Functions of the tests with a virtual clock: see ``tests/fakes/deliveries.py``.
"""

import datetime as dt
import functools
import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from modelyard.retraining.concluding import conclude_run
from modelyard.retraining.turn_records import OVER
from modelyard.retraining.turns import BEYOND_TRAINING_S, GRACE_S
from modelyard.training.plan import Plan, Trigger
from tests.fakes.deliveries import Yard, check_runs, deliveries
from tests.fakes.state_machine import Execution
from tests.fakes.training_data import weather_plan
from tests.fakes.trigger_events import alarm_event, manual_input, schedule_input

LEASE = dt.timedelta(seconds=weather_plan().training.timeout_s + BEYOND_TRAINING_S)


def with_trigger(**rules: Any) -> Plan:
    return msgspec.structs.replace(weather_plan(), triggers=(Trigger(prefix="tested/", **rules),))


def test_of_ten_thousand_deliveries_each_object_version_has_one_run_and_no_stale_one_wins() -> None:
    yard = Yard(with_trigger(), seed=1, mishaps=0.02)
    uploaded = deliveries(yard, files=1000, keys=60, times=10, over_s=4 * 3600)
    yard.machine.run()
    assert len(yard.machine.executions) > 9_800
    assert len(uploaded) == 1000
    check_runs(yard, uploaded)
    ends = Counter(execution.status for execution in yard.machine.executions.values())
    assert set(ends) == {"SUCCEEDED"}
    statuses = Counter(run.status for run in yard.runs())
    assert statuses["promoted"] == len(yard.trainings) > 20
    assert statuses["merged"] > statuses["promoted"], "most files join a training that is to come"
    assert statuses["superseded"] > 100
    assert statuses["rejected"] > 10
    # Every newest file that is valid was accepted; a file that is not valid leaves the one before it in its place.
    for key in {key for key, _ in uploaded}:
        found = {version: content for (name, version), content in uploaded.items() if name == key}
        last = max(found)
        if not found[last].startswith(b"bad"):
            assert yard.trainings[-1].learnt[key] == last
    assert yard.machine.largest < 64 * 1024
    assert max(execution.events for execution in yard.machine.executions.values()) < 2_000


def test_a_run_that_stops_anywhere_blocks_nobody_for_longer_than_its_lease() -> None:
    """Nobody records that it ended, and its turn is not given back."""
    for seed in range(3):
        yard = Yard(with_trigger(debounce_s=30), seed=seed, mishaps=0.02)
        uploaded = deliveries(yard, files=150, keys=30, times=2, over_s=6 * 3600)
        killed = kill_some(yard, share=0.2)
        yard.machine.at(12 * 3600, lambda yard=yard: yard.deliver(yard.upload("tested/last.csv", b"last")) and None)
        yard.machine.run()
        longest = max(
            execution.ended - execution.started
            for execution in yard.machine.executions.values()
            if execution.name not in killed and execution.ended is not None
        )
        assert longest <= LEASE + dt.timedelta(seconds=GRACE_S), "the lease of a holder, then its own training"
        assert list(yard.overlaps()) == []
        left = {run.run_id for run in yard.runs() if run.status == "running"}
        assert left <= killed, "nobody but the killed is left, and of those only who had not asked for a turn"
        assert yard.trainings[-1].learnt == yard.newest_accepted()
        assert len(killed) > 12
        assert any(training.run_id in killed for training in yard.trainings), "some were killed in their turn"
        assert len(yard.runs()) == len(uploaded) + 1 - len(unclaimed(yard, uploaded))


def test_where_the_end_of_an_execution_is_told_no_run_stays_unfinished_and_the_turn_is_free_at_once() -> None:
    yard = Yard(with_trigger(), seed=5, mishaps=0.02)
    deliveries(yard, files=150, keys=30, times=2, over_s=6 * 3600)

    def told(execution: Execution) -> None:
        state = {"error": {"Error": "States.Aborted", "Cause": "the execution was stopped"}}
        parts = {"plan": msgspec.to_builtins(yard.plan), "run_id": execution.name, "status": "failed", "state": state}
        conclude_run(yard.workbench, parts)

    killed = kill_some(yard, share=0.2, told=told)
    yard.machine.at(12 * 3600, lambda: yard.deliver(yard.upload("tested/last.csv", b"last")) and None)
    yard.machine.run()
    assert len(killed) > 20
    ends = {run.run_id: run.status for run in yard.runs()}
    assert "running" not in ends.values()
    # In its last task an execution is stopped too late: what that does, it does.
    assert yard.trainings[-1].learnt == yard.newest_accepted()
    durations = [e.ended - e.started for e in yard.machine.executions.values() if e.ended is not None]
    assert max(durations) < dt.timedelta(seconds=1800)


def kill_some(yard: Yard, *, share: float, told: Callable[[Execution], None] | None = None) -> set[str]:
    """Stop some of the executions that start from now on, somewhere on their way."""
    killed: set[str] = set()
    deliver = yard.deliver

    def stop(execution: Execution) -> None:
        if execution.running:
            killed.add(execution.name)
            yard.machine.abort(execution)
            if told is not None:
                yard.machine.at(2.0, lambda: told(execution))

    def delivered(event: dict[str, Any]) -> Execution:
        execution = deliver(event)
        if yard.machine.random.random() < share and "last" not in str(event):
            yard.machine.at(yard.machine.random.choice((0.3, 2.0, 10.0, 100.0, 200.0)), lambda: stop(execution))
        return execution

    yard.deliver = delivered  # type: ignore[method-assign]
    return killed


def unclaimed(yard: Yard, uploaded: dict[tuple[str, str], bytes]) -> set[tuple[str, str]]:
    """Object versions that no run claimed, because all that could were stopped before."""
    about = {(run.object["key"], run.object["version_id"]) for run in yard.runs() if run.object is not None}
    return set(uploaded) - about


@pytest.mark.parametrize("seed", range(3))
def test_debounce_and_cooldown_are_kept_whatever_arrives(seed: int) -> None:
    debounce, cooldown = 120, 3600
    yard = Yard(with_trigger(debounce_s=debounce, cooldown_s=cooldown), seed=seed, mishaps=0.02)
    uploaded = deliveries(yard, files=200, keys=40, times=2, over_s=8 * 3600)
    yard.machine.run()
    check_runs(yard, uploaded)
    began = [training.began for training in yard.trainings]
    gaps = [(after - before).total_seconds() for before, after in itertools.pairwise(began)]
    assert min(gaps) >= cooldown - 30, "the turn was taken a little before the data were read"
    assert 6 <= len(began) <= 11, "about once an hour, and the last one after everything"
    assert max(len(execution.path) for execution in yard.machine.executions.values()) < 400


def test_all_kinds_of_triggers_share_one_turn() -> None:
    triggers = (
        Trigger(kind="labels", prefix="tested/labels/", count=50),
        Trigger(kind="upload", prefix="tested/daily/", debounce_s=60),
        Trigger(kind="schedule", cron="0 * * * ? *"),
        Trigger(kind="alarm", alarms=("drift",), cooldown_s=1800),
    )
    yard = Yard(msgspec.structs.replace(weather_plan(), triggers=triggers), seed=9, mishaps=0.02)
    chance = random.Random(9)  # noqa: S311 - the order of a test
    events: list[dict[str, Any]] = []
    for hour in range(24):
        events.append(schedule_input(2, f"2026-11-22T{hour:02}:00:00Z"))
        events.append(alarm_event(id=f"alarm-{hour}"))
        events.append(alarm_event("Quality", id=f"quality-{hour}"))
        events.append(manual_input())
    for at, event in enumerate(events):
        for _ in range(1 if event.get("trigger") == "manual" else 3):
            yard.machine.at(900 * at + chance.uniform(0, 300), functools.partial(yard.deliver, event))
    for number in range(120):
        folder = chance.choice(("labels", "daily", "other"))
        put = functools.partial(yard.upload, f"tested/{folder}/{number}.csv", f"{number:x}".encode())
        yard.machine.at(chance.uniform(0, 86_000), lambda put=put: yard.deliver(put()) and None)
    yard.machine.at(90_000, lambda: yard.deliver(manual_input()) and None)
    yard.machine.run()
    runs = yard.runs()
    by_kind = Counter((run.trigger, run.status) for run in runs)
    assert sum(count for (kind, _), count in by_kind.items() if kind == "schedule") == 24
    assert sum(count for (kind, _), count in by_kind.items() if kind == "alarm") == 24, "no quality alarm starts one"
    assert sum(count for (kind, _), count in by_kind.items() if kind == "manual") == 25
    assert {status for kind, status in by_kind if kind == "collect"} == {"collected"}
    assert by_kind["labels", "collected"] > 20
    assert {run.status for run in runs} <= {"promoted", *OVER}
    assert all(run.into is not None for run in runs if run.status == "merged")
    assert list(yard.overlaps()) == []
    assert yard.trainings[-1].learnt == yard.newest_accepted()
