"""Trials of a model with an app of its own: it asks the version that is to answer, and never meets its failures."""

import json
import time

from tests.fakes import onnx_models
from tests.fakes.app_function import asking, until
from tests.fakes.objects import pointer_to


def put_on_trial(bucket, mode: str, challenger: bytes) -> None:
    targets = []
    for version, onnx in ((1, onnx_models.row_sum(1.0)), (2, challenger)):
        pointer = pointer_to("sums", onnx, version=version, revision=2)
        targets.append(pointer["champion"])
        bucket.put(pointer["champion"]["key"], onnx)
    slots = [{"until": 1, "version": 1}, {"until": 10_000, "version": 2}]
    document = {**pointer, "mode": mode, "champion": targets[0], "challenger": targets[1], "slots": slots, "salt": "s"}
    bucket.put("deployments/sums.json", json.dumps(document).encode())


def records(bucket) -> list[dict]:
    return [
        json.loads(line)
        for key in bucket.objects
        if "captures/" in key
        for line in bucket.objects[key].split(b"\n")[:-1]
    ]


def test_an_app_asks_the_canary_and_the_champion_answers_what_it_fails_at(bucket, start):
    put_on_trial(bucket, "canary", onnx_models.log_sum())
    function = start()
    until(lambda: "challenger_loaded" in function.events())
    status, good = function.ask(asking("POST", "/sum", {"left": 1, "right": 0}))
    assert (status, good["version"], good["sum"]) == (200, 2, 0.0)
    status, bad = function.ask(asking("POST", "/sum", {"left": -3, "right": 0}))
    assert (status, bad["version"], bad["sum"]) == (200, 1, -2.0)
    first, second = function.audits
    assert (first["version"], first["arm"], first["fallbacks"]) == (2, "2", 0)
    assert (second["version"], second["arm"]) == (1, "2")
    assert second["fallback"] == {"version": 2, "code": "not_finite"}
    function.flush()
    kept = {record["version"]: record for record in records(bucket)}
    assert kept[2]["predictions"] == [0.0]
    assert (kept[1]["predictions"], kept[1]["failed"]["code"]) == ([-2.0], "not_finite")


def test_what_an_app_asked_the_champion_a_shadow_is_asked_as_well(bucket, start):
    put_on_trial(bucket, "shadow", onnx_models.row_sum(2.0))
    function = start()
    until(lambda: "challenger_loaded" in function.events())
    status, answer = function.ask(asking("POST", "/sum", {"left": 1, "right": 2}))
    assert (status, answer["version"], answer["sum"]) == (200, 1, 4.0)
    until(lambda: not function.module.ENDPOINT._afterwards.pending())
    time.sleep(0.05)
    function.flush()
    (record,) = records(bucket)
    assert (record["instances"], record["predictions"]) == ([[1.0, 2.0]], [4.0])
    assert record["shadow"]["predictions"] == [5.0]
