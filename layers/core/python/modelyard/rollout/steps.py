"""The steps of the rollout workflow, but the judge: begin, move, ask, promote, and the end.

Each may be run again with the same event, whenever it died: what it changes of the deployment has an id that follows
from the rollout's, what it writes down is written by compare-and-set. Whatever happens between two calls of AWS, the
champion answers all requests but at most the share of the present phase or the next one.
"""

from typing import Any, cast

from modelyard.deployment import Change
from modelyard.errors import ConflictError, ModelyardError, UsageError
from modelyard.retraining.bounds import LONGEST_ERROR, LONGEST_REASON, short
from modelyard.retraining.concluding import UNTYPED, message_of
from modelyard.rollout import record
from modelyard.rollout.plan import decode_plan
from modelyard.rollout.record import OUTCOMES, Outcome, Rollout, Step
from modelyard.rollout.workbench import RolloutBench

STOPPED = "the execution ended from outside"


class RolloutFailedError(ModelyardError):
    """The rollout failed, was written down, and nobody has redriven it."""

    code = "rollout_failed"


class AlreadyAnsweredError(ModelyardError):
    """A person had decided before the workflow waited for it."""

    code = "already_answered"


def begin_rollout(bench: RolloutBench, event: dict[str, Any]) -> dict[str, Any]:
    """Take up a rollout that a person started, or claim one for the workflow that started this.

    Args:
        bench: The registry, and the endpoint's alarms.
        event: ``plan``; ``run_id``, the execution's name; ``execution``, what Step Functions says about it; ``state``
            with ``event``, the input: ``version``, and where they are known ``rollout_id`` and ``reason``, as they are
            or in ``detail``.

    Returns:
        ``status``: ``begun``; ``not_begun``, with ``reason``; ``elsewhere``, another execution has it.
    """
    plan, asked, rollout_id = decode_plan(event["plan"]), _asked(event), rollout_id_of(event)
    execution = str(event["execution"]["Id"])
    try:
        claimed = bench.registry.start_rollout(
            plan.model, asked.get("version") or 0, rollout_id=rollout_id, reason=short(str(asked.get("reason") or ""))
        )
        begun = bench.registry.begin_rollout(
            plan.model, claimed.rollout_id, plan=plan, execution=execution, alarms=bench.alarms.firing()
        )
    except (ConflictError, UsageError) as refused:
        status = "elsewhere" if refused.code in ("begun_elsewhere", "rollout_ended") else "not_begun"
        return {
            "status": status, "rollout_id": rollout_id, "version": asked.get("version"), "event": "Rollout Not Begun",
            "reason": short(refused.message),
        }  # fmt: skip
    return answer(begun, "begun", phase=0)


def move_traffic(bench: RolloutBench, event: dict[str, Any]) -> dict[str, Any]:
    """Give the challenger the traffic of the next phase.

    Args:
        bench: The registry.
        event: ``state`` with ``next``, which names the ``phase``; ``plan``; ``run_id``.

    Returns:
        ``status``: ``moved``, with ``wait_s``; or ``back``, when it has ended or somebody changed what is live.
    """
    rollout, following = rollout_of(bench, event), event["state"]["next"]
    if rollout.has_ended:
        return ended_already(rollout)
    phase = int(following.get("phase") or 0)
    try:
        moved = bench.registry.start_phase(rollout, phase, reason=str(following.get("reason") or ""))
    except ConflictError as conflict:
        if conflict.code == "rollout_ended":
            return ended_already(rollout_of(bench, event))
        return answer(rollout, "back", outcome="superseded", cause="changed_by_others", reason=short(conflict.message))
    every_s = 60 if moved.plan is None else moved.plan.judge_every_s
    return answer(moved, "moved", wait_s=every_s)


