"""What the steps work with: the registry, the artifact bucket, the data bucket; and the line that each step logs."""

import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from modelyard.errors import ModelyardError
from modelyard.ports import ArtifactStore
from modelyard.registry import Registry


class UploadFacts(Protocol):
    """What is known about an uploaded file."""

    version_id: str
    etag: str
    size: int


class UploadStore(Protocol):
    """The data bucket, as the steps read it."""

    bucket: str

    def head(self, key: str, version_id: str | None = None) -> Any:
        """Its `UploadFacts`, in a version or the newest; None when it is gone."""
        ...

    def get(self, key: str, version_id: str) -> bytes | None:
        """The bytes of one version; None when it is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Workbench:
    """Everything outside that a step touches."""

    registry: Registry
    artifacts: ArtifactStore
    uploads: UploadStore


Step = Callable[[Workbench, dict[str, Any]], dict[str, Any]]


def run_step(name: str, step: Step, workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Run one step and write one line about it: run, outcome, seconds; the cause when it raises."""
    began = time.monotonic()
    line: dict[str, Any] = {"kind": "step", "step": name, "run_id": event.get("run_id")}
    try:
        answer = step(workbench, event)
    except BaseException as error:
        line |= {"outcome": "error", "error": type(error).__name__, "message": str(error)}
        if not isinstance(error, ModelyardError):
            line["traceback"] = traceback.format_exc()
        raise
    else:
        line |= {"outcome": "done", "answer": {key: value for key, value in answer.items() if key != "leaderboard"}}
        return answer
    finally:
        line["seconds"] = round(time.monotonic() - began, 3)
        sys.stdout.write(json.dumps(line, default=str) + "\n")
        sys.stdout.flush()
