"""What was found out about a file before anything is written."""

from dataclasses import dataclass, field
from typing import Any

from modelyard.training.plan import FeatureKind
from modelyard.version import Signature, Task


@dataclass(frozen=True, slots=True)
class ColumnDraft:
    """One column of a CSV.

    Attributes:
        name: As in the header.
        kind: What it is to the model; None when it is left out.
        note: Why it is left out, or what it holds.
        instead: The kind that it could be used as by hand, where it is left out.
    """

    name: str
    kind: FeatureKind | None
    note: str
    instead: FeatureKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingDraft:
    """What only a model has that is trained here.

    Attributes:
        target: The column to predict.
        target_note: Why that one.
        columns: The other columns, in the header's order.
        rows: How many rows there are.
        metric: What decides.
        min_improvement: The least improvement that justifies a version, in the metric's unit.
        min_improvement_note: Where it comes from.
        candidates: Kind and grid of each.
        minimum_rows: What an upload needs at least.
        timeout_s: Deadline of the training function.
        remarks: What the trainer's reader says about the file.
    """

    target: str
    target_note: str
    columns: tuple[ColumnDraft, ...]
    rows: int
    metric: str
    min_improvement: float
    min_improvement_note: str
    candidates: tuple[tuple[str, dict[str, list[Any]]], ...]
    minimum_rows: int
    timeout_s: int = 600
    remarks: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[ColumnDraft, ...]:
        """The columns that the model sees."""
        return tuple(column for column in self.columns if column.kind is not None)

    @property
    def left_out(self) -> tuple[ColumnDraft, ...]:
        """The columns that it does not see."""
        return tuple(column for column in self.columns if column.kind is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A model's folder to be.

    Attributes:
        name: The model's name.
        source: The name of the file that it is made from.
        task: What kind of answer it gives.
        task_note: Why that one.
        file: Where the source is kept, relative to the folder.
        content: Its bytes.
        instances: A first request; empty when there can be none.
        training: For a CSV.
        signature: For an ONNX file.
    """

    name: str
    source: str
    task: Task
    task_note: str
    file: str
    content: bytes = field(repr=False)
    instances: list[dict[str, Any]]
    training: TrainingDraft | None = None
    signature: Signature | None = None
