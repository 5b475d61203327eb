"""The commands about rollouts, over a registry in memory and a Step Functions that remembers what it was asked."""

import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from modelyard.cli import rollout as commands
from modelyard.cli.rollout_view import line, view
from modelyard.cli.session import Session
from modelyard.errors import ConflictError
from modelyard.registry import Rollout
from modelyard.rollout import record
from modelyard.rollout.plan import RolloutPlan, Shadow, Step
from modelyard.rollout.record import Seen
from modelyard.rollout.telling import told
from modelyard.times import stamp, utc_now
from tests.fakes.command_line import CommandLine

NAME = "sums"
EXECUTION = "arn:aws:states:::execution:Rollout:mine"
PLAN = RolloutPlan(model=NAME, shadow=Shadow(5, 10), steps=(Step(5, 10), Step(0.25, 1)), approval="promotion")


class States:
    """As much of Step Functions as the commands use."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.answered: list[str] = []
        self.refuses = ""
        self.status = "RUNNING"

    def client(self, _: str) -> "States":
        return self

    def start_execution(self, **asked: Any) -> dict[str, Any]:
        self._refuse("StartExecution")
        self.started.append(asked)
        return {"executionArn": "arn:execution"}

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        assert executionArn == EXECUTION
        if self.status == "gone":
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist", "Message": "no"}}, "DescribeExecution")
        return {"status": self.status}

    def send_task_success(self, *, taskToken: str, output: str) -> None:  # noqa: N803 - boto3's name
        self._refuse("SendTaskSuccess")
        assert output
        self.answered.append(taskToken)

    def _refuse(self, operation: str) -> None:
        if self.refuses:
            raise ClientError({"Error": {"Code": self.refuses, "Message": "no"}}, operation)


@pytest.fixture
def states() -> States:
    return States()


@pytest.fixture
def there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], states: States
) -> CommandLine:
    made = CommandLine(tmp_path / "project", monkeypatch, capsys)
    spec = made.folder / "models" / NAME / "model.toml"
    spec.write_text(spec.read_text() + '\n[rollout]\nmode = "gradual"\n')
    monkeypatch.setattr(Session, "outputs", lambda *_: {"Workflow": "arn:aws:states:::stateMachine:Rollout"})
    monkeypatch.setattr(Session, "clients", property(lambda _: states))
    for number in (1, 2, 3):
        made.add(NAME, f"model {number}".encode(), task="regression")
    made.registry().promote(NAME, 1)
    return made


def begun(there: CommandLine, phase: int = -1, *, asks: bool = False) -> Rollout:
    registry = there.registry("workflow")
    claimed = registry.rollout(NAME)
    assert claimed is not None
    rollout = registry.begin_rollout(
        NAME, claimed.rollout_id, plan=PLAN, execution="arn:aws:states:::execution:Rollout:mine"
    )
    for number in range(phase + 1):
        rollout = registry.start_phase(rollout, number)
    if asks:
        rollout = registry.change_rollout(
            NAME, rollout.rollout_id, lambda found, change: record.wait_for_person(found, change, token="secret-token")
        )
    return rollout


def test_a_start_claims_the_traffic_and_starts_the_execution_under_its_name(there: CommandLine, states: States) -> None:
    said = there.run("rollout", "start", NAME, "--reason", "better").done()
    assert "rollout of version 3 begun, beside version 1" in said, "the newest, where none is named"
    assert "next: modelyard rollout status sums --watch" in said
    (started,) = states.started
    rollout = there.registry().rollout(NAME)
    assert rollout is not None
    assert started["name"] == rollout.rollout_id
    assert json.loads(started["input"]) == {"version": 3, "rollout_id": rollout.rollout_id, "reason": "better"}


def test_a_start_whose_execution_could_not_begin_goes_on_with_the_same_rollout(
    there: CommandLine, states: States
) -> None:
    states.refuses = "ServiceUnavailable"
    ended = there.run("rollout", "start", NAME, "2")
    ended.refused(5)
    assert "goes on with what was claimed" in ended.next_steps[0]
    states.refuses = ""
    there.run("rollout", "start", NAME, "2").done()
    assert len({one["name"] for one in states.started}) == 1
    kinds = [entry.kind for entry in there.registry().history(NAME).items]
    assert kinds.count("rollout_started") == 1


def test_registering_with_promote_begins_the_rollout_of_a_later_version(there: CommandLine, states: States) -> None:
    said = there.run("register", NAME, "--promote", "--reason", "new", "--accept-breaking", "all are ready").done()
    assert "its rollout has begun" in said
    live = there.registry().deployment(NAME)
    assert live is not None
    assert live.champion == 1
    assert json.loads(states.started[0]["input"])["version"] == 4
    again = there.add_model("fresh")
    (again / "model.toml").write_text((again / "model.toml").read_text() + '\n[rollout]\nmode = "gradual"\n')
    assert "version 1 is the champion" in there.run("register", "fresh", "--promote").done(), "the first has no other"


def test_a_version_that_is_registered_is_proposed_for_a_rollout(there: CommandLine) -> None:
    said = there.run("register", NAME, "--accept-breaking", "all are ready").done()
    assert "next: modelyard rollout start sums 4 --reason '…'" in said


def test_a_model_that_moves_all_at_once_has_no_rollouts(there: CommandLine) -> None:
    there.add_model("other")
    there.run("rollout", "start", "other", "1").refused(2, "rollout.mode = 'all_at_once'")


def test_the_live_version_is_no_challenger_of_its_own(there: CommandLine) -> None:
    ended = there.run("rollout", "start", NAME, "1")
    ended.refused(4, "version 1 of model 'sums' is live already")
    assert "modelyard versions sums" in ended.next_steps[0], "the same command would never be taken"


def test_a_second_rollout_is_refused_with_what_ends_the_first(there: CommandLine) -> None:
    there.run("rollout", "start", NAME, "2").done()
    ended = there.run("rollout", "start", NAME, "3")
    ended.refused(4, "a model has one at a time")
    assert "modelyard rollout abort" in ended.next_steps[0]


@pytest.mark.parametrize("command", ["approve", "reject"])
def test_an_answer_is_written_down_and_wakes_the_workflow(there: CommandLine, states: States, command: str) -> None:
    there.run("rollout", "start", NAME, "2").done()
    there.run(command, NAME).refused(4, "does not wait for a person yet")
    begun(there, 2, asks=True)
    said = there.run(command, NAME, "--reason", "because", "--json").done()
    assert states.answered == ["secret-token"]
    assert "secret-token" not in said
    approval = json.loads(said)["approval"]
    assert approval["answer"] == {"approve": "approved", "reject": "refused"}[command]
    assert approval["answered"]["reason"] == "because"
    again = there.run(command, NAME)
    again.refused(4, "already, at")
    assert "modelyard rollout status sums" in again.next_steps[0]


@pytest.mark.parametrize("code", ["TaskTimedOut", "AccessDeniedException"])
def test_an_answer_that_wakes_nobody_is_written_down_all_the_same(
    there: CommandLine, states: States, code: str
) -> None:
    there.run("rollout", "start", NAME, "2").done()
    begun(there, 2, asks=True)
    states.refuses = code
    ended = there.run("approve", NAME)
    assert "is approved" in ended.done()
    assert ("reads the answer at its next look" in ended.err) is (code == "AccessDeniedException")


def test_pause_resume_and_abort_say_what_is_and_what_to_run_next(there: CommandLine) -> None:
    there.run("rollout", "pause", NAME).refused(2, "has had no rollout")
    there.run("rollout", "start", NAME, "2").done()
    begun(there, 1)
    assert "modelyard rollout resume sums" in there.run("rollout", "pause", NAME, "--reason", "freeze").done()
    there.run("rollout", "pause", NAME).refused(4, "paused already")
    there.run("rollout", "resume", NAME).done()
    again = there.run("rollout", "resume", NAME)
    again.refused(4, "is not paused")
    assert "rollout status sums" in again.next_steps[0]
    assert "the champion answers" in there.run("rollout", "abort", NAME, "--reason", "wrong one").done()
    live = there.registry().deployment(NAME)
    assert live is not None
    assert (live.champion, live.mode, live.reason) == (1, "live", "wrong one")
    there.run("rollout", "abort", NAME).refused(4, "has ended: aborted")


def test_status_as_json_is_what_the_view_is_made_of(there: CommandLine) -> None:
    there.run("rollout", "status", NAME).refused(2, "has had no rollout")
    there.run("rollout", "status", "unknown").refused(2, "is not in the registry")
    there.run("rollout", "start", NAME, "2").done()
    starting = " ".join(there.run("rollout", "status", NAME).done().split())
    assert "has not begun yet" in starting
    assert "modelyard rollout abort sums" in starting, "where there is no workflow, asking again does not help"
    begun(there, 1)
    document = json.loads(there.run("rollout", "status", NAME, "--json").done())
    assert (document["status"], document["step"]["share"], document["traffic"]) == ("running", 5, {"1": 95, "2": 5})
    assert [step["state"] for step in document["steps"]] == ["done", "now", "ahead", "ahead"]
    assert 71.9 < document["hours_left"] <= 72


def test_watching_shows_a_line_for_each_change_where_there_is_no_terminal(
    there: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.run("rollout", "start", NAME, "2").done()
    rollout = begun(there, 0)
    registry = there.registry("workflow")
    events = [
        lambda: registry.start_phase(rollout, 1),
        lambda: None,
        lambda: registry.abort_rollout(NAME, reason="wrong one"),
    ]
    monkeypatch.setattr(commands.time, "sleep", lambda _: events.pop(0)())
    lines = there.run("rollout", "status", NAME, "--watch").done().splitlines()
    assert lines == [
        "sums: version 2 running, step 1 of 4, shadow",
        "sums: version 2 running, step 2 of 4, 5 %",
        "sums: version 2 aborted: wrong one",
    ]


@pytest.mark.parametrize(("minutes", "said"), [(1, "in 2"), (10, "due"), (30, "late by 25 minutes")])
def test_a_look_that_does_not_come_is_said_with_what_ends_the_rollout(
    there: CommandLine, minutes: int, said: str
) -> None:
    there.run("rollout", "start", NAME, "2").done()
    begun(there, 1)
    seen = Seen(at=stamp(utc_now() - dt.timedelta(minutes=minutes)), decision="continue", wait_s=300)
    found = there.registry("workflow").rollout(NAME)
    assert found is not None
    there.registry("workflow").note_look(NAME, found.rollout_id, lambda _: seen)
    shown = " ".join(there.run("rollout", "status", NAME).done().split())
    assert f"next look {said}" in shown
    assert ("modelyard rollout abort sums" in shown) is ("late" in said)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("state", ["starting", "running", "paused", "asks", "aborted"])
def test_the_view_fits_a_terminal(there: CommandLine, width: int, state: str) -> None:
    there.run("rollout", "start", NAME, "2", "--reason", "x" * 900).done()
    registry = there.registry("workflow")
    if state != "starting":
        rollout = begun(there, 1, asks=state == "asks")
        seen = Seen(
            at=stamp(utc_now()), decision="continue", reasons=("r" * 300,), requests=12_345_678, counted=12_345_678,
            waits_for="w" * 300, wait_s=900,
        )  # fmt: skip
        registry.note_look(NAME, rollout.rollout_id, lambda _: seen)
    if state == "paused":
        registry.pause_rollout(NAME, reason="[bold]not markup[/]" * 20)
    if state == "aborted":
        registry.abort_rollout(NAME, reason="because " * 100)
    check = {
        "name": "score_shift", "state": "beyond", "side": "arms", "column": "station (code)", "value": "y" * 60,
        "statistic": 0.123456, "low": 0.1, "high": None, "limit": 0.2, "samples": 1_234_567, "overruled": False,
    }  # fmt: skip
    found = registry.rollout(NAME)
    assert found is not None
    document = told(found, registry.deployment(NAME), utc_now(), {"attempt": 1, "verdict": {"checks": [check]}})
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=False)
    console.print(view(document))
    lines = console.export_text().splitlines()
    assert len(lines) < 40
    assert max(map(len, lines)) <= width
    text = " ".join(lines)
    assert "version 2" in text
    if state == "paused":
        assert "[bold]not markup[/]" in text
    assert "\n" not in line(document)


def test_a_rollout_that_nobody_judges_is_found(
    there: CommandLine, states: States, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed = True
    monkeypatch.setattr(Session, "is_deployed", lambda *_: deployed)
    session = Session("local", start=there.folder)
    monkeypatch.setattr(Session, "registry", property(lambda _: there.registry()))
    commands.check_rollout(session, NAME)
    there.run("rollout", "start", NAME).done()
    commands.check_rollout(session, NAME)
    begun(there, 0)
    commands.check_rollout(session, NAME)
    for status, said in (("ABORTED", "its execution is ABORTED"), ("gone", "its execution is not there")):
        states.status = status
        with pytest.raises(ConflictError, match=said) as found:
            commands.check_rollout(session, NAME)
        assert found.value.code == "rollout_abandoned"
    states.status, deployed = "RUNNING", False
    with pytest.raises(ConflictError, match="Rollout-sums is not there"):
        commands.check_rollout(session, NAME)
    there.run("rollout", "abort", NAME, "--reason", "its stack is gone").done()
    commands.check_rollout(session, NAME)
