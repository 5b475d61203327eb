"""What the endpoint is told by its environment, read once and checked whole."""

from __future__ import annotations

from modelyard.errors import UsageError
from modelyard.predictor.threads import threads_for

TYPE_CHECKING = False  # without typing, which takes longer to import than everything here
if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelyard.predictor.predictor import EngineName

DEFAULT_REFRESH_S = "10"
DEFAULT_MEMORY_MB = "1769"
DEFAULT_ENGINE = "standard"
ENGINES = ("lean", "standard")
PROVIDERS = ("cpu", "cuda")
SNAP_START = "snap-start"


class EndpointSettings:
    """The environment of one endpoint function, typed.

    Attributes:
        model: Name of the model.
        artifact_bucket: Bucket of pointers and models.
        refresh_s: Longest time that a replaced version may still answer.
        code: Package with the model's own hooks, or ``None``.
        memory_mb: Lambda memory.
        threads: For one run: those that the memory pays for, unless ``MODELYARD_THREADS`` says how many.
        providers: What runs the standard engine's models, in order: ``cpu``, ``cuda``.
        engine: What runs the model. A model with code of its own has the standard engine.
        capture: Share of requests that are kept; 0 for none.
        snap_start: Whether this start ends in a snapshot.
        one_by_one: Whether there is never more than one request at a time, as on Lambda.
    """

    __slots__ = (
        "artifact_bucket", "capture", "code", "engine", "memory_mb", "model", "one_by_one", "providers", "refresh_s",
        "snap_start", "threads",
    )  # fmt: skip

    def __init__(
        self,
        model: str,
        artifact_bucket: str,
        refresh_s: float,
        code: str | None,
        memory_mb: int,
        engine: EngineName,
        capture: float = 0.0,
        snap_start: bool = False,
        one_by_one: bool = False,
        threads: int | None = None,
        providers: tuple[str, ...] = ("cpu",),
    ) -> None:
        self.model = model
        self.artifact_bucket = artifact_bucket
        self.refresh_s = refresh_s
        self.code = code
        self.memory_mb = memory_mb
        self.engine = engine
        self.capture = capture
        self.snap_start = snap_start
        self.one_by_one = one_by_one
        self.threads = threads or threads_for(memory_mb)
        self.providers = providers

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> EndpointSettings:
        """Read ``MODELYARD_*`` and Lambda's own variables.

        Raises:
            UsageError: With all findings at once (code ``invalid_settings``).
        """
        findings = [
            f"{name} is not set" for name in ("MODELYARD_MODEL", "MODELYARD_ARTIFACT_BUCKET") if not environ.get(name)
        ]
        refresh_s = _positive(environ, "MODELYARD_REFRESH_S", DEFAULT_REFRESH_S, findings)
        memory_mb = _positive(environ, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", DEFAULT_MEMORY_MB, findings)
        capture = 0.0
        if environ.get("MODELYARD_CAPTURE"):
            capture = _positive(environ, "MODELYARD_CAPTURE", "0", findings)
        engine = environ.get("MODELYARD_ENGINE") or DEFAULT_ENGINE
        if engine not in ENGINES:
            findings.append(f"MODELYARD_ENGINE is {engine!r}; it must be {' or '.join(ENGINES)}")
        threads = None
        if environ.get("MODELYARD_THREADS", "0") != "0":
            threads = max(1, int(_positive(environ, "MODELYARD_THREADS", "1", findings)))
        providers = _providers(environ, engine, findings)
        if findings:
            raise UsageError(
                f"the endpoint's environment is incomplete: {'; '.join(findings)}",
                code="invalid_settings",
                next_step="Deploy the model's stack again; it sets these variables.",
            )
        return cls(
            environ["MODELYARD_MODEL"],
            environ["MODELYARD_ARTIFACT_BUCKET"],
            refresh_s,
            environ.get("MODELYARD_CODE") or None,
            int(memory_mb),
            "lean" if engine == "lean" else "standard",
            capture,
            environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == SNAP_START,
            "AWS_LAMBDA_RUNTIME_API" in environ and not environ.get("AWS_LAMBDA_MAX_CONCURRENCY"),
            threads,
            providers,
        )


def _providers(environ: Mapping[str, str], engine: str, findings: list[str]) -> tuple[str, ...]:
    providers = tuple((environ.get("MODELYARD_PROVIDERS") or "cpu").split(","))
    if not set(providers) <= set(PROVIDERS) or len(set(providers)) < len(providers):
        findings.append(f"MODELYARD_PROVIDERS is {','.join(providers)!r}; it must be some of {', '.join(PROVIDERS)}")
    elif providers != ("cpu",) and engine == "lean":
        findings.append("MODELYARD_ENGINE is 'lean', which runs on processors only; for cuda it must be standard")
    return providers


def _positive(environ: Mapping[str, str], name: str, default: str, findings: list[str]) -> float:
    text = environ.get(name) or default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        findings.append(f"{name} is {text!r}; it must be a number above 0")
    return value
