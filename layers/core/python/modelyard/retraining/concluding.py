"""The end of a run: what is written down, and why, in the words of the step that decided.

A run ends in one of four ways: a version is live or waits for a person; the gate or the data said no; nothing had to be
trained; something broke. The last two steps of the workflow are here, because every end but a promotion takes them.
"""

import json
import traceback
from typing import Any

import msgspec

from modelyard.errors import ModelyardError, NotFoundError, UsageError
from modelyard.registry import Run
from modelyard.retraining.bounds import LONGEST_ERROR, short
from modelyard.retraining.costs import usd_of
from modelyard.retraining.reports import Ending, file_of, read_document
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

FUNCTIONS = {
    "claim": "claim",
    "validation": "validate",
    "prepared": "prepare",
    "training": "train",
    "evaluation": "evaluate",
    "registered": "register",
    "promoted": "promote",
}
"""Whose answer stands where in the state: what a report and ``modelyard logs --step`` call the steps."""

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
        workbench: The registry; the artifact bucket, for the report of a run that the gate did not decide about.
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
        kind, said = error.get("Error", "error"), message_of(str(error.get("Cause", "no cause was given")))
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
    """The key of the run's document: the evaluation's, or one that says why the run did not come so far."""
    state = event["state"]
    steps = (state.get(step) or {} for step in ("evaluation", "prepared"))
    decided = next((str(step["report_key"]) for step in steps if step.get("report_key")), None)
    if status not in {"rejected", "failed"} or (status == "rejected" and decided is not None):
        return decided
    run = _run(workbench, event["plan"]["model"], event["run_id"])
    if status == "failed" and run is not None and run.status == "promoted":
        return decided  # what failed came after that, and the version is live
    try:
        return _ending(workbench, event, status, reason, run, decided).leave(workbench)
    except Exception:
        if status != "failed":
            raise
        traceback.print_exc()  # what broke the run may break this: its record is more than its page
        return decided


def _ending(
    workbench: Workbench, event: dict[str, Any], status: str, reason: str, run: Run | None, decided: str | None
) -> Ending:
    state, failed = event["state"], status == "failed"
    claim, validation = state.get("claim") or {}, state.get("validation") or {}
    if run is not None and not claim:  # an execution that was ended from outside brings no state
        claim = {"object": run.object, "trigger": {"kind": run.trigger}}
    return Ending(
        model=event["plan"]["model"],
        run_id=event["run_id"],
        reason=reason,
        plan=_plan(event["plan"]),
        step=_failed_step(state) if failed else _refusing_step(state),
        failed=failed,
        trigger=claim.get("trigger") or {},
        files=file_of(claim, validation),
        findings=_of(state, "validation", "findings"),
        remarks=[*_of(state, "validation", "remarks"), *_of(state, "prepared", "remarks")],
        created_at="" if run is None else run.started_at,
        version=(state.get("registered") or {}).get("version"),
        evaluated=(read_document(workbench, decided) or {}) if failed and decided is not None else {},
    )


def _run(workbench: Workbench, model: str, run_id: str) -> Run | None:
    try:
        return workbench.registry.run(model, run_id)
    except NotFoundError:
        return None  # its claim failed


def _plan(given: dict[str, Any]) -> dict[str, Any]:
    """The plan with all that it leaves out; as it is, where no step understands it."""
    try:
        plan: dict[str, Any] = msgspec.to_builtins(decode_plan(given))
    except UsageError:
        return given
    return plan


def _failed_step(state: dict[str, Any]) -> str:
    """Whose function failed; empty where the state does not say."""
    if "event" not in state:
        return ""
    step = first_missing(state)
    if step not in {"claim", "validation"} and (state.get("turn") or NOTHING).get("status") != "go":
        return "turn"
    if step == "evaluation" and (state.get("without") or NOTHING) == NOTHING and _of(state, "prepared", "ablation"):
        return "train"  # without the newest file, after the training itself
    return FUNCTIONS[step]


def _refusing_step(state: dict[str, Any]) -> str:
    """Whose function said no: the last that answered."""
    answered = [step for step in STEPS if (state.get(step) or NOTHING) != NOTHING]
    return FUNCTIONS[answered[-1]] if answered else ""


def message_of(cause: str) -> str:
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
