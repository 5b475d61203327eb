"""Searching: what is found at what cost, and an index that never says what the records do not."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.aws.attributes import to_attributes
from modelyard.errors import AWSError, ConflictError, UsageError
from modelyard.ports import MOST_WRITES, ConditionFailedError, Put
from modelyard.registry import Bounds, Registry, Search, finding, keys
from modelyard.registry.index import MOST_METRICS, MOST_WORDS, entries_of_model, entries_of_version, sortable
from modelyard.registry.records import Found, FoundVersion
from modelyard.version import Lineage, TrainingObject
from tests.fakes.broken_stores import Outage
from tests.fakes.interleaving import Interleaving, at_random, meetings
from tests.fakes.registries import Yard
from tests.fakes.stores import InMemoryRecordStore

TASKS: tuple[Any, ...] = ("binary", "regression")
OWNERS = ("", "ana", "Bob Müller")
TAGS = ("prod", "weather", "team:a")
NAMES = ("rain", "rain_weather", "weather", "weather_rain", "rain_rain", "a_rain_b_weather_c", "rainbow", "w__r")
METRICS = ("accuracy", "log_loss")
VALUES = (-1e300, -2.5, -1, 0, 1e-7, 0.5, 0.5000000001, 1, 2**63, 1e300)
INDEX = (keys.FIND, keys.FILE, keys.VERSIONS)


@pytest.fixture
def yard() -> Yard:
    return Yard()


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


def pages(registry: Registry, search: Search, *, limit: int) -> list[Found]:
    """Everything that a search finds, page by page."""
    found: list[Found] = []
    start = None
    for _ in range(500):
        page = registry.search(search, limit=limit, start=start)
        assert len(page.items) <= limit
        found += page.items
        start = page.next
        if start is None:
            return found
    raise AssertionError("the pages do not end")


# -- what is found ----------------------------------------------------------------------------------------------------


def test_a_model_is_found_by_all_that_is_known_of_it(yard: Yard) -> None:
    yard.add(
        "seattle_weather", owner="Ana Díaz", tags=["prod", "forecast"], description="Rain", metrics={"accuracy": 0.9}
    )
    registry = yard.registry()
    registry.index("seattle_weather")
    made = registry.model("seattle_weather")
    expected = Found(
        name="seattle_weather", task="binary", description="Rain", owner="Ana Díaz", tags=("forecast", "prod"),
        created_at=made.created_at, versions=1, version=1, is_live=False, metrics={"accuracy": 0.9},
    )  # fmt: skip
    for search in (
        Search(),
        Search(name="seattle"),
        Search(name="seattle_weather"),
        Search(name="weather"),
        Search(task="binary"),
        Search(owner="ana díaz"),
        Search(tags=("prod",)),
        Search(tags=("prod", "forecast")),
        Search(bounds=Bounds(metric="accuracy", at_least=0.9)),
        Search(bounds=Bounds(metric="accuracy", at_most=0.9)),
        Search(name="w", task="binary", owner="ANA DÍAZ", tags=("forecast", "prod"),
               bounds=Bounds(metric="accuracy", at_least=0.9, at_most=0.9)),
    ):  # fmt: skip
        assert registry.search(search).items == (expected,), search


@pytest.mark.parametrize(
    "search",
    [
        Search(name="eattle"),
        Search(task="regression"),
        Search(owner="ana"),
        Search(tags=("prod", "other")),
        Search(bounds=Bounds(metric="accuracy", at_least=0.9000001)),
        Search(bounds=Bounds(metric="recall", at_least=-1e308)),
        Search(name="x", bounds=Bounds(metric="accuracy", at_least=0)),
    ],
    ids=repr,
)
def test_a_model_is_not_found_by_what_it_is_not(yard: Yard, search: Search) -> None:
    yard.add("seattle_weather", owner="Ana Díaz", tags=["prod"], metrics={"accuracy": 0.9})
    yard.registry().index("seattle_weather")
    assert yard.registry().search(search).items == ()


def test_a_search_shows_the_champion_and_without_one_the_newest(yard: Yard) -> None:
    yard.add(body=b"1", metrics={"accuracy": 0.7})
    yard.add(body=b"2", metrics={"accuracy": 0.8})
    registry = yard.registry()
    for live, version in ((None, 2), (1, 1), (2, 2)):
        if live is not None:
            registry.promote("weather", live)
        registry.index("weather")
        (found,) = registry.search(Search()).items
        assert (found.version, found.is_live, found.metrics["accuracy"]) == (
            version,
            live is not None,
            0.6 + version / 10,
        )
        bounds = Bounds(metric="accuracy", at_least=0.75)
        assert bool(registry.search(Search(bounds=bounds)).items) is (version == 2)


def test_no_field_can_be_mistaken_for_another(yard: Yard) -> None:
    yard.add("m", owner="x&tag=prod", metrics={"a&b=c#d": 1, "a": 2})
    registry = yard.registry()
    registry.index("m")
    assert registry.search(Search(owner="x", tags=("prod",))).items == ()
    assert len(registry.search(Search(owner="x&tag=prod")).items) == 1
    assert registry.search(Search(bounds=Bounds(metric="a", at_most=1.5))).items == ()
    assert len(registry.search(Search(bounds=Bounds(metric="a&b=c#d", at_most=1.5))).items) == 1


# One catalogue for all examples: making it costs more than asking it.
def _catalogue(seed: int) -> tuple[Registry, list[Found]]:
    draw, yard = random.Random(seed), Yard()  # noqa: S311 - test values
    models = []
    for name in NAMES:
        for number in range(draw.randint(1, 2)):
            chosen = {metric: draw.choice(VALUES) for metric in METRICS if draw.random() < 0.8}
            yard.add(
                name, f"{name} {number}".encode(), task=draw.choice(TASKS), owner=draw.choice(OWNERS),
                tags=draw.sample(TAGS, draw.randint(0, 3)), metrics=chosen,
            )  # fmt: skip
        registry = yard.registry()
        if draw.random() < 0.5:
            registry.promote(name, 1)
        registry.index(name)
        record, live = registry.model(name), registry.deployment(name)
        shown = registry.version(name, live.champion if live else record.versions)
        models.append(
            msgspec.convert(
                {**msgspec.to_builtins(record), "version": shown.number, "is_live": live is not None,
                 "metrics": dict(shown.manifest.metrics)},
                Found,
            )
        )  # fmt: skip
    return yard.registry(), models


CATALOGUES = [_catalogue(seed) for seed in range(3)]


def by_hand(models: list[Found], search: Search) -> Iterator[Found]:
    for model in models:
        parts = model.name.split("_")
        tails = [model.name, *["_".join(parts[place:]) for place in range(1, len(parts))][-(MOST_WORDS - 1) :]]
        value = None if search.bounds is None else model.metrics.get(search.bounds.metric)
        low = None if search.bounds is None else search.bounds.at_least
        high = None if search.bounds is None else search.bounds.at_most
        if (
            (not search.name or any(tail.startswith(search.name) for tail in tails))
            and search.task in (None, model.task)
            and (not search.owner or search.owner.casefold() == model.owner.casefold())
            and set(search.tags) <= set(model.tags)
            and (search.bounds is None or (value is not None and (low is None or value >= low)
                                           and (high is None or value <= high)))
        ):  # fmt: skip
            yield model


bounds_of = st.builds(
    lambda metric, low, high: Bounds(metric=metric, at_least=low, at_most=high),
    st.sampled_from(METRICS), st.none() | st.sampled_from(VALUES), st.none() | st.sampled_from(VALUES),
).filter(lambda b: (b.at_least, b.at_most) != (None, None) and not (
    b.at_least is not None and b.at_most is not None and b.at_least > b.at_most))  # fmt: skip
searches = st.builds(
    Search,
    name=st.sampled_from(["", "r", "rain", "rainb", "weather", "w", "b_w", "c", "rain_weather", "_r", "x"]),
    task=st.none() | st.sampled_from(TASKS),
    owner=st.none() | st.sampled_from([*OWNERS, "ANA", "bob"]),
    tags=st.lists(st.sampled_from(TAGS), max_size=3).map(tuple),
    bounds=st.none() | bounds_of,
)


@given(searches, st.sampled_from(CATALOGUES), st.integers(1, 4))
def test_any_combination_finds_what_a_filter_over_everything_finds(
    search: Search, catalogue: tuple[Registry, list[Found]], limit: int
) -> None:
    registry, models = catalogue
    found = pages(registry, search, limit=limit)
    assert sorted(found, key=lambda model: model.name) == sorted(by_hand(models, search), key=lambda model: model.name)
    if search.bounds is not None:
        values = [(model.metrics[search.bounds.metric], model.name) for model in found]
        assert values == sorted(values, reverse=search.bounds.at_least is not None)
    elif not search.name:
        assert [model.name for model in found] == sorted(model.name for model in found)


@given(st.lists(st.floats(allow_nan=False), min_size=2))
def test_the_order_of_texts_is_the_order_of_numbers(numbers: list[float]) -> None:
    assert [float(number) for number in sorted(numbers, key=sortable)] == sorted(numbers)
    assert (sortable(numbers[0]) == sortable(numbers[1])) is (numbers[0] == numbers[1])
    assert {len(sortable(number)) for number in numbers} == {16}
    assert sortable(-0.0) == sortable(0.0) == sortable(0)


# -- what cannot be asked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("search", "code"),
    [
        (Search(name="Rain"), "invalid_name"),
        (Search(name="../x"), "invalid_name"),
        (Search(name="rain\u202e"), "invalid_name"),
        (Search(owner="a\nb"), "invalid_text"),
        (Search(owner="x" * 1001), "invalid_text"),
        (Search(tags=("Prod",)), "invalid_tag"),
        (Search(tags=("prod", "")), "invalid_tag"),
        (Search(bounds=Bounds(metric="accuracy")), "invalid_bounds"),
        (Search(bounds=Bounds(metric="", at_least=1)), "invalid_bounds"),
        (Search(bounds=Bounds(metric="accuracy", at_least=float("nan"))), "invalid_bounds"),
        (Search(bounds=Bounds(metric="accuracy", at_least=2, at_most=1)), "invalid_bounds"),
        (Search(bounds=Bounds(metric="x" * 201, at_least=1)), "invalid_text"),
    ],
    ids=repr,
)
def test_what_cannot_be_looked_for_is_refused(yard: Yard, search: Search, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        yard.registry().search(search)
    assert refused.value.code == code
    assert refused.value.field


def test_no_end_of_the_numbers_is_too_far(yard: Yard) -> None:
    yard.add("m", metrics={"a": -1e308})
    yard.registry().index("m")
    for bounds in (Bounds(metric="a", at_least=float("-inf")), Bounds(metric="a", at_most=float("inf"))):
        assert len(yard.registry().search(Search(bounds=bounds)).items) == 1
        assert len(yard.registry().versions_where("m", bounds).items) == 1


@pytest.mark.parametrize("start", ["", "\udcff", "x" * 501])
def test_a_cursor_that_is_none_is_refused_by_every_search(yard: Yard, start: str) -> None:
    bounds = Bounds(metric="a", at_least=1)
    registry = yard.registry()
    for ask in (
        lambda: registry.search(Search(), start=start),
        lambda: registry.search(Search(bounds=bounds), start=start),
        lambda: registry.versions_where("m", bounds, start=start),
        lambda: registry.versions_from("0" * 64, start=start),
    ):
        with pytest.raises(UsageError) as refused:
            ask()
        assert refused.value.field == "start"


@pytest.mark.parametrize(
    ("search", "start"),
    [
        (Search(name="rain"), "weather#weather"),
        (Search(bounds=Bounds(metric="a", at_least=1)), f"{sortable(0.5)}#rain"),
        (Search(bounds=Bounds(metric="a", at_most=1)), f"{sortable(1.5)}#rain"),
    ],
)
def test_a_cursor_of_another_search_is_refused_as_dynamodb_would(yard: Yard, search: Search, start: str) -> None:
    with pytest.raises(UsageError) as refused:
        yard.registry().search(search, start=start)
    assert refused.value.code == "invalid_start"


# -- what it costs ----------------------------------------------------------------------------------------------------


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


def trained(sha256: str) -> TrainingObject:
    return TrainingObject(bucket="data", key="weather/1.csv", version_id="v1", sha256=sha256, rows=3)


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


# -- versions ---------------------------------------------------------------------------------------------------------


def test_versions_are_found_by_metric_and_equal_values_by_number(yard: Yard) -> None:
    values = [0.5, -3, 0.5, 1e300, 0, -1e-9]
    for number, value in enumerate(values, 1):
        yard.add(body=str(number).encode(), metrics={"a": value})
    yard.add("other", body=b"x", metrics={"a": 0.5})
    registry = yard.registry()
    registry.index("weather")
    registry.index("other")

    def found(limit: int = 50, **bounds: float) -> list[tuple[float | None, int]]:
        lines: list[FoundVersion] = []
        start = None
        while True:
            page = registry.versions_where("weather", Bounds(metric="a", **bounds), limit=limit, start=start)
            lines += page.items
            start = page.next
            if start is None:
                assert {line.model for line in lines} <= {"weather"}
                return [(line.value, line.number) for line in lines]

    ranked = sorted((float(value), number) for number, value in enumerate(values, 1))
    for limit in (1, 4, 50):
        assert found(limit, at_most=1e308) == ranked
        assert found(limit, at_least=-1e308) == ranked[::-1]
    assert found(at_least=0.5, at_most=0.5) == [(0.5, 3), (0.5, 1)]
    assert found(at_most=0) == [(-3.0, 2), (-1e-9, 6), (0.0, 5)]
    assert found(at_least=1.1e300) == []


def test_versions_are_found_by_any_file_that_they_were_trained_on(yard: Yard) -> None:
    one, two = "1" * 64, "2" * 64
    yard.add("b", body=b"1", lineage=Lineage(objects=(trained(one), trained(two), trained(one))))
    yard.add("b", body=b"2", lineage=Lineage(objects=(trained(two),)))
    yard.add("a", body=b"3", lineage=Lineage(objects=(trained(two),)))
    registry = yard.registry()
    for model in ("a", "b"):
        registry.index(model)
    assert [(line.model, line.number) for line in registry.versions_from(one).items] == [("b", 1)]
    first = registry.versions_from(two, limit=2)
    assert [(line.model, line.number) for line in first.items] == [("a", 1), ("b", 1)]
    rest = registry.versions_from(two, limit=2, start=first.next)
    assert [(line.model, line.number) for line in rest.items] == [("b", 2)]
    assert rest.next is None


@pytest.mark.parametrize("sha256", ["", "1" * 63, "A" * 64, "g" * 64, "1" * 64 + "#"])
def test_what_is_no_digest_is_said_so(yard: Yard, sha256: str) -> None:
    with pytest.raises(UsageError) as refused:
        yard.registry().versions_from(sha256)
    assert refused.value.code == "invalid_digest"


# -- the index --------------------------------------------------------------------------------------------------------


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


# -- what DynamoDB holds ----------------------------------------------------------------------------------------------


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