def ask_person(bench: RolloutBench, event: dict[str, Any]) -> dict[str, Any]:
    """Write down that a person is asked, and the token with which the answer lets the workflow go on at once.

    Args:
        bench: The registry.
        event: ``token``; ``state``; ``plan``; ``run_id``.

    Raises:
        AlreadyAnsweredError: When the answer is there; nobody would send the token.
    """
    rollout, token = rollout_of(bench, event), str(event["token"])
    if rollout.has_ended or (rollout.approval is not None and rollout.approval.answer is not None):
        raise AlreadyAnsweredError("a person has decided already")

    def decide(found: Rollout, change: Change) -> Step:
        if found.approval is not None and found.approval.token == token:
            return Step(found)
        return record.wait_for_person(found, change, token=token)

    asked = bench.registry.change_rollout(
        rollout.model, rollout.rollout_id, decide, reason=str(event["state"]["next"].get("reason") or "")
    )
    if asked.approval is not None and asked.approval.answer is not None:
        raise AlreadyAnsweredError("a person has decided meanwhile")
    return answer(asked, "asked")


def promote_challenger(bench: RolloutBench, event: dict[str, Any]) -> dict[str, Any]:
    """Make the challenger the champion.

    Args:
        bench: The registry.
        event: ``state`` with ``next``, which says why; ``plan``; ``run_id``.

    Returns:
        ``status``: ``promoted``; or ``back``, when it has ended or somebody changed what is live.
    """
    rollout = rollout_of(bench, event)
    if rollout.has_ended and rollout.outcome != "promoted":
        return ended_already(rollout)
    approval = rollout.approval
    needs_person = rollout.plan is not None and rollout.plan.approval == "promotion"
    if needs_person and (approval is None or approval.answer != "approved"):
        raise UsageError("nobody has approved this promotion", code="not_approved")
    reason = str(event["state"]["next"].get("reason") or "")
    try:
        promoted = bench.registry.promote_rollout(rollout, reason=reason)
    except ConflictError as conflict:
        return answer(rollout, "back", outcome="superseded", cause="changed_by_others", reason=short(conflict.message))
    return _told(promoted)


def conclude_rollout(bench: RolloutBench, event: dict[str, Any]) -> dict[str, Any]:
    """Give the champion all the traffic again, and write down how the rollout ended.

    Args:
        bench: The registry.
        event: ``outcome`` ``failed``, or empty where ``state`` says it in ``next``; ``state``; ``execution``; ``plan``,
            of which only the model's name is needed; ``run_id``. With ``ended``, the answer of this step, it ends the
            execution: see `end_as_failed`.

    Returns:
        ``status``: how it ended; ``reason``; ``event``, what people are told; ``redrives``.
    """
    if event.get("ended"):
        return end_as_failed(event)
    outcome, cause, reason = _end(event)
    model, redrives = event["plan"]["model"], _redrives(event)
    rollout = _find(bench, event)
    if rollout is None:  # it failed before it had claimed anything
        told = {"status": outcome, "rollout_id": rollout_id_of(event), "version": None, "reason": reason}
        return {**told, "event": f"Rollout {outcome.capitalize()}", "redrives": redrives, "phase": 0}
    registry = bench.registry
    if rollout.outcome != "promoted":
        registry.take_back(rollout, reason=f"{outcome}: {reason}")
        stopped = registry.was_aborted(rollout)
        if registry.is_promoted(rollout):  # asked for after that: until the traffic is back, it may still be promoted
            outcome, cause, reason = "promoted", None, f"it is live; after that: {reason}"
        elif stopped is not None:  # whoever aborted it died before that was written down
            outcome, cause, reason = "aborted", record.STOPPED, stopped.reason or reason
    ended = registry.end_rollout(
        model, rollout.rollout_id, outcome=outcome, cause=cause, reason=short(reason, LONGEST_REASON)
    )
    return {**_told(ended), "redrives": redrives}


