"""The evaluate step: challenger and champion answer the same frozen rows, whatever the champion is."""

from typing import Any

import msgspec
import pytest

from modelyard.contract.document import parse
from modelyard.contract.rules import Accepted, FieldRules, Rules
from modelyard.errors import NotFoundError, RequestError
from modelyard.retraining import evaluating
from modelyard.retraining.reports import leave_document
from modelyard.training.plan import Plan
from modelyard.version import Lineage, OutputSpec, Signature, TensorSpec
from tests.fakes.onnx_models import echo, logarithm, row_sum
from tests.fakes.training_data import csv_file, dealt_weather, plan, weather, weather_plan
from tests.fakes.trigger_events import manual_input
from tests.fakes.workbench import Bench

FIRST, SECOND, THIRD, FOURTH = dealt_weather()
POOR = {"logistic_regression": {"C": [1e-5]}}


@pytest.fixture
def bench() -> Bench:
    return Bench(weather_plan())


def brought(bench: Bench, model: bytes, signature: Signature) -> int:
    """A version from elsewhere, live."""
    version = bench.registry.register(
        "tested", model, task="multiclass", signature=signature, lineage=Lineage()
    ).version
    bench.registry.promote("tested", version.number, reason="brought")
    return version.number


def accepting(found: Plan, version: int = 1) -> Plan:
    """The plan of somebody who answers for what the callers of a version stumble over."""
    rules = Rules(accept_breaking=Accepted(version, "the callers are ready"))
    return msgspec.structs.replace(found, contract=rules)


def champion(bench: Bench) -> int | None:
    found = bench.registry.deployment("tested")
    return None if found is None else found.champion


def trained(bench: Bench, file: bytes, run_id: str) -> dict[str, Any]:
    """The state before the evaluation."""
    state = bench.accept(file, f"{run_id}.csv", run_id)
    for step in (bench.turn, bench.prepare, bench.train):
        step(state, run_id)
    return state


# -- a champion that is not like the challenger -----------------------------------------------------------------------


def test_a_champion_from_before_a_column_was_added_is_compared_by_the_columns_it_knows(bench: Bench) -> None:
    bench.plan = plan(target="weather", features={"date": "date", "wind": "number"})
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    bench.plan = accepting(weather_plan())
    state = bench.run(bench.upload(SECOND, "2.csv"), "run-2")
    assert "of the champion on" in state["evaluation"]["reason"]
    assert champion(bench) == 2


def test_a_champion_that_needs_a_column_which_is_gone_is_not_compared_with_and_that_is_said(bench: Bench) -> None:
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    bench.plan = accepting(plan(target="weather", features={"date": "date", "temp_max": "number"}))
    state = bench.run(bench.upload(SECOND, "2.csv"), "run-2")
    assert "of the baseline without learning" in state["evaluation"]["reason"]
    assert state["evaluation"]["reason"].endswith(
        "; the champion, version 1, needs precipitation, temp_min, wind, which the data no longer has: "
        "not compared with it"
    )
    assert champion(bench) == 2
    assert bench.registry.version("tested", 2).manifest.lineage.parent_version == 1


def test_a_champion_with_hundreds_of_other_columns_makes_no_reason_too_long_for_the_ledger(bench: Bench) -> None:
    inputs = tuple(TensorSpec(f"a_rather_long_name_of_a_column_{at}", "float32", (None, 1)) for at in range(500))
    brought(bench, row_sum(), Signature(inputs, (OutputSpec("y", "float32", (None, 1)),)))
    bench.plan = accepting(bench.plan)
    state = bench.run(bench.upload(FIRST), "run-1")
    assert state["promoted"]["version"] == 2
    assert len(state["evaluation"]["reason"]) == 900
    assert state["evaluation"]["reason"].endswith("…")
    assert "column_499" in bench.report(state)["reason"], "the report has all of it"


