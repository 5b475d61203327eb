"""The gate: may the challenger become a version? Pure functions of what was measured.

The rule: every check is made and says one sentence with its numbers, whatever the others found, so that nobody learns
of the second problem after having solved the first. What is asked for and cannot be looked at has not passed. The
challenger passes when all checks do; the reason is then the sentence about the improvement, and else what every failed
check said.
"""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from modelyard.evaluation.intervals import Interval, rows_needed, slack_of
from modelyard.evaluation.parity import Parity
from modelyard.evaluation.slices import FEWEST_ROWS, Slice
from modelyard.evaluation.words import number, quoted
from modelyard.metrics import METRICS

Name = Literal["parity", "improvement", "slices", "gap", "latency", "size", "breaking"]
MEGABYTE = 2**20
SHOWN = 3
"""How many slices a sentence names."""


class Check(msgspec.Struct, frozen=True):
    """One thing that the gate looked at, whether it is as it should be, and the numbers in words."""

    name: Name
    passed: bool
    said: str


class Decision(msgspec.Struct, frozen=True):
    """What the gate says, and why in words with numbers."""

    passed: bool
    reason: str


class Gap(msgspec.Struct, frozen=True):
    """The metric on rows that were trained on, on frozen ones, and by how much it is better on the former."""

    training: float | None
    evaluation: float | None
    gap: float | None


def decide(checks: Sequence[Check]) -> Decision:
    """Pass when every check did."""
    failed = [check.said for check in checks if not check.passed]
    if failed:
        return Decision(passed=False, reason="; and ".join(failed))
    return Decision(passed=True, reason=next(check.said for check in checks if check.name == "improvement"))


def check_improvement(
    *,
    challenger: float,
    champion: float | None,
    baseline: float,
    metric: str,
    min_improvement: float,
    interval: Interval,
    rows: int,
) -> Check:
    """Is it surely better by what is asked for?

    A first version must beat the baseline, and is asked for nothing beyond that. After that a challenger must beat the
    champion by ``min_improvement``. Sure means that the lower end of the interval is there.

    Args:
        challenger: The new model's metric.
        champion: The live version's, on the same rows; None when there is none.
        baseline: The metric of answering without learning, on the same rows.
        metric: The metric's name.
        min_improvement: The least improvement that justifies a new version.
        interval: Of the improvement that decides.
        rows: How many rows were evaluated.
    """
    first = champion is None
    opponent = "the baseline without learning" if first else "the champion"
    opposed = baseline if champion is None else champion
    asked = 0.0 if first else min_improvement
    improvement = METRICS[metric].improvement(challenger, opposed)
    said = f"{metric} {number(challenger)} against {number(opposed)} of {opponent} on {rows:,} held-out rows"
    if not math.isfinite(improvement) or interval.low is None or interval.high is None:
        return Check("improvement", passed=False, said=f"{said}: not to be compared")
    slack = slack_of(challenger, opposed)
    passed = interval.low > slack and interval.low >= asked - slack
    said += f": {_says_improvement(improvement, interval, asked, slack, passed=passed)}"
    if passed:
        return Check("improvement", passed=True, said=said)
    if improvement > 0:
        needed = rows_needed(improvement, interval, asked=asked, rows=rows)
        if needed is not None:
            said += f"; about {needed:,} rows would show an improvement of this size"
    return Check("improvement", passed=False, said=said)


def _says_improvement(improvement: float, interval: Interval, asked: float, slack: float, *, passed: bool) -> str:
    sure = f"with {100 * interval.confidence:g} % confidence"
    span = f"({100 * interval.level:.4g} % interval {number(interval.low)} to {number(interval.high)})"
    if abs(improvement) <= slack:
        return "no different"
    if improvement < 0:
        return f"worse by {number(-improvement)} {span}"
    if passed:
        wanted = f", and at least {number(asked)} was asked for" if asked else ""
        return f"better by {number(improvement)}, {sure} by at least {number(interval.low)}{wanted}"
    if improvement < asked - slack:
        return f"better by {number(improvement)} {span}, but {number(asked)} is asked for"
    if interval.low is not None and interval.low > slack:
        return (
            f"better by {number(improvement)}, but {sure} only by at least {number(interval.low)}, and "
            f"{number(asked)} is asked for"
        )
    return f"better by {number(improvement)}, but {sure} chance may explain it {span}"


def check_parity(parity: Parity) -> Check:
    """Is the ONNX file the model that was trained?"""
    if not parity.rows:
        return Check(
            "parity",
            passed=True,
            said="the training gave no answers of its own, so there is nothing to hold the ONNX file against",
        )
    if parity.passed:
        return Check(
            "parity",
            passed=True,
            said=f"the ONNX file answers {parity.rows:,} rows as the trained model did: the largest difference is "
            f"{number(parity.largest)}, and {number(parity.tolerance)} is allowed",
        )
    row = parity.worst[0]
    by = "by more than can be measured" if row.difference is None else f"by {number(row.difference)}"
    return Check(
        "parity",
        passed=False,
        said=f"the ONNX file does not answer as the trained model did: row {row.row} differs {by}, at most "
        f"{number(parity.tolerance)} is allowed (expected {row.expected}, answered {row.answered})",
    )


