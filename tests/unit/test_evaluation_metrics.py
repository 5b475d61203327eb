"""Metrics against scikit-learn's, for rows that count once, and for rows that count any number of times."""

import math
import warnings
from typing import Any, get_args

import numpy as np
import pytest
from sklearn import metrics as sk

from modelyard import spec_retraining, tasks
from modelyard.metrics import CERTAINTY, METRICS, Labelled, Measured, score_all

NAMES = ["drizzle", "fog", "rain", "snow"]


def drawn(seed: int, rows: int, *, true: list[str], known: list[str]) -> tuple[list[str], np.ndarray[Any, Any]]:
    draw = np.random.default_rng(seed)
    probabilities = draw.dirichlet(np.ones(len(known)), rows).astype(np.float32)
    return draw.choice(true, rows).tolist(), probabilities


@pytest.mark.parametrize(
    "true",
    [NAMES, ["fog", "rain"], ["fog"]],
    ids=["all labels occur", "labels absent among the true ones", "one label only"],
)
@pytest.mark.parametrize("seed", range(3))
def test_metrics_of_classes_are_those_of_scikit_learn(true: list[str], seed: int) -> None:
    truth, probabilities = drawn(seed, 60, true=true, known=NAMES)
    answers = Labelled.from_matrix(truth, probabilities, NAMES)
    labels = [NAMES[at] for at in probabilities.argmax(axis=1)]
    scores = score_all(answers)
    assert scores["accuracy"] == pytest.approx(sk.accuracy_score(truth, labels))
    assert scores["f1_macro"] == pytest.approx(sk.f1_score(truth, labels, average="macro", zero_division=0))
    assert scores["log_loss"] == pytest.approx(sk.log_loss(truth, probabilities, labels=NAMES), rel=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of answers that are no true label
        assert scores["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, labels))


def test_a_certain_and_wrong_answer_costs_what_scikit_learn_says() -> None:
    truth, probabilities = ["rain", "fog"], np.array([[1, 0], [1, 0]], dtype=np.float32)
    found = METRICS["log_loss"].score(Labelled.from_matrix(truth, probabilities, ["fog", "rain"]))
    assert found == pytest.approx(sk.log_loss(truth, probabilities), rel=1e-5)
    assert found == pytest.approx(-math.log(CERTAINTY) / 2, rel=1e-4)


def test_a_class_that_the_model_does_not_know_is_given_no_probability() -> None:
    answers = Labelled.from_matrix(["snow", "fog"], np.array([[0.9, 0.1], [0.6, 0.4]]), ["fog", "rain"])
    assert answers.probability.tolist() == [0.0, 0.6]
    assert score_all(answers)["accuracy"] == 0.5
    assert math.isfinite(score_all(answers)["log_loss"])


@pytest.mark.parametrize("seed", range(3))
def test_metrics_of_values_are_those_of_scikit_learn(seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth = draw.normal(50, 20, 80)
    answer = truth + draw.normal(0, 10, 80)
    assert score_all(Measured(truth, answer)) == pytest.approx(
        {
            "mae": sk.mean_absolute_error(truth, answer),
            "rmse": sk.root_mean_squared_error(truth, answer),
            "r2": sk.r2_score(truth, answer),
        }
    )


@pytest.mark.parametrize("answer", [[3.0, 3.0], [3.0, 4.0]])
def test_r2_of_equal_true_values_is_that_of_scikit_learn(answer: list[float]) -> None:
    found = METRICS["r2"].score(Measured(np.array([3.0, 3.0]), np.array(answer)))
    assert found == sk.r2_score([3.0, 3.0], answer)


def test_the_metrics_are_those_that_a_spec_may_name() -> None:
    assert set(METRICS) == set(get_args(spec_retraining.Metric))
    for task, names in tasks.METRICS.items():
        assert {name for name, metric in METRICS.items() if metric.classification == (task != "regression")} == set(
            names
        )


def test_the_metrics_that_measure_error_are_better_when_lower() -> None:
    perfect = Labelled.of(["a", "b"], ["a", "b"], [1.0, 1.0]), Measured(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    poor = Labelled.of(["a", "b"], ["b", "b"], [0.2, 0.6]), Measured(np.array([1.0, 2.0]), np.array([2.0, 2.0]))
    for metric in METRICS.values():
        side = 0 if metric.classification else 1
        assert metric.improvement(metric.score(perfect[side]), metric.score(poor[side])) > 0


COUNTED = [[1, 1, 1, 1, 1, 1], [0, 2, 1, 3, 0, 0], [4, 0, 0, 0, 1, 1]]


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.classification])
def test_a_row_that_counts_twice_is_two_rows_of_a_class(name: str) -> None:
    answers = Labelled(
        np.array([0, 1, 2, 2, 1, 0]), np.array([0, 1, 1, 2, 0, 0]), np.array([0.9, 0.8, 0.2, 0.6, 0.1, 0.7]), 4
    )
    found = METRICS[name].scores(answers, np.array(COUNTED, dtype=np.float64))
    repeated = [answers.take(np.repeat(np.arange(6), counts)) for counts in COUNTED]
    assert found == pytest.approx([METRICS[name].score(rows) for rows in repeated])


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if not metric.classification])
def test_a_row_that_counts_twice_is_two_rows_of_a_value(name: str) -> None:
    answers = Measured(np.array([1e6, 1e6 + 1, 1e6 + 5, 1e6, 1e6, 1e6]), 1e6 + np.array([0.0, 3, 4, 1, 0, 2]))
    found = METRICS[name].scores(answers, np.array(COUNTED, dtype=np.float64))
    repeated = [answers.take(np.repeat(np.arange(6), counts)) for counts in COUNTED]
    assert found == pytest.approx([METRICS[name].score(rows) for rows in repeated])
    assert METRICS["r2"].scores(answers, np.array(COUNTED, dtype=np.float64))[2] == 0, "all true values are equal"


def test_a_thousand_classes_take_little_memory() -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 1_000, 2_000)
    answers = Labelled(truth, np.where(draw.random(2_000) < 0.5, truth, 0), np.ones(2_000), 1_000)
    found = METRICS["balanced_accuracy"].scores(answers, np.ones((3, 2_000)))
    assert found == pytest.approx([METRICS["balanced_accuracy"].score(answers)] * 3)


@pytest.mark.parametrize("value", [0.1, 0.7, 1 / 3, 1e-9, 12345.678])
def test_a_draw_of_equal_true_values_has_the_same_r2_for_every_model_that_errs(value: float) -> None:
    """Rounding leaves a spread of 1e-17 there, and an error over that is 1e17."""
    truth = np.array([value, 3.0, -2.0, 7.5])
    counts = np.array([[times, 0.0, 0.0, 0.0] for times in range(1, 60)])
    assert METRICS["r2"].scores(Measured(truth, truth + 1), counts).tolist() == [0.0] * 59
    assert METRICS["r2"].scores(Measured(truth, truth), counts).tolist() == [1.0] * 59
