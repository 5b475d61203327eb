"""What the challenger's answers cost more than the champion's, where labels came."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modelyard.evaluation.words import number
from modelyard.metrics import Floats, Rows
from modelyard.rollout.checks.look import FEWEST_OF_A_SLICE, Look, in_slices, of_requests
from modelyard.rollout.judging import Check, Question, state_of, where
from modelyard.rollout.losses import Loss, loss_for
from modelyard.rollout.observations import Side, Table
from modelyard.rollout.sequential import Stream

FEWEST_LABELS = 50
"""Labelled requests from which on quality is judged to be within its limit."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """What labelled rows cost.

    Attributes:
        rows: Which rows of the table.
        champion: What the champion's answers to them cost; empty in the challenger's arm.
        challenger: What the challenger's cost.
        truth: The labels.
    """

    rows: Rows
    champion: Floats
    challenger: Floats
    truth: list[object]


def labelled(look: Look, table: Table, loss: Loss) -> Labelled:
    """The rows of a table that have a label, and what each answer cost."""
    labels = look.observations.labels
    starts = np.searchsorted(table.of, np.arange(len(table)))
    rows: list[int] = []
    truth: list[object] = []
    for place, request in enumerate(table.requests):
        for row in range(len(request.instances)):
            label = labels.get((request.key[1], row))
            if label is not None:
                rows.append(int(starts[place]) + row)
                truth.append(label[1])

    def cost(side: Side | None) -> Floats:
        if side is None:
            return np.zeros(0)
        problems = look.problems(side)
        return np.array([
            loss.of(side.answers[row], one) if not problems[row] else math.nan
            for row, one in zip(rows, truth, strict=True)
        ])  # fmt: skip

    return Labelled(np.array(rows, dtype=np.int64), cost(table.champion), cost(table.challenger), truth)


def quality(look: Look) -> Iterator[Question]:
    """What the challenger's answers cost more than the champion's, where labels came."""
    seen = look.observations
    if look.frozen is None or not seen.labels:
        return
    loss = loss_for(look.policy, look.frozen)
    if loss is None:
        return
    if seen.pairs.challenger is not None:
        found = labelled(look, seen.pairs, loss)
        if loss.name == "mse":
            loss = loss_for(look.policy, look.frozen, found.champion[np.isfinite(found.champion)]) or loss
        more = np.full(len(seen.pairs.of), np.nan)
        if len(found.rows):
            more[found.rows] = np.clip(found.challenger - found.champion, -loss.cap, loss.cap)
        yield _paired_quality(look, loss, of_requests(more, seen.pairs), None, None)
        for column, cut in look.cuts.items():
            shares = in_slices(more, seen.pairs, column, cut, look, "pairs")
            for place, value in enumerate(cut.parts):
                in_slice = shares[:, place]
                in_slice = in_slice[~np.isnan(in_slice)]
                if len(in_slice):
                    yield _paired_quality(look, loss, in_slice, column, value)
    if seen.challenger_arm.challenger is not None and seen.champion_arm.champion is not None:
        yield from _quality_of_arms(look, loss)


def _paired_quality(look: Look, loss: Loss, more: Floats, column: str | None, value: str | None) -> Question:
    samples, needed = len(more), FEWEST_LABELS if column is None else FEWEST_OF_A_SLICE
    limit = loss.limit if column is None else loss.slice_limit

    def answer(ends: Floats) -> Check:
        low, high = ((2 * ends[0] - 1) * loss.cap).tolist()
        mean = float(more.mean()) if samples else 0.0
        return Check(
            name="quality", side="pairs", column=column, value=value, limit=limit, samples=samples, needed=needed,
            state=state_of(mean, low, limit, samples=samples, needed=needed) if samples else "off",
            statistic=mean if samples else None, low=low, high=high,
            said=_quality_said(loss, mean, low, high, samples, limit) + where(column, value),
        )  # fmt: skip

    alpha = look.share("quality", sliced=column is not None, sides=2)
    return Question([Stream.of((more / loss.cap + 1) / 2, alpha)], answer)


def _quality_of_arms(look: Look, loss: Loss) -> Iterator[Question]:
    tables = look.observations.champion_arm, look.observations.challenger_arm
    costs = []
    for table in tables:
        found = labelled(look, table, loss)
        cost = np.full(len(table.of), np.nan)
        if len(found.rows):
            known = found.champion if table.champion is not None else found.challenger
            cost[found.rows] = np.clip(known, 0, _ceiling(loss))
        costs.append(of_requests(cost, table))
    one, two = costs
    if not len(one) or not len(two):
        return
    alpha, top = look.share("quality", sides=2) / 2, _ceiling(loss)

    def answer(ends: Floats) -> Check:
        mean = float(two.mean() - one.mean())
        low, high = float(ends[1, 0] - ends[0, 1]) * top, float(ends[1, 1] - ends[0, 0]) * top
        return Check(
            name="quality", side="arms", limit=loss.limit, samples=len(two), needed=FEWEST_LABELS,
            state=state_of(mean, low, loss.limit, samples=len(two), needed=FEWEST_LABELS),
            statistic=mean, low=low, high=high, said=_quality_said(loss, mean, low, high, len(two), loss.limit),
        )  # fmt: skip

    yield Question([Stream.of(one / top, alpha), Stream.of(two / top, alpha)], answer)


def _ceiling(loss: Loss) -> float:
    """Most that one answer may cost by itself."""
    return loss.cap if loss.name == "accuracy" else 2 * loss.cap


def _quality_said(loss: Loss, mean: float, low: float, high: float, samples: int, limit: float) -> str:
    what = {"accuracy": "errors per row", "log_loss": "nats per row", "mae": "mean absolute error",
            "mse": "mean squared error"}[loss.name]  # fmt: skip
    instead = "" if loss.name == loss.metric else f" (which stands in for {loss.metric})"
    return (
        f"by {samples:,} labelled requests the challenger is {'worse' if mean > 0 else 'better'} by "
        f"{number(abs(mean))} {what}{instead} (interval {number(low)} to {number(high)}); a loss of at most "
        f"{number(limit)} is allowed"
    )
