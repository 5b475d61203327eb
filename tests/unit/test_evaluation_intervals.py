"""The interval of an improvement: what theory says of it, and what keeps luck out."""

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modelyard.evaluation.intervals import (
    Interval,
    expanded_tail,
    improvement_interval,
    resample,
    rows_needed,
    score_intervals,
)
from modelyard.metrics import METRICS, Labelled, Measured

Pair = tuple[Labelled, Labelled]


def answered(right: list[int], other: list[int]) -> Pair:
    """Two classifiers of rows of class 0: which they answer right."""
    truth = np.zeros(len(right), dtype=np.int64)
    one, two = (
        Labelled(truth, 1 - np.array(side), np.where(np.array(side) == 1, 0.8, 0.3), 2) for side in (right, other)
    )
    return one, two


def noisy(rows: int, seed: int, *, classes: int = 3) -> Pair:
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, classes, rows)
    one, two = (
        Labelled(
            truth, np.where(draw.random(rows) < 0.6, truth, draw.integers(0, classes, rows)), draw.random(rows), classes
        )
        for _ in range(2)
    )
    return one, two


def test_the_interval_of_an_accuracy_is_about_that_of_theory() -> None:
    """For paired right/wrong answers the standard error of the difference is known: McNemar's."""
    draw = np.random.default_rng(1)
    sides = [(draw.random(500) < share).astype(int) for share in (0.8, 0.7)]
    difference = (sides[0] - sides[1]).astype(float)
    error = difference.std() / math.sqrt(500)
    found = improvement_interval(*answered(*(side.tolist() for side in sides)), metric="accuracy", resamples=4_000)
    assert found.low == pytest.approx(difference.mean() - 1.96 * error, abs=0.006)
    assert found.high == pytest.approx(difference.mean() + 1.96 * error, abs=0.006)


def test_the_interval_of_a_mean_on_few_rows_is_about_students() -> None:
    draw = np.random.default_rng(2)
    gained = draw.normal(0.5, 1, 15)
    one, two = Measured(np.zeros(15), np.zeros(15)), Measured(np.zeros(15), gained + 10)
    moved = Measured(one.truth, one.answer + 10)
    found = improvement_interval(moved, two, metric="mae", level=0.9, resamples=20_000)
    theory = stats.t.interval(0.9, 14, gained.mean(), stats.sem(gained))
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(theory[1] - theory[0], rel=0.06)
    plain = np.quantile([gained[draw.integers(0, 15, 15)].mean() for _ in range(5_000)], [0.05, 0.95])
    assert found.high - found.low > 1.04 * (plain[1] - plain[0]), "the plain percentile interval is too narrow"


@pytest.mark.parametrize("rows", [6, 15, 30, 100, 5_000])
@pytest.mark.parametrize("tail", [0.25, 0.1, 0.05, 0.025, 0.005])
def test_the_tail_is_expanded_as_its_source_says(rows: int, tail: float) -> None:
    expected = stats.norm.cdf(stats.t.ppf(tail, rows - 1) * math.sqrt(rows / (rows - 1)))
    assert expanded_tail(tail, rows) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("metric", [name for name, kind in METRICS.items() if kind.classification])
def test_equal_answers_have_no_interval_and_are_all_luck(metric: str) -> None:
    one, _ = noisy(50, 0)
    found = improvement_interval(one, one, metric=metric)
    assert (found.low, found.high, found.chance) == (0.0, 0.0, 1.0)


