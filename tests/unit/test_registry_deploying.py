"""Promoting, rolling back, and the pointer that follows."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard.errors import AWSError, ConflictError, ModelyardError, NotFoundError, UsageError
from modelyard.pointer_key import pointer_key
from modelyard.registry import Registry
from tests.fakes.broken_stores import Outage
from tests.fakes.registries import Yard, pointer
from tests.fakes.stores import InMemoryArtifactStore, InMemoryRecordStore

KEY = pointer_key("weather")


@pytest.fixture
def yard() -> Yard:
    return Yard.with_versions(3)


@pytest.fixture
def registry(yard: Yard) -> Registry:
    return yard.registry()


def test_a_promotion_is_live_written_down_and_published(yard: Yard, registry: Registry) -> None:
    made = registry.promote("weather", 2, reason="better on snow", operation="op-1")
    assert registry.deployment("weather") == made
    assert (made.champion, made.revision, made.changed_by, made.reason) == (2, 1, "ana", "better on snow")
    entry = registry.history("weather").items[0]
    assert (entry.kind, entry.version, entry.previous, entry.revision) == ("promoted", 2, None, 1)
    assert (entry.at, entry.operation, entry.reason) == (made.changed_at, "op-1", "better on snow")
    assert pointer(yard) == (1, 2)
    assert {sk.split("#")[0] for sk in yard.records._items["MODEL#weather"]} == {
        "MODEL", "VERSION", "IDENTITY", "LEDGER", "DEPLOYMENT", "DEPLOYED", "OPERATION",
    }  # fmt: skip


@pytest.mark.parametrize("reason", ["\x1b[2J", "\u202esoon", "x" * 1001, "\ud800", None], ids=ascii)
def test_a_reason_that_cannot_be_read_changes_nothing(registry: Registry, reason: Any) -> None:
    for change in (
        lambda: registry.promote("weather", 2, reason=reason),
        lambda: registry.rollback("weather", reason=reason),
    ):
        with pytest.raises(UsageError) as refused:
            change()
        assert (refused.value.code, refused.value.field) == ("invalid_text", "reason")
    assert registry.deployment("weather") is None


def test_a_rollback_is_a_change_like_any_other(yard: Yard, registry: Registry) -> None:
    registry.promote("weather", 1)
    registry.promote("weather", 3)
    made = yard.registry("bob").rollback("weather", reason="wrong on Sundays")
    assert (made.champion, made.revision, made.changed_by) == (1, 3, "bob")
    entry = registry.history("weather").items[0]
    assert (entry.kind, entry.version, entry.previous, entry.steps) == ("rolled_back", 1, 3, 1)
    assert pointer(yard) == (3, 1)


def test_rollbacks_find_their_way_through_a_long_ledger(yard: Yard, registry: Registry) -> None:
    for _ in range(40):
        registry.promote("weather", 1)
        registry.record_outcome("weather", "rejected", run_id=f"run-{yard.clock.now:%H%M%S%f}", reason="worse")
        registry.promote("weather", 2)
        registry.promote("weather", 3)
        registry.rollback("weather", to=2)
        registry.rollback("weather", to=1)
        registry.promote("weather", 3)
    assert registry.rollback("weather").champion == 1
    assert registry.rollback("weather").champion == 3


@pytest.mark.parametrize(
    ("version", "error", "code"),
    [
        (4, NotFoundError, "not_found"),
        (0, UsageError, "invalid_version"),
        (-1, UsageError, "invalid_version"),
        (True, UsageError, "invalid_version"),
        ("1", UsageError, "invalid_version"),
        (10**9, UsageError, "invalid_version"),
        (2, ConflictError, "already_live"),
    ],
)
def test_a_promotion_that_cannot_be_changes_nothing(
    yard: Yard, registry: Registry, version: Any, error: type[ModelyardError], code: str
) -> None:
    before = registry.promote("weather", 2)
    records, objects = repr(yard.records._items), dict(yard.artifacts.objects)
    with pytest.raises(error) as refused:
        registry.promote("weather", version)
    assert refused.value.code == code
    assert refused.value.exit_code == (4 if error is ConflictError else 2)
    assert registry.deployment("weather") == before
    assert (repr(yard.records._items), yard.artifacts.objects) == (records, objects)


def test_a_missing_version_is_answered_with_those_there_are(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match="no version 4; it has 1 to 3"):
        registry.promote("weather", 4)


def test_an_unknown_model_is_named(registry: Registry) -> None:
    for act in (lambda: registry.promote("snow", 1), lambda: registry.rollback("snow")):
        with pytest.raises(NotFoundError, match="'snow' is not in the registry"):
            act()


def test_a_rollback_without_predecessor_says_what_to_do(registry: Registry) -> None:
    with pytest.raises(ConflictError, match="no live version") as refused:
        registry.rollback("weather")
    assert refused.value.code == "no_predecessor"
    registry.promote("weather", 1)
    with pytest.raises(ConflictError, match="no predecessor") as refused:
        registry.rollback("weather")
    assert refused.value.next_step == "Run 'modelyard promote weather VERSION' to put another version live."


def test_a_rollback_to_a_version_that_does_not_exist_is_not_found(registry: Registry) -> None:
    registry.promote("weather", 1)
    with pytest.raises(NotFoundError):
        registry.rollback("weather", to=7)


def test_a_change_decided_on_an_old_revision_loses_and_hears_who_was_first(yard: Yard, registry: Registry) -> None:
    registry.promote("weather", 1)
    seen = registry.deployment("weather")
    assert seen is not None
    other = yard.registry("bob").promote("weather", 2)
    with pytest.raises(ConflictError) as refused:
        registry.promote("weather", 3, expected_revision=seen.revision)
    assert refused.value.code == "revision_changed"
    message = refused.value.message
    assert "revision 2: bob changed it at" in message
    assert "version 2 is live" in message
    assert other.changed_at in message


def test_revision_zero_means_that_nothing_is_live_yet(registry: Registry) -> None:
    with pytest.raises(ConflictError, match="nothing is live"):
        registry.promote("weather", 1, expected_revision=1)
    assert registry.promote("weather", 1, expected_revision=0).revision == 1
    with pytest.raises(ConflictError):
        registry.promote("weather", 2, expected_revision=0)


@pytest.mark.parametrize("expected", [1, None])
def test_of_twenty_promotions_from_one_revision_one_wins(yard: Yard, registry: Registry, expected: int | None) -> None:
    registry.promote("weather", 1)
    callers = 20
    everyone_has_read = threading.Barrier(callers)

    class Together(InMemoryRecordStore):
        """Holds every writer until all have decided."""

        def __init__(self) -> None:
            super().__init__()
            self._items, self._order, self._lock = yard.records._items, yard.records._order, yard.records._lock

        def transact(self, puts: Any) -> None:
            everyone_has_read.wait()
            super().transact(puts)

    def promote(caller: int) -> str:
        mine = yard.registry(f"caller {caller}", records=Together())
        try:
            return mine.promote("weather", 2 + caller % 2, expected_revision=expected).changed_by
        except ConflictError as lost:
            return lost.code

    with ThreadPoolExecutor(callers) as pool:
        outcomes = list(pool.map(promote, range(callers)))
    live = registry.deployment("weather")
    assert live is not None
    assert outcomes.count("revision_changed") == callers - 1
    assert live.changed_by in outcomes
    assert live.revision == 2
    assert [entry.revision for entry in registry.history("weather").items if entry.kind == "promoted"] == [2, 1]
    assert pointer(yard) == (2, live.champion)


def test_a_repeated_operation_gives_the_first_result(registry: Registry) -> None:
    first = registry.promote("weather", 1, operation="op-1")
    registry.promote("weather", 2, operation="op-2")
    assert registry.promote("weather", 1, operation="op-1") == first
    live = registry.deployment("weather")
    assert live is not None
    assert (live.champion, live.revision) == (2, 2)


def test_a_repeated_rollback_does_not_go_back_twice(registry: Registry) -> None:
    for version in (1, 2, 3):
        registry.promote("weather", version)
    first = registry.rollback("weather", operation="undo")
    assert registry.rollback("weather", operation="undo") == first
    live = registry.deployment("weather")
    assert live is not None
    assert live.champion == 2


def test_an_operation_id_is_for_one_change(registry: Registry) -> None:
    registry.promote("weather", 1, operation="op-1")
    for act in (
        lambda: registry.promote("weather", 2, operation="op-1"),
        lambda: registry.rollback("weather", operation="op-1"),
    ):
        with pytest.raises(ConflictError) as refused:
            act()
        assert refused.value.code == "operation_reused"


@pytest.mark.parametrize("operation", ["", "a#b", "a/b", "x" * 200, "\n", 7])
def test_an_operation_id_fits_into_a_key(registry: Registry, operation: Any) -> None:
    with pytest.raises(UsageError) as refused:
        registry.promote("weather", 1, operation=operation)
    assert refused.value.code == "invalid_id"


def broken(yard: Yard, outage: Outage) -> Registry:
    return yard.registry(records=outage.over(yard.records), artifacts=outage.over(yard.artifacts))


def calls_of_a_change() -> int:
    yard, outage = Yard(), Outage(None)
    yard.live("weather", 1, 2)
    broken(yard, outage).rollback("weather", operation="op")
    return len(outage.calls)


@pytest.mark.parametrize("after", [False, True], ids=["before", "answer lost"])
@pytest.mark.parametrize("at", range(calls_of_a_change()))
def test_a_cut_at_any_call_of_a_rollback_is_healed_by_repeating_it(at: int, after: bool) -> None:
    yard = Yard()
    yard.live("weather", 1, 2)
    outage = Outage(at, after=after)
    with pytest.raises(AWSError, match="cut"):
        broken(yard, outage).rollback("weather", operation="op")
    revision, champion = pointer(yard)
    assert (revision, champion) in [(2, 2), (3, 1)]
    made = yard.registry().rollback("weather", operation="op")
    assert (made.champion, made.revision) == (1, 3)
    assert pointer(yard) == (3, 1)
    assert [entry.kind for entry in yard.registry().history("weather").items].count("rolled_back") == 1


def test_a_pointer_that_could_not_be_written_is_said_and_healed_by_the_next_try(yard: Yard) -> None:
    class Unwritable(InMemoryArtifactStore):
        def put_if_absent(self, key: str, body: bytes, **parts: Any) -> bool:
            raise AWSError("the connection was cut")

    with pytest.raises(
        AWSError, match=r"version 1 of model 'weather' is live in the registry \(revision 1\)"
    ) as behind:
        yard.registry(artifacts=Unwritable()).promote("weather", 1)
    assert behind.value.code == "pointer_behind"
    assert KEY not in yard.artifacts.objects
    with pytest.raises(ConflictError, match="live already"):
        yard.registry().promote("weather", 1)
    assert pointer(yard) == (1, 1)


def test_publishing_is_idempotent(yard: Yard, registry: Registry) -> None:
    assert registry.publish_pointer("weather") is None
    registry.promote("weather", 1)
    body = yard.artifacts.objects[KEY]
    published = registry.publish_pointer("weather")
    assert published is not None
    assert (published.revision, yard.artifacts.objects[KEY]) == (1, body)


@pytest.mark.parametrize("body", [b"", b"{}", b"not json", b'{"revision": 1, "champion": null}'])
def test_a_damaged_or_old_pointer_is_replaced(yard: Yard, registry: Registry, body: bytes) -> None:
    registry.promote("weather", 1)
    registry.promote("weather", 2)
    yard.artifacts.objects[KEY] = body
    registry.publish_pointer("weather")
    assert pointer(yard) == (2, 2)


def test_a_pointer_never_goes_back(yard: Yard, registry: Registry) -> None:
    registry.promote("weather", 1)

    class Slow(InMemoryArtifactStore):
        """Between this writer's look at the pointer and its write, somebody else publishes a newer one."""

        raced = False

        def __init__(self) -> None:
            super().__init__()
            self.objects = yard.artifacts.objects

        def put_if_match(self, key: str, body: bytes, **parts: Any) -> bool:
            if not Slow.raced:
                Slow.raced = True
                yard.registry("bob").promote("weather", 3)
            return super().put_if_match(key, body, **parts)

    yard.registry("slow", artifacts=Slow()).promote("weather", 2)
    assert Slow.raced
    assert pointer(yard) == (3, 3)


