"""First and last steps: is the upload new, is it usable; and, where there is no new version, why.

Nothing here needs more than the standard library and numpy.
"""

import hashlib
import json
from typing import Any

from modelyard.contract.document import parse
from modelyard.errors import ModelyardError, UsageError
from modelyard.registry import DatasetFile, Run
from modelyard.retraining.bounds import LONGEST_ERROR, file_name, listed, short
from modelyard.retraining.dataset import CHECKING, Part, check_new, fetch, remarks_on, too_large
from modelyard.retraining.workbench import Workbench
from modelyard.training.contract import remarks_on_upload
from modelyard.training.plan import Plan, decode_plan
from modelyard.training.table import findings_of_file

FINISHED = frozenset({"promoted", "registered", "rejected"})
CREATED = "Object Created"
LONGEST_KEY = 1024
"""Bytes of a key, and characters of a version id, that S3 allows."""

_HINTS = {
    "signal: killed": "the step was out of memory: give it more in model.toml (training.memory_mb) and deploy",
    "timed out": "the step was out of time: give it more in model.toml (training.timeout_s) and deploy",
}


def claim_upload(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Claim the object version that an S3 event is about, once, whatever is repeated or reordered.

    Args:
        workbench: Registry and data bucket.
        event: ``event``, the S3 event as EventBridge sends it; ``plan``; ``run_id``.

    Returns:
        ``status``: ``claimed``, ``duplicate`` or ``ignored``; ``reason``; ``object`` when claimed.
    """
    plan, run_id = decode_plan(event["plan"]), event["run_id"]
    where = _place(event.get("event"))
    if isinstance(where, str):
        return _ignored(where)
    bucket, key, version_id = where
    # A bucket's name belongs to one account, so an event of another account is about another bucket.
    if bucket != workbench.uploads.bucket:
        return _ignored(f"the event is about bucket {bucket!r}, not {workbench.uploads.bucket!r}")
    if not key.startswith(f"{plan.model}/"):
        return _ignored(f"{key!r} is not below {plan.model + '/'!r}")
    facts = workbench.uploads.head(key, version_id)
    if facts is None:
        return _ignored(f"{key!r} is gone: it was deleted before it was read")
    if facts.size == 0:
        return _ignored(f"{key!r} has 0 bytes")
    if not workbench.registry.claim(bucket, key, facts.version_id, run_id):
        claimant = workbench.registry.claimant(bucket, key, facts.version_id)
        reason = f"version {facts.version_id} of {key!r} is claimed by run {claimant}"
        return {"status": "duplicate", "reason": short(reason)}
    found = {"bucket": bucket, "key": key, "version_id": facts.version_id, "etag": facts.etag, "size": facts.size}
    workbench.registry.record_run(plan.model, run_id, status="running", object=found)
    return {"status": "claimed", "reason": "", "object": found}


def _place(event: Any) -> tuple[str, str, str | None] | str:
    """Bucket, key and version id of an S3 event, or why it is none. EventBridge does not encode keys."""
    if not isinstance(event, dict):
        return f"not an S3 event: {type(event).__name__} instead of an object"
    if event.get("Event") == "s3:TestEvent":
        return "a test event of S3"
    kind = event.get("detail-type", CREATED)
    if kind != CREATED:
        return f"an event of type {str(kind)!r}, not {CREATED!r}"
    try:
        detail = event["detail"]
        bucket, stored = detail["bucket"]["name"], detail["object"]
        key, version_id = stored["key"], stored.get("version-id") or None
    except KeyError as missing:
        return f"not an S3 event: {missing} is missing"
    except (TypeError, AttributeError):
        return "not an S3 event: detail.bucket and detail.object are not objects"
    if not (_is_text(bucket) and _is_text(key) and (version_id is None or _is_text(version_id))):
        return f"not an S3 event: bucket, key or version id is not text of 1 to {LONGEST_KEY:,} bytes"
    return bucket, key, version_id


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and 0 < len(value.encode()) <= LONGEST_KEY
    except UnicodeEncodeError:
        return False


def _ignored(reason: str) -> dict[str, Any]:
    return {"status": "ignored", "reason": short(reason)}


def validate_upload(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Check the claimed file against the plan, in words, and add it to the model's data set.

    Files that were accepted before do not stand in its way: see `modelyard.retraining.dataset`.

    Args:
        workbench: Registry and data bucket.
        event: ``object`` as claimed; ``plan``; ``run_id``.

    Returns:
        ``status``: ``valid``, ``invalid`` or ``duplicate`` (these bytes were learnt from before); ``findings``;
        ``remarks``; ``rows``; ``sha256``; ``reason``.
    """
    plan, run_id, found = decode_plan(event["plan"]), event["run_id"], event["object"]
    registry, name = workbench.registry, file_name(found["key"])
    large = too_large(workbench, [found["size"]], memory_per_byte=CHECKING)
    if large:
        return _verdict("invalid", findings=(f"{name}: {large}",))
    content = workbench.uploads.get(found["key"], found["version_id"])
    if content is None:
        return _verdict("invalid", findings=(f"{name}: is gone: it was deleted before it was read",))
    sha256 = hashlib.sha256(content).hexdigest()
    accepted = registry.dataset_files(plan.model)
    line = next((file for file in accepted if file.sha256 == sha256), None)
    before = None if line is None or line.run_id == run_id else _run_that_learnt(workbench, line)
    if line is not None and before is not None:
        reason = f"run {before.run_id} learnt from these bytes before and ended {before.status}"
        return _verdict("duplicate", rows=line.rows, sha256=sha256, reason=reason)
    # By itself first: what is wrong with this file is then said without a word about the others, and early.
    findings = findings_of_file(plan, content, name=name)
    if findings:
        return _verdict("invalid", findings=findings, sha256=sha256)
    others = [file for file in accepted if file.sha256 != sha256]
    large = too_large(workbench, [len(content), *(file.size for file in others)], memory_per_byte=CHECKING)
    if large:
        return _verdict("invalid", findings=(f"{name}: {large}",), sha256=sha256)
    parts, gone = fetch(workbench, others)
    check, left = check_new(plan, Part(name, content, line), parts)
    remarks = (*remarks_on([*gone, *left]), *check.remarks, *_unlike_the_live(workbench, plan, content, name))
    if not check.valid:
        return _verdict("invalid", findings=check.findings, remarks=remarks, rows=check.rows, sha256=sha256)
    registry.add_dataset_file(
        plan.model,
        bucket=found["bucket"],
        key=found["key"],
        version_id=found["version_id"],
        sha256=sha256,
        rows=check.rows,
        size=len(content),
        run_id=run_id,
    )
    return _verdict("valid", remarks=remarks, rows=check.rows, sha256=sha256)


def _unlike_the_live(workbench: Workbench, plan: Plan, content: bytes, name: str) -> list[str]:
    """Remarks on values that the live version promises nothing about."""
    deployment = workbench.registry.deployment(plan.model)
    if deployment is None:
        return []
    try:
        contract = parse(workbench.registry.version(plan.model, deployment.champion).manifest.contract)
    except UsageError:
        return []  # a version of another release, or without a contract
    return remarks_on_upload(plan, contract, content, name=name)


def _run_that_learnt(workbench: Workbench, line: DatasetFile) -> Run | None:
    """The run that first brought the bytes, when it came to an end and they are still there to be learnt from.

    A run that failed may be tried again with the same file. So may one whose file was deleted from the bucket since:
    later models did without it.
    """
    try:
        run = workbench.registry.run(line.model, line.run_id)
    except ModelyardError:
        return None
    if run.status not in FINISHED or workbench.uploads.head(line.key, line.version_id) is None:
        return None
    return run


def _verdict(
    status: str,
    *,
    findings: tuple[str, ...] = (),
    remarks: tuple[str, ...] = (),
    rows: int = 0,
    sha256: str = "",
    reason: str = "",
) -> dict[str, Any]:
    return {
        "status": status,
        "findings": listed(findings),
        "remarks": listed(remarks),
        "rows": rows,
        "sha256": sha256,
        "reason": short(reason or "; ".join(listed(findings))),
    }


def conclude_run(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Record how a run ended that brought no live version, and why.

    Of the plan it reads the model's name only: a plan that no step understands is to be recorded too.

    Args:
        workbench: The registry.
        event: ``status``: ``rejected``, ``failed``, ``duplicate`` or ``registered``; ``state``, the workflow's whole
            state; ``plan``; ``run_id``.

    Returns:
        ``status`` and ``reason``.
    """
    model, run_id, status, state = event["plan"]["model"], event["run_id"], event["status"], event["state"]
    reason = _reason(status, state)
    registered = state.get("registered") or {}
    workbench.registry.record_run(model, run_id, status=status, reason=reason, version=registered.get("version"))
    if status in {"rejected", "failed"}:
        workbench.registry.record_outcome(model, status, run_id=run_id, reason=reason, details=_details(state))
    return {"status": status, "reason": reason}


def _reason(status: str, state: dict[str, Any]) -> str:
    """The sentence that explains the end, from the step that decided it."""
    if status == "failed":
        error = state.get("error") or {}
        said = f"{error.get('Error', 'error')}: {_message(str(error.get('Cause', 'no cause was given')))}"
        hint = next((hint for mark, hint in _HINTS.items() if mark in said.lower()), None)
        if hint is None and error.get("Error") == "States.Timeout":
            hint = _HINTS["timed out"]
        return short(said, LONGEST_ERROR) if hint is None else f"{short(said)}; {hint}"
    for step in ("evaluation", "validation"):
        reason = (state.get(step) or {}).get("reason")
        if reason:
            return short(str(reason), LONGEST_ERROR)
    return "no reason was given"


def _message(cause: str) -> str:
    """The message inside the JSON that Lambda makes of an exception; the text itself when it is something else."""
    try:
        document = json.loads(cause)
    except ValueError:
        return cause
    return str(document.get("errorMessage", cause)) if isinstance(document, dict) else cause


def _details(state: dict[str, Any]) -> dict[str, Any]:
    """What the ledger keeps beside the reason: findings on the file or the version, and where the report is."""
    findings = [*_of(state, "validation", "findings"), *_of(state, "evaluation", "findings")]
    report = (state.get("evaluation") or {}).get("report_key")
    return {name: value for name, value in (("findings", findings), ("report", report)) if value}


def _of(state: dict[str, Any], step: str, key: str) -> list[Any]:
    found: list[Any] = (state.get(step) or {}).get(key) or []
    return found
