"""Metrics against scikit-learn's, parity, the interval and the gate."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from modelyard import spec, tasks
from modelyard.errors import UsageError
from modelyard.evaluation import (
    BATCH,
    Decision,
    EvaluationSet,
    Interval,
    compare,
    decide,
    evaluate,
    improvement_interval,
)
from modelyard.metrics import CERTAINTY, METRICS, Labelled, Measured, score_all

NAMES = ["drizzle", "fog", "rain", "snow"]


def classified(label: str, **probabilities: float) -> dict[str, Any]:
    return {"label": label, "probabilities": probabilities}


def drawn(seed: int, rows: int, *, true: list[str], known: list[str]) -> tuple[list[str], np.ndarray[Any, Any]]:
    draw = np.random.default_rng(seed)
    probabilities = draw.dirichlet(np.ones(len(known)), rows).astype(np.float32)
    return draw.choice(true, rows).tolist(), probabilities


# --- metrics


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
    from typing import get_args

    assert set(METRICS) == set(get_args(spec.Metric))
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


# --- parity


def test_equal_answers_have_parity_and_no_worst_rows() -> None:
    rows = [classified("fog", fog=0.7, rain=0.3), classified("rain", fog=0.2, rain=0.8)]
    parity = compare(rows, rows, tolerance=1e-6)
    assert parity.passed
    assert parity.largest == 0
    assert parity.worst == ()


def test_the_worst_rows_are_shown_worst_first() -> None:
    expected = [classified("fog", fog=0.7, rain=0.3)] * 8
    answered = [classified("fog", fog=0.7 - step / 100, rain=0.3 + step / 100) for step in range(8)]
    parity = compare(expected, answered, tolerance=0.001)
    assert not parity.passed
    assert parity.largest == pytest.approx(0.07)
    assert [found.row for found in parity.worst] == [7, 6, 5, 4, 3]
    assert parity.worst[0].answered == answered[7]


def test_another_label_is_no_parity_unless_both_were_as_probable() -> None:
    clear = [classified("fog", fog=0.7, rain=0.3)], [classified("rain", fog=0.7, rain=0.3)]
    assert compare(*clear, tolerance=0.01).largest == 1.0
    tied = [classified("fog", fog=0.501, rain=0.499)], [classified("rain", fog=0.499, rain=0.501)]
    assert compare(*tied, tolerance=0.01).passed


def test_a_class_that_one_side_lacks_counts_as_probability_zero() -> None:
    parity = compare([classified("fog", fog=0.9, rain=0.1)], [classified("fog", fog=0.9)], tolerance=0.01)
    assert parity.largest == pytest.approx(0.1)


def test_values_may_differ_by_a_share_of_their_size() -> None:
    assert compare([5e6, 0.1], [5e6 + 100, 0.1], tolerance=1e-4).passed
    assert not compare([5e6, 0.1], [5e6, 0.1002], tolerance=1e-4).passed


def test_an_answer_that_is_no_number_is_as_far_off_as_can_be() -> None:
    parity = compare([1.0, 2.0], [1.0, math.nan], tolerance=0.5)
    assert not parity.passed
    assert parity.worst[0].row == 1


def test_a_missing_answer_or_an_unknown_form_is_refused() -> None:
    with pytest.raises(UsageError, match="1 answers for 2 rows"):
        compare([1.0, 2.0], [1.0], tolerance=0.5)
    with pytest.raises(UsageError, match="prediction 0 is fog; expected an object"):
        compare([classified("fog", fog=1.0)], ["fog"], tolerance=0.5)
    with pytest.raises(UsageError, match="expected a number"):
        compare([1.0], [[1.0]], tolerance=0.5)


# --- interval


def test_the_interval_of_an_accuracy_is_about_that_of_theory() -> None:
    """For paired right/wrong answers the standard error of the difference is known: McNemar's."""
    draw = np.random.default_rng(1)
    rows = 500
    truth = ["a"] * rows
    sides = [draw.random(rows) < share for share in (0.8, 0.7)]
    challenger, champion = (
        Labelled.of(truth, np.where(right, "a", "b").tolist(), np.ones(rows).tolist()) for right in sides
    )
    difference = sides[0].astype(float) - sides[1].astype(float)
    error = difference.std() / math.sqrt(rows)
    found = improvement_interval(challenger, champion, metric="accuracy", resamples=4_000)
    assert found.low == pytest.approx(difference.mean() - 1.96 * error, abs=0.006)
    assert found.high == pytest.approx(difference.mean() + 1.96 * error, abs=0.006)


