"""Searching: what is found, models and versions, and what cannot be asked."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import UsageError
from modelyard.registry import Bounds, Registry, Search
from modelyard.registry.index import MOST_WORDS, sortable
from modelyard.registry.records import Found, FoundVersion
from modelyard.version import Lineage
from tests.fakes.registries import Yard
from tests.fakes.searching import pages, trained

TASKS: tuple[Any, ...] = ("binary", "regression")
OWNERS = ("", "ana", "Bob Müller")
TAGS = ("prod", "weather", "team:a")
NAMES = ("rain", "rain_weather", "weather", "weather_rain", "rain_rain", "a_rain_b_weather_c", "rainbow", "w__r")
METRICS = ("accuracy", "log_loss")
VALUES = (-1e300, -2.5, -1, 0, 1e-7, 0.5, 0.5000000001, 1, 2**63, 1e300)


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
