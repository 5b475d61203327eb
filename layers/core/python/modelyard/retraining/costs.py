"""What a retraining run costs on AWS: before it starts at the most, after it as measured, and a month on paper.

Prices are AWS's list prices in USD as of November 2026, without free tiers, savings plans, requests to S3 and DynamoDB,
logs and taxes. Sources:

- Lambda, Arm, the first tier; equal in us-east-1 and eu-west-1: https://aws.amazon.com/lambda/pricing/
- Step Functions, Standard; equal in us-east-1 and eu-west-1: https://aws.amazon.com/step-functions/pricing/
- SageMaker training instances in us-east-1: https://aws.amazon.com/sagemaker/pricing/. The seventh generation is a
  fifth above the price of the EC2 instance, as the others are. Other regions cost more (eu-west-1 about an eighth):
  ``training.usd_per_hour`` in model.toml says it exactly, and is taken instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.errors import UsageError
from modelyard.training.plan import LONGEST_FUNCTION_S, Plan, decode_plan

LAMBDA_GB_SECOND = 0.0000133334
LAMBDA_REQUEST = 0.20 / 1_000_000
STATE_TRANSITION = 25 / 1_000_000

_M5, _C5, _R5, _M7I, _C7I = 0.115, 0.102, 0.151, 0.12096, 0.1071
_SIZES = {"large": 1, "xlarge": 2, "2xlarge": 4, "4xlarge": 8}
INSTANCE_HOUR: dict[str, float] = {
    f"ml.{family}.{size}": round(large * factor, 4)
    for family, large in {"m5": _M5, "c5": _C5, "r5": _R5, "m7i": _M7I, "c7i": _C7I}.items()
    for size, factor in _SIZES.items()
} | {
    # AWS rounds these up.
    "ml.m5.2xlarge": 0.461,
    "ml.m5.4xlarge": 0.922,
    "ml.m5.12xlarge": 2.765,
    "ml.m5.24xlarge": 5.53,
    "ml.c5.9xlarge": 1.836,
    "ml.c5.18xlarge": 3.672,
    "ml.r5.2xlarge": 0.605,
    "ml.r5.4xlarge": 1.21,
    "ml.t3.medium": 0.05,
    "ml.t3.large": 0.10,
    "ml.t3.xlarge": 0.20,
    "ml.t3.2xlarge": 0.399,
}
"""USD for an hour of SageMaker Training, by instance."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the workflow: its memory (None: what the training has), how long it usually takes, and may take."""

    memory_mb: int | None
    usual_s: float
    timeout_s: float


STEPS = {
    "claim": Step(512, 0.5, 60),
    "validate": Step(None, 3, 300),
    "turn": Step(512, 0.3, 60),
    "prepare": Step(None, 5, 600),
    "evaluate": Step(1769, 20, 300),
    "register": Step(1769, 10, 120),
    "promote": Step(512, 1, 60),
}
"""All but the training, as ``stacks/retraining_workflow.py`` makes them."""
TRANSITIONS = 20
"""States that a run passes which ends with a new champion and did not have to wait."""
TRANSITIONS_OF_A_LOOK = 3
"""States of one more look at whose turn it is."""


def per_hour(instance: str | None, usd_per_hour: float | None) -> float | None:
    """What an hour of the instance costs, by ``model.toml`` or by the table; None when neither says."""
    return usd_per_hour if usd_per_hour is not None else INSTANCE_HOUR.get(instance or "")


def training_usd(plan: Plan, *, where: str, seconds: float) -> float | None:
    """What so many seconds of training cost; None when the instance's price is not known."""
    if where == "sagemaker":
        hourly = per_hour(plan.training.instance, plan.training.usd_per_hour)
        return None if hourly is None else seconds / 3600 * hourly
    if where == "local":
        return 0.0
    return _function_usd(plan.training.memory_mb, min(seconds, LONGEST_FUNCTION_S))


