"""First step: of whatever is delivered, repeated or reordered, each event is worked on by exactly one run."""

from typing import Any

from modelyard.retraining.bounds import short
from modelyard.retraining.triggers import Arrival, Ignored, Started, recognise
from modelyard.retraining.workbench import Workbench
from modelyard.training.plan import Plan, decode_plan


def claim_trigger(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Claim the event that started the workflow, once: an object version, a scheduled time, an alarm, a manual start.

    Args:
        workbench: Registry and data bucket.
        event: ``event``, the workflow's input as it came; ``plan``; ``run_id``.

    Returns:
        ``status``: ``claimed``; ``duplicate``, another run has it; ``ignored``, it starts nothing; or ``superseded``, a
        newer file has the same name, which is recorded as the end of the run. ``reason``; ``trigger``, with ``index``
        in the plan, ``kind``, ``said`` in words and ``ablate``, null when ignored; ``object``, the file when one was
        claimed.
    """
    plan, run_id = decode_plan(event["plan"]), event["run_id"]
    found = recognise(plan, event.get("event"), bucket=workbench.uploads.bucket)
    if isinstance(found, Ignored):
        return _answer("ignored", found.reason)
    if isinstance(found, Arrival):
        return _claim_file(workbench, plan, run_id, found)
    claimant = run_id if found.claim is None else workbench.registry.claim_event(plan.model, found.claim, run_id)
    if claimant != run_id:
        return _answer("duplicate", f"{found.said}, is claimed by run {claimant}", found)
    workbench.registry.record_run(plan.model, run_id, status="running", trigger=found.kind)
    return _answer("claimed", "", found)


def _claim_file(workbench: Workbench, plan: Plan, run_id: str, arrival: Arrival) -> dict[str, Any]:
    bucket, key, started = arrival.bucket, arrival.key, arrival.started
    facts = workbench.uploads.head(key, arrival.version_id)
    if facts is None:
        return _answer("ignored", f"{key!r} is gone: it was deleted before it was read")
    if facts.size == 0:
        return _answer("ignored", f"{key!r} has 0 bytes")
    version_id = facts.version_id
    if not workbench.registry.claim(bucket, key, version_id, run_id):
        claimant = workbench.registry.claimant(bucket, key, version_id)
        return _answer("duplicate", f"version {version_id} of {key!r} is claimed by run {claimant}", started)
    stored = {"bucket": bucket, "key": key, "version_id": version_id, "etag": facts.etag, "size": facts.size}
    run = workbench.registry.record_run(plan.model, run_id, status="running", object=stored, trigger=started.kind)
    newest = next(iter(workbench.uploads.versions(key)), version_id)
    if newest != version_id and run.status == "running":
        reason = short(f"a newer file has the same name: version {newest} of {key!r} replaced {version_id}")
        run = workbench.registry.record_run(plan.model, run_id, status="superseded", reason=reason)
    if run.status == "superseded":
        return _answer("superseded", run.reason, started, stored)
    return _answer("claimed", "", started, stored)


def _answer(
    status: str, reason: str, started: Started | None = None, stored: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "status": status,
        "reason": short(reason),
        "trigger": None if started is None else started.to_json(),
        "object": stored,
    }
