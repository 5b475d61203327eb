"""Several requests in one run: who runs with whom and when, and that nobody notices but by the clock."""

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard.errors import ModelError, RequestError
from modelyard.predictor.array import Array
from modelyard.predictor.reader import Batch
from modelyard.predictor.signature import Signature, Tensor
from modelyard.server.batching import EXPLORE, INLINE_S, NOTED, Batcher, OverloadedError
from modelyard.server.costs import RECENT, RunCost

Takes = Callable[[int], float]


def dense(rows: int) -> float:
    """As if each run took as long as any other, and short enough for the event loop."""
    return INLINE_S * (0.5 + 0.001 * rows)


def long_dense(rows: int) -> float:
    return 2 * dense(rows)


def convolution(rows: int) -> float:
    return INLINE_S * 0.2 * rows**1.15


class Adds:
    """Adds 100 to each row, which is its answer; refuses what is negative; notes its runs.

    Args:
        takes: What it says that a run takes.
        per_row: Whether it answers each row, and not the batch.
    """

    signature = Signature((Tensor("x", "float32", (None,)),), ())

    def __init__(self, takes: Takes = dense, *, per_row: bool = True) -> None:
        self.takes, self.per_row = takes, per_row
        self.runs: list[list[float]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.began = threading.Event()
        self.threads: set[int] = set()

    def run_timed(self, batch: Batch) -> tuple[list[Any], float]:
        self.began.set()
        assert self.may_go_on.wait(10)
        self.threads.add(threading.get_ident())
        values = batch.arrays[0].elements()
        self.runs.append(values)
        if min(values) < 0:
            raise ModelError(f"{min(values)} is negative")
        rows = [100 + value for value in values[: batch.rows]] if self.per_row else [sum(values)]
        return [Array.pack("float32", (len(rows), 1), rows)], self.takes(batch.rows)


def rows_of(*values: float, dtype: str = "float32", width: int = 1) -> Batch:
    shape = (len(values) // width, *([width] if width > 1 else []))
    return Batch(shape[0], [Array.pack(dtype, shape, list(values))], [])


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


Stand = Callable[..., Any]


@pytest.fixture
def ask(threads: ThreadPoolExecutor) -> Stand:
    """Runs ``what(batcher)`` on an event loop."""

    def asked(
        predictor: Adds, what: Callable[[Batcher], Awaitable[Any]], *, max_batch: int = 64, max_wait_s: float = 0.0,
        queue: int = 256, sizes: tuple[int, ...] = (1, 8, 64),
    ) -> Any:  # fmt: skip
        async def main() -> Any:
            cost = RunCost()
            for rows in sizes:
                cost.saw(rows, predictor.takes(rows))
            batcher = Batcher(
                predictor, asyncio.get_running_loop(), threads, cost=cost, max_batch=max_batch, max_wait_s=max_wait_s,
                queue=queue,
            )  # fmt: skip
            return await asyncio.wait_for(what(batcher), 20)

        return asyncio.run(main())

    return asked


async def answers(batcher: Batcher, *batches: Batch) -> list[Any]:
    """The rows of each one's answer, or its error, of requests that come in the same moment."""
    found = await asyncio.gather(*(batcher.run(batch) for batch in batches), return_exceptions=True)
    return [one if isinstance(one, BaseException) else one[0][0].elements() for one in found]


def singles(*values: float) -> list[Batch]:
    return [rows_of(value) for value in values]


# -- who runs with whom -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("takes", [dense, long_dense])
def test_requests_of_one_moment_are_one_run_and_each_gets_its_own_in_order(ask: Stand, takes: Takes) -> None:
    predictor = Adds(takes)
    batches = [rows_of(1), rows_of(2, 3, 4), rows_of(5, 6)]
    assert ask(predictor, lambda batcher: answers(batcher, *batches)) == [[101], [102, 103, 104], [105, 106]]
    assert predictor.runs == [[1, 2, 3, 4, 5, 6]]


def test_each_is_told_its_share_of_the_seconds(ask: Stand) -> None:
    predictor = Adds()

    async def seconds(batcher: Batcher) -> list[float]:
        found = await asyncio.gather(batcher.run(rows_of(1)), batcher.run(rows_of(2, 3, 4)))
        return [one[1] for one in found]

    assert ask(predictor, seconds) == pytest.approx([dense(4) / 4, dense(4) * 3 / 4])


def test_a_short_run_is_done_on_the_loop_and_a_long_one_on_a_thread(ask: Stand) -> None:
    for takes, here in ((dense, True), (long_dense, False)):
        predictor = Adds(takes)
        ask(predictor, lambda batcher: answers(batcher, *singles(1, 2)))
        assert (predictor.threads == {threading.get_ident()}) == here


def test_one_bad_request_fails_alone(ask: Stand) -> None:
    predictor = Adds()
    one, bad, two = ask(predictor, lambda batcher: answers(batcher, *singles(1, -2, 3)))
    assert (one, two) == ([101], [103])
    assert isinstance(bad, ModelError)
    assert bad.message == "-2.0 is negative"
    assert predictor.runs == [[1, -2, 3], [1], [-2], [3]]


@pytest.mark.parametrize(
    "other", [rows_of(5, 6, width=2), rows_of(5, dtype="float64"), Batch(1, rows_of(5).arrays * 2, [])],
    ids=["sizes", "dtype", "inputs"],
)  # fmt: skip
def test_what_is_of_another_kind_has_a_run_of_its_own(ask: Stand, other: Batch) -> None:
    predictor = Adds()
    found = ask(predictor, lambda batcher: answers(batcher, rows_of(1), other, rows_of(2)))
    assert found == [[101], [105], [102]]
    assert sorted(map(len, predictor.runs)) == sorted([2, len(other.arrays[0].elements())])


def test_an_answer_that_is_not_one_for_each_row_is_asked_for_alone(ask: Stand) -> None:
    predictor = Adds(per_row=False)
    assert ask(predictor, lambda batcher: answers(batcher, *singles(1, 2))) == [[1], [2]]


@pytest.mark.parametrize(("most", "runs"), [(5, [4, 2]), (6, [6]), (7, [6])])
def test_no_more_rows_are_put_together_than_allowed(ask: Stand, most: int, runs: list[int]) -> None:
    predictor = Adds()
    batches = [rows_of(1, 2), rows_of(3, 4), rows_of(5, 6)]
    assert ask(predictor, lambda batcher: answers(batcher, *batches), max_batch=most)[2] == [105, 106]
    assert [len(run) for run in predictor.runs] == runs


def test_what_does_not_fit_leaves_room_for_what_does_and_comes_next(ask: Stand) -> None:
    predictor = Adds()
    batches = [rows_of(1), rows_of(2, 3, 4), rows_of(5)]
    assert ask(predictor, lambda batcher: answers(batcher, *batches), max_batch=2) == [[101], [102, 103, 104], [105]]
    assert predictor.runs == [[1, 5], [2, 3, 4]]


def test_where_nothing_may_be_put_together_nothing_is(ask: Stand) -> None:
    predictor = Adds()

    async def many(batcher: Batcher) -> None:
        for _ in range(3 * EXPLORE):
            await answers(batcher, *singles(1, 2, 3))

    ask(predictor, many, max_batch=1)
    assert {len(run) for run in predictor.runs} == {1}


def test_a_model_that_loses_by_it_is_run_one_by_one_but_for_a_look_now_and_then(ask: Stand) -> None:
    predictor = Adds(convolution)

    async def many(batcher: Batcher) -> None:
        for _ in range(4 * EXPLORE):
            assert await answers(batcher, *singles(1, 2, 3)) == [[101], [102], [103]]

    ask(predictor, many)
    together = [len(run) for run in predictor.runs if len(run) > 1]
    assert 0 < len(together) <= len(predictor.runs) / EXPLORE + 1
    assert max(together) == 2  # twice as many as is best


def test_a_model_that_seemed_to_gain_is_run_one_by_one_again(ask: Stand) -> None:
    predictor = Adds(convolution)

    async def many(batcher: Batcher) -> list[bool]:
        for _ in range(RECENT):
            batcher.cost.saw(1, 1.0)  # a machine that was busy when the version was loaded
        before = batcher.joins
        for _ in range(RECENT * EXPLORE):
            await answers(batcher, *singles(1, 2, 3))
        return [before, batcher.joins]

    assert ask(predictor, many) == [True, False]


# -- when -------------------------------------------------------------------------------------------------------------


def test_while_a_run_is_under_way_the_next_gathers_and_the_loop_goes_on(ask: Stand) -> None:
    predictor = Adds(long_dense)
    predictor.may_go_on.clear()

    async def gather(batcher: Batcher) -> list[Any]:
        first = asyncio.ensure_future(batcher.run(rows_of(1)))
        while not predictor.began.is_set():
            await asyncio.sleep(0.001)
        others = asyncio.ensure_future(answers(batcher, *singles(2, 3)))
        await asyncio.sleep(0.01)
        others_too = asyncio.ensure_future(answers(batcher, *singles(4)))
        await asyncio.sleep(0.01)
        predictor.may_go_on.set()
        return [(await first)[0][0].elements(), *await others, *await others_too]

    assert ask(predictor, gather) == [[101], [102], [103], [104]]
    assert predictor.runs == [[1], [2, 3, 4]]


@pytest.mark.parametrize("most_s", [0.0, 0.1])
def test_nobody_waits_longer_than_allowed_for_somebody_who_does_not_come(ask: Stand, most_s: float) -> None:
    predictor = Adds(lambda rows: 1.0)  # it would pay to wait for long

    async def waited(batcher: Batcher) -> float:
        for _ in range(50):  # they come every few milliseconds
            await answers(batcher, rows_of(1))
        began = time.monotonic()
        await answers(batcher, rows_of(1))
        return time.monotonic() - began

    assert ask(predictor, waited, max_wait_s=most_s) < most_s + 0.08


def test_who_comes_soon_is_waited_for(ask: Stand) -> None:
    predictor = Adds(lambda rows: 1.0)

    async def come(batcher: Batcher) -> None:
        asked = []
        for number in range(12):
            asked.append(asyncio.ensure_future(batcher.run(rows_of(number))))
            await asyncio.sleep(0.005)
        await asyncio.gather(*asked)

    ask(predictor, come, max_wait_s=1.0)
    assert len(predictor.runs) < 12 / 3


# -- too many, and those who leave ------------------------------------------------------------------------------------


def test_one_request_more_than_may_wait_is_refused_and_the_others_are_answered(ask: Stand) -> None:
    predictor = Adds(long_dense)
    predictor.may_go_on.clear()

    async def crowd(batcher: Batcher) -> tuple[list[Any], list[Any]]:
        first = asyncio.ensure_future(answers(batcher, rows_of(0)))
        while not predictor.began.is_set():
            await asyncio.sleep(0.001)
        waiting = asyncio.ensure_future(answers(batcher, *singles(1, 2, 3)))
        await asyncio.sleep(0)
        refused = await answers(batcher, *singles(4, 5))
        predictor.may_go_on.set()
        found = [*await first, *await waiting]
        return refused, [*found, *await answers(batcher, rows_of(6))]

    refused, found = ask(predictor, crowd, queue=3)
    assert found == [[100], [101], [102], [103], [106]]
    for error in refused:
        assert isinstance(error, OverloadedError)
        assert (error.status, error.code, error.headers) == (429, "overloaded", {"retry-after": "1"})
        assert error.message.startswith("3 requests wait")


def test_who_has_left_is_not_run_and_nobody_else_is_worse_off(ask: Stand) -> None:
    predictor = Adds(long_dense)
    predictor.may_go_on.clear()

    async def leave(batcher: Batcher) -> list[Any]:
        tasks = [asyncio.ensure_future(batcher.run(rows_of(0)))]
        while not predictor.began.is_set():
            await asyncio.sleep(0.001)
        tasks += [asyncio.ensure_future(batcher.run(rows_of(number))) for number in (1, 2, 3)]
        await asyncio.sleep(0)
        tasks[0].cancel()  # while it runs
        tasks[2].cancel()  # while it waits
        predictor.may_go_on.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, one, left, three = ask(predictor, leave)
    assert isinstance(first, asyncio.CancelledError)
    assert isinstance(left, asyncio.CancelledError)
    assert [found[0][0].elements() for found in (one, three)] == [[101], [103]]
    assert predictor.runs == [[0], [1, 3]]


def test_an_error_of_any_kind_is_told_to_whoever_asked(ask: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Adds()
    for error in (RequestError("no"), RuntimeError("no"), MemoryError()):

        def fail(_: Batch, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(predictor, "run_timed", fail)
        assert ask(predictor, lambda batcher: answers(batcher, *singles(1, 2))) == [error, error]


# -- whether to be run without it -------------------------------------------------------------------------------------


def test_where_nothing_is_gained_and_nobody_waits_a_request_may_be_run_where_it_is_read(ask: Stand) -> None:
    async def direct(batcher: Batcher) -> bool:
        return batcher.direct(rows_of(1.0))

    assert ask(Adds(convolution), direct)
    assert ask(Adds(dense), direct, max_batch=1)
    assert not ask(Adds(dense), direct)
    assert not ask(Adds(long_dense), direct, max_batch=1)


def test_nobody_overtakes_who_waits(ask: Stand) -> None:
    predictor = Adds(convolution)

    async def direct(batcher: Batcher) -> tuple[bool, bool]:
        waiting = asyncio.ensure_future(batcher.run(rows_of(1)))
        await asyncio.sleep(0)
        meanwhile = batcher.direct(rows_of(1.0))
        await waiting
        return meanwhile, batcher.direct(rows_of(1.0))

    assert ask(predictor, direct) == (False, True)


def test_so_many_rows_that_they_take_long_are_not_run_where_one_is(ask: Stand) -> None:
    async def direct(batcher: Batcher) -> list[bool]:
        return [batcher.direct(rows_of(*range(rows))) for rows in (1, 2, 40)]

    assert ask(Adds(convolution), direct) == [True, True, False]


def test_who_asks_alone_shares_with_nobody(ask: Stand) -> None:
    async def direct(batcher: Batcher) -> list[bool]:
        return [batcher.direct(rows_of(1.0), alone=alone) for alone in (False, True)]

    assert ask(Adds(dense), direct) == [False, True]
    assert ask(Adds(long_dense), direct) == [False, False]


def test_where_callers_choose_sizes_each_size_is_learnt_of(ask: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Adds(convolution)
    monkeypatch.setattr(predictor, "signature", Signature((Tensor("x", "float32", (None, None)),), ()))
    short, long = rows_of(1.0, 2.0, width=2), rows_of(1.0, 2.0, 3.0, width=3)

    async def direct(batcher: Batcher) -> list[bool]:
        before = batcher.direct(short)
        await batcher.run(short)
        return [before, batcher.direct(short), batcher.direct(long)]

    assert ask(predictor, direct) == [False, True, False]


def test_a_short_run_that_becomes_long_is_learnt_of_at_once(ask: Stand) -> None:
    predictor = Adds(convolution)

    async def direct(batcher: Batcher) -> list[bool]:
        before = batcher.direct(rows_of(1.0))
        predictor.takes = lambda _: 1.0
        for _ in range(2):
            batcher.run_here(rows_of(1.0))
        return [before, batcher.direct(rows_of(1.0))]

    assert ask(predictor, direct) == [True, False]


def test_runs_that_are_interrupted_now_and_then_change_nothing(ask: Stand) -> None:
    predictor, numbers = Adds(), itertools.count(1)
    predictor.takes = lambda rows: INLINE_S * (10 if rows == 1 and next(numbers) % (NOTED // 4) == 0 else 0.1 * rows)

    async def many(batcher: Batcher) -> list[bool]:
        found = []
        for _ in range(40 * NOTED):
            found.append(batcher.direct(rows_of(1.0)) and not batcher.joins)
            batcher.run_here(rows_of(1.0))
        return found

    assert all(ask(predictor, many))
