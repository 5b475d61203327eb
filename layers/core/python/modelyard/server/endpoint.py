"""`ServedEndpoint`: an endpoint that lets others have the event loop while an engine runs.

The rule: what takes long is not done on the loop. A short run is (see `batching`); a long one, a large body, and
whatever waits for S3 go to a thread, and of those that wait there are never more than the queue holds.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from threading import get_ident
from typing import Any, TypeVar, cast

from modelyard.predictor.predictor import Engine, Predictor
from modelyard.server.batching import LOOP_S, Batcher, TooLongError, overloaded
from modelyard.server.exchange import HttpExchange
from modelyard.server.probing import ROWS, Probed, probe
from modelyard.server.settings import ServerSettings
from modelyard.serving.endpoint import TYPES, Endpoint
from modelyard.serving.exchange import Exchange
from modelyard.serving.follow import Live
from modelyard.serving.plan import Plan, Steps, finished
from modelyard.serving.request import accepted_type, read_body
from modelyard.serving.watchdog import Bounded, Watchdog

LARGE_BYTES = 131_072
"""Of a body that is read and answered on a thread."""

Response = dict[str, Any]
T = TypeVar("T")


class Probes:
    """What was found out of versions when they were loaded. They are loaded by other threads."""

    __slots__ = ("_found", "_most")

    def __init__(self, max_batch: int) -> None:
        self._found: dict[Predictor, Probed] = {}
        self._most = min(ROWS, max_batch)

    def look(self, predictor: Predictor) -> Predictor:
        """Find out what there is to be known of a version."""
        self._found[predictor] = probe(predictor, self._most)
        return predictor

    def take(self, predictor: Predictor) -> Probed:
        """What was found out; it is not kept."""
        return self._found.pop(predictor, None) or probe(predictor, self._most)


class ServedEndpoint(Endpoint):
    """Answers requests of one model on an event loop.

    Args:
        follower: As for any endpoint.
        loop: The event loop.
        threads: For what takes long.
        settings: The server's.
        probes: What is known of loaded versions.
        timeout_s: Longest run of a model.
        others: As for any endpoint.

    Attributes:
        under_way: Requests that have not been answered yet.
    """

    __slots__ = (
        "_batchers",
        "_loop",
        "_planned",
        "_plans",
        "_probes",
        "_settings",
        "_threads",
        "_timeout_s",
        "_watchdog",
        "under_way",
    )

    def __init__(
        self,
        follower: Any,
        *,
        loop: asyncio.AbstractEventLoop,
        threads: Executor,
        settings: ServerSettings,
        probes: Probes,
        timeout_s: float,
        **others: Any,
    ) -> None:
        super().__init__(follower, **others)
        self._loop = loop
        self._threads = threads
        self._settings = settings
        self._probes = probes
        self._timeout_s = timeout_s
        self._watchdog = Watchdog()
        self._batchers: dict[Predictor, Batcher] = {}
        self.under_way = 0
        self._planned = 0  # requests that a thread has, or will have
        self._plans: dict[str, Callable[[Exchange], Plan | Response]] = {
            f"POST /models/{self._model}/predict": self._predict_plan,
            f"POST /v2/models/{self._model}/{{proxy+}}": self._oip_plan,
        }

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._model

    @property
    def live(self) -> Live | None:
        """The version that is loaded."""
        return self._follower.live

    def at_once(self, exchange: HttpExchange, *, alone: bool) -> Response | None:
        """The response, where it is a matter of microseconds; else None, and `serve` is to be asked.

        Args:
            exchange: The request.
            alone: Whether nobody else is asking, so that there is nothing to put together.
        """
        live = exchange.live
        if live is None or live.trial is not None or self._capture is not None:
            return None
        predictor = cast("Predictor", live.predictor)
        batcher = self._batcher(predictor)
        if not batcher.free or (batcher.joins and not alone) or predictor.has_code:
            return None
        began = time.perf_counter()
        code = "ok"
        try:  # as `respond` would; what that finds out about the request is known here
            steps = None
            if "pathParameters" in exchange.event:  # a route of the Open Inference Protocol
                plan = self._oip_plan(exchange)
                if isinstance(plan, dict):
                    return None
                steps = plan.steps(live)
                batch = next(steps)[1]
            else:
                batch = predictor.read(exchange.event["body"])
            if not batcher.direct(batch, alone=alone):
                return None
            ran = batcher.run_here(batch)
            if steps is not None:
                response = finished(steps, ran)
            else:
                predictions = predictor.decoded(ran[0], batch.rows, structs=True)
                response = self._json(exchange, live, predictions, batch.warnings)
        except TooLongError:
            return None
        except Exception as error:  # noqa: BLE001 - the last line of defence, as in any endpoint
            response, code = self._failed(exchange, error)
        self._answered(exchange, response, code, began)
        return response

    async def serve(self, exchange: HttpExchange) -> Response:
        """The response to one request. Raises nothing."""
        began = time.perf_counter()
        code = "ok"
        self.under_way += 1
        try:
            response = await self._served(exchange)
        except Exception as error:  # noqa: BLE001 - the last line of defence, as in any endpoint
            response, code = self._failed(exchange, error)
        finally:
            self.under_way -= 1
        self._answered(exchange, response, code, began)
        if exchange.kept is not None and self._afterwards is not None:
            self._afterwards.invocation_done(None)
        return response

    def refuse(self, exchange: HttpExchange, error: Exception) -> Response:
        """The problem for what is wrong before the model is asked."""
        response, code = self._failed(exchange, error)
        self._answered(exchange, response, code, time.perf_counter())
        return response

    async def _served(self, exchange: HttpExchange) -> Response:
        plan_of = self._plans.get(exchange.event["routeKey"])
        if plan_of is None or self.live is None or len(exchange.event["body"]) > LARGE_BYTES:
            return await self._on_thread(lambda: self._answer(exchange))
        plan = plan_of(exchange)
        if isinstance(plan, dict):
            return plan
        return await self._carried_out(exchange, plan)

    def _predict_plan(self, exchange: Exchange) -> Plan:
        content_type, body = read_body(exchange.event, allowed=TYPES)
        answer_type = accepted_type(exchange.event["headers"])
        exchange.live = live = self._follower.current()
        return self._plan(exchange, live, content_type, body, answer_type)

    async def _carried_out(self, exchange: Exchange, plan: Plan) -> Response:
        """As `Plan.now` does it."""
        on_trial = plan.on_trial
        if on_trial is None:
            return await self._run(plan.live, plan.steps)
        arm = on_trial.arm(exchange, plan.live, plan.first)
        on_trial.begin(exchange, arm)
        if arm is plan.live:
            return await self._run(arm, plan.steps)
        try:
            return await self._run(arm, plan.steps)
        except Exception as error:  # noqa: BLE001 - whatever it is, the champion answers
            on_trial.begin(exchange, plan.live)
            response = await self._run(plan.live, plan.steps)  # or refuses it as well
            on_trial.failed(exchange, arm, error)
            return response

    async def _run(self, live: Live, begin: Callable[[Live], Steps]) -> Response:
        steps = begin(live)
        if cast("Predictor", live.predictor).has_code:  # of the model's own, which may take its time
            predictor, batch = await self._on_thread(lambda: next(steps))
            ran = await self._batcher(predictor).run(batch)
            return await self._on_thread(lambda: finished(steps, ran))
        predictor, batch = next(steps)
        batcher = self._batcher(predictor)
        if batcher.direct(batch):
            with suppress(TooLongError):
                return finished(steps, batcher.run_here(batch))
        return finished(steps, await batcher.run(batch))

    async def _on_thread(self, answer: Callable[[], T]) -> T:
        if self._planned >= self._settings.queue:
            raise overloaded(self._planned)
        self._planned += 1
        try:
            return await self._loop.run_in_executor(self._threads, answer)
        finally:
            self._planned -= 1

    def _batcher(self, predictor: Predictor) -> Batcher:
        batcher = self._batchers.get(predictor)
        if batcher is None:
            batcher = self._new_batcher(predictor)
        bound = predictor.bounded_by  # a trial that begins binds what takes part in it, and unbinds it at its end
        if type(bound) is not _LoopBounded:
            limit_s = bound.limit_s if isinstance(bound, Bounded) else self._timeout_s
            predictor.bound(lambda engine: _LoopBounded(engine, self._watchdog, limit_s))
        return batcher

    def _new_batcher(self, predictor: Predictor) -> Batcher:
        live = self.live
        if live is not None:  # the others are not needed any more, and may be freed
            loaded = [live, *(live.trial.challengers.loaded if live.trial is not None else ())]
            kept = {cast("Predictor", one.predictor) for one in loaded}
            self._batchers = {one: batcher for one, batcher in self._batchers.items() if one in kept}
        probed = self._probes.take(predictor)
        settings = self._settings
        batcher = self._batchers[predictor] = Batcher(
            predictor,
            self._loop,
            self._threads,
            cost=probed.cost,
            max_batch=settings.max_batch if probed.mergeable else 1,
            max_wait_s=settings.max_wait_ms / 1000,
            queue=settings.queue,
        )
        return batcher


class _LoopBounded(Bounded):
    """An engine of which no run takes longer than it may, and none on the event loop, where it is made, for long."""

    __slots__ = ("_loop_thread",)

    def __init__(self, engine: Engine, watchdog: Watchdog, limit_s: float) -> None:
        super().__init__(engine, watchdog, limit_s)
        self._loop_thread = get_ident()

    def limit(self) -> float:
        return min(LOOP_S, self.limit_s) if get_ident() == self._loop_thread else self.limit_s
