"""A version on trial that nobody sees: it answers after the answer, within budgets, and both are one record."""

import json
import time
from typing import Any

import pytest

from modelyard.serving import shadow as shadows
from tests.fakes import onnx_models
from tests.fakes.endpoint import event
from tests.fakes.trials import ENGINES, NAME, TrialStand, adds, four_versions, infer, lines


@pytest.fixture
def stand() -> TrialStand:
    return four_versions()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_shadow_answers_what_the_champion_answered_and_both_are_one_record(engine: Any) -> None:
    stand = TrialStand(adds(1), engine=engine)
    stand.shadow(2, adds(2))
    answer = stand.predict([1, 1], [2, 2], request_id="r-1").json
    assert (answer["version"], answer["predictions"]) == (1, [3.0, 5.0])
    (record,) = stand.records()
    second, process = record.pop("shadow"), record.pop("process")
    assert record.pop("latency_ms") > 0
    assert record.pop("time").endswith("Z")
    assert record == {
        "model": NAME, "version": 1, "prediction_id": answer["prediction_id"], "request_id": "r-1",
        "instances": [[1, 1], [2, 2]], "predictions": [3.0, 5.0], "mode": "shadow",
    }  # fmt: skip
    assert second.pop("latency_ms") > 0
    assert second == {"version": 2, "predictions": [4.0, 6.0], "code": None, "message": None}
    assert len(process["id"]) == 8
    assert process["rss_mb"] > 1
    assert process["dropped"] == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_shadow_fails_at_is_in_the_record_and_nowhere_else(
    engine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stand = TrialStand(adds(1), engine=engine)
    stand.shadow(2, onnx_models.log_sum())
    assert stand.predict([-3, 0]).json["predictions"] == [-2.0]
    (record,) = stand.records()
    assert (record["shadow"]["code"], record["shadow"]["predictions"]) == ("not_finite", None)
    (line,) = lines(capsys, "audit")
    assert (line["trial"], line["arm"], line["fallbacks"], line["version"]) == ("shadow", "1", 0, 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_shadow_that_does_not_end_is_ended_and_callers_notice_nothing(engine: Any) -> None:
    stand = TrialStand(adds(1), engine=engine, budget_ms=100.0)
    stand.shadow(2, onnx_models.endless_below_zero())
    began = time.monotonic()
    assert stand.predict([-3, 0]).json["version"] == 1
    assert time.monotonic() - began < 0.9
    (record,) = stand.records()
    assert (record["shadow"]["code"], record["shadow"]["predictions"]) == ("run_timeout", None)


def test_only_one_request_waits_for_a_shadow_and_the_others_are_kept_and_counted() -> None:
    stand = TrialStand(adds(1), budget_ms=40.0)
    stand.shadow(2, onnx_models.endless_below_zero())
    for _ in range(10):
        assert stand.predict([-1, 0]).json["version"] == 1
    stand.wait()
    stand.predict([1, 0])
    records = stand.records()
    assert len(records) == 11
    with_shadow = [record for record in records if "shadow" in record]
    assert 2 <= len(with_shadow) <= 4
    assert sum(record["process"].get("dropped", 0) for record in records) == 11 - len(with_shadow)


def test_a_shadow_over_its_time_is_ended_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shadows, "FEWEST_RUNS", 3)
    stand = TrialStand(adds(1), budget_ms=0.0001)
    stand.shadow(2, adds(2))
    for _ in range(5):
        stand.predict([1, 1])
        stand.wait()
    told = [record["shadow"]["code"] for record in stand.records() if "shadow" in record]
    assert told == [None, None, None, "time_budget"]
    (line,) = [line for line in lines(capsys, "event") if line["event"] == "shadow_ended"]
    assert "ms on average" in line["message"]
    assert stand.follower._challengers.loaded == []
    stand.shadow(2)  # a pointer that has changed is tried again
    stand.predict([1, 1])
    assert "shadow" in stand.records()[-1]


def test_a_shadow_over_its_memory_is_ended_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    grown = iter(range(0, 100_000, 50))
    monkeypatch.setattr(shadows, "resident_mb", lambda: float(next(grown)))
    stand = TrialStand(adds(1), budget_mb=120.0)
    stand.shadow(2, adds(2))
    for _ in range(5):
        stand.predict([1, 1])
        stand.wait()
    told = [record["shadow"] for record in stand.records() if "shadow" in record]
    assert [one["code"] for one in told] == [None, None, None, "memory_budget"]
    assert "rollout.shadow_budget_mb" in told[-1]["message"]


def test_while_a_version_is_on_trial_the_larger_share_is_kept_and_shadowed() -> None:
    for kept, on_trial in ((0.0001, 0.5), (0.5, 0.0001)):
        stand = TrialStand(adds(1), capture=kept, capture_on_trial=on_trial)
        stand.shadow(2, adds(2))
        for _ in range(200):
            stand.predict([1, 1])
            stand.wait()
        records = stand.records()
        assert len(records) == pytest.approx(100, abs=40)
        assert all("shadow" in record for record in records)


def test_the_share_of_a_trial_ends_with_it() -> None:
    stand = TrialStand(adds(1), capture=0.0001)
    stand.shadow(2, adds(2))
    stand.predict([1, 1])
    assert len(stand.records()) == 1
    stand.end()
    for _ in range(20):
        stand.predict([1, 1])
    assert len(stand.records()) == 1


def test_a_model_without_a_trial_keeps_what_monitoring_asks_for_in_every_protocol() -> None:
    stand = TrialStand(adds(1), capture=1.0)
    stand.predict([1, 1])
    infer(stand, [[1, 1]])
    records = stand.records()
    assert [record["mode"] for record in records] == ["live", "live"]
    assert [record["predictions"] for record in records] == [[3.0], [3.0]]
    assert all("process" not in record and "shadow" not in record for record in records)


def test_tensors_have_a_shadow_as_well(stand: TrialStand) -> None:
    stand.shadow(2)
    infer(stand, [[1, 1], [2, 2]])
    (record,) = stand.records()
    assert (record["predictions"], record["shadow"]["predictions"]) == ([3, 5], [4, 6])


def test_a_shadow_of_another_signature_says_so() -> None:
    stand = TrialStand(onnx_models.highest("float32", width=2))
    stand.shadow(2, onnx_models.highest("float64", width=2))
    body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [[1, 2]]}]}
    stand.send(
        event("POST", f"/v2/models/{NAME}/infer", json.dumps(body), headers={"content-type": "application/json"})
    )
    (record,) = stand.records()
    assert record["shadow"]["code"] == "wrong_signature"


def test_what_waits_for_a_shadow_when_the_process_ends_is_kept_without_it(stand: TrialStand) -> None:
    stand.shadow(2)
    shadow = stand.endpoint._trying()._shadow
    stand.afterwards._duties = tuple(duty for duty in stand.afterwards._duties if duty is not shadow)
    stand.predict([1, 1])
    shadow.finish()
    (record,) = stand.records()
    assert "shadow" not in record
    assert record["process"]["dropped"] == 1
