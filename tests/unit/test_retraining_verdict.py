"""From accepted data to a live version, on the real weather: better goes live, what is not is a written reason."""

import hashlib
import json
from typing import Any

import msgspec
import pytest

from modelyard.pointer_key import pointer_key
from modelyard.training import trainer
from modelyard.training.search import Score
from tests.fakes.training_data import SMALL, csv_file, dealt_weather, diabetes, plan, weather, weather_plan
from tests.fakes.workbench import EXECUTION, LARGEST_STATE, Bench

FIRST, SECOND, THIRD, FOURTH = dealt_weather()
POOR = {"logistic_regression": {"C": [1e-5]}}
"""Hardly learns: its answers are those of the baseline, a little better."""


@pytest.fixture
def bench() -> Bench:
    return Bench(weather_plan())


def live(bench: Bench) -> tuple[int, int] | None:
    """Champion and revision in the registry, which the pointer agrees with."""
    deployment, pointer = bench.registry.deployment("tested"), bench.yard.artifacts.get(pointer_key("tested"))
    if deployment is None or pointer is None:
        assert deployment is None
        assert pointer is None
        return None
    found = json.loads(pointer.body)
    assert (found["champion"]["version"], found["revision"]) == (deployment.champion, deployment.revision)
    return deployment.champion, deployment.revision


