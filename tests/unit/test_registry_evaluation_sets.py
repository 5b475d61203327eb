"""Frozen evaluation sets: numbered, never changed, and another one only after somebody asked for it."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard.errors import ConflictError, ModelyardError, NotFoundError, UsageError
from modelyard.registry import FrozenSet, Registry, keys
from modelyard.registry.records import RefreshRequest
from tests.fakes.broken_stores import Death, Fault, Harm, Outage
from tests.fakes.registries import Yard, register

FIRST: dict[str, Any] = {
    "number": 1,
    "key": "evaluation_sets/weather/ab.csv",
    "sha256": "ab" * 32,
    "rows": 73,
    "rule": "20 % of every class",
    "run_id": "run-1",
}
SECOND = FIRST | {"number": 2, "key": "evaluation_sets/weather/cd.csv", "sha256": "cd" * 32, "run_id": "run-2"}


def freeze(registry: Registry, **parts: Any) -> FrozenSet:
    return registry.freeze_evaluation_set("weather", **FIRST | parts)


def freeze_and_use(registry: Registry) -> FrozenSet:
    """The first set, and a version that was measured on it."""
    frozen = freeze(registry)
    register(registry, "weather", b"a model")
    return frozen


def kinds(registry: Registry) -> list[str]:
    return [entry.kind for entry in registry.history("weather").items]


def test_there_is_no_set_before_the_first_training(yard: Yard) -> None:
    registry = yard.registry()
    assert registry.evaluation_set("weather") is None
    assert registry.evaluation_sets("weather") == ()
    assert registry.refresh_request("weather") is None
    assert registry.evaluation_set_numbered("weather", 1) is None


def test_the_first_set_needs_no_request_and_stands_in_the_ledger(yard: Yard) -> None:
    registry = yard.registry("run")
    frozen = freeze(registry)
    assert (frozen.number, frozen.rows, frozen.rule, frozen.by, frozen.reason) == (
        1, 73, "20 % of every class", "run", "",
    )  # fmt: skip
    assert registry.evaluation_set("weather") == registry.evaluation_set_numbered("weather", 1) == frozen
    (entry,) = registry.history("weather").items
    assert (entry.kind, entry.actor, entry.run_id) == ("evaluation_frozen", "run", "run-1")
    assert entry.reason == "evaluation set 1: 73 rows, 20 % of every class"
    assert entry.details == {"evaluation_set": 1, "rows": 73, "sha256": "ab" * 32, "key": FIRST["key"]}


def test_of_many_that_freeze_at_once_one_wins_and_all_are_told_which(yard: Yard) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(
            pool.map(
                lambda at: freeze(yard.registry(), key=f"{at}.csv", sha256=f"{at:064x}", run_id=f"r{at}"), range(16)
            )
        )
    assert len({frozen.key for frozen in found}) == 1
    assert kinds(yard.registry()) == ["evaluation_frozen"]


def test_what_is_frozen_again_is_what_was_frozen_first(yard: Yard) -> None:
    registry = yard.registry()
    first = freeze(registry)
    assert freeze(registry) == first
    assert freeze(registry, key="another.csv", run_id="run-9") == first
    assert len(registry.evaluation_sets("weather")) == 1


def test_until_there_is_a_version_a_set_may_be_chosen_anew(yard: Yard) -> None:
    registry = yard.registry()
    freeze(registry)
    second = freeze(registry, **SECOND)
    assert (second.number, second.reason) == (2, "no version was measured on the set before")
    assert registry.evaluation_set("weather") == second
    register(registry, "weather", b"a model")
    with pytest.raises(ConflictError, match="nobody asked for evaluation set 3"):
        freeze(registry, **SECOND | {"number": 3})


def test_another_set_without_a_request_is_refused(yard: Yard) -> None:
    registry = yard.registry()
    freeze_and_use(registry)
    for number in (2, 3):
        with pytest.raises(ConflictError, match=f"nobody asked for evaluation set {number}") as refused:
            freeze(registry, **SECOND | {"number": number})
        assert refused.value.code == "refresh_not_requested"
        assert "modelyard dataset weather --refresh-evaluation" in (refused.value.next_step or "")
    assert registry.evaluation_set("weather") == registry.evaluation_set_numbered("weather", 1)


def test_somebody_asks_with_a_reason_and_the_next_training_freezes(yard: Yard) -> None:
    freeze_and_use(yard.registry("run"))
    request = yard.registry("ana").request_refresh("weather", reason="the sensor was replaced")
    assert (request.replaces, request.by, request.reason) == (1, "ana", "the sensor was replaced")
    registry = yard.registry("run")
    assert registry.refresh_request("weather") == request
    frozen = freeze(registry, **SECOND)
    assert (frozen.number, frozen.by, frozen.reason) == (2, "run", "the sensor was replaced")
    assert registry.evaluation_set("weather") == frozen
    assert [found.number for found in registry.evaluation_sets("weather")] == [1, 2]
    assert registry.refresh_request("weather") is None, "it was for one refresh"
    assert kinds(registry) == ["evaluation_frozen", "refresh_requested", "registered", "evaluation_frozen"]
    asked = registry.history("weather").items[1]
    assert (asked.actor, asked.reason, asked.details) == ("ana", request.reason, {"evaluation_set": 1})
    with pytest.raises(ConflictError):
        freeze(registry, **SECOND | {"number": 3})


def test_of_two_who_ask_the_first_stands(yard: Yard) -> None:
    freeze(yard.registry())
    first = yard.registry("ana").request_refresh("weather", reason="the sensor was replaced")
    assert yard.registry("ben").request_refresh("weather", reason="I like others better") == first
    assert kinds(yard.registry()).count("refresh_requested") == 1


def test_there_is_nothing_to_replace_before_the_first_training(yard: Yard) -> None:
    with pytest.raises(NotFoundError, match="has no evaluation set yet; its first training freezes one") as refused:
        yard.registry().request_refresh("weather", reason="why not")
    assert refused.value.code == "no_evaluation_set"


@pytest.mark.parametrize("reason", ["", "  ", "\n", "x" * 1001, "a\ud83c"])
def test_a_request_without_a_reason_that_the_ledger_takes_is_refused(yard: Yard, reason: str) -> None:
    freeze(yard.registry())
    with pytest.raises(UsageError):
        yard.registry().request_refresh("weather", reason=reason)
    assert yard.registry().refresh_request("weather") is None


@pytest.mark.parametrize(
    "part", [{"run_id": ""}, {"run_id": "a b"}, {"sha256": "#"}, {"key": "x" * 1025}, {"key": "\ud83c"}]
)
def test_what_cannot_be_a_record_is_refused(yard: Yard, part: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        freeze(yard.registry(), **part)
    assert yard.registry().evaluation_sets("weather") == ()


def test_more_than_nine_sets_are_in_order(yard: Yard) -> None:
    registry = yard.registry()
    freeze(registry)
    for number in range(2, 13):
        registry.request_refresh("weather", reason=f"for the {number}th time")
        freeze(registry, **SECOND | {"number": number})
    assert [found.number for found in registry.evaluation_sets("weather")] == list(range(1, 13))
    assert (registry.evaluation_set("weather") or FrozenSet).number == 12


def test_sets_of_other_models_are_others(yard: Yard) -> None:
    freeze(yard.registry())
    yard.registry().freeze_evaluation_set("weather_2", **FIRST | {"key": "other.csv"})
    assert [found.key for found in yard.registry().evaluation_sets("weather")] == [FIRST["key"]]


HARMS = [Harm.UNSENT, Harm.UNANSWERED, Harm.REPEATED, Harm.DIED_BEFORE, Harm.DIED_AFTER]


def refresh(registry: Registry) -> FrozenSet:
    """What a person and then a run do."""
    registry.request_refresh("weather", reason="the sensor was replaced")
    return freeze(registry, **SECOND)


def calls() -> int:
    yard, outage = Yard(), Outage()
    freeze(yard.registry())
    refresh(yard.registry(records=outage.over(yard.records)))
    return len(outage.calls)


@pytest.mark.parametrize("harm", HARMS, ids=str)
def test_whatever_breaks_sets_and_ledger_agree_and_a_repetition_is_safe(harm: Harm) -> None:
    assert calls() == 5
    for at in range(calls()):
        yard = Yard()
        freeze_and_use(yard.registry())
        outage = Outage(fault=Fault(at, harm))
        with contextlib.suppress(ModelyardError, Death):
            refresh(yard.registry(records=outage.over(yard.records)))
        assert outage.happened
        registry = yard.registry()
        sets, said = registry.evaluation_sets("weather"), kinds(registry)
        asked = registry._read(keys.partition("weather"), keys.refresh(1), RefreshRequest)
        assert said.count("evaluation_frozen") == len(sets)
        assert said.count("refresh_requested") == (asked is not None)
        if len(sets) == 1:
            refresh(registry)
        assert freeze(registry, **SECOND) == registry.evaluation_set("weather")
        assert kinds(registry) == ["evaluation_frozen", "refresh_requested", "registered", "evaluation_frozen"]
