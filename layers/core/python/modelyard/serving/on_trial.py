"""`OnTrial`: how an endpoint answers while versions are on trial.

::

    shadow   the champion answers ─► response ─► (afterwards) the challenger answers as well ─► one record
    canary   key ─► version ─► it answers ─► response ─► record
                                └ fails ─► the champion answers the same request

The rule: nobody is worse off for a trial. Whatever a challenger does, refuses, or takes too long for, the champion
answers; only what the champion refuses as well is refused. The audit line and the captured record say what happened.

Imported by the first request on trial; until then an endpoint knows nothing of it.
"""

import os
import time
from collections.abc import Callable
from typing import Any, cast

from modelyard.errors import ModelyardError
from modelyard.predictor.predictor import Engine, Predictor, Timed
from modelyard.serving.afterwards import Afterwards
from modelyard.serving.audit import write_failure
from modelyard.serving.capture import Capture
from modelyard.serving.exchange import Exchange
from modelyard.serving.follow import Live
from modelyard.serving.kept import Kept
from modelyard.serving.memory import resident_mb
from modelyard.serving.routing_key import First, routing_key
from modelyard.serving.shadow import Pair, Shadow
from modelyard.serving.trial import CANARY, SHADOW, Problem, Trial
from modelyard.serving.trial_settings import TrialSettings
from modelyard.serving.watchdog import Bounded, Watchdog

SHARE_OF_TIMEOUT = 0.4
"""Of the function's timeout, for a canary's run: the champion has to answer within the rest."""

TIMES_BUDGET = 10.0
"""A single run of a shadow may take so many times what its runs may take on average."""

Response = dict[str, Any]
Answer = Callable[[Live], Response]


class Tried:
    """What was tried for one request.

    Attributes:
        mode: Of the trial.
        arm: The version that was to answer.
        routed_by: What it was routed by: see `modelyard.serving.routing_key`.
        failed: Why another one did.
    """

    __slots__ = ("arm", "failed", "mode", "routed_by", "trial")

    def __init__(self, trial: Trial, arm: int, routed_by: str | None) -> None:
        self.trial = trial
        self.mode = trial.mode
        self.arm = arm
        self.routed_by = routed_by
        self.failed: Problem | None = None

    def told(self) -> dict[str, Any]:
        """For the audit line."""
        told: dict[str, Any] = {"trial": self.mode, "arm": str(self.arm), "fallbacks": int(self.failed is not None)}
        if self.routed_by is not None:
            told["routed_by"] = self.routed_by
        if self.failed is not None:
            told["fallback"] = {"version": self.failed.version, "code": self.failed.code}
        return told


