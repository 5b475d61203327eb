"""What is looked at, one module each: functions from a `Look` to questions (`modelyard.rollout.judging`).

Those about rows take a request's share of them as one value, because rows of one request are alike. Where a check is
judged by slices, each slice is a question of its own. What has nothing to look at asks nothing.
"""

from modelyard.rollout.checks.agreement import agreement
from modelyard.rollout.checks.classes import classes
from modelyard.rollout.checks.errors import errors
from modelyard.rollout.checks.latency import latency
from modelyard.rollout.checks.look import Look
from modelyard.rollout.checks.memory import memory
from modelyard.rollout.checks.quality import quality
from modelyard.rollout.checks.shift import shift
from modelyard.rollout.checks.stability import stability
from modelyard.rollout.judging import Check, ask

CHECKS = (errors, agreement, classes, shift, latency, memory, quality, stability)


def look_at(look: Look) -> list[Check]:
    """Every check, in that order, slices after their whole."""
    return ask([question for check in CHECKS for question in check(look)])