COLUMN = Signature((TensorSpec("x", "float32", (None, 1)),), (OutputSpec("x_out", "float32", (None, 1)),))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (echo(("x", "float32", [None, 1])), "cannot answer these rows (prediction 0 is "),
        (logarithm(), "cannot answer these rows (output 'y' is not a finite number for instance 0)"),
        (echo(("x", "string", [None, 1])), "cannot answer these rows ('x' of instance 0 is a number"),
        (b"no model", "cannot be loaded (onnxruntime "),
    ],
    ids=["outputs of its own", "fails on these rows", "takes another type", "does not load"],
)
def test_a_champion_that_cannot_answer_todays_rows_does_not_hold_its_place_for_ever(model: bytes, said: str) -> None:
    bench = Bench(accepting(plan(target="y", features={"x": "number"}, task="binary")))
    brought(bench, model, COLUMN)
    rows = [[at - 60, "low" if at < 30 else "high"] for at in range(60)]
    state = bench.run(bench.upload(csv_file(["x", "y"], rows)), "run-1")
    assert f"; the champion, version 1, {said}" in state["evaluation"]["reason"]
    assert state["evaluation"]["reason"].endswith(": not compared with it")
    assert champion(bench) == 2
    assert bench.report(state)["champion"] == 1


def test_a_champion_whose_file_is_gone_ends_the_run_as_a_failure(bench: Bench) -> None:
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    del bench.yard.artifacts.objects[bench.registry.version("tested", 1).manifest.key]
    state = bench.run(bench.upload(SECOND, "2.csv"), "run-2")
    assert state["error"]["Error"] == NotFoundError.__name__
    assert bench.registry.run("tested", "run-2").status == "failed"
    assert champion(bench) == 1
    assert bench.registry.turn("tested").holder is None, "a failure gives its turn back"


# -- what the challenger may not do -----------------------------------------------------------------------------------


def test_a_file_that_is_not_the_model_that_was_trained_is_rejected(bench: Bench) -> None:
    state = trained(bench, FIRST, "run-1")
    key = state["training"]["model_key"]
    other = Bench(weather_plan(grids=POOR))
    another = trained(other, FIRST, "run-1")["training"]["model_key"]
    bench.yard.artifacts.objects[key] = other.yard.artifacts.objects[another]
    verdict = bench.evaluate(state)
    assert verdict["passed"] is False
    assert "the ONNX file does not answer as the trained model did: row " in verdict["reason"]
    assert bench.report(state)["parity"]["passed"] is False


def test_a_challenger_that_cannot_answer_is_a_failure_and_not_a_comparison_without_it(bench: Bench) -> None:
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    state = trained(bench, SECOND, "run-2")
    bench.yard.artifacts.objects[state["training"]["model_key"]] = row_sum()
    with pytest.raises(RequestError, match="'x'"):
        bench.evaluate(state, "run-2")


def test_a_version_promises_what_its_data_held_those_rows_included_that_it_was_measured_on(bench: Bench) -> None:
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    contract = parse(bench.registry.version("tested", 1).manifest.contract)
    assert contract.rows == 366
    warmest, date = contract.fields["temp_max"], contract.fields["date"]
    assert warmest.seen == (1.1, 34.4)
    assert (date.categories, date.nulls, warmest.nulls, warmest.null_rate) == (None, False, True, 0.0)
    bench.run(bench.upload(SECOND, "2.csv"), "run-2")
    assert champion(bench) == 2, "more data never makes a promise narrower"
    assert parse(bench.registry.version("tested", 2).manifest.contract).rows == 731


BREAKING: dict[str, tuple[Plan, str]] = {
    "a column less": (
        weather_plan(features={"date": "date", "precipitation": "number", "temp_max": "number", "wind": "number"}),
        "input 'temp_min' is gone",
    ),
    "a narrower range": (
        msgspec.structs.replace(weather_plan(), contract=Rules(fields={"wind": FieldRules(maximum=5.0)})),
        "allowed values of input 'wind' are -3.8 to 5, and were -3.5 to 12.9",
    ),
    "accepted for another version": (
        accepting(plan(target="weather", features={"date": "date", "temp_max": "number"}), version=2),
        "input 'wind' is gone",
    ),
}


