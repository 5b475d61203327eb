"""The whole of training: files and a plan in, one ONNX file and what its evaluation needs out.

The rule: a function of its arguments. Nothing is fetched or stored, equal files and plan give equal bytes, and the rows
held out are touched only to be handed over. The evaluation is a step of its own, with the engine that will serve.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from modelyard.contract.document import Contract
from modelyard.errors import UsageError
from modelyard.evaluation import EvaluationSet
from modelyard.training.contract import contract_of
from modelyard.training.export import to_onnx
from modelyard.training.pipeline import baseline, build
from modelyard.training.plan import LABEL, PROBABILITIES, Plan, Setting
from modelyard.training.search import Progress, Score, describe, fit, search, winner
from modelyard.training.table import Table, read_table


class RowCounts(msgspec.Struct, frozen=True):
    """Where the rows went: those read are duplicates, trained on, or held out."""

    read: int
    duplicates: int
    training: int
    evaluation: int


class TrainingResult(msgspec.Struct, frozen=True):
    """What a training run made.

    Attributes:
        model: The bytes of the ONNX file.
        candidate: The kind that won.
        settings: Its settings.
        leaderboard: Everything that was tried, best first, with the baseline.
        rows: Where the rows went.
        evaluation: The held-out rows with the trained pipeline's and the baseline's answers.
        contract: What the data looked like, and so what a version promises to answer.
        remarks: What was repaired in the files or looks odd.
    """

    model: bytes
    candidate: str
    settings: dict[str, Setting]
    leaderboard: list[Score]
    rows: RowCounts
    evaluation: EvaluationSet
    contract: Contract
    remarks: tuple[str, ...]


def train(
    plan: Plan, files: Sequence[bytes], *, names: Sequence[str] = (), progress: Progress = lambda _: None
) -> TrainingResult:
    """Train every candidate, choose, fit the best to all training rows, and convert it.

    Args:
        plan: What to train.
        files: The bytes of the training files, oldest first.
        names: The files' names, for findings.
        progress: Is told, in words, what has just been done.

    Raises:
        UsageError: With code ``invalid_training_data`` and all findings, one a line; ``too_few_rows``;
            ``nothing_fitted``; ``invalid_plan``; ``invalid_contract``.
    """
    reading = read_table(plan, files, names=names)
    table = reading.table
    if table is None:
        raise UsageError(
            "\n".join(reading.findings),
            code="invalid_training_data",
            next_step="Correct the file and upload it again.",
        )
    training, held_out = ~table.evaluation, table.evaluation
    _check_sides(plan, table)
    contract = contract_of(plan, table)  # before hours of training, because it can refuse
    matrix, target = table.matrix(training), table.target[training]
    progress(f"{len(target):,} rows to train on, {int(held_out.sum()):,} held out")
    leaderboard = search(plan, matrix, target, progress=progress)
    best = winner(leaderboard)
    progress(f"best is {describe(best, plan.evaluation.metric)}; fitting it to all training rows")
    pipeline = fit(build(plan, best.candidate, best.settings), matrix, target)
    simplest = fit(baseline(plan), matrix, target)
    read = sum(reading.rows)
    return TrainingResult(
        model=to_onnx(plan, pipeline),
        candidate=best.candidate,
        settings=best.settings,
        leaderboard=leaderboard,
        rows=RowCounts(read, read - len(table), int(training.sum()), int(held_out.sum())),
        evaluation=EvaluationSet(
            task=plan.task,
            instances=table.instances(held_out),
            truth=table.target[held_out].tolist(),
            predictions=_predictions(plan, pipeline, table.matrix(held_out)),
            baseline=_predictions(plan, simplest, matrix[:1])[0],
        ),
        contract=contract,
        remarks=reading.remarks,
    )


def _check_sides(plan: Plan, table: Table) -> None:
    training = table.target[~table.evaluation]
    if plan.classification and len(training) and len(set(training.tolist())) == 1:
        problem = f"all {len(training)} training rows are of class {training[0]!r}; the others are held out"
    elif len(training) < 2:
        problem = f"{len(training)} of {len(table)} rows are left to train on; at least 2 are needed"
    elif len(training) == len(table):
        problem = f"none of {len(table)} rows is held out; at least 1 is needed"
    else:
        return
    raise UsageError(
        problem, code="too_few_rows", next_step="Upload more rows, or change evaluation.holdout in model.toml."
    )


def _predictions(plan: Plan, fitted: Any, matrix: Any) -> list[Any]:
    """A fitted model's answers in the form of a response."""
    if not plan.classification:
        values: list[Any] = np.asarray(fitted.predict(matrix), dtype=np.float64).ravel().tolist()
        return values
    classes = fitted.classes_.tolist()
    probabilities = np.asarray(fitted.predict_proba(matrix), dtype=np.float64)
    return [
        {LABEL: classes[int(row.argmax())], PROBABILITIES: dict(zip(classes, row.tolist(), strict=True))}
        for row in probabilities
    ]
