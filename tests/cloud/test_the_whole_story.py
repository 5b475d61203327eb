"""What ``make up`` shows and what a user then does, against the deployed system."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.conftest import PROJECT, System
from tests.cloud.signing import request

DATA = PROJECT / "models" / "seattle_weather" / "data"
NEW = PROJECT / "models" / "seattle_weather" / "new" / "2015.csv"
EXAMPLE = json.loads((PROJECT / "models" / "seattle_weather" / "example.json").read_text())
DIGITS = json.loads((PROJECT / "models" / "digits" / "example.json").read_text())
REFRESH_S = 10


def _predict(system: System, model: str, body: Any) -> Any:
    status, _, answer = request("POST", system.url(f"/models/{model}/predict"), body, credentials=system.developer)
    assert status == 200, answer
    return answer


def test_up_trained_registered_and_asked_every_model(system: System) -> None:
    assert {row["model"]: row["live"] for row in system.json("status")} == {"digits": 1, "seattle_weather": 1}
    (weather,) = system.json("versions", "seattle_weather")
    lineage = weather["manifest"]["lineage"]
    assert lineage["source"] == "trained"
    keys = {found["key"] for found in lineage["objects"]}
    assert keys == {f"seattle_weather/{year}.csv" for year in (2012, 2013, 2014)}, "one training on what came together"
    assert sorted(run["status"] for run in system.json("runs", "seattle_weather")) == ["merged", "merged", "promoted"]
    assert lineage["code_digest"]
    assert lineage["lock_digest"]
    (digits,) = system.json("versions", "digits")
    assert digits["manifest"]["lineage"]["source"] == "brought"
    assert digits["author"] == "arn:aws:iam::000000000000:user/developer"


def test_an_answer_names_the_version_that_made_it(system: System) -> None:
    answer = _predict(system, "digits", DIGITS)
    (version,) = system.json("versions", "digits")
    assert answer["version"] == version["number"]
    assert answer["digest"] == version["manifest"]["digest"]
    assert len(answer["predictions"]) == len(DIGITS["instances"])
    assert answer["prediction_id"] != _predict(system, "digits", DIGITS)["prediction_id"]


def test_the_curl_line_that_up_prints_works_when_pasted(system: System) -> None:
    (line,) = [line.strip() for line in system.first_output.splitlines() if line.strip().startswith("curl ")]
    ended = subprocess.run(["bash", "-c", line], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(ended.stdout)["version"] == 1


@pytest.fixture(scope="module")
def second_version(system: System) -> dict[str, Any]:
    """A new year arrives."""
    before = _predict(system, "seattle_weather", EXAMPLE)
    run = system.json("upload", "seattle_weather", str(NEW))
    return {"before": before, "run": run}


def test_a_new_year_becomes_a_version_with_another_answer(system: System, second_version: dict[str, Any]) -> None:
    assert second_version["run"]["status"] == "promoted", second_version["run"]
    assert second_version["run"]["version"] == 2
    time.sleep(REFRESH_S)
    after = _predict(system, "seattle_weather", EXAMPLE)
    assert (second_version["before"]["version"], after["version"]) == (1, 2)
    assert after["predictions"] != second_version["before"]["predictions"]
    newest = system.json("versions", "seattle_weather")[0]
    assert newest["manifest"]["lineage"]["parent_version"] == 1
    assert len(newest["manifest"]["lineage"]["objects"]) == 4


def test_the_same_file_again_changes_nothing(system: System, second_version: dict[str, Any]) -> None:
    before = (system.json("versions", "seattle_weather"), system.json("history", "seattle_weather"))
    run = system.json("upload", "seattle_weather", str(NEW))
    assert run["status"] == "duplicate"
    assert (system.json("versions", "seattle_weather"), system.json("history", "seattle_weather")) == before


def test_the_same_event_five_times_starts_one_run(system: System, second_version: dict[str, Any]) -> None:
    workflow = system.outputs("Retraining-seattle-weather")["Workflow"]
    states = system.client("stepfunctions")
    bucket = system.outputs("Registry")["DataBucket"]
    head = system.client("s3").head_object(Bucket=bucket, Key="seattle_weather/2012.csv")
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {
            "bucket": {"name": bucket},
            "object": {"key": "seattle_weather/2012.csv", "version-id": head["VersionId"]},
        },
    }
    before = system.json("history", "seattle_weather")
    started = [states.start_execution(stateMachineArn=workflow, input=json.dumps(event)) for _ in range(5)]
    for execution in started:
        ended = _wait(states, execution["executionArn"])
        assert ended["status"] == "SUCCEEDED"
        assert json.loads(ended["output"])["claim"]["status"] == "duplicate"
    assert system.json("history", "seattle_weather") == before


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"detail": {}},
        {"detail": {"bucket": {"name": "elsewhere"}, "object": {"key": "seattle_weather/x.csv"}}},
        {"detail": {"bucket": {"name": 7}, "object": {"key": None}}},
    ],
    ids=["empty", "no detail", "another bucket", "wrong types"],
)
def test_an_event_that_is_not_ours_ends_quietly(system: System, event: dict[str, Any]) -> None:
    states = system.client("stepfunctions")
    workflow = system.outputs("Retraining-seattle-weather")["Workflow"]
    started = states.start_execution(stateMachineArn=workflow, input=json.dumps(event))
    ended = _wait(states, started["executionArn"])
    assert ended["status"] == "SUCCEEDED", ended
    assert json.loads(ended["output"])["claim"]["status"] == "ignored"


def _wait(states: Any, execution: str) -> Any:
    for _ in range(240):
        found = states.describe_execution(executionArn=execution)
        if found["status"] != "RUNNING":
            return found
        time.sleep(0.25)
    raise AssertionError(f"{execution} did not end")


def test_bad_data_is_rejected_with_findings_and_leaves_the_live_model_alone(
    system: System, second_version: dict[str, Any], tmp_path: Path
) -> None:
    broken = tmp_path / "2016.csv"
    lines = (DATA / "2014.csv").read_text().splitlines()
    lines[5] = lines[5].replace(lines[5].split(",")[1], "a lot", 1)
    broken.write_text("\n".join(lines) + "\n")
    before = system.json("status")
    run = system.json("upload", "seattle_weather", str(broken))
    assert run["status"] == "rejected"
    assert "precipitation" in run["reason"]
    assert "a lot" in run["reason"]
    after = system.json("status")
    live = [(row["model"], row["live"], row["since"]) for row in before]
    assert [(row["model"], row["live"], row["since"]) for row in after] == live
    newest = system.json("history", "seattle_weather")[0]
    assert newest["kind"] == "rejected"
    assert "precipitation" in newest["reason"]


def test_a_rollback_is_one_command_and_the_endpoint_follows(system: System, second_version: dict[str, Any]) -> None:
    deployment = system.json("rollback", "seattle_weather", "--reason", "a test")
    assert deployment["champion"] == 1
    time.sleep(REFRESH_S)
    assert _predict(system, "seattle_weather", EXAMPLE)["version"] == 1
    entry = system.json("history", "seattle_weather")[0]
    assert (entry["kind"], entry["reason"]) == ("rolled_back", "a test")
    assert entry["actor"] == "arn:aws:iam::000000000000:user/developer"
    system.run("promote", "seattle_weather", "2", "--reason", "back again")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("promote", "seattle_weather", "99"), 2, "99"),
        (("promote", "digits", "1"), 4, "already"),
        (("rollback", "digits"), 4, "digits"),
        (("versions", "no_such_model"), 2, "no_such_model"),
        (("predict", "digits", "[1"), 2, "JSON"),
        (("predict", "digits", '[{"pixels": "x"}]'), 2, "400"),
        (("upload", "digits", "README.md"), 2, "not trained"),
        (("upload", "seattle_weather", "README.md"), 2, "README.md"),
        (("register", "digits", "README.md"), 2, "not an ONNX file"),
        (("--env", "nowhere", "status"), 2, "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_is_said_in_one_line_with_the_right_exit_code(
    system: System, arguments: tuple[str, ...], code: int, said: str
) -> None:
    shown = system.run(*arguments, code=code)
    assert said in " ".join(shown.split())
    assert "Traceback" not in shown


def test_logs_of_a_request_hold_the_caller_and_no_payload(system: System) -> None:
    answer = _predict(system, "digits", DIGITS)
    shown = system.run("logs", "digits", "--since", "10")
    (line,) = [line for line in shown.splitlines() if answer["prediction_id"] in line]
    audit = json.loads(line[line.index("{") :])
    assert audit["caller"] == "arn:aws:iam::000000000000:user/developer"
    assert audit["version"] == 1
    assert "pixels" not in line
