"""How a run that brought no live version is written down, how it is taken up again, and what each step logs."""

import json
from typing import Any

import pytest

from modelyard.errors import ConflictError, UsageError
from modelyard.report import page_key
from modelyard.report.onwards import STATES
from modelyard.retraining.bounds import file_name, listed, short
from modelyard.retraining.concluding import NOTHING, QUIET, STEPS, RunFailedError, conclude_run, first_missing
from modelyard.retraining.workbench import METRICS, run_step
from tests.fakes.html_pages import Page
from tests.fakes.training_data import dealt_weather, weather_plan
from tests.fakes.trigger_events import manual_input, s3_event
from tests.fakes.workbench import Bench

FIRST, SECOND, THIRD, FOURTH = dealt_weather()


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
    assert (state["conclusion"]["status"], state["conclusion"]["reason"]) == ("rejected", finding)
    run = bench.registry.run("tested", "run-1")
    assert (run.status, run.reason, run.version) == ("rejected", finding, None)
    assert run.ended_at is not None
    (entry,) = bench.registry.history("tested").items
    assert (entry.kind, entry.reason, entry.run_id, entry.details) == (
        "rejected",
        finding,
        "run-1",
        {"findings": [finding], "report": run.report},
    )
    assert state["conclusion"]["report_key"] == run.report
    document = bench.document(run.report or "")
    assert (document["passed"], document["reason"], document["findings"]) == (False, finding, [finding])
    assert document["trigger"]["said"] == "upload of 2012.csv"


def test_a_conclusion_that_is_repeated_is_one_entry_and_one_document(bench: Bench) -> None:
    state = bench.accept(b"nothing")
    first = bench.conclude(dict(state), "rejected")
    objects = dict(bench.yard.artifacts.objects)
    assert bench.conclude(dict(state), "rejected") == first
    assert len(bench.registry.history("tested").items) == 1
    assert bench.yard.artifacts.objects == objects


# -- ends of which nobody is told -------------------------------------------------------------------------------------


def test_a_run_with_nothing_new_to_learn_ends_unchanged_and_is_no_news(bench: Bench) -> None:
    bench.run(bench.upload(FIRST), "run-1")
    before = bench.registry.history("tested").items
    state = bench.run(manual_input(), "run-2")
    assert "training" not in state
    run = bench.registry.run("tested", "run-2")
    assert (run.status, run.trigger) == ("unchanged", "manual")
    assert run.reason.startswith(
        "nothing new to learn: run run-1 learnt from the same rows and ended promoted: log_loss"
    )
    assert (state["conclusion"]["status"], state["conclusion"]["reason"]) == ("unchanged", run.reason)
    assert bench.registry.history("tested").items == before
    assert bench.registry.turn("tested").holder is None


def test_a_run_that_was_merged_says_into_which(bench: Bench) -> None:
    held = bench.by_hand("run-0")
    waits = bench.accept(FIRST, "1.csv", "run-1")
    bench.turn(waits, "run-1")
    state = bench.accept(SECOND, "2.csv", "run-2")
    merged = bench.go_on(state, "run-2")
    run = bench.registry.run("tested", "run-2")
    assert (run.status, run.into) == ("merged", "run-1")
    assert merged["conclusion"]["reason"] == run.reason
    assert run.reason.startswith("merged into run run-1")
    bench.conclude(held, "failed", "run-0")
    report = bench.report(bench.go_on(waits, "run-1"))
    assert [file["key"] for file in report["files"]] == ["tested/1.csv", "tested/2.csv"]


def test_a_newer_file_of_the_same_name_ends_the_run_of_the_older_before_it_is_read(bench: Bench) -> None:
    older = bench.upload(FIRST)
    bench.upload(SECOND)
    state = bench.run(older, "run-1")
    assert state["conclusion"]["status"] == bench.registry.run("tested", "run-1").status == "superseded"
    assert bench.uploads.reads == []


