"""Sweeping: only what no record names, only what is old, and nothing at all unless it is told to."""

import dataclasses
import datetime as dt
import hashlib
from typing import Any

import pytest

from modelyard.errors import AWSError, UsageError
from modelyard.ports import ObjectFacts, UnfinishedUpload
from modelyard.registry import Registry, Sweep, keys
from modelyard.registry.reading import LONGEST_PAGE
from modelyard.version import artifact_key
from tests.fakes.broken_stores import Outage
from tests.fakes.clocks import Clock
from tests.fakes.registries import Yard, register
from tests.fakes.stores import InMemoryArtifactStore

DAY = dt.timedelta(days=1)
READS = {"get", "get_many", "query", "head", "listing", "unfinished"}


@pytest.fixture
def yard() -> Yard:
    yard = Yard()
    yard.artifacts.clock = yard.clock
    return yard


def later(yard: Yard, days: float = 10, **changes: Any) -> Registry:
    """The registry as it is some days later."""
    yard.clock.now += dt.timedelta(days=days)
    return yard.registry("sweeper", **changes)


def orphan(yard: Yard, body: bytes = b"orphan") -> str:
    """Bytes whose publication never finished."""
    digest = hashlib.sha256(body).hexdigest()
    key = artifact_key(digest)
    yard.artifacts.put_if_absent(key, body, sha256=digest, content_type="application/octet-stream")
    return key


def report(yard: Yard, model: str = "weather", content: bytes = b"{}") -> str:
    key = f"reports/{model}/run-1-{hashlib.sha256(content).hexdigest()[:16]}.json"
    yard.artifacts.put_if_absent(key, content, content_type="application/json")
    return key


def upload(yard: Yard, key: str = "artifacts/sha256/00/model.onnx") -> UnfinishedUpload:
    begun = UnfinishedUpload(key, f"upload of {key}", yard.clock())
    yard.artifacts.uploads[begun.upload_id] = begun
    return begun


def found(sweep: Sweep) -> list[str]:
    return [line.key for line in sweep.orphans]


def test_a_sweep_removes_what_no_record_names_and_says_so(yard: Yard) -> None:
    named = yard.add().manifest.key
    left, begun = orphan(yard), upload(yard)
    made = later(yard).sweep(older_than=7 * DAY, delete=True)
    assert found(made) == [left]
    assert [line.key for line in made.unfinished] == [begun.key]
    assert (made.deleted, made.examined, made.named, made.size, made.by) == (True, 2, 1, 6, "sweeper")
    assert (made.older_than_s, made.orphans[0].size) == (7 * 86400, 6)
    assert set(yard.artifacts.objects) == {named}
    assert yard.artifacts.uploads == {}
    again = later(yard).sweep(older_than=7 * DAY, delete=True)
    assert (again.orphans, again.unfinished, again.examined) == ((), (), 1)


def test_a_dry_run_finds_the_same_and_writes_nothing(yard: Yard) -> None:
    yard.add()
    left = orphan(yard)
    upload(yard)
    registry, outage = later(yard), Outage()
    registry.records, registry.artifacts = outage.over(yard.records), outage.over(yard.artifacts)
    objects, items = dict(yard.artifacts.objects), {pk: dict(items) for pk, items in yard.records._items.items()}
    made = registry.sweep(older_than=DAY)
    assert (found(made), len(made.unfinished), made.deleted) == ([left], 1, False)
    assert set(outage.calls) <= READS
    assert (yard.artifacts.objects, yard.records._items, len(yard.artifacts.uploads)) == (objects, items, 1)


def test_what_is_younger_than_the_grace_is_left_alone(yard: Yard) -> None:
    old = orphan(yard, b"old")
    upload(yard, "artifacts/old")
    yard.clock.now += 3 * DAY
    young = orphan(yard, b"young")
    upload(yard, "artifacts/young")
    made = later(yard, days=5).sweep(older_than=7 * DAY, delete=True)
    assert found(made) == [old]
    assert made.examined == 1
    assert set(yard.artifacts.objects) == {young}
    assert [line.key for line in yard.artifacts.uploads.values()] == ["artifacts/young"]


def test_the_grace_ends_at_the_moment_it_says(yard: Yard) -> None:
    yard.clock.step = dt.timedelta(0)
    key = orphan(yard)
    assert later(yard, days=1).sweep(older_than=DAY).orphans == ()
    yard.clock.now += dt.timedelta(microseconds=1)
    assert found(yard.registry().sweep(older_than=DAY)) == [key]


@pytest.mark.parametrize("grace", [DAY - dt.timedelta(seconds=1), dt.timedelta(0), -DAY, dt.timedelta.max])
@pytest.mark.parametrize("delete", [False, True])
def test_a_grace_that_protects_nobody_or_is_beyond_the_calendar_is_refused(
    yard: Yard, grace: dt.timedelta, delete: bool
) -> None:
    outage = Outage()
    registry = yard.registry(records=outage.over(yard.records), artifacts=outage.over(yard.artifacts))
    with pytest.raises(UsageError) as refused:
        registry.sweep(older_than=grace, delete=delete)
    assert (refused.value.code, refused.value.field) == ("invalid_grace", "older_than")
    assert outage.calls == []


