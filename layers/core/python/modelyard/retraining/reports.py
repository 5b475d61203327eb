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


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The document of a run that ended before the gate could decide: its data was refused, or a step failed.

    Attributes:
        model: The model's name.
        run_id: The run.
        reason: Why it ended, in words.
        plan: The plan as the workflow carries it.
        step: The function of the step that ended it; empty where the execution was ended from outside.
        failed: Whether it failed; else its data was refused.
        trigger: What started it.
        files: The file that started it, where one did.
        findings: What is wrong with the data.
        remarks: What was noticed.
        created_at: When the run began.
        version: What it had registered.
        evaluated: The document of its evaluation, where it had come so far: its keys are kept.
    """

    model: str
    run_id: str
    reason: str
    plan: dict[str, Any]
    step: str = ""
    failed: bool = False
    trigger: dict[str, Any] = {}
    files: list[dict[str, Any]] = []
    findings: list[str] = []
    remarks: list[str] = []
    created_at: str = ""
    version: int | None = None
    evaluated: dict[str, Any] = {}

    def leave(self, workbench: Workbench) -> str:
        """Put it where reports lie; its key."""
        document = {
            "format": FORMAT,
            "model": self.model,
            "task": self.plan.get("task", ""),
            "run_id": self.run_id,
            "created_at": self.created_at,
            "trigger": self.trigger,
            "champion": None,
            "metric": self._metric,
            "metrics": {},
            "files": self.files,
            "remarks": self.remarks,
            **self.evaluated,
            **({"verdict": "failed"} if self.failed else {}),
            "version": self.version,
            "plan": self.plan,
            "passed": False,
            "reason": self.reason,
            "step": self.step,
            "findings": self.findings or ([] if self.failed else self.reason.splitlines()),
        }
        return leave_document(workbench, document)

    @property
    def _metric(self) -> str:
        evaluation = self.plan.get("evaluation")
        return str(evaluation.get("metric", "")) if isinstance(evaluation, dict) else ""


def file_of(claim: dict[str, Any] | None, validation: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The file that started a run, as a line of its document; none where it was started otherwise."""
    found, checked = (claim or {}).get("object"), validation or {}
    if not found:
        return []
    line = {name: found[name] for name in ("bucket", "key", "version_id")}
    return [line | {"sha256": checked.get("sha256") or "", "rows": checked.get("rows") or None}]


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