def test_a_first_file_of_weather_becomes_version_1_and_live(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_CODE_DIGEST", "c0de")
    monkeypatch.setenv("MODELYARD_LOCK_DIGEST", "10cc")
    state = bench.run(bench.upload(FIRST, "first.csv"), "run-1")
    report_key = state["evaluation"]["report_key"]
    assert state["promoted"] == {
        "version": 1, "revision": 1, "reason": state["evaluation"]["reason"], "report_key": report_key,
    }  # fmt: skip
    assert live(bench) == (1, 1)
    version = bench.registry.version("tested", 1)
    lineage = version.manifest.lineage
    assert [(found.key, found.version_id, found.rows) for found in lineage.objects] == [
        ("tested/first.csv", "v0001", 366)
    ]
    assert (lineage.source, lineage.parent_version, lineage.run_id) == ("trained", None, "run-1")
    assert (lineage.execution, lineage.code_digest, lineage.lock_digest) == (EXECUTION + "run-1", "c0de", "10cc")
    assert version.manifest.metrics == state["evaluation"]["metrics"]
    assert version.manifest.evaluation == report_key
    assert version.manifest.note.startswith("logistic_regression: log_loss 0.9819 against 1.164 of the baseline")
    run = bench.registry.run("tested", "run-1")
    assert (run.status, run.version, run.reason) == ("promoted", 1, state["evaluation"]["reason"])
    assert (run.trigger, run.report) == ("upload", report_key)
    assert run.usd is not None
    assert run.usd > 0
    kinds = [entry.kind for entry in bench.registry.history("tested").items]
    assert kinds == ["promoted", "registered", "evaluation_frozen"]
    turn = bench.registry.turn("tested")
    assert (turn.holder, turn.waiter) == (None, None), "the next run need not wait"


def test_more_data_beats_the_champion_on_the_same_frozen_rows_and_goes_live(bench: Bench) -> None:
    states = [bench.run(bench.upload(file, f"{at}.csv"), f"run-{at}") for at, file in enumerate([FIRST, SECOND, THIRD])]
    assert live(bench) == (3, 3)
    assert [state["evaluation"]["champion"] for state in states] == [None, 1, 2]
    assert "of the champion on 73 held-out rows" in states[2]["evaluation"]["reason"]
    first, second, third = [bench.report(state) for state in states]
    assert first["evaluation_set"] == second["evaluation_set"] == third["evaluation_set"]
    assert first["metrics"]["challenger"] == second["metrics"]["champion"]
    assert second["metrics"]["challenger"] == third["metrics"]["champion"]
    lineage = bench.registry.version("tested", 3).manifest.lineage
    assert lineage.parent_version == 2
    assert [found.key for found in lineage.objects] == ["tested/0.csv", "tested/1.csv", "tested/2.csv"]
    assert bench.registry.rollback("tested", reason="undo").champion == 2


def test_a_challenger_that_is_not_better_is_rejected_and_the_champion_stays(bench: Bench) -> None:
    bench.run(bench.upload(FIRST), "run-1")
    bench.plan = weather_plan(grids=POOR)
    state = bench.run(bench.upload(SECOND, "2013.csv"), "run-2")
    assert state["evaluation"]["passed"] is False
    assert ": worse by" in state["evaluation"]["reason"]
    assert "registered" not in state
    assert live(bench) == (1, 1)
    assert bench.registry.model("tested").versions == 1
    run = bench.registry.run("tested", "run-2")
    assert (run.status, run.version, run.reason) == ("rejected", None, state["evaluation"]["reason"])
    entry = bench.registry.history("tested").items[0]
    assert (entry.kind, entry.run_id, entry.reason) == ("rejected", "run-2", run.reason)
    assert entry.details == {"report": state["evaluation"]["report_key"]}
    bench.plan = weather_plan()
    again = bench.run(bench.upload(SECOND, "2013.csv"), "run-3")
    assert (again["conclusion"]["status"], again["conclusion"]["reason"]) == (
        "duplicate",
        "run run-2 learnt from these bytes before and ended rejected",
    )
    assert bench.registry.run("tested", "run-3").status == "duplicate"
    assert [entry.kind for entry in bench.registry.history("tested").items[:2]] == ["rejected", "promoted"]


def test_the_gate_asks_for_the_confidence_of_the_plan() -> None:
    """The same two files: what is more likely than not is no proof."""
    bench = Bench(weather_plan(confidence=0.95))
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    state = bench.run(bench.upload(SECOND, "2.csv"), "run-2")
    assert state["conclusion"]["status"] == "rejected"
    assert "better by 0.03897, but with 95 % confidence chance may explain it" in state["conclusion"]["reason"]


def test_a_version_may_wait_for_a_person(bench: Bench) -> None:
    bench.plan = msgspec.structs.replace(bench.plan, automatic=False)
    state = bench.run(bench.upload(FIRST), "run-1")
    assert live(bench) is None
    run = bench.registry.run("tested", "run-1")
    assert (run.status, run.version, run.reason) == ("registered", 1, state["evaluation"]["reason"])
    assert run.report == state["evaluation"]["report_key"] == state["conclusion"]["report_key"]
    assert bench.registry.turn("tested").holder is None


def test_a_regression_goes_live_too() -> None:
    file, columns = diabetes()
    spec = plan(
        target="progression", features=dict.fromkeys(columns, "number"), task="regression", metric="rmse",
        kinds=["linear_regression"],
    )  # fmt: skip
    bench = Bench(spec)
    state = bench.run(bench.upload(file), "run-1")
    assert live(bench) == (1, 1)
    assert set(state["evaluation"]["metrics"]) == {"mae", "rmse", "r2"}


def test_sentences_are_a_feature_like_others() -> None:
    bench = Bench(plan(target="mood", features={"said": "text", "stars": "number"}, task="binary"))
    words = {"good": "a fine and sunny day", "bad": "a dark and stormy night"}
    rows = [[f"{words[mood]} {at % 7}", at % 5, mood] for at, mood in enumerate(["good", "bad"] * 40)]
    bench.run(bench.upload(csv_file(["said", "stars", "mood"], rows)), "run-1")
    assert live(bench) == (1, 1)
    contract = bench.registry.version("tested", 1).manifest.contract
    assert contract is not None
    assert "categories" not in contract["fields"]["said"], "every sentence is a new value"


REFUSED: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "too few rows to freeze any": (
        {"holdout": 0.2},
        csv_file(["x", "y"], [[1, "a"], [2, "b"]]),
        "2 rows are too few to be divided: 0 would be frozen for evaluation and 2 left to train on",
    ),
    "no fold with two classes": (
        {"holdout": 0.89},
        csv_file(["x", "y"], [[1, "a"], [2, "a"], [3, "b"]]),
        "no candidate could be fitted to 2 rows",
    ),
    "rows to train on of one class": (
        {"split": {"by": "time", "column": "day"}},
        csv_file(["day", "x", "y"], [[f"2012-01-{at:02}", at, "ab"[at > 20]] for at in range(1, 26)]),
        "all 20 rows to train on are of class 'a'; the others are frozen for evaluation",
    ),
    "no candidate that can be fitted": (
        {"grids": SMALL | {"logistic_regression": {"C": [-1.0]}}},
        csv_file(["x", "y"], [[at, "ab"[at % 2]] for at in range(60)]),
        "no candidate could be fitted to 48 rows",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_data_that_nothing_can_be_trained_on_ends_as_a_rejection_in_words(case: str) -> None:
    changes, file, said = REFUSED[case]
    settings: dict[str, Any] = {"target": "y", "features": {"x": "number"}, "task": "binary"} | changes
    bench = Bench(plan(**settings))
    state = bench.run(bench.upload(file), "run-1")
    assert "error" not in state
    assert "evaluation" not in state, "what was not trained is not evaluated"
    run, entry = bench.registry.run("tested", "run-1"), bench.registry.history("tested").items[0]
    assert (run.status, entry.kind) == ("rejected", "rejected")
    assert said in run.reason
    assert run.reason == entry.reason == state["conclusion"]["reason"]
    found = bench.document(run.report or "")
    assert (found["passed"], found["run_id"], found["metrics"]) == (False, "run-1", {})
    assert said in found["reason"]


def test_a_state_stays_small_with_thousands_of_files_and_trials(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step Functions ends a run whose state is above 256 KiB with an error that nothing catches."""
    real = trainer.train
    many = [Score("logistic_regression", {"C": float(at)}, 0.5, 0.1, (0.5,) * 10) for at in range(3000)]
    unfit = [Score("random_forest", {"max_depth": at}, problem="☔" * 5000) for at in range(3)]
    remarks = tuple(f"{at}.csv: not used by the model: {'column, ' * 100}" for at in range(3000))

    def train(*args: Any, **kwargs: Any) -> Any:
        result = real(*args, **kwargs)
        return msgspec.structs.replace(result, leaderboard=[*unfit, *many], remarks=remarks)

    monkeypatch.setattr(trainer, "train", train)
    head, *lines = weather(2013)[0].splitlines()
    for at, line in enumerate(lines * 3):
        key, file = f"tested/{'☔' * 300}{at}.csv", b"\n".join([head, line.replace(b"2013", str(2100 + at).encode())])
        bench.registry.add_dataset_file(
            "tested", bucket="data-bucket", key=key, version_id=bench.uploads.put(key, file),
            sha256=hashlib.sha256(file).hexdigest(), rows=1, size=len(file), run_id="run-0",
        )  # fmt: skip
    state = bench.run(bench.upload(weather(2012)[0]), "run-1")
    assert state["promoted"]["version"] == 1
    assert len(json.dumps(state)) < LARGEST_STATE / 2
    assert state["prepared"]["files"] == 1096
    assert len(state["training"]["leaderboard"]) == 5
    assert state["training"]["remarks"][-1] == "and 2,980 more"
    whole = bench.report(state)
    assert (len(whole["files"]), len(whole["training"]["leaderboard"]), len(whole["training"]["remarks"])) == (
        1096, 3003, 3000,
    )  # fmt: skip
    manifest = bench.registry.version("tested", 1).manifest
    assert 50 < len(manifest.lineage.objects) < 1096
    assert manifest.lineage.objects[-1].key == "tested/2012.csv", "the newest are listed"
    assert manifest.note.endswith(
        f"; trained on 1,096 files, of which the newest {len(manifest.lineage.objects)} are listed here: "
        "the report has all"
    )


# -- the document of a run --------------------------------------------------------------------------------------------

KEYS = {
    "format", "model", "task", "run_id", "created_at", "trigger", "champion", "plan", "contract", "files", "left_out",
    "remarks", "row_counts", "profile", "evaluation_set", "training", "passed", "reason", "metric", "metrics", "rows",
    "intervals", "improvement", "interval", "checks", "slices", "parity", "gap", "latency_ms", "champion_latency_ms",
    "size_mb", "calibration", "confusion", "residuals", "importance", "breaks", "ablation", "digest",
}  # fmt: skip


def test_the_document_of_a_run_says_what_was_learnt_from_and_what_was_compared_on_what(bench: Bench) -> None:
    bench.run(bench.upload(FIRST, "first.csv"), "run-1")
    state = bench.run(bench.upload(SECOND + FIRST.splitlines()[1] + b"\n", "second.csv"), "run-2")
    found = bench.report(state)
    assert set(found) == KEYS
    assert (found["format"], found["model"], found["task"], found["run_id"]) == (1, "tested", "multiclass", "run-2")
    assert found["created_at"] == bench.registry.run("tested", "run-2").started_at
    assert found["trigger"] == {
        "index": 0, "kind": "upload", "said": "upload of second.csv", "ablate": False, "again": False,
    }  # fmt: skip
    assert [(file["key"], file["version_id"], file["rows"]) for file in found["files"]] == [
        ("tested/first.csv", "v0001", 366), ("tested/second.csv", "v0002", 366),
    ]  # fmt: skip
    assert found["row_counts"] == {"read": 732, "duplicates": 1, "training": 658, "evaluation": 73}
    assert found["remarks"] == ["1 of 732 rows are in an earlier file already, the same in every column: dropped"]
    assert found["left_out"] == []
    frozen = bench.registry.evaluation_set("tested")
    assert frozen is not None
    assert found["evaluation_set"] == {
        "number": 1, "sha256": frozen.sha256, "rows": 73, "rule": "20 % of every class", "frozen_at": frozen.at,
    }  # fmt: skip
    record = msgspec.json.decode(bench.yard.artifacts.objects[state["prepared"]["record_key"]])
    assert found["digest"] == record["digest"]
    assert found["contract"]["rows"] == 731
    assert set(found["profile"]) == {"date", "precipitation", "temp_max", "temp_min", "wind", "weather"}
    assert {"challenger", "champion", "baseline"} == set(found["metrics"])
    assert found["parity"]["passed"] is True
    assert found["rows"] == 73
    assert {check["name"] for check in found["checks"]} == {
        "parity", "improvement", "slices", "gap", "latency", "size", "breaking",
    }  # fmt: skip
    assert found["ablation"] is None
    trained = found["training"]
    assert set(trained) == {
        "where", "why_there", "seconds", "candidate", "settings", "why", "leaderboard", "environment", "remarks",
    }  # fmt: skip
    assert (trained["where"], trained["candidate"], trained["settings"]) == ("lambda", "logistic_regression", {"C": 10})
    assert {score["candidate"] for score in trained["leaderboard"]} == {"logistic_regression", "baseline"}
    assert all(len(score["folds"]) == 3 for score in trained["leaderboard"])
    assert "scikit-learn" in trained["environment"]["libraries"]
    assert trained["environment"]["code_digest"] is None


def test_the_page_of_a_document_lies_beside_it(bench: Bench) -> None:
    state = bench.run(bench.upload(FIRST), "run-1")
    key = state["evaluation"]["report_key"].replace(".json", ".html")
    assert bench.yard.artifacts.objects[key].startswith(b"<!doctype html>")


def test_a_page_that_cannot_be_drawn_loses_no_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelyard.retraining import reports

    def page(_: Any) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(reports, "page", page)
    state = bench.run(bench.upload(FIRST), "run-1")
    assert live(bench) == (1, 1)
    assert bench.report(state)["passed"] is True
