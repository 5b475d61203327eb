"""The document of a run: everything that was found, for its report, for its version, and to train that again.

It is put together from what the steps left: `Prepared` (the data), `modelyard.training.job.Trained` (the training) and
the gate's report. ``docs/retraining.md`` lists its keys. It lies in the artifact bucket under ``reports/``, named by
the run and a digest of what it was made from, and never changes; the page that people read lies beside it.
"""

import hashlib
import traceback
from typing import Any

import msgspec

from modelyard.errors import NotFoundError
from modelyard.report import page, page_key
from modelyard.retraining.workbench import Workbench
from modelyard.retraining.working_files import leave, read_if_there
from modelyard.training.plan import Plan

FORMAT = 1


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What the prepare step found out about the data of a run; the keys are those of the document."""

    trigger: dict[str, Any]
    files: list[dict[str, Any]]
    left_out: list[str]
    remarks: list[str]
    row_counts: dict[str, int]
    profile: dict[str, dict[str, Any]]
    contract: dict[str, Any]
    evaluation_set: dict[str, Any]
    evaluation_key: str
    where: str
    why_there: str
    digest: str


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The document of a run whose data was refused before anything was trained."""

    model: str
    task: str
    run_id: str
    trigger: dict[str, Any]
    reason: str
    plan: Plan
    created_at: str = ""
    findings: list[str] = []
    champion: int | None = None

    def leave(self, workbench: Workbench) -> str:
        """Put it where reports lie; its key."""
        document = {
            "format": FORMAT,
            "model": self.model,
            "task": self.task,
            "run_id": self.run_id,
            "created_at": self.created_at,
            "trigger": self.trigger,
            "champion": self.champion,
            "plan": msgspec.to_builtins(self.plan),
            "passed": False,
            "reason": self.reason,
            "findings": self.findings or self.reason.splitlines(),
            "metric": self.plan.evaluation.metric,
            "metrics": {},
        }
        return leave_document(workbench, document)


def document_key(model: str, run_id: str, *made_from: bytes) -> str:
    """Where the document of a run lies that was made from this."""
    digest = hashlib.sha256()
    for part in made_from:
        digest.update(hashlib.sha256(part).digest())
    return f"reports/{model}/{run_id}-{digest.hexdigest()[:16]}.json"


def began(workbench: Workbench, model: str, run_id: str) -> str:
    """When the run began: a time of its own would make another document of a repeated step."""
    try:
        return workbench.registry.run(model, run_id).started_at
    except NotFoundError:
        return ""


def leave_document(workbench: Workbench, document: dict[str, Any], *, key: str | None = None) -> str:
    """Put a document where reports lie; its key. Written again, it is the same object."""
    content = msgspec.json.encode(document)  # NaN and infinity, which JSON does not have, become null
    key = key or document_key(document["model"], document["run_id"], content)
    try:
        leave(workbench, page_key(key), page(msgspec.json.decode(content)).encode("utf-8"))
    except Exception:  # noqa: BLE001 - a run is not lost because its page cannot be drawn; the command draws it again
        traceback.print_exc()
    return leave(workbench, key, content)


def read_document(workbench: Workbench, key: str) -> dict[str, Any] | None:
    """The document of an earlier run; None when it is gone."""
    content = read_if_there(workbench, key)
    if content is None:
        return None
    document: dict[str, Any] = msgspec.json.decode(content)
    return document