def test_a_file_for_which_no_trigger_waits_is_accepted_and_trains_nothing() -> None:
    bench = Bench(weather_plan(triggers=[{"kind": "schedule", "cron": "0 3 ? * MON *"}]))
    state = bench.run(bench.upload(FIRST), "run-1")
    assert state["conclusion"]["status"] == bench.registry.run("tested", "run-1").status == "collected"
    assert [file.run_id for file in bench.registry.dataset_files("tested")] == ["run-1"]
    assert bench.run(manual_input(), "run-2")["promoted"]["version"] == 1


def test_every_quiet_end_is_a_status_of_a_run(bench: Bench) -> None:
    for step, statuses in QUIET.items():
        for status in statuses:
            run_id = f"{step}-{status}"
            assert bench.conclude({step: {"status": status, "reason": "so"}}, "quiet", run_id)["status"] == status
            assert bench.registry.run("tested", run_id).status == status
    assert bench.conclude({"claim": {"status": "claimed"}}, "quiet", "lost")["status"] == "failed"


# -- failures ---------------------------------------------------------------------------------------------------------


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
    conclude_run(bench.workbench, event)
    assert bench.registry.run("tested", "run-1").reason == "UsageError: the training plan is not valid"


def test_a_failure_after_the_version_went_live_does_not_hide_it(bench: Bench) -> None:
    state = bench.run(bench.upload(FIRST), "run-1")
    answer = bench.conclude(state | lambda_error("nobody could be told"), "failed", "run-1")
    run = bench.registry.run("tested", "run-1")
    assert (run.status, run.version) == ("promoted", 1)
    assert answer["report_key"] == run.report == state["evaluation"]["report_key"]


def shown(bench: Bench, key: str) -> str:
    """The page of a document, as text."""
    return " ".join(Page(bench.yard.artifacts.objects[page_key(key)].decode()).text.split())


