"""The owner's notes: one text, who wrote it, and every earlier one in the ledger."""

from typing import Any

import pytest

from modelyard.errors import AWSError, ConflictError, NotFoundError, UsageError
from modelyard.registry import Registry
from tests.fakes.broken_stores import Fault, Harm, Outage
from tests.fakes.interleaving import Interleaving, meetings
from tests.fakes.registries import Yard


@pytest.fixture
def yard() -> Yard:
    yard = Yard()
    yard.add()
    return yard


@pytest.fixture
def registry(yard: Yard) -> Registry:
    return yard.registry()


def test_a_model_has_no_notes_until_somebody_writes_them(registry: Registry) -> None:
    assert registry.notes("weather") is None
    made = registry.write_notes("weather", "# Rain\n\tNot for hail.")
    assert registry.notes("weather") == made
    assert (made.model, made.text, made.by, made.revision) == ("weather", "# Rain\n\tNot for hail.", "ana", 1)


def test_the_ledger_keeps_each_text_with_its_writer_and_time(yard: Yard) -> None:
    first = yard.registry("ana").write_notes("weather", "one")
    second = yard.registry("bob").write_notes("weather", "two", expected_revision=1)
    third = yard.registry("ana").write_notes("weather", "")
    entries = [entry for entry in yard.registry().history("weather").items if entry.kind == "noted"]
    assert [(e.at, e.actor, e.details["text"], e.reason) for e in entries] == [
        (third.at, "ana", "", "took the notes away"),
        (second.at, "bob", "two", "wrote the notes"),
        (first.at, "ana", "one", "wrote the notes"),
    ]
    assert len({entry.operation for entry in entries}) == 3
    assert (third.revision, third.text) == (3, "")


def test_notes_are_no_change_of_what_is_live_and_are_not_rolled_back(yard: Yard, registry: Registry) -> None:
    yard.live("weather", 1, 2)
    registry.write_notes("weather", "about version 2")
    assert registry.rollback("weather").champion == 1
    assert registry.notes("weather") is not None


@pytest.mark.parametrize("text", ["same", ""])
def test_the_same_text_again_writes_nothing(yard: Yard, registry: Registry, text: str) -> None:
    before = registry.write_notes("weather", text)
    length = len(registry.history("weather").items)
    outage = Outage()
    assert yard.registry(records=outage.over(yard.records)).write_notes("weather", text).revision == before.revision
    assert set(outage.calls) == {"get"}
    assert len(registry.history("weather").items) == length


def test_a_repetition_with_the_revision_of_the_first_time_is_recognised_by_its_text(registry: Registry) -> None:
    first = registry.write_notes("weather", "once", expected_revision=0)
    assert registry.write_notes("weather", "once", expected_revision=0) == first


@pytest.mark.parametrize("text", ["x" * 10_000, "Grüße 👩\u200d🔬", " ", "a\n\n\tb"])
def test_whatever_is_readable_may_be_written(registry: Registry, text: str) -> None:
    registry.write_notes("weather", text)
    assert getattr(registry.notes("weather"), "text", None) == text


@pytest.mark.parametrize(
    "text",
    ["x" * 20_001, "a\0b", "a\rb", "\x1b[2J", "gnp\u202e.exe", "\udcff", None, b"bytes", 7],
    ids=["too long", "NUL", "carriage return", "escape", "right to left", "surrogate", "None", "bytes", "number"],
)
def test_what_deceives_or_does_not_fit_is_refused_before_anything_is_read(yard: Yard, text: Any) -> None:
    outage = Outage()
    with pytest.raises(UsageError) as refused:
        yard.registry(records=outage.over(yard.records)).write_notes("weather", text)
    assert (refused.value.code, refused.value.field) == ("invalid_text", "notes")
    assert outage.calls == []


def test_only_a_model_that_exists_has_notes(registry: Registry) -> None:
    with pytest.raises(NotFoundError):
        registry.write_notes("nothing", "text")
    for name in ("../x", "A", ""):
        with pytest.raises(UsageError, match="not a model name"):
            registry.write_notes(name, "text")
        with pytest.raises(UsageError, match="not a model name"):
            registry.notes(name)


@pytest.mark.parametrize("expected", [0, 2, 99])
def test_who_read_another_revision_hears_who_wrote_since_and_changes_nothing(yard: Yard, expected: int) -> None:
    yard.registry("bob").write_notes("weather", "bob's")
    with pytest.raises(ConflictError, match="bob wrote revision 1") as refused:
        yard.registry().write_notes("weather", "mine", expected_revision=expected)
    assert (refused.value.code, refused.value.next_step is not None) == ("revision_changed", True)
    assert getattr(yard.registry().notes("weather"), "text", None) == "bob's"


def test_of_two_who_write_at_once_one_is_told_whatever_the_order(yard: Yard) -> None:
    outcomes = set()
    for plan in meetings(twice=True):
        yard, turns = Yard(), Interleaving(plan)
        yard.add()
        records, said = turns.over(yard.records), dict[str, str]()

        def write(who: str, *, yard: Yard = yard, records: Any = records, said: dict[str, str] = said) -> None:
            try:
                yard.registry(who, records=records).write_notes("weather", who, expected_revision=0)
            except ConflictError as lost:
                assert lost.code == "revision_changed"  # noqa: PT017 - the race is under test
                said[who] = "lost"
            else:
                said[who] = "won"

        turns.run([lambda write=write: write("ana"), lambda write=write: write("bob")])  # type: ignore[misc]
        (winner,) = [who for who, outcome in said.items() if outcome == "won"]
        outcomes.add(winner)
        assert getattr(yard.registry().notes("weather"), "by", None) == winner
        assert [e.actor for e in yard.registry().history("weather").items if e.kind == "noted"] == [winner]
    assert outcomes == {"ana", "bob"}


def calls_of_writing() -> int:
    yard, outage = Yard(), Outage()
    yard.add()
    yard.registry(records=outage.over(yard.records)).write_notes("weather", "text")
    return len(outage.calls)


@pytest.mark.parametrize("after", [False, True], ids=["before", "answer lost"])
@pytest.mark.parametrize("at", range(calls_of_writing()))
def test_a_cut_at_any_call_is_healed_by_repeating_it(yard: Yard, at: int, after: bool) -> None:
    with pytest.raises(AWSError, match="cut"):
        yard.registry(records=Outage(at, after=after).over(yard.records)).write_notes("weather", "text")
    made = yard.registry().write_notes("weather", "text")
    assert (made.text, made.revision) == ("text", 1)
    assert [entry.kind for entry in yard.registry().history("weather").items].count("noted") == 1


def test_a_write_that_the_client_library_repeated_after_a_lost_answer_is_ours(yard: Yard) -> None:
    outage = Outage(fault=Fault(calls_of_writing() - 1, Harm.REPEATED))
    made = yard.registry(records=outage.over(yard.records)).write_notes("weather", "text")
    assert yard.registry().notes("weather") == made