def test_the_interval_is_the_same_again_and_another_with_another_seed() -> None:
    truth = np.arange(30.0)
    sides = [Measured(truth, truth + np.random.default_rng(seed).normal(0, 5, 30)) for seed in (1, 2)]
    found = [improvement_interval(*sides, metric="mae", seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert (found[0].resamples, found[0].level, found[0].confidence) == (2_000, 0.95, 0.975)


@pytest.mark.parametrize(("wins", "losses", "sure"), [(4, 0, False), (5, 0, True), (5, 1, False), (7, 1, True)])
def test_how_many_wins_are_no_luck_is_what_the_sign_test_says(wins: int, losses: int, sure: bool) -> None:
    same = 60 - wins - losses
    pair = answered([1] * wins + [0] * losses + [1] * same, [0] * wins + [1] * losses + [1] * same)
    found = improvement_interval(*pair, metric="accuracy", level=0.9)
    exact = float(stats.binomtest(wins, wins + losses, alternative="greater").pvalue)
    assert (exact <= 0.05) is sure
    assert found.chance == pytest.approx(exact, abs=0.02)
    assert found.low is not None
    assert (found.low > 0) is sure


def test_luck_is_kept_out_of_what_looks_worse_as_well() -> None:
    found = improvement_interval(*answered([0] * 4 + [1] * 56, [1] * 60), metric="accuracy", level=0.9)
    assert found.high == 0.0
    assert found.low is not None
    assert found.low < -0.06


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_a_handful_of_rows_is_never_enough(metric: str, rows: int) -> None:
    if METRICS[metric].classification:
        found = improvement_interval(*answered([1] * rows, [0] * rows), metric=metric, level=0.9)
    else:
        truth = np.arange(rows) * 1.0
        found = improvement_interval(Measured(truth, truth), Measured(truth, truth + 3), metric=metric, level=0.9)
    assert found.low is not None
    assert found.low <= 0


def test_swapping_rows_that_are_alike_together_gives_what_swapping_each_does() -> None:
    one, two = noisy(80, 3)
    alike = resample(one, two, metric="accuracy", resamples=20_000)
    gain = (one.answer == one.truth).astype(float) - (two.answer == two.truth)
    each = np.random.default_rng(0).choice([-1.0, 1.0], (20_000, 80)) @ gain / 80
    assert alike.swapped.std() == pytest.approx(each.std(), rel=0.03)
    drawn = gain[np.random.default_rng(1).integers(0, 80, (20_000, 80))].mean(axis=1)
    assert alike.drawn is not None
    assert alike.drawn.std() == pytest.approx(drawn.std(), rel=0.03)
    assert alike.drawn.mean() == pytest.approx(drawn.mean(), abs=0.002)


def test_classes_that_are_numbered_apart_are_refused() -> None:
    one, _ = noisy(10, 0, classes=3)
    _, two = noisy(10, 0, classes=4)
    with pytest.raises(ValueError, match="numbered together"):
        improvement_interval(one, two, metric="accuracy")


def test_numbers_beyond_all_bounds_have_no_interval() -> None:
    truth = np.arange(20.0)
    found = improvement_interval(Measured(truth, truth + 1e200), Measured(truth, truth), metric="rmse")
    assert (found.low, found.high, found.chance) == (None, None, 1.0)


@pytest.mark.parametrize("metric", ["f1_macro", "r2"])
def test_ten_thousand_rows_take_seconds_of_one_processor(metric: str) -> None:
    pair = noisy(10_000, 0, classes=5)
    values = [Measured(np.arange(1e4), np.random.default_rng(seed).normal(size=10_000)) for seed in (0, 1)]
    began = time.process_time()
    improvement_interval(*(pair if METRICS[metric].classification else values), metric=metric)
    assert time.process_time() - began < 6


def test_every_metric_of_a_side_has_an_interval_around_it() -> None:
    one, _ = noisy(200, 5)
    found = score_intervals(one)
    assert set(found) == {name for name, kind in METRICS.items() if kind.classification}
    for name, (low, high) in found.items():
        assert low is not None
        assert high is not None
        assert low < METRICS[name].score(one) < high
    share = METRICS["accuracy"].score(one)
    assert found["accuracy"][1] == pytest.approx(share + 1.96 * math.sqrt(share * (1 - share) / 200), abs=0.01)


# --- how many rows


def test_about_as_many_rows_as_are_needed_would_do() -> None:
    """On that many rows of the same kind, the lower end is about where it has to be."""
    right, other = [1] * 60 + [0] * 40, [1] * 50 + [0] * 20 + [1] * 5 + [0] * 25
    found = improvement_interval(*answered(right, other), metric="accuracy", level=0.9)
    needed = rows_needed(0.05, found, asked=0.0, rows=100)
    assert needed is not None
    times = -(-needed // 100)
    assert times > 1
    more = improvement_interval(*answered(right * times, other * times), metric="accuracy", level=0.9)
    assert more.low is not None
    assert -0.005 < more.low < 0.03


@given(st.floats(0.001, 10), st.floats(0, 5), st.floats(0, 5), st.floats(0.0006, 0.49), st.integers(10, 10**5))
@settings(deadline=None)
def test_more_rows_are_needed_than_there_were(
    gain: float, below: float, asked: float, chance: float, rows: int
) -> None:
    low = min(gain - below, 0.0) if chance > 0.05 else gain - below
    needed = rows_needed(gain, Interval(low, gain + 1, 0.9, 2_000, chance), asked=asked, rows=rows)
    if low >= asked and chance <= 0.05:
        return  # it passed; nobody asks
    if needed is not None:
        assert needed >= rows
        assert needed <= 11_000_000


@pytest.mark.parametrize(
    ("gain", "interval"),
    [
        (0.01, Interval(0.0, 0.1, 0.9)),
        (0.5, Interval(None, None, 0.9)),
        (0.5, Interval(0.0, 1.0, 0.9, 2_000, 0.5)),
        (0.02 + 1e-17 * 1e3, Interval(-1.0, 1.0, 0.9, 2_000, 0.4)),
    ],
    ids=["less than is asked for", "not to be measured", "nothing but luck", "next to nothing"],
)
def test_where_no_number_of_rows_would_do_none_is_said(gain: float, interval: Interval) -> None:
    assert rows_needed(gain, interval, asked=0.02, rows=100) is None


# --- how often it is wrong


def _classes(draw: np.random.Generator) -> Pair:
    truth = draw.integers(0, 10, 40)
    one, two = (
        Labelled(truth, np.where(draw.random(40) < 0.5, truth, draw.integers(0, 10, 40)), draw.random(40), 10)
        for _ in range(2)
    )
    return one, two


def _values(draw: np.random.Generator) -> tuple[Measured, Measured]:
    truth, scale = draw.normal(size=30), np.exp(draw.normal(0, 0.7, 30))
    one, two = (Measured(truth, truth + scale * draw.normal(size=30)) for _ in range(2))
    return one, two


@pytest.mark.parametrize(
    ("metric", "pair"),
    [
        ("accuracy", _classes),
        ("balanced_accuracy", _classes),
        ("f1_macro", _classes),
        ("rmse", _values),
        ("mae", _values),
    ],
)
def test_equal_models_are_told_apart_no_more_often_than_stated(metric: str, pair: Callable[..., Pair]) -> None:
    """A small version of benchmarks/gate/error_rates.py, on the cases where other intervals fail."""
    pairs, stated = 200, 0.1
    found = [
        resample(*pair(np.random.default_rng([7, number])), metric=metric, resamples=500, seed=number).interval(0.8).low
        for number in range(pairs)
    ]
    promoted = sum(low is not None and low > 1e-9 for low in found) / pairs
    assert promoted <= stated + 3 * math.sqrt(stated * (1 - stated) / pairs)
    assert promoted > 0.02, "a gate that promotes nothing is never wrong"
