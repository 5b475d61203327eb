"""Traffic: rows of a source drawn with replacement, and the records that an endpoint would have captured.

Most requests hold one row, one in six holds two to six. The champion takes about 8 ms, log-normal, and one call in a
hundred meets a garbage collection of 150 ms. Two processes answer; each allocates a little and gives it back. Some rows
lack an input where the source says so. A challenger is a function from a `Call` to what the endpoint would note of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.rollout.sources import Source

CHAMPION, CHALLENGER = 1, 2
MEDIAN_MS, GC_MS = 8.0, 150.0


@dataclass
class Call:
    """One request as a challenger meets it.

    Attributes:
        rows: Indices of the source's rows.
        instances: The same as the caller wrote them.
        number: How many requests came before.
        draw: Randomness of the challenger's own.
        state: What a challenger keeps from call to call.
    """

    rows: list[int]
    instances: list[dict[str, Any]]
    number: int
    draw: np.random.Generator
    state: dict[str, Any]


@dataclass
class Reply:
    """What the endpoint notes: predictions or a code, the time as a multiple of the champion's, memory in MB."""

    predictions: Any = None
    code: str | None = None
    message: str | None = None
    times: float = 1.0
    memory_mb: float = 0.0


Serve = Callable[[Call], Reply]


@dataclass
class Traffic:
    """A rollout's traffic from a seed: `shadow` gives pairs, `canary` gives arms."""

    source: Source
    champion: list[Any]
    serve: Serve
    seed: int
    missing: float = 0.0
    labelled: float = 0.0
    canary_share: float = 0.05
    number: int = 0
    state: dict[str, Any] = field(default_factory=dict)
    grown: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.draw = np.random.default_rng([self.seed, 7])
        self.own = np.random.default_rng([self.seed, 8])
        self.weak = self.source.columns[-1]

    def shadow(self, requests: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """So many requests, each answered by both; and the labels that came of them."""
        return self._take(requests, self._pair)

    def canary(self, requests: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """So many requests, of which the challenger answers its share."""
        return self._take(requests, self._arm)

    def _take(
        self, requests: int, record: Callable[[dict[str, Any], Call, float], dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        records, labels = [], []
        for call, took in self._calls(requests):
            head = {
                "time": f"2026-11-21T{call.number // 3600 % 24:02}:{call.number // 60 % 60:02}:{call.number % 60:02}."
                f"{call.number:09}Z",
                "prediction_id": f"{self.seed:08x}{call.number:024x}",
                "instances": call.instances,
                "process": {"id": f"p{call.number % 2}", "rss_mb": 300.0},
            }
            records.append(record(head, call, took))
            for row, index in enumerate(call.rows):
                if self.draw.random() < self.labelled:
                    truth = self.source.truth[index]
                    label = float(truth) if self.source.regression else str(truth)
                    labels.append({"prediction_id": head["prediction_id"], "row": row, "label": label})
        return records, labels

    def _calls(self, requests: int) -> Iterator[tuple[Call, float]]:
        for _ in range(requests):
            size = 1 if self.draw.random() > 1 / 6 else int(self.draw.integers(2, 7))
            rows = self.draw.integers(0, len(self.champion), size).tolist()
            instances = [self.source.instances[row] for row in rows]
            if self.missing:
                instances = [
                    {**one, self.weak: None} if self.draw.random() < self.missing else one for one in instances
                ]
            took = MEDIAN_MS * float(np.exp(self.draw.normal(0, 0.2))) + self._pause()
            yield Call(rows, instances, self.number, self.own, self.state), took
            self.number += 1

    def _pair(self, head: dict[str, Any], call: Call, took: float) -> dict[str, Any]:
        reply = self.serve(call)
        place = call.number % 2
        self.grown[place] = max(0.0, self.grown.get(place, 0.0) + reply.memory_mb + float(self.draw.normal(0, 0.2)))
        head["process"]["shadow_rss_mb"] = self.grown[place]
        shadow = {
            "version": CHALLENGER,
            "predictions": reply.predictions,
            "code": reply.code,
            "message": reply.message,
            "latency_ms": self._own_ms(reply),
        }
        answered = [self.champion[row] for row in call.rows]
        return head | {
            "version": CHAMPION, "mode": "shadow", "predictions": answered, "latency_ms": took, "shadow": shadow,
        }  # fmt: skip

    def _arm(self, head: dict[str, Any], call: Call, took: float) -> dict[str, Any]:
        answered = [self.champion[row] for row in call.rows]
        head |= {"mode": "canary", "version": CHAMPION, "predictions": answered, "latency_ms": took}
        if self.draw.random() >= self.canary_share:
            return head
        reply = self.serve(call)
        if reply.code is not None:
            return head | {"failed": {"version": CHALLENGER, "code": reply.code, "message": reply.message}}
        return head | {"version": CHALLENGER, "predictions": reply.predictions, "latency_ms": self._own_ms(reply)}

    def _own_ms(self, reply: Reply) -> float:
        return MEDIAN_MS * float(np.exp(self.draw.normal(0, 0.2))) * reply.times + self._pause()

    def _pause(self) -> float:
        return GC_MS if self.draw.random() < 0.01 else 0.0
