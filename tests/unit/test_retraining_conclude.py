"""How a run that brought no live version is written down, and what each step logs."""

import json
from typing import Any

import pytest

from modelyard.errors import ConflictError, UsageError
from modelyard.retraining.bounds import file_name, listed, short
from modelyard.retraining.workbench import METRICS, run_step
from tests.fakes.training_data import weather, weather_plan
from tests.fakes.workbench import Bench, s3_event

YEAR = weather(2012)[0]


@pytest.fixture
def bench() -> Bench:
    return Bench(weather_plan())


def failed(error: str, cause: str) -> dict[str, Any]:
    return {"error": {"Error": error, "Cause": cause}}


def lambda_error(message: str, kind: str = "UsageError") -> dict[str, Any]:
    """What Step Functions catches of an exception in a function."""
    return failed(kind, json.dumps({"errorMessage": message, "errorType": kind, "stackTrace": ["  File …"]}))


def test_a_rejection_by_its_findings_is_in_the_run_and_in_the_history(bench: Bench) -> None:
    state = bench.run(bench.upload(b"date;wind\n2012-01-01;4"), "run-1")
    finding = "2012.csv: the values are separated by semicolons; expected commas"
    assert state["conclusion"] == {"status": "rejected", "reason": finding}
    run = bench.registry.run("tested", "run-1")
    assert (run.status, run.reason, run.version) == ("rejected", finding, None)
    assert run.ended_at is not None
    (entry,) = bench.registry.history("tested").items
    assert (entry.kind, entry.reason, entry.run_id, entry.details) == (
        "rejected",
        finding,
        "run-1",
        {"findings": [finding]},
    )


def test_a_conclusion_that_is_repeated_is_one_entry(bench: Bench) -> None:
    state = bench.accept(b"nothing")
    assert bench.conclude(dict(state), "rejected") == bench.conclude(dict(state), "rejected")
    assert len(bench.registry.history("tested").items) == 1


