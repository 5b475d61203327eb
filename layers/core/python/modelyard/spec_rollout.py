"""What a ``model.toml`` says about how a version becomes the champion, and about what is kept of the requests."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from modelyard import spec_rules
from modelyard.spec_retraining import Metric
from modelyard.spec_section import Column, Section

if TYPE_CHECKING:
    from modelyard.spec import ModelSpec


ASKS = 1_000
"""How often a person is asked at most: between two times the judge looks, which needs 13 events of the history."""


def _share(value: float) -> float:
    if not 0 < value < 100 or round(value * 100) / 100 != value:
        raise ValueError(
            f"{value} is not a share of the requests: percent from 0.01 to 99.99, at most two decimals; the promotion "
            "follows the last step by itself"
        )
    return value


class ShadowSection(Section):
    """How long a new version answers beside the champion, unseen."""

    minutes: float = Field(
        default=60, ge=0, le=44_640, description="The least time; 0: no shadow, it begins with the first step."
    )
    requests: int = Field(
        default=1000, ge=1, le=10_000_000, description="So many requests end the shadow before its time is over."
    )


class StepSection(Section):
    """One share of the requests that the new version answers."""

    share: Annotated[float | int, AfterValidator(_share)] = Field(
        description="Percent of the requests, from 0.01 to 99.99; 100 is the promotion, which follows the last step."
    )
    minutes: float = Field(default=10, ge=0, le=44_640, description="The least time at this share.")


class PolicySection(Section):
    """What a verdict asks of the new version before it gets more traffic."""

    confidence: float = Field(
        default=0.95, ge=0.5, lt=1, description="So sure at least that no harmless version is taken back."
    )
    min_samples: int = Field(
        default=200, ge=1, le=10_000_000, description="Requests of a step before it can be passed."
    )
    max_error_rate: float = Field(
        default=0.001, ge=0, le=1, description="Share of the requests that only the new version fails."
    )
    min_agreement: float = Field(
        default=0.8, ge=0, le=1, description="Share of the rows with the champion's answer; 0 asks for none."
    )
    tolerance: float = Field(
        default=0.5, gt=0, description="How far two numbers may differ and agree, in spreads of the champion's answers."
    )
    max_shift: float = Field(default=0.25, gt=0, description="Population stability index of the answers.")
    max_latency_ratio: float = Field(default=1.5, gt=0, description="Time of an answer against the champion's.")
    max_memory_growth_mb: float = Field(default=64, gt=0, description="What it may add to the memory of a process.")
    metric: Metric | None = Field(
        default=None, description="What quality is measured by where labels come; left out, that of [evaluation]."
    )
    max_quality_loss: float | None = Field(
        default=None, ge=0, description="Most that the metric may lose, by labels; left out, it follows the metric."
    )
    slices: list[Column] = Field(
        default_factory=list,
        max_length=20,
        description="Inputs, each value of which is judged by itself; left out, those of [evaluation].",
    )
    min_slice_agreement: float | None = Field(
        default=None, ge=0, le=1, description="As min_agreement, of each slice; left out, it follows it."
    )
    max_slice_loss: float | None = Field(
        default=None, ge=0, description="As max_quality_loss, of each slice; left out, it follows it."
    )


class RolloutSection(Section):
    """How a version becomes the champion."""

    mode: Literal["all_at_once", "gradual"] = Field(
        default="all_at_once",
        description="How traffic moves to a new version; gradual: in steps, each ended by a verdict.",
    )
    automatic: bool = Field(
        default=True, description="When the gate passes, promote or begin the rollout; false: wait for a person."
    )
    shadow: ShadowSection = Field(
        default=ShadowSection(), description="gradual: how long it answers unseen before the first step."
    )
    steps: list[StepSection] = Field(
        default=[StepSection(share=5), StepSection(share=25), StepSection(share=50)],
        max_length=10,
        description="gradual: the shares on the way to 100 %.",
    )
    approval: Literal["never", "promotion"] = Field(
        default="never", description="gradual: whether a person is asked before the promotion."
    )
    judge_every_s: int = Field(
        default=60, ge=5, le=3600, description="gradual: time between two verdicts; later ones come less often."
    )
    longest_hours: float = Field(
        default=72, gt=0, le=744, description="gradual: a rollout that takes longer ends undecided, at the champion."
    )
    policy: PolicySection = Field(default=PolicySection(), description="gradual: what a verdict asks for.")
    routing: Annotated[str, AfterValidator(spec_rules.routing)] = Field(
        default="request",
        description="What stays with one version while several answer: 'request' (nothing), 'caller', "
        "'header:<name>' or 'field:<input>'.",
    )
    capture: float = Field(
        default=1.0, ge=0, le=1, description="Share of the requests kept, and shadowed, while a version is on trial."
    )
    shadow_budget_ms: float = Field(
        default=200.0, gt=0, le=29_000, description="Mean time of a shadow's runs above which it is ended."
    )
    shadow_budget_mb: float = Field(
        default=128.0, gt=0, le=10_240, description="Growth of the process in a shadow's runs above which it is ended."
    )

    @property
    def ask_every_s(self) -> int:
        """How long a question to a person stands, in seconds, before the judge looks again and asks once more."""
        return max(self.judge_every_s, int(self.longest_hours * 3600 / ASKS) + 1)


class MonitoringSection(Section):
    """What is kept of the requests, and what is alarmed on where the environment has alarms."""

    error_rate: float = Field(default=0.01, gt=0, le=1, description="Alarm above this share of failed requests.")
    latency_p99_ms: int = Field(default=1000, ge=1, description="Alarm above this 99th percentile.")
    capture: float = Field(
        default=0.0, ge=0, le=1, description="Share of the requests kept with their answers, in the artifact bucket."
    )
    redact: list[Column] = Field(
        default_factory=list, max_length=100, description="Inputs whose values are never kept: null is, in their place."
    )


def rollout_plan(spec: "ModelSpec", *, approval: bool = False) -> dict[str, Any]:
    """The part of a spec that the functions of a rollout need, as plain JSON.

    Args:
        spec: The model's.
        approval: Whether the environment has a person asked, whatever the spec says.
    """
    section = spec.rollout
    policy = section.policy.model_dump(mode="json", exclude_none=True)
    if spec.evaluation is not None:
        policy.setdefault("metric", spec.evaluation.metric)
        if "slices" not in section.policy.model_fields_set:
            policy["slices"] = [name for name in spec.evaluation.slices if name not in spec.monitoring.redact]
    return {
        "model": spec.model.name,
        **section.model_dump(mode="json", include={"shadow", "steps", "judge_every_s", "longest_hours"}),
        "ask_every_s": section.ask_every_s,
        "approval": "promotion" if approval else section.approval,
        "policy": policy,
    }
