"""What `GET /metrics` shows: requests and their seconds by model and status, in Prometheus's text format.

Each worker counts for itself and writes its counts into a folder that all share, when they are asked for and every few
seconds; whoever is asked adds them up. A worker that is gone leaves its counts behind, so no sum goes down.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import contextlib
import os
from bisect import bisect_left
from pathlib import Path

import msgspec

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counts(msgspec.Struct):
    """What one worker has counted.

    Attributes:
        requests: By model and status, as ``model status``.
        buckets: Of each model, how many took at most each of `BUCKETS_S`, and longer; not added up.
        seconds: Of each model, all of its requests together.
        rows: Of each model.
    """

    requests: dict[str, int] = {}
    buckets: dict[str, list[int]] = {}
    seconds: dict[str, float] = {}
    rows: dict[str, int] = {}


class Metrics:
    """Counts requests.

    Args:
        folder: That the workers share.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"{os.getpid()}.json"
        self._folder = folder
        self._own = Counts()

    def saw(self, model: str, status: int, seconds: float, rows: int) -> None:
        """Count one request."""
        own = self._own
        key = f"{model} {status}"
        own.requests[key] = own.requests.get(key, 0) + 1
        buckets = own.buckets.get(model)
        if buckets is None:
            buckets = own.buckets[model] = [0] * (len(BUCKETS_S) + 1)
            own.seconds[model], own.rows[model] = 0.0, 0
        buckets[bisect_left(BUCKETS_S, seconds)] += 1
        own.seconds[model] += seconds
        own.rows[model] += rows

    def write(self) -> None:
        """Let the other workers know."""
        part = self._file.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(self._own))
        part.replace(self._file)

    def text(self) -> str:
        """What all workers have counted."""
        with contextlib.suppress(OSError):  # a full disk: the others learn of it later
            self.write()
        others = [file for file in sorted(self._folder.glob("*.json")) if file != self._file]
        return exposition([self._own, *(msgspec.json.decode(file.read_bytes(), type=Counts) for file in others)])


def exposition(counts: list[Counts]) -> str:
    """The sums in Prometheus's text format."""
    lines = [
        "# HELP modelyard_requests_total Requests by model and HTTP status.",
        "# TYPE modelyard_requests_total counter",
    ]
    requests: dict[str, int] = {}
    for one in counts:
        for key, count in one.requests.items():
            requests[key] = requests.get(key, 0) + count
    for key, count in sorted(requests.items()):
        model, status = key.split(" ")
        lines.append(f'modelyard_requests_total{{model="{model}",status="{status}"}} {count}')
    models = sorted({model for one in counts for model in one.buckets})
    name = "modelyard_request_duration_seconds"
    lines += [f"# HELP {name} Seconds from a whole request to its answer.", f"# TYPE {name} histogram"]
    for model in models:
        there = [one for one in counts if model in one.buckets]
        total = 0
        for place, bound in enumerate((*map(str, BUCKETS_S), "+Inf")):
            total += sum(one.buckets[model][place] for one in there)
            lines.append(f'{name}_bucket{{model="{model}",le="{bound}"}} {total}')
        lines.append(f'{name}_sum{{model="{model}"}} {sum(one.seconds[model] for one in there):.6f}')
        lines.append(f'{name}_count{{model="{model}"}} {total}')
    lines += [
        "# HELP modelyard_instances_total Instances that were asked for.",
        "# TYPE modelyard_instances_total counter",
    ]
    for model in models:
        rows = sum(one.rows[model] for one in counts if model in one.rows)
        lines.append(f'modelyard_instances_total{{model="{model}"}} {rows}')
    return "\n".join(lines) + "\n"
