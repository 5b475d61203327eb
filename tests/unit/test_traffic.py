"""Traffic: shares are exact, a change of shares moves only the keys that it must, and a key stays where it is."""

import itertools
import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.errors import UsageError
from modelyard.traffic import (
    POINTS,
    Slots,
    percent_of,
    point_of,
    points_by_version,
    points_of,
    reassign,
    version_at,
    whole,
)

KEYS = [f"caller-{number}" for number in range(100_000)]


def answering(slots: Slots, key: str, salt: str = "weather/7") -> int:
    return version_at([slot.until for slot in slots], [slot.version for slot in slots], point_of(key, salt))


def owners(slots: Slots) -> list[int]:
    """The version at each point."""
    untils, versions = [slot.until for slot in slots], [slot.version for slot in slots]
    return [version_at(untils, versions, point) for point in range(POINTS)]


def moved(before: Slots, after: Slots) -> int:
    return sum(one != other for one, other in zip(owners(before), owners(after), strict=True))


def fewest(before: Slots, wanted: dict[int, int]) -> int:
    """What has to move: what versions have too much."""
    return sum(max(0, points - wanted.get(version, 0)) for version, points in points_by_version(before).items())


@pytest.mark.parametrize(
    "wanted",
    [
        {1: 9990, 2: 10}, {1: 9500, 2: 500}, {1: 9000, 2: 1000}, {1: 5000, 2: 5000}, {1: 100, 2: 9900},
        {1: 7000, 2: 1500, 3: 1500}, {1: 3333, 2: 3333, 3: 3334}, {1: 4000, 2: 3000, 3: 2000, 4: 1000},
    ],
    ids=str,
)  # fmt: skip
def test_shares_are_exact_over_100_000_keys_within_statistical_error(wanted: dict[int, int]) -> None:
    slots = reassign(whole(1), wanted)
    found = Counter(answering(slots, key) for key in KEYS)
    for version, points in wanted.items():
        share = points / POINTS
        error = math.sqrt(len(KEYS) * share * (1 - share))
        assert abs(found[version] - len(KEYS) * share) < 4 * error, (version, found)


def test_every_point_is_as_likely_as_any_other() -> None:
    found = Counter(point_of(key, "weather/7") for key in KEYS)
    expected = len(KEYS) / POINTS
    chi2 = sum((found[point] - expected) ** 2 / expected for point in range(POINTS))
    assert abs(chi2 - (POINTS - 1)) < 4 * math.sqrt(2 * (POINTS - 1))


def test_from_10_to_50_percent_only_the_keys_move_that_must() -> None:
    before = reassign(whole(1), {1: 9000, 2: 1000})
    after = reassign(before, {1: 5000, 2: 5000})
    changes = Counter((answering(before, key), answering(after, key)) for key in KEYS)
    assert changes[2, 1] == 0
    assert changes[1, 2] == pytest.approx(40_000, abs=4 * math.sqrt(100_000 * 0.4 * 0.6))
    assert moved(before, after) == 4000


@pytest.mark.parametrize(
    ("first", "second", "moves"),
    [
        ({1: 8000, 2: 1000, 3: 1000}, {1: 0, 2: 5000, 3: 5000}, {(1, 2), (1, 3)}),
        ({1: 8000, 2: 1000, 3: 1000}, {1: 7000, 2: 2000, 3: 1000}, {(1, 2)}),
        ({1: 4000, 2: 3000, 3: 2000, 4: 1000}, {1: 1000, 2: 3000, 3: 2000, 4: 4000}, {(1, 4)}),
        ({1: 4000, 2: 3000, 3: 2000, 4: 1000}, {1: 5000, 2: 4000, 4: 1000}, {(3, 1), (3, 2)}),
    ],
    ids=str,
)
def test_with_several_versions_only_the_keys_move_that_must(
    first: dict[int, int], second: dict[int, int], moves: set[tuple[int, int]]
) -> None:
    before = reassign(whole(1), first)
    after = reassign(before, second)
    found = {(answering(before, key), answering(after, key)) for key in KEYS[:20_000]}
    assert {pair for pair in found if pair[0] != pair[1]} == moves
    assert moved(before, after) == fewest(before, second)