def test_a_grace_of_exactly_a_day_is_enough(yard: Yard) -> None:
    assert yard.registry().sweep(older_than=DAY).orphans == ()


# -- what is named ----------------------------------------------------------------------------------------------------


def test_every_version_of_every_model_keeps_its_bytes_whether_it_is_live_or_not(yard: Yard) -> None:
    yard.live("weather", 1, 2, 3)
    yard.registry().rollback("weather")
    yard.add("digits", b"other", evaluation=report(yard, "digits"))
    before = dict(yard.artifacts.objects)
    made = later(yard).sweep(older_than=DAY, delete=True)
    assert (made.orphans, made.examined, made.named) == ((), 5, 5)
    assert yard.artifacts.objects == before


def test_versions_and_models_beyond_the_first_page_keep_their_bytes(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LONGEST_PAGE > 2
    monkeypatch.setattr("modelyard.registry.sweeping.LONGEST_PAGE", 2)
    for model in ("a", "b", "c", "d", "e"):
        for number in range(5):
            yard.add(model, f"{model} {number}".encode())
    without_marks(yard)
    made = later(yard).sweep(older_than=DAY, delete=True)
    assert (made.orphans, made.examined) == ((), 25)


def test_what_the_ledger_entry_of_a_rejected_run_names_is_kept(yard: Yard) -> None:
    yard.add()
    kept, lost = report(yard, content=b"rejected"), report(yard, content=b"of a run that died")
    registry = yard.registry()
    registry.record_run("weather", "run-1", status="running", object={"key": "weather/1.csv"})
    registry.record_outcome(
        "weather", "rejected", run_id="run-1", reason="worse", details={"evaluation": {"report": [kept]}}
    )
    assert found(later(yard).sweep(older_than=DAY, delete=True)) == [lost]
    assert kept in yard.artifacts.objects


def test_what_a_run_names_is_kept_whatever_the_ledger_says(yard: Yard) -> None:
    """A run that was redriven and failed again is in the ledger once."""
    first, second = report(yard, content=b"first failure"), report(yard, content=b"second failure")
    registry = yard.registry()
    registry.record_run("weather", "run-1", status="running", object={"key": "weather/1.csv"})
    for key, reason in ((first, "the network was down"), (second, "the disk was full")):
        registry.record_run("weather", "run-1", status="failed", reason=reason, report=key)
        registry.record_outcome("weather", "failed", run_id="run-1", reason=reason, details={"report": key})
    assert later(yard).sweep(older_than=DAY, delete=True).orphans == ()
    assert {first, second} <= set(yard.artifacts.objects)


def test_a_model_whose_only_runs_were_rejected_keeps_their_reports(yard: Yard) -> None:
    kept, lost = report(yard, "first", b"rejected"), report(yard, "second", b"of a run that died")
    registry = yard.registry()
    registry.record_run("first", "run-1", status="running", object={"key": "first/1.csv"})
    registry.record_outcome("first", "rejected", run_id="run-1", reason="worse", details={"report": kept})
    assert registry.models().items == ()
    assert found(later(yard).sweep(older_than=DAY, delete=True)) == [lost]
    assert kept in yard.artifacts.objects


def test_what_only_a_report_names_is_an_orphan(yard: Yard) -> None:
    bytes_of_a_candidate = orphan(yard)
    yard.add(evaluation=report(yard, content=f'{{"artifact": "{bytes_of_a_candidate}"}}'.encode()))
    assert found(later(yard).sweep(older_than=DAY, delete=True)) == [bytes_of_a_candidate]


@pytest.mark.parametrize("text", ["see {}", "{} ", "x{}"])
def test_a_name_within_a_sentence_keeps_nothing(yard: Yard, text: str) -> None:
    yard.add(note=text.format(orphan(yard)))
    assert len(later(yard).sweep(older_than=DAY).orphans) == 1


def test_working_files_pointers_and_reports_of_sweeps_are_none_of_its_business(yard: Yard) -> None:
    others = ["runs/weather/run-1/model.onnx", "uploads/1.csv", "deployments/weather.json", "sweeps/1.json", "x"]
    for key in others:
        yard.artifacts.put_if_absent(key, b"x", content_type="text/plain")
        upload(yard, key)
    made = later(yard).sweep(older_than=DAY, delete=True)
    assert (made.examined, made.orphans, made.unfinished) == (0, (), ())
    assert len(yard.artifacts.objects) == len(yard.artifacts.uploads) == len(others)


@pytest.mark.parametrize("key", ["reports/", "reports//x.json", "reports/x", "reports/UPPER/x.json", "artifacts/"])
def test_an_object_with_an_odd_key_does_not_end_the_sweep(yard: Yard, key: str) -> None:
    yard.artifacts.put_if_absent(key, b"x", content_type="text/plain")
    assert found(later(yard).sweep(older_than=DAY, delete=True)) == [key]


# -- marks ------------------------------------------------------------------------------------------------------------


def without_marks(yard: Yard) -> None:
    """The records as an earlier release left them."""
    for pk in [pk for pk in yard.records._items if pk.startswith("OBJECT#")]:
        del yard.records._items[pk]
        del yard.records._order[pk]


def test_versions_of_an_earlier_release_without_marks_keep_their_bytes(yard: Yard) -> None:
    key = yard.add(evaluation=report(yard)).manifest.key
    without_marks(yard)
    made = later(yard).sweep(older_than=DAY, delete=True)
    assert made.orphans == ()
    assert key in yard.artifacts.objects
    assert not [pk for pk in yard.records._items if pk.startswith("OBJECT#")], "nothing was condemned"


def test_an_object_that_is_published_while_the_sweep_runs_stays(yard: Yard) -> None:
    key = orphan(yard, b"model")

    class Late(InMemoryArtifactStore):
        """Somebody registers the bytes after every name was read, before the sweep looks at the object."""

        def head(self, key: str) -> ObjectFacts | None:
            if not yard.registry().models().items:
                register(yard.registry(), "weather", b"model")
            return yard.artifacts.head(key)

    registry = later(yard)
    late = Late(clock=yard.clock)
    late.objects, late._kept = yard.artifacts.objects, yard.artifacts._kept
    registry.artifacts = late
    made = registry.sweep(older_than=DAY, delete=True)
    assert (made.orphans, made.examined, made.named) == ((), 1, 1)
    assert yard.artifacts.objects[key] == b"model"
    assert register(yard.registry(), "weather", b"model").number == 1


def test_bytes_that_were_swept_are_published_again_like_new_ones(yard: Yard) -> None:
    key = orphan(yard, b"model")
    later(yard).sweep(older_than=DAY, delete=True)
    assert key not in yard.artifacts.objects
    assert yard.add(body=b"model").manifest.key == key
    assert later(yard).sweep(older_than=DAY, delete=True).orphans == ()
    assert yard.artifacts.objects[key] == b"model"


def test_an_evaluation_report_that_was_swept_cannot_be_named_any_more(yard: Yard) -> None:
    key = report(yard)
    later(yard).sweep(older_than=DAY, delete=True)
    with pytest.raises(Exception, match="was swept away") as refused:
        yard.add(evaluation=key)
    assert getattr(refused.value, "code", "") == "evaluation_swept"
    assert yard.registry().models().items == ()


def test_a_sweep_deletes_the_object_version_that_it_condemned(yard: Yard) -> None:
    key = orphan(yard)
    condemned = (yard.artifacts.head(key) or pytest.fail("gone")).version_id
    later(yard).sweep(older_than=DAY, delete=True)
    mark = yard.records.get(keys.object_partition(key), keys.OBJECT) or {}
    assert (mark["state"], mark["version_id"], mark["by"]) == ("condemned", condemned, "sweeper")


def test_bytes_that_a_sweep_has_condemned_are_put_there_anew(yard: Yard) -> None:
    """The sweep may delete what it condemned at any later moment, and then deletes that object version alone."""
    key = orphan(yard)
    with pytest.raises(AWSError):
        later(yard, artifacts=Deleting(yard.artifacts)).sweep(older_than=DAY, delete=True)
    condemned = (yard.artifacts.head(key) or pytest.fail("gone")).version_id
    assert yard.add(body=b"orphan").manifest.key == key
    yard.artifacts.delete(key, version_id=str(condemned))
    assert yard.artifacts.objects[key] == b"orphan"
    assert (yard.records.get(keys.object_partition(key), keys.OBJECT) or {})["state"] == "named"


class Deleting:
    """A store whose deletions do not come through."""

    def __init__(self, store: InMemoryArtifactStore) -> None:
        self._store = store

    def delete(self, key: str, *, version_id: str) -> None:
        raise AWSError("the connection was cut", code="unreachable")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_bucket_without_versions_is_found_in_but_nothing_is_deleted(yard: Yard) -> None:
    class Unversioned(InMemoryArtifactStore):
        def head(self, key: str) -> ObjectFacts | None:
            facts = yard.artifacts.head(key)
            return None if facts is None else dataclasses.replace(facts, version_id=None)

    key = orphan(yard)
    registry = later(yard)
    unversioned = Unversioned(clock=Clock())
    unversioned.objects, unversioned._kept = yard.artifacts.objects, yard.artifacts._kept
    registry.artifacts = unversioned
    assert found(registry.sweep(older_than=DAY)) == [key]
    with pytest.raises(UsageError) as refused:
        registry.sweep(older_than=DAY, delete=True)
    assert refused.value.code == "not_versioned"
    assert key in yard.artifacts.objects
    assert not [pk for pk in yard.records._items if pk.startswith("OBJECT#")]


def test_an_object_that_is_gone_before_it_is_looked_at_is_not_counted_as_removed(yard: Yard) -> None:
    class Vanishing(InMemoryArtifactStore):
        def head(self, key: str) -> Any:
            return None

    orphan(yard)
    registry = later(yard)
    vanishing = Vanishing(clock=yard.clock)
    vanishing.objects, vanishing._kept = yard.artifacts.objects, yard.artifacts._kept
    registry.artifacts = vanishing
    assert registry.sweep(older_than=DAY, delete=True).orphans == ()
