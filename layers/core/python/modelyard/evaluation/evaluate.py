"""The whole of the evaluation: two models and the frozen rows in, a report with a decision out."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from modelyard.evaluation import gate
from modelyard.evaluation.gate import MEGABYTE, Check, Gap
from modelyard.evaluation.importance import Importance, measure_importance
from modelyard.evaluation.intervals import Interval, improvement_interval, score_intervals
from modelyard.evaluation.latency import Clock, latency_ms
from modelyard.evaluation.measures import Calibration, Confusion, Residuals, calibration, confusion, residuals
from modelyard.evaluation.parity import Parity, compare
from modelyard.evaluation.rows import Answers, EvaluationSet, Predict, Sample, answers_of, scorable
from modelyard.evaluation.slices import Slice, measure_slices
from modelyard.metrics import METRICS, Measured, score_all
from modelyard.training.plan import Evaluation

Scores = dict[str, float | None]
Bounds = dict[str, list[float | None]]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an evaluation found; stored with the run and on the version. What is no number is None.

    Attributes:
        passed: Whether the challenger may become a version.
        reason: Why, in words with numbers.
        metric: What decided.
        metrics: All metrics of the task for ``challenger``, ``champion`` (None at the first version) and ``baseline``.
        rows: How many rows were evaluated.
        intervals: 95 % intervals of all metrics, for ``challenger`` and ``champion``.
        improvement: By how much the challenger beats the champion, or the baseline at the first version.
        interval: Of that improvement; its lower end decided.
        checks: What the gate looked at, each with its sentence.
        slices: The metric on parts of the rows.
        parity: Whether the ONNX file answers as the framework did.
        gap: The metric on training rows beside that on frozen ones; None without training rows.
        latency_ms: Milliseconds that the challenger takes for one row.
        champion_latency_ms: And the champion.
        size_mb: What the ONNX file weighs.
        calibration: For classes: how often answers of a probability were right.
        confusion: For classes: which was taken for which.
        residuals: For numbers: what was true and what was answered.
        importance: What each column is worth, the most valuable first.
    """

    passed: bool
    reason: str
    metric: str
    metrics: dict[str, Scores | None]
    rows: int
    intervals: dict[str, Bounds | None]
    improvement: float | None
    interval: Interval
    checks: list[Check]
    slices: list[Slice]
    parity: Parity
    gap: Gap | None
    latency_ms: float
    champion_latency_ms: float | None
    size_mb: float
    calibration: Calibration | None
    confusion: Confusion | None
    residuals: Residuals | None
    importance: list[Importance]


