"""From accepted data to a live version, on the real weather: better goes live, what is not is a written reason."""

import hashlib
import json
from typing import Any

import msgspec
import pytest

from modelyard.contract.document import parse
from modelyard.contract.rules import Accepted, FieldRules, Rules
from modelyard.errors import ConflictError, NotFoundError, RequestError, UsageError
from modelyard.pointer_key import pointer_key
from modelyard.retraining import training_step
from modelyard.training.plan import Plan
from modelyard.training.search import Score
from modelyard.version import Lineage, OutputSpec, Signature, TensorSpec
from tests.fakes.onnx_models import echo, logarithm, row_sum
from tests.fakes.training_data import SMALL, csv_file, diabetes, plan, weather, weather_plan
from tests.fakes.workbench import EXECUTION, LARGEST_STATE, Bench

YEAR, NEXT, THIRD = weather(2012, 2013, 2014)
POOR = {"logistic_regression": {"C": [1e-5]}}
"""Hardly learns: its answers are those of the baseline, a little better."""


@pytest.fixture
def bench() -> Bench:
    return Bench(weather_plan())


def brought(bench: Bench, model: bytes, signature: Signature, *, task: Any = "multiclass") -> int:
    """A version from elsewhere, live."""
    version = bench.registry.register("tested", model, task=task, signature=signature, lineage=Lineage()).version
    bench.registry.promote("tested", version.number, reason="brought")
    return version.number


def accepting(found: Plan, version: int = 1) -> Plan:
    """The plan of somebody who answers for what the callers of a version stumble over."""
    rules = Rules(accept_breaking=Accepted(version, "the callers are ready"))
    return msgspec.structs.replace(found, contract=rules)


def report(bench: Bench, state: dict[str, Any]) -> dict[str, Any]:
    return msgspec.json.decode(bench.yard.artifacts.objects[state["evaluation"]["report_key"]])  # type: ignore[no-any-return]


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