FAILURES = {
    "an error of ours": (
        lambda_error("the file is gone. Upload it again", "NotFoundError"),
        "NotFoundError: the file is gone. Upload it again",
    ),
    "out of memory": (
        failed(
            "Runtime.ExitError",
            '{"errorType":"Runtime.ExitError","errorMessage":"RequestId: 1 Error: Runtime exited with error: '
            'signal: killed"}',
        ),
        "; the step was out of memory: give it more in model.toml (training.memory_mb) and deploy",
    ),
    "out of time": (
        failed("Sandbox.Timedout", '{"errorMessage":"RequestId: 1 Error: Task timed out after 60.00 seconds"}'),
        "; the step was out of time: give it more in model.toml (training.timeout_s) and deploy",
    ),
    "out of the workflow's time": (
        failed("States.Timeout", ""),
        "; the step was out of time: give it more in model.toml (training.timeout_s) and deploy",
    ),
    "a cause that is no JSON": (failed("Lambda.Unknown", "The cause could not be determined"), "could not be det"),
    "a cause that is a list": (failed("X", "[1]"), "X: [1]"),
    "a cause cut in the middle": (failed("X", '{"errorMessage": "' + "y" * 40_000), 'X: {"errorMessage": "yyy'),
    "no cause": ({"error": {"Error": "States.Runtime"}}, "States.Runtime: no cause was given"),
    "nothing at all": ({}, "error: no cause was given"),
    "half a character": (lambda_error("\ud83c in column"), "UsageError: ? in column"),
    "a long story": (lambda_error("☔\n" * 5_000), "☔; ☔"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_is_recorded_whatever_its_cause_looks_like(bench: Bench, case: str) -> None:
    state, said = FAILURES[case]
    answer = bench.conclude(s3_event("s3_object_created") | state, "failed")
    assert said in answer["reason"]
    assert len(answer["reason"]) <= 2000
    run, (entry,) = bench.registry.run("tested", "run-1"), bench.registry.history("tested").items
    assert (run.status, run.reason, entry.kind, entry.reason) == ("failed", answer["reason"], "failed", run.reason)


def test_a_failure_is_recorded_where_no_step_understands_the_plan(bench: Bench) -> None:
    event = bench.parts("run-1", status="failed", state=lambda_error("the training plan is not valid"))
    event["plan"] = {"model": "tested", "from": "the future"}
    from modelyard.retraining.steps import conclude_run

    conclude_run(bench.workbench, event)
    assert bench.registry.run("tested", "run-1").reason == "UsageError: the training plan is not valid"


def test_a_failure_after_the_version_went_live_does_not_hide_it(bench: Bench) -> None:
    state = bench.run(bench.upload(YEAR), "run-1")
    bench.conclude(state | lambda_error("nobody could be told"), "failed", "run-1")
    run = bench.registry.run("tested", "run-1")
    assert (run.status, run.version) == ("promoted", 1)


def test_an_end_without_a_reason_says_that(bench: Bench) -> None:
    assert bench.conclude({}, "rejected")["reason"] == "no reason was given"


# -- the line of a step -----------------------------------------------------------------------------------------------


def line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (text,) = capsys.readouterr().out.splitlines()
    return json.loads(text, parse_constant=pytest.fail)  # type: ignore[no-any-return]


def test_a_step_logs_one_line_with_its_metrics(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run_step("claim", lambda *_: {"status": "ignored"}, bench.workbench, bench.parts("run-1"))
    found = line(capsys)
    assert answer == {"status": "ignored"} == found["answer"]
    assert (found["model"], found["step"], found["run_id"], found["outcome"]) == ("tested", "claim", "run-1", "ignored")
    assert (found["uploads_ignored"], found["step_errors"]) == (1, 0)
    (directive,) = found["_aws"]["CloudWatchMetrics"]
    assert {metric["Name"] for metric in directive["Metrics"]} == set(METRICS) <= set(found)
    assert directive["Dimensions"] == [["model", "step"]]


def test_an_error_of_ours_leaves_with_its_next_step_and_without_a_traceback(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    def step(*_: Any) -> dict[str, Any]:
        raise ConflictError("somebody was first", next_step="Look at the history.")

    with pytest.raises(ConflictError) as raised:
        run_step("promote", step, bench.workbench, bench.parts("run-1"))
    assert str(raised.value) == "somebody was first. Look at the history"
    found = line(capsys)
    assert (found["outcome"], found["error"], found["step_errors"]) == ("error", "ConflictError", 1)
    assert found["message"] == str(raised.value)
    assert "traceback" not in found


def test_an_error_of_ours_stays_below_what_the_workflow_keeps_of_it(bench: Bench) -> None:
    def step(*_: Any) -> dict[str, Any]:
        raise UsageError("finding\n" * 10_000)

    with pytest.raises(UsageError) as raised:
        run_step("train", step, bench.workbench, bench.parts("run-1"))
    assert len(str(raised.value)) == 2000


def test_a_defect_logs_its_traceback(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def step(*_: Any) -> dict[str, Any]:
        raise ZeroDivisionError("x")

    with pytest.raises(ZeroDivisionError):
        run_step("train", step, bench.workbench, bench.parts("run-1"))
    assert "Traceback" in line(capsys)["traceback"]


@pytest.mark.parametrize(
    "event", [{}, {"key1": "value1"}, [], None, {"plan": {}}, {"plan": {"model": "m"}}, {"plan": 1, "run_id": "r"}]
)
def test_an_event_that_is_none_of_the_workflow_is_refused_in_words(
    bench: Bench, event: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="this is no event of the retraining workflow") as refused:
        run_step("claim", lambda *_: {}, bench.workbench, event)
    assert refused.value.code == "invalid_event"
    assert line(capsys)["outcome"] == "error"


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_what_is_cut_is_cut_visibly() -> None:
    assert short("a\n\n b \r\nc") == "a; b; c"
    assert short("x" * 900) == "x" * 900
    assert short("x" * 901) == "x" * 899 + "…"
    assert short("\ud83c") == "?"
    assert short("") == ""
    assert listed(["a"] * 20) == ["a"] * 20
    assert listed(["a"] * 21) == [*["a"] * 20, "and 1 more"]
    assert listed(["☔" * 1000]) == ["☔" * 299 + "…"]
    assert file_name("m/a/b c.csv") == "b c.csv"
    assert file_name("m/folder/") == "folder"
    assert len(file_name("m/" + "x" * 1000)) == 80
