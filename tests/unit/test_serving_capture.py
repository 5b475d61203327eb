"""Capture: which requests are kept, when files are written, and what is lost when S3 takes none."""

import json
import re
import sys
import time
from typing import Any

import msgspec
import pytest

from modelyard.errors import AWSError
from modelyard.serving import capture as module
from modelyard.serving.capture import Capture, capture_key, capture_prefix


class Bucket:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.keys: list[str] = []  # of every attempt
        self.failure: Exception | None = None

    def put(self, key: str, content: bytes) -> None:
        self.keys.append(key)
        if self.failure is not None:
            raise self.failure
        self.objects[key] = content

    @property
    def records(self) -> list[Any]:
        return [json.loads(line) for key in sorted(self.objects) for line in self.objects[key].splitlines()]


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def capture(bucket: Bucket, *, share: float = 1.0, age_s: float = 3600) -> Capture:
    return Capture(bucket, model="weather", share=share, age_s=age_s)


def keep(kept: Capture, instance: Any = 1, *, prediction_id: str = "ab" * 16) -> None:
    kept.keep(
        version=3,
        prediction_id=prediction_id,
        request_id="request",
        instances=[instance],
        predictions=[{"label": "sun"}],
        latency_ms=1.23456,
    )


def test_a_record_says_who_answered_what_and_when(bucket):
    kept = capture(bucket)
    keep(kept, {"wind": 3.5})
    kept.finish()
    ((key, content),) = bucket.objects.items()
    form = r"captures/weather/version=3/date=20\d\d-\d\d-\d\d/hour=\d\d/\d{4}\.\d{6}-[0-9a-f]{16}\.jsonl"
    assert re.fullmatch(form, key)
    assert content.endswith(b"}\n")
    record = json.loads(content)
    assert record.pop("time").endswith("Z")
    assert record == {
        "model": "weather",
        "version": 3,
        "prediction_id": "ab" * 16,
        "request_id": "request",
        "instances": [{"wind": 3.5}],
        "predictions": [{"label": "sun"}],
        "latency_ms": 1.235,
        "mode": "live",
    }


def test_a_file_lies_below_its_model_version_and_hour_and_is_named_by_its_first_record():
    came = 1_700_000_000_123_456_789
    prefix = capture_prefix("weather", 7, came)
    assert prefix == "captures/weather/version=7/date=2023-11-14/hour=22/"
    assert capture_key(prefix, came).startswith(f"{prefix}1320.123456-")


def test_versions_and_hours_have_files_of_their_own(bucket):
    kept = capture(bucket)
    hour = 3600 * 10**9
    for came, version in [(1, 1), (2, 2), (3, 1), (hour - 1, 1), (hour, 1), (hour + 1, 2)]:
        kept.keep(version=version, prediction_id="ab" * 16, request_id="r", instances=[came], predictions=[1],
                  latency_ms=1, came=came)  # fmt: skip
    kept.finish()
    found = {
        key.removeprefix("captures/weather/").rpartition("/")[0]: [json.loads(line)["instances"][0] for line in lines]
        for key, lines in ((key, content.splitlines()) for key, content in bucket.objects.items())
    }
    assert found == {
        "version=1/date=1970-01-01/hour=00": [1, 3, hour - 1],
        "version=2/date=1970-01-01/hour=00": [2],
        "version=1/date=1970-01-01/hour=01": [hour],
        "version=2/date=1970-01-01/hour=01": [hour + 1],
    }


def test_a_file_that_s3_does_not_take_holds_up_no_other(bucket):
    kept = capture(bucket)
    refused: list[str] = []

    def put(key: str, content: bytes) -> None:
        if "version=1" in key and not refused:
            refused.append(key)
            raise AWSError("S3 is away")
        bucket.objects[key] = content

    bucket.put = put
    for version in (1, 2):
        kept.keep(version=version, prediction_id="ab" * 16, request_id="r", instances=[version], predictions=[1],
                  latency_ms=1)  # fmt: skip
    with pytest.raises(AWSError):
        kept.finish()
    assert [record["version"] for record in bucket.records] == [2]
    kept.finish()
    assert sorted(record["version"] for record in bucket.records) == [1, 2]
    assert refused[0] in bucket.objects


