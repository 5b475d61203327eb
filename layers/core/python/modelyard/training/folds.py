"""Which training rows are scored by which models: the folds of cross-validation.

The rule: folds repeat what the frozen rows were chosen for (`modelyard.training.freezing`). Where whole groups are
frozen, a group is never on both sides of a fold; where the newest rows are frozen, a model is only scored on rows that
are newer than those it learned from. Else the score that chooses would promise more than the evaluation keeps. And as
frozen rows have no twin among the rows to learn from, neither have the rows of a fold: what is asked there is never
known by heart.
"""

import warnings
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit

from modelyard.errors import UsageError
from modelyard.training.plan import Plan
from modelyard.training.table import Table

Rows = NDArray[np.int64]
Fold = tuple[Rows, Rows]

FEW_ALIKE = 0.99
"""Share of different rows above which twins are too few to matter."""

MOST_ALIKE = 5
"""How often a row may be there, in the mean, for its twins to stay together. Where rows are more alike, as with two
columns of a few values each, all that can be asked has been seen, and will be."""


def folds_of(plan: Plan, training: Table, repeat: int = 0) -> list[Fold]:
    """The same folds for every trial: rows to learn from and rows to be scored on.

    Args:
        plan: How many, and what they repeat.
        training: The rows.
        repeat: Other folds of the same kind for each number. By time there is one way only.

    Raises:
        UsageError: With code ``too_few_rows`` when there are not two folds.
    """
    by, column = plan.evaluation.split.by, plan.evaluation.split.column
    if by == "time" and column is not None:
        folds = _newer_and_newer(plan, training.others_or_features(column), training.target)
    elif by == "group" and column is not None:
        folds = _whole_groups(plan, training.others_or_features(column), training.target, repeat)
    else:
        twins = _twins(training)
        if twins is None:
            folds = _any_rows(plan, training.target, repeat)
        else:
            folds = _whole_groups(plan, twins, training.target, repeat)
    if not folds:
        raise UsageError(
            f"{len(training)} training rows are too few; cross-validation needs at least 2"
            + ("" if by == "stratified" else f" {'times' if by == 'time' else 'groups'}"),
            code="too_few_rows",
            next_step="Upload more rows.",
        )
    return folds


def _any_rows(plan: Plan, target: NDArray[Any], repeat: int) -> list[Fold]:
    """At random; stratified where a class has a row for each fold."""
    count = min(plan.training.folds, len(target))
    if count < 2:
        return []
    splitter = StratifiedKFold if _can_be_stratified(plan, target, count) else KFold
    return _split(splitter(count, shuffle=True, random_state=plan.training.seed + repeat), target)


def _twins(training: Table) -> Rows | None:
    """For each row the number of those that say the same without the target; None where hardly any do, or most do."""
    numbers: dict[tuple[Any, ...], int] = {}
    columns = [
        [None if value != value else value for value in column.tolist()]  # no NaN equals another
        for column in (*training.columns.values(), *training.others.values())
    ]
    rows = zip(*columns, strict=True)
    twins = np.array([numbers.setdefault(row, len(numbers)) for row in rows], dtype=np.int64)
    return twins if len(numbers) <= FEW_ALIKE * len(twins) <= FEW_ALIKE * MOST_ALIKE * len(numbers) else None


def _whole_groups(plan: Plan, groups: NDArray[Any], target: NDArray[Any], repeat: int) -> list[Fold]:
    _, numbers = np.unique(groups if groups.dtype == np.int64 else groups.astype(str), return_inverse=True)
    count = min(plan.training.folds, int(numbers.max(initial=-1)) + 1)
    if count < 2:
        return []
    splitter = StratifiedGroupKFold if _can_be_stratified(plan, target, count) else GroupKFold
    return _split(splitter(count, shuffle=True, random_state=plan.training.seed + repeat), target, numbers)


def _newer_and_newer(plan: Plan, times: NDArray[Any], target: NDArray[Any]) -> list[Fold]:
    """Ever more of the oldest rows to learn from, and the next ones to be scored on; rows of one time stay together.

    A fold whose older rows are all of one class teaches nothing and is left out.
    """
    _, ranks = np.unique(times.astype(str), return_inverse=True)
    count = min(plan.training.folds, int(ranks.max(initial=-1)))
    if count < 2:
        return []
    folds = [
        (np.flatnonzero(np.isin(ranks, older)), np.flatnonzero(np.isin(ranks, newer)))
        for older, newer in TimeSeriesSplit(count).split(np.arange(ranks.max() + 1))
    ]
    return [fold for fold in folds if not plan.classification or len(set(target[fold[0]].tolist())) > 1]


def _can_be_stratified(plan: Plan, target: NDArray[Any], count: int) -> bool:
    return plan.classification and max(Counter(target.tolist()).values()) >= count


def _split(splitter: Any, target: NDArray[Any], groups: Rows | None = None) -> list[Fold]:
    with warnings.catch_warnings():
        # A class rarer than the folds is missing from some of them; its rows are scored with probability 0 there.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        return list(splitter.split(np.zeros(len(target)), target, groups))
