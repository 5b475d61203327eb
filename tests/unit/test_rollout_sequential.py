"""Confidence sequences: right at all looks together, and about as narrow as they should be."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.rollout.sequential import LEVELS, Stream, log_capital, mean_intervals, median_interval

ALPHA = 0.1
REPEATED = 200
ALLOWED = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / REPEATED)


def wrong_at_any_look(draws: np.ndarray, mean: float, looks: range) -> float:
    """The share of sequences of which some look excludes the mean from below."""
    streams = [Stream.of(line[:look], ALPHA) for line in draws for look in looks]
    low = mean_intervals(streams)[:, 0].reshape(len(draws), len(looks))
    return float((low > mean).any(axis=1).mean())


@pytest.mark.parametrize("share", [0.002, 0.1, 0.5, 0.9])
def test_the_interval_of_a_share_is_right_at_all_looks_together(share: float) -> None:
    draws = (np.random.default_rng(1).random((REPEATED, 400)) < share).astype(float)
    assert wrong_at_any_look(draws, share, range(5, 401, 15)) <= ALLOWED
    assert wrong_at_any_look(1 - draws, 1 - share, range(5, 401, 15)) <= ALLOWED


def test_the_interval_of_any_values_in_the_range_is_right_at_all_looks_together() -> None:
    draws = np.random.default_rng(2).beta(0.3, 0.9, (REPEATED, 200))
    assert wrong_at_any_look(draws, 0.25, range(20, 201, 60)) <= ALLOWED


def test_it_is_right_for_values_that_depend_on_each_other() -> None:
    """Only the expectation given the past counts: here a value of 1 makes the next one certain to be like a coin."""
    draw = np.random.default_rng(3)
    values = np.zeros((REPEATED, 200))
    for place in range(1, 200):
        wide = values[:, place - 1] > 0.5
        values[:, place] = np.where(wide, draw.random(REPEATED) < 0.3, 0.3 + draw.uniform(-0.2, 0.2, REPEATED))
    values[:, 0] = 0.3
    assert wrong_at_any_look(values, 0.3, range(20, 201, 60)) <= ALLOWED


def test_an_interval_that_is_made_for_one_look_would_be_wrong_far_more_often() -> None:
    """So that the tests above could fail: the usual normal interval, at every look, in the same simulation."""
    draws = (np.random.default_rng(1).random((REPEATED, 400)) < 0.5).astype(float)
    looks = np.arange(20, 401)
    means = np.cumsum(draws, axis=1)[:, looks - 1] / looks
    low = means - 1.2816 * np.sqrt(np.maximum(means * (1 - means), 1e-9) / looks)
    assert (low > 0.5).any(axis=1).mean() > 2.5 * ALPHA


def test_capital_is_never_expected_to_grow_at_the_mean() -> None:
    """Exactly: the capital after each way that six coins can fall, weighted by its chance."""
    for share in (0.1, 0.5, 0.8):
        heads = np.arange(7)
        chance = np.array([math.comb(6, int(one)) * share**one * (1 - share) ** (6 - one) for one in heads])
        counts = np.column_stack([6 - heads, heads]).astype(float)
        capital = np.exp(log_capital(np.tile([0.0, 1.0], (7, 1)), counts, np.full(7, share)))
        assert chance @ capital == pytest.approx(1.0)


def test_the_interval_narrows_to_the_mean() -> None:
    widths = [np.diff(mean_intervals([Stream.of_share(samples / 5, samples, 0.01)])[0])[0] for samples in (100, 10_000)]
    fixed = 2 * 2.576 * math.sqrt(0.2 * 0.8 / 10_000)
    assert widths[1] < widths[0] / 6
    assert fixed < widths[1] < 2.2 * fixed


def test_nothing_seen_tells_nothing() -> None:
    assert mean_intervals([Stream.of_share(0, 0, 0.05)]).tolist() == [[0, 1]]
    assert mean_intervals([]).shape == (0, 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=150), st.randoms())
def test_order_changes_nothing_and_the_mean_lies_within(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, two = mean_intervals([Stream.of(np.array(values), 0.05), Stream.of(np.array(shuffled), 0.05)])
    assert one.tolist() == two.tolist()
    assert 0 <= one[0] <= np.mean(values) + 1e-6
    assert np.mean(values) - 1e-6 <= one[1] <= 1


def test_many_levels_are_rounded_against_what_is_to_be_shown() -> None:
    values = np.random.default_rng(4).random(2_000)
    rounded = mean_intervals([Stream.of(values, 0.05)])[0]
    down = mean_intervals([Stream.of(np.floor(values * LEVELS) / LEVELS, 0.05)])[0]
    up = mean_intervals([Stream.of(np.ceil(values * LEVELS) / LEVELS, 0.05)])[0]
    assert rounded[0] == pytest.approx(down[0], abs=1e-6)
    assert rounded[1] == pytest.approx(up[1], abs=1e-6)


def test_the_interval_of_a_median_is_right_at_all_looks_whatever_the_tails() -> None:
    draws = np.random.default_rng(5).standard_cauchy((REPEATED, 120))
    wrong = sum(
        any(
            not (low <= 0 <= high)
            for low, high in (median_interval(line[:look], ALPHA / 2) for look in range(10, 121, 10))
        )
        for line in draws
    )
    assert wrong / REPEATED <= ALLOWED


def test_few_values_have_no_interval_of_a_median() -> None:
    assert median_interval(np.array([1.0, 2.0]), 0.05) == (-math.inf, math.inf)
    low, high = median_interval(np.arange(101.0), 0.05)
    assert 20 < low < 50 < high < 80


def test_an_end_is_where_the_capital_reaches_one_over_alpha() -> None:
    for hits, samples, alpha in ((3, 40, 0.05), (80, 100, 0.001)):
        low, high = mean_intervals([Stream.of_share(hits, samples, alpha)])[0]
        counts = np.array([[samples - hits, hits]], dtype=float)
        values = np.array([[0.0, 1.0]])
        assert log_capital(values, counts, np.array([low]))[0] == pytest.approx(-math.log(alpha), abs=0.01)
        assert log_capital(1 - values, counts, np.array([1 - high]))[0] == pytest.approx(-math.log(alpha), abs=0.01)