def test_a_pointer_that_is_newer_than_what_was_read_stays(yard: Yard, registry: Registry) -> None:
    registry.promote("weather", 1)
    late = yard.registry("late")

    class Overtaken(InMemoryArtifactStore):
        """Between this writer's look at the table and its look at the pointer, somebody publishes a newer one."""

        def get(self, key: str) -> Any:
            registry.promote("weather", 2)
            return yard.artifacts.get(key)

        def put_if_match(self, key: str, body: bytes, **parts: Any) -> bool:
            return yard.artifacts.put_if_match(key, body, **parts)

    late.artifacts = Overtaken()
    late.publish_pointer("weather")
    assert pointer(yard) == (2, 2)


def test_publishers_at_once_end_with_the_newest(yard: Yard, registry: Registry) -> None:
    for number in range(12):
        registry.promote("weather", 1 + number % 3)
    seen: list[int] = []

    class Watched(InMemoryArtifactStore):
        def __init__(self) -> None:
            super().__init__()
            self.objects, self._lock = yard.artifacts.objects, yard.artifacts._lock

    del yard.artifacts.objects[KEY]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(yard.registry(artifacts=Watched()).publish_pointer, "weather") for _ in range(16)]
        for number in range(12, 18):
            registry.promote("weather", 1 + number % 3)
            seen.append(pointer(yard)[0])
        for job in jobs:
            job.result()
    assert seen == sorted(seen)
    assert pointer(yard) == (18, 3)


def test_a_pointer_ahead_of_a_restored_table_goes_back_only_when_told(yard: Yard, registry: Registry) -> None:
    yard.live("weather", 1, 2)
    ahead = yard.artifacts.objects[KEY].replace(b'"revision":2', b'"revision":9')
    yard.artifacts.objects[KEY] = ahead
    registry.publish_pointer("weather")
    assert yard.artifacts.objects[KEY] == ahead
    registry.publish_pointer("weather", even_back=True)
    assert json.loads(yard.artifacts.objects[KEY])["revision"] == 2