def evaluate(
    rows: EvaluationSet,
    *,
    asked: Evaluation,
    challenger: Predict,
    champion: Predict | None,
    size: int,
    training: Sample | None = None,
    breaks: Sequence[str] = (),
    champion_version: int | None = None,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> Report:
    """Compare, measure and decide.

    Args:
        rows: The frozen rows.
        asked: The plan's ``[evaluation]``: the metric, and what the gate asks for.
        challenger: Answers with the ONNX file that was trained.
        champion: Answers with the live version; None when there is none.
        size: Bytes of the ONNX file.
        training: Some rows that were trained on, 2,000 at most.
        breaks: What the challenger would break for callers, a sentence each.
        champion_version: The live version's number, for sentences.
        seed: Makes everything but the times repeatable.
        clock: Seconds; what the latency is measured with.

    Raises:
        UsageError: When there are no rows, or an answer has another form than the task's. What a predictor raises goes
            through.
    """
    rows.check()
    answered = answers_of(challenger, rows.instances)
    opposing = None if champion is None else answers_of(champion, rows.instances)
    simple = [rows.baseline] * len(rows.instances)
    new, baseline, *rest = scorable(rows.task, rows.truth, answered, simple, *([] if opposing is None else [opposing]))
    reigning = rest[0] if rest else None
    if rows.predictions is None:
        parity = Parity(passed=True, largest=None, tolerance=asked.tolerance, rows=0, worst=())
    else:
        parity = compare(rows.predictions, answered, tolerance=asked.tolerance)
    with np.errstate(over="ignore", invalid="ignore"):  # answers of 1e300 have no square; their metrics become None
        return _report(
            rows,
            asked,
            _Sides(new, reigning, baseline, answered, opposing, challenger, champion),
            parity=parity,
            size=size,
            training=training,
            breaks=breaks,
            champion_version=champion_version,
            seed=seed,
            clock=clock,
        )


@dataclass(frozen=True, slots=True)
class _Sides:
    """Both models and the baseline: as arrays, as predictions, and as what can be asked."""

    challenger: Answers
    champion: Answers | None
    baseline: Answers
    answered: list[Any]
    opposing: list[Any] | None
    ask_challenger: Predict
    ask_champion: Predict | None


def _report(
    rows: EvaluationSet,
    asked: Evaluation,
    sides: _Sides,
    *,
    parity: Parity,
    size: int,
    training: Sample | None,
    breaks: Sequence[str],
    champion_version: int | None,
    seed: int,
    clock: Clock,
) -> Report:
    name, kind = asked.metric, METRICS[asked.metric]
    level = round(2 * asked.confidence - 1, 10)
    new, reigning = sides.challenger, sides.champion
    opposed = sides.baseline if reigning is None else reigning
    interval = improvement_interval(new, opposed, metric=name, level=level, seed=seed)
    slices, absent = measure_slices(
        rows,
        asked.slices,
        challenger=new,
        champion=reigning,
        metric=name,
        max_loss=asked.max_slice_loss,
        level=level,
        seed=seed,
    )
    gap = None if training is None else _gap(rows.task, training, sides.ask_challenger, kind.score(new), name)
    times = [
        None if predict is None else latency_ms(predict, rows.instances, clock=clock)
        for predict in (sides.ask_challenger, sides.ask_champion)
    ]
    took = times[0] or 0.0
    size_mb = size / MEGABYTE
    checks = [
        gate.check_parity(parity),
        gate.check_improvement(
            challenger=kind.score(new),
            champion=None if reigning is None else kind.score(reigning),
            baseline=kind.score(sides.baseline),
            metric=name,
            min_improvement=asked.min_improvement,
            interval=interval,
            rows=len(rows.instances),
        ),
        gate.check_slices(slices, absent, metric=name, max_loss=asked.max_slice_loss),
        gate.check_gap(gap, metric=name, max_gap=asked.max_gap),
        gate.check_latency(took, times[1], most=asked.max_latency_ms),
        gate.check_size(size_mb, most=asked.max_size_mb),
        gate.check_breaking(breaks, champion=champion_version),
    ]
    decision = gate.decide(checks)
    classes = rows.task != "regression"
    return Report(
        passed=decision.passed,
        reason=decision.reason,
        metric=name,
        metrics={
            "challenger": _scores(new),
            "champion": None if reigning is None else _scores(reigning),
            "baseline": _scores(sides.baseline),
        },
        rows=len(rows.instances),
        intervals={
            "challenger": score_intervals(new, seed=seed),
            "champion": None if reigning is None else score_intervals(reigning, seed=seed),
        },
        improvement=_finite(kind.improvement(kind.score(new), kind.score(opposed))),
        interval=interval,
        checks=checks,
        slices=slices,
        parity=parity,
        gap=gap,
        latency_ms=took,
        champion_latency_ms=times[1],
        size_mb=size_mb,
        calibration=calibration(rows.truth, sides.answered, sides.opposing) if classes else None,
        confusion=confusion(rows.truth, sides.answered, sides.opposing) if classes else None,
        residuals=_residuals(new, reigning, seed),
        importance=measure_importance(
            rows.task,
            rows.instances,
            rows.truth,
            sides.answered,
            predict=sides.ask_challenger,
            metric=name,
            row_ms=took,
            seed=seed,
        ),
    )


def _gap(task: str, training: Sample, predict: Predict, evaluated: float, metric: str) -> Gap | None:
    if not training.instances:
        return None
    (learnt,) = scorable(task, training.truth, answers_of(predict, training.instances))
    kind = METRICS[metric]
    score = kind.score(learnt)
    return Gap(_finite(score), _finite(evaluated), _finite(kind.improvement(score, evaluated)))


def _residuals(new: Answers, reigning: Answers | None, seed: int) -> Residuals | None:
    if not isinstance(new, Measured):
        return None
    return residuals(new, reigning if isinstance(reigning, Measured) else None, seed=seed)


def _scores(answers: Answers) -> Scores:
    return {name: _finite(value) for name, value in score_all(answers).items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
