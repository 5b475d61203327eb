"""The index of searches follows the records: it never says what they do not, whoever writes and wherever it is cut."""

from typing import Any

import pytest

from modelyard.errors import AWSError, ConflictError
from modelyard.ports import MOST_WRITES, ConditionFailedError, Put
from modelyard.registry import Bounds, Search, finding, keys
from modelyard.registry.index import MOST_METRICS
from tests.fakes.broken_stores import Outage
from tests.fakes.interleaving import Interleaving, at_random, meetings
from tests.fakes.registries import Yard
from tests.fakes.stores import InMemoryRecordStore

INDEX = (keys.FIND, keys.FILE, keys.VERSIONS)


def index_of(records: InMemoryRecordStore) -> dict[tuple[str, str], Any]:
    """Every entry of the index, without what the index says about itself."""
    return {
        (pk, sk): records.get(pk, sk)
        for pk, items in records._items.items()
        for sk in items
        if pk.startswith(INDEX) and sk != keys.INDEXED
    }


def made_from_nothing(yard: Yard, *models: str) -> dict[tuple[str, str], Any]:
    """The index as it is when nothing of it was there before."""
    fresh = InMemoryRecordStore()
    for pk, items in yard.records._items.items():
        if not pk.startswith(INDEX):
            for sk in items:
                fresh.put(Put(yard.records.get(pk, sk) or {}))
    for model in models:
        yard.registry(records=fresh).index(model)
    return index_of(fresh)


def test_a_model_that_is_not_there_has_no_index(yard: Yard) -> None:
    assert yard.registry().index("weather") == 0
    assert index_of(yard.records) == {}


def test_an_index_that_is_up_to_date_writes_nothing(yard: Yard) -> None:
    yard.add()
    assert yard.registry().index("weather") > 0
    outage = Outage()
    assert yard.registry(records=outage.over(yard.records)).index("weather") == 0
    assert set(outage.calls) == {"get"}


def test_the_index_follows_every_change_and_leaves_nothing_behind(yard: Yard) -> None:
    registry = yard.registry()
    steps = [
        lambda: yard.add(body=b"1", owner="ana", tags=["a", "b"], metrics={"x": 1, "y": 2}),
        lambda: yard.add(body=b"2", tags=["b", "c"], metrics={"x": -1, "z": 2}),
        lambda: registry.promote("weather", 1),
        lambda: registry.promote("weather", 2),
        lambda: yard.add(body=b"3", owner="bob", tags=[], metrics={}),
        lambda: registry.start_canary("weather", 3, split=5),
        lambda: registry.rollback("weather"),
        lambda: yard.add(body=b"4", owner="", description="new", metrics={"x": 1}, task="regression"),
        lambda: yard.add(body=b"5", tags=["c"], description="newer", metrics={"x": 1}),
        lambda: registry.promote("weather", 5),
    ]
    for step in steps:
        step()
        registry.index("weather")
        assert index_of(yard.records) == made_from_nothing(yard, "weather")
    for stale in (Search(tags=("a",)), Search(owner="ana"), Search(bounds=Bounds(metric="y", at_least=0))):
        assert registry.search(stale).items == ()


def test_a_change_that_moves_no_entry_still_shows(yard: Yard) -> None:
    yard.add(body=b"1", description="old")
    registry = yard.registry()
    registry.index("weather")
    registry.promote("weather", 1)
    registry.index("weather")
    assert registry.search(Search()).items[0].is_live
    yard.add(body=b"2", description="new")
    registry.index("weather")
    assert (registry.search(Search()).items[0].description, registry.search(Search()).items[0].versions) == ("new", 2)


FULL: dict[str, Any] = {
    "tags": [f"tag-{number}" for number in range(8)],
    "metrics": {f"m{number:02d}": number / 7 for number in range(MOST_METRICS)},
    "owner": "ana",
}


def full(yard: Yard) -> None:
    """The model with the most entries, and after them all others."""
    yard.add("a_b", body=b"1", **FULL)
    yard.registry().index("a_b")
    yard.add("a_b", body=b"2", owner="bob", tags=[f"t{number}" for number in range(8)],
             metrics={f"n{number:02d}": -number for number in range(MOST_METRICS)})  # fmt: skip


