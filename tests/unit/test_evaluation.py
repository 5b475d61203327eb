"""The whole of an evaluation: two models and the frozen rows in, a report with a decision out; and attacks."""

import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from modelyard.errors import UsageError
from modelyard.evaluation import EvaluationSet, Report, Sample, evaluate
from modelyard.evaluation.rows import BATCH
from modelyard.metrics import CERTAINTY
from modelyard.report.document import Document
from modelyard.training.plan import Evaluation

CHECKS = ["parity", "improvement", "slices", "gap", "latency", "size", "breaking"]
SCHEMA = {
    "passed", "reason", "metric", "metrics", "rows", "intervals", "improvement", "interval", "checks", "slices",
    "parity", "gap", "latency_ms", "champion_latency_ms", "size_mb", "calibration", "confusion", "residuals",
    "importance",
}  # fmt: skip


def classified(label: str, **probabilities: float) -> dict[str, Any]:
    return {"label": label, "probabilities": probabilities}


def answering(*predictions: Any) -> Callable[[list[dict[str, Any]]], list[Any]]:
    """A predictor that answers the instance ``{"x": n}`` with the n-th prediction, and begins again after the last."""
    return lambda instances: [predictions[int(instance["x"]) % len(predictions)] for instance in instances]


class Clock:
    """A clock that moves on by a millisecond whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


GOOD = [classified("fog", fog=0.9, rain=0.1), classified("rain", fog=0.2, rain=0.8)]
POOR = [classified("fog", fog=0.6, rain=0.4), classified("fog", fog=0.6, rain=0.4)]


@pytest.fixture
def rows() -> EvaluationSet:
    return EvaluationSet(
        task="binary",
        instances=[{"x": number} for number in range(40)],
        truth=["fog", "rain"] * 20,
        predictions=GOOD * 20,
        baseline=classified("fog", fog=0.5, rain=0.5),
        columns={"place": ["here", "there"] * 20},
    )


def values(count: int, predictions: list[float] | None, truth: list[float]) -> EvaluationSet:
    instances = [{"x": number} for number in range(count)]
    return EvaluationSet("regression", instances, [*truth], predictions, 0.0)


def judged(rows: EvaluationSet, challenger: list[Any], champion: list[Any] | None, **settings: Any) -> Report:
    given: dict[str, Any] = {"size": 2**20, "clock": Clock()}
    for name in ("training", "breaks", "champion_version", "size", "seed"):
        if name in settings:
            given[name] = settings.pop(name)
    asked = Evaluation(**({"metric": "log_loss", "min_improvement": 0.1} | settings))
    report = evaluate(
        rows, asked=asked, challenger=answering(*challenger),
        champion=None if champion is None else answering(*champion), **given,
    )  # fmt: skip
    json.dumps(msgspec.to_builtins(report), allow_nan=False)
    return report


def test_a_report_holds_all_metrics_of_all_sides(rows: EvaluationSet) -> None:
    report = judged(rows, GOOD, POOR)
    assert report.passed, report.reason
    assert set(report.metrics) == {"challenger", "champion", "baseline"}
    champion, challenger, baseline = (report.metrics[side] for side in ("champion", "challenger", "baseline"))
    assert champion is not None
    assert challenger is not None
    assert baseline is not None
    assert set(champion) == {"accuracy", "balanced_accuracy", "f1_macro", "log_loss"}
    assert baseline["log_loss"] == pytest.approx(math.log(2))
    assert report.improvement == pytest.approx(champion["log_loss"] - challenger["log_loss"])  # type: ignore[operator]
    assert report.interval.low is not None
    assert report.interval.low > 0.1
    assert (report.interval.level, report.rows, report.size_mb, report.latency_ms) == (0.9, 40, 1.0, pytest.approx(1))


def test_a_report_has_every_key_of_the_document_and_the_page_reads_it(rows: EvaluationSet) -> None:
    report = judged(rows, GOOD, POOR, slices=["place"], training=Sample(rows.instances, rows.truth), champion_version=3)
    document = msgspec.to_builtins(report)
    assert set(document) == SCHEMA
    assert [check["name"] for check in document["checks"]] == CHECKS
    read = msgspec.json.decode(msgspec.json.encode(report), type=Document)
    assert read.interval is not None
    assert read.interval.low == report.interval.low
    assert [part.value for part in read.slices] == ["here", "there"]
    assert read.calibration is not None
    assert read.confusion is not None
    assert read.confusion.challenger == ((20, 0), (0, 20))
    assert read.gap is not None
    assert read.gap.gap == 0


def test_all_checks_are_made_and_every_failed_one_is_in_the_reason(rows: EvaluationSet) -> None:
    swapped = list(reversed(GOOD))
    report = judged(
        rows, swapped, POOR, slices=["place"], max_slice_loss=0.2, max_latency_ms=0.5, max_size_mb=0.5, max_gap=0.1,
        training=Sample(rows.instances, ["rain", "fog"] * 20), breaks=["input 'wind' is gone"], champion_version=3,
    )  # fmt: skip
    assert not any(check.passed for check in report.checks)
    assert report.reason == "; and ".join(check.said for check in report.checks)
    assert report.reason.startswith("the ONNX file does not answer as the trained model did: row ")
    assert "it would break callers of the champion, version 3: input 'wind' is gone" in report.reason


def test_a_file_that_answers_otherwise_than_the_trained_model_is_refused_however_good(rows: EvaluationSet) -> None:
    report = judged(rows, [classified("fog", fog=1.0), classified("rain", rain=1.0)], None)
    assert not report.passed
    assert report.reason == (
        "the ONNX file does not answer as the trained model did: row 1 differs by 0.2, at most 0.001 is allowed "
        f"(expected {GOOD[1]}, answered {classified('rain', rain=1.0)})"
    )
    without = msgspec.structs.replace(rows, predictions=None)
    assert judged(without, [classified("fog", fog=1.0), classified("rain", rain=1.0)], None).passed


def test_a_champion_that_does_not_know_a_new_class_is_compared_all_the_same(rows: EvaluationSet) -> None:
    report = judged(rows, GOOD, [classified("fog", fog=1.0)])
    assert report.passed
    assert report.metrics["champion"] is not None
    assert report.metrics["champion"]["log_loss"] == pytest.approx(-math.log(CERTAINTY) / 2, rel=1e-4)
    for metric in ("accuracy", "balanced_accuracy", "f1_macro"):
        assert judged(rows, GOOD, [classified("hail", hail=1.0)], metric=metric).passed


def test_a_regression_is_evaluated_on_its_values() -> None:
    rows = EvaluationSet("regression", [{"x": n} for n in range(10)], [1.0, 3.0] * 5, [1.1, 2.9] * 5, 2.0)
    report = judged(EvaluationSet.from_json(rows.to_json()), [1.1, 2.9], [1.5, 2.5], metric="mae")
    assert report.passed
    assert report.metrics["challenger"] is not None
    assert report.metrics["challenger"]["mae"] == pytest.approx(0.1)
    assert report.metrics["baseline"] is not None
    assert report.metrics["baseline"]["r2"] == 0.0
    assert report.residuals is not None
    assert report.residuals.challenger[0] == [1.0, 1.1]
    assert (report.calibration, report.confusion) == (None, None)


def test_a_first_version_is_held_against_the_baseline_and_not_against_min_improvement(rows: EvaluationSet) -> None:
    report = judged(rows, GOOD, None, min_improvement=10, slices=["place"], max_slice_loss=0.0)
    assert report.passed, report.reason
    assert "of the baseline without learning" in report.reason
    assert (report.metrics["champion"], report.intervals["champion"], report.champion_latency_ms) == (None, None, None)
    assert [part.passed for part in report.slices] == [True, True]


def test_equal_answers_never_pass_whatever_the_metric(rows: EvaluationSet) -> None:
    for metric in ("accuracy", "balanced_accuracy", "f1_macro", "log_loss"):
        report = judged(rows, GOOD, GOOD, metric=metric, min_improvement=0.0, confidence=0.5)
        assert not report.passed
        assert report.reason.endswith(": no different")


def test_the_report_is_the_same_again_but_for_the_times(rows: EvaluationSet) -> None:
    assert judged(rows, GOOD, POOR, slices=["place"]) == judged(rows, GOOD, POOR, slices=["place"])
    assert judged(rows, GOOD, POOR).interval != judged(rows, GOOD, POOR, seed=1).interval


def test_many_rows_are_answered_in_batches() -> None:
    sizes: list[int] = []

    def predict(instances: list[dict[str, Any]]) -> list[Any]:
        sizes.append(len(instances))
        return [1.0 + instance["x"] % 2 for instance in instances]

    count = 2 * BATCH + 5
    truth = [1.0 + number % 2 for number in range(count)]
    rows = values(count, truth, truth)
    report = evaluate(
        rows, asked=Evaluation(metric="r2", tolerance=1e-6), challenger=predict, champion=None, size=1, clock=Clock()
    )
    assert report.passed
    assert sizes[:3] == [BATCH, BATCH, 5]


# --- what is thrown at it


def test_no_held_out_rows_or_too_few_answers_are_refused(rows: EvaluationSet) -> None:
    with pytest.raises(UsageError, match="no held-out rows"):
        judged(EvaluationSet("binary", [], [], [], rows.baseline), GOOD, None)
    for answers in ([], GOOD, GOOD * 40):
        with pytest.raises(UsageError, match="answers for 40 rows"):
            evaluate(rows, asked=Evaluation(metric="accuracy"), challenger=lambda _: answers, champion=None, size=1)  # noqa: B023


HOSTILE = {
    "a probability that is no number": classified("fog", fog=math.nan, rain=0.5),
    "certain of every class": classified("fog", fog=1.0, rain=1.0),
    "below zero": classified("fog", fog=1.5, rain=-0.5),
    "infinite": classified("fog", fog=math.inf, rain=-math.inf),
    "text": {"label": "fog", "probabilities": {"fog": "1"}},
    "no probabilities": {"label": "fog", "probabilities": {}},
    "a number": 1.0,
    "nothing": None,
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("side", ["challenger", "champion"])
def test_an_answer_that_no_caller_could_use_is_refused_with_its_row(rows: EvaluationSet, case: str, side: str) -> None:
    broken = [GOOD[0], HOSTILE[case]]
    with pytest.raises(UsageError, match="prediction 1 is ") as refusal:
        judged(rows, *((broken, GOOD) if side == "challenger" else (GOOD, broken)))
    assert refusal.value.code == "wrong_predictions"


@pytest.mark.parametrize(
    "answer",
    [math.nan, math.inf, True, "1", None, 10**400, 10**5000, [1.0]],
    ids=["nan", "inf", "true", "text", "null", "400 digits", "5000 digits", "a list"],
)
def test_a_value_that_is_no_number_is_refused_with_its_row(answer: Any) -> None:
    rows = values(30, [1.0] * 30, [1.0, 2.0] * 15)
    with pytest.raises(UsageError, match="prediction 0 is "):
        judged(rows, [answer], [1.0], metric="mae")


def test_a_target_that_is_no_number_or_lists_of_other_lengths_are_refused(rows: EvaluationSet) -> None:
    with pytest.raises(UsageError, match="the target of row 1 is no number"):
        judged(values(2, None, [1.0, math.nan]), [1.0], None, metric="mae")
    with pytest.raises(UsageError, match="truth has 2 values for 3 rows"):
        judged(values(3, None, [1.0, 2.0]), [1.0], None, metric="mae")
    with pytest.raises(UsageError, match="column 'place' has 1 values for 40 rows"):
        judged(msgspec.structs.replace(rows, columns={"place": ["here"]}), GOOD, None)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "f1_macro", "log_loss"])
@pytest.mark.parametrize("count", [1, 2])
def test_one_row_or_two_decide_nothing(metric: str, count: int) -> None:
    rows = EvaluationSet("binary", [{"x": n} for n in range(count)], ["fog", "rain"][:count], None, POOR[0])
    report = judged(rows, GOOD, list(reversed(GOOD)), metric=metric, min_improvement=0.0)
    assert not report.passed
    assert "chance may explain it" in report.reason


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2"])
@pytest.mark.parametrize("truth", [[5.0], [5.0, 7.0], [0.1] * 40])
def test_few_values_or_equal_ones_are_evaluated(metric: str, truth: list[float]) -> None:
    rows = values(len(truth), None, truth)
    report = judged(rows, [value + 0.1 for value in truth], [value + 3 for value in truth], metric=metric)
    assert report.passed is (len(truth) == 40 and metric != "r2")


def test_rows_of_one_class_are_evaluated(rows: EvaluationSet) -> None:
    one = msgspec.structs.replace(rows, truth=["fog"] * 40, predictions=None)
    for metric in ("balanced_accuracy", "f1_macro"):
        assert judged(one, [classified("fog", fog=1.0)], GOOD, metric=metric).passed


def test_thirty_classes_are_evaluated() -> None:
    draw = np.random.default_rng(0)
    names = [f"c{number}" for number in range(30)]
    truth = draw.choice(names, 300).tolist()
    sides = []
    for share in (0.8, 0.4):
        labels = [name if draw.random() < share else names[int(draw.integers(30))] for name in truth]
        given = [dict.fromkeys(names, 0.5 / 30) for _ in labels]
        sides.append(
            [
                {"label": name, "probabilities": odds | {name: 0.5 + 0.5 / 30}}
                for name, odds in zip(labels, given, strict=True)
            ]
        )
    rows = EvaluationSet("multiclass", [{"x": n} for n in range(300)], truth, sides[0], sides[1][0])
    for metric in ("f1_macro", "balanced_accuracy", "log_loss"):
        report = judged(rows, sides[0], sides[1], metric=metric, slices=["x"])
        assert report.passed
        assert report.confusion is not None
        assert len(report.confusion.classes) == 30


def test_numbers_beyond_all_bounds_are_a_reason_and_no_failure() -> None:
    rows = values(30, None, [1.0, 2.0] * 15)
    report = judged(rows, [1e300], [1.0], metric="rmse", slices=["x"], max_slice_loss=1.0)
    assert not report.passed
    assert "not to be compared" in report.reason
    assert report.metrics["challenger"] is not None
    assert report.metrics["challenger"]["rmse"] is None
    assert (report.improvement, report.interval.low) == (None, None)


def test_odd_columns_are_sliced_without_breaking_the_document(rows: EvaluationSet) -> None:
    columns = {
        "long": ["x" * 5_000, "\u202eevil\n\x00"] * 20,
        "holes": [math.nan, None, "", 3.5] * 10,
        "halves": ["\ud800"] * 40,
        "endless": [math.inf, 1e308] * 20,
    }
    report = judged(msgspec.structs.replace(rows, columns=columns), GOOD, POOR, slices=[*columns, "gone"])
    assert report.passed
    assert msgspec.json.encode(report)
    assert all(len(part.value) <= 60 for part in report.slices)
    assert "to be sliced: gone;" in next(check.said for check in report.checks if check.name == "slices")