@pytest.mark.parametrize("step", ["validate", "turn", "prepare", "train", "evaluate", "register", "promote"])
def test_a_run_that_failed_has_a_page_that_says_where_why_and_what_to_do(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    breaking(bench, monkeypatch, step)
    state = bench.run(bench.upload(FIRST), "run-1")
    key, run = state["conclusion"]["report_key"], bench.registry.run("tested", "run-1")
    assert (run.status, run.report) == ("failed", key)
    assert bench.registry.history("tested").items[0].details["report"] == key
    document = bench.document(key)
    assert (document["verdict"], document["passed"], document["step"]) == ("failed", False, step)
    assert document["reason"] == "ConnectionError: the network is down"
    assert [file["key"] for file in document["files"]] == ["tested/2012.csv"]
    assert document["created_at"] == run.started_at
    text = shown(bench, key)
    for said in (
        "✗ Failed",
        "ConnectionError: the network is down",
        "upload of 2012.csv",
        f"Ended at{STATES[step]}",
        "modelyard train tested --redrive run-1 --watch",
        f"modelyard logs tested --step {step}",
    ):
        assert said in text
    assert ("live model is untouched" in text) == (step != "promote")
    assert ("registered version 1" in text) == (step == "promote")


def test_a_run_whose_claim_failed_has_a_page_though_nothing_is_known_of_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(bench, monkeypatch, "claim")
    state = bench.run(bench.upload(FIRST), "run-1")
    key = state["conclusion"]["report_key"]
    document = bench.document(key)
    assert (document["step"], document["trigger"], document["files"]) == ("claim", {}, [])
    assert "modelyard train tested --redrive run-1 --watch" in shown(bench, key)
    assert "Started by" not in shown(bench, key)


def test_a_run_that_failed_after_its_evaluation_keeps_what_was_measured(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(bench, monkeypatch, "register")
    state = bench.run(bench.upload(FIRST), "run-1")
    measured, ended = (bench.document(state[step]["report_key"]) for step in ("evaluation", "conclusion"))
    assert (measured["passed"], ended["passed"]) == (True, False)
    assert all(ended[name] == measured[name] for name in ("metrics", "checks", "files", "row_counts", "training"))
    again = bench.redrive(state, "run-1")
    assert again["promoted"]["report_key"] == state["evaluation"]["report_key"]
    assert bench.registry.run("tested", "run-1").report == state["evaluation"]["report_key"]


def test_a_training_without_the_newest_file_that_failed_is_a_training(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.accept(FIRST, "1.csv", "run-1")
    bench.accept(SECOND, "2.csv", "run-2")
    breaking(bench, monkeypatch, "train_without")
    state = bench.run(manual_input(ablate=True), "run-3")
    assert bench.document(state["conclusion"]["report_key"])["step"] == "train"


def test_a_run_that_fails_twice_has_two_pages_and_both_are_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    breaking(bench, monkeypatch, "train")
    state = bench.run(bench.upload(FIRST), "run-1")
    breaking(bench, monkeypatch, "evaluate")
    again = bench.redrive(state, "run-1")
    keys = [found["conclusion"]["report_key"] for found in (state, again)]
    assert [bench.document(key)["step"] for key in keys] == ["train", "evaluate"]
    assert bench.registry.run("tested", "run-1").report == keys[1]


def test_an_execution_that_was_ended_from_outside_has_a_page_too(bench: Bench) -> None:
    """What the rule in ``stacks/retraining_stack.py`` sends: no plan, and no state but the error."""
    bench.claimed(bench.upload(FIRST), "run-1")
    event = bench.parts("run-1", status="failed", state=failed("the execution ended from outside", "ABORTED"))
    event["plan"] = {"model": "tested"}
    key = conclude_run(bench.workbench, event)["report_key"]
    document = bench.document(key)
    assert (document["step"], document["trigger"]) == ("", {"kind": "upload"})
    assert [file["key"] for file in document["files"]] == ["tested/2012.csv"]
    text = shown(bench, key)
    assert "modelyard logs tested --step all" in text
    assert "modelyard train tested --watch" in text
    assert "--redrive" not in text, "no step failed that it could go on from"


def test_a_failure_is_recorded_where_its_page_cannot_be_stored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError("the bucket is closed")

    monkeypatch.setattr(bench.yard.artifacts, "put_if_absent", refused)
    answer = bench.conclude(bench.claimed(bench.upload(FIRST)) | lambda_error("it broke"), "failed")
    assert (answer["status"], answer["report_key"]) == ("failed", None)
    assert bench.registry.run("tested", "run-1").status == "failed"
    assert "the bucket is closed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("step", "content"),
    [("validate", b"date;wind\n2012-01-01;4"), ("prepare", b"\n".join(FIRST.splitlines()[:3])), ("train", FIRST)],
)
def test_a_run_whose_data_was_refused_says_by_which_step_and_of_which_file(
    bench: Bench, step: str, content: bytes
) -> None:
    if step == "train":
        bench.plan = weather_plan(grids={"logistic_regression": {"C": [-1.0]}})
    state = bench.run(bench.upload(content), "run-1")
    key = state["conclusion"]["report_key"]
    document, text = bench.document(key), shown(bench, key)
    assert (document["step"], document["passed"]) == (step, False)
    (file,) = document["files"]
    assert (file["key"], file["sha256"]) == ("tested/2012.csv", state["validation"]["sha256"])
    assert "✗ Refused" in text
    assert ("modelyard upload tested FILE.csv" in text) == (step == "validate")
    assert "--redrive" not in text


def test_an_end_without_a_reason_says_that(bench: Bench) -> None:
    assert bench.conclude({}, "rejected")["reason"] == "no reason was given"


# -- taken up again ---------------------------------------------------------------------------------------------------


def breaking(bench: Bench, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Steps that raise when they are called next, once."""

    def broken(name: str, step: Any) -> Any:
        def called(*_: Any) -> None:
            monkeypatch.setattr(bench, name, step)
            raise ConnectionError("the network is down")

        return called

    for name in names:
        monkeypatch.setattr(bench, name, broken(name, getattr(bench, name)))


ORDER = ["validate", "turn", "prepare", "train", "evaluate", "register", "promote"]


@pytest.mark.parametrize(
    ("step", "resumed"),
    [
        ("validate", "validation"),
        ("turn", "prepared"),
        ("prepare", "prepared"),
        ("train", "training"),
        ("evaluate", "evaluation"),
        ("register", "registered"),
        ("promote", "promoted"),
    ],
)
def test_a_redrive_goes_on_at_the_step_that_failed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str, resumed: str
) -> None:
    breaking(bench, monkeypatch, step)
    state = bench.run(bench.upload(FIRST), "run-1")
    assert (state["conclusion"]["status"], state["conclusion"]["resume_from"]) == ("failed", resumed)
    assert bench.registry.run("tested", "run-1").status == "failed"
    assert bench.registry.turn("tested").holder is None
    called = []
    for name in ORDER:
        taken = getattr(bench, name)

        def counted(*arguments: Any, name: str = name, taken: Any = taken) -> Any:
            called.append(name)
            return taken(*arguments)

        monkeypatch.setattr(bench, name, counted)
    again = bench.redrive(state, "run-1")
    assert again["resume"] == {"from": resumed}
    assert again["promoted"]["version"] == 1
    assert set(called) == {"turn", *ORDER[ORDER.index(step) :]}, "what was done is not done again"
    run = bench.registry.run("tested", "run-1")
    assert (run.status, run.version) == ("promoted", 1)
    assert bench.registry.model("tested").versions == 1


def test_a_run_without_a_file_has_no_validation_to_go_back_to(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.accept(FIRST, run_id="run-0")
    breaking(bench, monkeypatch, "turn")
    state = bench.run(manual_input(), "run-1")
    assert state["conclusion"]["resume_from"] == "prepared"
    assert bench.redrive(state, "run-1")["promoted"]["version"] == 1


def test_a_run_that_was_redriven_ends_as_it_ends_then(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    breaking(bench, monkeypatch, "evaluate")
    bench.plan = weather_plan(grids={"logistic_regression": {"C": [1e-5]}})
    state = bench.run(bench.upload(SECOND, "2.csv"), "run-2")
    assert bench.registry.run("tested", "run-2").status == "failed"
    again = bench.redrive(state, "run-2")
    assert again["conclusion"]["status"] == "rejected"
    run = bench.registry.run("tested", "run-2")
    assert (run.status, run.reason) == ("rejected", again["evaluation"]["reason"])
    assert [entry.kind for entry in bench.registry.history("tested").items[:2]] == ["rejected", "failed"]


def test_a_run_that_fails_again_can_be_redriven_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    breaking(bench, monkeypatch, "train")
    state = bench.run(bench.upload(FIRST), "run-1")
    breaking(bench, monkeypatch, "evaluate")
    again = bench.redrive(state, "run-1")
    assert (again["conclusion"]["resume_from"], again["conclusion"]["redrives"]) == ("evaluation", 1)
    assert bench.redrive(again, "run-1")["promoted"]["version"] == 1


def test_without_a_redrive_the_execution_ends_as_a_failure_in_words(bench: Bench) -> None:
    conclusion = {"status": "failed", "reason": "the file is gone", "resume_from": "prepared", "redrives": 1}
    event = bench.parts("run-1", conclusion=conclusion, execution={"RedriveCount": 1})
    with pytest.raises(RunFailedError, match="the file is gone") as ended:
        conclude_run(bench.workbench, event)
    assert ended.value.next_step == "Run 'modelyard runs tested'."
    assert conclude_run(bench.workbench, event | {"execution": {"RedriveCount": 2}}) == {"from": "prepared"}
    with pytest.raises(RunFailedError):
        conclude_run(bench.workbench, event | {"execution": {}})  # the local AWS does not count


def test_the_first_step_whose_answer_is_missing_is_where_a_run_goes_on() -> None:
    done = {step: {"status": "done", "object": {"key": "k"}} for step in STEPS}
    for at, step in enumerate(STEPS):
        for absent in ({}, {step: NOTHING}, {step: None}):
            assert first_missing({**dict.fromkeys(STEPS[:at], done[step]), **absent}) == step
    assert first_missing(done) == "promoted"


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
