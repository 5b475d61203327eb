"""Cross-validation of every candidate's every setting, and of the baseline: the leaderboard.

The rule: all are scored on the same folds by the metric that decides at the gate, and the best mean wins; of equals the
one that the plan names first. The baseline is always listed and never chosen: it shows what learning is worth.
Only training rows come in here; the rows held out have no part in the choice.
"""

import itertools
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from modelyard.errors import UsageError
from modelyard.metrics import METRICS, Labelled, Measured
from modelyard.training.pipeline import baseline, build
from modelyard.training.plan import Plan, Setting

BASELINE = "baseline"
Progress = Callable[[str], None]
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


class Score(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the leaderboard.

    Attributes:
        candidate: Its kind, or ``baseline``.
        settings: The setting that was tried.
        mean: Of the metric over the folds; None when it could not be fitted.
        std: Standard deviation over the folds.
        folds: The metric of each fold.
        problem: Why it could not be fitted.
    """

    candidate: str
    settings: dict[str, Setting]
    mean: float | None = None
    std: float | None = None
    folds: tuple[float, ...] = ()
    problem: str | None = None


def search(
    plan: Plan, matrix: NDArray[Any], target: NDArray[Any], *, progress: Progress = lambda _: None
) -> list[Score]:
    """Score everything; best first, what could not be fitted last.

    Args:
        plan: The candidates, folds, seed and metric.
        matrix: The features of the training rows.
        target: Their target.
        progress: Is told about each line as it is there.

    Raises:
        UsageError: When a candidate does not fit the plan, or nothing could be fitted.
    """
    folds = list(_folds(plan, target))
    trials: list[tuple[str, dict[str, Setting], Any]] = [(BASELINE, {}, baseline(plan))]
    for candidate in plan.training.candidates:
        for values in itertools.product(*candidate.grid.values()):
            settings = dict(zip(candidate.grid, values, strict=True))
            trials.append((candidate.kind, settings, build(plan, candidate.kind, settings)))
    scores: list[Score] = []
    for number, (kind, settings, model) in enumerate(trials, start=1):
        score = _score(plan, kind, settings, model, matrix, target, folds)
        scores.append(score)
        progress(f"{number}/{len(trials)} {describe(score, plan.evaluation.metric)}")
    leaderboard = sorted(scores, key=lambda score: _rank(plan, score))
    if all(score.mean is None for score in leaderboard if score.candidate != BASELINE):
        problems = "\n".join(describe(score, plan.evaluation.metric) for score in leaderboard)
        raise UsageError(
            f"no candidate could be fitted to {len(target)} rows:\n{problems}",
            code="nothing_fitted",
            next_step="Correct the candidates' grids in model.toml, or train on more rows.",
        )
    return leaderboard


def winner(leaderboard: list[Score]) -> Score:
    """The best line that learns."""
    return next(score for score in leaderboard if score.candidate != BASELINE)


def describe(score: Score, metric: str) -> str:
    """A line of the leaderboard in words."""
    settings = ", ".join(f"{name}={value}" for name, value in score.settings.items())
    shown = f"{score.candidate}({settings})" if settings else score.candidate
    if score.mean is None:
        return f"{shown}: {score.problem}"
    return f"{shown}: {metric} {score.mean:.4f} ± {score.std:.4f}"


def _folds(plan: Plan, target: NDArray[Any]) -> Iterator[Fold]:
    """The same folds for every trial: stratified where a class has a row for each fold."""
    count = min(plan.training.folds, len(target))
    if count < 2:
        raise UsageError(
            f"{len(target)} training rows are too few; cross-validation needs at least 2",
            code="too_few_rows",
            next_step="Upload more rows.",
        )
    stratified = plan.classification and max(Counter(target.tolist()).values()) >= count
    splitter = (StratifiedKFold if stratified else KFold)(count, shuffle=True, random_state=plan.training.seed)
    with warnings.catch_warnings():
        # A class rarer than the folds is missing from some of them; its rows are scored with probability 0 there.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        yield from splitter.split(np.zeros(len(target)), target)


def _score(
    plan: Plan,
    kind: str,
    settings: dict[str, Setting],
    model: Any,
    matrix: NDArray[Any],
    target: NDArray[Any],
    folds: list[Fold],
) -> Score:
    metric = METRICS[plan.evaluation.metric]
    found: list[float] = []
    for train, test in folds:
        try:
            fitted = fit(clone(model), matrix[train], target[train])
            found.append(metric.score(answers(plan, fitted, matrix[test], target[test])))
        except ValueError as error:  # a value that scikit-learn refuses, or a fold with one class
            return Score(kind, settings, problem=str(error).splitlines()[0])
    if not np.isfinite(found).all():
        return Score(kind, settings, problem=f"{plan.evaluation.metric} is not a finite number on some fold")
    return Score(kind, settings, float(np.mean(found)), float(np.std(found)), tuple(found))


def fit(model: Any, matrix: NDArray[Any], target: NDArray[Any]) -> Any:
    """Fit quietly, on one thread.

    Quietly, because a solver that stops at its limit of iterations is judged by its score like any other. On one
    thread, because sums then come out the same on every machine, and because OpenMP's threads spin while they wait for
    a core of which a function has a share only.
    """
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(matrix, target)


def answers(plan: Plan, fitted: Any, matrix: NDArray[Any], target: NDArray[Any]) -> Labelled | Measured:
    """What a fitted model answers, beside the truth."""
    with threadpool_limits(limits=1):
        if plan.classification:
            return Labelled.from_matrix(target.tolist(), fitted.predict_proba(matrix), fitted.classes_.tolist())
        return Measured(target, np.asarray(fitted.predict(matrix), dtype=np.float64).ravel())


def _rank(plan: Plan, score: Score) -> float:
    if score.mean is None:
        return float("inf")
    return score.mean if METRICS[plan.evaluation.metric].lower_is_better else -score.mean
