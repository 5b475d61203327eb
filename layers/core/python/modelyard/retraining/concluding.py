"""The end of a run: what is written down, and why, in the words of the step that decided.

A run ends in one of four ways: a version is live or waits for a person; the gate or the data said no; nothing had to be
trained; something broke. The last two steps of the workflow are here, because every end but a promotion takes them.
"""

import json
from typing import Any

from modelyard.errors import ModelyardError
from modelyard.retraining.bounds import LONGEST_ERROR, short
from modelyard.retraining.costs import usd_of
from modelyard.retraining.reports import Refusal, began
from modelyard.retraining.workbench import Workbench
from modelyard.training.plan import decode_plan

QUIET = {
    "prepared": frozenset({"unchanged"}),
    "turn": frozenset({"merged", "skipped", "collected"}),
    "validation": frozenset({"duplicate"}),
    "claim": frozenset({"superseded"}),
}
"""Where a run ends without a training, and without anybody being told: the step that said so, and what it said."""

STEPS = ("claim", "validation", "prepared", "training", "evaluation", "registered", "promoted")
"""What the steps leave in the state, in their order: the first that is missing is where a redrive goes on."""

UNTYPED = "Runtime.HandlerError"
"""What the local AWS calls every exception of a function, whatever its type."""

NOTHING = {"status": "none"}
"""What stands in the state for a step that was not needed."""

_HINTS = {
    "signal: killed": "the step was out of memory: give it more in model.toml (training.memory_mb) and deploy",
    "timed out": "the step was out of time: give it more in model.toml (training.timeout_s) and deploy",
}


class RunFailedError(ModelyardError):
    """The run failed, was written down, and nobody has redriven it."""

    code = "run_failed"


