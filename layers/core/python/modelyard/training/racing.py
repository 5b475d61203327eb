"""A race among settings: who is clearly worse than the best so far need not run to the end."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from modelyard.metrics import METRICS
from modelyard.training.folds import Fold
from modelyard.training.leaderboard import Score, named

CONFIDENCE = 0.95
"""How sure a race must be that a setting is worse."""


class Race:
    """Whether a setting is clearly worse than the best so far, seen from the folds that both have.

    A one-sided t-test of the differences on equal folds, as racing algorithms use it (Maron and Moore, "Hoeffding
    Races", NIPS 1993; López-Ibáñez et al., "The irace package", Operations Research Perspectives 3, 2016). Folds share
    training rows, so differences vary less than those of fresh data would; their variance is corrected for that
    (Nadeau and Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003).
    """

    def __init__(self, metric: str, folds: list[Fold]) -> None:
        self._metric, self._folds = METRICS[metric], len(folds)
        self._shared = float(np.mean([len(scored) / len(learned) for learned, scored in folds]))
        self._leader: Score | None = None

    def enter(self, score: Score) -> None:
        """Let a setting that was tried to the end lead, if it is the best."""
        if score.mean is None or score.problem is not None or len(score.folds) < self._folds:
            return
        if self._leader is None or self._metric.improvement(score.mean, self._leader.mean or 0.0) > 0:
            self._leader = score

    def lost(self, folds: list[float]) -> str | None:
        """Why it is not worth going on, in words; None to go on."""
        done = len(folds)
        if not 2 <= done < self._folds or self._leader is None or not self.is_behind(folds):
            return None
        lead = float(np.mean(self._lead(self._leader, folds)))
        return f"left after {done} of {self._folds} folds: on them {named(self._leader)} is better by {lead:.4f}"

    def is_behind(self, folds: Sequence[float]) -> bool:
        """Whether these folds say with confidence that the best so far is better."""
        if self._leader is None or len(folds) < 2:
            return False
        done, lead = len(folds), self._lead(self._leader, folds)
        error = float(np.std(lead, ddof=1)) * (1 / done + self._shared) ** 0.5
        return bool(np.mean(lead) - float(stdtrit(done - 1, CONFIDENCE)) * error > 0)

    def _lead(self, leader: Score, folds: Sequence[float]) -> NDArray[np.float64]:
        return np.array([self._metric.improvement(led, own) for led, own in zip(leader.folds, folds, strict=False)])
