"""Every call of every verb fails once in every way, over stores in memory. The harness finds the calls by itself.

The same harness runs over HTTP against the local AWS in tests/cloud/test_registry_faults.py.
"""

import itertools
import sys

import pytest

from modelyard.errors import ModelyardError
from modelyard.registry import Registry
from tests.fakes import wrong_registries as wrong
from tests.fakes.broken_stores import IN_PARTS, Death, Fault, Outage
from tests.fakes.faults import (
    Outcome,
    check_after_the_fault,
    check_after_the_repetition,
    faults_of,
    leftovers,
    run_again,
)
from tests.fakes.invariants import Shelf
from tests.fakes.registries import Yard
from tests.fakes.verbs import PROMOTE, PUBLISH, ROLLBACK, VERBS, Verb, sweep

MODEL = "weather"
PART_BYTES = 64
"""Small, so that an artifact of three parts is, too."""
LEAST_POINTS = 200


def yard() -> Yard:
    made = Yard()
    made.artifacts.part_bytes = PART_BYTES
    return made


def examine(verb: Verb, fault: Fault, outcome: Outcome, *, sweep_first: bool, kind: type[Registry] = Registry) -> None:
    there = yard()
    answered = harm(verb, fault, there, kind)
    check_after_the_fault(shelf(there), outcome, answered=answered)
    if sweep_first:
        sweep(there.registry("sweeper"), MODEL)
        assert leftovers(there.records, there.artifacts, [MODEL]) == []
        check_after_the_fault(shelf(there), outcome, answered=answered)
    run_again(verb, registry(there, kind), MODEL)
    check_after_the_repetition(shelf(there), outcome)
    if not sweep_first:
        sweep(there.registry("sweeper"), MODEL)
        assert leftovers(there.records, there.artifacts, [MODEL]) == []
        check_after_the_repetition(shelf(there), outcome)


def harm(verb: Verb, fault: Fault, there: Yard, kind: type[Registry]) -> bool:
    """Run the verb with this fault; whether it gave an answer nevertheless."""
    verb.before(there.registry(), MODEL)
    outage = Outage(fault=fault)
    try:
        verb.act(registry(there, kind, outage), MODEL)
    except (ModelyardError, Death):
        return False
    finally:
        assert outage.happened
    return True


def registry(there: Yard, kind: type[Registry], outage: Outage | None = None) -> Registry:
    outage = Outage() if outage is None else outage
    records, artifacts = outage.over(there.records), outage.over(there.artifacts)
    return kind(records, artifacts, actor="ana", clock=there.clock, sleep=lambda _: None)


def shelf(there: Yard) -> Shelf:
    return Shelf(there.records, there.artifacts, MODEL)


def examine_all(verb: Verb, kind: type[Registry] = Registry) -> None:
    outcome = Outcome.of(verb, MODEL, yard())
    for fault, sweep_first in itertools.product(faults_of(outcome.calls), (False, True)):
        try:
            examine(verb, fault, outcome, sweep_first=sweep_first, kind=kind)
        except Exception as failed:
            failed.add_note(f"{verb}; {fault} ({outcome.calls[fault.at]}); swept before the repetition: {sweep_first}")
            raise


@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_a_verb_survives_every_harm_at_every_call(verb: Verb) -> None:
    examine_all(verb)


def test_the_harness_finds_hundreds_of_points_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    calls = {verb.name: Outcome.of(verb, MODEL, yard()).calls for verb in VERBS}
    points = sum(len(faults_of(found)) for found in calls.values())
    with capsys.disabled():
        sys.stdout.write(f"\n{points} fault points in {len(VERBS)} verbs and situations, in memory\n")
    assert "transact" in calls["publish: the first version"]
    assert IN_PARTS in calls["publish: in parts"]
    assert {"listing", "unfinished", "abandon", "delete"} <= set(calls["sweep: bytes and parts"])
    assert points >= LEAST_POINTS


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        (PUBLISH[0], wrong.WritesTheLedgerLater),
        (PROMOTE[1], wrong.WritesTheLedgerLater),
        (PROMOTE[1], wrong.PublishesNothing),
        (ROLLBACK[0], wrong.ForgetsOperations),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_the_harness_finds_a_mistake_that_was_made_on_purpose(verb: Verb, kind: type[Registry]) -> None:
    with pytest.raises((AssertionError, ModelyardError)):
        examine_all(verb, kind)