class OnTrial:
    """Answers requests on trial, and keeps them. Safe to use from several threads at once.

    Args:
        capture: Keeps records.
        afterwards: Does what comes after an answer.
        settings: The environment's.
        model: Name of the model.
    """

    __slots__ = ("_capture", "_limits", "_process", "_settings", "_shadow", "_watchdog")

    def __init__(self, capture: Capture, afterwards: Afterwards | None, settings: TrialSettings, *, model: str) -> None:
        self._capture = capture
        self._settings = settings
        self._process = os.urandom(4).hex()
        self._watchdog = Watchdog()
        self._limits: dict[str, float] = {
            CANARY: SHARE_OF_TIMEOUT * settings.timeout_s,
            SHADOW: min(TIMES_BUDGET * settings.budget_ms / 1000, SHARE_OF_TIMEOUT * settings.timeout_s),
        }
        self._shadow = Shadow(capture, settings, model=model, process=self._process)
        if afterwards is not None:
            afterwards.attend(self._shadow, first=True)  # what it finds out is to be written in the same turn

    def answer(self, exchange: Exchange, champion: Live, answer: Answer, first: First | None = None) -> Response:
        """Answer one request.

        Args:
            exchange: The request.
            champion: The version that is live.
            answer: Has a version answer; it may be called twice.
            first: Looks into the first instance.

        Raises:
            ModelyardError: What the champion refuses, or fails at.
        """
        arm = self.arm(exchange, champion, first)
        self.begin(exchange, arm)
        if arm is champion:
            return answer(champion)
        try:
            return answer(arm)
        except Exception as error:  # noqa: BLE001 - whatever it is, the champion answers
            self.begin(exchange, champion)
            response = answer(champion)  # or refuses it as well: then it was the request
            self.failed(exchange, arm, error)
            return response

    def begin(self, exchange: Exchange, live: Live) -> None:
        """Say that a version is about to answer; what another one left behind is forgotten."""
        exchange.live, exchange.kept = live, Kept()
        exchange.rows = exchange.warned = 0

    def arm(self, exchange: Exchange, champion: Live, first: First | None = None) -> Live:
        """The version that is to answer a request, as far as it is loaded; the champion otherwise."""
        trial = champion.trial
        if trial is None or trial.mode != CANARY:
            exchange.tried = None if trial is None else Tried(trial, champion.version, None)
            self._bound_all(trial)
            return champion
        key, routed_by = routing_key(self._settings.routing, exchange.event, exchange.request_id, first)
        number = trial.version_for(key)
        exchange.tried = tried = Tried(trial, number, routed_by)
        if number == champion.version:
            return champion
        challenger = trial.challengers.get(number)
        if challenger is None:
            tried.failed = trial.challengers.problem(number) or Problem(number, "not_loaded_yet", "it is being loaded")
            return champion
        self._bound(challenger, trial.mode)
        return challenger

    def asked_for(self, exchange: Exchange, champion: Live, version: str | None) -> Live | None:
        """The version on trial that a path names, if it is loaded; nothing stands in for it."""
        trial = champion.trial
        if trial is None or version is None:
            return None
        found = next((live for live in trial.challengers.loaded if str(live.version) == version), None)
        if found is not None:
            self._bound(found, CANARY)
            exchange.tried = Tried(trial, found.version, "path")
        return found

    def failed(self, exchange: Exchange, arm: Live, error: Exception) -> None:
        """Say that the champion has answered in the place of ``arm``, and why."""
        expected = isinstance(error, ModelyardError)
        code = error.code if isinstance(error, ModelyardError) else "internal"
        if exchange.tried is not None:
            exchange.tried.failed = Problem(arm.version, code, str(error)[:300])
        if not expected or error.__cause__ is not None:  # where the traceback says more than the audit line
            write_failure("challenger_failed", error, request_id=exchange.request_id, version=arm.version)

    def keep(self, exchange: Exchange) -> None:
        """Keep a request that has been answered, if it is one to keep."""
        tried, live, kept, prediction_id = exchange.tried, exchange.live, exchange.kept, exchange.prediction_id
        if tried is None or live is None or kept is None or kept.asked is None or prediction_id is None:
            return
        if not self._capture.takes(prediction_id, max(self._capture.share, self._settings.capture)):
            return
        record: dict[str, Any] = {
            "version": live.version,
            "prediction_id": prediction_id,
            "request_id": exchange.request_id,
            "instances": kept.asked.instances,
            "predictions": kept.answered,
            "latency_ms": kept.seconds * 1000,
            "mode": tried.mode,
            "came": time.time_ns(),
        }
        challengers = tried.trial.challengers
        # A record that another version answered says nothing of why this one did not.
        untold = None if live.version in tried.trial.versions else challengers.next_untold()
        if tried.mode == SHADOW:
            if untold is None:
                challenger = challengers.get(tried.trial.versions[0])
                if challenger is not None and self._shadow.offer(Pair(tried.trial, challenger, kept, record)):
                    return
            self._capture.keep(**record, shadow=_as_shadow(untold), process=self._about_process)
            return
        failed = tried.failed if tried.failed is not None and tried.failed.code != "not_loaded_yet" else None
        if failed is not None and failed is challengers.problem(failed.version):
            failed = None  # that it is not loaded is told once, not with every request
        self._capture.keep(**record, failed=_as_failed(failed or untold), process=self._about_process)

    def _bound_all(self, trial: Trial | None) -> None:
        if trial is not None:
            for challenger in trial.challengers.loaded:
                self._bound(challenger, trial.mode)

    def _bound(self, challenger: Live, mode: str) -> None:
        """Have no run of a challenger take longer than its trial allows."""
        limit_s = self._limits[mode]
        predictor = cast("Predictor", challenger.predictor)
        bound = predictor.bounded_by
        if isinstance(bound, Bounded):
            bound.limit_s = limit_s
            return

        def wrap(engine: Engine) -> Timed:
            return Bounded(engine, self._watchdog, limit_s)

        predictor.bound(wrap)

    def _about_process(self) -> dict[str, Any]:
        resident = resident_mb()
        return {"id": self._process, "rss_mb": None if resident is None else round(resident, 1)}


def _as_shadow(problem: Problem | None) -> dict[str, Any] | None:
    if problem is None:
        return None
    return {"version": problem.version, "predictions": None, "code": problem.code, "message": problem.message,
            "latency_ms": None}  # fmt: skip


def _as_failed(problem: Problem | None) -> dict[str, Any] | None:
    if problem is None:
        return None
    return {"version": problem.version, "code": problem.code, "message": problem.message}