def check_slices(slices: Sequence[Slice], absent: Sequence[str], *, metric: str, max_loss: float | None) -> Check:
    """Is the model worse for nobody, or by no more than is allowed?

    Args:
        slices: What was measured.
        absent: Columns that should have been sliced and that the frozen rows do not have.
        metric: The metric's name.
        max_loss: Most that a slice may lose; None is no limit.
    """
    gone = ""
    if absent:
        gone = (
            f"the frozen rows lack what is to be sliced: {', '.join(map(quoted, absent))}; a new evaluation set would "
            "have it"
        )
    if not slices:
        return Check("slices", passed=not absent or max_loss is None, said=gone or "no slices are asked for")
    few = sum(one.rows < FEWEST_ROWS for one in slices)
    unjudged = f"; {few} with fewer than {FEWEST_ROWS} rows are not judged" if few else ""
    judged = sorted(
        (one for one in slices if one.judged and one.improvement is not None), key=lambda one: one.improvement or 0.0
    )
    broken = [one for one in slices if not one.passed]
    broken.sort(key=lambda one: -math.inf if one.improvement is None else one.improvement)
    if broken:
        more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        said = (
            f"{len(broken)} of {len(slices)} slices {'lose' if len(broken) > 1 else 'loses'} more {metric} than the "
            f"{number(max_loss)} that is allowed: {', '.join(map(_says_slice, broken[:SHOWN]))}{more}"
        )
    elif all(one.champion is None for one in slices):
        said = f"{len(slices)} slices were looked at; there is no champion to lose against"
    elif not judged:
        said = f"{len(slices)} slices were looked at"
    else:
        limit = "no limit is set" if max_loss is None else f"{number(max_loss)} may be lost"
        said = f"the worst of {len(slices)} slices is {_says_slice(judged[0])}; {limit}"
    passed = not broken and (not absent or max_loss is None)
    return Check("slices", passed=passed, said=f"{said}{unjudged}{f'; {gone}' if gone else ''}")


def _says_slice(one: Slice) -> str:
    improvement = one.improvement
    if improvement is None:
        by = "which cannot be compared"
    elif improvement == 0:
        by = "no different"
    else:
        by = f"{'worse' if improvement < 0 else 'better'} by {number(abs(improvement))}"
    return f"{quoted(one.column)} = {one.value}, {by} ({one.rows:,} rows)"


def check_gap(gap: Gap | None, *, metric: str, max_gap: float | None) -> Check:
    """Is it about as good on new rows as on those that it learnt from?"""
    limit = "no limit is set" if max_gap is None else f"at most {number(max_gap)} is allowed"
    if gap is None:
        said = f"there are no training rows to compare the held-out rows with; {limit}"
        return Check("gap", passed=max_gap is None, said=said)
    sides = f"training rows ({number(gap.training)}) than on held-out rows ({number(gap.evaluation)})"
    if gap.gap is None:
        return Check("gap", passed=max_gap is None, said=f"{metric} is no number on {sides}; {limit}")
    by = f"better by {number(gap.gap)}" if gap.gap > 0 else "no better"
    slack = slack_of(gap.training or 0.0, gap.evaluation or 0.0)
    passed = max_gap is None or gap.gap <= max_gap + slack
    return Check("gap", passed=passed, said=f"{metric} is {by} on {sides}; {limit}")


def check_latency(challenger: float, champion: float | None, *, most: float | None) -> Check:
    """Does one row take no longer than it may? In milliseconds."""
    beside = "" if champion is None else f" (the champion {number(champion)} ms)"
    limit = "no limit is set" if most is None else f"at most {number(most)} ms is allowed"
    return Check(
        "latency",
        passed=most is None or challenger <= most,
        said=f"one row takes {number(challenger)} ms{beside}; {limit}",
    )


def check_size(size_mb: float, *, most: float | None) -> Check:
    """Does the file weigh no more than it may?"""
    limit = "no limit is set" if most is None else f"at most {number(most)} MB is allowed"
    return Check(
        "size", passed=most is None or size_mb <= most, said=f"the ONNX file weighs {number(size_mb)} MB; {limit}"
    )


def check_breaking(breaks: Sequence[str], *, champion: int | None) -> Check:
    """Would callers of the champion still be answered?

    Args:
        breaks: What would break, a sentence each.
        champion: The live version's number, where there is one.
    """
    named = "the champion" if champion is None else f"the champion, version {champion}"
    if breaks:
        said = f"it would break callers of {named}: {'; '.join(breaks)}"
        return Check("breaking", passed=False, said=said)
    return Check("breaking", passed=True, said="nothing that callers rely on is broken")
