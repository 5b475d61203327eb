"""Which of a model's triggers an event sets off, and what is said about it."""

from typing import Any

import msgspec
import pytest

from modelyard.retraining.triggers import Arrival, Ignored, Recognised, Started, recognise, trigger_of
from modelyard.training.plan import Plan, Trigger
from tests.fakes.training_data import weather_plan
from tests.fakes.trigger_events import alarm_event, manual_input, s3_event, schedule_input


def plan(*triggers: Trigger) -> Plan:
    return msgspec.structs.replace(weather_plan(), triggers=triggers)


def recognised(event: Any, *triggers: Trigger) -> Recognised:
    return recognise(plan(*triggers), event, bucket="data-bucket")


def started(event: Any, *triggers: Trigger) -> Started:
    found = recognised(event, *triggers)
    found = found.started if isinstance(found, Arrival) else found
    assert isinstance(found, Started), found
    return found


def ignored(event: Any, *triggers: Trigger) -> str:
    found = recognised(event, *triggers)
    assert isinstance(found, Ignored), found
    return found.reason


UPLOAD = Trigger(prefix="tested/daily/", suffix=".csv")
LABELS = Trigger(kind="labels", prefix="tested/", suffix="_labels.csv", count=500)
SCHEDULE = Trigger(kind="schedule", cron="0 3 ? * MON *", timezone="Europe/Berlin")
DRIFT = Trigger(kind="alarm", alarms=("drift",))
QUALITY = Trigger(kind="alarm", alarms=("quality",))
MANUAL = Trigger(kind="manual", monthly_usd=5.0)


@pytest.mark.parametrize(
    ("key", "kind", "index"),
    [
        ("tested/daily/1.csv", "upload", 0),
        ("tested/daily/1_labels.csv", "labels", 1),
        ("tested/1_labels.csv", "labels", 1),
        ("tested/1.csv", "collect", None),
        ("tested/daily.csv", "collect", None),
        ("tested/daily/.csv", "upload", 0),
    ],
)
def test_the_closest_trigger_that_fits_a_key_counts(key: str, kind: str, index: int | None) -> None:
    found = recognised(s3_event(key=key), UPLOAD, LABELS)
    assert isinstance(found, Arrival)
    assert (found.started.kind, found.started.index, found.key) == (kind, index, key)


def test_of_two_triggers_that_fit_the_closer_one_counts_and_of_equals_the_first() -> None:
    key = "tested/daily/1_labels.csv"
    for order in ((LABELS, UPLOAD), (UPLOAD, LABELS)):
        assert started(s3_event(key=key), *order).kind == "labels"
    inside = Trigger(kind="labels", prefix="tested/daily/labels/", count=5)
    assert started(s3_event(key="tested/daily/labels/1.csv"), UPLOAD, inside).kind == "labels"
    same = Trigger(kind="labels", prefix="tested/daily/", count=5)
    assert started(s3_event(key="tested/daily/1.csv"), UPLOAD, same).kind == "upload"
    assert started(s3_event(key="tested/daily/1.csv"), same, UPLOAD).kind == "labels"


def test_prefix_and_suffix_do_not_overlap() -> None:
    trigger = Trigger(prefix="tested/a.csv", suffix="a.csv")
    assert started(s3_event(key="tested/a.csv"), trigger).kind == "collect"
    assert started(s3_event(key="tested/a.csva.csv"), trigger).kind == "upload"


def test_without_a_prefix_a_trigger_is_for_the_whole_folder_of_the_model() -> None:
    assert started(s3_event(key="tested/x/y.csv"), Trigger()).kind == "upload"


def test_a_file_that_is_no_csv_and_that_nobody_waits_for_is_ignored() -> None:
    said = ignored(s3_event(key="tested/notes.txt"), UPLOAD, LABELS)
    assert said == "'tested/notes.txt' is no training file: it ends with none of '.csv', '_labels.csv'"
    assert started(s3_event(key="tested/notes.txt"), Trigger(suffix=".txt")).kind == "upload"


def test_a_schedule_is_claimed_by_its_place_and_time() -> None:
    found = started(schedule_input(1), UPLOAD, SCHEDULE)
    assert (found.kind, found.index) == ("schedule", 1)
    assert found.claim == "schedule-1-2026-11-23T03:00:00.000000Z"
    assert found.said == "the schedule '0 3 ? * MON *' (Europe/Berlin), due at 2026-11-23T03:00:00Z"
    again = started(schedule_input(1, "2026-11-23T04:00:00+01:00"), UPLOAD, SCHEDULE)
    assert again.claim == found.claim, "the same time in other words"


