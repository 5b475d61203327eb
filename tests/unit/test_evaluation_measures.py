"""What a report shows beside the decision: calibration, confusion, residuals, importance, latency, and ablation."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from modelyard.errors import ModelError
from modelyard.evaluation import EvaluationSet, ablate
from modelyard.evaluation.importance import Importance, measure_importance
from modelyard.evaluation.latency import CALLS, WARM, latency_ms
from modelyard.evaluation.measures import calibration, confusion, residuals
from modelyard.metrics import Measured


def says(label: str, probability: float, other: str = "no") -> dict[str, Any]:
    return {"label": label, "probabilities": {label: probability, other: 1 - probability}}


def test_calibration_has_bins_of_equal_count_with_what_was_said_and_what_was_true() -> None:
    probabilities = np.linspace(0.5, 0.99, 100)
    predictions = [says("yes", float(probability)) for probability in probabilities]
    truth: list[str | float] = ["yes" if number % 4 else "no" for number in range(100)]
    found = calibration(truth, predictions, None)
    assert [one.rows for one in found.challenger] == [10] * 10
    assert found.champion is None
    assert found.challenger[0].low == 0.5
    assert found.challenger[-1].high == pytest.approx(0.99)
    assert found.challenger[3].predicted == pytest.approx(probabilities[30:40].mean())
    assert sum(one.rows * one.observed for one in found.challenger) == pytest.approx(75)


def test_answers_of_one_probability_are_one_bin() -> None:
    found = calibration(["yes", "no"] * 30, [says("yes", 0.7)] * 60, [says("yes", 0.6)] * 60)
    assert [(one.rows, one.predicted, one.observed) for one in found.challenger] == [(60, pytest.approx(0.7), 0.5)]
    assert found.champion is not None
    assert len(found.champion) == 1


def test_a_confusion_counts_truth_by_row_and_answer_by_column() -> None:
    found = confusion(["a", "a", "b", "b"], [says("a", 1), says("b", 1), says("b", 1), says("c", 1)], None)
    assert found.classes == ["a", "b", "c"]
    assert found.challenger == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_of_more_than_thirty_classes_the_rarest_are_one() -> None:
    truth: list[str | float] = [f"c{number:02}" for number in range(40) for _ in range(40 - number)]
    found = confusion(truth, [says(str(name), 1) for name in truth], [says("unheard of", 1)] * len(truth))
    assert len(found.classes) == 31
    assert found.classes[-1] == "(other)"
    assert found.challenger[30][30] == sum(range(1, 11))
    assert found.champion is not None
    assert sum(row[30] for row in found.champion) == len(truth)


def test_residuals_are_of_the_same_rows_for_both_and_at_most_four_hundred() -> None:
    truth = np.arange(1_000.0)
    found = residuals(Measured(truth, truth + 1), Measured(truth, truth + 2))
    assert found.champion is not None
    assert len(found.challenger) == len(found.champion) == 400
    assert [pair[0] for pair in found.challenger] == [pair[0] for pair in found.champion]
    assert all(pair[1] == pair[0] + 2 for pair in found.champion)


# --- what columns are worth


def importance(predict: Callable[..., list[Any]], rows: int = 200, row_ms: float = 0.01) -> list[Importance]:
    draw = np.random.default_rng(0)
    instances = [{"much": float(draw.normal()), "little": float(draw.normal()), "none": 1.0 * n} for n in range(rows)]
    truth: list[str | float] = [2 * row["much"] + 0.3 * row["little"] for row in instances]
    return measure_importance(
        "regression", instances, truth, predict(instances), predict=predict, metric="mae", row_ms=row_ms
    )


def exact(instances: list[dict[str, Any]]) -> list[Any]:
    return [2 * row["much"] + 0.3 * row["little"] for row in instances]


def test_what_the_model_leans_on_is_worth_most() -> None:
    found = importance(exact)
    assert [one.feature for one in found] == ["much", "little", "none"]
    assert found[0].low > found[1].high > found[1].low > 0
    assert (found[2].loss, found[2].low, found[2].high) == (0, 0, 0)
    assert all(one.low <= one.loss <= one.high for one in found)


def test_a_slow_model_is_asked_less_and_a_very_slow_one_not_at_all() -> None:
    asked: list[int] = []

    def counted(instances: list[dict[str, Any]]) -> list[Any]:
        asked.append(len(instances))
        return exact(instances)

    importance(counted, rows=2_000)
    whole = sum(asked)
    asked.clear()
    importance(counted, rows=2_000, row_ms=100)
    assert sum(asked) - 2_000 <= 600 < whole
    assert importance(exact, row_ms=10_000) == []


def test_a_model_that_refuses_dealt_values_is_not_refused_for_it() -> None:
    def picky(instances: list[dict[str, Any]]) -> list[Any]:
        if [row["none"] for row in instances] != sorted(row["none"] for row in instances):
            raise ModelError("these rows are out of order", code="model_failed")
        return exact(instances)

    assert [one.feature for one in importance(picky)] == ["much", "little"]


# --- latency


class Clock:
    """A clock that moves on while a model answers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls = 0

    def __call__(self) -> float:
        return self.now

    def model(self, *seconds: float) -> Callable[[list[dict[str, Any]]], list[Any]]:
        def predict(instances: list[dict[str, Any]]) -> list[Any]:
            assert len(instances) == 1
            self.now += seconds[min(self.calls, len(seconds) - 1)]
            self.calls += 1
            return [0.0]

        return predict


