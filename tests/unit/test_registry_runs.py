"""What the retraining workflow writes down, delivered once or five times."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard.errors import NotFoundError, UsageError
from tests.fakes.registries import Yard
from tests.fakes.stores import InMemoryRecordStore

FILE: dict[str, Any] = {
    "bucket": "data",
    "key": "weather/käse +.csv",
    "version_id": "v1",
    "sha256": "ab" * 32,
    "rows": 1461,
    "size": 50_000,
}


def test_an_upload_is_claimed_by_one_run(yard: Yard) -> None:
    with ThreadPoolExecutor(16) as pool:
        won = list(
            pool.map(lambda run: yard.registry().claim("data", "weather/a b.csv", "v1", f"run-{run}"), range(16))
        )
    assert won.count(True) == 1


def test_the_run_that_claimed_may_ask_again(yard: Yard) -> None:
    registry = yard.registry()
    assert [registry.claim("data", "k", "v1", run) for run in ("run-1", "run-1", "run-2", "run-1")] == [
        True,
        True,
        False,
        True,
    ]


def test_another_object_version_is_another_upload(yard: Yard) -> None:
    registry = yard.registry()
    assert registry.claim("data", "k", "v1", "run-1")
    assert registry.claim("data", "k", "v2", "run-2")
    assert registry.claim("other", "k", "v1", "run-3")


def test_the_run_that_claimed_an_upload_can_be_asked_for(yard: Yard) -> None:
    registry = yard.registry()
    assert registry.claimant("data", "weather/käse +.csv", "v1") is None
    registry.claim("data", "weather/käse +.csv", "v1", "run-1")
    registry.claim("data", "weather/käse +.csv", "v1", "run-2")
    assert registry.claimant("data", "weather/käse +.csv", "v1") == "run-1"
    assert registry.claimant("data", "weather/käse +.csv", "v2") is None


@pytest.mark.parametrize("part", ["bucket", "key", "version_id"])
def test_a_claim_needs_all_its_parts(yard: Yard, part: str) -> None:
    parts = {"bucket": "data", "key": "k", "version_id": "v1"} | {part: ""}
    with pytest.raises(UsageError) as refused:
        yard.registry().claim(**parts, run_id="run-1")
    assert (refused.value.code, refused.value.field) == ("invalid_claim", part)
    with pytest.raises(UsageError) as refused:
        yard.registry().claimant(**parts)
    assert (refused.value.code, refused.value.field) == ("invalid_claim", part)


def test_a_run_is_started_and_ended(yard: Yard) -> None:
    registry = yard.registry()
    started = registry.record_run("weather", "run-1", status="running", object=FILE)
    ended = registry.record_run("weather", "run-1", status="promoted", reason="gate passed", version=3)
    assert (started.ended_at, started.object) == (None, FILE)
    assert ended.started_at == started.started_at
    assert ended.ended_at is not None
    assert ended.ended_at > ended.started_at
    assert (ended.status, ended.reason, ended.version, ended.object) == ("promoted", "gate passed", 3, FILE)
    assert registry.run("weather", "run-1") == ended


@pytest.mark.parametrize(
    ("first", "then", "stays"),
    [
        ("failed", "running", "failed"),
        ("promoted", "failed", "promoted"),
        ("rejected", "failed", "rejected"),
        ("registered", "running", "registered"),
        ("registered", "promoted", "promoted"),
        ("failed", "promoted", "promoted"),
    ],
)
def test_late_news_does_not_undo_what_a_run_achieved(yard: Yard, first: Any, then: Any, stays: str) -> None:
    registry = yard.registry()
    registry.record_run("weather", "run-1", status=first, reason="first")
    assert registry.record_run("weather", "run-1", status=then).status == stays
    assert registry.run("weather", "run-1").status == stays


def test_the_same_news_at_once_is_one_record(yard: Yard) -> None:
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda _: yard.registry().record_run("weather", "run-1", status="running"), range(16)))
    assert len({run.started_at for run in runs}) == 1


def test_news_that_was_overtaken_does_not_replace_what_came_first(yard: Yard) -> None:
    registry = yard.registry()
    registry.record_run("weather", "run-1", status="running")

    class Overtaken(InMemoryRecordStore):
        """Between this writer's look at the run and its write, another step finishes the run."""

        def get(self, pk: str, sk: str) -> Any:
            found = yard.records.get(pk, sk)
            registry.record_run("weather", "run-1", status="promoted", version=3)
            return found

        def put(self, put: Any) -> None:
            yard.records.put(put)

    run = yard.registry(records=Overtaken()).record_run("weather", "run-1", status="failed", reason="too late")
    assert run == registry.run("weather", "run-1")
    assert (run.status, run.version) == ("promoted", 3)


