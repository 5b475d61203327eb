"""Clocks that a test turns by hand."""

import datetime as dt


class Clock:
    """Starts on 2026-11-21 10:00 UTC; each reading is ``step`` after the one before."""

    def __init__(self, step: dt.timedelta = dt.timedelta(seconds=1)) -> None:
        self.now = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
        self.step = step

    def __call__(self) -> dt.datetime:
        reading = self.now
        self.now += self.step
        return reading
