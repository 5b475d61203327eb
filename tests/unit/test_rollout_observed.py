"""What the judge reads: every file once, late ones too, thinned by what they are called and not by what they say."""

import datetime as dt
from typing import Any

import msgspec
import pytest

from modelyard.errors import AWSError
from modelyard.rollout.observed import MOST_OBJECTS, Observed, keep, observations, observe, working_key
from modelyard.rollout.plan import RolloutPlan, Shadow, Step
from modelyard.rollout.policy import Policy
from modelyard.rollout.record import Rollout
from modelyard.times import parse_stamp, stamp
from tests.fakes.stores import InMemoryArtifactStore

START = "2026-11-21T10:20:00.000000Z"
PLAN = RolloutPlan(model="m", shadow=Shadow(5, 10), steps=(Step(5, 1),), policy=Policy(min_samples=10))
ROLLOUT = Rollout(
    model="m", rollout_id="r", version=2, champion=1, deployed=3, started_at=START, started_by="ana", plan=PLAN,
    phase=0, since=START,
)  # fmt: skip


def after(minutes: float) -> dt.datetime:
    return parse_stamp(START) + dt.timedelta(minutes=minutes)


def record(number: int, minutes: float = 1, **more: Any) -> dict[str, Any]:
    shadow = {"version": 2, "predictions": [number], "code": None, "message": None, "latency_ms": 1.0}
    return {
        "time": stamp(after(minutes)), "model": "m", "version": 1, "prediction_id": f"p{number}", "mode": "shadow",
        "instances": [{"x": number}], "predictions": [number], "latency_ms": 1.0, "shadow": shadow, **more,
    }  # fmt: skip


class Bucket(InMemoryArtifactStore):
    """Where an endpoint has captured."""

    files = 0

    def capture(self, *records: dict[str, Any], hour: str = "10", kind: str = "captures/m/version=1") -> None:
        self.files += 1
        key = f"{kind}/date=2026-11-21/hour={hour}/2100.{self.files:06d}-x.jsonl"
        body = b"\n".join(line if isinstance(line, bytes) else msgspec.json.encode(line) for line in records)
        self.put_if_absent(key, body, content_type="application/x-ndjson")

    def look(self, minutes: float, rollout: Rollout = ROLLOUT) -> Observed:
        found, etag = observe(self, rollout, after(minutes))
        keep(self, rollout, found, etag)
        return found


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def ids(found: Observed) -> list[str]:
    return [msgspec.json.decode(line)["prediction_id"] for line in found.records]


def test_every_file_is_read_once_whenever_it_came(bucket: Bucket) -> None:
    bucket.capture(record(1), record(2))
    assert ids(bucket.look(2)) == ["p1", "p2"]
    bucket.capture(record(3))
    bucket.capture(record(4, 45), hour="11")
    assert ids(bucket.look(50)) == ["p1", "p2", "p3", "p4"]
    bucket.capture(record(5, 30))  # of an hour ago, from an environment that was frozen meanwhile
    found = bucket.look(95)
    assert ids(found) == ["p1", "p2", "p3", "p4", "p5"]
    assert found.requests == {"0": 5}
    made = observations(ROLLOUT, found)
    assert (len(made.pairs), made.duplicates, dict(made.bad)) == (5, 0, {})


def test_a_look_that_died_before_it_kept_what_it_read_has_read_nothing(bucket: Bucket) -> None:
    bucket.capture(record(1))
    observe(bucket, ROLLOUT, after(2))
    assert ids(bucket.look(3)) == ["p1"]


def test_of_two_looks_at_once_one_keeps_and_the_other_is_to_be_repeated(bucket: Bucket) -> None:
    bucket.capture(record(1))
    first, second = (observe(bucket, ROLLOUT, after(2)) for _ in range(2))
    keep(bucket, ROLLOUT, *first)
    with pytest.raises(AWSError, match="another look"):
        keep(bucket, ROLLOUT, *second)


def test_what_came_before_the_rollout_is_not_read_and_what_is_no_record_is_counted(bucket: Bucket) -> None:
    bucket.capture(record(1, -5), record(2), b"{broken", b"\xff\xfe", b"[1]", {"time": 3})
    found = bucket.look(2)
    assert ids(found) == ["p2"]
    assert found.unreadable == 4


def test_another_attempt_and_a_damaged_file_begin_anew(bucket: Bucket) -> None:
    bucket.capture(record(1))
    bucket.look(2)
    again = msgspec.structs.replace(ROLLOUT, attempt=2)
    assert ids(bucket.look(3, again)) == ["p1"]
    bucket.objects[working_key(ROLLOUT)] = b"damaged"
    assert ids(bucket.look(4, again)) == ["p1"]


