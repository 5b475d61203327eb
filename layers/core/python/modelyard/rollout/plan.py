"""The plan of a rollout: `modelyard.spec_rollout.rollout_plan` as it arrives in a function, typed.

The spec was validated with pydantic at synth; the functions have no pydantic and get JSON, so this is its second, small
shape. Unknown keys are let through: a workflow of tomorrow may say more than a function of today reads.
"""

from typing import Any, Literal

import msgspec

from modelyard.errors import UsageError
from modelyard.rollout.policy import Policy

Approval = Literal["never", "promotion"]


class Shadow(msgspec.Struct, frozen=True):
    """How long the challenger answers unseen; of 0 minutes there is no shadow."""

    minutes: float = 60
    requests: int = 1000


class Step(msgspec.Struct, frozen=True):
    """A share of the requests, in percent, and the least time at it."""

    share: int | float
    minutes: float = 10


class Phase(msgspec.Struct, frozen=True):
    """A part of a rollout: the shadow, or one step.

    ``requests`` is how many may come in the place of ``minutes``; None where only time counts.
    """

    mode: Literal["shadow", "canary"]
    share: int | float = 0
    minutes: float = 0
    requests: int | None = None

    @property
    def said(self) -> str:
        """In words, for sentences."""
        return "the shadow" if self.mode == "shadow" else f"{self.share} % of the requests"


class RolloutPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How one model's versions become the champion."""

    model: str
    shadow: Shadow = Shadow()
    steps: tuple[Step, ...] = (Step(5), Step(25), Step(50))
    approval: Approval = "never"
    judge_every_s: int = 60
    ask_every_s: int = 260
    longest_hours: float = 72
    policy: Policy = Policy()

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The shadow, where there is one, and the steps."""
        shadow = self.shadow
        unseen = [Phase("shadow", 0, shadow.minutes, shadow.requests)] if shadow.minutes > 0 else []
        return (*unseen, *(Phase("canary", step.share, step.minutes) for step in self.steps))


def decode_plan(document: Any) -> RolloutPlan:
    """The plan in a workflow's input.

    Raises:
        UsageError: With code ``invalid_plan``.
    """
    try:
        return msgspec.convert(document, RolloutPlan)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"the rollout's plan cannot be read: {error}",
            code="invalid_plan",
            next_step="Deploy the model's rollout stack again; it writes the plan.",
        ) from error
