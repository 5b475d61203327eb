"""One line per request on stdout: who asked which version what for, and how it ended. Other lines: `write_event`.

The rule: a line for every request, refused ones too; never the payload; the caller as the authorizer knows them, never
as a header claims. The audit line carries its metrics in CloudWatch's embedded metric format, so one line does both and
no metrics call is made (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
CloudWatch_Embedded_Metric_Format_Specification.html).
"""

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from modelyard.serving.json_text import json_text

if TYPE_CHECKING:
    from modelyard.serving.exchange import Exchange

NAMESPACE = "Modelyard"
METRICS = {"latency_ms": "Milliseconds", "instances": "Count", "warned": "Count", "refused": "Count", "errors": "Count"}
"""Metrics of namespace `NAMESPACE`, dimension ``model``. The number of requests is latency_ms's sample count."""

_METRIC_DIRECTIVE = [
    {
        "Namespace": NAMESPACE,
        "Dimensions": [["model"]],
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in METRICS.items()],
    }
]

ARM_METRICS = ("latency_ms", "errors", "fallbacks")
"""While versions are on trial, also by ``arm``, the version that was to answer: CloudWatch asks a price for each metric
of each arm, so they are few, and there are none when the trial is over. A fallback is an answer of the champion in the
place of another version."""

_ARM_DIRECTIVE = {
    "Namespace": NAMESPACE,
    "Dimensions": [["model", "arm"]],
    "Metrics": [{"Name": name, "Unit": METRICS.get(name, "Count")} for name in ARM_METRICS],
}

CODE_DIRECTIVE: dict[str, Any] = {
    "Namespace": NAMESPACE,
    "Dimensions": [["model", "function_version"]],
    "Metrics": [{"Name": "errors", "Unit": "Count"}],
}
"""Of failed requests alone, by the version of the function: what a release of its code is watched by. A metric costs
something in the hours in which it has values."""


_encode = msgspec.json.Encoder().encode
_METRICS = f'"CloudWatchMetrics":{_encode(_METRIC_DIRECTIVE).decode()}'

_MOST_TEXTS = 256
_TEXTS: dict[str, str] = {}  # as JSON; the same few come again and again
_SECOND = (0, "")


def write_audit(exchange: "Exchange", *, model: str, status: int, code: str, latency_ms: float) -> None:
    """Write the audit line of one request.

    Args:
        exchange: The request; of its event only the authorizer context is read.
        model: Name of the model.
        status: HTTP status of the response.
        code: ``ok``, or the problem's code.
        latency_ms: From event to response.
    """
    caller, account = identity(exchange.event)
    live = exchange.live
    now = time.time_ns()
    if status < 400 and live is not None and exchange.tried is None and exchange.protocol != "feedback":
        try:  # the line of most requests: the same as that of the dict below, in a third of the time
            sys.stdout.write(
                f'{{"kind":"audit","time":"{utc(now)}","model":{_text(model)},"version":{live.version},'
                f'"digest":{_text(live.digest)},"prediction_id":{_encode(exchange.prediction_id).decode()},'
                f'"request_id":{_encode(exchange.request_id).decode()},"protocol":{_text(exchange.protocol)},'
                f'"caller":{_text(caller)},"account":{_text(account)},"outcome":"answered","status":{status},'
                f'"code":{_text(code)},"latency_ms":{latency_ms:.3f},"instances":{exchange.rows},'
                f'"warned":{exchange.warned},"refused":0,"errors":0,'
                f'"_aws":{{"Timestamp":{now // 1_000_000},{_METRICS}}}}}\n'
            )
            sys.stdout.flush()
            return
        except UnicodeEncodeError:
            pass  # below it gets question marks
    line: dict[str, Any] = {
        "kind": "audit",
        "time": utc(now),
        "model": model,
        "version": live.version if live else None,
        "digest": live.digest if live else None,
        "prediction_id": exchange.prediction_id,
        "request_id": exchange.request_id,
        "protocol": exchange.protocol,
        "caller": caller,
        "account": account,
        "outcome": "answered" if status < 400 else "refused" if status < 500 else "failed",
        "status": status,
        "code": code,
        "latency_ms": round(latency_ms, 3),
        "instances": exchange.rows,
        "warned": exchange.warned,
        "refused": int(400 <= status < 500),
        "errors": int(status >= 500),
        "_aws": {"Timestamp": now // 1_000_000, "CloudWatchMetrics": _METRIC_DIRECTIVE},
    }
    if exchange.protocol == "feedback":
        line["labels"] = exchange.labels
    if exchange.tried is not None:
        line |= exchange.tried.told()
        line["_aws"]["CloudWatchMetrics"] = [*_METRIC_DIRECTIVE, _ARM_DIRECTIVE]
    if line["errors"]:
        line["function_version"] = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        line["_aws"]["CloudWatchMetrics"] = [*line["_aws"]["CloudWatchMetrics"], CODE_DIRECTIVE]
    _write(line)


def write_event(name: str, *, level: str = "info", **fields: Any) -> None:
    """Write another structured line, like a switch of versions or a failure's traceback."""
    _write({"kind": "event", "time": utc(time.time_ns()), "level": level, "event": name, **fields})


def write_failure(name: str, error: BaseException, **fields: Any) -> None:
    """Write an event about what nobody expected, with its traceback."""
    import traceback  # which takes longer than the line

    write_event(
        name,
        level="error",
        **fields,
        code=getattr(error, "code", "internal"),
        message=str(error),
        traceback=traceback.format_exception(error),
    )


def utc(nanoseconds: int) -> str:
    """A time since the epoch as ``2026-11-21T10:00:00.000000Z``."""
    global _SECOND
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    known, text = _SECOND
    if known != seconds:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _SECOND = (seconds, text)
    return f"{text}.{rest // 1000:06d}Z"


def _text(text: str | None) -> str:
    """A text as JSON.

    Raises:
        UnicodeEncodeError: When it is no UTF-8.
    """
    if text is None:
        return "null"
    found = _TEXTS.get(text)
    if found is None:
        if len(_TEXTS) >= _MOST_TEXTS:
            _TEXTS.clear()
        found = _TEXTS[text] = _encode(text).decode()
    return found


def identity(event: Any) -> tuple[str | None, str | None]:
    """ARN and account of the caller, as API Gateway's IAM authorizer established them; None for what is no text."""
    found = event
    for key in ("requestContext", "authorizer", "iam"):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return None, None
    caller, account = found.get("userArn"), found.get("accountId")
    return caller if isinstance(caller, str) else None, account if isinstance(account, str) else None


def _write(record: dict[str, Any]) -> None:
    # JSON escapes line ends, so nothing that a caller sends can start a line of its own. One write per line: the
    # follower's thread writes too.
    sys.stdout.write(json_text(record) + "\n")
    sys.stdout.flush()
