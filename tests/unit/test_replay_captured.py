"""Which captured requests a replay takes, and what it says of those that it cannot."""

import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import UsageError
from modelyard.replay import captured as module
from modelyard.replay.captured import Captured, read_captured
from modelyard.replay.period import Period, parse_period
from modelyard.replay.sources import BucketSource, FolderSource
from tests.fakes.stores import InMemoryArtifactStore

NOW = dt.datetime(2026, 11, 21, 12, 30, tzinfo=dt.UTC)


class Files:
    """A source in memory."""

    def __init__(self, captures: dict[str, bytes], labels: dict[str, bytes] | None = None) -> None:
        self.files = captures | (labels or {})
        self._captures, self._labels = list(captures), list(labels or {})

    def captures(self) -> list[str]:
        return self._captures

    def labels(self) -> list[str]:
        return self._labels

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)


def record(number: int, *, rows: int = 1, **more: Any) -> dict[str, Any]:
    at = f"2026-11-21T10:{number // 60 % 60:02}:{number % 60:02}.000000Z"
    return {
        "time": at, "model": "m", "version": 3, "prediction_id": f"{number:032x}", "request_id": "r",
        "instances": [{"x": number}] * rows, "predictions": [number] * rows, "latency_ms": 1.0, "mode": "live", **more,
    }  # fmt: skip


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in records)


def read(source: Any, *, limit: int = 1000, period: Period | None = None) -> Captured:
    return read_captured(source, model="m", period=period or Period(), limit=limit)


def test_a_record_is_the_request_that_a_caller_sent() -> None:
    text = b'{"time":"2026-11-21T10:00:00.000000Z","version":3,"prediction_id":"a","instances":[ {"x": 1.50} ,[2]]}'
    (found,) = read(Files({"a": text})).records
    assert found.body == b'{"instances":[{"x": 1.50},[2]]}'
    assert (found.rows, found.version, found.predictions, found.redacted) == (2, 3, b"null", ())


def test_what_cannot_be_used_is_counted_under_what_is_wrong_with_it() -> None:
    found = read(
        Files({
            "a": lines(record(1), record(1), record(2, model="other"), record(3, instances=[])) + b"{\n\xff\n\n[]\n",
            "b": lines(record(4, version="3"), record(5, prediction_id=""), {"prediction_id": "x"}),
        })
    )  # fmt: skip
    assert [one.prediction_id for one in found.records] == [f"{1:032x}"]
    assert found.bad == {
        "a request that was captured twice": 1, "of another model": 1, "a request without instances or id": 2,
        "an unreadable line": 5,
    }  # fmt: skip


def test_files_that_vanish_are_counted() -> None:
    source = Files({"a": lines(record(1)), "b": lines(record(2))})
    del source.files["a"]
    found = read(source)
    assert (found.files, found.vanished, len(found.records)) == (1, 1, 1)


def test_of_too_many_requests_the_same_are_taken_in_whatever_order_they_lie() -> None:
    records = [record(number) for number in range(200)]
    chosen = {one.prediction_id for one in read(Files({"a": lines(*records)}), limit=50).records}
    assert len(chosen) == 50
    random.Random(1).shuffle(records)  # noqa: S311 - the order of a test
    found = read(Files({"x": lines(*records[:70]), "y": lines(*records[70:])}), limit=50)
    assert {one.prediction_id for one in found.records} == chosen
    assert found.requests == 200
    times = [one.time for one in found.records]
    assert times == sorted(times)
    numbers = sorted(int(identity, 16) for identity in chosen)
    assert numbers[0] < 40 < 160 < numbers[-1], "not the first ones, but some of all"


def test_rows_and_bytes_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Files({"a": lines(*[record(number, rows=10) for number in range(30)])})
    monkeypatch.setattr(module, "MOST_ROWS", 95)
    assert read(source).rows == 90
    monkeypatch.setattr(module, "MOST_BYTES", 500)
    assert 0 < read(source).rows < 90
    monkeypatch.setattr(module, "MOST_ROWS", 1)
    assert len(read(source).records) == 1, "one request is taken, however long"


