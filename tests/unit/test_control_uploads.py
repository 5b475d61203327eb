"""From a caller's file to a version: signed, taken, admitted by content, registered."""

import hashlib
import pickle

import pytest

from modelyard.admission import admit
from modelyard.control import uploads
from modelyard.errors import AWSError
from tests.fakes import onnx_models
from tests.fakes.broken_stores import Outage
from tests.fakes.control import MODEL, ControlStand
from tests.fakes.gateway import CALLER
from tests.fakes.stores import InMemoryArtifactStore, InMemoryRecordStore

DIGEST = hashlib.sha256(b"a model").hexdigest()


@pytest.fixture
def stand() -> ControlStand:
    return ControlStand()


def test_an_upload_is_signed_for_one_key_one_size_and_one_digest(stand: ControlStand) -> None:
    answer = stand.post(f"/models/{MODEL}/uploads", {"sha256": DIGEST, "size": 7})
    assert stand.signer.signed == [(f"uploads/{MODEL}/{DIGEST}.onnx", DIGEST, 7, 900)]
    assert answer.body == {
        "method": "PUT",
        "url": f"https://bucket.example/uploads/{MODEL}/{DIGEST}.onnx?signed",
        "headers": {"content-length": "7"},
        "expires_in_s": 900,
    }


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(stand: ControlStand) -> None:
    assert stand.post(f"/models/{MODEL}/uploads", {"sha256": DIGEST, "size": uploads.LARGEST_UPLOAD}).status == 200
    answer = stand.post(f"/models/{MODEL}/uploads", {"sha256": DIGEST, "size": uploads.LARGEST_UPLOAD + 1})
    assert (answer.status, answer.code, answer.body["field"]) == (413, "artifact_too_large", "size")
    assert "268,435,456" in answer.body["detail"]


def test_a_file_that_is_too_large_is_refused_before_it_is_read(
    stand: ControlStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "LARGEST_UPLOAD", 6)
    monkeypatch.setattr(stand.artifacts, "get", pytest.fail)
    answer = stand.register(b"a model")
    assert (answer.status, answer.code) == (413, "artifact_too_large")


def test_an_upload_becomes_a_version_of_its_caller(stand: ControlStand) -> None:
    answer = stand.register(note="first", owner="team", description="What it does", tags=["b", "a"])
    assert (answer.status, answer.headers["location"]) == (201, f"/models/{MODEL}/versions/1")
    assert set(answer.body) == {"created", "version"}
    assert answer.body["created"] is True
    version = answer.body["version"]
    assert (version["number"], version["digest"], version["author"], version["note"]) == (1, DIGEST, CALLER, "first")
    assert stand.artifacts.objects[version["key"]] == b"a model"
    model = stand.get(f"/models/{MODEL}").body
    assert (model["owner"], model["tags"]) == ("team", ["a", "b"])


def test_the_same_upload_again_is_the_same_version(stand: ControlStand) -> None:
    first, again = stand.register(), stand.register()
    assert (again.status, again.body["created"]) == (200, False)
    assert again.body["version"] == first.body["version"]
    assert again.headers["location"] == first.headers["location"]


def test_registering_changes_nothing_that_is_live(stand: ControlStand) -> None:
    stand.register(b"model 1")
    assert stand.get(f"/models/{MODEL}/deployment").code == "nothing_live"
    live = stand.promote(1).body
    stand.register(b"model 2")
    assert stand.get(f"/models/{MODEL}/deployment").body == live


def test_an_upload_that_is_not_there_is_named_with_the_way_to_send_it(stand: ControlStand) -> None:
    answer = stand.post(f"/models/{MODEL}/versions", {"sha256": DIGEST, "task": "binary"})
    assert (answer.status, answer.code, answer.body["field"]) == (404, "unknown_upload", "sha256")
    assert f"/models/{MODEL}/uploads" in answer.body["next_step"]


def test_an_upload_belongs_to_the_model_that_it_was_signed_for(stand: ControlStand) -> None:
    stand.upload(b"a model", model="digits")
    assert stand.post(f"/models/{MODEL}/versions", {"sha256": DIGEST, "task": "binary"}).code == "unknown_upload"


def test_bytes_with_another_digest_are_refused(stand: ControlStand) -> None:
    stand.upload(b"other bytes", sha256=DIGEST)
    answer = stand.post(f"/models/{MODEL}/versions", {"sha256": DIGEST, "task": "binary"})
    assert (answer.status, answer.code) == (422, "checksum_mismatch")
    assert stand.get("/models").body["items"] == []


class TestAdmission:
    """With the real admission: the bytes are tried in a child process."""

    @pytest.fixture
    def stand(self) -> ControlStand:
        return ControlStand(admit=admit)

    def test_a_model_that_runs_is_registered_with_its_signature(self, stand: ControlStand) -> None:
        answer = stand.register(onnx_models.row_sum())
        assert answer.status == 201
        assert answer.body["version"]["signature"]["inputs"] == [{"name": "x", "dtype": "float32", "shape": [None, 2]}]

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(pickle.dumps({"a": 1}), id="pickle"),
            pytest.param(b"<!doctype html><title>404</title>", id="html"),
            pytest.param(b"\x00\x01\x02", id="garbage"),
            pytest.param(onnx_models.row_sum()[:-20], id="truncated"),
        ],
    )
    def test_other_bytes_leave_nothing_behind(self, stand: ControlStand, body: bytes) -> None:
        answer = stand.register(body)
        assert (answer.status, answer.code) == (422, "not_onnx")
        assert answer.body["field"] == "artifact"
        assert stand.records._items == {}
        assert [key for key in stand.artifacts.objects if not key.startswith("uploads/")] == []

    def test_an_empty_upload_is_refused(self, stand: ControlStand) -> None:
        assert stand.register(b"").code == "empty_artifact"


def test_a_broken_child_process_is_our_failure_and_not_the_callers(stand: ControlStand) -> None:
    def broken(artifact: bytes) -> None:
        raise AWSError("away", code="trial_unavailable", status=500)

    stand = ControlStand(admit=broken)
    assert stand.register().status == 500
    assert [failure.code for failure, _ in stand.journal.failures] == ["trial_unavailable"]


@pytest.mark.parametrize("after", [False, True], ids=["before it acts", "after it acted"])
def test_a_request_that_was_cut_anywhere_can_be_repeated(after: bool) -> None:
    """Every single store call fails once; the same request again ends as if nothing had happened."""

    def attempt(at: int | None) -> tuple[ControlStand, Outage, object]:
        records, artifacts, outage = InMemoryRecordStore(), InMemoryArtifactStore(), Outage(at, after=after)
        stand = ControlStand(records=outage.over(records), artifacts=outage.over(artifacts))
        artifacts.objects[uploads.upload_key(MODEL, DIGEST)] = b"a model"
        asked = {"sha256": DIGEST, "task": "binary", "note": "first"}
        first = stand.post(f"/models/{MODEL}/versions", asked)
        assert first.status in (201, 502), first.text
        return stand, outage, stand.post(f"/models/{MODEL}/versions", asked) if first.status != 201 else first

    calls = len(attempt(None)[1].calls)
    assert calls >= 7
    for at in range(calls):
        stand, _, answer = attempt(at)
        assert answer.status in (200, 201), (at, answer.text)
        assert answer.body["version"]["number"] == 1
        kinds = [entry["kind"] for entry in stand.get(f"/models/{MODEL}/history").body["items"]]
        assert kinds == ["registered"]
        assert stand.get(f"/models/{MODEL}").body["versions"] == 1
