"""Trying again, and the text form of times."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import UsageError
from modelyard.names import check_id, check_name
from modelyard.patience import LONGEST_PAUSE_S, attempts
from modelyard.times import as_stamp, parse_stamp, stamp, stamp_after


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_attempts_go_on_until_the_deadline_whatever_their_number() -> None:
    time = Time()
    count = len(list(attempts(60, sleep=time.sleep, monotonic=time.monotonic)))
    assert count > 100
    assert 60 <= time.now <= 60 + LONGEST_PAUSE_S
    assert max(time.pauses) <= LONGEST_PAUSE_S


def test_the_first_attempt_does_not_wait_and_the_pauses_grow() -> None:
    time = Time()
    for attempt in attempts(60, sleep=time.sleep, monotonic=time.monotonic):
        assert (attempt == 0) == (time.pauses == [])
    assert sum(time.pauses[:3]) < 0.1
    assert sum(time.pauses[-20:]) > 1


def test_there_is_a_second_attempt_even_after_a_slow_first() -> None:
    time = Time()
    seen = []
    for attempt in attempts(1, sleep=time.sleep, monotonic=time.monotonic):
        seen.append(attempt)
        time.now += 100
    assert seen == [0, 1]


moments = st.datetimes(timezones=st.just(dt.UTC))


@given(moments, moments)
def test_the_order_of_stamps_is_the_order_of_times(first: dt.datetime, second: dt.datetime) -> None:
    assert (stamp(first) < stamp(second)) == (first < second)
    assert parse_stamp(stamp(first)) == first
    assert as_stamp(stamp(first)) == stamp(first)


@given(moments.filter(lambda moment: moment.year < 9999), moments)
def test_a_stamp_after_another_is_later(previous: dt.datetime, now: dt.datetime) -> None:
    after = stamp_after(now, stamp(previous))
    assert after > stamp(previous)
    assert after >= stamp(now)


def test_a_name_is_shown_without_the_characters_that_garble_a_terminal() -> None:
    with pytest.raises(UsageError) as refused:
        check_name("\u202e\x1b[31m" + "x" * 500)
    assert refused.value.message.isascii()
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 250


def test_an_id_may_be_the_name_of_an_execution() -> None:
    for name in ("2026-11-21T10:00:00.000000Z", "a" * 80, "run_1-b.c"):
        assert check_id(name, field="run_id") == name
