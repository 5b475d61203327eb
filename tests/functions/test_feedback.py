"""Labels through the endpoint function: what is taken is stored before the answer, and all of a body or nothing."""

import datetime as dt
import json
import time
from types import ModuleType
from typing import Any

import pytest

from modelyard.predictor.code import ModelCode
from tests.fakes import onnx_models
from tests.fakes.endpoint import CONTEXT, Answer, EndpointStand, event
from tests.fakes.http_bucket import HttpBucket
from tests.fakes.objects import promote
from tests.fakes.trials import TrialStand, adds

ID = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
CALLER = "arn:aws:iam::111122223333:user/ana"


def label(value: Any = 3.5, prediction_id: Any = ID, **more: Any) -> dict[str, Any]:
    return {"prediction_id": prediction_id, "label": value, **more}


def send(function: ModuleType, body: Any, model: str = "sums") -> Answer:
    made = event("POST", f"/models/{model}/feedback", json.dumps(body), headers={"content-type": "application/json"})
    made["requestContext"]["authorizer"] = {"iam": {"userArn": CALLER, "accountId": "111122223333"}}
    return Answer(function.handler(made, CONTEXT))


def stored(objects: dict[str, bytes]) -> dict[str, list[dict[str, Any]]]:
    """The lines of each object with labels."""
    return {
        key: [json.loads(line) for line in content.splitlines()]
        for key, content in objects.items()
        if key.startswith("feedback/")
    }


@pytest.fixture
def sums(bucket: HttpBucket, start: Any) -> ModuleType:
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    function: ModuleType = start("sums")
    return function


@pytest.fixture(scope="module")
def classes() -> EndpointStand:
    return EndpointStand(onnx_models.classifier())


# -- taken ------------------------------------------------------------------------------------------------------------


def test_an_accepted_label_is_stored_by_the_hour_at_which_it_came(sums: ModuleType, bucket: HttpBucket) -> None:
    before = dt.datetime.now(dt.UTC)
    answer = send(sums, {"labels": [label(3.5), label(4, row=1), label(-0.25, OTHER)]})
    assert (answer.status, answer.json["model"], answer.json["accepted"]) == (200, "sums", 3)
    ((key, lines),) = stored(bucket.objects).items()
    assert [(line["prediction_id"], line["row"], line["label"]) for line in lines] == [
        (ID, 0, 3.5), (ID, 1, 4), (OTHER, 0, -0.25),
    ]  # fmt: skip
    assert {line["time"] for line in lines} == {answer.json["time"]}
    came = dt.datetime.fromisoformat(answer.json["time"])
    assert before <= came <= dt.datetime.now(dt.UTC)
    assert key.startswith(f"feedback/sums/date={came:%Y-%m-%d}/hour={came:%H}/{came:%M%S.%f}-")


def test_one_label_needs_no_list(sums: ModuleType, bucket: HttpBucket) -> None:
    assert send(sums, label(7, row=2)).json["accepted"] == 1
    ((line,),) = stored(bucket.objects).values()
    assert (line["label"], line["row"]) == (7, 2)


def test_the_same_body_again_says_the_same_of_every_row(sums: ModuleType, bucket: HttpBucket) -> None:
    for value in (3, 5, 3):  # wrong, corrected, and corrected back
        assert send(sums, label(value)).status == 200
    lines = [line for lines in stored(bucket.objects).values() for line in lines]
    assert [line["label"] for line in sorted(lines, key=lambda line: str(line["time"]))] == [3, 5, 3]


