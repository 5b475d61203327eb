"""Times as the registry writes them: UTC, microseconds, text whose order is the order of the times."""

import datetime as dt

from modelyard.errors import UsageError

FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
TICK = dt.timedelta(microseconds=1)


def utc_now() -> dt.datetime:
    """The present, as an aware time in UTC."""
    return dt.datetime.now(dt.UTC)


def stamp(moment: dt.datetime) -> str:
    """``moment`` as text, like ``2026-11-21T10:00:00.000000Z``."""
    return moment.astimezone(dt.UTC).strftime(FORMAT).rjust(27, "0")  # %Y does not pad years before 1000 on Linux


def parse_stamp(text: str) -> dt.datetime:
    """The time that ``stamp`` wrote."""
    return dt.datetime.strptime(text, FORMAT).replace(tzinfo=dt.UTC)


def stamp_after(moment: dt.datetime, previous: str | None) -> str:
    """``moment``, or the first microsecond after ``previous`` when a clock went back or two writers share one tick."""
    text = stamp(moment)
    if previous is None or text > previous:
        return text
    return stamp(parse_stamp(previous) + TICK)


def as_stamp(when: dt.datetime | str, *, field: str = "when") -> str:
    """A time given by a person, as a stamp; text is ISO 8601 and needs a UTC offset or ``Z``.

    Raises:
        UsageError: With code ``invalid_time`` when it is not a time or has no offset.
    """
    moment = when
    if isinstance(moment, str):
        try:
            moment = dt.datetime.fromisoformat(moment)
        except ValueError:
            raise UsageError(
                f"{field} {ascii(when)[:60]} is not a time; write it like '2026-11-21T10:00:00Z'",
                code="invalid_time",
                field=field,
            ) from None
    if moment.tzinfo is None:
        raise UsageError(
            f"{field} {moment.isoformat()} has no time zone; end it with 'Z' or an offset like '+01:00'",
            code="invalid_time",
            field=field,
        )
    try:
        return stamp(moment)
    except OverflowError:
        raise UsageError(
            f"{field} {moment.isoformat()} is outside the calendar", code="invalid_time", field=field
        ) from None
