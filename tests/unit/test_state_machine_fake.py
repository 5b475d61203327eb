"""The stand-in for Step Functions does what the Amazon States Language says of what our workflow uses."""

import datetime as dt
import json
from typing import Any

import pytest

from tests.fakes.state_machine import MOST_EVENTS, Execution, StateMachine
from tests.fakes.states_language import StateError, definition_of, found

ARN = "arn:aws:lambda:eu-west-1:111122223333:function:"


def task(step: str, then: str | None = None, **more: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": ARN + step, **({"End": True} if then is None else {"Next": then}), **more}


def machine(states: dict[str, Any], functions: dict[str, Any] | None = None, **more: Any) -> StateMachine:
    whole = {"StartAt": next(iter(states)), "States": states, **more.pop("whole", {})}
    return StateMachine(whole, functions or {}, **more)


def finished(found: StateMachine, given: Any = None) -> Execution:
    execution = found.start("run-1", {} if given is None else given)
    assert execution is not None
    found.run()
    return execution


def test_a_task_gets_its_parameters_and_puts_its_answer_where_it_belongs() -> None:
    got: list[Any] = []
    parameters = {"run_id.$": "$$.Execution.Name", "deep": {"x.$": "$.a.b[1]"}, "fixed": [1, {"y.$": "$.c"}], "z": None}
    states = {"One": task("One", Parameters=parameters, ResultPath="$.said.one")}
    run = finished(
        machine(states, {"One": lambda given: got.append(given) or {"ok": 1}}), {"a": {"b": [1, 2]}, "c": "d"}
    )
    assert got == [{"run_id": "run-1", "deep": {"x": 2}, "fixed": [1, {"y": "d"}], "z": None}]
    assert (run.status, run.output) == ("SUCCEEDED", {"a": {"b": [1, 2]}, "c": "d", "said": {"one": {"ok": 1}}})
    assert run.path == ["One"]


def test_the_invoke_integration_wraps_the_answer_and_a_selector_unwraps_it() -> None:
    invoke = {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True,
        "Parameters": {"FunctionName": ARN + "One", "Payload": {"x.$": "$.x"}},
        "ResultSelector": {"n.$": "$.Payload.n"},
    }  # fmt: skip
    assert finished(machine({"A": invoke}, {"One": lambda given: {"n": given["x"] + 1}}), {"x": 1}).output == {"n": 2}


def test_other_services_are_called_by_their_name_and_events_are_kept() -> None:
    job = {"Type": "Task", "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync", "Next": "Tell"}
    entries = [{"Source": "modelyard", "DetailType": "Run Failed", "Detail": {"run.$": "$$.Execution.Name"}}]
    tell = {
        "Type": "Task",
        "Resource": "arn:aws:states:::events:putEvents",
        "Parameters": {"Entries": entries},
        "End": True,
    }
    done = machine(
        {"Job": job, "Tell": tell}, {"sagemaker:createTrainingJob.sync": lambda given: {"State": "Completed"}}
    )
    assert finished(done).status == "SUCCEEDED"
    assert done.told == [{"Source": "modelyard", "DetailType": "Run Failed", "Detail": {"run": "run-1"}}]
    with pytest.raises(LookupError, match="for which nothing stands here"):
        finished(machine({"One": task("One")}, {"Two": lambda given: given}))


@pytest.mark.parametrize(
    ("rule", "given", "holds"),
    [
        ({"Variable": "$.a", "StringEquals": "x"}, {"a": "x"}, True),
        ({"Variable": "$.a", "StringEquals": "x"}, {"a": None}, False),
        ({"Variable": "$.a", "BooleanEquals": True}, {"a": True}, True),
        ({"Variable": "$.a", "BooleanEquals": True}, {"a": 1}, False),
        ({"Variable": "$.a", "IsNull": True}, {"a": None}, True),
        ({"Variable": "$.a", "IsPresent": False}, {}, True),
        ({"Variable": "$.a", "IsPresent": True}, {"a": None}, True),
        ({"Variable": "$.a", "NumericGreaterThanEquals": 2}, {"a": 2}, True),
        ({"Variable": "$.a", "NumericEqualsPath": "$.b"}, {"a": 2, "b": 3}, False),
        ({"Not": {"Variable": "$.a", "IsNull": True}}, {"a": 1}, True),
        ({"And": [{"Variable": "$.a", "IsPresent": True}, {"Variable": "$.a", "NumericLessThan": 2}]}, {"a": 1}, True),
        ({"Or": [{"Variable": "$.a", "IsNull": True}, {"Variable": "$.a", "NumericGreaterThan": 2}]}, {"a": 1}, False),
        ({"Variable": "$$.Execution.RedriveCount", "NumericGreaterThan": 0}, {}, False),
    ],
)
def test_a_choice_goes_where_its_first_true_rule_says(rule: dict[str, Any], given: dict[str, Any], holds: bool) -> None:
    states = {
        "A": {"Type": "Choice", "Choices": [{**rule, "Next": "Yes"}], "Default": "No"},
        "Yes": {"Type": "Succeed"},
        "No": {"Type": "Fail", "Error": "No", "Cause": "no"},
    }
    assert finished(machine(states), given).path[-1] == ("Yes" if holds else "No")


def test_a_path_that_is_not_there_ends_the_execution_and_nothing_catches_it() -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    states = {"A": task("One", Parameters={"x.$": "$.gone"}, Catch=catch), "Caught": {"Type": "Succeed"}}
    run = finished(machine(states, {"One": lambda given: given}))
    assert (run.status, run.error, run.cause) == ("FAILED", "States.Runtime", "$.gone is not in the state")


def test_text_is_formatted_with_what_a_path_points_at() -> None:
    assert found("States.Format('report tested --run {}', $$.Execution.Name)", {}, {"Execution": {"Name": "r-1"}}) == (
        "report tested --run r-1"
    )


def test_what_is_no_plain_path_is_refused() -> None:
    for path in ("States.Format('{} {}', $.a, $.b)", "States.UUID()", "$.a[*]", "$..a", "$.a['b']"):
        with pytest.raises(NotImplementedError, match="is no plain path"):
            found(path, {"a": {"b": 1}}, {})


def test_waits_take_virtual_time_only() -> None:
    states: dict[str, Any] = {
        "A": {"Type": "Wait", "Seconds": 10, "Next": "B"},
        "B": {"Type": "Wait", "SecondsPath": "$.wait_s", "Next": "C"},
        "C": {"Type": "Wait", "TimestampPath": "$.then", "Next": "D"},
        "D": {"Type": "Pass", "Result": {"x": 1}, "ResultPath": "$.d", "End": True},
    }
    going = machine(states)
    began = going.now
    run = finished(going, {"wait_s": 86_400 * 300, "then": (began + dt.timedelta(days=400)).isoformat()})
    assert run.ended == began + dt.timedelta(days=400)
    assert run.output["d"] == {"x": 1}
    assert finished(machine(states), {"wait_s": "7"}).error == "States.Runtime"


def test_a_retry_waits_longer_each_time_and_then_the_catch_gets_the_error() -> None:
    tries: list[float] = []

    def fails(_: dict[str, Any]) -> None:
        tries.append((going.now - began).total_seconds())
        raise StateError("Lambda.ServiceException", "busy")

    retry = [{"ErrorEquals": ["Lambda.ServiceException"], "IntervalSeconds": 2, "MaxAttempts": 3, "BackoffRate": 2}]
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught", "ResultPath": "$.error"}]
    states = {"A": task("One", Retry=retry, Catch=catch), "Caught": {"Type": "Succeed"}}
    going = machine(states, {"One": fails}, seconds=lambda _: 0)
    began = going.now
    run = finished(going, {"kept": 1})
    assert tries == [0, 2, 6, 14]
    assert run.output == {"kept": 1, "error": {"Error": "Lambda.ServiceException", "Cause": "busy"}}
    assert run.transitions == 5, "each retry is one"


def test_an_exception_of_a_function_has_the_name_of_its_class() -> None:
    def fails(_: dict[str, Any]) -> None:
        raise ValueError("wrong")

    run = finished(machine({"A": task("One")}, {"One": fails}))
    assert (run.status, run.error) == ("FAILED", "ValueError")
    assert json.loads(str(run.cause))["errorMessage"] == "wrong"


@pytest.mark.parametrize(("names", "caught"), [(["States.TaskFailed"], False), (["States.Timeout"], True)])
def test_a_task_that_takes_too_long_times_out_and_has_its_effect_all_the_same(names: list[str], caught: bool) -> None:
    done: list[int] = []
    catch = [{"ErrorEquals": names, "Next": "Caught"}]
    states = {"A": task("One", TimeoutSeconds=5, Catch=catch), "Caught": {"Type": "Succeed"}}
    run = finished(machine(states, {"One": lambda given: done.append(1)}, seconds=lambda _: 9))
    assert (run.status == "SUCCEEDED") is caught
    assert done == [1]


def test_a_state_that_is_too_large_ends_the_execution_and_nothing_catches_it() -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    states = {"A": task("One", Catch=catch), "Caught": {"Type": "Succeed"}}
    going = machine(states, {"One": lambda given: "x" * 300_000})
    assert finished(going).error == "States.DataLimitExceeded"
    assert going.largest > 300_000


def test_an_execution_that_never_ends_runs_out_of_history() -> None:
    states = {
        "A": task("One", "B"),
        "B": {"Type": "Choice", "Choices": [{"Variable": "$.go", "BooleanEquals": True, "Next": "A"}], "Default": "C"},
        "C": {"Type": "Wait", "Seconds": 60, "Next": "A"},
    }
    run = finished(machine(states, {"One": lambda given: {"go": False}}))
    assert run.status == "FAILED"
    assert run.events >= MOST_EVENTS
    assert 2600 < run.path.count("C") < 2800, "nine events for each round"


def test_the_whole_execution_has_a_deadline() -> None:
    states = {"A": {"Type": "Wait", "Seconds": 100, "Next": "B"}, "B": {"Type": "Succeed"}}
    going = machine(states, whole={"TimeoutSeconds": 50})
    assert (finished(going).status, (going.now - going.executions["run-1"].started).total_seconds()) == (
        "TIMED_OUT",
        100,
    )


def test_a_name_is_started_once() -> None:
    going = machine({"A": {"Type": "Succeed"}})
    assert going.start("run-1", {}) is not None
    assert going.start("run-1", {}) is None


def test_a_redrive_runs_the_failed_task_again_with_what_it_got() -> None:
    got: list[Any] = []

    def second(given: dict[str, Any]) -> dict[str, Any]:
        got.append(given)
        if given["redrives"] == 0:
            raise ValueError("not yet")
        return {}

    parameters = {"redrives.$": "$$.Execution.RedriveCount", "first.$": "$.first"}
    states = {"A": task("One", "B", ResultPath="$.first"), "B": task("Two", Parameters=parameters, ResultPath=None)}
    going = machine(states, {"One": lambda given: {"n": 1}, "Two": second})
    run = finished(going, {"x": 1})
    assert run.status == "FAILED"
    going.redrive(run)
    going.run()
    assert (run.status, run.redrives, run.path) == ("SUCCEEDED", 1, ["A", "B", "B"])
    assert got == [{"redrives": 0, "first": {"n": 1}}, {"redrives": 1, "first": {"n": 1}}]
    with pytest.raises(ValueError, match="SUCCEEDED: not redrivable"):
        going.redrive(run)


def test_a_redrive_of_a_fail_state_only_fails_again() -> None:
    going = machine({"A": {"Type": "Fail", "ErrorPath": "$.e", "CausePath": "$.c"}})
    run = finished(going, {"e": "Bad", "c": "why"})
    going.redrive(run)
    going.run()
    assert (run.status, run.error, run.cause, run.path) == ("FAILED", "Bad", "why", ["A", "A"])


def test_an_execution_that_is_stopped_goes_no_further_and_can_be_redriven() -> None:
    done: list[int] = []
    going = machine({"A": task("One", "B"), "B": {"Type": "Succeed"}}, {"One": lambda given: done.append(1)})
    run = going.start("run-1", {})
    assert run is not None
    going.abort(run)
    going.run()
    assert (run.status, run.path, done) == ("ABORTED", ["A"], [1]), "what was called goes on"
    going.redrive(run)
    going.run()
    assert (run.status, run.path, done) == ("SUCCEEDED", ["A", "A", "B"], [1, 1])


def test_the_same_seed_gives_the_same_order_and_another_seed_another() -> None:
    def order(seed: int) -> list[str]:
        said: list[str] = []
        going = machine({"A": task("One")}, {"One": lambda given: said.append(given["n"])}, seed=seed)
        for number in range(20):
            going.at(0, lambda n=number: going.start(f"run-{n}", {"n": n}))
        going.run()
        return said

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == list(range(20))


def test_a_synthesized_definition_is_read_with_its_functions_by_name() -> None:
    text = ['{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"', {"Fn::GetAtt": ["RetrainingClaim1A2B", "Arn"]}]
    text += ['","Next":"B"},"B":{"Type":"Pass","Result":"arn:', {"Ref": "AWS::Partition"}, ':x","End":true}}}']
    template = {
        "Resources": {
            "Other": {"Type": "AWS::S3::Bucket"},
            "M": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {"DefinitionString": {"Fn::Join": ["", text]}},
            },
        }
    }
    definition = definition_of(template)
    assert definition["States"]["A"]["Resource"] == "RetrainingClaim1A2B"
    assert (
        finished(StateMachine(definition, {"Claim": lambda given: {}, "Train": lambda given: {}})).output == "arn:aws:x"
    )
