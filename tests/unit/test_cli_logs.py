"""``modelyard logs`` shows the newest lines, however many came before them."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.cli.look import newest_events

HOUR = 3_600_000


class Logs:
    """CloudWatch as far as it is asked here: events in pages, the oldest first, both ends of the time inside."""

    def __init__(self, *timestamps: int) -> None:
        self.events = [{"timestamp": at, "message": f"line {number}"} for number, at in enumerate(timestamps)]
        self.given = 0

    def get_paginator(self, _operation: str) -> Any:
        return SimpleNamespace(paginate=self._pages)

    def _pages(self, *, logGroupName: str, startTime: int, endTime: int | None = None) -> Iterator[Any]:  # noqa: N803
        del logGroupName
        last = startTime + 2 * HOUR if endTime is None else endTime
        found = [event for event in self.events if startTime <= event["timestamp"] <= last]
        for place in range(0, len(found), 10):
            self.given += len(found[place : place + 10])
            yield {"events": found[place : place + 10]}


@pytest.mark.parametrize("limit", [1, 7, 200, 5000])
def test_the_newest_lines_are_shown_in_their_order_and_none_twice(limit: int) -> None:
    now = int(time.time() * 1000)
    logs = Logs(*(now - HOUR + 2 * number for number in range(1000)), *(now - 2 * HOUR // (2 + n) for n in range(2000)))
    logs.events.sort(key=lambda event: event["timestamp"])
    since = [event for event in logs.events if event["timestamp"] >= now - HOUR]
    assert newest_events(logs, "group", now - HOUR, limit, platform=True) == since[-limit:]


def test_of_a_busy_group_only_the_last_minute_is_read() -> None:
    now = int(time.time() * 1000)
    logs = Logs(*range(now - HOUR, now, 1000))
    assert len(newest_events(logs, "group", now - HOUR, 20, platform=False)) == 20
    assert logs.given <= 60
