"""The entries of the index fit into DynamoDB, whatever names and texts a model has."""

from typing import Any

import pytest

from modelyard.ports import Put
from modelyard.registry import Bounds, Search
from modelyard.registry.index import MOST_METRICS
from tests.fakes.registries import Yard
from tests.fakes.stores import InMemoryRecordStore


def size(value: Any) -> int:
    """Bytes of an attribute as DynamoDB counts them, rounded up.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, dict):
        return 3 + sum(1 + len(key.encode()) + size(entry) for key, entry in value.items())
    if isinstance(value, list | tuple):
        return 3 + sum(1 + size(entry) for entry in value)
    return 21


@pytest.mark.parametrize("letter", ["x", "ß", "\u0390", "👩"])
def test_the_longest_values_make_entries_that_dynamodb_takes(letter: str) -> None:
    biggest = {"item": 0, "transaction": 0}

    class Measured(InMemoryRecordStore):
        def transact(self, writes: Any) -> None:
            sizes = [size(write.item) for write in writes if isinstance(write, Put)]
            for write in writes:
                pk, sk = (write.item["pk"], write.item["sk"]) if isinstance(write, Put) else (write.pk, write.sk)
                assert len(pk.encode()) <= 2048
                assert len(sk.encode()) <= 1024
            biggest["item"] = max(biggest["item"], *sizes)
            biggest["transaction"] = max(biggest["transaction"], sum(sizes))
            super().transact(writes)

    yard = Yard()
    yard.records = Measured()
    name = "_".join("abcdefghijklmnopqrstuvwx")
    for version in (b"1", b"2"):
        told = version.decode()
        yard.add(
            name, body=version, owner=letter * 999 + told, description=letter * 1000,
            tags=[f"{number}{told}".ljust(48, ":") for number in range(8)],
            metrics={f"{letter * 197}{told}{number:02d}": number for number in range(MOST_METRICS)},
        )  # fmt: skip
        yard.registry().index(name)
    assert biggest["item"] < 400 * 1024
    assert biggest["transaction"] < 4 * 1024 * 1024
    registry = yard.registry()
    assert len(registry.search(Search(owner=letter * 999 + "2")).items) == 1
    assert registry.search(Search(owner=letter * 999 + "1")).items == ()
    bounds = Bounds(metric=f"{letter * 197}205", at_least=5, at_most=5)
    assert [model.name for model in registry.search(Search(bounds=bounds)).items] == [name]


def test_of_very_many_metrics_the_first_by_name_are_indexed(yard: Yard) -> None:
    yard.add("m", metrics={f"m{number:02d}": number for number in range(MOST_METRICS + 1)})
    registry = yard.registry()
    registry.index("m")
    assert list(registry.search(Search()).items[0].metrics) == [f"m{number:02d}" for number in range(MOST_METRICS)]
    bounds = Bounds(metric=f"m{MOST_METRICS:02d}", at_least=0)
    assert registry.search(Search(bounds=bounds)).items == registry.versions_where("m", bounds).items == ()


def test_a_metric_whose_name_no_search_takes_is_left_out_of_the_index(yard: Yard) -> None:
    yard.add("m", metrics={"x" * 201: 1, "y" * 50_000: 2, "z": 3})
    registry = yard.registry()
    registry.index("m")
    assert registry.search(Search()).items[0].metrics == {"z": 3}
    assert registry.version("m", 1).manifest.metrics["y" * 50_000] == 2
