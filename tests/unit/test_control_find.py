"""How a caller finds models and versions: by what they are called, whose they are, how good they are, what they saw."""

import pytest

from modelyard.control import answers
from modelyard.registry import records
from modelyard.version import Lineage, TrainingObject
from tests.fakes.control import MODEL, SIGNATURE, ControlStand

SEEN = "cd" * 32


@pytest.fixture
def stand() -> ControlStand:
    """Three models; of ``seattle_weather`` the first of two versions is live."""
    stand = ControlStand()
    registry = stand.registry()
    seen = Lineage(source="trained", objects=(TrainingObject("data", "a.csv", "v1", SEEN, 10),))
    for model, accuracy, told in (
        ("digits", 0.5, {"owner": "Vision Team", "tags": ["image"]}),
        (MODEL, 0.8, {"owner": "forecast", "tags": ["weather", "daily"], "lineage": seen}),
        (MODEL, 0.9, {}),
        ("wine", -2.0, {"tags": ["daily"], "lineage": seen}),
    ):
        metrics = {"accuracy": accuracy, "log loss": 0.1}
        body = f"{model} {accuracy}".encode()
        registry.register(model, body, task="binary", signature=SIGNATURE, metrics=metrics, **told)
    registry.promote(MODEL, 1)
    for model in ("digits", MODEL, "wine"):
        registry.index(model)
    return stand


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=weather", [MODEL]),
        ("name=sea", [MODEL]),
        ("name=eattle", []),
        ("tag=daily", [MODEL, "wine"]),
        ("tag=daily&tag=weather", [MODEL]),
        ("owner=vision+team", ["digits"]),
        ("owner=%20forecast%20", [MODEL]),
        ("task=binary", ["digits", MODEL, "wine"]),
        ("task=regression", []),
        ("metric=accuracy&at_least=-5", [MODEL, "digits", "wine"]),
        ("metric=accuracy&at_most=0.80", ["wine", "digits", MODEL]),
        ("metric=accuracy&at_least=5e-1&at_most=0.5", ["digits"]),
        ("metric=log%20loss&at_most=1&tag=daily&name=wine", ["wine"]),
        ("metric=recall&at_least=0", []),
    ],
)
def test_a_search_finds_the_models_for_which_all_holds(stand: ControlStand, query: str, names: list[str]) -> None:
    found = stand.get("/models", query)
    assert (found.status, [line["name"] for line in found.body["items"]]) == (200, names)


def test_a_search_shows_the_champion_and_the_plain_listing_the_same_fields(stand: ControlStand) -> None:
    (found,) = stand.get("/models", "name=weather").body["items"]
    searched = {"versions": 2, "version": 1, "is_live": True, "metrics": {"accuracy": 0.8, "log loss": 0.1}}
    assert searched.items() <= found.items()
    assert found["tags"] == ["daily", "weather"]
    (listed,) = [line for line in stand.get("/models").body["items"] if line["name"] == MODEL]
    assert listed == {**found, **dict.fromkeys(searched)}
    (newest,) = stand.get("/models", "name=wine").body["items"]
    assert (newest["version"], newest["is_live"]) == (1, False)


def test_a_search_goes_on_where_a_page_ended(stand: ControlStand) -> None:
    for query in ("task=binary", "metric=accuracy&at_least=-5"):
        whole = stand.get("/models", query).body["items"]
        seen: list[dict] = []
        start: str | None = ""
        while start is not None:
            after = f"&start={start.replace('#', '%23')}" if start else ""
            page = stand.get("/models", f"{query}&limit=1{after}").body
            seen, start = seen + page["items"], page["next"]
        assert seen == whole


def test_versions_between_two_values_come_in_the_order_of_the_metric(stand: ControlStand) -> None:
    path = f"/models/{MODEL}/versions"
    plain = {line["number"]: line for line in stand.get(path).body["items"]}
    best_first = stand.get(path, "metric=accuracy&at_least=0.1").body
    assert best_first == {"items": [plain[2], plain[1]], "next": None}
    worst = stand.get(path, "metric=accuracy&at_most=1&limit=1").body
    assert worst["items"] == [plain[1]]
    rest = stand.get(path, f"metric=accuracy&at_most=1&limit=1&start={worst['next'].replace('#', '%23')}").body
    assert rest == {"items": [plain[2]], "next": None}
    assert stand.get(path, "metric=accuracy&at_least=0.85&at_most=0.95").body["items"] == [plain[2]]
    assert stand.get(path, "metric=recall&at_least=0").body["items"] == []
    assert stand.get("/models/nothing_here/versions", "metric=accuracy&at_least=0").code == "not_found"


def test_a_training_file_leads_to_the_versions_that_saw_it(stand: ControlStand) -> None:
    found = stand.get(f"/files/{SEEN}/versions").body
    assert [(line["model"], line["number"]) for line in found["items"]] == [(MODEL, 1), ("wine", 1)]
    assert set(found["items"][0]) == {"model", "number", "author", "created_at"}
    first = stand.get(f"/files/{SEEN}/versions", "limit=1").body
    after = stand.get(f"/files/{SEEN}/versions", f"limit=1&start={first['next'].replace('#', '%23')}").body
    assert first["items"] + after["items"] == found["items"]
    assert stand.get(f"/files/{'0' * 64}/versions").body == {"items": [], "next": None}
    assert stand.journal.lines[-1].route == "GET /files/{sha256}/versions"


def test_a_version_of_a_file_has_the_fields_of_its_record_without_the_value_of_a_metric() -> None:
    assert set(answers.FileVersion.model_fields) == set(records.FoundVersion.__struct_fields__) - {"value"}
