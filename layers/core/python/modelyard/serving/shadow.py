"""`Shadow`: the challenger answers what the champion has answered, when the answer is out; both are one record.

The rule: callers notice nothing. A run begins when no answer waits for it, at most one request waits for its run, and
what comes meanwhile is answered and kept without one. A run that takes too long is ended (`Watchdog`). What a
challenger may cost has a budget of time and memory; beyond it the challenger is let go of, in this process and until
the pointer changes, and a record says why.
"""

import threading
import time
from typing import Any, cast

from modelyard.errors import ModelyardError
from modelyard.predictor.predictor import Predictor
from modelyard.serving.audit import write_event
from modelyard.serving.capture import Capture
from modelyard.serving.follow import Live
from modelyard.serving.kept import Kept, predicted
from modelyard.serving.memory import resident_mb
from modelyard.serving.trial import Trial
from modelyard.serving.trial_settings import TrialSettings

FEWEST_RUNS = 20
"""Before so many runs their mean says little: the first ones allocate and are slow."""

RECENT_RUNS = 100
"""The mean is of about so many runs, the last ones."""


class Pair:
    """A request that waits for its second answer.

    Args:
        trial: As it was when the request came.
        challenger: The version that is to answer as well.
        kept: What was asked and answered.
        record: The rest of the record, as `Capture.keep` takes it.
    """

    __slots__ = ("challenger", "kept", "record", "trial")

    def __init__(self, trial: Trial, challenger: Live, kept: Kept, record: dict[str, Any]) -> None:
        self.trial = trial
        self.challenger = challenger
        self.kept = kept
        self.record = record


class Shadow:
    """A duty of `Afterwards`, before the capture. `offer` may be called from several threads at once.

    Args:
        capture: Keeps the records.
        settings: The budgets.
        model: Name of the model, for log lines.
        process: Names this process in records.
    """

    __slots__ = (
        "_capture", "_dropped", "_growth_mb", "_lock", "_mean_ms", "_model", "_process", "_runs", "_settings",
        "_version", "_waiting",
    )  # fmt: skip

    def __init__(self, capture: Capture, settings: TrialSettings, *, model: str, process: str) -> None:
        self._capture = capture
        self._settings = settings
        self._model = model
        self._process = process
        self._lock = threading.Lock()
        self._waiting: Pair | None = None
        self._dropped = 0  # requests that were kept without a second answer, since the last record of a pair
        self._begin(0)

    def _begin(self, version: int) -> None:
        self._version = version
        self._runs = 0
        self._mean_ms = self._growth_mb = 0.0

    def offer(self, pair: Pair) -> bool:
        """Have the challenger answer as well, unless another request waits for that; whether it will."""
        with self._lock:
            if self._waiting is not None:
                self._dropped += 1
                return False
            self._waiting = pair
            return True

    # -- a duty -------------------------------------------------------------------------------------------------------

    def due(self) -> bool:
        """Whether a request waits."""
        return self._waiting is not None

    def run(self) -> None:
        """Let the challenger answer, and keep both answers."""
        pair = self._waiting
        if pair is None:
            return
        try:
            self._keep(pair, self._answered(pair))
        finally:
            self._waiting = None

    def finish(self) -> None:
        """Keep what waits without a second answer: a process that ends has no time for one."""
        pair, self._waiting = self._waiting, None
        if pair is not None:
            self._dropped += 1
            self._keep(pair, None)

    # -- inside; only the worker comes here ---------------------------------------------------------------------------

    def _answered(self, pair: Pair) -> dict[str, Any]:
        version = pair.challenger.version
        if version != self._version:
            self._begin(version)
        told: dict[str, Any] = {
            "version": version, "predictions": None, "code": None, "message": None, "latency_ms": None,
        }  # fmt: skip
        before_mb, began = resident_mb(), time.perf_counter()
        try:
            predictor = cast("Predictor", pair.challenger.predictor)
            asked = pair.kept.asked
            batch = asked.batch(predictor) if asked is not None else None
            if batch is not None:
                told["predictions"], seconds = predicted(predictor, batch)
                told["latency_ms"] = round(seconds * 1000, 3)
        except Exception as error:  # noqa: BLE001 - that is what a shadow is for: to find out, and be told
            told["code"] = error.code if isinstance(error, ModelyardError) else "internal"
            told["message"] = str(error)[:300]
        after_mb = resident_mb()
        self._count((time.perf_counter() - began) * 1000, (after_mb or 0.0) - (before_mb or 0.0))
        self._end_over_budget(pair.trial)
        return told

    def _count(self, took_ms: float, growth_mb: float) -> None:
        self._runs += 1
        self._mean_ms += (took_ms - self._mean_ms) / min(self._runs, RECENT_RUNS)
        self._growth_mb += growth_mb

    def _end_over_budget(self, trial: Trial) -> None:
        settings = self._settings
        if self._runs >= FEWEST_RUNS and self._mean_ms > settings.budget_ms:
            code = "time_budget"
            said = (
                f"its runs took {self._mean_ms:.1f} ms on average, of {settings.budget_ms:g} ms "
                "(rollout.shadow_budget_ms)"
            )
        elif self._growth_mb > settings.budget_mb:
            code = "memory_budget"
            said = (
                f"the process grew by {self._growth_mb:.0f} MB in its runs, of {settings.budget_mb:g} MB "
                "(rollout.shadow_budget_mb)"
            )
        else:
            return
        message = f"the shadow of version {self._version} was ended after {self._runs} runs: {said}"
        write_event(
            "shadow_ended", level="warning", model=self._model, version=self._version, code=code, message=message
        )
        trial.challengers.drop(self._version, code, message)
        self._begin(0)

    def _keep(self, pair: Pair, told: dict[str, Any] | None) -> None:
        dropped, self._dropped = self._dropped, 0
        resident = resident_mb()
        process = {
            "id": self._process,
            "rss_mb": None if resident is None else round(resident, 1),
            "shadow_rss_mb": round(self._growth_mb, 1),
            "dropped": dropped,
        }
        self._capture.keep(**pair.record, shadow=told, process=process)
