"""When a check of the pointer fails the last good model stays; while there is none, requests are told so."""

import hashlib
import json
import threading

import pytest

from modelyard.errors import AWSError, CredentialsError, ModelyardError
from tests.fakes import onnx_models
from tests.fakes.following import POINTER, REFRESH_S, events
from tests.fakes.objects import pointer_to

# -- when a check fails -----------------------------------------------------------------------------------------------


def _corrupt_pointer(scene):
    scene.objects.put(POINTER, b'{"format": 1')


def _other_models_pointer(scene):
    pointer = pointer_to("other", onnx_models.row_sum(2.0), version=2, revision=2)
    scene.objects.put(POINTER, json.dumps(pointer).encode())


def _no_pointer(scene):
    scene.objects.delete(POINTER)


def _tampered_model(scene):
    pointer = scene.promote(2, 2)
    scene.objects.put(pointer["champion"]["key"], onnx_models.row_sum(666.0))


def _model_gone(scene):
    scene.objects.delete(scene.promote(2, 2)["champion"]["key"])


def _no_model(scene):
    content = b"<html>"
    pointer = scene.promote(2, 2)
    digest = hashlib.sha256(content).hexdigest()
    pointer["champion"].update(digest=digest, size=len(content), key=f"artifacts/sha256/{digest}/model.onnx")
    scene.objects.put(pointer["champion"]["key"], content)
    scene.objects.put(POINTER, json.dumps(pointer).encode())


def _other_signature(scene):
    pointer = scene.promote(2, 2)
    pointer["champion"]["signature"]["inputs"][0]["name"] = "z"
    scene.objects.put(POINTER, json.dumps(pointer).encode())


def _s3_down(scene):
    scene.promote(2, 2)
    scene.objects.failure = AWSError("S3 does not answer")


def _access_denied(scene):
    scene.promote(2, 2)
    scene.objects.failure = CredentialsError("AWS refuses", code="access_denied")


def _unexpected(scene):
    scene.promote(2, 2)
    scene.objects.failure = ZeroDivisionError("a bug")


FAILURES = [
    _corrupt_pointer, _other_models_pointer, _no_pointer, _tampered_model, _model_gone, _no_model, _other_signature,
    _s3_down, _access_denied, _unexpected,
]  # fmt: skip


@pytest.mark.parametrize("break_it", FAILURES)
def test_a_failed_check_keeps_the_last_good_model_and_logs_a_line(scene, capsys, break_it):
    scene.promote(1, 1)
    scene.answering()
    break_it(scene)
    for _ in range(3):
        scene.clocks.pass_(REFRESH_S + 1)
        assert scene.answering() == 1
    failed = [event for event in events(capsys) if event["event"] == "pointer_check_failed"]
    assert failed
    assert failed[0]["version"] == 1


@pytest.mark.parametrize("break_it", FAILURES)
def test_after_a_failed_check_the_next_good_pointer_is_followed(scene, break_it):
    scene.promote(1, 1)
    scene.answering()
    break_it(scene)
    scene.clocks.pass_(REFRESH_S + 1)
    scene.answering()
    scene.objects.failure = None
    scene.promote(3, 3)
    scene.clocks.pass_(REFRESH_S + 1)
    assert scene.answering() == 3


def test_a_failure_that_passes_is_tried_again_with_the_same_pointer(scene):
    scene.promote(1, 1)
    scene.answering()
    _s3_down(scene)
    scene.clocks.pass_(REFRESH_S + 1)
    scene.answering()
    scene.objects.failure = None
    scene.clocks.pass_(REFRESH_S / 2 + 1)
    scene.answering()
    scene.settle()
    assert scene.answering() == 2


def test_a_model_that_s3_could_not_give_is_asked_for_again_with_the_same_pointer(scene):
    scene.promote(1, 1)
    scene.answering()

    def no_models(key):
        if key.startswith("artifacts/"):
            raise AWSError("S3 does not answer")

    scene.objects.before_read = no_models
    scene.promote(2, 2)
    scene.clocks.pass_(REFRESH_S + 1)
    assert scene.answering() == 1
    scene.objects.before_read = lambda key: None
    scene.clocks.pass_(REFRESH_S + 1)
    assert scene.answering() == 2


def test_a_version_that_cannot_be_loaded_is_fetched_once(scene):
    scene.promote(1, 1)
    scene.answering()
    _tampered_model(scene)
    for _ in range(4):
        scene.clocks.pass_(REFRESH_S + 1)
        scene.answering()
    assert len([key for key in scene.objects.reads if key.startswith("artifacts/")]) == 2


# -- before there is a model ------------------------------------------------------------------------------------------


def test_without_a_deployment_each_request_is_503_with_a_next_step_and_looks_again(scene):
    for attempt in range(1, 3):
        with pytest.raises(ModelyardError) as caught:
            scene.follower.current()
        assert (caught.value.code, caught.value.status) == ("no_deployment", 503)
        assert "promote sums" in (caught.value.next_step or "")
        assert scene.checks() == attempt
    scene.promote(1, 1)
    assert scene.answering() == 1


@pytest.mark.parametrize("break_it", [b for b in FAILURES if b is not _no_pointer])
def test_a_model_that_was_never_loaded_is_503_and_recovers(scene, break_it):
    break_it(scene)
    with pytest.raises(ModelyardError) as caught:
        scene.follower.current()
    assert (caught.value.code, caught.value.status) == ("model_unavailable", 503)
    assert caught.value.__cause__ is not None
    scene.objects.failure = None
    scene.promote(3, 3)
    assert scene.answering() == 3


def test_start_does_not_wait_and_does_not_raise(scene):
    gate = threading.Event()
    scene.objects.before_read = lambda key: gate.wait(5.0)
    scene.follower.start()
    assert scene.follower.live is None
    gate.set()
    scene.settle()
    assert scene.follower.live is None
    scene.promote(1, 1)
    assert scene.answering() == 1


def test_waiting_without_a_start_returns(scene):
    scene.follower.wait(0.0)
