"""What a server learns of its load, and what it makes of it: whether rows are put together, and who waits for whom."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from modelyard.server.costs import ENOUGH, RECENT, WORTH, WORTH_S, Arrivals, RunCost, wait_s

Takes = Callable[[int], float]

INF = float("inf")


def learnt(takes: Takes, *sizes: int, times: int = 3) -> RunCost:
    cost = RunCost()
    for rows in sizes or (1, 8):
        for _ in range(times):
            cost.saw(rows, takes(rows))
    return cost


def line(fixed: float, row: float) -> Takes:
    return lambda rows: fixed + row * rows


def convolution(rows: int) -> float:
    """One row fits into a cache, more do not: each costs more the more there are."""
    return 0.004 * rows**1.15


def forest(rows: int) -> float:
    """Rows cost the same until they are enough for another way through the trees."""
    return 0.0002 * rows if rows < 32 else 0.001 + 0.00005 * rows


# -- what a run costs -------------------------------------------------------------------------------------------------


def test_before_anything_was_seen_a_run_costs_nothing_and_nothing_is_gained() -> None:
    cost = RunCost()
    assert (cost.of(1), cost.of(100), cost.best, cost.gains(1)) == (0.0, 0.0, 1, False)


@pytest.mark.parametrize("takes", [line(0.001, 0.0001), line(0.0, 0.001), convolution, forest])
def test_what_was_seen_is_expected_and_what_lies_between_lies_between(takes: Takes) -> None:
    cost = learnt(takes, 1, 8, 64)
    for rows in (1, 8, 64):
        assert cost.of(rows) == pytest.approx(takes(rows))
    for below, above in itertools.pairwise(range(1, 200)):
        assert cost.of(below) < cost.of(above)


def test_a_size_that_nobody_has_seen_costs_in_proportion() -> None:
    cost = learnt(line(0.001, 0.0001), 4, 8)
    assert cost.of(2) == pytest.approx(cost.of(4) / 2)
    assert cost.of(80) == pytest.approx(10 * cost.of(8))


def test_what_changes_is_learnt_again() -> None:
    cost = learnt(line(0.001, 0.0001), 1, 8)
    for _ in range(500):
        cost.saw(1, 0.004)
        cost.saw(8, 0.032)
    assert cost.of(1) == pytest.approx(0.004, rel=0.02)
    assert not cost.gains(1)


def test_runs_that_were_interrupted_do_not_count_for_what_they_took() -> None:
    cost = learnt(line(0.001, 0.0001), 1, 8, times=RECENT)
    before = cost.of(1)
    for _ in range(RECENT // 2):
        cost.saw(1, 10.0)
        assert cost.of(1) == before
    cost.saw(1, 10.0)
    assert cost.of(1) == 10.0, "it is what most runs take by now"


# -- whether it pays to put rows together -----------------------------------------------------------------------------


def test_a_model_whose_runs_cost_more_than_their_rows_gains() -> None:
    cost = learnt(line(0.001, 0.00001))
    assert cost.gains(1)
    assert cost.best == 8
    assert not cost.gains(8)  # which is what is best
    assert not cost.gains(9)


@pytest.mark.parametrize("sizes", [(1, 8), (1, 2, 4, 8, 16, 32, 64)])
def test_a_model_whose_rows_cost_more_the_more_there_are_never_gains(sizes: tuple[int, ...]) -> None:
    cost = learnt(convolution, *sizes)
    assert cost.best == 1
    assert not any(cost.gains(rows) for rows in range(1, 100))
    for _ in range(5000):  # and what is seen in the meantime, one row at a time, does not change it
        cost.saw(1, convolution(1))
        assert not cost.gains(1)


def test_noise_does_not_make_a_convolution_gain() -> None:
    draw, cost = np.random.default_rng(1), learnt(convolution, 1, 8)
    gained = 0
    for _ in range(5000):
        cost.saw(1, convolution(1) * float(draw.lognormal(0.0, 0.2)))
        gained += cost.gains(1)
    assert gained == 0


def test_where_only_large_batches_pay_small_ones_are_put_together_for_them() -> None:
    cost = learnt(forest, 1, 8, 16, 64)
    assert cost.best == 64
    assert cost.gains(1)
    assert cost.gains(16)


@pytest.mark.parametrize(("more", "gains"), [(-1e-6, True), (1e-6, False)])
def test_a_row_must_cost_a_share_less_together(more: float, gains: bool) -> None:
    cost = RunCost()
    cost.saw(1, 1.0)
    cost.saw(8, 8 * (WORTH + more))
    assert cost.gains(1) == gains


@pytest.mark.parametrize(("more", "gains"), [(1e-9, True), (-1e-9, False)])
def test_a_row_must_be_spared_more_than_it_costs_to_put_it_with_others(more: float, gains: bool) -> None:
    cost, together = RunCost(), 1e-7
    cost.saw(1, together + WORTH_S + more)
    cost.saw(8, 8 * together)
    assert cost.gains(1) == gains


@pytest.mark.parametrize(("more", "best"), [(-1e-6, 8), (1e-6, 64)])
def test_of_sizes_that_are_nearly_as_cheap_the_smallest_is_best(more: float, best: int) -> None:
    cost = RunCost()
    cost.saw(1, 1.0)
    cost.saw(8, 8 * 0.01 * (ENOUGH + more))
    cost.saw(64, 64 * 0.01)
    assert cost.best == best


# -- how soon the next one comes --------------------------------------------------------------------------------------


def test_nothing_is_known_of_gaps_before_the_second_request() -> None:
    arrivals = Arrivals()
    assert arrivals.gap_s == INF
    arrivals.saw(5.0)
    assert arrivals.gap_s == INF
    arrivals.saw(5.5)
    assert arrivals.gap_s == 0.5


def test_the_newest_gaps_count_most() -> None:
    arrivals = Arrivals()
    now = 0.0
    for gap in [1.0] * 10 + [0.001] * 60:
        now += gap
        arrivals.saw(now)
    assert 0.001 <= arrivals.gap_s < 0.005
    arrivals.saw(now + 1.0)
    assert arrivals.gap_s < 0.2


# -- whether to wait for it -------------------------------------------------------------------------------------------


DENSE = line(0.005, 0.0001)


def waits(takes: Takes = DENSE, *, requests: int = 1, rows: int | None = None, waited_s: float = 0.0,
          gap_s: float = 0.0001, most_s: float = 0.005) -> float:  # fmt: skip
    return wait_s(requests=requests, rows=rows or requests, waited_s=waited_s, cost=learnt(takes, 1, 8, 64),
                  gap_s=gap_s, most_s=most_s)  # fmt: skip


def test_a_request_waits_for_the_next_where_that_comes_soon() -> None:
    assert waits(gap_s=0.0001) == pytest.approx(0.0002)


@pytest.mark.parametrize("gap_s", [0.0051, 0.1, INF])
def test_nobody_waits_for_what_comes_too_late(gap_s: float) -> None:
    assert waits(gap_s=gap_s) == 0.0


def test_a_gap_as_long_as_what_is_saved_is_not_waited_for() -> None:
    takes = line(0.002, 0.0)  # a second request is for nothing: it saves a whole run
    assert waits(takes, gap_s=0.0019, most_s=1.0) > 0
    assert waits(takes, gap_s=0.0021, most_s=1.0) == 0.0


@pytest.mark.parametrize("waited_s", [0.005, 0.0051, 1.0])
def test_nobody_waits_longer_than_allowed(waited_s: float) -> None:
    assert waits(waited_s=waited_s) == 0.0


def test_the_wait_ends_when_the_first_has_waited_for_as_long_as_it_may() -> None:
    assert waits(waited_s=0.00485, gap_s=0.0001) == pytest.approx(0.00015)
    assert waits(most_s=0.0) == 0.0


@pytest.mark.parametrize(("rows", "waiting"), [(63, True), (64, False), (65, False)])
def test_nobody_waits_when_there_are_enough(rows: int, waiting: bool) -> None:
    assert (waits(line(0.05, 0.0), requests=rows, gap_s=0.00001) > 0) == waiting


def test_a_model_that_gains_nothing_is_never_waited_for() -> None:
    for requests in range(1, 20):
        assert waits(convolution, requests=requests, gap_s=0.0) == 0.0


def test_the_longer_it_has_gathered_the_less_the_next_one_is_worth_waiting_for() -> None:
    found = [waits(line(0.005, 0.0), requests=requests, gap_s=0.0008, most_s=1.0) > 0 for requests in range(1, 20)]
    assert found == sorted(found, reverse=True)
    assert set(found) == {True, False}
