"""Listing and asking about the past."""

import datetime as dt
from typing import Any

import pytest

from modelyard.errors import NotFoundError, UsageError
from modelyard.registry import Registry
from tests.fakes.registries import Yard


def all_pages(listing: Any, *args: Any, limit: int) -> list[Any]:
    found, start = [], None
    while True:
        page = listing(*args, limit=limit, start=start)
        assert len(page.items) <= limit
        found.extend(page.items)
        start = page.next
        if start is None:
            return found


@pytest.mark.parametrize("limit", [1, 3, 4, 7, 50])
def test_listings_are_whole_whatever_the_page(yard: Yard, limit: int) -> None:
    registry = yard.registry()
    for number in range(12):
        yard.add(body=f"{number}".encode())
    for name in ("rain", "snow", "a_1", "a2"):
        yard.add(name)
    for number in (3, 9, 4):
        registry.promote("weather", number)
    assert [version.number for version in all_pages(registry.versions, "weather", limit=limit)] == [*range(12, 0, -1)]
    assert [line.name for line in all_pages(registry.models, limit=limit)] == ["a2", "a_1", "rain", "snow", "weather"]
    history = all_pages(registry.history, "weather", limit=limit)
    assert [entry.version for entry in history] == [4, 9, 3, *range(12, 0, -1)]
    assert [entry.at for entry in history] == sorted((entry.at for entry in history), reverse=True)


@pytest.mark.parametrize("limit", [0, -1, 501, True])
def test_a_page_has_a_sensible_size(yard: Yard, limit: int) -> None:
    yard.add()
    with pytest.raises(UsageError) as refused:
        yard.registry().versions("weather", limit=limit)
    assert refused.value.code == "invalid_limit"


@pytest.mark.parametrize("start", ["~", "0", "MODEL", "../..", "zzz", "\u202e"])
def test_a_made_up_cursor_shows_nothing_from_elsewhere(yard: Yard, start: str) -> None:
    yard.live("weather", 1)
    page = yard.registry().versions("weather", start=start)
    assert all(version.number == 1 for version in page.items)


def test_an_empty_cursor_is_refused(yard: Yard) -> None:
    yard.add()
    with pytest.raises(UsageError) as refused:
        yard.registry().versions("weather", start="")
    assert refused.value.code == "invalid_start"


@pytest.mark.parametrize("verb", ["model", "versions", "history"])
def test_an_unknown_model_is_not_found(yard: Yard, verb: str) -> None:
    with pytest.raises(NotFoundError, match="'weather' is not in the registry") as missing:
        getattr(yard.registry(), verb)("weather")
    assert (missing.value.status, missing.value.exit_code) == (404, 2)
    assert "'modelyard runs weather'" in str(missing.value.next_step), "its first training may have been rejected"


def test_an_empty_registry_has_no_models(yard: Yard) -> None:
    assert yard.registry().models().items == ()


def test_a_model_without_a_live_version_has_no_deployment(yard: Yard) -> None:
    yard.add()
    assert yard.registry().deployment("weather") is None
    assert yard.registry().deployment_at("weather", yard.clock()) is None


@pytest.fixture
def changed(yard: Yard) -> tuple[Registry, list[Any]]:
    for number in (1, 2, 3):
        yard.add(body=f"{number}".encode())
    registry = yard.registry()
    changes = [registry.promote("weather", 1), registry.promote("weather", 2)]
    changes += [registry.rollback("weather"), registry.promote("weather", 3)]
    return registry, changes


def test_what_was_live_at_any_time_is_what_the_last_change_before_it_made(changed: tuple[Registry, list[Any]]) -> None:
    registry, changes = changed
    times = [dt.datetime.fromisoformat(change.changed_at) for change in changes]
    tick = dt.timedelta(microseconds=1)
    moments = [moment + shift for moment in times for shift in (-tick, 0 * tick, tick)]
    for moment in [*moments, times[-1] + dt.timedelta(days=9999)]:
        expected = [change for change, at in zip(changes, times, strict=True) if at <= moment]
        assert registry.deployment_at("weather", moment) == (expected[-1] if expected else None)


def test_a_time_may_be_given_as_text_in_any_zone(changed: tuple[Registry, list[Any]]) -> None:
    registry, changes = changed
    assert registry.deployment_at("weather", changes[0].changed_at) == changes[0]
    assert registry.deployment_at("weather", "2026-11-21T11:59:59+01:00") == changes[-1]
    assert registry.deployment_at("weather", "2026-11-21T10:00:00+01:00") is None
    assert registry.deployment_at("weather", "0001-01-01T00:00:00Z") is None


@pytest.mark.parametrize("when", ["yesterday", "", "2026-13-01T00:00:00Z", "2026-11-21T10:00:00", dt.datetime(2026, 1, 1), "9999-12-31T23:59:59-10:00"])  # fmt: skip # noqa: DTZ001, E501
def test_a_time_that_is_none_or_has_no_zone_is_refused(changed: tuple[Registry, list[Any]], when: Any) -> None:
    with pytest.raises(UsageError) as refused:
        changed[0].deployment_at("weather", when)
    assert refused.value.code == "invalid_time"
