"""The claim step: of whatever S3 and EventBridge deliver, each uploaded version is worked on by exactly one run."""

import copy
import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard.errors import AWSError, UsageError
from modelyard.retraining.steps import claim_upload
from modelyard.retraining.workbench import Workbench
from tests.fakes.broken_stores import Outage
from tests.fakes.training_data import weather, weather_plan
from tests.fakes.workbench import EVENTS, Bench, s3_event

FILE = weather(2012)[0]


@pytest.fixture
def bench() -> Bench:
    return Bench(weather_plan())


def test_an_upload_is_claimed_and_its_run_is_recorded(bench: Bench) -> None:
    answer = bench.claim(bench.upload(FILE))
    assert answer["status"] == "claimed"
    assert answer["object"] == {
        "bucket": "data-bucket",
        "key": "tested/2012.csv",
        "version_id": "v0001",
        "etag": answer["object"]["etag"],
        "size": len(FILE),
    }
    run = bench.registry.run("tested", "run-1")
    assert (run.status, run.object, run.ended_at) == ("running", answer["object"], None)
    assert bench.registry.claimant("data-bucket", "tested/2012.csv", "v0001") == "run-1"


def test_an_event_without_a_version_id_is_about_the_newest_version(bench: Bench) -> None:
    bench.upload(b"old")
    bench.upload(FILE)
    answer = bench.claim(s3_event("s3_object_created_without_version"))
    assert (answer["status"], answer["object"]["version_id"]) == ("claimed", "v0002")


@pytest.mark.parametrize(
    "name",
    [
        "käse und brot.csv",
        "a+b.csv",
        "a b.csv",
        "100%.csv",
        "%2e%2e%2f.csv",
        "a%20b.csv",
        "天气 ☔.csv",
        "x/y/../z.csv",
    ],
)
def test_a_key_is_taken_as_it_is_because_eventbridge_does_not_encode_it(bench: Bench, name: str) -> None:
    answer = bench.claim(bench.upload(FILE, name))
    assert (answer["status"], answer["object"]["key"]) == ("claimed", f"tested/{name}")
    assert bench.validate(answer["object"])["status"] == "valid"


def _object(**changes: Any) -> dict[str, Any]:
    return s3_event("s3_object_created", **{"version_id": "v0001"} | changes)


def _without(*path: str) -> dict[str, Any]:
    event = _object()
    place: Any = event
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return event


def _elsewhere(bucket: str, **changes: Any) -> dict[str, Any]:
    event = _object(**changes)
    event["detail"]["bucket"]["name"] = bucket
    event["resources"] = [f"arn:aws:s3:::{bucket}"]
    return event


NOT_OURS = {
    "S3's test event": (json.loads((EVENTS / "s3_test_event.json").read_text()), "test event"),
    "nothing": ({}, "'detail' is missing"),
    "null": (None, "NoneType"),
    "a list": ([1], "list"),
    "no detail": (_without("detail"), "'detail' is missing"),
    "no bucket": (_without("detail", "bucket"), "'bucket' is missing"),
    "no bucket name": (_without("detail", "bucket", "name"), "'name' is missing"),
    "no object": (_without("detail", "object"), "'object' is missing"),
    "no key": (_without("detail", "object", "key"), "'key' is missing"),
    "an S3 notification, not EventBridge": ({"Records": [{"s3": {}}]}, "'detail' is missing"),
    "detail is text": (_object() | {"detail": "x"}, "not objects"),
    "object is a list": (_object() | {"detail": {"bucket": {"name": "data-bucket"}, "object": []}}, "not objects"),
    "key is a number": (_object(key=7), "not text"),
    "key is empty": (_object(key=""), "not text"),
    "key is half a character": (_object(key="tested/\ud83c.csv"), "not text"),
    "key is longer than S3 allows": (_object(key="tested/" + "ä" * 600), "not text"),
    "version id is a number": (_object(version_id=7), "not text"),
    "a delete marker": (s3_event("s3_object_deleted"), "'Object Deleted'"),
    "another detail type": (_object() | {"detail-type": "Object Tags Added"}, "'Object Tags Added'"),
    "another bucket": (_elsewhere("other-bucket"), "bucket 'other-bucket', not 'data-bucket'"),
    "another account's bucket": (
        _elsewhere("data-bucket-444455556666") | {"account": "444455556666"},
        "bucket 'data-bucket-444455556666', not 'data-bucket'",
    ),
    "the workflow's own output": (
        _elsewhere("artifact-bucket", key="runs/tested/run-0/ab.json"),
        "bucket 'artifact-bucket', not 'data-bucket'",
    ),
    "another model's prefix": (_object(key="digits/2012.csv"), "not below 'tested/'"),
    "a model whose name begins alike": (_object(key="tested_too/2012.csv"), "not below 'tested/'"),
    "no prefix": (_object(key="2012.csv"), "not below 'tested/'"),
    "an object that is gone": (_object(key="tested/gone.csv"), "deleted before it was read"),
    "a version that is gone": (s3_event("s3_object_created"), "deleted before it was read"),
    "a key as S3 notifications encode it": (_object(key="tested/2012%2Ecsv"), "deleted before it was read"),
}