@pytest.mark.parametrize("case", BREAKING)
def test_a_challenger_that_would_break_callers_is_rejected_with_what_breaks(bench: Bench, case: str) -> None:
    changed, said = BREAKING[case]
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    bench.plan = changed
    state = bench.run(bench.upload(SECOND, "2.csv"), "run-2")
    assert "registered" not in state
    assert champion(bench) == 1
    assert state["evaluation"]["passed"] is False
    assert said in " ".join(state["evaluation"]["findings"])
    run, entry = bench.registry.run("tested", "run-2"), bench.registry.history("tested").items[0]
    assert run.status == entry.kind == "rejected"
    assert "it would break callers of the champion, version 1: " in run.reason
    assert entry.details["findings"] == state["evaluation"]["findings"]
    assert bench.report(state)["breaks"] == state["evaluation"]["findings"]


def test_accepted_breaks_of_a_challenger_go_to_the_ledger_with_the_reason(bench: Bench) -> None:
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    bench.plan = accepting(plan(target="weather", features={"date": "date", "temp_max": "number"}))
    bench.run(bench.upload(SECOND, "2.csv"), "run-2")
    (entry,) = [found for found in bench.registry.history("tested").items if found.kind == "registered"][:1]
    assert (entry.version, entry.reason) == (2, "the callers are ready")
    assert entry.details["live"] == 1
    assert "input 'wind' is gone" in entry.details["breaks"]


def test_limits_that_do_not_go_with_the_data_end_the_run_as_a_rejection(bench: Bench) -> None:
    rules = Rules(fields={"wind": FieldRules(minimum=1000.0)})
    bench.plan = msgspec.structs.replace(bench.plan, contract=rules)
    state = bench.run(bench.upload(FIRST), "run-1")
    assert bench.registry.run("tested", "run-1").status == "rejected"
    assert "contract.fields.wind allows from 1000 to" in state["conclusion"]["reason"]
    assert bench.registry.evaluation_set("tested") is None, "nothing is frozen for a model that cannot be"


# -- repeated and redriven --------------------------------------------------------------------------------------------


def test_an_evaluation_that_is_repeated_gives_the_same_answer_and_one_document(bench: Bench) -> None:
    """Though it measures times, which are never the same twice."""
    state = trained(bench, FIRST, "run-1")
    first = bench.evaluate(state)
    documents = dict(bench.yard.artifacts.objects)
    assert bench.evaluate(state) == first
    assert bench.yard.artifacts.objects == documents


