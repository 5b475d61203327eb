"""The fault harness: what a verb does undisturbed, and what must hold after it was disturbed, whatever the stores are.

prepare ──► the verb, harmed at one call ──► (a) nothing lost, half-published or dangling
        ──► the same command again      ──► (b) as if nothing had happened
        ──► a sweep                     ──► (c) nothing is left over, and (a) still holds
"""

from dataclasses import dataclass

from modelyard.errors import ModelyardError
from modelyard.ports import ArtifactStore, RecordStore
from modelyard.registry import Registry
from tests.fakes.broken_stores import IN_PARTS, Fault, Harm, Outage
from tests.fakes.invariants import Shelf
from tests.fakes.registries import Yard
from tests.fakes.verbs import Verb


@dataclass(frozen=True)
class Outcome:
    """What ``verb`` makes of ``model`` when nothing disturbs it; made over stores in memory."""

    before: list[str]
    after: list[str]
    calls: tuple[str, ...]

    @classmethod
    def of(cls, verb: Verb, model: str, yard: Yard) -> "Outcome":
        outage = Outage()
        verb.before(yard.registry(), model)
        before = Shelf(yard.records, yard.artifacts, model).picture()
        verb.act(yard.registry(records=outage.over(yard.records), artifacts=outage.over(yard.artifacts)), model)
        after = Shelf(yard.records, yard.artifacts, model)
        assert after.violations() == []
        assert not after.pointer_is_behind()
        return cls(before, after.picture(), tuple(outage.calls))


def faults_of(calls: tuple[str, ...]) -> list[Fault]:
    """Every harm at every call, for once and, where that differs, for good."""
    found = []
    for at, name in enumerate(calls):
        found += [Fault(at, harm) for harm in Harm if harm is not Harm.DIED_BETWEEN_PARTS or name == IN_PARTS]
        found += [Fault(at, harm, lasting=True) for harm in (Harm.UNSENT, Harm.THROTTLED, Harm.UNANSWERED)]
    return found


def check_after_the_fault(shelf: Shelf, outcome: Outcome, *, answered: bool) -> None:
    """(a): the records are those of before or of after and nothing in between; what was answered is there."""
    assert shelf.violations() == []
    picture = shelf.picture()
    if answered or picture != outcome.before:
        assert picture == outcome.after, "neither what was before nor what an undisturbed run gives"
    if answered:
        assert not shelf.pointer_is_behind()


def run_again(verb: Verb, registry: Registry, model: str) -> None:
    """The same command once more; a conflict that says "it is done" is an answer too."""
    try:
        verb.act(registry, model)
    except ModelyardError as refused:
        if refused.code not in verb.already:
            raise


def check_after_the_repetition(shelf: Shelf, outcome: Outcome) -> None:
    """(b): exactly what an undisturbed run gives: no second version, no second line in the ledger, no old pointer."""
    assert shelf.violations() == []
    assert shelf.picture() == outcome.after
    assert not shelf.pointer_is_behind(), "endpoints would not follow"


def leftovers(records: RecordStore, artifacts: ArtifactStore, models: list[str]) -> list[str]:
    """(c): objects that no version of these models names, and unfinished uploads."""
    named = {version.manifest.key for model in models for version in Shelf(records, artifacts, model).versions}
    orphans = [line.key for line in artifacts.listing("artifacts/") if line.key not in named]
    return [*orphans, *(f"parts of {upload.key}" for upload in artifacts.unfinished("artifacts/"))]
