"""The leaderboard: its lines, their order, and why the first one won, in words."""

from collections import defaultdict
from collections.abc import Iterator

import msgspec
import numpy as np

from modelyard.metrics import METRICS
from modelyard.training.pipeline import KINDS
from modelyard.training.plan import Plan, Setting

BASELINE = "baseline"
SPENT, NOT_LOADED = "time budget", "cannot be loaded"
"""Words of a line's problem by which the remarks find it."""


class Score(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the leaderboard.

    Attributes:
        candidate: Its kind, or ``baseline``.
        settings: The setting that was tried.
        mean: Of the metric over the folds; None when none was finished.
        std: Standard deviation over the folds.
        folds: The metric of each fold; of the final those of all divisions.
        final: Whether it was scored on further divisions, because it might win.
        problem: Why it could not be fitted, or why it was not tried to the end.
        seconds: How long it took.
    """

    candidate: str
    settings: dict[str, Setting]
    mean: float | None = None
    std: float | None = None
    folds: tuple[float, ...] = ()
    final: bool = False
    problem: str | None = None
    seconds: float = 0.0


def winner(leaderboard: list[Score]) -> Score:
    """The best line that learns."""
    return next(score for score in leaderboard if score.candidate != BASELINE)


def describe(score: Score, metric: str) -> str:
    """A line of the leaderboard in words."""
    shown = named(score)
    measured = "" if score.mean is None else f"{metric} {score.mean:.4f} ± {score.std:.4f}"
    return f"{shown}: {'; '.join(part for part in (measured, score.problem) if part) or 'not cross-validated'}"


def in_words(plan: Plan, leaderboard: list[Score]) -> str:
    """Why the winner won.

    It is the best mean, whatever the spread. What chance could have decided is said: of the models simpler than the
    winner, the simplest whose mean is within one standard error of the winner's (Breiman, Friedman, Olshen and Stone,
    "Classification and Regression Trees", 1984, section 3.4.3, who would choose it).
    """
    metric, best = plan.evaluation.metric, winner(leaderboard)
    finished = [score for score in leaderboard if score.problem is None and score.candidate != BASELINE]
    said = [
        f"{describe(best, metric)} over {len(best.folds)} folds ({_listed(best.folds)}) is the best mean of "
        f"{len(finished)} settings that were tried to the end"
    ]
    if len(finished) > 1:
        said.append(f"next is {named(finished[1])} with {finished[1].mean:.4f}")
    simplest = next((score for score in leaderboard if score.candidate == BASELINE and score.mean is not None), None)
    if simplest is not None and simplest.mean is not None and best.mean is not None:
        better = METRICS[metric].improvement(best.mean, simplest.mean) > 0
        said.append(
            f"the baseline without learning has {simplest.mean:.4f}" + ("" if better else ", which is no worse")
        )
    error = _standard_error(best)
    order = list(KINDS)
    near = [
        score
        for score in finished
        if order.index(score.candidate) < order.index(best.candidate)
        and METRICS[metric].improvement(best.mean or 0.0, score.mean or 0.0) <= error
    ]
    if near:
        plain = min(near, key=lambda score: (order.index(score.candidate), rank(plan, score)))
        said.append(f"{named(plain)} ({plain.mean:.4f}) is simpler and within one standard error ({error:.4f})")
    return "; ".join(said)


def rank(plan: Plan, score: Score) -> tuple[int, float]:
    """What a leaderboard is sorted by: in the final, tried to the end, left early, not measured; then the mean."""
    if score.mean is None:
        return 3, 0.0
    group = 2 if score.problem is not None else 0 if score.final else 1
    return group, score.mean if METRICS[plan.evaluation.metric].lower_is_better else -score.mean


def _standard_error(score: Score) -> float:
    return float(np.std(score.folds, ddof=1)) / len(score.folds) ** 0.5 if len(score.folds) > 1 else 0.0


def remarks(leaderboard: list[Score], budget_s: float) -> Iterator[str]:
    """What a person should know: what there was no time for, and what could not be loaded."""
    late = [score for score in leaderboard if score.problem is not None and SPENT in score.problem]
    if late:
        counts: dict[str, int] = defaultdict(int)
        for score in late:
            counts[score.candidate] += 1
        listed = ", ".join(f"{count} of {kind}" for kind, count in counts.items())
        yield (
            f"the time budget of {budget_s:g} s was spent before every setting was tried: {listed} "
            f"{'is' if len(late) == 1 else 'are'} left out (training.budget_s, training.timeout_s)"
        )
    for kind, problem in sorted({(s.candidate, s.problem) for s in leaderboard if NOT_LOADED in (s.problem or "")}):
        yield f"{kind} {problem}"


def named(score: Score) -> str:
    """A candidate with its settings."""
    settings = ", ".join(f"{name}={value}" for name, value in score.settings.items())
    return f"{score.candidate}({settings})" if settings else score.candidate


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