def test_a_first_year_of_weather_becomes_version_1_and_live(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_CODE_DIGEST", "c0de")
    monkeypatch.setenv("MODELYARD_LOCK_DIGEST", "10cc")
    state = bench.run(bench.upload(YEAR), "run-1")
    assert state["promoted"] == {"version": 1, "revision": 1, "reason": state["evaluation"]["reason"]}
    assert live(bench) == (1, 1)
    version = bench.registry.version("tested", 1)
    lineage = version.manifest.lineage
    assert [(found.key, found.version_id, found.rows) for found in lineage.objects] == [
        ("tested/2012.csv", "v0001", 366)
    ]
    assert (lineage.source, lineage.parent_version, lineage.run_id) == ("trained", None, "run-1")
    assert (lineage.execution, lineage.code_digest, lineage.lock_digest) == (EXECUTION + "run-1", "c0de", "10cc")
    assert version.manifest.metrics == state["evaluation"]["metrics"]
    assert version.manifest.evaluation == state["evaluation"]["report_key"]
    assert version.manifest.note.startswith("logistic_regression: log_loss 0.9203 against 1.24 of the baseline")
    run = bench.registry.run("tested", "run-1")
    assert (run.status, run.version, run.reason) == ("promoted", 1, state["evaluation"]["reason"])
    assert [entry.kind for entry in bench.registry.history("tested").items] == ["promoted", "registered"]


def test_the_report_says_what_was_compared_on_what(bench: Bench) -> None:
    state = bench.run(bench.upload(YEAR), "run-1")
    found = report(bench, state)
    assert found["run_id"] == "run-1"
    assert found["champion"] is None
    assert found["parity"]["passed"] is True
    assert found["rows"] == 77
    assert {"challenger", "champion", "baseline"} == set(found["metrics"])
    assert [entry["key"] for entry in found["training"]["objects"]] == ["tested/2012.csv"]
    assert {score["candidate"] for score in found["training"]["leaderboard"]} == {"logistic_regression", "baseline"}
    assert all(len(score["folds"]) == 3 for score in found["training"]["leaderboard"])


def test_a_second_year_beats_the_champion_and_goes_live(bench: Bench) -> None:
    bench.run(bench.upload(YEAR), "run-1")
    state = bench.run(bench.upload(NEXT, "2013.csv"), "run-2")
    assert state["evaluation"]["champion"] == 1
    assert "of the champion on" in state["evaluation"]["reason"]
    assert live(bench) == (2, 2)
    lineage = bench.registry.version("tested", 2).manifest.lineage
    assert lineage.parent_version == 1
    assert [found.key for found in lineage.objects] == ["tested/2012.csv", "tested/2013.csv"]
    assert bench.registry.rollback("tested", reason="undo").champion == 1


def test_a_challenger_that_is_not_better_is_rejected_and_the_champion_stays(bench: Bench) -> None:
    bench.run(bench.upload(YEAR + NEXT.split(b"\n", 1)[1]), "run-1")
    bench.plan = weather_plan(grids=POOR)
    state = bench.run(bench.upload(THIRD, "2014.csv"), "run-2")
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
    again = bench.run(bench.upload(THIRD, "2014.csv"), "run-3")
    assert again["conclusion"] == {
        "status": "duplicate",
        "reason": "run run-2 learnt from these bytes before and ended rejected",
    }
    assert len(bench.registry.history("tested").items) == 3, "a duplicate is no news"


def test_a_champion_from_before_a_column_was_added_is_compared_by_the_columns_it_knows(bench: Bench) -> None:
    few = {"date": "date", "wind": "number"}
    bench.plan = plan(target="weather", features=few)
    bench.run(bench.upload(YEAR), "run-1")
    bench.plan = accepting(weather_plan())
    state = bench.run(bench.upload(NEXT, "2013.csv"), "run-2")
    assert "of the champion on" in state["evaluation"]["reason"]
    assert live(bench) == (2, 2)


def test_a_champion_that_needs_a_column_which_is_gone_is_not_compared_with_and_that_is_said(bench: Bench) -> None:
    bench.run(bench.upload(YEAR), "run-1")
    bench.plan = accepting(plan(target="weather", features={"date": "date", "temp_max": "number"}))
    state = bench.run(bench.upload(NEXT, "2013.csv"), "run-2")
    assert "of the baseline without learning" in state["evaluation"]["reason"]
    assert state["evaluation"]["reason"].endswith(
        "; the champion, version 1, needs precipitation, temp_min, wind, which the data no longer has: "
        "not compared with it"
    )
    assert live(bench) == (2, 2)
    assert bench.registry.version("tested", 2).manifest.lineage.parent_version == 1


def test_a_champion_with_hundreds_of_other_columns_makes_no_reason_too_long_for_the_ledger(bench: Bench) -> None:
    inputs = tuple(TensorSpec(f"a_rather_long_name_of_a_column_{at}", "float32", (None, 1)) for at in range(500))
    brought(bench, row_sum(), Signature(inputs, (OutputSpec("y", "float32", (None, 1)),)))
    bench.plan = accepting(bench.plan)
    state = bench.run(bench.upload(YEAR), "run-1")
    assert state["promoted"]["version"] == 2
    assert len(state["evaluation"]["reason"]) == 900
    assert state["evaluation"]["reason"].endswith("…")
    assert "column_499" in report(bench, state)["reason"], "the report has all of it"


COLUMN = Signature((TensorSpec("x", "float32", (None, 1)),), (OutputSpec("x_out", "float32", (None, 1)),))


@pytest.mark.parametrize(
    ("champion", "said"),
    [
        (echo(("x", "float32", [None, 1])), "cannot answer these rows (prediction 0 is -29.0; expected an object"),
        (logarithm(), "cannot answer these rows (output 'y' is not a finite number for instance 0)"),
        (echo(("x", "string", [None, 1])), "cannot answer these rows ('x' of instance 0 is a number"),
        (b"no model", "cannot be loaded (onnxruntime "),
    ],
    ids=["outputs of its own", "fails on these rows", "takes another type", "does not load"],
)
def test_a_champion_that_cannot_answer_todays_rows_does_not_hold_its_place_for_ever(champion: bytes, said: str) -> None:
    bench = Bench(accepting(plan(target="y", features={"x": "number"}, task="binary")))
    brought(bench, champion, COLUMN)
    rows = [[at - 30, "low" if at < 30 else "high"] for at in range(60)]
    state = bench.run(bench.upload(csv_file(["x", "y"], rows)), "run-1")
    assert f"; the champion, version 1, {said}" in state["evaluation"]["reason"]
    assert state["evaluation"]["reason"].endswith(": not compared with it")
    assert live(bench) == (2, 2)


def test_a_version_promises_what_its_data_held_those_rows_included_that_it_was_measured_on(bench: Bench) -> None:
    bench.run(bench.upload(YEAR), "run-1")
    contract = parse(bench.registry.version("tested", 1).manifest.contract)
    assert contract.rows == 366
    warmest, date = contract.fields["temp_max"], contract.fields["date"]
    assert warmest.seen == (-1.1, 34.4)
    assert (warmest.minimum, warmest.maximum, warmest.mode) == (-18.85, 52.15, "reject")
    assert (date.categories, date.nulls, warmest.nulls, warmest.null_rate) == (None, False, True, 0.0)
    bench.run(bench.upload(NEXT, "2013.csv"), "run-2")
    assert live(bench) == (2, 2), "more data never makes a promise narrower"
    assert parse(bench.registry.version("tested", 2).manifest.contract).rows == 731


BREAKING: dict[str, tuple[Plan, str]] = {
    "a column less": (
        weather_plan(features={"date": "date", "precipitation": "number", "temp_max": "number", "wind": "number"}),
        "input 'temp_min' is gone",
    ),
    "a narrower range": (
        msgspec.structs.replace(weather_plan(), contract=Rules(fields={"wind": FieldRules(maximum=5.0)})),
        "allowed values of input 'wind' are -4.15 to 5, and were -3.25 to 13.75",
    ),
    "accepted for another version": (
        accepting(plan(target="weather", features={"date": "date", "temp_max": "number"}), version=2),
        "input 'wind' is gone",
    ),
}


@pytest.mark.parametrize("case", BREAKING)
def test_a_challenger_that_would_break_callers_is_rejected_with_what_breaks(bench: Bench, case: str) -> None:
    changed, said = BREAKING[case]
    bench.run(bench.upload(YEAR), "run-1")
    bench.plan = changed
    state = bench.run(bench.upload(NEXT, "2013.csv"), "run-2")
    assert "registered" not in state
    assert live(bench) == (1, 1)
    assert state["evaluation"]["passed"] is False
    assert said in state["evaluation"]["findings"]
    run, entry = bench.registry.run("tested", "run-2"), bench.registry.history("tested").items[0]
    assert run.status == entry.kind == "rejected"
    assert "it would break callers of the champion, version 1: " in run.reason
    assert entry.details["findings"] == state["evaluation"]["findings"]
    assert report(bench, state)["breaks"] == state["evaluation"]["findings"]


def test_accepted_breaks_of_a_challenger_go_to_the_ledger_with_the_reason(bench: Bench) -> None:
    bench.run(bench.upload(YEAR), "run-1")
    bench.plan = accepting(plan(target="weather", features={"date": "date", "temp_max": "number"}))
    bench.run(bench.upload(NEXT, "2013.csv"), "run-2")
    (entry,) = [found for found in bench.registry.history("tested").items if found.kind == "registered"][:1]
    assert (entry.version, entry.reason) == (2, "the callers are ready")
    assert entry.details["live"] == 1
    assert "input 'wind' is gone" in entry.details["breaks"]


def test_limits_that_do_not_go_with_the_data_end_the_run_as_a_rejection(bench: Bench) -> None:
    rules = Rules(fields={"wind": FieldRules(minimum=1000.0)})
    bench.plan = msgspec.structs.replace(bench.plan, contract=rules)
    state = bench.run(bench.upload(YEAR), "run-1")
    assert bench.registry.run("tested", "run-1").status == "rejected"
    assert "contract.fields.wind allows from 1000 to" in state["conclusion"]["reason"]


def test_a_champion_whose_file_is_gone_ends_the_run_as_a_failure(bench: Bench) -> None:
    bench.run(bench.upload(YEAR), "run-1")
    del bench.yard.artifacts.objects[bench.registry.version("tested", 1).manifest.key]
    state = bench.run(bench.upload(NEXT, "2013.csv"), "run-2")
    assert state["error"]["Error"] == NotFoundError.__name__
    assert bench.registry.run("tested", "run-2").status == "failed"
    assert (bench.registry.deployment("tested") or pytest.fail("gone")).champion == 1


def test_a_file_that_is_not_the_model_that_was_trained_is_rejected(bench: Bench) -> None:
    state = bench.accept(YEAR)
    trained = bench.train(state)
    bench.plan = weather_plan(grids=POOR)
    other = bench.train(dict(state), "run-other")
    bench.plan = weather_plan()
    bench.yard.artifacts.objects[trained["model_key"]] = bench.yard.artifacts.objects[other["model_key"]]
    verdict = bench.evaluate(state)
    assert verdict["passed"] is False
    assert verdict["reason"].startswith("the ONNX file does not answer as the trained model did: row ")
    assert report(bench, state)["parity"]["passed"] is False


def test_a_challenger_that_cannot_answer_is_a_failure_and_not_a_comparison_without_it(bench: Bench) -> None:
    bench.run(bench.upload(YEAR), "run-1")
    state = bench.accept(NEXT, "2013.csv", "run-2")
    trained = bench.train(state, "run-2")
    bench.yard.artifacts.objects[trained["model_key"]] = row_sum()
    with pytest.raises(RequestError, match="'x'"):
        bench.evaluate(state, "run-2")


@pytest.mark.parametrize("change", ["promoted", "rolled back"])
def test_a_deployment_that_changed_since_the_evaluation_is_a_conflict(bench: Bench, change: str) -> None:
    bench.run(bench.upload(YEAR), "run-1")
    first = bench.registry.version("tested", 1).manifest
    by_hand = brought(bench, bench.yard.artifacts.objects[first.key], first.signature)
    if change == "promoted":
        bench.registry.rollback("tested")
    state = bench.accept(NEXT, "2013.csv", "run-2")
    for step in (bench.train, bench.evaluate, bench.register):
        step(state, "run-2")
    if change == "promoted":
        bench.registry.promote("tested", by_hand, reason="by hand")
    else:
        bench.registry.rollback("tested", reason="it was wrong")
    before = live(bench)
    with pytest.raises(ConflictError, match="is not at revision") as conflict:
        bench.promote(state, "run-2")
    assert conflict.value.code == "revision_changed"
    assert live(bench) == before
    assert bench.registry.run("tested", "run-2").status == "running"
    state["error"] = {"Error": "ConflictError", "Cause": json.dumps({"errorMessage": str(conflict.value)})}
    bench.conclude(state, "failed", "run-2")
    run = bench.registry.run("tested", "run-2")
    assert (run.status, run.version) == ("failed", 3), "the version is there for a person to promote"


def test_runs_that_overlap_make_one_version_and_all_end_well(bench: Bench) -> None:
    """Two years arrive at once: both runs train on both, so whichever is first makes live what both made."""
    states = [bench.accept(file, f"{at}.csv", f"run-{at}") for at, file in enumerate((YEAR, NEXT))]
    for step in (bench.train, bench.evaluate, bench.register, bench.promote):
        for at, state in enumerate(states):
            step(state, f"run-{at}")
    assert [state["registered"] for state in states] == [
        {"version": 1, "created": True},
        {"version": 1, "created": False},
    ]
    assert [state["promoted"]["revision"] for state in states] == [1, 1]
    assert live(bench) == (1, 1)
    assert [bench.registry.run("tested", f"run-{at}").status for at in range(2)] == ["promoted", "promoted"]
    assert [entry.kind for entry in bench.registry.history("tested").items] == ["promoted", "registered"]


def test_every_step_that_is_repeated_gives_the_same_answer_and_leaves_no_second_record(bench: Bench) -> None:
    bench.run(bench.upload(YEAR), "run-1")
    event = bench.upload(NEXT, "2013.csv")
    state: dict[str, Any] = {"claim": bench.claim(event, "run-2")}
    state["validation"] = bench.validate(state["claim"]["object"], "run-2")
    for step in (bench.train, bench.evaluate, bench.register, bench.promote):
        assert step(state, "run-2") == step(state, "run-2"), step.__name__
    assert bench.claim(event, "run-2") == state["claim"]
    assert live(bench) == (2, 2)
    assert bench.registry.model("tested").versions == 2
    kinds = [entry.kind for entry in bench.registry.history("tested").items]
    assert kinds == ["promoted", "registered", "promoted", "registered"]
    assert len(bench.registry.runs("tested").items) == 2
    assert len([key for key in bench.yard.artifacts.objects if key.startswith("reports/")]) == 2
    assert len([key for key in bench.yard.artifacts.objects if key.startswith("runs/tested/run-2/")]) == 3


def test_a_promotion_that_is_repeated_after_a_rollback_does_not_undo_it(bench: Bench) -> None:
    bench.run(bench.upload(YEAR), "run-1")
    state = bench.run(bench.upload(NEXT, "2013.csv"), "run-2")
    bench.registry.rollback("tested", reason="it was wrong")
    assert bench.promote(state, "run-2") == state["promoted"]
    assert live(bench) == (1, 3)


def test_a_version_may_wait_for_a_person(bench: Bench) -> None:
    bench.plan = msgspec.structs.replace(bench.plan, automatic=False)
    state = bench.run(bench.upload(YEAR), "run-1")
    assert live(bench) is None
    run = bench.registry.run("tested", "run-1")
    assert (run.status, run.version, run.reason) == ("registered", 1, state["evaluation"]["reason"])


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


REFUSED = {
    "too few rows to hold any out": (
        {"holdout": 0.2},
        csv_file(["x", "y"], [[at, "ab"[at % 2]] for at in range(3)]),
        "none of 3 rows is held out; at least 1 is needed",
    ),
    "too few rows to train": (
        {"holdout": 0.89},
        csv_file(["x", "y"], [[1, "a"], [2, "b"]]),
        "rows are left to train on",
    ),
    "no candidate that can be fitted": (
        {"grids": SMALL | {"logistic_regression": {"C": [-1.0]}}},
        csv_file(["x", "y"], [[at, "ab"[at % 2]] for at in range(60)]),
        "no candidate could be fitted to 4",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_data_that_nothing_can_be_trained_on_ends_as_a_rejection_in_words(case: str) -> None:
    changes, file, said = REFUSED[case]
    settings: dict[str, Any] = {"target": "y", "features": {"x": "number"}, "task": "binary"} | changes
    bench = Bench(plan(**settings))
    state = bench.run(bench.upload(file), "run-1")
    assert "error" not in state
    assert said in state["conclusion"]["reason"]
    assert bench.registry.run("tested", "run-1").status == "rejected"
    assert state["evaluation"] == {
        "passed": False,
        "reason": state["training"]["reason"],
        "findings": [],
        "metrics": {},
        "champion": None,
        "revision": 0,
        "report_key": None,
    }


def test_training_data_larger_than_the_memory_is_refused_in_words(bench: Bench) -> None:
    state = bench.accept(YEAR)
    bench.registry.add_dataset_file(
        "tested", bucket="data-bucket", key="tested/big.csv", version_id="v0", sha256="ab" * 32, rows=10**7,
        size=300 * 2**20, run_id="run-0",
    )  # fmt: skip
    bench.with_memory(3008)
    assert "have 300.0 MB together; with 3,008 MB of memory this step takes 75.2 MB" in bench.train(state)["reason"]


def test_a_plan_that_no_longer_fits_the_code_is_a_failure_and_no_rejection(bench: Bench) -> None:
    state = bench.accept(YEAR)
    bench.plan = weather_plan(kinds=["linear_regression"])
    with pytest.raises(UsageError, match="candidate 'linear_regression' does not fit task 'multiclass'"):
        bench.train(state)


def test_a_state_stays_small_with_thousands_of_files_and_trials(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step Functions ends a run whose state is above 256 KiB with an error that nothing catches."""
    real = training_step.train
    many = [Score("logistic_regression", {"C": float(at)}, 0.5, 0.1, (0.5,) * 10) for at in range(3000)]
    unfit = [Score("random_forest", {"max_depth": at}, problem="☔" * 5000) for at in range(3)]
    remarks = tuple(f"{at}.csv: not used by the model: {'column, ' * 100}" for at in range(3000))

    def train(*args: Any, **kwargs: Any) -> Any:
        result = real(*args, **kwargs)
        return msgspec.structs.replace(result, leaderboard=[*unfit, *many], remarks=remarks)

    monkeypatch.setattr(training_step, "train", train)
    head, *lines = NEXT.splitlines()
    for at, line in enumerate(lines * 3):
        key, file = f"tested/{'☔' * 300}{at}.csv", b"\n".join([head, line.replace(b"2013", str(2100 + at).encode())])
        bench.registry.add_dataset_file(
            "tested", bucket="data-bucket", key=key, version_id=bench.uploads.put(key, file),
            sha256=hashlib.sha256(file).hexdigest(), rows=1, size=len(file), run_id="run-0",
        )  # fmt: skip
    state = bench.run(bench.upload(YEAR), "run-1")
    assert state["promoted"]["version"] == 1
    assert len(json.dumps(state)) < LARGEST_STATE / 2
    assert state["training"]["files"] == 1096
    assert len(state["training"]["leaderboard"]) == 5
    assert state["training"]["remarks"][-1] == "and 2,980 more"
    whole = report(bench, state)["training"]
    assert (len(whole["objects"]), len(whole["leaderboard"]), len(whole["remarks"])) == (1096, 3003, 3000)
    manifest = bench.registry.version("tested", 1).manifest
    assert 50 < len(manifest.lineage.objects) < 1096
    assert manifest.lineage.objects[-1].key == "tested/2012.csv", "the newest are listed"
    assert manifest.note.endswith(
        f"; trained on 1,096 files, of which the newest {len(manifest.lineage.objects)} are listed here: "
        "the report has all"
    )