@pytest.mark.parametrize(
    ("instances", "expected"),
    [
        ([{"name": "Ana", "wind": 1}, {"wind": 2}], [{"name": None, "wind": 1}, {"wind": 2}]),
        (msgspec.Raw(b'[{"name": "Ana", "wind": 1}]'), [{"name": None, "wind": 1}]),
        (lambda: [{"name": ["Ana", "Bo"]}], [{"name": None}]),
        (msgspec.Raw(b'["Ana", 5]'), [None, None]),
    ],
    ids=["values", "text", "made later", "bare"],
)
def test_values_of_redacted_inputs_are_never_written(bucket, instances, expected):
    kept = Capture(bucket, model="weather", share=1.0, redact=frozenset({"name", "address"}))
    kept.keep(version=1, prediction_id="ab" * 16, request_id="r", instances=instances, predictions=[1], latency_ms=1)
    kept.finish()
    (record,) = bucket.records
    assert record["instances"] == expected
    assert record["redacted"] == ["address", "name"]
    assert b"Ana" not in b"".join(bucket.objects.values())


def test_what_cannot_be_redacted_is_not_written(bucket, capfd):
    kept = Capture(bucket, model="weather", share=1.0, redact=frozenset({"name"}))
    kept.keep(version=1, prediction_id="ab" * 16, request_id="r", instances=msgspec.Raw(b'[{"name": "Ana"'),
              predictions=[1], latency_ms=1)  # fmt: skip
    kept.finish()
    assert not bucket.objects
    line = capfd.readouterr().out
    assert (json.loads(line)["event"], "Ana" in line) == ("capture_not_encoded", False)


@pytest.mark.parametrize(("share", "taken"), [(0.0, 0), (0.25, 64), (1.0, 256)])
def test_the_share_decides_by_the_prediction_id(bucket, share, taken):
    kept = capture(bucket, share=share)
    ids = [f"{number:02x}{'f' * 30}" for number in range(256)]
    assert sum(map(kept.takes, ids)) == taken
    assert [kept.takes(name) for name in ids] == [kept.takes(name) for name in ids]


def test_a_file_is_written_when_it_has_its_records(bucket, monkeypatch):
    monkeypatch.setattr(module, "BATCH_RECORDS", 3)
    kept = capture(bucket)
    for number in range(7):
        keep(kept, number)
        assert kept.due()
        kept.run()
        assert not kept.due()
    assert [len(content.splitlines()) for content in bucket.objects.values()] == [3, 3]
    kept.finish()
    assert sorted(record["instances"][0] for record in bucket.records) == list(range(7))


def test_a_file_is_written_when_it_has_its_bytes(bucket, monkeypatch):
    monkeypatch.setattr(module, "BATCH_BYTES", 1000)
    kept = capture(bucket)
    keep(kept, "x" * 500)
    kept.run()
    assert not bucket.objects
    keep(kept, "x" * 500)
    kept.run()
    assert len(bucket.objects) == 1


def test_a_file_is_written_when_its_first_record_is_old_enough(bucket):
    kept = capture(bucket, age_s=0.05)
    keep(kept)
    kept.run()
    assert not bucket.objects
    time.sleep(0.06)
    assert kept.due()
    kept.run()
    assert len(bucket.records) == 1


def test_nothing_is_written_without_records(bucket):
    kept = capture(bucket)
    kept.run()
    kept.finish()
    assert not kept.due()
    assert bucket.keys == []