def end_as_failed(event: dict[str, Any]) -> dict[str, Any]:
    """End the execution as a failure; when it is redriven, let it begin again.

    A redrive runs the state again that failed. A ``Fail`` state would only fail again, so the workflow ends with this
    step: it raises what happened, and on a redrive it answers.

    Raises:
        RolloutFailedError: Unless the execution was redriven since.
    """
    ended = event["ended"]
    if _redrives(event) <= int(ended.get("redrives") or 0):
        model = event["plan"]["model"]
        raise RolloutFailedError(ended["reason"], next_step=f"Run 'modelyard rollout status {model}'.")
    return {"status": "again"}


def answer(rollout: Rollout, status: str, **more: Any) -> dict[str, Any]:
    """What a step answers: the same names from each, so that the states after it find them."""
    return {"status": status, "rollout_id": rollout.rollout_id, "version": rollout.version, **more}


def ended_already(rollout: Rollout) -> dict[str, Any]:
    """The answer where the rollout has ended while the workflow went on."""
    reason = rollout.end.reason if rollout.end is not None else ""
    return answer(rollout, "back", outcome=rollout.outcome, cause=rollout.cause, reason=reason)


def rollout_of(bench: RolloutBench, event: dict[str, Any]) -> Rollout:
    """The rollout that an event is about.

    Raises:
        UsageError: When there is none.
    """
    found = _find(bench, event)
    if found is None:
        raise UsageError(
            f"rollout {rollout_id_of(event)!r} of model {event['plan']['model']!r} is not in the registry",
            code="no_rollout",
            next_step="Begin one: 'modelyard rollout start'.",
        )
    return found


def rollout_id_of(event: dict[str, Any]) -> str:
    """The rollout's id: as it was begun, as it was asked for, or the execution's name."""
    known = _state(event).get("next") or {}
    return str(known.get("rollout_id") or _asked(event).get("rollout_id") or event["run_id"])


def _find(bench: RolloutBench, event: dict[str, Any]) -> Rollout | None:
    model = event["plan"]["model"]
    found = bench.registry.rollout_called(model, rollout_id_of(event))
    if found is None and not _state(event):  # an execution that was stopped from outside brings only its name
        found = bench.registry.rollout(model)
    if found is None or (found.execution and not found.execution.endswith(f":{event['run_id']}")):
        return None  # of another execution, which takes care of it
    return found


def _state(event: dict[str, Any]) -> dict[str, Any]:
    return event.get("state") or {}


def _asked(event: dict[str, Any]) -> dict[str, Any]:
    given = _state(event).get("event") or {}
    detail = given.get("detail")
    return detail if isinstance(detail, dict) else given


def _end(event: dict[str, Any]) -> tuple[Outcome, str | None, str]:
    """How it ends, by whom the state says so."""
    state = _state(event)
    if event.get("outcome") == "failed":
        error = state.get("error") or event.get("error") or {}
        kind, said = str(error.get("Error") or "error"), message_of(str(error.get("Cause") or "no cause was given"))
        return "failed", None, short(said if kind == UNTYPED else f"{kind}: {said}", LONGEST_ERROR)
    for name in ("ended", "next"):
        found = state.get(name) or {}
        if found.get("outcome") in OUTCOMES:
            return cast("Outcome", found["outcome"]), found.get("cause"), str(found.get("reason") or "")
    return "failed", None, "the workflow took a turn that it does not have"


def _told(rollout: Rollout) -> dict[str, Any]:
    reason = rollout.end.reason if rollout.end is not None else ""
    status = str(rollout.outcome)
    return answer(
        rollout, status, outcome=rollout.outcome, cause=rollout.cause, reason=reason, phase=0,
        event=f"Rollout {status.capitalize()}",
    )  # fmt: skip


def _redrives(event: dict[str, Any]) -> int:
    """How often the execution was redriven; the local AWS has no redrives and does not count them."""
    return int((event.get("execution") or {}).get("RedriveCount") or 0)
