"""What the server is told by its environment, read once and checked whole.

A server of one model has the variables of that model's function (`modelyard.serving.settings`). One of several has
``MODELYARD_MODEL_1``, ``MODELYARD_MODEL_2`` and so on, each a JSON object with the variables of one model.
"""

import os
from collections.abc import Mapping

import msgspec

from modelyard.errors import UsageError
from modelyard.serving.settings import EndpointSettings
from modelyard.serving.trial_settings import TrialSettings, redacted_inputs

MODEL_PREFIX = "MODELYARD_MODEL_"


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The server's environment, typed.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        workers: Worker processes.
        max_batch: Most rows of one run that are put together from several requests; 1 for none.
        max_wait_ms: Longest time that a request waits for others to be run with.
        queue: Most requests of a model that wait; one more gets a 429.
        max_body_mb: Largest body of a request.
        memory_mb: Of loaded models, together, in a worker; 0 for no limit. Only several models are held to it.
        models: The variables of each model.
    """

    host: str
    port: int
    workers: int
    max_batch: int
    max_wait_ms: float
    queue: int
    max_body_mb: float
    memory_mb: float
    models: tuple[dict[str, str], ...]

    @property
    def max_body(self) -> int:
        """Largest body of a request, in bytes."""
        return int(self.max_body_mb * 1_048_576)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "ServerSettings":
        """Read ``MODELYARD_*``.

        Raises:
            UsageError: With all findings at once (code ``invalid_settings``).
        """
        findings: list[str] = []

        def number(name: str, default: float, least: float, most: float) -> float:
            text = environ.get(f"MODELYARD_{name}") or str(default)
            try:
                value = float(text)
            except ValueError:
                value = float("nan")
            if not least <= value <= most:
                findings.append(f"MODELYARD_{name} is {text[:40]!r}; it must be a number from {least:g} to {most:g}")
                return default
            return value

        settings = cls(
            host=environ.get("MODELYARD_SERVER_HOST") or "127.0.0.1",
            port=int(number("SERVER_PORT", 8080, 0, 65_535)),
            workers=int(number("SERVER_WORKERS", 0, 0, 256)) or processors(),
            max_batch=int(number("MAX_BATCH", 64, 1, 10_000)),
            max_wait_ms=number("MAX_WAIT_MS", 5, 0, 10_000),
            queue=int(number("QUEUE", 256, 1, 100_000)),
            max_body_mb=number("MAX_BODY_MB", 25, 0.001, 1024),
            memory_mb=number("MEMORY_MB", 0, 0, 10_000_000),
            models=_models(environ, findings),
        )
        for own in settings.models:
            findings += _wrong_about(own)
        if findings:
            raise UsageError(
                f"the server's environment is wrong: {'; '.join(findings)}",
                code="invalid_settings",
                next_step="Deploy the model's stack again; it sets these variables.",
            )
        return settings


def _wrong_about(environ: dict[str, str]) -> list[str]:
    """What is wrong with the variables of one model: a server that starts can load each of them."""
    found: list[str] = []
    for read in (EndpointSettings.read, TrialSettings.read, redacted_inputs):
        try:
            read(environ)
        except UsageError as error:
            found.append(f"{environ.get('MODELYARD_MODEL') or 'a model'}: {error.message}")
    return found


def processors() -> int:
    """How many processors this process may use: those of its affinity, and of a container's share of them."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:  # noqa: PTH123 - one line
            quota, period = file.read().split()
        return max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or no limit: "max"
        return max(1, count)


def _models(environ: Mapping[str, str], findings: list[str]) -> tuple[dict[str, str], ...]:
    numbered = sorted(
        (name for name in environ if name.startswith(MODEL_PREFIX) and name[len(MODEL_PREFIX) :].isdecimal()),
        key=lambda name: int(name[len(MODEL_PREFIX) :]),
    )
    if not numbered:
        return (dict(environ),)
    shared = {key: value for key, value in environ.items() if key not in numbered}
    models: list[dict[str, str]] = []
    for name in numbered:
        try:
            own = msgspec.json.decode(environ[name], type=dict[str, str])
        except msgspec.DecodeError as error:
            findings.append(f"{name} is no JSON object of texts: {error}")
            continue
        models.append({**shared, **own})
    names = [own.get("MODELYARD_MODEL") or "" for own in models]
    if len(set(names)) < len(names) or "" in names:
        findings.append(f"{MODEL_PREFIX}1 and on name the models {names}; each must have a MODELYARD_MODEL of its own")
    return tuple(models)
