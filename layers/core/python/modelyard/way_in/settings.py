"""What the way in is told by its environment, read once and checked whole."""

from __future__ import annotations

from modelyard.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SERVERLESS, REALTIME, ASYNC = "sagemaker-serverless", "sagemaker-realtime", "sagemaker-async"
TARGETS = (SERVERLESS, REALTIME, ASYNC)

LONGEST_S = 3600
"""What SageMaker gives the container for an asynchronous request at most."""


class WayInSettings:
    """The environment of one way in, typed.

    Attributes:
        model: Name of the model.
        endpoint: Name of its SageMaker endpoint.
        target: One of `TARGETS`.
        routing_header: The header that the model's ``rollout.routing`` names, in lower case; or empty.
        bucket: Where asynchronous predictions lie; or empty.
        timeout_s: How long the container may take for an asynchronous request; empty for SageMaker's own 15 minutes.
        base_path: What callers have in front of ``/models``, where API Gateway cuts something off.
    """

    __slots__ = ("base_path", "bucket", "endpoint", "model", "routing_header", "target", "timeout_s")

    def __init__(
        self,
        model: str,
        endpoint: str,
        target: str,
        *,
        routing: str = "",
        bucket: str = "",
        timeout_s: str = "",
        base_path: str = "",
    ) -> None:
        self.model = model
        self.endpoint = endpoint
        self.target = target
        kind, _, name = routing.partition(":")
        self.routing_header = name.lower() if kind == "header" else ""
        self.bucket = bucket
        self.timeout_s = timeout_s
        self.base_path = base_path

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> WayInSettings:
        """Read ``MODELYARD_*``.

        Raises:
            UsageError: With all findings at once (code ``invalid_settings``).
        """
        target = environ.get("MODELYARD_TARGET", "")
        needed = ["MODELYARD_MODEL", "MODELYARD_SAGEMAKER_ENDPOINT"]
        if target == ASYNC:
            needed.append("MODELYARD_ARTIFACT_BUCKET")
        findings = [f"{name} is not set" for name in needed if not environ.get(name)]
        if target not in TARGETS:
            findings.append(f"MODELYARD_TARGET is {target!r}; it must be {', '.join(TARGETS)}")
        timeout_s = environ.get("MODELYARD_ASYNC_TIMEOUT_S", "")
        if timeout_s and not (timeout_s.isdecimal() and 1 <= int(timeout_s) <= LONGEST_S):
            findings.append(f"MODELYARD_ASYNC_TIMEOUT_S is {timeout_s!r}; it must be from 1 to {LONGEST_S}")
        if findings:
            raise UsageError(
                f"the way in's environment is incomplete: {'; '.join(findings)}",
                code="invalid_settings",
                next_step="Deploy the model's stack again; it sets these variables.",
            )
        return cls(
            environ["MODELYARD_MODEL"],
            environ["MODELYARD_SAGEMAKER_ENDPOINT"],
            target,
            routing=environ.get("MODELYARD_ROUTING", ""),
            bucket=environ.get("MODELYARD_ARTIFACT_BUCKET", ""),
            timeout_s=timeout_s,
            base_path=environ.get("MODELYARD_BASE_PATH", ""),
        )