def test_who_is_in_at_5_percent_is_in_at_every_later_step_and_again_after_a_step_back() -> None:
    slots, seen = whole(1), []
    for points in (500, 2500, 500, 5000, 9999, 500):
        slots = reassign(slots, {1: POINTS - points, 2: points})
        assert len(slots) == 2
        seen.append({key for key in KEYS[:20_000] if answering(slots, key) == 2})
    assert seen[0] == seen[2] == seen[5]
    assert seen[0] < seen[1] < seen[3] < seen[4]


def test_a_key_stays_on_its_side_and_a_new_trial_draws_anew() -> None:
    slots = reassign(whole(1), {1: 5000, 2: 5000})
    first, again, other = (
        [answering(slots, key, salt) for key in KEYS[:20_000]] for salt in ("weather/7", "weather/7", "weather/8")
    )
    assert first == again
    same = sum(one == two for one, two in zip(first, other, strict=True))
    assert same == pytest.approx(10_000, abs=4 * math.sqrt(20_000 / 4))


@st.composite
def shares(draw: st.DrawFn) -> dict[int, int]:
    versions = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5, unique=True))
    cuts = sorted(draw(st.lists(st.integers(0, POINTS), min_size=len(versions) - 1, max_size=len(versions) - 1)))
    sizes = [end - start for start, end in zip([0, *cuts], [*cuts, POINTS], strict=True)]
    return dict(zip(versions, sizes, strict=True))


@settings(deadline=None)
@given(st.lists(shares(), min_size=1, max_size=12))
def test_whatever_follows_whatever_shares_are_exact_and_the_fewest_points_move(steps: list[dict[int, int]]) -> None:
    slots = whole(1)
    for wanted in steps:
        after = reassign(slots, wanted)
        assert points_by_version(after) == {version: points for version, points in wanted.items() if points}
        assert moved(slots, after) == fewest(slots, wanted)
        assert after == reassign(slots, wanted)
        assert [slot.until for slot in after] == sorted({slot.until for slot in after})
        assert all(one.version != two.version for one, two in itertools.pairwise(after))
        slots = after


def test_a_hundred_changes_leave_few_slots() -> None:
    slots = whole(1)
    for step in range(100):
        sizes = [100 + (step * 37 * version) % 2000 for version in (2, 3, 4, 5)]
        slots = reassign(slots, {1: POINTS - sum(sizes), **dict(zip((2, 3, 4, 5), sizes, strict=True))})
    assert len(slots) < 40


@pytest.mark.parametrize("percent", [0.01, 0.29, 1, 1.1, 5.0, 16.67, 33.33, 57.82, 99, 99.99])
def test_a_share_of_up_to_two_decimals_is_exact(percent: float) -> None:
    assert percent_of(points_of(percent)) == percent


@pytest.mark.parametrize(
    "percent", [0, 100, -1, 0.001, 5.005, 100.5, 10**400, True, "5", None, math.nan, math.inf, [5]], ids=ascii
)
def test_what_is_no_share_is_refused_and_named(percent: Any) -> None:
    with pytest.raises(UsageError, match=r"from 0\.01 to 99\.99") as refused:
        points_of(percent)
    assert (refused.value.code, refused.value.field) == ("invalid_split", "split")


def test_every_hundredth_of_a_percent_can_be_asked_for() -> None:
    assert [points_of(points / 100) for points in range(1, POINTS)] == list(range(1, POINTS))


@pytest.mark.parametrize("wanted", [{1: 9999}, {1: 10_001}, {1: 10_100, 2: -100}, {}])
def test_shares_that_are_no_whole_are_a_mistake(wanted: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="add up"):
        reassign(whole(1), wanted)


def test_text_that_is_no_unicode_has_a_point_as_well() -> None:
    assert 0 <= point_of("\ud800", "s") < POINTS