@pytest.mark.parametrize(
    ("part", "code", "message", "cause"),
    [
        ("shadow", "not_loaded", "no such file", "not_loaded"),
        ("failed", "no_room", "128 MB", "not_loaded"),
        ("shadow", "time_budget", "took 300 ms", "slow"),
        ("shadow", "memory_budget", "grew by 200 MB", "memory_leak"),
    ],
)
def test_that_an_endpoint_gave_the_version_up_is_noticed_in_one_record_of_many(
    bucket: Bucket, part: str, code: str, message: str, cause: str
) -> None:
    told = {"version": 2, "code": code, "message": message}
    bucket.capture(*(record(number) for number in range(50)), record(50, **{"shadow": None, part: told}))
    given = bucket.look(2).given
    assert given is not None
    assert (given.cause, given.message) == (cause, message)


def test_an_ordinary_failure_is_left_to_the_verdict(bucket: Bucket) -> None:
    bucket.capture(record(1, shadow={"version": 2, "predictions": None, "code": "model_failed", "message": "boom"}))
    assert bucket.look(2).given is None


def test_of_many_records_fewer_are_kept_whatever_they_say(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.rollout.observed.MOST_ROWS", 400)  # 200 for each of two phases
    failing = {"version": 2, "predictions": None, "code": "model_failed", "message": "boom"}
    lines = [record(number, shadow=failing if number % 10 == 0 else record(number)["shadow"]) for number in range(5000)]
    bucket.capture(*lines)
    found = bucket.look(2)
    kept = ids(found)
    assert kept[:200] == [f"p{number}" for number in range(200)], "the first all"
    assert 300 < len(kept) < 1000
    assert found.requests == {"0": 5000}
    failed = sum(b"model_failed" in bytes(line) for line in found.records)
    assert 0.06 < failed / len(kept) < 0.14
    before = list(found.records)
    bucket.capture(*(record(number) for number in range(5000, 5100)))
    assert bucket.look(3).records[: len(before)] == before, "what is kept stays"


def test_of_too_many_files_some_are_left_and_counted(bucket: Bucket) -> None:
    for number in range(MOST_OBJECTS + 40):
        bucket.capture(record(number))
    found = bucket.look(2)
    assert (len(found.records), found.skipped) == (MOST_OBJECTS, 40)
    assert bucket.look(3).skipped == 40


def test_the_newest_label_of_a_row_counts_and_late_ones_are_read(bucket: Bucket) -> None:
    bucket.capture(record(1))
    feedback = "feedback/m"
    bucket.capture({"time": "2026-11-21T10:30:00Z", "prediction_id": "p1", "row": 0, "label": 7}, kind=feedback)
    bucket.look(15)
    bucket.capture({"time": "2026-11-21T10:29:00Z", "prediction_id": "p1", "row": 0, "label": 5}, kind=feedback)
    bucket.capture({"time": "2026-11-21T11:00:00Z", "prediction_id": "p9", "label": "rain"}, hour="11", kind=feedback)
    found = bucket.look(45)
    assert {(label.prediction_id, label.label) for label in found.labels} == {("p1", 7), ("p9", "rain")}
    assert observations(ROLLOUT, found).labels[("p1", 0)][1] == 7


def labels_of(*numbers: int, time: str = "2026-11-21T10:30:00Z") -> list[dict[str, Any]]:
    return [{"time": time, "prediction_id": f"p{number}", "row": 0, "label": number} for number in numbers]


def test_of_too_many_files_of_labels_the_rest_is_read_at_the_next_looks(bucket: Bucket) -> None:
    for number in range(2 * MOST_OBJECTS + 40):
        bucket.capture(*labels_of(number), kind="feedback/m")
    assert len(bucket.look(2).labels) == MOST_OBJECTS
    assert len(bucket.look(130).labels) == 2 * MOST_OBJECTS, "also when their hour is long over"
    assert len(bucket.look(131).labels) == 2 * MOST_OBJECTS + 40
    assert len(bucket.look(300).labels) == 2 * MOST_OBJECTS + 40


def test_labels_of_other_predictions_push_out_none_of_the_rollouts_own(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.rollout.observed.MOST_LABELS", 10)
    bucket.capture(*(record(number) for number in range(4)))
    bucket.capture(*labels_of(*range(100, 130), time="2026-11-21T10:40:00Z"), kind="feedback/m")
    bucket.capture(*labels_of(*range(4)), kind="feedback/m")
    found = bucket.look(30)
    assert {"p0", "p1", "p2", "p3"} < {label.prediction_id for label in found.labels}
    assert len(found.labels) == 10