def test_files_beyond_the_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FILES", 3)
    found = read(Files({f"{number}": lines(record(number)) for number in range(10)}))
    assert (found.files, found.files_left, len(found.records)) == (3, 7, 3)


def test_labels_of_chosen_requests_are_read_and_others_are_not() -> None:
    labels = lines(
        {"prediction_id": f"{1:032x}", "label": "a", "time": "t", "row": 0}, {"prediction_id": "x", "label": 1}
    )
    found = read(Files({"a": lines(record(1))}, {"b": labels + b"no label\n"}))
    assert [json.loads(text)["label"] for text in found.labels] == ["a"]
    assert found.bad == {"an unreadable line": 1}


# -- the period -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("30m", "2026-11-21T12:00:00.000000Z"),
        ("12h", "2026-11-21T00:30:00.000000Z"),
        ("7d", "2026-11-14T12:30:00.000000Z"),
        ("2w", "2026-11-07T12:30:00.000000Z"),
        ("2026-11-20T10:00:00+01:00", "2026-11-20T09:00:00.000000Z"),
    ],
)
def test_a_period_begins_at_a_time_or_so_long_ago(text: str, since: str) -> None:
    assert parse_period(text, None, NOW) == Period(since=since)


def test_a_period_ends_before_its_end() -> None:
    period = parse_period("2026-11-21T10:00:00Z", "2026-11-21T10:01:00Z", NOW)
    found = read(Files({"a": lines(record(0), record(59), record(60))}), period=period)
    assert [one.time[14:19] for one in found.records] == ["00:00", "00:59"]


@pytest.mark.parametrize("text", ["0d", "d", "7", "7 d", "1.5h", "", "now", "100000d"])
def test_what_is_no_time_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_period(text, None, NOW)
    assert refused.value.code == "invalid_time"
    assert "12h" in str(refused.value.next_step)


# -- where from -------------------------------------------------------------------------------------------------------


def test_a_bucket_is_asked_for_the_hours_of_the_period_and_for_late_labels() -> None:
    store = InMemoryArtifactStore()
    keys = [
        f"{root}/date={date}/hour={hour}/0.jsonl"
        for root in ("captures/m/version=2", "captures/m/version=3", "captures/m/version=33", "captures/mm/version=3",
                     "feedback/m", "feedback/mm")
        for date, hour in (("2026-11-19", "23"), ("2026-11-20", "09"), ("2026-11-20", "10"), ("2026-11-20", "11"),
                           ("2026-11-21", "12"))
    ]  # fmt: skip
    for key in keys:
        store.put_if_absent(key, b"x", content_type="x")
    period = parse_period("2026-11-20T10:59:00Z", "2026-11-20T11:00:00Z", NOW)
    source = BucketSource(store, model="m", versions=[3, 2, 3], period=period, now=NOW)
    assert source.captures() == [
        f"captures/m/version={version}/date=2026-11-20/hour={hour}/0.jsonl"
        for version in (2, 3)
        for hour in ("10", "11")
    ]
    assert [key[16:35] for key in source.labels()] == [
        "2026-11-20/hour=09/", "2026-11-20/hour=10/", "2026-11-20/hour=11/", "2026-11-21/hour=12/",
    ]  # fmt: skip
    assert source.read("captures/m/version=9/x") is None


def test_a_folder_is_read_however_it_is_arranged(tmp_path: Path) -> None:
    for name in ("x.jsonl", "captures/m/y.jsonl", "feedback/z.jsonl", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(lines(record(len(name))))
    source = FolderSource(tmp_path)
    assert source.captures() == ["captures/m/y.jsonl", "x.jsonl"]
    assert source.labels() == ["feedback/z.jsonl"]
    (tmp_path / "x.jsonl").unlink()
    assert source.read("x.jsonl") is None


def test_a_file_may_hold_requests_and_labels(tmp_path: Path) -> None:
    label = {"prediction_id": f"{1:032x}", "label": True}
    (tmp_path / "all.jsonl").write_bytes(lines(label, record(1)))
    found = read(FolderSource(tmp_path))
    assert (len(found.records), len(found.labels), dict(found.bad)) == (1, 1, {})