def test_what_a_repeated_evaluation_measures_does_not_change_the_verdict(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was slow for a moment: the answer is what the document says."""
    state = trained(bench, FIRST, "run-1")
    first = bench.evaluate(state)
    asked = msgspec.structs.replace(bench.plan.evaluation, max_latency_ms=1e-9)
    evaluate = evaluating.evaluate
    monkeypatch.setattr(evaluating, "evaluate", lambda *args, **parts: evaluate(*args, **parts | {"asked": asked}))
    assert bench.evaluate(state) == first
    state["training"]["candidate"] = "another"
    assert bench.evaluate(state)["passed"] is False, "of another training it is another verdict"


def test_with_another_champion_it_is_another_evaluation(bench: Bench) -> None:
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    bench.run(bench.upload(SECOND, "2.csv"), "run-2")
    state = trained(bench, THIRD, "run-3")
    against_2 = bench.evaluate(state, "run-3")
    bench.registry.rollback("tested", reason="it was wrong")
    against_1 = bench.evaluate(state, "run-3")
    assert (against_2["champion"], against_1["champion"]) == (2, 1)
    assert against_2["report_key"] != against_1["report_key"]
    assert bench.document(against_1["report_key"])["champion"] == 1


def test_what_is_no_number_is_null_in_a_document(bench: Bench) -> None:
    document = {"model": "tested", "run_id": "run-1", "metrics": {"rmse": float("nan"), "mae": [float("-inf"), 1.5]}}
    key = leave_document(bench.workbench, document)
    assert bench.document(key)["metrics"] == {"rmse": None, "mae": [None, 1.5]}
    assert key.startswith("reports/tested/run-1-")


# -- what else is looked at -------------------------------------------------------------------------------------------


def test_rows_are_sliced_by_columns_that_the_model_does_not_see() -> None:
    spec = plan(target="y", features={"x": "number"}, task="binary")
    asked = msgspec.structs.replace(spec.evaluation, slices=["region", "x"], max_slice_loss=5.0)
    bench = Bench(msgspec.structs.replace(spec, evaluation=asked))
    rows = [[at * 7 % 200, ["north", "south"][at % 2], "low" if at * 7 % 200 < 100 else "high"] for at in range(200)]
    state = bench.run(bench.upload(csv_file(["x", "region", "y"], rows)), "run-1")
    slices = bench.report(state)["slices"]
    assert {(found["column"], found["value"]) for found in slices if found["column"] == "region"} == {
        ("region", "north"), ("region", "south"),
    }  # fmt: skip
    assert len([found for found in slices if found["column"] == "x"]) == 4
    assert sum(found["rows"] for found in slices) == 2 * state["prepared"]["rows"]["evaluation"]


def test_rows_whose_features_are_all_missing_are_judged_like_others() -> None:
    """A row of commas only is a blank line to a reader of files, and a row to the evaluation."""
    bench = Bench(plan(target="y", features={"x": "number"}, task="binary"))
    rows = [[at, "" if at % 3 == 0 else at, "low" if at <= 30 else "high"] for at in range(60)]
    state = bench.run(bench.upload(csv_file(["id", "x", "y"], rows)), "run-1")
    assert champion(bench) == 1
    assert bench.report(state)["rows"] == state["prepared"]["rows"]["evaluation"] == 12


@pytest.mark.parametrize("kind", ["number", "category", "date", "text"])
@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_column_that_is_empty_on_one_side_of_the_rows_ends_no_run(kind: str, at: int) -> None:
    bench = Bench(plan(target="y", features={"x": kind, "z": "number"}, task="binary"))
    value = {"number": 5, "category": "q", "date": "2012-01-01", "text": "hello you"}[kind]
    rows = [[row, value if row == at else "", row, "low" if row <= 20 else "high"] for row in range(40)]
    bench.run(bench.upload(csv_file(["id", "x", "z", "y"], rows)), "run-1")
    assert champion(bench) == 1


def test_what_the_newest_file_changed_is_said_where_somebody_asked(bench: Bench) -> None:
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    bench.accept(SECOND, "2.csv", "run-2")
    bench.conclude({}, "failed", "run-2")
    state = bench.run(manual_input(ablate=True), "run-3")
    assert state["prepared"]["ablation"]["file"] == "2.csv"
    assert state["without"]["status"] == "trained"
    found = bench.report(state)["ablation"]
    assert found["file"] == "2.csv"
    assert found["with"]["log_loss"] == state["evaluation"]["metrics"]["log_loss"]
    assert found["improvement"] == pytest.approx(found["without"]["log_loss"] - found["with"]["log_loss"])
    assert "2.csv" in found["said"]


def test_years_of_weather_are_no_surprise(bench: Bench) -> None:
    """One year tells little about another: a gate that looks at one year's rows says so."""
    bench.run(bench.upload(weather(2012)[0], "2012.csv"), "run-1")
    state = bench.run(bench.upload(weather(2013)[0], "2013.csv"), "run-2")
    assert (state["evaluation"]["passed"], champion(bench)) == (False, 1)
