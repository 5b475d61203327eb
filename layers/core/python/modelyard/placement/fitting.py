"""Does a model keep within the limits of where it runs: code, memory, disk, bodies, time, requests at a time?

Each rule is a function from what is known to a finding or None. A rule says nothing where it knows nothing, and nothing
where all is well: the numbers that are well are on `modelyard place`. More memory is advised before a move, because a
spec can have it with the next deployment.
"""

import math
from collections.abc import Callable

from modelyard.placement.finding import Finding
from modelyard.placement.known import Known
from modelyard.placement.limits import (
    ACCOUNT_CONCURRENCY,
    IMAGE_BYTES,
    LAMBDA_MEMORY_MB,
    LIMITS,
    LONGEST_ANSWER_S,
    MB,
    TMP_BYTES,
    body_through_url,
)
from modelyard.predictor.threads import MB_PER_VCPU
from modelyard.serving.loading import ROOM, SPARE_MB

NEAR = 0.9
"""Share of a limit on what grows by deployments from which on it is worth a word."""

BUSY = 0.8
"""Share of a limit on what varies from hour to hour."""

ENGINE_MB = 50
"""What an endpoint takes before it has a model: 42 MB measured with the lean engine, 46 with the standard one."""


def code(known: Known) -> Finding | None:
    """Lambda counts a function and its layers unpacked; an image may have 10 GB."""
    limit = LIMITS["lambda"].code_bytes
    if known.target != "lambda" or known.code_bytes is None or known.code_bytes < NEAR * limit:
        return None
    parts = f" ({', '.join(known.code_parts)})" if known.code_parts else ""
    line = f"{known.code_bytes:,} bytes unpacked{parts} / {limit:,} = {known.code_bytes / limit:.1%} of Lambda's limit"
    if known.code_bytes <= limit:
        return Finding("code", "is almost too large for Lambda: a new package may be one too many", (line,))
    image = f"a container image may have {IMAGE_BYTES:,} bytes"
    return Finding("code", "is too large for Lambda", (line, image), move_to="sagemaker-realtime")


def memory(known: Known) -> Finding | None:
    """While a version is swapped, two are loaded; the function's memory has to hold both."""
    if known.target != "lambda" or known.artifact_bytes is None:
        return None
    size_mb = known.artifact_bytes / MB
    needed = math.ceil(ENGINE_MB + 2 * ROOM * size_mb + SPARE_MB)
    if needed <= known.memory_mb:
        return None
    line = (
        f"{ENGINE_MB} MB engine + 2 versions x {ROOM:g} x {size_mb:,.1f} MB ({known.artifact}) + {SPARE_MB} MB for "
        f"requests = {needed:,} MB at least; endpoint.memory_mb is {known.memory_mb:,}"
    )
    if needed <= LAMBDA_MEMORY_MB:
        says = f"may not have the memory to swap versions: set endpoint.memory_mb to {needed:,} or more"
        return Finding("memory", says.replace(",", ""), (line,))
    most = f"Lambda has {LAMBDA_MEMORY_MB:,} MB at most; an instance has as much as its kind"
    return Finding("memory", "does not fit into Lambda's memory", (line, most), move_to="sagemaker-realtime")


def disk(known: Known) -> Finding | None:
    """A compiled network keeps its weights in a file in /tmp, and those of the version before until it is let go."""
    if known.target != "lambda" or known.artifact_bytes is None or 2 * known.artifact_bytes <= TMP_BYTES:
        return None
    line = (
        f"2 versions x {known.artifact_bytes:,} bytes ({known.artifact}) = {2 * known.artifact_bytes:,}; /tmp has "
        f"{TMP_BYTES:,}"
    )
    says = (
        "may find no room in /tmp for the weights of two versions: the second then loads from the artifact of record, "
        "slower and with more memory. An instance has a disk"
    )
    return Finding("disk", says, (line,))


