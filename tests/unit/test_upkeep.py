"""Following the table's stream, and reporting what a sweep would remove."""

import copy
import datetime as dt
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from modelyard import upkeep
from modelyard.pointer_key import pointer_key
from modelyard.registry import Search
from tests.fakes.broken_stores import Outage
from tests.fakes.registries import Yard

EVENT = json.loads((Path(__file__).parents[1] / "events" / "dynamodb_stream_keys_only.json").read_text())
FINE: dict[str, Any] = {"batchItemFailures": []}
DAY = dt.timedelta(days=1)


@pytest.fixture
def yard() -> Yard:
    yard = Yard()
    yard.artifacts.clock = yard.clock
    return yard


def live(yard: Yard, model: str = "weather") -> None:
    """A model with a live version whose writer died before the pointer."""
    yard.add(model, f"{model} 1".encode())
    yard.registry().promote(model, 1)
    del yard.artifacts.objects[pointer_key(model)]


def change(pk: str, sk: str, sequence: str) -> dict[str, Any]:
    record = copy.deepcopy(EVENT["Records"][0])
    record["dynamodb"] |= {"Keys": {"pk": {"S": pk}, "sk": {"S": sk}}, "SequenceNumber": sequence}
    return record  # type: ignore[no-any-return]


def follow(yard: Yard, *records: Any, **changes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The answer, and the lines of the log."""
    lines: list[str] = []
    answer = upkeep.follow(yard.registry("stream", **changes), {"Records": list(records)}, lines.append)
    return answer, [json.loads(line) for line in lines]


def revision(yard: Yard, model: str = "weather") -> int | None:
    body = yard.artifacts.objects.get(pointer_key(model))
    return None if body is None else json.loads(body)["revision"]


def test_a_change_of_what_is_live_publishes_the_pointer_and_the_index(yard: Yard) -> None:
    live(yard)
    answer, lines = follow(yard, change("MODEL#weather", "DEPLOYMENT", "7"))
    assert answer == FINE
    assert revision(yard) == 1
    assert [model.is_live for model in yard.registry().search(Search()).items] == [True]
    ((line),) = lines
    assert (line["model"], line["change"], line["revision"], line["index_writes"] > 0) == ("weather", "7", 1, True)


def test_a_change_of_a_model_alone_does_not_touch_the_pointer(yard: Yard) -> None:
    live(yard)
    assert follow(yard, change("MODEL#weather", "MODEL", "7"))[0] == FINE
    assert revision(yard) is None
    assert len(yard.registry().search(Search()).items) == 1


def test_a_model_is_looked_after_once_for_a_batch_however_often_it_changed(yard: Yard) -> None:
    live(yard)
    records = [change("MODEL#weather", sk, str(n)) for n, sk in enumerate(["MODEL", "DEPLOYMENT"] * 20)]
    answer, lines = follow(yard, *records)
    assert (answer, len(lines), lines[0]["change"]) == (FINE, 1, "0")
    assert revision(yard) == 1


def test_a_later_change_of_the_record_does_not_hide_that_of_what_is_live(yard: Yard) -> None:
    live(yard)
    follow(yard, change("MODEL#weather", "DEPLOYMENT", "1"), change("MODEL#weather", "MODEL", "2"))
    assert revision(yard) == 1


def test_repeated_events_change_nothing_more(yard: Yard) -> None:
    live(yard)
    event = [change("MODEL#weather", "MODEL", "1"), change("MODEL#weather", "DEPLOYMENT", "2")]
    follow(yard, *event)
    items, objects = copy.deepcopy(yard.records._items), dict(yard.artifacts.objects)
    answer, lines = follow(yard, *event)
    assert (answer, lines[0]["index_writes"]) == (FINE, 0)
    assert (yard.records._items, yard.artifacts.objects) == (items, objects)


def test_events_in_any_order_end_in_the_newest_state(yard: Yard) -> None:
    live(yard)
    yard.add(body=b"2")
    yard.registry().promote("weather", 2)
    events = [change("MODEL#weather", sk, str(n)) for n, sk in enumerate(["MODEL", "DEPLOYMENT", "DEPLOYMENT"])]
    for order in itertools.permutations(events):
        del yard.artifacts.objects[pointer_key("weather")]
        for event in order:
            assert follow(yard, event)[0] == FINE
        assert revision(yard) == 2
        assert [model.version for model in yard.registry().search(Search()).items] == [2]


@pytest.mark.parametrize(
    ("pk", "sk"),
    [
        ("CATALOGUE", "weather"),
        ("MODEL#weather", "VERSION#00000001"),
        ("MODEL#weather", "LEDGER#2026"),
        ("FIND#", "MODEL"),
        ("VERSIONS#weather", "INDEXED"),
        ("OBJECT#artifacts/x", "OBJECT"),
        ("CLAIM#b/MODEL#weather", "DEPLOYMENT"),
        ("", ""),
    ],
)
def test_other_changes_are_nothing_to_follow(yard: Yard, pk: str, sk: str) -> None:
    live(yard)
    outage = Outage()
    answer, lines = follow(
        yard, change(pk, sk, "1"), records=outage.over(yard.records), artifacts=outage.over(yard.artifacts)
    )
    assert (answer, lines, outage.calls) == (FINE, [], [])


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"Records": []},
        {"Records": [{}]},
        {"Records": [{"dynamodb": {}}]},
        {"Records": [{"dynamodb": {"Keys": {}}}]},
        {"Records": [{"dynamodb": {"Keys": {"pk": {"N": "1"}, "sk": {"B": "TQ=="}}}}]},
        {"Records": [{"eventSource": "aws:s3", "s3": {"bucket": {}}}]},
        {"key1": "value1"},
    ],
    ids=json.dumps,
)
def test_an_event_that_is_no_change_is_ignored(yard: Yard, event: dict[str, Any]) -> None:
    assert upkeep.follow(yard.registry(), event, print) == FINE


def test_a_model_that_is_gone_or_was_never_there_is_no_failure(yard: Yard) -> None:
    answer, lines = follow(yard, change("MODEL#weather", "DEPLOYMENT", "1"))
    assert (answer, lines[0]["revision"], lines[0]["index_writes"]) == (FINE, None, 0)


def test_the_first_change_of_each_model_that_failed_is_asked_for_again(yard: Yard) -> None:
    for model in ("digits", "weather", "rain"):
        live(yard, model)

    class Damaged:
        """Reads of one model fail."""

        def __getattr__(self, name: str) -> Any:
            return getattr(yard.records, name)

        def get(self, pk: str, sk: str) -> Any:
            return Outage(0).over(yard.records).get(pk, sk) if "weather" in pk else yard.records.get(pk, sk)

    answer, lines = follow(
        yard,
        change("MODEL#digits", "DEPLOYMENT", "10"),
        change("MODEL#weather", "MODEL", "11"),
        change("MODEL#Not a name", "MODEL", "12"),
        change("MODEL#weather", "DEPLOYMENT", "13"),
        change("MODEL#rain", "DEPLOYMENT", "14"),
        records=Damaged(),
    )
    assert answer == {"batchItemFailures": [{"itemIdentifier": "11"}, {"itemIdentifier": "12"}]}
    assert (revision(yard, "digits"), revision(yard, "rain"), revision(yard)) == (1, 1, None)
    failed = {line["model"]: line["code"] for line in lines if line.get("level") == "ERROR"}
    assert failed == {"weather": "unreachable", "Not a name": "invalid_name"}


def calls_of_following() -> int:
    yard, outage = Yard(), Outage()
    live(yard)
    follow(yard, change("MODEL#weather", "DEPLOYMENT", "1"), records=outage.over(yard.records),
           artifacts=outage.over(yard.artifacts))  # fmt: skip
    return len(outage.calls)


@pytest.mark.parametrize("after", [False, True], ids=["before", "answer lost"])
@pytest.mark.parametrize("at", range(calls_of_following()))
def test_a_cut_at_any_call_is_healed_by_the_next_delivery(yard: Yard, at: int, after: bool) -> None:
    live(yard)
    outage, event = Outage(at, after=after), change("MODEL#weather", "DEPLOYMENT", "1")
    answer, _ = follow(yard, event, records=outage.over(yard.records), artifacts=outage.over(yard.artifacts))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert follow(yard, event)[0] == FINE
    assert revision(yard) == 1
    assert len(yard.registry().search(Search()).items) == 1


# -- the report -------------------------------------------------------------------------------------------------------


def test_a_report_says_what_a_sweep_would_remove_and_removes_nothing(yard: Yard) -> None:
    yard.add()
    yard.artifacts.put_if_absent("artifacts/sha256/0/model.onnx", b"orphan", content_type="x")
    yard.clock.now += 8 * DAY
    lines: list[str] = []
    outage = Outage()
    registry = yard.registry("report", records=outage.over(yard.records), artifacts=outage.over(yard.artifacts))
    answer = upkeep.report_orphans(registry, older_than=7 * DAY, say=lines.append)
    assert (answer["orphans"], answer["bytes"]) == (1, 6)
    assert answer["report"].startswith("sweeps/2026-11-29T")
    assert [call for call in outage.calls if call not in {"get", "query", "listing", "unfinished"}] == ["put_if_absent"]
    stored = upkeep.latest_report(yard.registry())
    assert stored is not None
    assert (stored.deleted, stored.by, stored.examined, stored.named) == (False, "report", 2, 1)
    assert [orphan.key for orphan in stored.orphans] == ["artifacts/sha256/0/model.onnx"]
    assert "artifacts/sha256/0/model.onnx" in yard.artifacts.objects
    ((line),) = lines
    said = json.loads(line)
    (directive,) = said["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Modelyard"
    assert {metric["Name"]: said[metric["Name"]] for metric in directive["Metrics"]} == {
        "OrphanedObjects": 1,
        "OrphanedBytes": 6,
    }
    milliseconds = dt.datetime.fromisoformat(stored.at).timestamp() * 1000
    assert said["_aws"]["Timestamp"] == int(milliseconds)


def test_the_newest_report_is_the_latest_one(yard: Yard) -> None:
    assert upkeep.latest_report(yard.registry()) is None
    for days in (1, 300, 1):
        yard.clock.now += days * DAY
        answer = upkeep.report_orphans(yard.registry(), older_than=DAY, say=lambda _: None)
    latest = upkeep.latest_report(yard.registry())
    assert latest is not None
    assert answer["report"] == f"sweeps/{latest.at}.json"


def test_a_report_is_not_an_orphan_of_the_next_one(yard: Yard) -> None:
    for _ in range(3):
        yard.clock.now += 30 * DAY
        assert upkeep.report_orphans(yard.registry(), older_than=DAY, say=lambda _: None)["orphans"] == 0


def test_a_model_whose_index_fails_still_gets_its_pointer(yard: Yard) -> None:
    live(yard)

    class NoIndex:
        def __getattr__(self, name: str) -> Any:
            return getattr(yard.records, name)

        def transact(self, writes: Any) -> None:
            Outage(0).over(yard.records).transact(writes)

    answer, _ = follow(yard, change("MODEL#weather", "DEPLOYMENT", "5"), records=NoIndex())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "5"}]}
    assert revision(yard) == 1
