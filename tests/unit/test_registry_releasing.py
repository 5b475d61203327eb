"""Overrides of code releases in the registry: once per id, with their line in the ledger, whatever is interrupted."""

from typing import Any

import pytest

from modelyard.errors import AWSError, ConflictError, UsageError
from modelyard.registry import Registry
from modelyard.release_override import VALID
from modelyard.times import parse_stamp
from tests.fakes.broken_stores import Fault, Harm, Outage
from tests.fakes.registries import Yard

KIND = "release_override"


@pytest.fixture
def yard() -> Yard:
    yard = Yard()
    yard.live("weather", 1)
    return yard


@pytest.fixture
def registry(yard: Yard) -> Registry:
    return yard.registry()


def written(registry: Registry) -> list[Any]:
    return [entry for entry in registry.history("weather").items if entry.kind == KIND]


def test_the_ledger_says_who_let_which_alarms_pass_until_when_and_why(yard: Yard) -> None:
    override = yard.registry("bob").override_release("weather", ["Latency", "ErrorRate"], reason="the fix of #7")
    (entry,) = written(yard.registry())
    assert (entry.actor, entry.reason, entry.operation) == ("bob", "the fix of #7", override.operation)
    assert entry.details == {"alarms": ["ErrorRate", "Latency"], "until": override.until}
    assert parse_stamp(override.until) - parse_stamp(entry.at) == VALID
    assert (entry.version, entry.revision) == (None, None), "it is no change of what is live"
    assert yard.registry().release_override("weather", override.operation) == override


def test_an_override_changes_nothing_that_is_live_and_is_not_rolled_back(yard: Yard, registry: Registry) -> None:
    yard.live("weather", 2)
    before = registry.deployment("weather")
    registry.override_release("weather", ["ErrorRate"], reason="fix")
    assert registry.deployment("weather") == before
    assert registry.rollback("weather").champion == 1


def test_a_model_without_a_version_has_an_endpoint_and_so_may_have_an_override(registry: Registry) -> None:
    registry.override_release("fresh", ["ErrorRate"], reason="it answers 503")
    assert [entry.kind for entry in registry.history("fresh").items] == [KIND]


def test_the_same_id_again_is_the_same_override(yard: Yard) -> None:
    first = yard.registry("ana").override_release("weather", ["ErrorRate"], reason="one", operation="fix-1")
    again = yard.registry("bob").override_release("weather", ["ErrorRate"], reason="two", operation="fix-1")
    assert again == first
    assert [entry.actor for entry in written(yard.registry())] == ["ana"]


def test_an_id_of_another_override_is_refused(registry: Registry) -> None:
    registry.override_release("weather", ["ErrorRate"], reason="one", operation="fix-1")
    with pytest.raises(ConflictError, match="was an override of ErrorRate, good until") as refused:
        registry.override_release("weather", ["ErrorRate", "Latency"], reason="more", operation="fix-1")
    assert refused.value.code == "operation_reused"
    assert len(written(registry)) == 1


def test_an_id_may_be_that_of_a_promotion_too(yard: Yard, registry: Registry) -> None:
    yard.add("weather", b"model 2")
    registry.override_release("weather", ["ErrorRate"], reason="fix", operation="both")
    assert registry.promote("weather", 2, operation="both").champion == 2
    assert registry.promote("weather", 2, operation="both").champion == 2


@pytest.mark.parametrize("reason", ["", " \n"])
def test_an_override_has_a_reason(yard: Yard, reason: str) -> None:
    outage = Outage()
    with pytest.raises(UsageError) as refused:
        yard.registry(records=outage.over(yard.records)).override_release("weather", ["ErrorRate"], reason=reason)
    assert (refused.value.code, refused.value.next_step) == ("reason_required", "Say it with --reason.")
    assert outage.calls == []


@pytest.mark.parametrize("alarms", [[], ["All"], ["ErrorRate", "NewVersionErrors"], ["Latency", "Latency"]])
def test_only_alarms_that_may_be_passed_are_named(registry: Registry, alarms: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        registry.override_release("weather", alarms, reason="fix")
    assert refused.value.code == "invalid_alarms"


def test_what_cannot_be_a_key_is_refused(registry: Registry) -> None:
    for model, operation in (("../x", "fix"), ("weather", "a/b"), ("weather", "")):
        with pytest.raises(UsageError):
            registry.override_release(model, ["ErrorRate"], reason="fix", operation=operation)
        with pytest.raises(UsageError):
            registry.release_override(model, operation)
    assert registry.release_override("weather", "never") is None


def calls_of_writing() -> int:
    yard, outage = Yard(), Outage()
    yard.registry(records=outage.over(yard.records)).override_release("weather", ["Latency"], reason="fix")
    return len(outage.calls)


@pytest.mark.parametrize("after", [False, True], ids=["before", "answer lost"])
@pytest.mark.parametrize("at", range(calls_of_writing()))
def test_a_cut_at_any_call_is_healed_by_repeating_it(yard: Yard, at: int, after: bool) -> None:
    cut = yard.registry(records=Outage(at, after=after).over(yard.records))
    with pytest.raises(AWSError, match="cut"):
        cut.override_release("weather", ["Latency"], reason="fix", operation="fix-1")
    made = yard.registry().override_release("weather", ["Latency"], reason="fix", operation="fix-1")
    assert len(written(yard.registry())) == 1
    assert yard.registry().release_override("weather", "fix-1") == made


def test_a_write_that_the_client_library_repeated_after_a_lost_answer_is_ours(yard: Yard) -> None:
    outage = Outage(fault=Fault(calls_of_writing() - 1, Harm.REPEATED))
    made = yard.registry(records=outage.over(yard.records)).override_release("weather", ["Latency"], reason="fix")
    assert yard.registry().release_override("weather", made.operation) == made
    assert len(written(yard.registry())) == 1
