"""The plan of a training run: `modelyard.spec.training_plan` as it arrives in a function, typed.

The spec was validated with pydantic at synth; the functions have no pydantic and get JSON, so this is its second, small
shape. Unknown keys are let through: a workflow of tomorrow may say more than a function of today reads.
"""

from typing import Any, Literal

import msgspec

from modelyard.contract.rules import Rules
from modelyard.errors import UsageError

Task = Literal["regression", "binary", "multiclass"]
FeatureKind = Literal["number", "category", "date", "text"]
CandidateKind = Literal[
    "logistic_regression", "linear_regression", "random_forest", "gradient_boosting", "lightgbm", "neural_network"
]
TriggerKind = Literal["upload", "labels", "schedule", "alarm", "manual"]
Setting = float | int | bool | str

LONGEST_FUNCTION_S = 900
"""Seconds that a Lambda function has at most."""

DEFAULT_TIMEOUT_S = 600
"""Seconds that a training has where nothing is said."""

LABEL, PROBABILITIES, PREDICTION = "label", "probabilities", "prediction"
"""Outputs of a trained model: the first two for classes, the third for regression."""


class Feature(msgspec.Struct, frozen=True):
    """One column that the model sees."""

    kind: FeatureKind


class Range(msgspec.Struct, frozen=True):
    """Where a setting is drawn from; whole numbers stay whole."""

    low: int | float
    high: int | float
    log: bool = False


class Candidate(msgspec.Struct, frozen=True):
    """One kind of estimator and the settings to try: all of the grid, with each of ``trials`` draws of the space."""

    kind: CandidateKind
    grid: dict[str, list[Setting]] = {}
    space: dict[str, Range] = {}
    trials: int = 10


class Training(msgspec.Struct, frozen=True):
    """What is trained, on which columns, by what, and where.

    ``candidates`` empty means every kind that fits the task; ``entry`` is code that trains in their place.
    ``budget_s`` None is a share of ``timeout_s``.
    """

    target: str
    features: dict[str, Feature]
    candidates: list[Candidate] = []
    entry: str | None = None
    folds: int = 5
    seed: int = 0
    budget_s: int | None = None
    where: Literal["auto", "lambda", "sagemaker"] = "auto"
    memory_mb: int = 3008
    timeout_s: int = DEFAULT_TIMEOUT_S
    instance: str | None = None
    usd_per_hour: float | None = None


class Split(msgspec.Struct, frozen=True):
    """Which rows are frozen for evaluation; see `modelyard.training.freezing`."""

    by: Literal["stratified", "time", "group"] = "stratified"
    column: str | None = None


class Evaluation(msgspec.Struct, frozen=True):
    """How a challenger is compared with the champion; None is no limit."""

    metric: str
    holdout: float = 0.2
    split: Split = Split()
    min_improvement: float = 0.0
    confidence: float = 0.95
    slices: list[str] = []
    max_slice_loss: float | None = None
    max_gap: float | None = None
    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    tolerance: float = 1e-3


class Trigger(msgspec.Struct, frozen=True):
    """What starts a run, and how often it may; see `modelyard.spec_retraining.Trigger` for the keys."""

    kind: TriggerKind = "upload"
    prefix: str = ""
    suffix: str = ".csv"
    minimum_rows: int = 1
    count: int | None = None
    cron: str | None = None
    timezone: str = "UTC"
    alarms: tuple[Literal["drift", "quality"], ...] = ("drift", "quality")
    debounce_s: int = 5
    cooldown_s: int = 0
    monthly_usd: float | None = None


class About(msgspec.Struct, frozen=True):
    """What the spec says about the model, for people who look for it."""

    description: str = ""
    owner: str = ""
    tags: list[str] = []


class Plan(msgspec.Struct, frozen=True):
    """Everything a retraining run knows about its model."""

    model: str
    task: Task
    training: Training
    evaluation: Evaluation
    contract: Rules = Rules()
    automatic: bool = True
    triggers: tuple[Trigger, ...] = (Trigger(),)
    about: About | None = None

    @property
    def classification(self) -> bool:
        """Whether the answer is a class."""
        return self.task != "regression"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a training file must have: features in their order, target, and what rows are split by."""
        needed = (*self.training.features, self.training.target, *self.evaluation.slices)
        by = self.evaluation.split.column
        return tuple(dict.fromkeys(needed if by is None else (*needed, by)))

    def of_kind(self, kind: FeatureKind) -> list[int]:
        """Positions of the features of one kind."""
        return [at for at, feature in enumerate(self.training.features.values()) if feature.kind == kind]


def time_for_code(plan: Plan) -> float:
    """Seconds that a model's own code has: of the deadline a twentieth stays, to look at what it made and keep it."""
    return 0.95 * plan.training.timeout_s


def decode_plan(document: dict[str, Any]) -> Plan:
    """Read the plan out of a function's event.

    Raises:
        UsageError: With code ``invalid_plan`` and the path of the value at fault.
    """
    try:
        plan = msgspec.convert(document, Plan)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"the training plan is not valid: {error}",
            code="invalid_plan",
            next_step="Deploy the model's stack again: it writes the plan into the workflow.",
        ) from error
    for candidate in plan.training.candidates:
        for setting, values in candidate.grid.items():
            if not values:
                raise UsageError(
                    f"candidate {candidate.kind!r} tries no value of {setting!r}; expected at least one",
                    code="invalid_plan",
                    field="training.candidates",
                    next_step="Give the setting a value in model.toml, or leave it out.",
                )
    taken = [name for name in plan.training.features if name in {LABEL, PROBABILITIES, PREDICTION}]
    if taken:  # in ONNX, inputs and outputs share one namespace
        raise UsageError(
            f"feature {taken[0]!r} has the name of a model's output; {LABEL!r}, {PROBABILITIES!r} and {PREDICTION!r} "
            "are taken",
            code="invalid_plan",
            field=f"training.features.{taken[0]}",
            next_step="Rename the column in the data and in model.toml.",
        )
    return plan
