"""The command line follows the run that claimed an upload, and says so when none does."""

from typing import Any

import pytest

from modelyard.cli import runs
from modelyard.cli.runs import RunNotStartedError, wait_for_run, wait_until_recorded
from modelyard.errors import AWSError
from modelyard.spec import load_model
from tests.fakes.registries import Yard
from tests.fakes.training_data import WEATHER
from tests.fakes.uploads import InMemoryUploads

UPLOAD = ("data-bucket", "weather/2013.csv", "v7")


class Session:
    """As much of the command line's session as following a run takes."""

    def __init__(self) -> None:
        self.registry = Yard().registry()
        self.uploads = InMemoryUploads()

    def model(self, _: str) -> Any:
        return load_model(WEATHER)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(runs, "_state", lambda *_: "Train the candidates")
    return Session()


def as_time_passes(monkeypatch: pytest.MonkeyPatch, *events: Any, step_s: float = 0.0) -> None:
    """Each pause of the command line lets the next thing happen, and ``step_s`` go by."""
    left, now = list(events), [0.0]

    def sleep(_: float) -> None:
        now[0] += step_s
        if left:
            left.pop(0)()

    monkeypatch.setattr(runs.time, "sleep", sleep)
    monkeypatch.setattr(runs.time, "monotonic", lambda: now[0])


def test_the_run_is_the_one_that_claimed_the_upload(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = session.registry
    for other in range(60):  # newer ids, other uploads
        registry.record_run("weather", f"zz-{other}", status="promoted", object={"version_id": "v8"})
    as_time_passes(
        monkeypatch,
        lambda: registry.claim(*UPLOAD, "run-1"),
        lambda: registry.record_run("weather", "run-1", status="running"),
        lambda: registry.record_run("weather", "run-1", status="rejected", reason="worse"),
    )
    run = wait_for_run(session, "weather", *UPLOAD[1:])
    assert (run.run_id, run.status, run.reason) == ("run-1", "rejected", "worse")


def test_a_run_that_never_starts_is_said_so(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session.registry.claim("data-bucket", "weather/2013.csv", "another version", "run-1")
    as_time_passes(monkeypatch, step_s=10)
    with pytest.raises(RunNotStartedError, match="no run started within 60 s") as error:
        wait_for_run(session, "weather", *UPLOAD[1:])
    assert "'modelyard runs weather'" in str(error.value.next_step)


def test_who_stops_waiting_hears_that_the_run_goes_on(
    session: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    as_time_passes(monkeypatch, lambda: session.registry.claim(*UPLOAD, "run-1"), stop)
    with pytest.raises(KeyboardInterrupt):
        wait_for_run(session, "weather", *UPLOAD[1:])
    assert "its run goes on: modelyard runs weather" in capsys.readouterr().err


def test_a_run_that_never_ends_is_said_so(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session.registry.claim(*UPLOAD, "run-1")
    session.registry.record_run("weather", "run-1", status="running")
    as_time_passes(monkeypatch, step_s=100)
    with pytest.raises(AWSError, match="did not end within") as late:
        wait_for_run(session, "weather", *UPLOAD[1:])
    assert late.value.code == "run_timeout"


def test_a_run_that_was_merged_is_followed_into_the_one_that_learns_from_the_file(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = session.registry
    registry.claim(*UPLOAD, "run-2")
    registry.record_run("weather", "run-1", status="running")
    as_time_passes(
        monkeypatch,
        lambda: registry.record_run("weather", "run-2", status="running"),
        lambda: registry.record_run("weather", "run-2", status="merged", reason="merged into run run-1", into="run-1"),
        lambda: None,
        lambda: registry.record_run("weather", "run-1", status="promoted", version=3, reason="better"),
    )
    run = wait_for_run(session, "weather", *UPLOAD[1:])
    assert (run.run_id, run.status, run.version) == ("run-1", "promoted", 3)


def test_a_run_that_was_merged_into_one_that_was_merged_is_followed_to_the_end(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = session.registry
    registry.claim(*UPLOAD, "run-1")
    for run_id, into in (("run-1", "run-2"), ("run-2", "run-3")):
        registry.record_run("weather", run_id, status="merged", into=into)
    registry.record_run("weather", "run-3", status="rejected", reason="worse")
    as_time_passes(monkeypatch)
    assert wait_for_run(session, "weather", *UPLOAD[1:]).run_id == "run-3"


@pytest.mark.parametrize("status", ["superseded", "collected", "skipped", "unchanged", "duplicate"])
def test_a_run_that_trained_nothing_has_ended_too(session: Any, monkeypatch: pytest.MonkeyPatch, status: Any) -> None:
    session.registry.claim(*UPLOAD, "run-1")
    session.registry.record_run("weather", "run-1", status=status, reason="so")
    as_time_passes(monkeypatch)
    assert wait_for_run(session, "weather", *UPLOAD[1:]).status == status


def test_the_record_of_a_run_whose_execution_has_ended_may_come_a_moment_later(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = session.registry
    as_time_passes(
        monkeypatch,
        lambda: registry.record_run("weather", "run-1", status="running"),
        lambda: registry.record_run("weather", "run-1", status="rejected", reason="worse"),
    )
    assert wait_until_recorded(session, "weather", "run-1").reason == "worse"


def test_a_run_that_left_no_record_is_said_so(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session.registry.record_run("weather", "run-1", status="running")
    as_time_passes(monkeypatch, step_s=10)
    with pytest.raises(AWSError, match="run run-1 has ended and left no record") as silent:
        wait_until_recorded(session, "weather", "run-1")
    assert silent.value.code == "run_not_recorded"


# -- what the lines say -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "mark"), [("failed", "✗"), ("rejected", "✓"), ("promoted", "✓")])
def test_a_run_that_failed_has_a_cross_and_its_reason(
    session: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: Any, mark: str
) -> None:
    session.registry.claim(*UPLOAD, "run-1")
    session.registry.record_run("weather", "run-1", status=status, reason="no space left")
    as_time_passes(monkeypatch)
    wait_for_run(session, "weather", *UPLOAD[1:], title="Train weather")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{mark} Train weather ")
    assert line.endswith(f"{status}: no space left")


def test_a_run_of_an_upload_is_told_by_its_caller_alone(
    session: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session.registry.claim(*UPLOAD, "run-1")
    session.registry.record_run("weather", "run-1", status="promoted", reason="better")
    as_time_passes(monkeypatch)
    wait_for_run(session, "weather", *UPLOAD[1:])
    assert "better" not in capsys.readouterr().err
