"""What the control plane is told by its environment, read once and checked whole."""

from collections.abc import Mapping
from dataclasses import dataclass

from modelyard.errors import UsageError

ARTIFACT_BUCKET = "MODELYARD_ARTIFACT_BUCKET"
TABLE = "MODELYARD_TABLE"
REQUIRE_REASON = "MODELYARD_REQUIRE_REASON"
EVENT_BUS = "MODELYARD_EVENT_BUS"


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """The environment of the control plane's function, typed.

    Attributes:
        artifact_bucket: Bucket of models, pointers and uploads.
        table: The registry's table.
        require_reason: Whether a change of what is live must say why.
        event_bus: The bus by which rollouts are begun; empty where there is none.
    """

    artifact_bucket: str
    table: str
    require_reason: bool
    event_bus: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "ControlSettings":
        """Read ``MODELYARD_*``.

        Raises:
            UsageError: With all findings at once (code ``invalid_settings``).
        """
        findings = [f"{name} is not set" for name in (ARTIFACT_BUCKET, TABLE) if not environ.get(name)]
        require_reason = environ.get(REQUIRE_REASON) or "0"
        if require_reason not in ("0", "1"):
            findings.append(f"{REQUIRE_REASON} is {require_reason!r}; it must be '0' or '1'")
        if findings:
            raise UsageError(
                f"the control plane's environment is incomplete: {'; '.join(findings)}",
                code="invalid_settings",
                next_step="Deploy the Api stack again; it sets these variables.",
            )
        bus = environ.get(EVENT_BUS) or ""
        return cls(environ[ARTIFACT_BUCKET], environ[TABLE], require_reason == "1", bus)
