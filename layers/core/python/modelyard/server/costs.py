"""What a server learns of its load: what a run costs, how soon the next request comes, whether to wait for it. Pure.

Some models gain by running several rows at once, others lose: a dense layer reads its weights once for all rows, while
the rows of a convolution push each other out of the processor's cache. So nothing is assumed; seconds are kept by the
number of rows, and rows are put together up to the number at which they have been seen to be cheapest.
"""

WEIGHT = 0.2
"""Of the newest run of a size."""

OUTLIER = 3.0
"""A run that takes so many times what is expected does not count: the machine may have been busy with something else.
The next one of that size that does is believed."""

WORTH = 0.75
"""Rows are put together where one then costs at most this share."""

WORTH_S = 0.00005
"""And where a row is spared so many seconds: to put it with others and take it apart costs some 20 us."""

ENOUGH = 1.1
"""Of the cheapest sizes, the smallest that costs at most so many times as much a row: it answers sooner."""

GAP_WEIGHT = 0.1
"""Of the newest gap between two requests."""


class RunCost:
    """Seconds of a run by its rows, as they were seen; sizes within a power of two are one.

    Attributes:
        best: Rows of a run at which a row is cheapest.
        alone_s: Seconds of a run of one row.
        joins: Whether it pays to put a single row together with others.
    """

    __slots__ = ("_odd", "_seen", "alone_s", "best", "joins")

    def __init__(self) -> None:
        self._seen: dict[int, tuple[float, float]] = {}  # by the power of two: rows and seconds, on average
        self._odd: set[int] = set()  # those of which the last run took far too long
        self.best = 1
        self.alone_s = 0.0
        self.joins = False

    def saw(self, rows: int, seconds: float) -> None:
        """Learn of one run."""
        size = rows.bit_length()
        known = self._seen.get(size)
        if known is None:
            self._seen = dict(sorted({**self._seen, size: (float(rows), seconds)}.items()))
        elif seconds > OUTLIER * known[1] * rows / known[0]:
            if size not in self._odd:
                self._odd.add(size)
                return
            self._odd.discard(size)
            self._seen[size] = (float(rows), seconds)
        else:
            self._odd.discard(size)
            of_rows, of_seconds = known
            self._seen[size] = (of_rows + WEIGHT * (rows - of_rows), of_seconds + WEIGHT * (seconds - of_seconds))
        cheapest = min(seconds / rows for rows, seconds in self._seen.values())
        self.best = next(round(rows) for rows, seconds in self._seen.values() if seconds / rows <= ENOUGH * cheapest)
        self.alone_s = self.of(1)
        self.joins = self.gains(1)

    @property
    def known(self) -> bool:
        """Whether any run was seen."""
        return bool(self._seen)

    def of(self, rows: float) -> float:
        """Seconds that a run is expected to take: a line between the sizes seen; 0 before any was."""
        below: tuple[float, float] | None = None
        for seen, seconds in self._seen.values():
            if seen >= rows:
                if below is None:
                    return seconds * rows / seen
                share = (rows - below[0]) / (seen - below[0])
                return below[1] + share * (seconds - below[1])
            below = (seen, seconds)
        return 0.0 if below is None else below[1] * rows / below[0]

    def gains(self, rows: int) -> bool:
        """Whether it pays to put so many rows together with others."""
        if rows >= self.best:
            return False
        alone, together = self.of(rows) / rows, self.of(self.best) / self.best
        return together <= WORTH * alone and alone - together >= WORTH_S


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
