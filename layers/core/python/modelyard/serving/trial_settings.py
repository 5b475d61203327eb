"""What the environment says about trials; read by the first that a process sees, so that others do not pay for it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from modelyard.errors import UsageError

ROUTING, TRIAL_CAPTURE, BUDGET_MS, BUDGET_MB, TIMEOUT_S = "request", 1.0, 200.0, 128.0, 10.0
"""Where the environment says nothing. The stack writes what differs; a test holds them against the spec's defaults."""


class TrialSettings:
    """The environment of one endpoint function, as far as it is about versions on trial.

    Attributes:
        routing: ``request``, ``caller``, ``header:<name>`` or ``field:<input>``.
        capture: Share of the requests that are kept while a version is on trial.
        budget_ms: Mean time of a shadow's runs.
        budget_mb: Growth of the process while a shadow runs.
        timeout_s: The function's.
    """

    __slots__ = ("budget_mb", "budget_ms", "capture", "routing", "timeout_s")

    def __init__(
        self,
        *,
        routing: str = ROUTING,
        capture: float = TRIAL_CAPTURE,
        budget_ms: float = BUDGET_MS,
        budget_mb: float = BUDGET_MB,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.routing = routing
        self.capture = capture
        self.budget_ms = budget_ms
        self.budget_mb = budget_mb
        self.timeout_s = timeout_s

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "TrialSettings":
        """Read ``MODELYARD_*``.

        Raises:
            UsageError: With code ``invalid_settings``.
        """
        return cls(
            routing=environ.get("MODELYARD_ROUTING") or ROUTING,
            capture=_number(environ, "MODELYARD_TRIAL_CAPTURE", TRIAL_CAPTURE),
            budget_ms=_number(environ, "MODELYARD_SHADOW_BUDGET_MS", BUDGET_MS),
            budget_mb=_number(environ, "MODELYARD_SHADOW_BUDGET_MB", BUDGET_MB),
            timeout_s=_number(environ, "MODELYARD_TIMEOUT_S", TIMEOUT_S),
        )


def redacted_inputs(environ: Mapping[str, str]) -> frozenset[str]:
    """Names of the inputs whose values are never kept.

    Raises:
        UsageError: With code ``invalid_settings``; then nothing may be kept.
    """
    text = environ.get("MODELYARD_REDACT") or "[]"
    try:
        return frozenset(msgspec.json.decode(text, type=list[str]))
    except msgspec.DecodeError as error:
        raise _invalid("MODELYARD_REDACT", text, "a JSON list of inputs") from error


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise _invalid(name, text, "a number from 0 on")
    return value


def _invalid(name: str, text: Any, allowed: str) -> UsageError:
    return UsageError(
        f"{name} is {ascii(text)[:80]}; it must be {allowed}",
        code="invalid_settings",
        next_step="Deploy the model's stack again; it sets this variable.",
    )
