"""What ``[rollout]`` of a ``model.toml`` has to keep beyond the types of its keys: keys that agree.

Like `modelyard.spec_rules` they read the raw document and say nothing about a value of a wrong type.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from modelyard.tasks import METRICS
from modelyard.toml import Problem, value_at

GRADUAL = ("shadow", "steps", "approval", "judge_every_s", "longest_hours", "policy")
"""Keys that say something in mode ``gradual`` only."""

SHADOW_MINUTES, STEP_MINUTES, STEPS, LONGEST_HOURS = 60.0, 10.0, 3, 72.0
"""Where a document says nothing; a test holds them against the fields."""


def disagreements(document: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong between the keys of ``[rollout]``."""
    rollout = value_at(document, "rollout")
    if not isinstance(rollout, dict):
        return
    mode = rollout.get("mode", "all_at_once")
    if mode == "all_at_once":
        for key in GRADUAL:
            if key in rollout:
                yield f"rollout.{key}", "is for mode = 'gradual'; all_at_once has no steps and no verdict"
        return
    if mode == "gradual":
        yield from _wrong_phases(rollout)
        yield from _wrong_policy(document)


def _wrong_phases(rollout: dict[str, Any]) -> Iterator[Problem]:
    steps, shadow = rollout.get("steps"), rollout.get("shadow")
    unseen = _number(value_at(shadow, "minutes"), SHADOW_MINUTES)
    if unseen == 0 and isinstance(shadow, dict) and "requests" in shadow:
        yield "rollout.shadow.requests", "stands beside minutes = 0, which means no shadow; leave one of them out"
    if steps == [] and unseen == 0:
        yield "rollout.steps", "is empty and there is no shadow: nothing would be tried; use mode = 'all_at_once'"
    shares = [value_at(step, "share") for step in steps] if isinstance(steps, list) else []
    for index, (before, after) in enumerate(pairwise(shares), start=1):
        if _is_number(before) and _is_number(after) and after <= before:
            key = f"rollout.steps[{index}].share"
            yield key, f"{after} does not rise: the step before it has {before}"
    waits = [_number(value_at(step, "minutes"), STEP_MINUTES) for step in steps] if isinstance(steps, list) else None
    total = unseen + (STEPS * STEP_MINUTES if waits is None else sum(waits))
    hours = _number(rollout.get("longest_hours"), LONGEST_HOURS)
    if 0 < hours * 60 <= total:
        yield (
            "rollout.longest_hours",
            f"{hours:g} hours are over before the shadow and the steps can be: they take {total:g} minutes at least",
        )


def _wrong_policy(document: dict[str, Any]) -> Iterator[Problem]:
    task, metric = value_at(document, "model", "task"), value_at(document, "rollout", "policy", "metric")
    if isinstance(task, str) and task in METRICS and isinstance(metric, str):
        others = {name for names in METRICS.values() for name in names}
        if metric in others and metric not in METRICS[task]:
            yield "rollout.policy.metric", f"{metric!r} does not fit task {task!r}; {', '.join(METRICS[task])} do"
    sliced, capture = value_at(document, "rollout", "policy", "slices"), value_at(document, "rollout", "capture")
    redacted = value_at(document, "monitoring", "redact")
    for name in sliced if isinstance(sliced, list) else ():
        if isinstance(redacted, list) and name in redacted:
            yield "rollout.policy.slices", f"{name!r} is redacted by monitoring.redact; a verdict cannot see it"
    if _is_number(capture) and capture == 0:
        yield "rollout.capture", "0 keeps nothing, so a verdict would have nothing to judge by"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any, default: float) -> float:
    return value if _is_number(value) else default
