"""The command about code releases, over a registry in memory and a CloudWatch that says what it is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from modelyard.cli.session import Session
from modelyard.environments import choose_environment, load_environments
from modelyard.release_override import parse_override
from modelyard.times import utc_now
from tests.fakes.broken_stores import Outage
from tests.fakes.command_line import PROJECT, CommandLine

NAME = "sums"
DEPLOY = "cdk deploy Modelyard-prod-Endpoint-sums -c env=prod"


class Alarms:
    """As much of CloudWatch as the command uses."""

    def __init__(self) -> None:
        self.states = {"sums-ErrorRate-X1": "OK", "sums-Latency-X2": "INSUFFICIENT_DATA"}
        self.refuses = ""

    def client(self, service: str) -> "Alarms":
        assert service == "cloudwatch"
        return self

    def describe_alarms(self, *, AlarmNames: list[str], **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if self.refuses:
            raise ClientError({"Error": {"Code": self.refuses, "Message": "no"}}, "DescribeAlarms")
        return {"MetricAlarms": [{"AlarmName": name, "StateValue": self.states[name]} for name in AlarmNames]}

    def get_metric_data(self, **_: Any) -> dict[str, Any]:
        return {}


@pytest.fixture
def alarms() -> Alarms:
    return Alarms()


@pytest.fixture
def outputs() -> dict[str, str]:
    return {
        "AlarmErrorRate": "sums-ErrorRate-X1", "AlarmLatency": "sums-Latency-X2", "Url": "https://x",
        "RegistryTable": "t", "ReportFunction": "r",
    }  # fmt: skip


@pytest.fixture
def there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], alarms: Alarms,
    outputs: dict[str, str],
) -> CommandLine:  # fmt: skip
    made = CommandLine(tmp_path / "project", monkeypatch, capsys)
    monkeypatch.setattr(Session, "outputs", lambda *_: outputs)
    monkeypatch.setattr(Session, "clients", property(lambda _: alarms))
    return made


def prod(there: CommandLine, *arguments: str) -> Any:
    return there.run("--env", "prod", *arguments)


def test_a_release_that_no_alarm_stops_is_simply_deployed(there: CommandLine) -> None:
    before = there.everything()
    said = prod(there, "release", NAME).done()
    assert "code is released canary 10 percent 10 minutes" in said
    assert f"next: {DEPLOY}" in said
    assert "fires" not in said
    assert there.everything() == before


def test_an_alarm_that_fires_is_shown_with_what_passes_it(there: CommandLine, alarms: Alarms) -> None:
    alarms.states["sums-ErrorRate-X1"] = "ALARM"
    before = there.everything()
    said = prod(there, "release", NAME).done()
    assert "ErrorRate  fires: it would stop the release" in said
    assert "Latency    quiet" in said
    assert "next: modelyard --env prod release sums --despite-alarms --reason '…'" in said
    assert there.everything() == before


def test_an_override_is_written_down_and_its_word_is_one_that_synth_takes(there: CommandLine, alarms: Alarms) -> None:
    alarms.states["sums-ErrorRate-X1"] = "ALARM"
    said = prod(there, "release", NAME, "--despite-alarms", "--reason", "the fix of #7").done()
    (entry,) = there.registry().history(NAME).items
    assert (entry.kind, entry.actor, entry.reason) == ("release_override", "ana", "the fix of #7")
    assert entry.details["alarms"] == ["ErrorRate"], "Latency is quiet, and goes on watching"
    (command,) = [line.removeprefix("  next: ") for line in said.splitlines() if line.startswith("  next: ")]
    assert command.startswith(f"{DEPLOY} -c release_override=prod/sums/{entry.operation}/")
    settings = choose_environment(load_environments(PROJECT), "prod")
    override = parse_override(
        command.rpartition("=")[2], environment="prod", settings=settings, models=[NAME], now=utc_now()
    )
    assert override == there.registry().release_override(NAME, entry.operation)
    assert "the alarms on the new version stop it all the same" in said


def test_as_json_it_is_the_same(there: CommandLine, alarms: Alarms) -> None:
    alarms.states = dict.fromkeys(alarms.states, "ALARM")
    told = json.loads(prod(there, "release", NAME, "--json").done())
    assert told == {
        "model": NAME, "code_release": "canary_10_percent_10_minutes",
        "alarms": {"ErrorRate": "fires", "Latency": "fires"}, "override": None, "deploy": DEPLOY,
    }  # fmt: skip
    told = json.loads(prod(there, "release", NAME, "--despite-alarms", "-m", "fix", "--json").done())
    assert told["override"]["alarms"] == ["ErrorRate", "Latency"]
    assert told["override"]["id"] in told["deploy"]


def test_without_an_alarm_that_fires_there_is_nothing_to_override(there: CommandLine) -> None:
    ended = prod(there, "release", NAME, "--despite-alarms", "--reason", "to be sure")
    ended.refused(4, "no alarm of sums's endpoint fires", "ErrorRate, Latency are quiet")
    assert ended.next_steps == [f"  next: Deploy: {DEPLOY}"]
    assert there.everything()["records"] == {}


@pytest.mark.parametrize("environment", ["prod", "dev"])
def test_an_override_has_a_reason_in_every_environment(there: CommandLine, alarms: Alarms, environment: str) -> None:
    alarms.states["sums-ErrorRate-X1"] = "ALARM"
    there.run("--env", environment, "release", NAME, "--despite-alarms").refused(2, "reason")
    assert there.everything()["records"] == {}


@pytest.mark.parametrize("more", [("--reason", "because"), ("--operation", "fix-1")])
def test_a_reason_without_the_flag_is_no_override(there: CommandLine, more: tuple[str, str]) -> None:
    prod(there, "release", NAME, *more).refused(2, "belong to --despite-alarms")


def test_where_code_is_released_at_once_no_alarm_is_asked_for(there: CommandLine, alarms: Alarms) -> None:
    alarms.refuses = "AccessDenied"
    ended = there.run("release", NAME)
    ended.refused(2, "environment 'local' releases code all at once")
    assert ended.next_steps == ["  next: Deploy: make up"]


def test_who_may_not_see_alarms_is_told_so_and_nothing_is_written(there: CommandLine, alarms: Alarms) -> None:
    alarms.refuses = "AccessDenied"
    prod(there, "release", NAME, "--despite-alarms", "-m", "x").refused(3, "look at the endpoint's alarms")
    assert there.everything()["records"] == {}


def test_a_model_that_is_none_of_the_project_has_no_code_to_release(there: CommandLine) -> None:
    prod(there, "release", "other").refused(2, "has no models/other/model.toml")


def test_a_stack_of_an_earlier_release_names_no_alarms(there: CommandLine, outputs: dict[str, str]) -> None:
    for key in ("AlarmErrorRate", "AlarmLatency"):
        del outputs[key]
    ended = prod(there, "release", NAME)
    ended.refused(5, "does not say what its alarms are called")
    assert DEPLOY in ended.next_steps[0]


def test_an_override_whose_answer_was_lost_is_written_once(there: CommandLine, alarms: Alarms) -> None:
    alarms.states["sums-ErrorRate-X1"] = "ALARM"
    there.outage = Outage(0, after=True)
    ended = prod(there, "release", NAME, "--despite-alarms", "-m", "fix")
    ended.refused(5)
    operation = ended.next_steps[0].partition("--operation ")[2].partition(":")[0]
    there.outage = None
    assert operation in prod(there, "release", NAME, "--despite-alarms", "-m", "fix", "--operation", operation).done()
    assert len(there.registry().history(NAME).items) == 1


def test_the_doctor_finds_an_override_that_the_ledger_does_not_know(
    there: CommandLine, alarms: Alarms, outputs: dict[str, str]
) -> None:
    assert "everything is in order" in prod(there, "doctor").done()
    outputs["ReleaseOverride"] = "prod/sums/made-up/2026-11-21T14:00:00.000000Z/ErrorRate"
    ended = prod(there, "doctor")
    assert "by an override 'made-up' that the ledger does not know" in ended.refused(4).replace("\n", " ")
    assert DEPLOY in ended.next_steps[0]
    alarms.states["sums-ErrorRate-X1"] = "ALARM"
    told = json.loads(prod(there, "release", NAME, "--despite-alarms", "-m", "fix", "--json").done())
    word = told["deploy"].rpartition("=")[2]
    outputs["ReleaseOverride"] = word
    prod(there, "doctor").done()
    outputs["ReleaseOverride"] = f"{word}+Latency"
    prod(there, "doctor").refused(4, "the ledger does not know")
