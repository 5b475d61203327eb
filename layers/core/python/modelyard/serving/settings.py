"""What the endpoint is told by its environment, read once and checked whole."""

from collections.abc import Mapping

from modelyard.errors import UsageError

DEFAULT_REFRESH_S = "10"
DEFAULT_MEMORY_MB = "1769"


class EndpointSettings:
    """The environment of one endpoint function, typed.

    Attributes:
        model: Name of the model.
        artifact_bucket: Bucket of pointers and models.
        refresh_s: Longest time that a replaced version may still answer.
        code: Package with the model's own hooks, or ``None``.
        memory_mb: Lambda memory; decides the number of threads.
    """

    __slots__ = ("artifact_bucket", "code", "memory_mb", "model", "refresh_s")

    def __init__(self, model: str, artifact_bucket: str, refresh_s: float, code: str | None, memory_mb: int) -> None:
        self.model = model
        self.artifact_bucket = artifact_bucket
        self.refresh_s = refresh_s
        self.code = code
        self.memory_mb = memory_mb

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "EndpointSettings":
        """Read ``MODELYARD_*`` and Lambda's own variables.

        Raises:
            UsageError: With all findings at once (code ``invalid_settings``).
        """
        findings = [
            f"{name} is not set" for name in ("MODELYARD_MODEL", "MODELYARD_ARTIFACT_BUCKET") if not environ.get(name)
        ]
        refresh_s = _positive(environ, "MODELYARD_REFRESH_S", DEFAULT_REFRESH_S, findings)
        memory_mb = _positive(environ, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", DEFAULT_MEMORY_MB, findings)
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
        )


def _positive(environ: Mapping[str, str], name: str, default: str, findings: list[str]) -> float:
    text = environ.get(name) or default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        findings.append(f"{name} is {text!r}; it must be a number above 0")
    return value
