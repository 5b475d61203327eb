"""What commands tell beside their result: warnings, lines of the log as they came, next steps that would work."""

import json
import socket
import time
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.aws import signed
from modelyard.cli import models
from modelyard.cli.session import Session
from tests.fakes.command_line import CommandLine
from tests.fakes.command_line_past import with_a_past

TRACEBACK = ["Traceback (most recent call last):", '  File "predict.py", line 7', "    raise", "ValueError: b", "after"]
PLATFORM = ["INIT_START Runtime Version: 3", "START RequestId: 1 Version: 2", "END RequestId: 1", "REPORT RequestId: 1"]


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A project whose model ``sums`` has three versions; 1 and then 2 became live."""
    return with_a_past(CommandLine(tmp_path / "project", monkeypatch, capsys))


# -- status -------------------------------------------------------------------------------------------------------


def test_a_model_with_no_version_yet_hides_no_other(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    line.add_model("newcomer")  # deployed, and its first training runs or was refused
    monkeypatch.setattr(Session, "is_deployed", lambda *_: True)
    monkeypatch.setattr(Session, "predict_url", lambda _, model: f"http://127.0.0.1:1/{model}")
    rows = {row["model"]: row for row in json.loads(line.run("status", "--json").done())}
    assert (rows["sums"]["live"], rows["sums"]["newest"]) == (2, 3)
    assert (rows["newcomer"]["live"], rows["newcomer"]["newest"], rows["newcomer"]["last"]) == (None, None, None)
    assert "newcomer" in line.run("status").done()


# -- predict ------------------------------------------------------------------------------------------------------


@pytest.fixture
def warned(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    warnings = [{"field": "x", "row": 0, "code": "outside_range", "detail": f"'x' of instance {row}"} for row in (0, 1)]
    body = {"version": 2, "prediction_id": "9b", "predictions": [3.0], "warnings": warnings}
    monkeypatch.setattr(Session, "clients", property(lambda _: None))
    monkeypatch.setattr(Session, "predict_url", lambda *_: "http://127.0.0.1:1")
    monkeypatch.setattr(signed, "call", lambda *_: SimpleNamespace(status=200, body=body))
    return line


def test_each_warning_of_an_answer_is_a_line_on_stderr(warned: CommandLine) -> None:
    ended = warned.run("predict", "sums", "[[1, 2]]")
    assert ended.done().splitlines()[1:] == ["  [1, 2] → 3.0"]
    assert ended.err.splitlines() == ["warning: 'x' of instance 0", "warning: 'x' of instance 1"]


def test_programs_get_the_warnings_in_the_answer_only(warned: CommandLine) -> None:
    ended = warned.run("predict", "sums", "[[1, 2]]", "--json")
    assert '"detail": "\'x\' of instance 1"' in ended.done()
    assert ended.err == ""


# -- register, history ----------------------------------------------------------------------------------------------


def test_a_version_that_is_live_is_not_proposed_for_promotion(line: CommandLine) -> None:
    line.add_model("other")
    assert "next: modelyard promote other 1 --reason '…'" in line.run("register", "other").done()
    line.run("promote", "other", "1").done()
    said = line.run("register", "other").done()
    assert "was registered before, as version 1" in said
    assert "version 1 is the champion already" in said
    assert "promote" not in said


def test_the_history_of_a_model_without_versions_tells_of_its_failures(line: CommandLine) -> None:
    line.registry().record_outcome("wine", "failed", run_id="run-1", reason="no space left")
    assert "no space left" in line.run("history", "wine").done()
    line.run("history", "wine", "--at", "2026-03-01T12:00Z").refused(2, "'wine' is not in the registry")


# -- upload ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "code"), [("promoted", 0), ("failed", 1)])
def test_how_a_run_ended_is_said_once(
    line: CommandLine, monkeypatch: pytest.MonkeyPatch, status: str, code: int
) -> None:
    spec = SimpleNamespace(training=True, upload_prefix="sums/")
    monkeypatch.setattr(Session, "model", lambda *_: SimpleNamespace(spec=spec))
    monkeypatch.setattr(models, "send_file", lambda *_: ("key", "v1"))
    run = SimpleNamespace(run_id="run-1", status=status, reason="for a reason", version=None)
    monkeypatch.setattr(models, "wait_for_run", lambda *_: run)
    ended = line.run("upload", "sums", "new.csv")
    assert ended.code == code
    assert (ended.out + ended.err).count("for a reason") == 1
    assert ("modelyard logs sums --step all" in ended.err) == (status == "failed")


# -- logs -----------------------------------------------------------------------------------------------------------


class Logs:
    """CloudWatch Logs, whose groups hold lines at milliseconds after a time some seconds ago."""

    def __init__(self) -> None:
        self.began = int(time.time() * 1000) - 5000
        self.groups: dict[str, list[tuple[int, str]]] = {}

    def get_paginator(self, _operation: str) -> Any:
        return self

    def paginate(self, *, logGroupName: str, startTime: int, endTime: float = inf) -> Any:  # noqa: N803 - boto3's own
        for at, message in self.groups.get(logGroupName, []):
            if startTime <= self.began + at <= endTime:
                yield {"events": [{"timestamp": self.began + at, "message": message + "\n"}]}


@pytest.fixture
def logs(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Logs:
    made = Logs()
    monkeypatch.setattr(Session, "clients", property(lambda _: SimpleNamespace(client=lambda _service: made)))
    monkeypatch.setattr("modelyard.cli.look._log_groups", lambda *_: {"predict": "/predict", "train": "/train"})
    return made


def told(shown: str) -> list[str]:
    return [text.split(" ", 2)[2] for text in shown.splitlines()]


def test_lines_of_one_millisecond_stay_as_they_came(line: CommandLine, logs: Logs) -> None:
    logs.groups = {"/predict": [(9, text) for text in TRACEBACK], "/train": [(8, "earlier")]}
    assert told(line.run("logs", "sums", "--step", "all").done()) == ["earlier", *TRACEBACK]


def test_lambdas_own_lines_are_shown_when_asked_for(line: CommandLine, logs: Logs) -> None:
    texts = [*PLATFORM[:2], "one", "START of a line of ours", *PLATFORM[2:], "two"]
    logs.groups = {"/predict": [(9, text) for text in texts]}
    assert told(line.run("logs", "sums").done()) == ["one", "START of a line of ours", "two"]
    assert told(line.run("logs", "sums", "--limit", "1").done()) == ["two"]
    assert told(line.run("logs", "sums", "--platform").done()) == texts


def test_where_nothing_was_logged_the_other_steps_are_named(line: CommandLine, logs: Logs) -> None:
    logs.groups = {"/train": [(9, "no space left")]}
    assert line.run("logs", "sums").done().splitlines() == [
        "no lines of predict in the last 60 minutes",
        "  next: modelyard logs sums --step all",
    ]
    logs.groups = {}
    assert "next: modelyard logs sums --since 120" in line.run("logs", "sums", "--step", "all", "--since", "5").done()


# -- serve --------------------------------------------------------------------------------------------------------


def test_a_taken_port_is_said_before_anything_serves(line: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ended = line.run("serve", "sums", "--model", "models/sums/model.onnx", "--port", port)
    ended.refused(5, f"cannot listen on port {port}")
    assert "--port" in ended.next_steps[0]
    assert "serving" not in ended.err