def test_runs_are_listed_highest_id_first(yard: Yard) -> None:
    registry = yard.registry()
    for run in ("20261121-a", "20261123-b", "20261122-c"):
        registry.record_run("weather", run, status="running")
    page = registry.runs("weather", limit=2)
    assert [run.run_id for run in page.items] == ["20261123-b", "20261122-c"]
    assert [run.run_id for run in registry.runs("weather", start=page.next).items] == ["20261121-a"]


def test_an_unknown_run_is_not_found(yard: Yard) -> None:
    with pytest.raises(NotFoundError, match="no run 'run-9'") as missing:
        yard.registry().run("weather", "run-9")
    assert missing.value.next_step == "Run 'modelyard runs weather'.", "the history shows no run's id"


@pytest.mark.parametrize(("status", "code"), [("done", "invalid_status"), ("", "invalid_status")])
def test_a_status_is_one_of_the_known(yard: Yard, status: Any, code: str) -> None:
    with pytest.raises(UsageError, match=r"running, duplicate, .*, rejected, failed, registered, promoted") as refused:
        yard.registry().record_run("weather", "run-1", status=status)
    assert refused.value.code == code


def test_a_training_file_is_accepted_once_by_its_content(yard: Yard) -> None:
    registry = yard.registry()
    first = registry.add_dataset_file("weather", **FILE, run_id="run-1")
    again = registry.add_dataset_file("weather", **(FILE | {"key": "weather/copy.csv"}), run_id="run-2")
    other = registry.add_dataset_file("weather", **(FILE | {"sha256": "cd" * 32}), run_id="run-2")
    assert again == first
    assert registry.dataset_files("weather") == (first, other)
    assert registry.dataset_files("snow") == ()


def test_the_training_files_of_an_earlier_time_can_be_asked(yard: Yard) -> None:
    registry = yard.registry()
    files = [registry.add_dataset_file("weather", **(FILE | {"sha256": c * 64}), run_id="r") for c in "fa0"]
    assert registry.dataset_files("weather", until=files[1].at) == tuple(files[:2])
    assert registry.dataset_files("weather", until="2026-11-21T09:00:00Z") == ()


def test_a_run_that_brought_no_version_is_in_the_history_once(yard: Yard) -> None:
    registry = yard.registry()
    details = {"findings": ["column 'wind' is empty"], "metrics": {"accuracy": 0.51}}
    first = registry.record_outcome("weather", "rejected", run_id="run-1", reason="worse", details=details)
    assert registry.record_outcome("weather", "rejected", run_id="run-1", reason="worse", details=details) == first
    assert registry.history("weather").items == (first,), "a model whose first run failed has a history and no version"
    assert (first.kind, first.run_id, first.details, first.version) == ("rejected", "run-1", details, None)


def test_a_reason_that_quotes_a_file_is_kept_in_a_form_that_deceives_nobody(yard: Yard) -> None:
    registry = yard.registry()
    quoted = "weather\u202ecsv.exe: line 3: \x1b[2J"
    run = registry.record_run("weather", "run-1", status="rejected", reason=quoted)
    entry = registry.record_outcome("weather", "rejected", run_id="run-1", reason=quoted)
    assert run.reason == entry.reason == "weather\ufffdcsv.exe: line 3: \ufffd[2J"


def test_a_key_is_kept_as_it_is_whatever_it_holds(yard: Yard) -> None:
    registry, key = yard.registry(), "weather/\u202e\t\x85.csv"
    assert registry.claim("data", key, "v1", "run-1")
    assert not registry.claim("data", key, "v1", "run-2")
    assert registry.add_dataset_file("weather", run_id="run-1", **{**FILE, "key": key}).key == key
    assert registry.record_run("weather", "run-1", status="running", object={"key": key}).object == {"key": key}


def test_an_outcome_that_is_none_is_refused(yard: Yard) -> None:
    with pytest.raises(UsageError) as refused:
        yard.registry().record_outcome("weather", "promoted", run_id="run-1", reason="")  # type: ignore[arg-type]
    assert refused.value.code == "invalid_kind"


def test_no_operation_id_of_a_caller_collides_with_what_a_run_writes(yard: Yard) -> None:
    registry = yard.registry()
    yard.add(body=b"one")
    registry.promote("weather", 1, operation="failed-r9")
    assert registry.record_outcome("weather", "failed", run_id="r9", reason="out of memory").kind == "failed"
    yard.add(body=b"two")
    file = registry.add_dataset_file("weather", run_id="r10", **FILE)
    assert registry.promote("weather", 2, operation=f"dataset-{file.sha256}").champion == 2