def conclude_run(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Record how a run ended that brought no live version, and why; give its turn to the next.

    Of the plan it needs the model's name only: a plan that no step understands is to be recorded too.

    Args:
        workbench: The registry; the artifact bucket, for the report of data that was refused.
        event: ``status``: ``rejected``, ``failed``, ``registered``, or ``quiet`` where the state says which; ``state``,
            the workflow's whole state; ``execution``, Step Functions' own words about it; ``plan``; ``run_id``. With
            ``conclusion``, which is the answer of this step, it ends the execution: see `end_as_failed`.

    Returns:
        ``status`` and ``reason``; ``report_key``, of the run's document, or None; ``resume_from``, the step with which
        a redrive goes on; ``redrives``.
    """
    if "conclusion" in event:
        return end_as_failed(event)
    model, run_id, status, state = event["plan"]["model"], event["run_id"], event["status"], event["state"]
    if status == "quiet":
        status = _quiet(state)
    reason = _reason(status, state)
    registered = state.get("registered") or {}
    report = _report(workbench, event, status, reason)
    workbench.registry.record_run(
        model,
        run_id,
        status=status,
        reason=reason,
        version=registered.get("version"),
        into=(state.get("turn") or {}).get("into"),
        report=report,
        usd=usd_of(event["plan"], state),
    )
    if status in {"rejected", "failed"}:
        workbench.registry.record_outcome(model, status, run_id=run_id, reason=reason, details=_details(state, report))
    digest = (state.get("prepared") or {}).get("digest")
    if digest is not None and status in {"rejected", "registered"}:
        champion = (state.get("evaluation") or {}).get("champion")
        workbench.registry.record_learnt(
            model, digest, run_id=run_id, status=status, reason=reason, champion=champion,
            version=registered.get("version"),
        )  # fmt: skip
    workbench.registry.release_turn(model, run_id, usd=usd_of(event["plan"], state))
    return {
        "status": status,
        "reason": reason,
        "report_key": report,
        "resume_from": first_missing(state),
        "redrives": _redrives(event),
    }


def first_missing(state: dict[str, Any]) -> str:
    """The step with which a run goes on whose state this is."""
    missing = [step for step in STEPS if (state.get(step) or NOTHING) == NOTHING]
    if "claim" not in missing and not (state["claim"] or {}).get("object"):
        missing = [step for step in missing if step != "validation"]  # no file came
    return missing[0] if missing else STEPS[-1]


def _redrives(event: dict[str, Any]) -> int:
    """How often the execution was redriven; the local AWS has no redrives and does not count them."""
    return int((event.get("execution") or {}).get("RedriveCount") or 0)


def end_as_failed(event: dict[str, Any]) -> dict[str, Any]:
    """End the execution as a failure; when it is redriven, say where it goes on.

    A redrive runs the state again that failed. A ``Fail`` state would only fail again, so the workflow ends with this
    step: it raises what happened, and on a redrive it answers.

    Args:
        event: ``conclusion`` as `conclude_run` answered; ``execution``; ``plan``; ``run_id``.

    Raises:
        RunFailedError: Unless the execution was redriven since.
    """
    conclusion = event["conclusion"]
    if _redrives(event) <= conclusion["redrives"]:
        raise RunFailedError(conclusion["reason"], next_step=f"Run 'modelyard runs {event['plan']['model']}'.")
    return {"from": conclusion["resume_from"]}


def _quiet(state: dict[str, Any]) -> str:
    for step, statuses in QUIET.items():
        status = (state.get(step) or {}).get("status")
        if status in statuses:
            return str(status)
    return "failed"  # the workflow took a turn that it does not have


def _reason(status: str, state: dict[str, Any]) -> str:
    """The sentence that explains the end, from the step that decided it."""
    if status == "failed":
        error = state.get("error") or {}
        kind, said = error.get("Error", "error"), _message(str(error.get("Cause", "no cause was given")))
        if kind != UNTYPED:
            said = f"{kind}: {said}"
        hint = next((hint for mark, hint in _HINTS.items() if mark in said.lower()), None)
        if hint is None and error.get("Error") == "States.Timeout":
            hint = _HINTS["timed out"]
        return short(said, LONGEST_ERROR) if hint is None else f"{short(said)}; {hint}"
    for step in ("evaluation", "training", "prepared", "turn", "validation", "claim"):
        reason = (state.get(step) or {}).get("reason")
        if reason:
            return short(str(reason), LONGEST_ERROR)
    return "no reason was given"


def _report(workbench: Workbench, event: dict[str, Any], status: str, reason: str) -> str | None:
    """The key of the run's document: the evaluation's, or for data that was refused one that says so."""
    state = event["state"]
    for step in ("evaluation", "prepared"):
        key = (state.get(step) or {}).get("report_key")
        if key:
            return str(key)
    if status != "rejected":
        return None
    plan = decode_plan(event["plan"])
    findings = (state.get("validation") or {}).get("findings") or []
    trigger = (state.get("claim") or {}).get("trigger") or {}
    refusal = Refusal(
        model=plan.model, task=plan.task, run_id=event["run_id"], trigger=trigger, reason=reason, plan=plan,
        findings=list(findings), created_at=began(workbench, plan.model, event["run_id"]),
    )  # fmt: skip
    return refusal.leave(workbench)


def _message(cause: str) -> str:
    """The message inside the JSON that Lambda makes of an exception; the text itself when it is something else."""
    try:
        document = json.loads(cause)
    except ValueError:
        return cause
    return str(document.get("errorMessage", cause)) if isinstance(document, dict) else cause


def _details(state: dict[str, Any], report: str | None) -> dict[str, Any]:
    """What the ledger keeps beside the reason: findings on the file or the version, and where the report is."""
    findings = [*_of(state, "validation", "findings"), *_of(state, "evaluation", "findings")]
    return {name: value for name, value in (("findings", findings), ("report", report)) if value}


def _of(state: dict[str, Any], step: str, key: str) -> list[Any]:
    found: list[Any] = (state.get(step) or {}).get(key) or []
    return found