@pytest.mark.parametrize("time", [None, "", "<aws.scheduler.scheduled-time>", "2026-11-23", 7])
def test_a_schedule_that_does_not_say_its_time_is_an_event_of_its_own(time: Any) -> None:
    found = started(schedule_input(0, time), SCHEDULE)
    assert (found.kind, found.claim) == ("schedule", None)


@pytest.mark.parametrize("index", [1, 7, -1, None, "0", True, 1.0])
def test_a_schedule_that_the_model_no_longer_has_is_ignored(index: Any) -> None:
    assert "none of this model's" in ignored(schedule_input(index), SCHEDULE, UPLOAD)


def test_an_alarm_sets_off_the_first_trigger_for_its_kind() -> None:
    found = started(alarm_event("Quality"), UPLOAD, DRIFT, QUALITY)
    assert (found.kind, found.index) == ("alarm", 2)
    assert found.claim == "alarm-6a7e8feb-b491-4cf7-a9f1-bf3703467718"
    assert found.said == "quality alarm: temp_max moved: 0.31 above the limit of 0.2"
    assert started(alarm_event(), UPLOAD, DRIFT, QUALITY).index == 1
    assert ignored(alarm_event("Quality"), UPLOAD, DRIFT) == "no trigger of this model waits for a quality alarm"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "somebody.else"}, "'Drift alarm' from 'somebody.else', which starts no run"),
        ({"detail-type": "Run Promoted"}, "'Run Promoted' from 'modelyard', which starts no run"),
        ({"detail": {"model": "other"}}, "not about model 'tested'"),
        ({"id": None}, "has no id"),
        ({"id": "a b"}, "has no id"),
        ({"id": "x" * 101}, "has no id"),
    ],
)
def test_what_is_no_alarm_about_this_model_is_ignored(changes: dict[str, Any], said: str) -> None:
    assert said in ignored(alarm_event(**changes), DRIFT)


def test_an_alarm_whose_detail_is_no_object_is_ignored() -> None:
    event = alarm_event()
    assert "not about model" in ignored(event | {"detail": "tested"}, DRIFT)


def test_a_manual_start_says_who_and_why_and_needs_no_trigger() -> None:
    found = started(manual_input(), UPLOAD)
    assert (found.kind, found.index, found.claim) == ("manual", None, None)
    assert found.said == "arn:aws:sts::111122223333:assumed-role/team/ana started it: the sensor was replaced"
    assert (found.ablate, found.again) == (False, False)
    assert started(manual_input(), UPLOAD, MANUAL).index == 1, "which may have limits"


def test_a_manual_start_may_ask_for_an_ablation_or_to_train_again() -> None:
    found = started(manual_input(ablate=True, again=True), UPLOAD)
    assert (found.ablate, found.again) == (True, True)
    assert started(manual_input(ablate="yes"), UPLOAD).ablate is False


@pytest.mark.parametrize(("by", "reason"), [(None, None), (7, ["x"]), ("", "")])
def test_a_manual_start_by_nobody_for_nothing_is_one_all_the_same(by: Any, reason: Any) -> None:
    assert started(manual_input(by=by, reason=reason), UPLOAD).said == "somebody started it"


def test_what_people_wrote_cannot_be_mistaken_for_something_else() -> None:
    found = started(manual_input(by="ana", reason="line\nbreak \u202e" + "x" * 1000), UPLOAD)
    assert "\n" not in found.said
    assert "\u202e" not in found.said
    assert len(found.said) <= 300


def test_an_unknown_name_of_a_trigger_is_no_event_of_ours() -> None:
    assert "not an S3 event" in ignored({"trigger": "sometimes"}, UPLOAD)
    assert "not an S3 event" in ignored({"trigger": {}}, UPLOAD)


def test_a_trigger_is_found_by_its_place() -> None:
    whole = plan(UPLOAD, SCHEDULE)
    assert trigger_of(whole, 1) == SCHEDULE
    assert [trigger_of(whole, index) for index in (None, 2, -1)] == [None, None, None]
