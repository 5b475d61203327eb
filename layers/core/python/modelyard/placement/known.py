"""What is known of a model when somebody asks where it should run; what is not known is None and is said.

Three people ask with different knowledge: synth knows the spec, the folder and the layers that were built; ``modelyard
doctor`` also what is live and what CloudWatch counted; ``modelyard place`` what the user supposes.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.packaging.manifest import LayerManifest
from modelyard.packaging.targets import endpoint_of, function_asset, layers_of
from modelyard.spec import Model
from modelyard.spec_server import Target

LEAST_REQUESTS = 100
"""Of an hour whose percentiles say something."""


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of an endpoint's audit metrics."""

    requests: float
    latency_sum_ms: float
    p50_ms: float
    p99_ms: float
    rows: float = 0.0
    most_rows: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What the hours of a period come to.

    Attributes:
        days: The period.
        requests: Requests in it.
        mean_ms: Mean time from event to answer, which Lambda's bill follows.
        p50_ms: Median of an hour, weighted by requests.
        p99_ms: The same of the hours' 99th percentiles.
        worst_p99_ms: Of the worst hour that had enough requests; of the worst of all where none had.
        busiest_per_s: Requests a second in the busiest hour.
        rows: Mean rows of a request.
        most_rows: Rows of the largest request.
    """

    days: float
    requests: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    worst_p99_ms: float
    busiest_per_s: float
    rows: float
    most_rows: float

    @property
    def per_s(self) -> float:
        """Requests a second, day and night."""
        return self.requests / (self.days * 86_400)


def usage_of(hours: Sequence[Hour], *, days: float) -> Usage | None:
    """What the hours of ``days`` days come to; None without a request."""
    asked = [hour for hour in hours if hour.requests > 0]
    if not asked:
        return None
    requests = sum(hour.requests for hour in asked)
    telling = [hour for hour in asked if hour.requests >= LEAST_REQUESTS] or asked
    return Usage(
        days=days,
        requests=requests,
        mean_ms=sum(hour.latency_sum_ms for hour in asked) / requests,
        p50_ms=_middle([(hour.p50_ms, hour.requests) for hour in asked]),
        p99_ms=_middle([(hour.p99_ms, hour.requests) for hour in asked]),
        worst_p99_ms=max(hour.p99_ms for hour in telling),
        busiest_per_s=max(hour.requests for hour in asked) / 3600,
        rows=sum(hour.rows for hour in asked) / requests,
        most_rows=max(hour.most_rows for hour in asked),
    )


def _middle(weighted: list[tuple[float, float]]) -> float:
    """The value at which half of the weight is reached."""
    half, reached = sum(weight for _, weight in weighted) / 2, 0.0
    for value, weight in sorted(weighted):
        reached += weight
        if reached >= half:
            return value
    return weighted[-1][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a model.

    Attributes:
        model: Its name.
        target: Where it runs now.
        memory_mb: The function's memory.
        timeout_s: The deadline of a request.
        architecture: The function's processor.
        concurrency: Requests at a time that are reserved for it.
        wanted_p99_ms: ``monitoring.latency_p99_ms``.
        instance: The instance that the spec names; None while it is on none.
        least_instances: How many of them it keeps.
        gpu: Whether it runs on a GPU.
        artifact_bytes: Size of the model file.
        artifact: What that file is, in words.
        code_bytes: Its function with all layers, unpacked.
        code_parts: The layers that they are of.
        row_bytes: Bytes of one row of a request, by ``model.example``.
        engine_ms: Processor milliseconds of one run of the engine, as the compiler measured it.
        usage: What was measured of its requests.
        unmeasured: Why there is no ``usage``.
    """

    model: str
    target: Target = "lambda"
    memory_mb: int = 1769
    timeout_s: int = 10
    architecture: str = "arm64"
    concurrency: int | None = None
    wanted_p99_ms: int | None = None
    instance: str | None = None
    least_instances: int = 1
    gpu: bool = False
    artifact_bytes: int | None = None
    artifact: str = ""
    code_bytes: int | None = None
    code_parts: tuple[str, ...] = ()
    row_bytes: float | None = None
    engine_ms: float | None = None
    usage: Usage | None = None
    unmeasured: str = ""


def known_of(model: Model, *, built: Callable[[str], LayerManifest] | None = None) -> Known:
    """What a spec, its folder and the layers that were built say; no network and no AWS.

    Args:
        model: The model.
        built: Finds a layer or a function by its name; None: nobody built them.

    Raises:
        BuildError: When ``built`` does not find one.
    """
    endpoint, server, kind = model.spec.endpoint, model.spec.server, model.spec.kind
    code = () if built is None or kind is not None else tuple(map(built, _code_of(model)))
    file = None if model.spec.model.artifact is None else model.folder / model.spec.model.artifact
    return Known(
        model=model.name,
        target=endpoint.target,
        memory_mb=server.memory_mb if kind == "serverless" else endpoint.memory_mb,
        timeout_s=model.spec.timeout_s,
        architecture=endpoint.architecture,
        concurrency=endpoint.concurrency,
        wanted_p99_ms=model.spec.monitoring.latency_p99_ms,
        instance=server.instance if kind in ("realtime", "async") else None,
        least_instances=max(1, server.least_instances(kind)) if kind is not None else 1,
        gpu=server.wants_gpu,
        artifact_bytes=_size(file),
        artifact="" if file is None else f"models/{model.name}/{model.spec.model.artifact}",
        code_bytes=sum(part.unzipped_bytes for part in code) if code else None,
        code_parts=tuple(part.name for part in code),
        row_bytes=_row_bytes(model),
    )


def _code_of(model: Model) -> tuple[str, ...]:
    """What a Lambda endpoint is made of: its layers and its own code."""
    return (*layers_of(endpoint_of(model), model), function_asset(endpoint_of(model)))


def _size(file: Path | None) -> int | None:
    try:
        return None if file is None else file.stat().st_size
    except OSError:
        return None


def _row_bytes(model: Model) -> float | None:
    """Bytes of a row as compact JSON: what is written for people has spaces in it."""
    if model.spec.model.example is None:
        return None
    try:
        rows = json.loads((model.folder / model.spec.model.example).read_bytes())["instances"]
        return sum(len(json.dumps(row, separators=(",", ":")).encode()) + 1 for row in rows) / len(rows)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError):
        return None
