"""Retraining against the deployed system: what starts it, what it writes down, and how it is taken up again."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard.retraining.turn_records import Asking
from tests.cloud.conftest import PROJECT, System

DATA = PROJECT / "models" / "seattle_weather" / "data"
NEW = PROJECT / "models" / "seattle_weather" / "new" / "2015.csv"


def trained(system: System, *arguments: str, code: int = 0) -> str:
    return system.run("train", "seattle_weather", "--watch", *arguments, code=code)


def runs(system: System) -> Any:
    return system.json("runs", "seattle_weather")


def test_the_first_training_froze_the_newest_fifth_of_the_rows_and_wrote_it_down(system: System) -> None:
    found = system.json("dataset", "seattle_weather")
    assert [(entry["number"], entry["rows"]) for entry in found["evaluation_sets"]][:1] == [(1, 220)]
    assert "the newest 20 %" in found["evaluation_sets"][0]["rule"]
    entries = system.json("history", "seattle_weather")
    assert "evaluation_frozen" in {entry["kind"] for entry in entries}


def test_a_version_is_trained_again_byte_for_byte(system: System) -> None:
    said = system.json("reproduce", "seattle_weather:1")
    assert said["same"] is True
    assert said["digest"] == said["again"]
    assert said["differences"] == []


def test_a_version_that_was_brought_is_not_reproduced_and_says_why(system: System) -> None:
    assert "brought" in system.run("reproduce", "digits:1", code=4)


def test_the_report_of_a_version_is_one_file_that_needs_nothing_else(system: System, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    system.run("report", "seattle_weather:1", "--output", str(page), "--no-open")
    text = page.read_text()
    assert "held-out rows" in text
    assert not re.search(r'(src|href)="https?://', text)
    document = system.json("report", "seattle_weather:1")
    assert document["evaluation_set"]["number"] == 1
    assert {check["name"] for check in document["checks"]} >= {
        "parity",
        "improvement",
        "slices",
        "gap",
        "latency",
        "size",
    }


def test_a_training_with_nothing_new_trains_nothing_and_says_so(system: System) -> None:
    trained(system)
    shown = trained(system)
    assert "unchanged" in shown
    assert "nothing new to learn" in " ".join(shown.split())
    assert runs(system)[0]["status"] == "unchanged"


def test_a_run_that_failed_goes_on_from_the_step_that_failed(system: System) -> None:
    s3, bucket = system.client("s3"), system.outputs("Registry")["ArtifactBucket"]
    key = system.json("dataset", "seattle_weather")["evaluation_sets"][-1]["key"]
    frozen = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    before = system.json("status")
    s3.delete_object(Bucket=bucket, Key=key)
    try:
        shown = trained(system, "--again", code=1)
    finally:
        s3.put_object(Bucket=bucket, Key=key, Body=frozen)
    assert "✗ Prepare the data" in shown
    failed = runs(system)[0]
    assert failed["status"] == "failed"
    assert key in failed["reason"]
    live = [(row["model"], row["live"], row["since"]) for row in before]
    assert [(row["model"], row["live"], row["since"]) for row in system.json("status")] == live
    trained(system, "--redrive", failed["run_id"])
    again = runs(system)[0]
    assert again["status"] in {"rejected", "promoted"}
    states = [state["state"] for state in system.json("runs", "seattle_weather", "--run", again["run_id"])["states"]]
    assert "Claim the trigger" not in states
    assert "Train the candidates" in states
    assert "only a run that failed" in system.run(
        "train", "seattle_weather", "--redrive", runs(system)[0]["run_id"], code=4
    )


def test_uploads_that_come_together_are_one_training(system: System) -> None:
    """Another run trains until all three have asked, however long that takes, so that no debounce ends in between."""
    header, *rows = NEW.read_text().splitlines()
    before, registry = len(runs(system)), system.registry()
    bucket, s3 = system.outputs("Registry")["DataBucket"], system.client("s3")
    assert registry.take_turn("seattle_weather", Asking(run_id="another", train_s=600, manual=True)).status == "go"
    try:
        for number, part in enumerate((rows[:100], rows[100:200], rows[200:])):
            body = "\n".join([header, *part]).replace("2015-", "2017-") + "\n"
            s3.put_object(Bucket=bucket, Key=f"seattle_weather/part{number}.csv", Body=body.encode())
        new = eventually(lambda: new_runs(system, before), lambda new: statuses(new) == ["merged", "merged", "running"])
        (learner,) = [run for run in new if run["status"] == "running"]
        assert registry.turn("seattle_weather").waiter.run_id == learner["run_id"]
    finally:
        registry.release_turn("seattle_weather", "another")
    new = eventually(lambda: new_runs(system, before), lambda new: "running" not in statuses(new))
    assert [run["into"] for run in new if run["status"] == "merged"] == [learner["run_id"]] * 2
    (ended,) = [run for run in new if run["run_id"] == learner["run_id"]]
    assert ended["status"] in {"promoted", "rejected"}


def new_runs(system: System, before: int) -> Any:
    found = runs(system)
    return found[: len(found) - before]


def statuses(new: Any) -> list[str]:
    return sorted(run["status"] for run in new)


def eventually(look: Callable[[], Any], seen: Callable[[Any], bool], within_s: float = 120) -> Any:
    deadline = time.monotonic() + within_s
    while not seen(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    return found


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("train", "digits"), 2, "not trained here"),
        (("train", "no_such_model"), 2, "no_such_model"),
        (("train", "seattle_weather", "--redrive", "x", "--again"), 2, "redrive"),
        (("train", "seattle_weather", "--redrive", "no-such-run"), 2, "no-such-run"),
        (("runs", "no_such_model"), 2, "no_such_model"),
        (("runs", "seattle_weather", "--run", "no-such-run"), 2, "no-such-run"),
        (("dataset", "no_such_model"), 2, "no_such_model"),
        (("dataset", "seattle_weather", "--reason", "x"), 2, "--refresh-evaluation"),
        (("dataset", "seattle_weather", "--refresh-evaluation"), 2, "reason"),
        (("reproduce", "seattle_weather:99"), 2, "99"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_is_said_in_one_line_with_the_right_exit_code(
    system: System, arguments: tuple[str, ...], code: int, said: str
) -> None:
    shown = system.run(*arguments, code=code)
    assert said in " ".join(shown.split())
    assert "Traceback" not in shown


def test_other_evaluation_rows_are_an_act_that_the_ledger_knows(system: System) -> None:
    before = system.json("dataset", "seattle_weather")["evaluation_sets"]
    shown = system.run("dataset", "seattle_weather", "--refresh-evaluation", "--reason", "the weather has changed")
    assert f"evaluation set {len(before) + 1}" in shown
    trained(system)
    after = system.json("dataset", "seattle_weather")["evaluation_sets"]
    assert len(after) == len(before) + 1
    assert after[-1]["reason"] == "the weather has changed"
    kinds = [entry["kind"] for entry in system.json("history", "seattle_weather")]
    assert "refresh_requested" in kinds
    assert kinds.count("evaluation_frozen") == len(after)