@pytest.mark.parametrize("case", NOT_OURS)
def test_what_is_not_training_data_is_ignored_with_the_reason(bench: Bench, case: str) -> None:
    event, said = NOT_OURS[case]
    bench.uploads.put("tested/2012.csv", FILE)
    # Not sent as JSON: half a character does not survive that, and reaches a step in other ways.
    answer = claim_upload(bench.workbench, bench.parts("run-1", event=event))
    assert answer["status"] == "ignored"
    assert said in answer["reason"]
    assert len(answer["reason"]) <= 900
    assert bench.registry.runs("tested").items == (), "nothing is recorded"
    assert bench.claim(_object(), "run-2")["status"] == "claimed", "and the upload can be claimed by its own event"


def test_a_file_of_no_bytes_is_ignored(bench: Bench) -> None:
    answer = bench.claim(bench.upload(b""))
    assert answer == {"status": "ignored", "reason": "'tested/2012.csv' has 0 bytes"}


def test_an_object_that_was_deleted_before_its_event_arrived_is_ignored(bench: Bench) -> None:
    event = bench.upload(FILE)
    bench.uploads.delete("tested/2012.csv")
    without_version = s3_event("s3_object_created_without_version")
    assert bench.claim(without_version)["status"] == "ignored"
    bench.uploads.delete_version("tested/2012.csv", "v0001")
    assert bench.claim(event)["status"] == "ignored"


def test_an_overwritten_file_is_two_uploads_where_events_name_versions(bench: Bench) -> None:
    events = [bench.upload(b"first"), bench.upload(FILE)]
    answers = [bench.claim(event, f"run-{at}") for at, event in enumerate(events)]
    assert [answer["status"] for answer in answers] == ["claimed", "claimed"]
    assert [answer["object"]["size"] for answer in answers] == [5, len(FILE)]


def test_an_overwritten_file_is_one_upload_where_events_do_not(bench: Bench) -> None:
    bench.upload(b"first")
    bench.upload(FILE)
    event = s3_event("s3_object_created_without_version")
    answers = [bench.claim(event, f"run-{at}") for at in range(2)]
    assert [answer["status"] for answer in answers] == ["claimed", "duplicate"]
    assert answers[0]["object"]["version_id"] == "v0002"


def test_events_in_any_order_give_each_version_one_run(bench: Bench) -> None:
    events = [bench.upload(FILE + b"\n" * at) for at in range(3)]
    answers = [bench.claim(event, f"run-{at}") for at, event in enumerate([events[2], events[0], events[1], events[0]])]
    assert [answer["status"] for answer in answers] == ["claimed", "claimed", "claimed", "duplicate"]
    assert [answer["object"]["version_id"] for answer in answers[:3]] == ["v0003", "v0001", "v0002"]


def test_the_same_event_five_times_is_one_claim_and_the_others_name_it(bench: Bench) -> None:
    event = bench.upload(FILE)
    answers = [bench.claim(copy.deepcopy(event), f"run-{at}") for at in range(5)]
    assert [answer["status"] for answer in answers] == ["claimed", *["duplicate"] * 4]
    assert answers[4]["reason"] == "version v0001 of 'tested/2012.csv' is claimed by run run-0"
    assert [run.run_id for run in bench.registry.runs("tested").items] == ["run-0"]


def test_of_a_thousand_events_at_once_each_version_is_claimed_by_exactly_one(bench: Bench) -> None:
    events = [bench.upload(FILE, f"{number % 20}.csv") for number in range(200)] * 5
    random.Random(0).shuffle(events)  # noqa: S311 - the order of delivery
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda at: bench.claim(events[at], f"run-{at}"), range(1000)))
    assert Counter(answer["status"] for answer in answers) == {"claimed": 200, "duplicate": 800}
    claimed = {(answer["object"]["key"], answer["object"]["version_id"]) for answer in answers if "object" in answer}
    assert len(claimed) == 200
    assert len(bench.registry.runs("tested", limit=500).items) == 200


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
def test_a_run_that_died_between_its_claim_and_its_record_heals_when_it_is_repeated(after: bool) -> None:
    """Every call to the registry fails once, in turn; the same run asks again and nobody else can have the upload."""
    for number in range(4):
        bench = Bench(weather_plan())
        event = bench.upload(FILE)
        outage = Outage(number, after=after)
        broken = bench.yard.registry(records=outage.over(bench.yard.records))
        failing = Workbench(registry=broken, artifacts=bench.yard.artifacts, uploads=bench.uploads)
        try:
            claim_upload(failing, bench.parts("run-1", event=event))
        except AWSError:
            answer = bench.claim(event)
        else:
            assert number >= len(outage.calls), "only a step that made fewer calls can have gone well"
            continue
        assert answer["status"] == "claimed"
        assert bench.registry.run("tested", "run-1").object == answer["object"]
        assert bench.claim(event, "run-2")["status"] == "duplicate"


def test_a_claim_that_is_repeated_gives_the_same_answer(bench: Bench) -> None:
    event = bench.upload(FILE)
    assert bench.claim(event) == bench.claim(event)
    assert len(bench.registry.runs("tested").items) == 1


def test_a_plan_that_is_none_is_refused_in_words(bench: Bench) -> None:
    with pytest.raises(UsageError, match="the training plan is not valid"):
        claim_upload(bench.workbench, {"plan": {"model": "tested"}, "run_id": "run-1", "event": {}})
