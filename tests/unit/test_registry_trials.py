"""Versions on trial, as the registry keeps them: started, changed, ended, and published."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard.errors import ConflictError, ModelyardError
from modelyard.pointer_key import pointer_key
from modelyard.registry import Registry
from tests.fakes.registries import Yard, pointer

KEY = pointer_key("weather")


@pytest.fixture
def yard() -> Yard:
    return Yard.with_versions(3)


@pytest.fixture
def registry(yard: Yard) -> Registry:
    return yard.registry()


def challenger(yard: Yard) -> tuple[str, int, int | None]:
    document = json.loads(yard.artifacts.objects[KEY])
    return document["mode"], document["split"], document["challenger"] and document["challenger"]["version"]


def test_a_trial_is_live_written_down_and_published(yard: Yard, registry: Registry) -> None:
    registry.promote("weather", 1)
    shadow = registry.start_shadow("weather", 2, reason="look at it")
    assert (pointer(yard), challenger(yard)) == ((2, 1), ("shadow", 0, 2))
    canary = registry.start_canary("weather", 3, split=7, operation="canary-1")
    assert (pointer(yard), challenger(yard)) == ((3, 1), ("canary", 7, 3))
    ended = registry.end_trial("weather", reason="worse")
    assert (pointer(yard), challenger(yard)) == ((4, 1), ("live", 0, None))
    assert [registry.deployment_at("weather", made.changed_at) for made in (shadow, canary, ended)] == [
        shadow,
        canary,
        ended,
    ]
    lines = registry.history("weather", limit=3).items
    assert [(e.kind, e.version, e.previous, e.revision, e.details) for e in lines] == [
        ("trial_ended", 3, 1, 4, {}),
        ("canary_started", 3, 1, 3, {"split": 7}),
        ("shadow_started", 2, 1, 2, {}),
    ]
    assert [entry.reason for entry in lines] == ["worse", "", "look at it"]
    assert lines[1].operation == "canary-1"


def test_a_challenger_that_is_promoted_ends_its_trial_and_can_be_rolled_back(yard: Yard, registry: Registry) -> None:
    registry.promote("weather", 1)
    registry.start_canary("weather", 2, split=50)
    registry.promote("weather", 2)
    assert (pointer(yard), challenger(yard)) == ((3, 2), ("live", 0, None))
    registry.start_shadow("weather", 3)
    assert registry.rollback("weather").champion == 1
    assert (pointer(yard), challenger(yard)) == ((5, 1), ("live", 0, None))


def test_a_split_of_several_versions_is_live_written_down_and_published(yard: Yard, registry: Registry) -> None:
    registry.promote("weather", 1)
    made = registry.start_split("weather", {3: 10, 2: 2.5}, reason="A/B", operation="split-1")
    document = json.loads(yard.artifacts.objects[KEY])
    assert [target["version"] for target in (document["challenger"], *document["others"])] == [2, 3]
    assert (document["mode"], document["split"], document["salt"]) == ("canary", 2.5, "weather/2")
    assert document["slots"] == [
        {"until": 8750, "version": 1}, {"until": 9000, "version": 2}, {"until": 10_000, "version": 3}
    ]  # fmt: skip
    line = registry.history("weather", limit=1).items[0]
    assert (line.kind, line.version, line.previous) == ("split_started", 2, 1)
    assert line.details == {"shares": {"1": 87.5, "2": 2.5, "3": 10}}
    assert registry.deployment("weather") == made
    assert registry.start_split("weather", {2: 2.5, 3: 10.0}, operation="split-1") == made
    for shares in ({2: 2.5, 3: 11}, {2: 2.5}, {2: 2.5, 1: 10}):
        with pytest.raises(ConflictError) as refused:
            registry.start_split("weather", shares, operation="split-1")
        assert refused.value.code == "operation_reused"


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (lambda r: r.start_split("weather", {1: 5}), "already_live"),
        (lambda r: r.start_split("weather", {3: 5, 9: 5}), "not_found"),
        (lambda r: r.start_split("weather", {3: 50, 2: 50}), "invalid_split"),
        (lambda r: r.start_split("weather", {0: 5}), "invalid_version"),
        (lambda r: r.start_split("weather", {3: 5}, expected_revision=1), "revision_changed"),
        (lambda r: r.start_shadow("weather", 1), "already_live"),
        (lambda r: r.start_canary("weather", 1, split=5), "already_live"),
        (lambda r: r.start_shadow("weather", 2), "already_on_trial"),
        (lambda r: r.start_shadow("weather", 3, expected_revision=1), "revision_changed"),
        (lambda r: r.start_canary("weather", 3, split=5, expected_revision=0), "revision_changed"),
        (lambda r: r.end_trial("weather", expected_revision=3), "revision_changed"),
        (lambda r: r.start_canary("weather", 3, split=0), "invalid_split"),
        (lambda r: r.start_canary("weather", 3, split=100), "invalid_split"),
        (lambda r: r.start_shadow("weather", 0), "invalid_version"),
        (lambda r: r.start_shadow("weather", True), "invalid_version"),
        (lambda r: r.start_shadow("weather", 9), "not_found"),
        (lambda r: r.start_canary("nothing", 1, split=5), "not_found"),
        (lambda r: r.end_trial("nothing"), "not_found"),
        (lambda r: r.end_trial("../x"), "invalid_name"),
        (lambda r: r.start_shadow("weather", 3, reason="a\x1b[2J"), "invalid_text"),
        (lambda r: r.start_shadow("weather", 3, operation="a/b"), "invalid_id"),
    ],
)
def test_a_trial_that_cannot_be_is_refused_and_changes_nothing(
    yard: Yard, registry: Registry, act: Any, code: str
) -> None:
    registry.promote("weather", 1)
    before = registry.start_shadow("weather", 2)
    length = len(registry.history("weather").items)
    with pytest.raises(ModelyardError) as refused:
        act(registry)
    assert refused.value.code == code
    assert registry.deployment("weather") == before
    assert len(registry.history("weather").items) == length
    assert (pointer(yard), challenger(yard)) == ((2, 1), ("shadow", 0, 2))


def test_a_trial_needs_something_live_and_ends_once(registry: Registry) -> None:
    for act in (
        lambda: registry.start_shadow("weather", 1),
        lambda: registry.start_canary("weather", 1, split=5),
    ):
        with pytest.raises(ConflictError) as refused:
            act()
        assert refused.value.code == "no_champion"
    registry.promote("weather", 1)
    with pytest.raises(ConflictError) as refused:
        registry.end_trial("weather")
    assert refused.value.code == "no_trial"


def test_an_operation_of_a_trial_is_recognised_however_late_and_belongs_to_that_trial(
    yard: Yard, registry: Registry
) -> None:
    registry.promote("weather", 1)
    made = registry.start_canary("weather", 2, split=5, operation="canary-1")
    ended = registry.end_trial("weather", operation="end-1")
    registry.promote("weather", 3)
    assert registry.start_canary("weather", 2, split=5, operation="canary-1") == made
    assert registry.end_trial("weather", operation="end-1") == ended
    assert registry.deployment("weather") != made
    for act in (
        lambda: registry.start_canary("weather", 2, split=6, operation="canary-1"),
        lambda: registry.start_canary("weather", 3, split=5, operation="canary-1"),
        lambda: registry.start_shadow("weather", 2, operation="canary-1"),
        lambda: registry.promote("weather", 2, operation="canary-1"),
        lambda: registry.end_trial("weather", operation="canary-1"),
    ):
        with pytest.raises(ConflictError) as refused:
            act()
        assert refused.value.code == "operation_reused"
    assert pointer(yard) == (4, 3)


def test_of_trials_from_one_revision_one_wins(yard: Yard, registry: Registry) -> None:
    registry.promote("weather", 1)

    def start(caller: int) -> bool:
        try:
            mine = yard.registry(f"caller {caller}")
            mine.start_canary("weather", 2 + caller % 2, split=1 + caller, expected_revision=1)
        except ConflictError as lost:
            assert lost.code == "revision_changed"  # noqa: PT017 - the race is under test
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(start, range(16)))
    assert outcomes.count(True) == 1
    live = registry.deployment("weather")
    assert live is not None
    assert (live.revision, live.split) == (2, 1 + outcomes.index(True))
    assert challenger(yard) == ("canary", live.split, live.challenger)