def body(known: Known) -> Finding | None:
    """What a request may weigh is the same on every target behind the URL, but for serverless, which takes less."""
    if known.row_bytes is None:
        return None
    limit = body_through_url(known.target)
    rows = max(1.0, known.usage.most_rows if known.usage is not None else 1.0)
    weight = rows * known.row_bytes
    if weight < BUSY * limit:
        return None
    what = "the largest request of the period" if rows > 1 else "one row of model.example"
    line = (
        f"{what}: {rows:,.0f} x {known.row_bytes:,.0f} bytes a row as JSON = {weight:,.0f} bytes of {limit:,}; "
        f"{int(limit // known.row_bytes):,} rows fit into a request"
    )
    through = "every target has Lambda's limit on a request, because its way in is a function"
    if known.target == "sagemaker-serverless":
        return Finding("body", "sends almost more than serverless takes", (line,), move_to="sagemaker-realtime")
    says = "sends almost more than a request may have: send fewer rows at a time, or NPY or Arrow in place of JSON"
    return Finding("body", says, (line, through))


def time(known: Known) -> Finding | None:
    """An answer has to come before its deadline, and behind the HTTP API before 30 s, on all targets but async."""
    if known.usage is None or known.target == "sagemaker-async":
        return None
    worst_s, timeout_s = known.usage.worst_p99_ms / 1000, min(known.timeout_s, LONGEST_ANSWER_S)
    if worst_s < BUSY * timeout_s:
        return None
    line = f"p99 of the worst hour: {worst_s:.1f} s of endpoint.timeout_s = {timeout_s}"
    if timeout_s < LONGEST_ANSWER_S:
        return Finding(
            "time", f"comes close to its deadline: raise endpoint.timeout_s, to {LONGEST_ANSWER_S} at most", (line,)
        )
    url = (
        f"behind the URL {LONGEST_ANSWER_S} s is the most for Lambda, serverless and realtime alike; async has an hour"
    )
    return Finding("time", "takes longer than a caller can wait", (line, url), move_to="sagemaker-async")


def latency(known: Known) -> Finding | None:
    """Slower than is wanted: more processor on Lambda first, then an instance with more of it, or with a GPU."""
    if known.usage is None or known.wanted_p99_ms is None or known.usage.p99_ms <= known.wanted_p99_ms:
        return None
    lines = [
        f"p99 {known.usage.p99_ms:,.0f} ms, p50 {known.usage.p50_ms:,.0f} ms; monitoring.latency_p99_ms is "
        f"{known.wanted_p99_ms:,}"
    ]
    if known.engine_ms is not None:
        lines.append(f"one run of the engine took {known.engine_ms:,.1f} ms of a processor when it was compiled")
    if known.target != "lambda":
        return Finding("latency", "is slower than is wanted: a larger instance, or one with a GPU", tuple(lines))
    now, most = known.memory_mb / MB_PER_VCPU, LAMBDA_MEMORY_MB / MB_PER_VCPU
    lines.append(
        f"{known.memory_mb:,} MB / {MB_PER_VCPU:,} MB = {now:.2f} vCPU; Lambda has at most {LAMBDA_MEMORY_MB:,} MB, "
        f"{most:.2f} vCPU"
    )
    if known.memory_mb < LAMBDA_MEMORY_MB:
        return Finding("latency", "is slower than is wanted: raise endpoint.memory_mb first", tuple(lines))
    return Finding("latency", "is slower than Lambda's processors", tuple(lines), move_to="sagemaker-realtime")


def concurrency(known: Known) -> Finding | None:
    """How many requests are being answered at a time, against how many may be."""
    most = known.concurrency or ACCOUNT_CONCURRENCY
    if known.usage is None or known.target != "lambda":
        return None
    at_a_time = known.usage.busiest_per_s * known.usage.mean_ms / 1000
    if at_a_time < BUSY * most:
        return None
    whose = "endpoint.concurrency" if known.concurrency else "what an account has for all its functions"
    line = (
        f"{known.usage.busiest_per_s:,.1f} requests a second in the busiest hour x {known.usage.mean_ms:,.1f} ms = "
        f"{at_a_time:,.1f} at a time of {most:,} ({whose})"
    )
    return Finding("concurrency", "answers almost as many requests at a time as it may: raise the limit", (line,))


RULES: tuple[Callable[[Known], Finding | None], ...] = (code, memory, disk, body, time, latency, concurrency)


def fitting(known: Known) -> list[Finding]:
    """Where a model comes near the limits of its target; empty where it does nowhere, or nothing is known."""
    return [finding for finding in (rule(known) for rule in RULES) if finding is not None]
