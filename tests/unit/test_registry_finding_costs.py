"""What a search costs: the same, however many models there are."""

from typing import Any

import msgspec

from modelyard.aws.attributes import to_attributes
from modelyard.registry import Bounds, Search
from modelyard.registry.index import entries_of_model, entries_of_version
from modelyard.version import Lineage
from tests.fakes.registries import Yard
from tests.fakes.searching import pages, trained
from tests.fakes.stores import InMemoryRecordStore


class Meter:
    """A record store that counts what is asked of it and what it answers."""

    def __init__(self, store: InMemoryRecordStore) -> None:
        self._store = store
        self.calls = self.items = 0

    def query(self, *args: Any, **parts: Any) -> Any:
        page = self._store.query(*args, **parts)
        self.calls, self.items = self.calls + 1, self.items + len(page.items)
        return page

    def get(self, pk: str, sk: str) -> Any:
        self.calls, self.items = self.calls + 1, self.items + 1
        return self._store.get(pk, sk)


def fill(yard: Yard, count: int) -> None:
    """A model that is looked for, and ``count`` others, put into the index as ``index`` would."""
    yard.add("needle_in_hay", owner="ana", tags=["prod"], metrics={"accuracy": 0.5},
             lineage=Lineage(objects=(trained("f" * 64),)))  # fmt: skip
    registry = yard.registry()
    registry.index("needle_in_hay")
    record, version = registry.model("needle_in_hay"), registry.version("needle_in_hay", 1)
    for number in range(count):
        name = f"m{number:05d}_hay"
        other = msgspec.structs.replace(record, name=name, owner="bob", tags=())
        manifest = msgspec.structs.replace(
            version.manifest, model=name, metrics={"accuracy": number / 1e6, "recall": 0.5}, lineage=Lineage()
        )
        their = msgspec.structs.replace(version, manifest=manifest)
        entries = [*entries_of_model(other, None, their).values(), *entries_of_version(their)]
        kept = to_attributes(entries[0])  # one for all: what an entry says is not looked at here, and encoding is slow
        for item in entries:
            place = {"pk": {"S": item["pk"]}, "sk": {"S": item["sk"]}}
            yard.records._items.setdefault(item["pk"], {})[item["sk"]] = kept | place
    yard.records._order = {pk: sorted(items) for pk, items in yard.records._items.items()}


SEARCHES = [
    Search(),
    Search(name="needle"),
    Search(name="in_hay"),
    Search(name="hay"),
    Search(owner="ana"),
    Search(task="binary", owner="Ana", tags=("prod",)),
    Search(task="binary", tags=("prod",), bounds=Bounds(metric="accuracy", at_least=0.5)),
    Search(bounds=Bounds(metric="accuracy", at_least=0.4, at_most=0.6)),
    Search(bounds=Bounds(metric="recall", at_least=0.6)),
    Search(task="regression"),
]


def test_a_search_costs_the_same_however_many_models_there_are() -> None:
    costs = []
    for count in (10, 5000):
        yard = Yard()
        fill(yard, count)
        cost = []
        for search in SEARCHES:
            meter = Meter(yard.records)
            yard.registry(records=meter).search(search, limit=5)
            cost.append((meter.calls, meter.items))
        for ask in (
            lambda registry: registry.versions_from("f" * 64),
            lambda registry: registry.versions_where("needle_in_hay", Bounds(metric="accuracy", at_least=0)),
        ):
            meter = Meter(yard.records)
            assert len(ask(yard.registry(records=meter)).items) == 1
            cost.append((meter.calls, meter.items))
        costs.append(cost)
    assert costs[0] == costs[1]
    assert {calls for calls, _ in costs[1]} == {1}
    assert max(items for _, items in costs[1]) == 5


def test_a_rare_combination_ends_after_some_pages_and_goes_on_from_there(yard: Yard) -> None:
    for number in range(30):
        yard.add(f"m{number:02d}", tags=["a", *(["b"] if number == 29 else [])])
        yard.registry().index(f"m{number:02d}")
    meter = Meter(yard.records)
    page = yard.registry(records=meter).search(Search(tags=("a", "b")), limit=1)
    assert (page.items, meter.calls) == ((), 10)
    assert page.next is not None
    assert [model.name for model in pages(yard.registry(), Search(tags=("a", "b")), limit=1)] == ["m29"]
