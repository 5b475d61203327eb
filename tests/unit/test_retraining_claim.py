"""The claim step: of whatever is delivered, each file, scheduled time and alarm is worked on by exactly one run."""

import copy
import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from modelyard.errors import AWSError, UsageError
from modelyard.retraining.claiming import claim_trigger
from modelyard.retraining.workbench import Workbench
from modelyard.training.plan import Trigger
from tests.fakes.broken_stores import Outage
from tests.fakes.front_door import FrontDoor
from tests.fakes.training_data import weather, weather_plan
from tests.fakes.trigger_events import EVENTS, alarm_event, manual_input, s3_event, schedule_input

FILE = weather(2012)[0]


@pytest.fixture
def door() -> FrontDoor:
    return FrontDoor(weather_plan())


def test_an_upload_is_claimed_and_its_run_is_recorded(door: FrontDoor) -> None:
    answer = door.claim(door.upload(FILE))
    assert answer["status"] == "claimed"
    assert answer["object"] == {
        "bucket": "data-bucket",
        "key": "tested/2012.csv",
        "version_id": "v0001",
        "etag": answer["object"]["etag"],
        "size": len(FILE),
    }
    assert answer["trigger"] == {
        "index": 0, "kind": "upload", "said": "upload of 2012.csv", "ablate": False, "again": False,
    }  # fmt: skip
    run = door.registry.run("tested", "run-1")
    assert (run.status, run.object, run.ended_at) == ("running", answer["object"], None)
    assert run.trigger == "upload"
    assert door.registry.claimant("data-bucket", "tested/2012.csv", "v0001") == "run-1"


def test_an_event_without_a_version_id_is_about_the_newest_version(door: FrontDoor) -> None:
    door.upload(b"old")
    door.upload(FILE)
    answer = door.claim(s3_event("s3_object_created_without_version"))
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
def test_a_key_is_taken_as_it_is_because_eventbridge_does_not_encode_it(door: FrontDoor, name: str) -> None:
    answer = door.claim(door.upload(FILE, name))
    assert (answer["status"], answer["object"]["key"]) == ("claimed", f"tested/{name}")
    assert door.uploads.get(answer["object"]["key"], answer["object"]["version_id"]) == FILE


def _object(**changes: Any) -> dict[str, Any]:
    return s3_event(**{"version_id": "v0001"} | changes)


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
    "a version that is gone": (s3_event(), "deleted before it was read"),
    "a key as S3 notifications encode it": (_object(key="tested/20%31%32.csv"), "deleted before it was read"),
}


@pytest.mark.parametrize("case", NOT_OURS)
def test_what_is_not_training_data_is_ignored_with_the_reason(door: FrontDoor, case: str) -> None:
    event, said = NOT_OURS[case]
    door.uploads.put("tested/2012.csv", FILE)
    # Not sent as JSON: half a character does not survive that, and reaches a step in other ways.
    answer = claim_trigger(door.workbench, door.parts("run-1", event=event))
    assert answer["status"] == "ignored"
    assert said in answer["reason"]
    assert len(answer["reason"]) <= 900
    assert door.registry.runs("tested").items == (), "nothing is recorded"
    assert door.claim(_object(), "run-2")["status"] == "claimed", "and the upload can be claimed by its own event"


def test_a_file_of_no_bytes_is_ignored(door: FrontDoor) -> None:
    answer = door.claim(door.upload(b""))
    assert answer == {
        "status": "ignored", "reason": "'tested/2012.csv' has 0 bytes", "trigger": None, "object": None,
    }  # fmt: skip


def test_an_object_that_was_deleted_before_its_event_arrived_is_ignored(door: FrontDoor) -> None:
    event = door.upload(FILE)
    door.uploads.delete("tested/2012.csv")
    without_version = s3_event("s3_object_created_without_version")
    assert door.claim(without_version)["status"] == "ignored"
    door.uploads.delete_version("tested/2012.csv", "v0001")
    assert door.claim(event)["status"] == "ignored"


