"""What a server learns of its load: what a run costs, how soon the next request comes, whether to wait for it. Pure.

Some models gain by running several rows at once, others lose: a dense layer reads its weights once for all rows, while
the rows of a convolution push each other out of the processor's cache. So nothing is assumed; seconds are kept by the
number of rows, and rows are put together up to the number at which they have been seen to be cheapest.
"""

from collections import deque

RECENT = 9
"""Runs of a size that are remembered. How long one takes is what the one in the middle took: one that is interrupted
takes ten times as long. What a row gains is a matter of the quicker ones: rows that are usually run together are alone
where the machine had nothing else to do, and a run that follows a pause takes twice as long."""

WORTH = 0.75
"""Rows are put together where one then costs at most this share."""

WORTH_S = 0.00005
"""And where a row is spared so many seconds: to put it with others and take it apart costs some 20 us."""

ENOUGH = 1.1
"""Of the cheapest sizes, the smallest that costs at most so many times as much a row: it answers sooner."""

GAP_WEIGHT = 0.1
"""Of the newest gap between two requests."""


Seen = dict[int, tuple[float, float]]
"""Rows and seconds of a run, by the power of two of its rows, in their order."""


class RunCost:
    """Seconds of a run by its rows, as they were seen; sizes within a power of two are one.

    Attributes:
        best: Rows of a run at which a row is cheapest.
        alone_s: Seconds of a run of one row.
        joins: Whether it pays to put a single row together with others.
    """

    __slots__ = ("_quick", "_runs", "_seen", "alone_s", "best", "joins")

    def __init__(self) -> None:
        self._runs: dict[int, deque[tuple[float, float, float]]] = {}  # seconds a row, rows, seconds
        self._seen: Seen = {}  # the one in the middle
        self._quick: Seen = {}  # one of the quicker ones
        self.best = 1
        self.alone_s = 0.0
        self.joins = False

    def saw(self, rows: int, seconds: float) -> None:
        """Learn of one run."""
        size = rows.bit_length()
        runs = self._runs.setdefault(size, deque(maxlen=RECENT))
        runs.append((seconds / rows, float(rows), seconds))
        ordered = sorted(runs)
        self._seen[size] = ordered[(len(runs) - 1) // 2][1:]
        self._quick[size] = ordered[(len(runs) - 1) // 4][1:]
        if len(runs) == 1:
            self._seen, self._quick = dict(sorted(self._seen.items())), dict(sorted(self._quick.items()))
        quick = self._quick.values()
        cheapest = min(seconds / rows for rows, seconds in quick)
        self.best = next(round(rows) for rows, seconds in quick if seconds / rows <= ENOUGH * cheapest)
        self.alone_s = self.of(1)
        self.joins = self.gains(1)

    @property
    def known(self) -> bool:
        """Whether any run was seen."""
        return bool(self._seen)

    def of(self, rows: float) -> float:
        """Seconds that a run is expected to take: a line between the sizes seen; 0 before any was."""
        return _expected(self._seen, rows)

    def gains(self, rows: int) -> bool:
        """Whether it pays to put so many rows together with others."""
        if rows >= self.best:
            return False
        alone, together = _expected(self._quick, rows) / rows, _expected(self._quick, self.best) / self.best
        return together <= WORTH * alone and alone - together >= WORTH_S


def _expected(runs: Seen, rows: float) -> float:
    below: tuple[float, float] | None = None
    for seen, seconds in runs.values():
        if seen >= rows:
            if below is None:
                return seconds * rows / seen
            share = (rows - below[0]) / (seen - below[0])
            return below[1] + share * (seconds - below[1])
        below = (seen, seconds)
    return 0.0 if below is None else below[1] * rows / below[0]


class Arrivals:
    """Seconds between two requests, the newest weighing most."""

    __slots__ = ("_last", "gap_s")

    def __init__(self) -> None:
        self._last: float | None = None
        self.gap_s = float("inf")

    def saw(self, now: float) -> None:
        """Learn of a request."""
        if self._last is not None:
            gap = now - self._last
            self.gap_s = gap if self.gap_s == float("inf") else self.gap_s + GAP_WEIGHT * (gap - self.gap_s)
        self._last = now


def wait_s(*, requests: int, rows: int, waited_s: float, cost: RunCost, gap_s: float, most_s: float) -> float:
    """How long to wait for one more request before a run begins; 0 to begin now.

    A run that begins now answers `rows` in ``T(rows)``. One that begins a gap later answers as many more as a request
    has on average, in ``gap + T(more)``. It pays to wait while the second answers more rows in a second. Where requests
    come more rarely than runs end, the gap is longer than what is saved, and nobody waits.

    Args:
        requests: That wait, at least 1.
        rows: Of all of them.
        waited_s: How long the first of them has waited.
        cost: Of runs.
        gap_s: Of `Arrivals`.
        most_s: Longest wait of any request.
    """
    left_s = most_s - waited_s
    more = rows + rows / requests
    if left_s <= 0 or rows >= cost.best or gap_s >= left_s:
        return 0.0
    if more * cost.of(rows) <= rows * (gap_s + cost.of(more)):
        return 0.0
    return min(left_s, 2 * gap_s)  # one that is later than twice the usual gap may not come at all
