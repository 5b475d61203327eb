"""`Batcher`: runs one version's batches, those of several requests as one where that pays.

::

    request ─► submit ─► waiting ─► taken together, as soon as no run is under way ─► engine ─► each its own share
                            └ more than `queue`: 429

The rule: no request waits that does not gain by it. While a run is under way the next batch gathers by itself; when
none is, `costs.wait_s` says whether one more request is worth waiting for. A run that is short is done on the event
loop, because to hand it to a thread and back takes as long; a longer one on a thread, so that the loop goes on. If a
run of several requests fails, each is run alone, so that nobody pays for another's values.

Everything but the runs happens on the event loop.
"""

import asyncio
import time
from collections import deque
from concurrent.futures import Executor
from typing import Any

from modelyard.errors import ModelError, ModelyardError
from modelyard.predictor.predictor import Predictor
from modelyard.predictor.reader import Batch
from modelyard.server.costs import RECENT, Arrivals, RunCost, wait_s
from modelyard.server.merging import Kind, kind_of, merged, shared_out
from modelyard.serving.watchdog import RUN_TIMEOUT

INLINE_S = 0.002
"""Longest run, as expected, that the event loop does itself: nobody else is answered meanwhile."""

EXPLORE = 100
"""One run in so many tries more rows than are known to be best, and one runs a request by itself."""

LOOP_S = 0.25
"""After which a run on the event loop is ended, whatever was expected of it, and begun again on a thread."""

CAREFUL_S = 60.0
"""For how long nothing is run on the event loop after that."""

NOTED = 64
"""One short run in so many is learnt from; after one that is not short, each for a while."""

KINDS = 64
"""Most shapes of rows that are told apart, where a model leaves sizes open."""

RETRY_AFTER_S = 1

Ran = tuple[list[Any], float]
"""Outputs and the engine's seconds."""


class TooLongError(Exception):
    """A run was ended because the event loop cannot wait for it."""


class OverloadedError(ModelyardError):
    """More requests wait than may."""

    code = "overloaded"
    status = 429
    headers = {"retry-after": str(RETRY_AFTER_S)}  # noqa: RUF012 - read only


def overloaded(waiting: int) -> OverloadedError:
    """The error for one request too many."""
    return OverloadedError(
        f"{waiting:,} requests wait already; no more are taken",
        next_step=f"Try again after {RETRY_AFTER_S} s; if it happens often, raise server.max_instances in model.toml.",
    )


class _Waiting:
    __slots__ = ("batch", "came", "future")

    def __init__(self, batch: Batch, future: "asyncio.Future[Ran]", came: float) -> None:
        self.batch = batch
        self.future = future
        self.came = came


