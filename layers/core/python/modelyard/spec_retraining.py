"""The tables of ``model.toml`` that retraining reads: what is trained, what starts it, and how it is judged."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from modelyard import spec_rules
from modelyard.spec_section import Column, KeyPart, PathInside, Section, Setting

Metric = Literal["accuracy", "balanced_accuracy", "f1_macro", "log_loss", "mae", "rmse", "r2"]


Alarm = Literal["drift", "quality"]


class Feature(Section):
    """One column that the model sees."""

    kind: Literal["number", "category", "date", "text"] = Field(
        description="number: missing ones filled in; category: one-hot; date: ISO 8601 text, its place in the year; "
        "text: words, weighed by how rare they are."
    )


Grid = dict[str, Annotated[list[Setting], Field(min_length=1)]]


class Range(Section):
    """Where a setting is drawn from."""

    low: float | int = Field(description="The lowest value; whole numbers stay whole.")
    high: float | int = Field(description="The highest value.")
    log: bool = Field(default=False, description="Draw its logarithm evenly: as many between 1 and 10 as 10 and 100.")


class Candidate(Section):
    """One kind of estimator that the trainer tries, with the settings to search."""

    kind: Literal[
        "logistic_regression",
        "linear_regression",
        "random_forest",
        "gradient_boosting",
        "lightgbm",
        "neural_network",
    ] = Field(description="Which estimator.")
    grid: Grid = Field(
        default_factory=dict,
        description="Settings to try: name = [values]; all combinations. Without grid and space: a built-in space.",
    )
    space: dict[str, Range] = Field(
        default_factory=dict, description="Settings to draw at random: name = { low, high, log }."
    )
    trials: int = Field(default=10, ge=1, le=1000, description="How many draws of a space, each with all of the grid.")


class TrainingSection(Section):
    """How the model is trained: from configuration alone, or by code of the model's own."""

    target: Column = Field(description="The column to predict.")
    features: dict[Column, Feature] = Field(min_length=1, description="The columns the model sees; keys of a request.")
    candidates: list[Candidate] = Field(
        default_factory=list,
        description="What is tried; the best by cross-validation wins. Left out: every kind that fits the task.",
    )
    entry: Annotated[str, AfterValidator(spec_rules.own_entry)] | None = Field(
        default=None,
        description="Code that trains in place of the candidates: 'package.module:function' under python/, or a "
        "notebook in the folder, 'train.ipynb'.",
    )
    data: PathInside = Field(default="data", description="Folder with the training files, in order of their names.")
    folds: int = Field(default=5, ge=2, le=20, description="Cross-validation folds.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Makes a run repeatable.")
    budget_s: int | None = Field(
        default=None,
        ge=1,
        le=432_000,
        description="Time for the search; what is left untried is named. Left out: 6 tenths of timeout_s.",
    )
    where: Literal["auto", "lambda", "sagemaker"] = Field(
        default="auto",
        description="auto: on Lambda where data and time fit, else on SageMaker Training if instance is given.",
    )
    memory_mb: int = Field(default=3008, ge=512, le=10240, description="Memory of the training function.")
    timeout_s: int = Field(
        default=600, ge=30, le=432_000, description="Deadline of the training; a function has 900 s at most."
    )
    instance: Annotated[str, AfterValidator(spec_rules.instance)] | None = Field(
        default=None, description="SageMaker's instance for trainings that Lambda cannot do, such as 'ml.m5.xlarge'."
    )
    usd_per_hour: float | None = Field(
        default=None, gt=0, description="The instance's price where Modelyard does not know it; for spend caps."
    )


class Trigger(Section):
    """What starts a run. One run at a time: what comes meanwhile waits, and what comes while one waits joins it."""

    kind: Literal["upload", "labels", "schedule", "alarm", "manual"] = Field(
        default="upload",
        description="upload: a file arrives; labels: enough labelled rows came; schedule: by the clock; alarm: drift "
        "or quality; manual: 'modelyard train', which needs no trigger but may have limits.",
    )
    prefix: KeyPart | None = Field(
        default=None,
        description="upload, labels: key prefix in the data bucket, starting with '<name>/', which is the default.",
    )
    suffix: KeyPart = Field(default=".csv", description="upload, labels: key suffix.")
    minimum_rows: int = Field(default=1, ge=1, description="upload, labels: a file with fewer rows is rejected.")
    count: int | None = Field(
        default=None, ge=1, description="labels: how many new rows since the last training start the next."
    )
    cron: Annotated[str, AfterValidator(spec_rules.cron)] | None = Field(
        default=None, description="schedule: AWS's six fields, such as '0 3 ? * MON *': Mondays at 03:00."
    )
    timezone: Annotated[str, AfterValidator(spec_rules.timezone)] = Field(
        default="UTC", description="schedule: of the cron expression, such as 'Europe/Berlin'."
    )
    alarms: list[Alarm] = Field(
        default_factory=lambda: list(get_args(Alarm)), min_length=1, description="alarm: which kinds start a run."
    )
    debounce_s: int = Field(
        default=5,
        ge=0,
        le=86_400,
        description="Wait until nothing more has come for this long; ten times as long at most.",
    )
    cooldown_s: int = Field(
        default=0, ge=0, le=31 * 86_400, description="Least time from the start of one training to that of the next."
    )
    monthly_usd: float | None = Field(
        default=None,
        gt=0,
        description="Most that the trainings of a month (UTC) may cost; a run that could exceed it is skipped.",
    )


class Split(Section):
    """Which rows are frozen for evaluation."""

    by: Literal["stratified", "time", "group"] = Field(
        default="stratified",
        description="stratified: the same share of every class, or of every tenth of a number; time: the newest rows; "
        "group: whole groups, so that no group is on both sides.",
    )
    column: Column | None = Field(default=None, description="time, group: the column that holds it; ISO 8601 for time.")


class EvaluationSection(Section):
    """How a challenger is compared with the champion."""

    metric: Metric = Field(description="What decides.")
    holdout: float = Field(
        default=0.2, gt=0, lt=0.9, description="Share of the rows that is frozen for evaluation at the first training."
    )
    split: Split = Field(default_factory=Split, description="Which rows are frozen.")
    min_improvement: float = Field(
        default=0.0, ge=0, description="The least improvement of the metric that justifies a new version."
    )
    confidence: float = Field(
        default=0.95,
        ge=0.5,
        lt=1,
        description="How sure the gate must be of that improvement; 1 minus it is the rate of false promotions.",
    )
    slices: list[Column] = Field(
        default_factory=list,
        max_length=20,
        description="Columns whose values are looked at one by one; numbers in four parts, dates by month.",
    )
    max_slice_loss: float | None = Field(
        default=None, ge=0, description="Most that the metric may lose on any slice; needs slices."
    )
    max_gap: float | None = Field(
        default=None, ge=0, description="Most by which the metric may be better on training rows than on frozen ones."
    )
    max_latency_ms: float | None = Field(
        default=None, gt=0, description="Most that one row may take, as the median of the evaluation step."
    )
    max_size_mb: float | None = Field(default=None, gt=0, description="Most that the ONNX file may weigh.")
    tolerance: float = Field(
        default=1e-3, gt=0, description="Largest difference allowed between ONNX and framework probabilities or values."
    )
