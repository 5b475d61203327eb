"""One look at everything, and what all checks take from it: the champion's form, problems, shares of requests."""

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from modelyard.metrics import Floats, Rows
from modelyard.rollout.answers import FORMS, PROBLEMS
from modelyard.rollout.judging import SHARES, Name
from modelyard.rollout.observations import Flags, Observations, Side, Table
from modelyard.rollout.policy import Policy
from modelyard.rollout.slicing import Cut, Frozen, places

FEWEST_OF_A_SLICE = 30
"""Requests in a slice from which on it is judged to be within its limit."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at everything: the columns, the limits, what was frozen, and where the step began."""

    observations: Observations
    policy: Policy
    frozen: Frozen | None
    since: str | None

    @property
    def form(self) -> int:
        """The champion's form, as an index into `FORMS`: the frozen one, or that of most of its answers so far."""
        if self.frozen is not None:
            return FORMS.index(self.frozen.form)
        counts = np.zeros(len(FORMS))
        for side in (self.observations.pairs.champion, self.observations.champion_arm.champion):
            if side is not None:
                counts += np.bincount(side.form[side.problem == 0], minlength=len(FORMS))
        return int(counts.argmax()) if counts.any() else -1

    def share(self, name: Name, *, sliced: bool = False, sides: int = 1) -> float:
        """What one interval of a check may go wrong."""
        found = self.policy.alpha * SHARES[name] / sides
        parts = sum(len(cut.parts) for cut in self.cuts.values())
        if name not in ("errors", "agreement", "quality") or not self.policy.slices:
            return found
        return found / 2 / parts if sliced and parts else found / 2

    @property
    def cuts(self) -> dict[str, Cut]:
        """How each column is cut; empty before anything is frozen."""
        return {} if self.frozen is None else self.frozen.cuts

    def problems(self, side: Side) -> Rows:
        """Why each of a side's answers is of no use, as an index into `PROBLEMS`; compared with the champion's form."""
        found = side.problem.astype(np.int64)
        if self.form < 0:
            return found
        kinds = self._kinds
        other = (found == 0) & (side.form != self.form)
        found[other] = PROBLEMS.index("wrong_type")
        if kinds is not None:
            table = np.array([_unlike(kind, kinds, FORMS[self.form]) for kind in self.observations.kinds])
            found = np.where(found == 0, table[side.kind], found)
        return found

    @property
    def _kinds(self) -> set[object] | None:
        """What the champion's answers share; None where forms have nothing to share."""
        if FORMS[self.form] not in ("vector", "label", "classes"):
            return None
        named = list(self.observations.kinds)
        found: set[object] = set()
        for side in (self.observations.pairs.champion, self.observations.champion_arm.champion):
            if side is not None:
                found |= {named[kind] for kind in np.unique(side.kind[(side.problem == 0) & (side.form == self.form)])}
        return found


def _unlike(kind: object, known: set[object], form: str) -> int:
    """Which problem an answer of a kind has beside a champion that has others."""
    if not known or kind in known:
        return 0
    if form == "vector":
        return PROBLEMS.index("wrong_shape")
    if form == "label":
        return PROBLEMS.index("wrong_type")
    types = {one[0] for one in known if isinstance(one, tuple)}
    classes = frozenset().union(*(one[1] for one in known if isinstance(one, tuple)))
    if not isinstance(kind, tuple) or kind[0] not in types:
        return PROBLEMS.index("wrong_type")
    if kind[1] - classes:
        return PROBLEMS.index("unknown_class")
    return PROBLEMS.index("class_missing")


def worst(rows: Flags, of: Rows, requests: int) -> Floats:
    """1 for each request with such a row, else 0."""
    return (np.bincount(of[rows], minlength=requests) > 0).astype(np.float64)


def of_requests(rows: Floats, table: Table) -> Floats:
    """The mean of each request's rows that are no NaN; requests without any are left out."""
    kept = ~np.isnan(rows)
    counts = np.bincount(table.of[kept], minlength=len(table))
    sums = np.bincount(table.of[kept], weights=rows[kept], minlength=len(table))
    return sums[counts > 0] / counts[counts > 0]


def in_slices(rows: Floats, table: Table, column: str, cut: Cut, look: Look, side: str) -> Floats:
    """The same within each slice: a line for each request, a column for each slice, NaN where there is no row."""
    parts = len(cut.parts)
    place = places(look.observations, side, table, column, cut)
    kept = ~np.isnan(rows)
    cell = table.of[kept] * parts + place[kept]
    counts = np.bincount(cell, minlength=len(table) * parts)
    sums = np.bincount(cell, weights=rows[kept], minlength=len(table) * parts)
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(counts > 0, sums / counts, np.nan).reshape(len(table), parts)
    return found


def after(table: Table, frozen: Frozen) -> Flags:
    """Which rows came after those that were frozen from."""
    first = bisect_right(table.requests, tuple(frozen.until), key=lambda request: request.key)
    return table.of >= first


def finite(value: float) -> float | None:
    """The number, None where it is infinite or none."""
    return value if math.isfinite(value) else None