def test_the_most_entries_that_a_model_can_have_are_all_replaced(yard: Yard) -> None:
    full(yard)
    before = len(index_of(yard.records))
    assert before > 6 * MOST_WRITES
    yard.registry().index("a_b")
    assert index_of(yard.records) == made_from_nothing(yard, "a_b")
    assert yard.registry().search(Search(owner="ana")).items == ()


def small(yard: Yard) -> None:
    """A change that moves, adds and removes entries, in one transaction."""
    yard.add("m", body=b"1", tags=["a"], metrics={"x": 1})
    yard.registry().index("m")
    yard.add("m", body=b"2", tags=["b"], metrics={"x": 2}, owner="ana")


def calls_of_index(prepare: Any, model: str) -> int:
    yard, outage = Yard(), Outage()
    prepare(yard)
    yard.registry(records=outage.over(yard.records)).index(model)
    return len(outage.calls)


@pytest.mark.parametrize("after", [False, True], ids=["before", "answer lost"])
@pytest.mark.parametrize(
    ("prepare", "model", "at"),
    [(small, "m", at) for at in range(calls_of_index(small, "m"))]
    + [(full, "a_b", at) for at in range(calls_of_index(full, "a_b"))],
)
def test_an_index_that_was_cut_at_any_call_is_whole_after_the_next_run(
    prepare: Any, model: str, at: int, after: bool
) -> None:
    yard = Yard()
    prepare(yard)
    with pytest.raises(AWSError, match="cut"):
        yard.registry(records=Outage(at, after=after).over(yard.records)).index(model)
    # Something else happens before anybody goes on.
    yard.add(model, body=b"3", tags=["c"], metrics={"x": 3}, owner="")
    yard.registry().index(model)
    assert index_of(yard.records) == made_from_nothing(yard, model)


def interleaved(plan: Any) -> None:
    yard, turns = Yard(), Interleaving(plan)
    small(yard)
    records = turns.over(yard.records)

    def one() -> None:
        yard.registry(records=records).index("m")

    def other() -> None:
        yard.registry().promote("m", 1)
        yard.registry(records=records).index("m")

    turns.run([one, other])
    assert index_of(yard.records) == made_from_nothing(yard, "m"), str(plan)


def test_two_who_index_at_once_leave_the_newest_state() -> None:
    met = 0
    for plan in meetings(twice=True):
        interleaved(plan)
        met += 1
    assert met > 20


@pytest.mark.parametrize("seed", range(6))
def test_three_who_index_a_large_model_while_it_changes_leave_the_newest_state(seed: int) -> None:
    yard, turns = Yard(), Interleaving(at_random(seed))
    full(yard)
    records = turns.over(yard.records)

    def change() -> None:
        registry = yard.registry(records=records)
        registry.promote("a_b", 1)
        registry.promote("a_b", 2)
        registry.index("a_b")

    turns.run([change, *[lambda: yard.registry(records=records).index("a_b")] * 2])  # type: ignore[list-item]
    assert index_of(yard.records) == made_from_nothing(yard, "a_b")


def test_an_index_that_others_write_all_the_time_ends_in_a_conflict(yard: Yard) -> None:
    class Contended(InMemoryRecordStore):
        def transact(self, writes: Any) -> None:
            raise ConditionFailedError([0])

    yard.add()
    contended = Contended()
    contended._items, contended._order = yard.records._items, yard.records._order
    with pytest.raises(ConflictError) as refused:
        yard.registry(records=contended, deadline_s=0.01).index("weather")
    assert refused.value.code == "contended"


def test_a_model_with_many_versions_is_indexed_in_stretches_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "STRETCH", 3)
    yard = Yard()
    for number in range(8):
        yard.add("weather", f"{number}".encode(), metrics={"accuracy": number / 10})
    whole = Outage(None)
    with pytest.raises(AWSError):
        yard.registry(records=Outage(12).over(yard.records)).index("weather")  # in the second stretch
    yard.registry(records=whole.over(yard.records)).index("weather")
    found = yard.registry().versions_where("weather", Bounds(metric="accuracy", at_least=0.0))
    assert [one.number for one in found.items] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert whole.calls.count("get") == 4 + 3 + 4 + 2, "the first stretch is not read again"
    assert yard.registry().index("weather") == 0
