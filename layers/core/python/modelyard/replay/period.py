"""From when to when: what a person types for it, as two times."""

import datetime as dt
import re
from dataclasses import dataclass

from modelyard.errors import UsageError
from modelyard.times import as_stamp, parse_stamp, stamp

LONGEST = dt.timedelta(days=366)
"""Captures are listed by day."""

_AGO = re.compile(r"([1-9][0-9]{0,4})([mhdw])")
_UNITS = {
    "m": dt.timedelta(minutes=1), "h": dt.timedelta(hours=1), "d": dt.timedelta(days=1), "w": dt.timedelta(weeks=1),
}  # fmt: skip
_NEXT = "Write a time like 2026-11-21T10:00:00Z, or how long ago it was: 30m, 12h, 7d, 2w."


@dataclass(frozen=True, slots=True)
class Period:
    """From ``since`` to just before ``until``, as stamps; "" is no bound."""

    since: str = ""
    until: str = ""

    def holds(self, time: str) -> bool:
        """Whether a record of this time is meant."""
        return self.since <= time and (not self.until or time < self.until)

    def touches(self, hour: str) -> bool:
        """Whether a record of this hour can be meant; an hour is written ``2026-11-21T10``."""
        return self.since[: len(hour)] <= hour and (not self.until or hour <= self.until[: len(hour)])

    def days(self, now: dt.datetime, *, late: bool = False) -> list[str]:
        """Its days, written ``2026-11-21``; those until now where what belongs to it may come ``late``."""
        first = parse_stamp(self.since).date()
        last = now.date() if late or not self.until else min(now.date(), parse_stamp(self.until).date())
        return [f"{first + dt.timedelta(days=count):%Y-%m-%d}" for count in range((last - first).days + 1)]


def parse_period(since: str | None, until: str | None, now: dt.datetime) -> Period:
    """Read two bounds; None is none.

    Raises:
        UsageError: With code ``invalid_time`` or ``invalid_period``.

    Example:
        >>> parse_period("12h", None, dt.datetime(2026, 11, 21, 18, tzinfo=dt.UTC)).since
        '2026-11-21T06:00:00.000000Z'
    """
    found = Period(_time(since, now, "since"), _time(until, now, "until"))
    if found.until and found.since >= found.until:
        raise _refused(f"since {found.since} is not before until {found.until}")
    if found.since > stamp(now):
        raise _refused(f"since {found.since} has not come yet; it is {stamp(now)}")
    end = min(now, parse_stamp(found.until)) if found.until else now
    if found.since and end - parse_stamp(found.since) > LONGEST:
        raise _refused(f"since {found.since} is more than {LONGEST.days} days before the end of the period")
    return found


def _time(text: str | None, now: dt.datetime, field: str) -> str:
    if text is None:
        return ""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return stamp(now - int(ago[1]) * _UNITS[ago[2]])
    try:
        return as_stamp(text, field=field)
    except UsageError as error:
        error.next_step = _NEXT
        raise


def _refused(problem: str) -> UsageError:
    return UsageError(problem, code="invalid_period", field="since", next_step=_NEXT)
