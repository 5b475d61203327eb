"""The synthesized workflow, run: uploads arrive late, often and in any order, and a run that fails is redriven."""

import json
from collections import Counter
from typing import Any

import pytest

from modelyard.report.onwards import STATES
from modelyard.training.plan import Plan, decode_plan
from tests.fakes.deliveries import Yard, check_runs, deliveries
from tests.fakes.state_machine import Execution
from tests.fakes.states_language import definition_of
from tests.fakes.trigger_events import manual_input
from tests.stacks.conftest import Synthesized


def story(synthesized: Synthesized) -> tuple[dict[str, Any], Plan]:
    """The definition, and the plan that it carries, both about the model of the tests."""
    text = json.dumps(definition_of(synthesized.template("Retraining-seattle-weather")))
    definition = json.loads(text.replace("seattle_weather", "tested"))
    return definition, decode_plan(definition["States"]["Claim the trigger"]["Parameters"]["plan"])


@pytest.fixture
def yard(prod: Synthesized) -> Yard:
    definition, plan = story(prod)
    return Yard(plan, seed=3, mishaps=0.02, story=definition)


def test_uploads_that_are_delivered_often_and_in_any_order_end_as_one_run_each(yard: Yard) -> None:
    uploaded = deliveries(yard, files=150, keys=20, times=4, over_s=3600)
    yard.machine.run()
    check_runs(yard, uploaded)
    assert {execution.status for execution in yard.machine.executions.values()} == {"SUCCEEDED"}
    statuses = Counter(run.status for run in yard.runs())
    assert statuses["promoted"] == len(yard.trainings)
    assert set(statuses) == {"promoted", "merged", "superseded", "rejected"}
    assert yard.machine.largest < 128 * 1024
    told = Counter(entry["DetailType"] for entry in yard.machine.told)
    assert told["Run Promoted"] == statuses["promoted"]
    assert told["Run Rejected"] == statuses["rejected"]


def test_a_report_calls_the_states_as_the_workflow_does(prod: Synthesized) -> None:
    definition, _ = story(prod)
    for step, name in STATES.items():
        assert definition["States"][name]["Type"] == "Task", step


def failing(yard: Yard, step: str) -> None:
    """From now on this step fails, as it would with a bug."""
    works = yard.steps[step]

    def fails(event: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError(f"{step} is broken")

    yard.steps[step] = fails
    yard.repair = lambda: yard.steps.__setitem__(step, works)


@pytest.mark.parametrize("step", ["Claim", "Validate", "Turn", "Prepare", "Train", "Evaluate", "Register", "Promote"])
def test_a_run_that_failed_is_recorded_told_about_and_goes_on_from_there_when_it_is_redriven(
    yard: Yard, step: str
) -> None:
    yard.mishaps = 0.0
    failing(yard, step)
    execution: Execution = yard.deliver(yard.upload("tested/2012.csv", b"1"))
    yard.machine.run()
    assert (execution.status, execution.error) == ("FAILED", "RunFailedError")
    assert f"{step} is broken" in str(execution.cause)
    (run,) = yard.runs()
    assert run.status == "failed"
    assert yard.registry.turn("tested").holder is None, "the next run need not wait for the lease"
    assert [entry["DetailType"] for entry in yard.machine.told] == ["Run Failed"]
    yard.repair()
    entered = Counter(execution.path)
    yard.machine.redrive(execution)
    yard.machine.run()
    assert execution.status == "SUCCEEDED"
    again = Counter(execution.path) - entered
    order = ["Claim", "Validate", "Prepare", "Train", "Evaluate", "Register", "Promote"]
    done = order.index("Prepare" if step == "Turn" else step)
    steps = ["Claim the trigger", "Validate the data", "Prepare the data", "Train the candidates"]
    steps += ["Evaluate against the champion", "Register the version", "Make it the champion"]
    assert [again[name] for name in steps] == [0] * done + [1] * (7 - done)
    assert again["Take a turn"] >= 1, "and takes a turn for it"
    assert (yard.runs()[0].status, yard.registry.turn("tested").holder) == ("promoted", None)


def test_a_run_without_a_file_is_not_validated(yard: Yard) -> None:
    yard.deliver(yard.upload("tested/2012.csv", b"1"))
    yard.machine.run()
    execution = yard.deliver(manual_input())
    yard.machine.run()
    assert execution.status == "SUCCEEDED"
    assert "Validate the data" not in execution.path
    assert execution.path[-1] == "Promoted"
