"""Captured records as an endpoint writes them, for the tests of a verdict."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

CHAMPION, CHALLENGER = 3, 4
Answer = Callable[[dict[str, Any]], Any]


def classified(share: float, names: Sequence[str] = ("no", "yes")) -> dict[str, Any]:
    """The answer of a classifier that gives the second class this probability."""
    given = {names[0]: 1 - share, names[1]: share}
    return {"label": names[int(share > 0.5)], "probabilities": given}


def scored(instance: dict[str, Any]) -> dict[str, Any]:
    """What a champion answers: yes where ``x`` is high."""
    return classified(round(float(1 / (1 + np.exp(-2 * instance["x"]))), 6))


def measured(instance: dict[str, Any]) -> float:
    """What a champion answers that gives numbers."""
    return round(2 * float(instance["x"]) + 10, 6)


def instances(requests: int, seed: int = 0, *, rows: int = 1) -> list[list[dict[str, Any]]]:
    """Rows of requests, with a number, a category, and a number that does not matter."""
    draw = np.random.default_rng(seed)
    return [
        [
            {
                "x": round(float(draw.normal()), 4),
                "kind": str(draw.choice(["a", "b", "c"])),
                "y": float(draw.integers(9)),
            }
            for _ in range(rows)
        ]
        for _ in range(requests)
    ]


def pair(
    number: int, asked: list[dict[str, Any]], champion: Answer = scored, challenger: Answer = scored, **more: Any
) -> dict[str, Any]:
    """A request that both versions answered; ``more`` goes into the challenger's part."""
    shadow = {"version": CHALLENGER, "predictions": [challenger(one) for one in asked], "code": None, "message": None}
    return {
        "time": stamp(number),
        "model": "m",
        "version": CHAMPION,
        "prediction_id": f"{number:032x}",
        "instances": asked,
        "predictions": [champion(one) for one in asked],
        "latency_ms": 8.0 + number % 7,
        "mode": "shadow",
        "shadow": {**shadow, "latency_ms": 8.0 + number % 5, **more},
    }


def arm(number: int, asked: list[dict[str, Any]], version: int, answer: Answer = scored, **more: Any) -> dict[str, Any]:
    """A request of a canary that one version answered."""
    return {
        "time": stamp(number),
        "model": "m",
        "version": version,
        "prediction_id": f"{number:032x}",
        "instances": asked,
        "predictions": [answer(one) for one in asked],
        "latency_ms": 8.0 + number % 7,
        "mode": "canary",
        **more,
    }


def pairs(requests: int, champion: Answer = scored, challenger: Answer = scored, **more: Any) -> list[dict[str, Any]]:
    """So many pairs."""
    return [pair(number, asked, champion, challenger, **more) for number, asked in enumerate(instances(requests))]


def stamp(number: int) -> str:
    """A time, later for larger numbers."""
    return f"2026-11-21T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000000Z"
