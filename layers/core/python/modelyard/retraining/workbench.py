"""What the steps work with: the registry, the artifact bucket, the data bucket; and the line that each step logs."""

import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from modelyard.errors import ModelyardError, UsageError
from modelyard.ports import ArtifactStore
from modelyard.registry import Registry
from modelyard.retraining.bounds import LONGEST_ERROR, short

METRICS = {"step_seconds": "Seconds", "step_errors": "Count", "uploads_ignored": "Count"}
"""Metrics of namespace ``Modelyard``, dimensions ``model`` and ``step``; the line of a step carries them."""

_DIRECTIVE = [
    {
        "Namespace": "Modelyard",
        "Dimensions": [["model", "step"]],
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in METRICS.items()],
    }
]


class UploadFacts(Protocol):
    """What is known about an uploaded file."""

    @property
    def version_id(self) -> str:
        """Names these bytes under this key, for ever."""
        ...

    @property
    def etag(self) -> str:
        """S3's tag of the bytes, without quotes."""
        ...

    @property
    def size(self) -> int:
        """In bytes."""
        ...


class UploadStore(Protocol):
    """The data bucket, as the steps read it. It keeps every version of a file."""

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        ...

    def head(self, key: str, version_id: str | None = None) -> UploadFacts | None:
        """What is known about a version, or about the newest; None when it is gone or is a delete marker."""
        ...

    def get(self, key: str, version_id: str) -> bytes | None:
        """The bytes of one version; None when it is gone or is a delete marker."""
        ...

    def versions(self, key: str) -> tuple[str, ...]:
        """The ids of the versions under exactly this key, the one that was stored last first, no delete markers.

        At most the newest 10,000; events come in any order, so this alone says which file is newer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Workbench:
    """Everything outside that a step touches.

    ``memory_mb`` is what it has to work in, None where nothing limits it; ``has_sagemaker`` is false in the local AWS.
    """

    registry: Registry
    artifacts: ArtifactStore
    uploads: UploadStore
    memory_mb: int | None = None
    has_sagemaker: bool = True


Step = Callable[[Workbench, dict[str, Any]], dict[str, Any]]
W = TypeVar("W")
"""What the steps of a workflow work with: here, and in `modelyard.rollout`."""


def run_step(
    name: str,
    step: Callable[[W, dict[str, Any]], dict[str, Any]],
    workbench: W,
    event: dict[str, Any],
    *,
    workflow: str = "retraining",
) -> dict[str, Any]:
    """Run one step and write one line about it: model, run, outcome, seconds; the cause when it raises.

    An error of ours leaves with its next step in its message and a bounded length: the message is all that the workflow
    keeps of it.
    """
    began = time.monotonic()
    line: dict[str, Any] = {"kind": "step", "step": name}
    try:
        line |= _whose(event, workflow)
        answer = step(workbench, event)
    except BaseException as error:
        if isinstance(error, ModelyardError):
            error.args = (short(f"{error.message}. {error.next_step or ''}".rstrip(". "), LONGEST_ERROR),)
        else:
            line["traceback"] = traceback.format_exc()
        line |= {"outcome": "error", "error": type(error).__name__, "message": short(str(error), LONGEST_ERROR)}
        raise
    else:
        line |= {"outcome": answer.get("status", "done"), "answer": answer}
        return answer
    finally:
        _write(line, seconds=round(time.monotonic() - began, 3))


def _whose(event: Any, workflow: str) -> dict[str, Any]:
    """Model and run of an event, for the log and to refuse what is no event of the workflow."""
    try:
        return {"model": str(event["plan"]["model"]), "run_id": str(event["run_id"])}
    except (KeyError, TypeError) as missing:
        raise UsageError(
            f"this is no event of the {workflow} workflow: {missing} is missing",
            code="invalid_event",
            next_step="Upload a file, or start an execution of the state machine: it calls the steps.",
        ) from None


def _write(line: dict[str, Any], *, seconds: float) -> None:
    ignored = line["step"] == "claim" and line["outcome"] == "ignored"
    line |= {"step_seconds": seconds, "step_errors": int(line["outcome"] == "error"), "uploads_ignored": int(ignored)}
    if "model" in line:
        line["_aws"] = {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": _DIRECTIVE}
    sys.stdout.write(json.dumps(line, default=str) + "\n")
    sys.stdout.flush()
