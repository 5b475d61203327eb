"""`Plan`: a prediction with the engine's run in the middle of it.

::

    request ─► read and checked ─► (predictor, batch) ─► engine ─► (outputs, seconds) ─► decoded and written ─► response
               └──────────────────────────── steps ────────────────────────────────────────────────────────┘

The rule: one code reads and answers, whoever runs the engine. A function runs it at once (`Plan.now`); a server may run
the batches of several requests together, and answer others meanwhile.
"""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from modelyard.predictor.predictor import Predictor
from modelyard.predictor.reader import Batch
from modelyard.serving.exchange import Exchange
from modelyard.serving.follow import Live
from modelyard.serving.routing_key import First

if TYPE_CHECKING:
    from modelyard.serving.on_trial import OnTrial

Steps = Generator[tuple[Predictor, Batch], tuple[list[Any], float], dict[str, Any]]
"""Hands out what to run, once; is sent what came out and the engine's seconds; returns the response."""


class Plan:
    """How one request is answered, by whichever version is to answer it.

    Attributes:
        live: The version that is live.
        steps: Begins the steps of a version.
        on_trial: Decides which version answers, while some are on trial.
        first: Looks into the first instance, for that.
    """

    __slots__ = ("first", "live", "on_trial", "steps")

    def __init__(
        self,
        live: Live,
        steps: Callable[[Live], Steps],
        on_trial: "OnTrial | None" = None,
        first: First | None = None,
    ) -> None:
        self.live = live
        self.steps = steps
        self.on_trial = on_trial
        self.first = first

    def now(self, exchange: Exchange) -> dict[str, Any]:
        """The response, with the engine run here.

        Raises:
            ModelyardError: Whatever is wrong with the request or the model.
        """
        if self.on_trial is None:
            return _run(self.steps(self.live))
        return self.on_trial.answer(exchange, self.live, lambda one: _run(self.steps(one)), self.first)


def _run(steps: Steps) -> dict[str, Any]:
    predictor, batch = next(steps)
    return finished(steps, predictor.run_timed(batch))


def finished(steps: Steps, ran: tuple[list[Any], float]) -> dict[str, Any]:
    """The response, when the engine has run.

    Args:
        steps: Which have handed out their batch.
        ran: The outputs for it, and the engine's seconds.
    """
    try:
        steps.send(ran)
    except StopIteration as ended:
        response: dict[str, Any] = ended.value
        return response
    raise RuntimeError("the steps asked for a second run")
