"""First stage: the evaluation document, typed. What is missing is None or empty, what cannot be read is named.

The rule: a key that is not there is not an error, because documents are kept for years and each release adds some. Each
key is read by itself, so one that another release writes differently costs its own section and no other.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from modelyard.pages.words import cut, title
from modelyard.tasks import METRICS

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Metrics = dict[str, float | None]
Bounds = dict[str, tuple[float | None, float | None]]
Side = Literal["challenger", "champion", "baseline"]
Verdict = Literal["promoted", "registered", "rejected", "refused", "failed"]


class Trigger(msgspec.Struct, frozen=True):
    """What started the run."""

    kind: str = ""
    said: str = ""


class File(msgspec.Struct, frozen=True):
    """A training file."""

    bucket: str = ""
    key: str = ""
    version_id: str = ""
    sha256: str = ""
    rows: Count | None = None


class RowCounts(msgspec.Struct, frozen=True):
    """Where the rows of the files went."""

    read: Count | None = None
    duplicates: Count | None = None
    training: Count | None = None
    evaluation: Count | None = None


class Histogram(msgspec.Struct, frozen=True):
    """How many rows of either set lie between neighbouring edges."""

    edges: tuple[float | None, ...] = ()
    training: tuple[float | None, ...] = ()
    evaluation: tuple[float | None, ...] = ()


class Profile(msgspec.Struct, frozen=True):
    """What the values of one column are like."""

    kind: str = ""
    missing: float | None = None
    distinct: Count | None = None
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    median: float | None = None
    histogram: Histogram | None = None
    top: tuple[tuple[Any, float | None, float | None], ...] = ()


class EvaluationSet(msgspec.Struct, frozen=True):
    """The frozen rows."""

    number: Count | None = None
    sha256: str = ""
    rows: Count | None = None
    rule: str = ""
    frozen_at: str = ""


class Trial(msgspec.Struct, frozen=True):
    """A line of the leaderboard."""

    candidate: str = ""
    settings: dict[str, Any] = {}
    mean: float | None = None
    std: float | None = None
    folds: tuple[float | None, ...] = ()
    problem: str | None = None
    seconds: float | None = None


class Training(msgspec.Struct, frozen=True):
    """What the training step wrote down; ``rows`` and ``objects`` are where releases before 0.2 had them."""

    where: str = ""
    why_there: str = ""
    seconds: float | None = None
    candidate: str = ""
    settings: dict[str, Any] = {}
    why: str = ""
    leaderboard: tuple[Trial, ...] = ()
    environment: dict[str, Any] = {}
    rows: RowCounts | None = None
    objects: tuple[File, ...] = ()
    remarks: tuple[str, ...] = ()


class Interval(msgspec.Struct, frozen=True):
    """Where an improvement lies."""

    low: float | None = None
    high: float | None = None
    level: float | None = None
    resamples: Count | None = None


class Check(msgspec.Struct, frozen=True):
    """One thing that the gate looked at."""

    name: str = ""
    passed: bool | None = None
    said: str = ""


class Slice(msgspec.Struct, frozen=True):
    """The rows with one value of one column."""

    column: str = ""
    value: Any = ""
    rows: Count | None = None
    challenger: float | None = None
    champion: float | None = None
    improvement: float | None = None
    low: float | None = None
    high: float | None = None
    passed: bool | None = None
    judged: bool | None = None


class Disagreement(msgspec.Struct, frozen=True):
    """A row that the ONNX file and the framework answer differently."""

    row: Count | None = None
    difference: float | None = None
    expected: Any = None
    answered: Any = None


class Parity(msgspec.Struct, frozen=True):
    """Whether the ONNX file answers as the framework did."""

    passed: bool | None = None
    largest: float | None = None
    tolerance: float | None = None
    rows: Count | None = None
    worst: tuple[Disagreement, ...] = ()


class Gap(msgspec.Struct, frozen=True):
    """By how much the metric is better on rows that were learnt from."""

    training: float | None = None
    evaluation: float | None = None
    gap: float | None = None


class Bin(msgspec.Struct, frozen=True):
    """Rows whose answer had about the same probability."""

    low: float | None = None
    high: float | None = None
    rows: Count | None = None
    predicted: float | None = None
    observed: float | None = None


class Calibration(msgspec.Struct, frozen=True):
    """How often answers of a probability were right."""

    challenger: tuple[Bin, ...] = ()
    champion: tuple[Bin, ...] | None = None


class Confusion(msgspec.Struct, frozen=True):
    """Counts: what was true by row, what was answered by column."""

    classes: tuple[Any, ...] = ()
    challenger: tuple[tuple[Count | None, ...], ...] = ()
    champion: tuple[tuple[Count | None, ...], ...] | None = None


class Residuals(msgspec.Struct, frozen=True):
    """Pairs of what was true and what was answered."""

    challenger: tuple[tuple[float | None, float | None], ...] = ()
    champion: tuple[tuple[float | None, float | None], ...] | None = None


class Importance(msgspec.Struct, frozen=True):
    """By how much the metric suffers when one column is shuffled."""

    feature: str = ""
    loss: float | None = None
    low: float | None = None
    high: float | None = None


class Ablation(msgspec.Struct, frozen=True):
    """What one file changed."""

    file: str = ""
    without: Metrics = {}
    with_: Metrics = msgspec.field(default_factory=dict, name="with")
    improvement: float | None = None
    interval: Interval | None = None
    said: str = ""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The evaluation document.

    ``verdict`` and ``version`` are known after it was written, by whoever shows it, unless the run failed; ``findings``
    are what was wrong with data that was refused; ``step`` is the function of the step that ended a run before the gate
    could decide.
    """

    model: str = ""
    task: str = ""
    run_id: str = ""
    created_at: str = ""
    trigger: Trigger | None = None
    champion: Count | None = None
    verdict: Verdict | None = None
    version: Count | None = None
    step: str = ""
    plan: dict[str, Any] = {}
    files: tuple[File, ...] = ()
    findings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    row_counts: RowCounts | None = None
    profile: dict[str, Profile] = {}
    evaluation_set: EvaluationSet | None = None
    training: Training | None = None
    passed: bool | None = None
    reason: str = ""
    metric: str = ""
    metrics: dict[str, Metrics | None] = {}
    rows: Count | None = None
    intervals: dict[str, Bounds | None] = {}
    improvement: float | None = None
    interval: Interval | None = None
    checks: tuple[Check, ...] = ()
    slices: tuple[Slice, ...] = ()
    parity: Parity | None = None
    gap: Gap | None = None
    latency_ms: float | None = None
    champion_latency_ms: float | None = None
    size_mb: float | None = None
    calibration: Calibration | None = None
    confusion: Confusion | None = None
    residuals: Residuals | None = None
    importance: tuple[Importance, ...] = ()
    breaks: tuple[str, ...] = ()
    ablation: Ablation | None = None
    unreadable: tuple[str, ...] = ()

    def score(self, side: Side, metric: str) -> float | None:
        """A metric of one of those that answered the frozen rows."""
        return (self.metrics.get(side) or {}).get(metric)

    def asked(self, section: str, key: str) -> Any:
        """What the plan says; None where it says nothing."""
        found = self.plan.get(section)
        return found.get(key) if isinstance(found, dict) else None

    def asked_number(self, section: str, key: str) -> float | None:
        """The same, where a number is meant."""
        found = self.asked(section, key)
        return float(found) if isinstance(found, int | float) and abs(found) < 1e300 else None

    @property
    def measure(self) -> str:
        """The metric that decides, in words."""
        return cut(title(self.metric), 60) or "the metric"

    @property
    def opponent(self) -> str:
        """What the challenger was measured against."""
        if not self.metrics.get("champion"):
            return "the baseline without learning"
        return "the champion" if self.champion is None else f"the champion, version {self.champion}"

    @property
    def opposing(self) -> Side:
        """The same, as a side."""
        return "champion" if self.metrics.get("champion") else "baseline"


def read(document: Mapping[str, Any]) -> Document:
    """Read what can be read; `Document.unreadable` names the keys that could not be."""
    found: dict[str, Any] = {}
    unreadable = []
    for field in msgspec.structs.fields(Document):
        value = document.get(field.encode_name)
        if value is None or field.name == "unreadable":
            continue
        try:
            found[field.name] = msgspec.convert(value, field.type, strict=False)
        except (msgspec.ValidationError, UnicodeError, OverflowError, RecursionError):
            unreadable.append(field.encode_name)
    return _from_before(Document(**found, unreadable=tuple(unreadable)))


def _from_before(document: Document) -> Document:
    """A document of an earlier release, with what it has where it stands today."""
    training = document.training
    told: dict[str, Any] = {}
    if training is not None:
        told = {
            "row_counts": document.row_counts or training.rows,
            "files": document.files or training.objects,
            "remarks": document.remarks or (training.remarks if training.rows is not None else ()),
        }
    if not document.task:
        told["task"] = next((task for task, names in METRICS.items() if document.metric in names), "")
    return msgspec.structs.replace(document, **told)