class Batcher:
    """Runs one version. Not for two event loops.

    Args:
        predictor: The version.
        loop: The event loop.
        threads: Where longer runs are done.
        cost: What its runs cost, as far as that is known.
        max_batch: Most rows of a run that are put together; 1: never.
        max_wait_s: Longest time that a request waits for others.
        queue: Most requests that wait.

    Attributes:
        cost: What its runs cost, learnt from the runs; of a model with open sizes, those of the size that was probed.
    """

    __slots__ = (
        "_arrivals", "_costs", "_long", "_loop", "_max_batch", "_max_wait_s", "_next", "_noting", "_open",
        "_predictor", "_queue", "_running", "_runs", "_threads", "_unnoted", "_waiting", "cost",
    )  # fmt: skip

    def __init__(
        self,
        predictor: Predictor,
        loop: asyncio.AbstractEventLoop,
        threads: Executor,
        *,
        cost: RunCost,
        max_batch: int,
        max_wait_s: float,
        queue: int,
    ) -> None:
        self.cost = cost
        inputs = predictor.signature.inputs
        self._open = any(None in tensor.shape[1:] for tensor in inputs)  # then callers choose what a row costs
        self._costs: dict[Kind, RunCost] = {}
        self._long = False  # whether a run on the loop was ended a while ago: what was learnt is not to be relied on
        self._unnoted = 0  # runs on the loop since one was learnt from
        self._noting = 0  # of so many more each is learnt from
        self._predictor = predictor
        self._loop = loop
        self._threads = threads
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._queue = queue
        self._arrivals = Arrivals()
        self._waiting: deque[_Waiting] = deque()
        self._next: asyncio.Handle | None = None  # looks again whether to begin
        self._running = False  # on a thread
        self._runs = 0

    @property
    def free(self) -> bool:
        """Whether nobody waits, and no run is under way."""
        return not self._waiting and not self._running and not self._long

    @property
    def joins(self) -> bool:
        """Whether a single row is best put together with others."""
        return self.cost.joins and self._max_batch > 1

    def direct(self, batch: Batch, *, alone: bool = False) -> bool:
        """Whether a request is best run where it was read: the run is short, and nothing is gained by sharing one.

        Args:
            batch: What it asks for.
            alone: Whether nobody else asks, so that there is nothing to share.
        """
        if not self.free:
            return False
        cost = self._cost_of(batch)
        seconds = cost.alone_s if batch.rows == 1 else cost.of(batch.rows)
        if seconds >= INLINE_S or not cost.known:
            return False
        return alone or self._max_batch == 1 or not (cost.joins if batch.rows == 1 else cost.gains(batch.rows))

    def run_here(self, batch: Batch) -> Ran:
        """As `run`, on the event loop.

        Raises:
            TooLongError: When it was ended, because the event loop has others to answer; `run` is to be asked.
            ModelyardError: As the predictor does.
        """
        try:
            outputs, seconds = self._predictor.run_timed(batch)
        except ModelError as error:
            if error.code != RUN_TIMEOUT:
                raise
            self._be_careful()
            raise TooLongError from error
        self._unnoted += 1
        if seconds >= INLINE_S:  # it was interrupted, or runs have become long: those after it say which
            self._noting = RECENT
        if self._noting or self._unnoted >= NOTED:  # to learn from a run takes longer than a short one
            self._noting = max(0, self._noting - 1)
            self._unnoted = 0
            self._cost_of(batch).saw(batch.rows, seconds)
        return outputs, seconds

    def _be_careful(self) -> None:
        """For some time, run nothing on the event loop."""
        if not self._long:
            self._long = True
            self._loop.call_later(CAREFUL_S, self._be_careful_no_more)

    def _be_careful_no_more(self) -> None:
        self._long = False

    def _cost_of(self, batch: Batch) -> RunCost:
        if not self._open:
            return self.cost
        kind = kind_of(batch)
        found = self._costs.get(kind)
        if found is None:
            if len(self._costs) >= KINDS:
                self._costs.clear()
            found = self._costs[kind] = RunCost()
        return found

    async def run(self, batch: Batch) -> Ran:
        """What comes out for a batch, and the engine's seconds for its rows.

        Raises:
            OverloadedError: When too many wait.
            ModelyardError: As the predictor does.
        """
        if len(self._waiting) >= self._queue:
            raise overloaded(len(self._waiting))
        now = time.monotonic()
        self._arrivals.saw(now)
        future: asyncio.Future[Ran] = self._loop.create_future()
        self._waiting.append(_Waiting(batch, future, now))
        if not self._running:
            self._look_again()
        return await future

    # -- when to begin ------------------------------------------------------------------------------------------------

    def _look_again(self, after_s: float = 0.0) -> None:
        if self._next is not None:
            self._next.cancel()
        # Not at once: other requests that came in the same moment have their turn on the loop first.
        self._next = self._loop.call_later(after_s, self._begin) if after_s else self._loop.call_soon(self._consider)

    def _consider(self) -> None:
        waiting = self._waiting
        rows = sum(one.batch.rows for one in waiting)
        if 0 < rows < self._max_batch and (cost := self._cost_of(waiting[0].batch)).gains(waiting[0].batch.rows):
            wait = wait_s(
                requests=len(waiting),
                rows=rows,
                waited_s=time.monotonic() - waiting[0].came,
                cost=cost,
                gap_s=self._arrivals.gap_s,
                most_s=self._max_wait_s,
            )
            if wait > 0:
                self._look_again(wait)
                return
        self._begin()

    def _begin(self) -> None:
        self._next = None
        taken = self._take()
        if not taken:
            return
        cost = self._cost_of(taken[0].batch)
        batches = [one.batch for one in taken]
        if cost.known and not self._long and cost.of(sum(batch.rows for batch in batches)) < INLINE_S:
            results = _run(self._predictor, batches)
            if not any(isinstance(one, ModelError) and one.code == RUN_TIMEOUT for one in results):
                self._ran(taken, results)
                return
            self._be_careful()
        self._running = True
        done = self._loop.run_in_executor(self._threads, _run, self._predictor, batches)
        done.add_done_callback(lambda ran: self._ran(taken, ran.result()))

    def _take(self) -> list[_Waiting]:
        """The first that waits, and those that can be run with it."""
        waiting = self._waiting
        taken: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        rows, most, kind = 0, 0, None
        while waiting:
            one = waiting.popleft()
            if one.future.done():  # nobody waits for it any more
                continue
            if kind is None:
                kind, most = kind_of(one.batch), self._most(one.batch)
            elif rows + one.batch.rows > most or kind_of(one.batch) != kind:
                left.append(one)
                continue
            taken.append(one)
            rows += one.batch.rows
        self._waiting = left
        return taken

    def _most(self, batch: Batch) -> int:
        """Rows of a run that begins with this batch.

        Now and then more than is known to be best, and now and then no more than its own: what was learnt on a busy
        machine, or of other rows, would else hold for ever.
        """
        rows, cost = batch.rows, self._cost_of(batch)
        self._runs += 1
        if self._runs % EXPLORE == 0:
            return min(self._max_batch, 2 * max(rows, cost.best))
        if self._runs % EXPLORE == EXPLORE // 2:
            return rows
        return min(self._max_batch, cost.best) if cost.gains(rows) else rows

    def _ran(self, taken: list[_Waiting], results: "list[Ran | Exception]") -> None:
        self._running = False
        seconds = [result[1] for result in results if not isinstance(result, Exception)]
        if len(seconds) == len(taken):
            self._cost_of(taken[0].batch).saw(sum(one.batch.rows for one in taken), sum(seconds))
        for one, result in zip(taken, results, strict=True):
            if one.future.done():
                continue
            if isinstance(result, Exception):
                one.future.set_exception(result)
            else:
                one.future.set_result(result)
        if self._waiting:
            self._look_again()


def _run(predictor: Predictor, batches: list[Batch]) -> "list[Ran | Exception]":
    """What comes out for each batch, run as one; raises nothing."""
    if len(batches) > 1:
        try:
            together = merged(batches)
            outputs, seconds = predictor.run_timed(together)
            shares = shared_out(outputs, batches)
        except Exception:  # noqa: BLE001 - whose values it was shows when each is run alone
            shares = None
        if shares is not None:
            return [(share, seconds * batch.rows / together.rows) for share, batch in zip(shares, batches, strict=True)]
    return [_run_one(predictor, batch) for batch in batches]


def _run_one(predictor: Predictor, batch: Batch) -> "Ran | Exception":
    try:
        return predictor.run_timed(batch)
    except Exception as error:  # noqa: BLE001 - told to whoever asked
        return error
