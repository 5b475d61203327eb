"""The steps that make a model that passed the gate a version, and the version the champion."""

import datetime as dt
import json
from typing import Any

import msgspec
import pytest

from modelyard.training.plan import decode_plan
from tests.fakes.training_data import dealt_weather, weather_plan
from tests.fakes.workbench import Bench

FIRST, SECOND, THIRD, FOURTH = dealt_weather()


@pytest.fixture
def bench() -> Bench:
    return Bench(weather_plan())


def champion(bench: Bench) -> tuple[int, int]:
    found = bench.registry.deployment("tested")
    assert found is not None
    return found.champion, found.revision


def after(bench: Bench, file: bytes, run_id: str, *steps: str) -> dict[str, Any]:
    """The state after these steps."""
    state = bench.accept(file, f"{run_id}.csv", run_id)
    for step in ("turn", *steps):
        getattr(bench, step)(state, run_id)
    return state


TRAINED = ("prepare", "train", "evaluate")


@pytest.mark.parametrize("change", ["promoted", "rolled back"])
def test_a_deployment_that_changed_since_the_evaluation_is_a_conflict(bench: Bench, change: str) -> None:
    for at, file in enumerate([FIRST, SECOND]):
        bench.run(bench.upload(file, f"{at}.csv"), f"run-{at}")
    if change == "promoted":
        bench.registry.rollback("tested", reason="for now")
    state = after(bench, THIRD, "run-2", *TRAINED, "register")
    if change == "promoted":
        bench.registry.promote("tested", 2, reason="by hand")
    else:
        bench.registry.rollback("tested", reason="it was wrong")
    before = champion(bench)
    answer = bench.promote(state, "run-2")
    assert answer["status"] == "conflict"
    assert "is not at revision" in answer["reason"]
    assert champion(bench) == before
    assert bench.registry.run("tested", "run-2").status == "running"


def test_after_a_conflict_the_challenger_is_compared_with_what_is_live_now(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at, file in enumerate([FIRST, SECOND]):
        bench.run(bench.upload(file, f"{at}.csv"), f"run-{at}")
    promote = bench.promote
    conflicts: list[str] = []

    def interrupted(state: dict[str, Any], run_id: str = "") -> dict[str, Any]:
        monkeypatch.setattr(bench, "promote", promote)
        bench.registry.rollback("tested", reason="it was wrong")
        answer = promote(state, run_id)
        conflicts.append(answer["reason"])
        return answer

    monkeypatch.setattr(bench, "promote", interrupted)
    state = bench.run(bench.upload(THIRD, "2.csv"), "run-2")
    assert "is not at revision" in conflicts[0]
    assert (state["evaluation"]["champion"], state["promoted"]["version"]) == (1, champion(bench)[0])
    version = bench.registry.version("tested", champion(bench)[0])
    assert version.manifest.lineage.parent_version == 1
    assert bench.document(version.manifest.evaluation or "")["champion"] == 1
    run = bench.registry.run("tested", "run-2")
    assert (run.status, run.version) == ("promoted", version.number)


def test_a_challenger_that_the_new_champion_beats_is_rejected_though_it_is_a_version(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at, file in enumerate([FIRST, SECOND, THIRD]):
        bench.run(bench.upload(file, f"{at}.csv"), f"run-{at}")
    bench.registry.promote("tested", 1, reason="for now")
    asked = msgspec.structs.replace(bench.plan.evaluation, min_improvement=0.05)
    bench.plan = msgspec.structs.replace(bench.plan, evaluation=asked)
    promote = bench.promote

    def interrupted(state: dict[str, Any], run_id: str = "") -> dict[str, Any]:
        monkeypatch.setattr(bench, "promote", promote)
        bench.registry.promote("tested", 3, reason="by hand")
        return promote(state, run_id)

    monkeypatch.setattr(bench, "promote", interrupted)
    state = bench.run(bench.upload(FOURTH, "3.csv"), "run-3")
    assert "error" not in state
    run = bench.registry.run("tested", "run-3")
    assert (run.status, run.version) == ("rejected", 4)
    assert "against 0.9202 of the champion" in run.reason
    assert champion(bench)[0] == 3


def test_runs_that_overlap_make_one_version_and_all_end_well(bench: Bench) -> None:
    """Turns do not let them overlap; should a lease run out in the middle of a training, this is what happens."""
    states = [bench.accept(file, f"{at}.csv", f"run-{at}") for at, file in enumerate([FIRST, SECOND])]
    for step in (bench.prepare, bench.train, bench.evaluate, bench.register, bench.promote):
        for at, state in enumerate(states):
            step(state, f"run-{at}")
    assert [state["registered"] for state in states] == [
        {"version": 1, "created": True},
        {"version": 1, "created": False},
    ]
    assert [state["promoted"]["revision"] for state in states] == [1, 1]
    assert champion(bench) == (1, 1)
    assert [bench.registry.run("tested", f"run-{at}").status for at in range(2)] == ["promoted", "promoted"]
    kinds = [entry.kind for entry in bench.registry.history("tested").items]
    assert kinds == ["promoted", "registered", "evaluation_frozen"]


def test_every_step_that_is_repeated_gives_the_same_answer_and_leaves_no_second_record(bench: Bench) -> None:
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    event = bench.upload(SECOND, "2.csv")
    state = bench.claimed(event, "run-2")
    assert bench.validate(state, "run-2") == bench.validate(state, "run-2")
    bench.turn(state, "run-2")
    bench.yard.clock.now += dt.timedelta(minutes=1)  # beyond any debounce
    for name in ("turn", "prepare", "train", "evaluate", "register", "promote"):
        step = getattr(bench, name)
        assert step(state, "run-2") == step(state, "run-2"), name
    assert bench.claim(event, "run-2") == state["claim"]
    assert champion(bench) == (2, 2)
    assert bench.registry.model("tested").versions == 2
    kinds = [entry.kind for entry in bench.registry.history("tested").items]
    assert kinds == ["promoted", "registered", "promoted", "registered", "evaluation_frozen"]
    assert len(bench.registry.runs("tested").items) == 2
    keys = list(bench.yard.artifacts.objects)
    assert len([key for key in keys if key.startswith("reports/") and key.endswith(".json")]) == 2
    assert len([key for key in keys if key.startswith("evaluation_sets/")]) == 1
    folder = state["prepared"]["job"]
    assert sorted(key for key in keys if key.startswith("runs/tested/run-2/")) == [
        f"{folder}/in/evaluation.csv",
        f"{folder}/in/plan.json",
        f"{folder}/in/training.csv",
        f"{folder}/out/model.onnx",
        f"{folder}/out/training.json",
        f"{folder}/record.json",
    ]


def test_a_promotion_that_is_repeated_after_a_rollback_does_not_undo_it(bench: Bench) -> None:
    bench.run(bench.upload(FIRST, "1.csv"), "run-1")
    state = bench.run(bench.upload(SECOND, "2.csv"), "run-2")
    bench.registry.rollback("tested", reason="it was wrong")
    assert bench.promote(state, "run-2") == state["promoted"]
    assert champion(bench) == (1, 3)


def test_what_a_model_is_about_travels_with_its_plan() -> None:
    bench = Bench(weather_plan())
    document = json.loads(json.dumps(bench.parts("run-1")))
    document["plan"]["about"] = {"description": "The sky.", "owner": "ana", "tags": ["demo"]}
    bench.plan = decode_plan(document["plan"])
    bench.run(bench.upload(FIRST), "run-1")
    found = bench.registry.model("tested")
    assert (found.description, found.owner, found.tags) == ("The sky.", "ana", ("demo",))