def test_the_audit_line_has_caller_and_count_and_no_label(sums: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    send(sums, {"labels": [label(31337.5), label(31337.5, OTHER)]})
    (text,) = capfd.readouterr().out.splitlines()
    line = json.loads(text)
    assert (line["kind"], line["protocol"], line["caller"], line["labels"]) == ("audit", "feedback", CALLER, 2)
    assert (line["status"], line["code"], line["version"]) == (200, "ok", 1)
    assert (line["instances"], line["prediction_id"]) == (0, None), "it is no prediction"
    assert "31337" not in text
    send(sums, label("rain"))
    line = json.loads(capfd.readouterr().out)
    assert (line["status"], line["code"], line["labels"]) == (422, "wrong_label", 0)


def test_as_many_as_are_allowed_are_taken_and_one_more_is_not(classes: EndpointStand) -> None:
    most = [label("rain", f"{number:032x}") for number in range(10_000)]
    assert classes.label(*most).json["accepted"] == 10_000
    refused = classes.label(*most, label("rain", OTHER))
    assert (refused.status, refused.code) == (413, "batch_too_large")


def test_labels_are_taken_while_nothing_is_live() -> None:
    stand = EndpointStand(None)
    assert stand.label(label("rain"), label(3, OTHER)).json["accepted"] == 2
    assert stand.predict({}).status == 503


# -- refused ----------------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[Any, int, str, str | None]] = {
    "no object": ([label()], 400, "wrong_type", None),
    "nothing in it": ({}, 400, "missing_field", "labels"),
    "no list": ({"labels": label()}, 400, "wrong_type", "labels"),
    "an empty list": ({"labels": []}, 400, "empty_batch", "labels"),
    "more beside the list": ({"labels": [label()], "model": "m"}, 400, "unknown_field", "model"),
    "a list and a label": ({"labels": [label()], **label()}, 400, "unknown_field", "prediction_id"),
    "a label that is no object": ({"labels": [3]}, 400, "wrong_type", "labels[0]"),
    "no prediction": ({"labels": [{"label": 3}]}, 400, "missing_field", "labels[0].prediction_id"),
    "no label": ({"prediction_id": ID}, 400, "missing_field", "label"),
    "something else": (label(time="2026"), 400, "unknown_field", "time"),
    "a number for an id": (label(3, 7), 400, "wrong_type", "prediction_id"),
    "a short id": (label(3, ID[:-1]), 400, "invalid_prediction_id", "prediction_id"),
    "an id in upper case": (label(3, ID.upper()), 400, "invalid_prediction_id", "prediction_id"),
    "an id with a line end": (label(3, ID + "\n"), 400, "invalid_prediction_id", "prediction_id"),
    "a path for an id": (label(3, "../../../deployments/sums.json.."), 400, "invalid_prediction_id", "prediction_id"),
    "null": (label(None), 400, "wrong_type", "label"),
    "a list for a label": (label([3]), 400, "wrong_type", "label"),
    "an object for a label": (label({}), 400, "wrong_type", "label"),
    "empty text": (label(""), 400, "invalid_text", "label"),
    "long text": (label("x" * 257), 400, "invalid_text", "label"),
    "a large integer": (label(2**63), 400, "out_of_range", "label"),
    "a row before the first": (label(row=-1), 400, "out_of_range", "row"),
    "a row beyond any request": (label(row=100_000), 400, "out_of_range", "row"),
    "a large row": (label(row=10**30), 400, "out_of_range", "row"),
    "a row with a fraction": (label(row=1.0), 400, "wrong_type", "row"),
    "a boolean for a row": (label(row=True), 400, "wrong_type", "row"),
    "the same row twice": ({"labels": [label(3), label(4, row=1), label(4)]}, 400, "duplicate_label", "labels[2]"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_is_refused_with_its_place(classes: EndpointStand, name: str) -> None:
    body, status, code, field = BAD[name]
    before = dict(classes.objects._objects)
    refused = classes.post("/models/weather/feedback", body)
    assert (refused.status, refused.code, refused.json.get("field")) == (status, code, field)
    assert classes.objects._objects == before


TEXTS = {
    "no JSON": ('{"labels": [', 400, "invalid_json"),
    "NaN": (json.dumps(label(float("nan"))), 400, "invalid_json"),
    "1e400": (f'{{"prediction_id": "{ID}", "label": 1e400}}', 400, "invalid_json"),
    "thousands of digits": (f'{{"prediction_id": "{ID}", "label": {"9" * 4_301}}}', 400, None),
    "depth 20,000": ('{"labels": ' + "[" * 20_000 + "]" * 20_000 + "}", 400, "invalid_json"),
    "half a surrogate pair": (f'{{"prediction_id": "{ID}", "label": "\\ud800"}}', 400, "invalid_json"),
    "a key twice": (f'{{"prediction_id": "{ID}", "label": 1, "label": 2}}', 400, "duplicate_key"),
    "a list twice": ('{"labels": [], ' + json.dumps({"labels": [label("rain")]})[1:], 400, "duplicate_key"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_body_that_is_not_json_as_it_should_be_is_refused(classes: EndpointStand, name: str) -> None:
    text, status, code = TEXTS[name]
    refused = classes.post("/models/weather/feedback", text)
    assert refused.status == status
    assert refused.code == (code or refused.code)


def test_one_bad_label_keeps_all_others_out(classes: EndpointStand) -> None:
    before = dict(classes.objects._objects)
    refused = classes.label(label("rain"), label("sun", row=-1), label("sun", OTHER))
    assert (refused.status, refused.json["row"], refused.json["field"]) == (400, 1, "labels[1].row")
    assert "labels[1]" in refused.json["detail"]
    assert classes.objects._objects == before


def test_other_content_types_methods_and_models_are_problems(classes: EndpointStand) -> None:
    path = "/models/weather/feedback"
    assert classes.post(path, "x", content_type="text/csv").code == "unsupported_media_type"
    assert classes.post(path, json.dumps(label("rain")), content_encoding="gzip").code == "unsupported_encoding"
    assert classes.send(event("POST", path, headers={"content-type": "application/json"})).code == "empty_body"
    got = classes.get(path)
    assert (got.status, got.headers["allow"]) == (405, "POST")
    assert classes.post("/models/other/feedback", label("rain")).code == "unknown_model"


# -- what the model knows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [7, 0.5, True])
def test_a_label_that_no_answer_can_be_compared_with_is_refused_with_what_is_allowed(
    classes: EndpointStand, value: Any
) -> None:
    refused = classes.label(label("rain"), label(value, OTHER))
    assert (refused.status, refused.code, refused.json["row"]) == (422, "wrong_label", 1)
    assert "'rain', 'sun', 'snow'" in refused.json["detail"]


def test_a_class_that_no_version_knows_is_taken_and_told(classes: EndpointStand) -> None:
    answer = classes.label(label("rain"), label("fog", OTHER))
    assert answer.json["accepted"] == 2
    (warning,) = answer.json["warnings"]
    assert (warning["row"], warning["code"]) == (1, "unknown_class")
    assert "'fog'" in warning["detail"]
    assert "'snow'" in warning["detail"]


@pytest.mark.parametrize("value", ["3.5", "rain", True])
def test_a_model_of_numbers_takes_numbers(sums: ModuleType, value: Any) -> None:
    refused = send(sums, label(value))
    assert (refused.status, refused.code) == (422, "wrong_label")
    assert "answers a number" in refused.json["detail"]


def test_what_a_models_own_code_answers_may_be_anything() -> None:
    stand = EndpointStand(onnx_models.classifier(), code=ModelCode("own", None, list))
    assert stand.label(label(7), label("rain", OTHER)).json["accepted"] == 2


# -- S3 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 403])
def test_labels_that_s3_does_not_take_are_the_callers_to_send_again(
    sums: ModuleType, bucket: HttpBucket, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    bucket.status = status
    refused = send(sums, label())
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "feedback_not_stored", "5")
    assert stored(bucket.objects) == {}
    told = [json.loads(text) for text in capfd.readouterr().out.splitlines()]
    (failure,) = [line for line in told if line.get("event") == "feedback_not_stored"]
    assert failure["message"]
    bucket.status = None
    assert send(sums, label()).status == 200
    assert len(stored(bucket.objects)) == 1


def test_an_s3_that_does_not_answer_ends_no_process(bucket: HttpBucket, start: Any) -> None:
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    function = start("sums", MODELYARD_TIMEOUT_S="0.6", MODELYARD_REFRESH_S="3600")
    bucket.delay_s = 4.0
    began = time.monotonic()
    assert send(function, label()).status == 503
    assert time.monotonic() - began < 3.0, "within the function's time"
    bucket.delay_s = 0.0


# -- beside the rest --------------------------------------------------------------------------------------------------


def test_labels_do_not_take_part_in_a_trial() -> None:
    stand = TrialStand(adds(1))
    stand.shadow(2, adds(2))
    answer = stand.predict([1, 2])
    made = event(
        "POST", "/models/sums/feedback", json.dumps(label(3, answer.json["prediction_id"])),
        headers={"content-type": "application/json"},
    )  # fmt: skip
    assert stand.send(made).status == 200
    assert [record["prediction_id"] for record in stand.records()] == [answer.json["prediction_id"]]