def test_a_file_that_was_overwritten_before_its_event_arrived_is_recorded_and_not_learnt_from(door: FrontDoor) -> None:
    events = [door.upload(b"first"), door.upload(FILE)]
    answers = [door.claim(event, f"run-{at}") for at, event in enumerate(events)]
    assert [answer["status"] for answer in answers] == ["superseded", "claimed"]
    assert [answer["object"]["size"] for answer in answers] == [5, len(FILE)]
    run = door.registry.run("tested", "run-0")
    assert (run.status, run.object) == ("superseded", answers[0]["object"])
    assert run.reason == answers[0]["reason"]
    assert run.reason == "a newer file has the same name: version v0002 of 'tested/2012.csv' replaced v0001"


def test_who_was_superseded_stays_so_when_the_step_is_repeated(door: FrontDoor) -> None:
    event = door.upload(b"first")
    newer = door.uploads.put("tested/2012.csv", FILE)
    before = door.claim(event)
    door.uploads.delete_version("tested/2012.csv", newer)
    assert door.claim(event) == before
    assert before["status"] == "superseded"


def test_a_file_that_was_overwritten_after_its_claim_was_the_newest_then(door: FrontDoor) -> None:
    first = door.upload(b"first")
    assert door.claim(first, "run-0")["status"] == "claimed"
    assert door.claim(door.upload(FILE), "run-1")["status"] == "claimed"


def test_a_delete_marker_is_no_newer_file(door: FrontDoor) -> None:
    event = door.upload(FILE)
    door.uploads.delete("tested/2012.csv")
    assert door.claim(event)["status"] == "claimed"


def test_an_overwritten_file_is_one_upload_where_events_do_not(door: FrontDoor) -> None:
    door.upload(b"first")
    door.upload(FILE)
    event = s3_event("s3_object_created_without_version")
    answers = [door.claim(event, f"run-{at}") for at in range(2)]
    assert [answer["status"] for answer in answers] == ["claimed", "duplicate"]
    assert answers[0]["object"]["version_id"] == "v0002"


def test_events_in_any_order_give_each_version_one_run(door: FrontDoor) -> None:
    events = [door.upload(FILE + b"\n" * at) for at in range(3)]
    answers = [door.claim(event, f"run-{at}") for at, event in enumerate([events[2], events[0], events[1], events[0]])]
    assert [answer["status"] for answer in answers] == ["claimed", "superseded", "superseded", "duplicate"]
    assert [answer["object"]["version_id"] for answer in answers[:3]] == ["v0003", "v0001", "v0002"]


def test_the_same_event_five_times_is_one_claim_and_the_others_name_it(door: FrontDoor) -> None:
    event = door.upload(FILE)
    answers = [door.claim(copy.deepcopy(event), f"run-{at}") for at in range(5)]
    assert [answer["status"] for answer in answers] == ["claimed", *["duplicate"] * 4]
    assert answers[4]["reason"] == "version v0001 of 'tested/2012.csv' is claimed by run run-0"
    assert [run.run_id for run in door.registry.runs("tested").items] == ["run-0"]


def test_of_a_thousand_events_at_once_each_version_is_claimed_by_exactly_one(door: FrontDoor) -> None:
    events = [door.upload(FILE, f"{number % 20}.csv") for number in range(200)] * 5
    random.Random(0).shuffle(events)  # noqa: S311 - the order of delivery
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda at: door.claim(events[at], f"run-{at}"), range(1000)))
    assert Counter(answer["status"] for answer in answers) == {"claimed": 20, "superseded": 180, "duplicate": 800}
    runs = [answer["object"] for answer in answers if answer["object"] is not None]
    assert len({(found["key"], found["version_id"]) for found in runs}) == len(runs) == 200
    assert len(door.registry.runs("tested", limit=500).items) == 200


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
def test_a_run_that_died_between_its_claim_and_its_record_heals_when_it_is_repeated(after: bool) -> None:
    """Every call to the registry fails once, in turn; the same run asks again and nobody else can have the upload."""
    for number in range(4):  # the claim, the run and what it was before
        door = FrontDoor(weather_plan())
        event = door.upload(FILE)
        outage = Outage(number, after=after)
        broken = door.yard.registry(records=outage.over(door.yard.records))
        failing = Workbench(registry=broken, artifacts=door.yard.artifacts, uploads=door.uploads)
        try:
            claim_trigger(failing, door.parts("run-1", event=event))
        except AWSError:
            answer = door.claim(event)
        else:
            assert number >= len(outage.calls), "only a step that made fewer calls can have gone well"
            continue
        assert answer["status"] == "claimed"
        assert door.registry.run("tested", "run-1").object == answer["object"]
        assert door.claim(event, "run-2")["status"] == "duplicate"