def test_a_file_that_was_refused_is_written_later_under_the_same_key_with_what_came_meanwhile(bucket, monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    kept = capture(bucket, age_s=0)
    bucket.failure = AWSError("S3 is away")
    keep(kept, "first")
    with pytest.raises(AWSError):
        kept.run()
    keep(kept, "second")
    kept.run()  # too soon to try again
    assert len(bucket.keys) == 1
    bucket.failure = None
    time.sleep(0.06)
    assert kept.due()
    kept.run()
    assert [record["instances"] for record in bucket.records] == [["first"], ["second"]]
    assert len(set(bucket.keys)) == 1
    keep(kept, "third")
    kept.run()
    assert len(set(bucket.keys)) == 2


def test_the_end_does_not_wait_for_the_time_of_another_attempt(bucket):
    kept = capture(bucket, age_s=0)
    bucket.failure = AWSError("S3 is away")
    keep(kept)
    with pytest.raises(AWSError):
        kept.run()
    bucket.failure = None
    kept.finish()
    assert len(bucket.records) == 1


def test_what_s3_does_not_take_is_bounded_and_the_oldest_goes_first(bucket, monkeypatch, capfd):
    monkeypatch.setattr(module, "WAITING_BYTES", 2000)
    kept = capture(bucket)
    for number in range(10):
        keep(kept, f"{number}" + "x" * 300)
        kept.run()
    dropped = [json.loads(line)["dropped"] for line in capfd.readouterr().out.splitlines()]
    kept.finish()
    found = [record["instances"][0][0] for record in bucket.records]
    assert 0 < len(found) < 10
    assert found == [str(number) for number in range(10 - len(found), 10)]
    assert sum(dropped) == 10 - len(found)


def test_one_record_larger_than_all_room_is_kept_alone(bucket, monkeypatch):
    monkeypatch.setattr(module, "WAITING_BYTES", 100)
    kept = capture(bucket)
    keep(kept, "small")
    keep(kept, "x" * 1000)
    kept.finish()
    assert [len(record["instances"][0]) for record in bucket.records] == [1000]


def test_records_that_wait_to_be_encoded_are_bounded(bucket, capfd):
    kept = capture(bucket)
    for number in range(module.WAITING_RECORDS + 5):
        keep(kept, number)
    kept.finish()
    assert [record["instances"][0] for record in bucket.records] == list(range(5, module.WAITING_RECORDS + 5))
    assert json.loads(capfd.readouterr().out)["dropped"] == 5


@pytest.mark.parametrize("value", ["\ud800", object(), 1 + 2j], ids=["surrogate", "object", "complex"])
def test_a_record_that_is_not_json_is_reported_and_the_others_are_written(bucket, capfd, value):
    kept = capture(bucket)
    keep(kept, 1)
    keep(kept, value, prediction_id="cd" * 16)
    keep(kept, 2)
    kept.finish()
    assert [record["instances"] for record in bucket.records] == [[1], [2]]
    line = json.loads(capfd.readouterr().out)
    assert (line["event"], line["prediction_id"]) == ("capture_not_encoded", "cd" * 16)


def test_the_text_of_a_request_goes_in_as_it_came_on_one_line(bucket):
    kept = capture(bucket)
    kept.keep(
        version=1,
        prediction_id="ab" * 16,
        request_id="r",
        instances=msgspec.Raw(b'[{"wind":\r\n 1.50}]'),
        predictions=msgspec.Raw(b"[1]"),
        latency_ms=1,
    )
    kept.finish()
    ((_, content),) = bucket.objects.items()
    assert b"1.50" in content
    assert len(content.splitlines()) == 1
    assert bucket.records[0]["instances"] == [{"wind": 1.5}]


def test_keeping_a_request_costs_a_request_next_to_nothing(bucket):
    kept = capture(bucket)
    instances = [{"x": [0.0] * 1000}] * 100
    began = time.perf_counter()
    for _ in range(1000):
        keep(kept, instances)
    assert (time.perf_counter() - began) / 1000 < 50e-6
    assert sys.getrefcount(instances) > 10
