"""Cross-validation of every candidate's every setting, and of the baseline: the leaderboard.

The rule: all are scored on the same folds by the metric that decides at the gate, and the best mean wins; of equals the
one that is tried first. The baseline is always listed and never chosen: it shows what learning is worth. Only training
rows come in here; the frozen rows have no part in the choice.

Time is shared: candidates take turns, each with its next setting, so that a slow one cannot keep the others from being
tried. Two things save time without changing who wins by more than chance: what grows stops growing when more trees no
longer help, and a setting that is clearly worse than the best so far is left after a few folds (`Race`). What was not
tried stands on the leaderboard with the reason. As long as the budget is not spent, none of it depends on the clock.
"""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from modelyard.errors import UsageError
from modelyard.metrics import METRICS, Labelled, Measured
from modelyard.training.folds import folds_of
from modelyard.training.leaderboard import BASELINE, NOT_LOADED, SPENT, Score, describe, in_words, rank, remarks
from modelyard.training.pipeline import KINDS, Preparation, baseline, estimator, features, fit, gaps_of, grown
from modelyard.training.plan import Plan
from modelyard.training.racing import Race
from modelyard.training.spaces import Path, paths_of
from modelyard.training.table import Table

SHARE_OF_DEADLINE = 0.6
"""Of the deadline, for the search; the rest is for the last fit, its conversion and the reading of the rows."""
REPEATS, FIRST_OF_ALL, MOST_ROWS_OF_A_FINAL = 3, 3, 5_000
"""Divisions into folds that a final looks at, the search's own among them; how many enter beside the best of each kind;
and with how many rows one division tells enough."""
MOST_KEPT_BYTES = 256 * 1024 * 1024
"""Prepared columns that are kept for the next setting; beyond it they are prepared again."""

Progress = Callable[[str], None]
Clock = Callable[[], float]


class Found(msgspec.Struct, frozen=True):
    """What a search came to.

    Attributes:
        leaderboard: Every line: best first, then what was left early, then what could not be fitted or was not tried.
        why: Why the first one won, in words.
        remarks: What a person should know about the search.
    """

    leaderboard: list[Score]
    why: str
    remarks: tuple[str, ...]


def search(plan: Plan, training: Table, *, progress: Progress = lambda _: None, clock: Clock = time.monotonic) -> Found:
    """Score everything.

    Args:
        plan: The candidates, folds, seed, metric and budget.
        training: The rows.
        progress: Is told about each line as it is there.
        clock: Seconds that pass.

    Raises:
        UsageError: When a candidate does not fit the plan, or nothing could be fitted.
    """
    queues = paths_of(plan, len(training))
    total = 1 + sum(len(path.stages) for queue in queues for path in queue)
    trials = _Trials(plan, training, clock=clock)
    scores: list[Score] = []
    for score in trials.run(queues):
        scores.append(score)
        progress(f"{len(scores)}/{total} {describe(score, plan.evaluation.metric)}")
    for at, score in trials.final(scores):
        scores[at] = score
        progress(f"final: {describe(score, plan.evaluation.metric)}")
    leaderboard = sorted(scores, key=lambda score: rank(plan, score))
    if not any(score.problem is None for score in leaderboard if score.candidate != BASELINE):
        problems = "\n".join(describe(score, plan.evaluation.metric) for score in leaderboard)
        raise UsageError(
            f"no candidate could be fitted to {len(training)} rows\n{problems}",
            code="nothing_fitted",
            next_step="Correct the candidates' grids in model.toml, or train on more rows.",
        )
    return Found(leaderboard, in_words(plan, leaderboard), tuple(remarks(leaderboard, budget_of(plan))))


def baseline_score(plan: Plan, training: Table) -> Score:
    """The baseline's line alone, beside a model that was not searched for."""
    return _Trials(plan, training, clock=time.monotonic).baseline()


def answers(plan: Plan, fitted: Any, matrix: NDArray[Any], target: NDArray[Any]) -> Labelled | Measured:
    """What a fitted model answers, beside the truth."""
    with threadpool_limits(limits=1):
        if plan.classification:
            return Labelled.from_matrix(target.tolist(), fitted.predict_proba(matrix), fitted.classes_.tolist())
        return Measured(target, np.asarray(fitted.predict(matrix), dtype=np.float64).ravel())