def worst_case(plan: Plan) -> float | None:
    """The most that a run can cost: every step takes all the time that it has. None: an instance of unknown price."""
    timeout_s, training = plan.training.timeout_s, plan.training
    places = {"lambda": ("lambda",), "sagemaker": ("sagemaker",)}.get(
        training.where, ("lambda",) if training.instance is None else ("lambda", "sagemaker")
    )
    found = [training_usd(plan, where=place, seconds=timeout_s) for place in places]
    known = [usd for usd in found if usd is not None]
    if len(known) < len(found):
        return None
    return max(known) + _steps_usd(plan, usual=False)


def usd_of(plan: Mapping[str, Any], state: Mapping[str, Any]) -> float | None:
    """What a run cost, as far as the workflow's state knows.

    Args:
        plan: The plan as the workflow carries it.
        state: The workflow's state: ``prepared`` with ``where``, ``training`` with ``seconds``.

    Returns:
        USD, the steps beside the training taken as they usually are. None when the run came to no training, or ended in
        it: then nobody knows how long it took.
    """
    prepared, training = (state.get(step) or {} for step in ("prepared", "training"))
    try:
        decoded = decode_plan(dict(plan))
    except UsageError:
        return None
    seconds = training.get("seconds")
    if prepared.get("status") in {"refused", "unchanged"} or training.get("status") == "refused":
        seconds = seconds or 0
    if not isinstance(seconds, int | float):
        return None
    trained = training_usd(decoded, where=str(prepared.get("where") or "lambda"), seconds=seconds)
    return None if trained is None else round(trained + _steps_usd(decoded, usual=True), 6)


@dataclass(frozen=True, slots=True)
class Month:
    """What the runs of a month come to."""

    runs: int
    transitions: int
    gb_seconds: float
    training_hours: float
    transitions_usd: float
    functions_usd: float
    training_usd: float

    @property
    def usd(self) -> float:
        """All of it."""
        return self.transitions_usd + self.functions_usd + self.training_usd


def month_on_paper(plan: Plan, *, seconds: float, runs: int = 30, where: str = "lambda", looks: int = 0) -> Month:
    """What ``runs`` runs cost that each train for ``seconds``, every other step taking its usual time.

    Args:
        plan: The plan; memory and instance count.
        seconds: Of one training.
        runs: In the month; 30 is daily.
        where: ``lambda`` or ``sagemaker``.
        looks: How often each run had to look whether it is its turn, beyond the first time.
    """
    transitions = runs * (TRANSITIONS + TRANSITIONS_OF_A_LOOK * looks)
    gb_seconds = runs * sum(_memory_mb(plan, step) / 1024 * step.usual_s for step in STEPS.values())
    gb_seconds += runs * looks * (STEPS["turn"].memory_mb or 0) / 1024 * STEPS["turn"].usual_s
    requests = runs * (len(STEPS) + looks)
    return Month(
        runs=runs,
        transitions=transitions,
        gb_seconds=gb_seconds,
        training_hours=runs * seconds / 3600,
        transitions_usd=transitions * STATE_TRANSITION,
        functions_usd=gb_seconds * LAMBDA_GB_SECOND + requests * LAMBDA_REQUEST,
        training_usd=runs * (training_usd(plan, where=where, seconds=seconds) or 0.0),
    )


def _steps_usd(plan: Plan, *, usual: bool) -> float:
    functions = sum(
        _function_usd(_memory_mb(plan, step), step.usual_s if usual else step.timeout_s) for step in STEPS.values()
    )
    return functions + TRANSITIONS * STATE_TRANSITION


def _memory_mb(plan: Plan, step: Step) -> int:
    return plan.training.memory_mb if step.memory_mb is None else step.memory_mb


def _function_usd(memory_mb: int, seconds: float) -> float:
    return memory_mb / 1024 * seconds * LAMBDA_GB_SECOND + LAMBDA_REQUEST
