"""The synthesized stack of a model's rollouts: what its workflow carries, and what its steps may reach."""

import json
from typing import Any

from modelyard.rollout.plan import decode_plan
from tests.fakes.rollouts import STEPS
from tests.fakes.states_language import definition_of
from tests.stacks.conftest import PROJECT, ending


def test_the_workflow_carries_the_plan_of_the_spec_with_the_metric_and_the_slices_of_the_evaluation(
    definition: dict[str, Any],
) -> None:
    plan = decode_plan(definition["States"]["Begin the rollout"]["Parameters"]["plan"])
    assert (plan.policy.metric, plan.policy.slices, plan.approval) == ("log_loss", ("date",), "never")
    assert [step.share for step in plan.steps] == [5, 25, 50]
    assert definition["TimeoutSeconds"] > plan.longest_hours * 3600


def test_every_task_has_a_timeout_retries_what_passes_and_is_caught(definition: dict[str, Any]) -> None:
    tasks = {name: state for name, state in definition["States"].items() if state["Type"] == "Task"}
    assert len(tasks) >= 12
    for name, state in tasks.items():
        assert 0 < state["TimeoutSeconds"] <= 3600, name
        assert state["Retry"], name
        if name not in {"Record the failure", "Failed, until it is redriven"}:
            assert state["Catch"], name


def test_no_step_reaches_another_models_records_or_captures(templates: dict[str, dict[str, Any]]) -> None:
    resources = ending(templates, "Rollout-seattle-weather")["Resources"]
    statements = [
        statement
        for item in resources.values()
        if item["Type"] == "AWS::IAM::Policy"
        for statement in item["Properties"]["PolicyDocument"]["Statement"]
    ]
    tables = [found for found in statements if "dynamodb" in json.dumps(found["Action"])]
    assert len(tables) == len(STEPS)
    for found in tables:
        assert found["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["MODEL#seattle_weather"]}}
    objects = [found for found in statements if "s3:GetObject" in json.dumps(found["Action"])]
    assert objects
    assert all("seattle_weather" in json.dumps(found["Resource"]) for found in objects)
    written = {json.dumps(found["Resource"]) for found in objects if "s3:PutObject" in json.dumps(found["Action"])}
    assert not any("captures/" in resource for resource in written)


def test_every_function_of_a_rollout_is_deployed(templates: dict[str, dict[str, Any]]) -> None:
    resources = ending(templates, "Rollout-seattle-weather")["Resources"].values()
    handlers = {item["Properties"]["Handler"] for item in resources if item["Type"] == "AWS::Lambda::Function"}
    files = {f"{path.stem}.handler" for path in (PROJECT / "functions").glob("rollout_*.py")}
    assert handlers == files


def test_a_task_token_is_not_logged(templates: dict[str, dict[str, Any]]) -> None:
    (machine,) = [
        item["Properties"]
        for item in ending(templates, "Rollout-seattle-weather")["Resources"].values()
        if item["Type"] == "AWS::StepFunctions::StateMachine"
    ]
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False


def test_retraining_ends_in_the_beginning_of_the_rollout(templates: dict[str, dict[str, Any]]) -> None:
    states = definition_of(ending(templates, "Retraining-seattle-weather"))["States"]
    begin = states["Begin the rollout"]
    assert begin["Resource"].endswith("states:startExecution")
    assert begin["Next"] == "Record the version"
    first = states["Is there a champion?"]["Choices"][0]
    assert (first["Variable"], first["Next"]) == ("$.evaluation.champion", "Make it the champion")
