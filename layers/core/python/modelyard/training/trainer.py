"""The whole of training: rows and a plan in, one ONNX file and what its evaluation needs out.

The rule: a function of its arguments. Nothing is fetched or stored, equal rows and settings give equal bytes, and of
the frozen rows only the features come in, to be answered. The evaluation is a step of its own, with the engine that
serves.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from modelyard.errors import UsageError
from modelyard.training.entry import TrainedModel, TrainingJob, answers_of, as_response, call, checked, classes_of
from modelyard.training.export import to_onnx
from modelyard.training.leaderboard import Score, describe, winner
from modelyard.training.pipeline import KINDS, baseline, build, fit, gaps_of
from modelyard.training.plan import Plan, Setting
from modelyard.training.search import Progress, baseline_score, search
from modelyard.training.table import Table


class TrainingResult(msgspec.Struct, frozen=True):
    """What a training made.

    Attributes:
        model: The bytes of the ONNX file.
        candidate: The kind that won.
        settings: Its settings.
        why: Why it won, in words.
        leaderboard: Everything that was tried, best first, with the baseline.
        predictions: The framework's own answers to the evaluation rows; the ONNX file has to give the same. None where
            the model's own code gave none.
        baseline: The one answer of the model without learning.
        remarks: What the trainer wants a person to know, such as settings that there was no time to try.
    """

    model: bytes
    candidate: str
    settings: dict[str, Setting]
    why: str
    leaderboard: list[Score]
    predictions: list[Any] | None
    baseline: Any
    remarks: tuple[str, ...] = ()


def train(
    plan: Plan,
    training: Table,
    evaluation: Table,
    *,
    progress: Progress = lambda _: None,
    code: Path | None = None,
) -> TrainingResult:
    """Train every candidate, choose, fit the best to all training rows, and convert it; or run the model's own code.

    Args:
        plan: What to train.
        training: The rows to learn from.
        evaluation: The frozen rows, without their target: they are answered, and have no part in anything else.
        progress: Is told, in words, what has just been done.
        code: The folder of the model's own packages, where they are not importable anyway.

    Raises:
        UsageError: With code ``too_few_rows``, ``nothing_fitted`` or ``invalid_plan``; of the model's own code
            ``entry_failed`` or ``wrong_model``.
    """
    _check_rows(plan, training)
    progress(f"{len(training):,} rows to train on, {len(evaluation):,} frozen for evaluation")
    if plan.training.entry is not None:
        job = TrainingJob.of(plan, training, evaluation)
        progress(f"calling {plan.training.entry}")
        return of_own_code(plan, training, evaluation, call(plan.training.entry, job, code=code))
    found = search(plan, training, progress=progress)
    best = winner(found.leaderboard)
    progress(f"best is {describe(best, plan.evaluation.metric)}; fitting it to all training rows")
    result = refit(plan, training, evaluation, candidate=best.candidate, settings=best.settings)
    return msgspec.structs.replace(result, why=found.why, leaderboard=found.leaderboard, remarks=found.remarks)


def refit(
    plan: Plan,
    training: Table,
    evaluation: Table,
    *,
    candidate: str,
    settings: dict[str, Setting],
    code: Path | None = None,
) -> TrainingResult:
    """Train once more what won: the same rows and settings give the same bytes, however long a search would take."""
    if candidate == plan.training.entry:
        return train(plan, training, evaluation, code=code)
    if candidate not in KINDS:
        raise UsageError(
            f"{candidate!r} is no kind of candidate; there are {', '.join(KINDS)}",
            code="invalid_plan",
            next_step="Train the version again with the code that it was trained with.",
        )
    matrix, target = training.matrix(), training.target
    pipeline = fit(build(plan, candidate, settings, gaps=gaps_of(plan, training)), matrix, target)
    return TrainingResult(
        model=to_onnx(plan, pipeline),
        candidate=candidate,
        settings=settings,
        why="asked for by name: no search",
        leaderboard=[],
        predictions=_predictions(plan, pipeline, evaluation.matrix()),
        baseline=_baseline(plan, training),
    )


def of_own_code(
    plan: Plan,
    training: Table,
    evaluation: Table,
    trained: TrainedModel,
    *,
    predictions: list[Any] | None = None,
) -> TrainingResult:
    """What the model's own code made, checked, in the form of every other training.

    Args:
        plan: What was to be trained.
        training: The rows that it learned from.
        evaluation: The rows to be answered.
        trained: What came back.
        predictions: The framework's answers, where they came as a file and not by ``predict``.
    """
    entry = str(plan.training.entry)
    model = checked(plan, trained)
    if predictions is None:
        predictions = answers_of(plan, trained, classes_of(model), evaluation.columns, len(evaluation))
    note = trained.note or "it says nothing about how"
    remarks = () if predictions is not None else (f"{entry} gives no answers of its own: parity cannot be checked",)
    return TrainingResult(
        model=model,
        candidate=entry,
        settings=trained.settings,
        why=f"trained by {entry}: {note}",
        leaderboard=[Score(entry, trained.settings), baseline_score(plan, training)],
        predictions=predictions,
        baseline=_baseline(plan, training),
        remarks=remarks,
    )


def _baseline(plan: Plan, training: Table) -> Any:
    matrix = training.matrix()
    return _predictions(plan, fit(baseline(plan), matrix, training.target), matrix[:1])[0]


def _check_rows(plan: Plan, training: Table) -> None:
    target = training.target
    if plan.classification and len(target) and len(set(target.tolist())) == 1:
        problem = f"all {len(target)} training rows are of class {target[0]!r}; the others are frozen for evaluation"
    elif len(target) < 2:
        problem = f"{len(target)} rows are left to train on; at least 2 are needed"
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
    probabilities = np.asarray(fitted.predict_proba(matrix), dtype=np.float64)
    return as_response(probabilities, fitted.classes_.tolist())