class _Trials:
    """The running of a search: its folds, what is prepared for them, the race and the clock."""

    def __init__(self, plan: Plan, training: Table, *, clock: Clock) -> None:
        self._plan, self._training, self._clock = plan, training, clock
        self._matrix, self._target = training.matrix(), training.target
        self._gaps = gaps_of(plan, training)
        self._folds = folds_of(plan, training)
        self._race = Race(plan.evaluation.metric, self._folds)
        self._prepared: dict[tuple[Preparation, int], tuple[NDArray[Any], NDArray[Any]]] = {}
        self._kept_bytes = 0
        self._ends = clock() + budget_of(plan)
        self._spent = f"not tried: the {SPENT} of {budget_of(plan):g} s is spent"
        self._slowest: dict[str, float] = defaultdict(float)
        self._something_fitted = False

    def run(self, queues: list[list[Path]]) -> Iterator[Score]:
        """The baseline, and then each candidate's next path in turn."""
        yield self.baseline()
        for turn in itertools.zip_longest(*queues):
            for path in turn:
                if path is not None:
                    for score in self._path(path):
                        self._race.enter(score)
                        yield score

    def final(self, scores: list[Score]) -> Iterator[tuple[int, Score]]:
        """The lines that may still win, with the scores of further folds; where there are few rows.

        Of fifty settings on five folds the best mean is partly luck. So the best of each kind, and the best of all,
        are scored on other divisions of the same rows as well, unless the race says that they are behind.
        """
        if len(self._training) > MOST_ROWS_OF_A_FINAL or self._plan.evaluation.split.by == "time":
            return
        order = [at for at, score in enumerate(scores) if score.problem is None and score.candidate != BASELINE]
        order.sort(key=lambda at: rank(self._plan, scores[at]))
        best_of_kind = {scores[at].candidate: at for at in reversed(order)}
        entered = [at for at in order if at in order[:FIRST_OF_ALL] or at in best_of_kind.values()]
        entered = [at for at in entered if not self._race.is_behind(scores[at].folds)]
        if len(entered) < 2:
            return
        further: dict[int, list[float]] = {at: [] for at in entered}
        began = {at: scores[at].seconds for at in entered}
        for repeat in range(1, REPEATS):
            round_ = self._round(repeat, [scores[at] for at in entered])
            if round_ is None:
                break
            for at, (found, seconds) in zip(entered, round_, strict=True):
                further[at] += found
                began[at] += seconds
        for at in entered:
            if further[at]:
                folds = (*scores[at].folds, *further[at])
                yield (
                    at,
                    msgspec.structs.replace(
                        scores[at],
                        mean=float(np.mean(folds)),
                        std=float(np.std(folds)),
                        folds=folds,
                        final=True,
                        seconds=round(began[at], 3),
                    ),
                )

    def _round(self, repeat: int, entered: list[Score]) -> list[tuple[list[float], float]] | None:
        """Scores of further folds with their seconds; None where the time does not suffice for all who entered."""
        self._prepared.clear()
        self._kept_bytes = 0
        self._folds = folds_of(self._plan, self._training, repeat)
        results: list[tuple[list[float], float]] = []
        for score in entered:
            began, found = self._clock(), []
            for number in range(len(self._folds)):
                if self._clock() >= self._ends:
                    return None
                model = estimator(self._plan, score.candidate, score.settings)
                try:
                    found.append(self._fold(score.candidate, None, model, number))
                except (ValueError, TypeError):  # a fold with one class
                    return None
            results.append((found, self._clock() - began))
        return results

    def baseline(self) -> Score:
        """What is reached without learning."""
        began = self._clock()
        found: list[float] = []
        for train, test in self._folds:
            fitted = fit(baseline(self._plan), self._matrix[train], self._target[train])
            found.append(self._measure(fitted, self._matrix[test], self._target[test]))
        return self._line(Path(BASELINE, {}), None, found, began)

    def _path(self, path: Path) -> Iterator[Score]:
        """Every stage of a path, as long as more trees help and there is time."""
        why_not = self._no_time_for(path.kind)
        if why_not is None:
            try:
                models = [estimator(self._plan, path.kind, path.settings) for _ in self._folds]
            except (ImportError, OSError) as error:
                why_not = f"{NOT_LOADED}: {str(error).splitlines()[0]}"
        if why_not is not None:
            yield from (Score(path.kind, path.at(length), problem=why_not) for length in path.stages)
            return
        began, best = self._clock(), None
        for number, length in enumerate(path.stages):
            score = self._stage(path, length, models, may_be_left=number == len(path.stages) - 1)
            yield score
            worse = best is not None and score.mean is not None and rank(self._plan, score) >= best
            if score.problem is not None or worse:
                problem = score.problem or "not tried: more trees did not help"
                if SPENT in problem:
                    problem = self._spent
                yield from (Score(path.kind, path.at(later), problem=problem) for later in path.stages[number + 1 :])
                break
            best = rank(self._plan, score)
        self._slowest[path.kind] = max(self._slowest[path.kind], self._clock() - began)

    def _stage(self, path: Path, length: int | None, models: list[Any], *, may_be_left: bool) -> Score:
        began = self._clock()
        found: list[float] = []
        problem: str | None = None
        for number in range(len(models)):
            model = models[number]
            if self._something_fitted and self._clock() >= self._ends:
                problem = f"left after {number} of {len(models)} folds: the {SPENT} is spent" if number else self._spent
            elif may_be_left:
                problem = self._race.lost(found)
            if problem is not None:
                break
            try:
                found.append(self._fold(path.kind, length, model, number))
                if may_be_left:
                    models[number] = None  # it grows no further: a forest of each fold may be all the memory there is
            except (ValueError, TypeError) as error:  # a value that the library refuses, or a fold with one class
                problem = str(error).splitlines()[0]
                found.clear()
                break
        if not np.isfinite(found).all():
            problem = f"{self._plan.evaluation.metric} is not a finite number on some fold"
            found.clear()
        self._something_fitted |= problem is None
        return self._line(path, length, found, began, problem)

    def _fold(self, kind: str, length: int | None, model: Any, number: int) -> float:
        train, test = self._folds[number]
        learned, scored = self._columns(KINDS[kind].preparation, number)
        if length is None:
            fitted = fit(clone(model), learned, self._target[train])
        else:
            fitted = grown(model, kind, length, learned, self._target[train])
        return self._measure(fitted, scored, self._target[test])

    def _columns(self, preparation: Preparation, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """The columns of a fold, prepared by what its own training rows say."""
        key = (preparation, number)
        if key in self._prepared:
            return self._prepared[key]
        train, test = self._folds[number]
        steps = features(self._plan, preparation, gaps=self._gaps)
        pair = (
            steps.fit(self._matrix[train]).transform(self._matrix[train]),
            steps.transform(self._matrix[test]),
        )
        if self._kept_bytes + pair[0].nbytes + pair[1].nbytes <= MOST_KEPT_BYTES:
            self._kept_bytes += pair[0].nbytes + pair[1].nbytes
            self._prepared[key] = pair
        return pair

    def _measure(self, fitted: Any, matrix: NDArray[Any], target: NDArray[Any]) -> float:
        return METRICS[self._plan.evaluation.metric].score(answers(self._plan, fitted, matrix, target))

    def _no_time_for(self, kind: str) -> str | None:
        left = self._ends - self._clock()
        if not self._something_fitted or left > self._slowest[kind]:
            return None
        if left <= 0:
            return self._spent
        return f"not tried: {left:.0f} s of the {SPENT} are left, and a setting has taken {self._slowest[kind]:.0f} s"

    def _line(
        self, path: Path, length: int | None, found: list[float], began: float, problem: str | None = None
    ) -> Score:
        return Score(
            path.kind,
            path.at(length),
            mean=float(np.mean(found)) if found else None,
            std=float(np.std(found)) if found else None,
            folds=tuple(found),
            problem=problem,
            seconds=round(self._clock() - began, 3),
        )


def budget_of(plan: Plan) -> float:
    """Seconds that the search may take."""
    budget_s = plan.training.budget_s
    return SHARE_OF_DEADLINE * plan.training.timeout_s if budget_s is None else float(budget_s)
