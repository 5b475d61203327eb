"""Is it this run's turn to train? The step before everything that costs time and money.

The turn is given back with ``registry.release_turn`` by the steps that end a run.
"""

from typing import Any

from modelyard.retraining.costs import worst_case
from modelyard.retraining.triggers import trigger_of
from modelyard.retraining.turn_records import Asking
from modelyard.retraining.workbench import Workbench
from modelyard.training.plan import Plan, decode_plan


def take_turn(workbench: Workbench, event: dict[str, Any]) -> dict[str, Any]:
    """Ask whether this run may train now. The workflow asks again after ``wait_s`` seconds when it is told to wait.

    What a run was told is remembered by the registry, so its own last answer, ``turn``, is not needed.

    Args:
        workbench: The registry.
        event: ``claim`` and ``validation`` (null where no file came) as those steps answered; ``plan``; ``run_id``.

    Returns:
        ``status``: ``go``; ``wait``, with ``wait_s``; ``merged``, with ``into``, the run that learns from this run's
        file; ``skipped``, it could cost too much; ``collected``, no training starts yet. ``reason``, in words. The last
        three are recorded as the end of the run.
    """
    plan, run_id = decode_plan(event["plan"]), event["run_id"]
    asking = _asking(plan, run_id, event["claim"]["trigger"], event.get("validation") or {})
    answer = workbench.registry.take_turn(plan.model, asking)
    said = {"status": answer.status, "reason": answer.reason}
    more = {"wait_s": answer.wait_s, "into": answer.into}
    return said | {name: value for name, value in more.items() if value is not None}


def _asking(plan: Plan, run_id: str, started: dict[str, Any], validation: dict[str, Any]) -> Asking:
    kind, trigger = started["kind"], trigger_of(plan, started["index"])
    parts = {
        "run_id": run_id,
        "train_s": plan.training.timeout_s,
        "starts": kind != "collect",
        "manual": kind == "manual",
        "rows": int(validation.get("rows") or 0),
        "usd": worst_case(plan),
    }
    if trigger is None:
        return Asking(**parts)
    return Asking(
        **parts,
        debounce_s=trigger.debounce_s,
        cooldown_s=trigger.cooldown_s,
        monthly_usd=trigger.monthly_usd,
        count=trigger.count if kind == "labels" else None,
    )