def test_the_interval_is_paired_so_equal_answers_have_none() -> None:
    truth, probabilities = drawn(0, 50, true=NAMES, known=NAMES)
    answers = Labelled.from_matrix(truth, probabilities, NAMES)
    for metric in ("accuracy", "balanced_accuracy", "f1_macro", "log_loss"):
        interval = improvement_interval(answers, answers, metric=metric, resamples=50)
        assert (interval.low, interval.high) == (0.0, 0.0)


def test_the_interval_is_the_same_again_and_another_with_another_seed() -> None:
    truth = np.arange(30.0)
    sides = [Measured(truth, truth + np.random.default_rng(seed).normal(0, 5, 30)) for seed in (1, 2)]
    found = [improvement_interval(*sides, metric="mae", seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert (found[0].resamples, found[0].level) == (1_000, 0.95)


# --- gate


def gate(**numbers: Any) -> Decision:
    return decide(**{"champion": None, "baseline": 1.0, "metric": "log_loss", "min_improvement": 0.0} | numbers)


@pytest.mark.parametrize(
    ("numbers", "passed"),
    [
        ({"challenger": 0.9}, True),
        ({"challenger": 1.0}, False),
        ({"challenger": 1.1}, False),
        ({"challenger": 0.9999, "min_improvement": 0.5}, True),
        ({"challenger": 0.9, "metric": "accuracy", "baseline": 0.8}, True),
        ({"challenger": 0.7, "metric": "accuracy", "baseline": 0.8}, False),
        ({"challenger": -0.1, "metric": "r2", "baseline": -0.01}, False),
        ({"champion": 0.5, "challenger": 0.4}, True),
        ({"champion": 0.5, "challenger": 0.5}, False),
        ({"champion": 0.5, "challenger": 0.6}, False),
        ({"champion": 0.5, "challenger": 0.49, "min_improvement": 0.02}, False),
        ({"champion": 0.5, "challenger": 0.48, "min_improvement": 0.02}, True),
        ({"champion": 0.56, "challenger": 0.57, "min_improvement": 0.01, "metric": "accuracy"}, True),
        ({"champion": 0.5, "challenger": math.nan}, False),
        ({"champion": math.inf, "challenger": math.inf}, False),
        ({"champion": 0.5, "challenger": 0.4, "interval": Interval(-0.1, 0.3)}, True),
    ],
)
def test_the_gate(numbers: dict[str, Any], passed: bool) -> None:
    assert gate(**numbers).passed is passed


def test_the_gate_says_why_with_the_numbers() -> None:
    said = gate(champion=0.634, challenger=0.512, min_improvement=0.01, interval=Interval(0.05, 0.2), rows=148).reason
    assert said == (
        "log_loss 0.512 against 0.634 of the champion on 148 held-out rows: better by 0.122, at least 0.01 was asked "
        "for (95 % interval of the improvement 0.05 to 0.2)"
    )
    said = gate(champion=0.5, challenger=0.498, min_improvement=0.01, interval=Interval(-0.1, 0.2)).reason
    assert said == (
        "log_loss 0.498 against 0.5 of the champion: better by 0.002, but 0.01 is asked for (95 % interval of the "
        "improvement -0.1 to 0.2; zero lies within, so chance may explain it)"
    )
    assert gate(challenger=1.0).reason == "log_loss 1 against 1 of the baseline without learning: no different"


finite = st.floats(-10, 10)


@given(st.none() | finite, finite, finite, st.floats(0, 1), st.sampled_from(sorted(METRICS)))
@settings(deadline=None)
def test_what_passes_the_gate_is_better(
    champion: float | None, challenger: float, baseline: float, asked: float, name: str
) -> None:
    decision = decide(champion=champion, challenger=challenger, baseline=baseline, metric=name, min_improvement=asked)
    opposed = baseline if champion is None else champion
    gained = METRICS[name].improvement(challenger, opposed)
    needed = 0.0 if champion is None else asked
    assert decision.passed == (gained > 0 and gained >= needed - 1e-12)


# --- the whole


def constant(*predictions: Any) -> Callable[[list[dict[str, Any]]], list[Any]]:
    """A predictor that answers the instance ``{"x": n}`` with the n-th prediction."""
    return lambda instances: [predictions[int(instance["x"])] for instance in instances]


GOOD = [classified("fog", fog=0.9, rain=0.1), classified("rain", fog=0.2, rain=0.8)]
POOR = [classified("fog", fog=0.6, rain=0.4), classified("fog", fog=0.6, rain=0.4)]


@pytest.fixture
def rows() -> EvaluationSet:
    return EvaluationSet(
        task="binary",
        instances=[{"x": 0}, {"x": 1}] * 20,
        truth=["fog", "rain"] * 20,
        predictions=GOOD * 20,
        baseline=classified("fog", fog=0.5, rain=0.5),
    )


def judged(rows: EvaluationSet, challenger: list[Any], champion: list[Any] | None, metric: str = "log_loss") -> Any:
    return evaluate(
        rows,
        metric=metric,
        min_improvement=0.1,
        tolerance=1e-3,
        challenger=constant(*challenger),
        champion=None if champion is None else constant(*champion),
    )


def test_a_report_holds_all_metrics_of_all_sides(rows: EvaluationSet) -> None:
    report = judged(rows, GOOD, POOR)
    assert report.passed
    assert set(report.metrics) == {"challenger", "champion", "baseline"}
    assert set(report.metrics["champion"]) == {"accuracy", "balanced_accuracy", "f1_macro", "log_loss"}
    assert report.metrics["baseline"]["log_loss"] == pytest.approx(math.log(2))
    scores = [report.metrics[side]["log_loss"] for side in ("champion", "challenger")]
    assert report.improvement == pytest.approx(scores[0] - scores[1])
    assert report.interval.low > 0
    assert report.rows == 40


def test_a_file_that_answers_otherwise_than_the_trained_model_is_refused_however_good(rows: EvaluationSet) -> None:
    report = judged(rows, [classified("fog", fog=1.0), classified("rain", rain=1.0)], None)
    assert not report.passed
    assert report.reason == (
        "the ONNX file does not answer as the trained model did: row 1 differs by 0.2, at most 0.001 is allowed "
        f"(expected {GOOD[1]}, answered {classified('rain', rain=1.0)})"
    )


def test_a_champion_that_does_not_know_a_new_class_is_compared_all_the_same(rows: EvaluationSet) -> None:
    report = judged(rows, GOOD, [classified("fog", fog=1.0)] * 2)
    assert report.passed
    assert report.metrics["champion"]["log_loss"] == pytest.approx(-math.log(CERTAINTY) / 2, rel=1e-4)


def test_a_regression_is_evaluated_on_its_values() -> None:
    rows = EvaluationSet("regression", [{"x": 0}, {"x": 1}] * 5, [1.0, 3.0] * 5, [1.1, 2.9] * 5, 2.0)
    report = judged(EvaluationSet.from_json(rows.to_json()), [1.1, 2.9], [1.5, 2.5], "mae")
    assert report.passed
    assert report.metrics["challenger"]["mae"] == pytest.approx(0.1)
    assert report.metrics["baseline"]["r2"] == 0.0


def test_many_rows_are_answered_in_batches() -> None:
    sizes: list[int] = []

    def predict(instances: list[dict[str, Any]]) -> list[Any]:
        sizes.append(len(instances))
        return [1.0 + instance["x"] % 2 for instance in instances]

    count = 2 * BATCH + 5
    values: list[str | float] = [1.0 + number % 2 for number in range(count)]
    rows = EvaluationSet("regression", [{"x": number} for number in range(count)], values, list(values), 1.5)
    report = evaluate(rows, metric="r2", min_improvement=0, tolerance=1e-6, challenger=predict, champion=None)
    assert report.passed
    assert sizes == [BATCH, BATCH, 5]


def test_no_held_out_rows_or_too_few_answers_are_refused(rows: EvaluationSet) -> None:
    with pytest.raises(UsageError, match="no held-out rows"):
        judged(EvaluationSet("binary", [], [], [], rows.baseline), GOOD, None)
    with pytest.raises(UsageError, match="0 answers for 40 rows"):
        evaluate(rows, metric="accuracy", min_improvement=0, tolerance=1, challenger=lambda _: [], champion=None)
