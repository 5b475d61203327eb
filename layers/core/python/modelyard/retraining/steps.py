"""First and last steps: is the upload new, is it usable; and, where there is no new version, why.

Nothing here needs more than the standard library and numpy.
"""

from typing import Any

from modelyard.errors import ModelyardError
from modelyard.registry import Run
from modelyard.retraining.workbench import Workbench
from modelyard.training.plan import decode_plan
from modelyard.training.table import check_upload

FINISHED = frozenset({"promoted", "registered", "rejected"})
LONGEST_REASON = 2000


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
        return {"status": "duplicate", "reason": f"version {facts.version_id} of {key!r} is claimed by another run"}
    found = {"bucket": bucket, "key": key, "version_id": facts.version_id, "etag": facts.etag, "size": facts.size}
    workbench.registry.record_run(plan.model, run_id, status="running", object=found)
    return {"status": "claimed", "reason": "", "object": found}


def _place(event: Any) -> tuple[str, str, str | None] | str:
    """Bucket, key and version id of an S3 event, or what is wrong with it. EventBridge does not encode keys."""
    try:
        detail = event["detail"]
        bucket, stored = detail["bucket"]["name"], detail["object"]
        key, version_id = stored["key"], stored.get("version-id") or None
    except (KeyError, TypeError, AttributeError) as missing:
        return f"not an S3 event: {missing} is missing"
    if not (isinstance(bucket, str) and isinstance(key, str) and bucket and key):
        return "not an S3 event: bucket or key is not text"
    return bucket, key, version_id if isinstance(version_id, str) else None


def _ignored(reason: str) -> dict[str, Any]:
    return {"status": "ignored", "reason": reason}


def validate_upload(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Check the claimed file against the plan, in words, and add it to the model's data set.

    Args:
        workbench: Registry and data bucket.
        event: ``object`` as claimed; ``plan``; ``run_id``.

    Returns:
        ``status``: ``valid``, ``invalid`` or ``duplicate`` (these bytes were learnt from before); ``findings``;
        ``remarks``; ``rows``; ``sha256``; ``reason``.
    """
    plan, run_id, found = decode_plan(event["plan"]), event["run_id"], event["object"]
    registry, name = workbench.registry, found["key"].rsplit("/", 1)[-1]
    content = workbench.uploads.get(found["key"], found["version_id"])
    if content is None:
        return _verdict("invalid", findings=(f"{name}: is gone: it was deleted before it was read",))
    earlier = registry.dataset_files(plan.model)
    contents = [(file, workbench.uploads.get(file.key, file.version_id)) for file in earlier]
    kept = [(file, body) for file, body in contents if body is not None and body != content]
    check = check_upload(
        plan,
        content,
        name=name,
        earlier=[body for _, body in kept],
        names=[file.key.rsplit("/", 1)[-1] for file, _ in kept],
    )
    if not check.valid:
        return _verdict("invalid", findings=check.findings, remarks=check.remarks, rows=check.rows, sha256=check.sha256)
    file = registry.add_dataset_file(
        plan.model,
        bucket=found["bucket"],
        key=found["key"],
        version_id=found["version_id"],
        sha256=check.sha256,
        rows=check.rows,
        size=len(content),
        run_id=run_id,
    )
    before = _run_that_learnt(workbench, plan.model, file.run_id) if file.run_id != run_id else None
    if before is not None:
        reason = f"run {before.run_id} learnt from these bytes before and ended {before.status}"
        return _verdict("duplicate", rows=check.rows, sha256=check.sha256, reason=reason)
    return _verdict("valid", remarks=check.remarks, rows=check.rows, sha256=check.sha256)


def _run_that_learnt(workbench: Workbench, model: str, run_id: str) -> Run | None:
    """The run that first brought the bytes, when it came to an end; one that failed may be tried again."""
    try:
        run = workbench.registry.run(model, run_id)
    except ModelyardError:
        return None
    return run if run.status in FINISHED else None


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
        "findings": list(findings),
        "remarks": list(remarks),
        "rows": rows,
        "sha256": sha256,
        "reason": reason or "; ".join(findings)[:LONGEST_REASON],
    }


def conclude_run(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Record how a run ended that brought no live version, and why.

    Args:
        workbench: The registry.
        event: ``status``: ``rejected``, ``failed``, ``duplicate`` or ``registered``; ``state``, the workflow's whole
            state; ``plan``; ``run_id``.

    Returns:
        ``status`` and ``reason``.
    """
    plan, run_id, status, state = decode_plan(event["plan"]), event["run_id"], event["status"], event["state"]
    reason = _reason(status, state)[:LONGEST_REASON]
    registered = state.get("registered") or {}
    workbench.registry.record_run(plan.model, run_id, status=status, reason=reason, version=registered.get("version"))
    if status in {"rejected", "failed"}:
        workbench.registry.record_outcome(plan.model, status, run_id=run_id, reason=reason)
    return {"status": status, "reason": reason}


def _reason(status: str, state: dict[str, Any]) -> str:
    """The sentence that explains the end, from the step that decided it."""
    if status == "failed":
        error = state.get("error") or {}
        return f"{error.get('Error', 'error')}: {_message(str(error.get('Cause', 'no cause was given')))}"
    for step in ("evaluation", "validation"):
        reason = (state.get(step) or {}).get("reason")
        if reason:
            return str(reason)
    return "no reason was given"


def _message(cause: str) -> str:
    """The message inside the JSON that Lambda makes of an exception; the text itself when it is something else."""
    import json

    try:
        document = json.loads(cause)
    except ValueError:
        return cause
    return str(document.get("errorMessage", cause)) if isinstance(document, dict) else cause