def test_a_claim_that_is_repeated_gives_the_same_answer(door: FrontDoor) -> None:
    event = door.upload(FILE)
    assert door.claim(event) == door.claim(event)
    assert len(door.registry.runs("tested").items) == 1


def test_a_plan_that_is_none_is_refused_in_words(door: FrontDoor) -> None:
    with pytest.raises(UsageError, match="the training plan is not valid"):
        claim_trigger(door.workbench, {"plan": {"model": "tested"}, "run_id": "run-1", "event": {}})


TRIGGERS = (
    Trigger(kind="upload", prefix="tested/daily/"),
    Trigger(kind="labels", prefix="tested/labels/", count=500),
    Trigger(kind="schedule", cron="0 3 ? * MON *", timezone="Europe/Berlin"),
    Trigger(kind="alarm", alarms=("drift",)),
)


@pytest.fixture
def many() -> FrontDoor:
    return FrontDoor(msgspec.structs.replace(weather_plan(), triggers=TRIGGERS))


@pytest.mark.parametrize(
    ("event", "kind", "index"),
    [(schedule_input(2), "schedule", 2), (alarm_event(), "alarm", 3), (manual_input(), "manual", None)],
    ids=["schedule", "alarm", "manual"],
)
def test_what_is_no_file_is_claimed_and_recorded_with_its_kind(
    many: FrontDoor, event: dict[str, Any], kind: str, index: int | None
) -> None:
    answer = many.claim(event)
    assert (answer["status"], answer["reason"], answer["object"]) == ("claimed", "", None)
    assert (answer["trigger"]["kind"], answer["trigger"]["index"]) == (kind, index)
    run = many.registry.run("tested", "run-1")
    assert (run.status, run.trigger, run.object) == ("running", kind, None)
    assert many.claim(event) == answer, "asked again, the same run has it"


def test_a_scheduled_time_and_an_alarm_start_one_run_each_however_often_they_are_delivered(many: FrontDoor) -> None:
    once = [schedule_input(2), schedule_input(2, "2026-11-30T03:00:00Z"), alarm_event(), alarm_event(id="other")]
    deliveries = once * 50
    random.Random(0).shuffle(deliveries)  # noqa: S311 - the order of delivery
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda at: many.claim(deliveries[at], f"run-{at}"), range(len(deliveries))))
    assert Counter(answer["status"] for answer in answers) == {"claimed": 4, "duplicate": 196}
    assert len(many.registry.runs("tested").items) == 4
    said = next(answer["reason"] for answer in answers if answer["status"] == "duplicate")
    assert "is claimed by run run-" in said


def test_every_manual_start_is_a_run_of_its_own(many: FrontDoor) -> None:
    assert [many.claim(manual_input(), f"run-{at}")["status"] for at in range(3)] == ["claimed"] * 3


def test_a_file_that_no_trigger_waits_for_is_claimed_all_the_same(many: FrontDoor) -> None:
    answer = many.claim(many.upload(FILE, "history/2012.csv"))
    assert (answer["status"], answer["trigger"]["kind"], answer["trigger"]["index"]) == ("claimed", "collect", None)
    assert many.claim(many.upload(FILE, "history/notes.txt"), "run-2")["status"] == "ignored"


def test_the_largest_event_leaves_a_small_state(many: FrontDoor) -> None:
    answer = many.claim(manual_input(by="x" * 100_000, reason="\u202e" + "y" * 100_000))
    assert len(json.dumps(answer)) < 2_000
    assert "\u202e" not in answer["trigger"]["said"]
