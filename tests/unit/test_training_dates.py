"""A date is its place in the year, and tells nothing about the year."""

import datetime as dt
import math

import numpy as np
import pytest

from modelyard.training.dates import NO_DATE, POINTS, place_of


def test_the_same_day_of_every_year_has_the_same_place() -> None:
    for month, day in [(1, 1), (2, 28), (3, 1), (12, 31)]:
        assert len({place_of(dt.date(year, month, day).isoformat()) for year in range(1900, 2100)}) == 1


def test_every_day_has_a_place_of_its_own_and_the_year_closes() -> None:
    places = [place_of((dt.date(2024, 1, 1) + dt.timedelta(days=day)).isoformat()) for day in range(366)]
    assert places == list(range(366))
    steps = np.linalg.norm(np.roll(POINTS[:366], 1, axis=0) - POINTS[:366], axis=1)
    assert steps == pytest.approx(np.full(366, 2 * math.sin(math.pi / 366)), abs=1e-5)


def test_points_lie_on_the_circle_at_the_angle_of_the_day() -> None:
    sine, cosine = POINTS[place_of("2023-04-02")]
    angle = 2 * math.pi * 92 / 366  # 2 April is the 93rd day of a leap year
    assert (sine, cosine) == pytest.approx((math.sin(angle), math.cos(angle)), abs=1e-6)


def test_days_with_equal_sines_have_equal_numbers_so_that_no_threshold_falls_between_them() -> None:
    values = np.unique(POINTS)
    assert np.diff(values).min() > 1e-6


@pytest.mark.parametrize(
    "text", ["", "2024-02-30", "2024-13-01", "2024-1-1", "20240101", "2024-01-01T00:00", "x", "\u0662024-01-01"]
)
def test_what_is_no_date_is_the_centre_of_the_circle(text: str) -> None:
    assert place_of(text) == NO_DATE
    assert POINTS[NO_DATE].tolist() == [0.0, 0.0]