def test_latency_is_the_median_of_warm_calls_with_one_row() -> None:
    clock = Clock()
    assert latency_ms(clock.model(*[9.0] * WARM, 0.002), [{"x": 1}], clock=clock) == pytest.approx(2)
    assert clock.calls == WARM + CALLS


def test_a_slow_model_is_not_called_a_hundred_times() -> None:
    clock = Clock()
    assert latency_ms(clock.model(1.0), [{"x": 1}, {"x": 2}], clock=clock) == pytest.approx(1_000)
    assert clock.calls <= WARM + 5


# --- ablation


def compared(better: list[float], worse: list[float], **settings: Any) -> Any:
    rows = EvaluationSet("regression", [{"x": n} for n in range(len(better))], [0.0] * len(better), None, 0.0)
    given: dict[str, Any] = {"file": "2013.csv", "metric": "mae"} | settings
    sides = [lambda instances, side=side: [side[row["x"]] for row in instances] for side in (better, worse)]
    return ablate(rows, with_file=sides[0], without_file=sides[1], **given)


def test_an_ablation_says_what_the_file_changed() -> None:
    draw = np.random.default_rng(0)
    one = draw.uniform(0.4, 0.6, 100).tolist()
    two = [value + float(draw.uniform(0, 0.2)) for value in one]
    found = compared(one, two)
    low, high = found.interval.low, found.interval.high
    assert found.said == (
        f"2013.csv improves mae by {found.improvement:.4g} (95 % interval {low:.4g} to {high:.4g} of the improvement)"
    )
    assert 0 < low < found.improvement < high
    document = msgspec.to_builtins(found)
    json.dumps(document, allow_nan=False)
    assert set(document) == {"file", "without", "with", "improvement", "interval", "said"}
    assert document["with"]["mae"] < document["without"]["mae"]


def test_an_ablation_says_when_it_is_nothing_or_worse_or_may_be_chance() -> None:
    assert compared([1.0] * 30, [1.0] * 30).said == "2013.csv does not change mae"
    assert compared([2.0] * 30, [1.0] * 30).said.startswith("2013.csv worsens mae by 1 (95 % interval -1 to -1 of")
    assert compared([1.0, 2.0] * 15, [1.1, 1.8] * 15).said.endswith("; zero lies within, so chance may explain it)")
    assert "is not to be measured" in compared([1e300] * 30, [1.0] * 30, metric="rmse").said
