"""What a check of the pointer may change: versions switch in the process, and no request is lost."""

import json
import threading
import time

import pytest

from modelyard.contract.document import parse
from modelyard.errors import RequestError
from modelyard.predictor import standard
from modelyard.predictor.predictor import Predictor
from modelyard.serving.follow import BUSY_GAP_S, SPREAD_SHARE, USERS_S, both_clocks
from tests.fakes import onnx_models
from tests.fakes.following import POINTER, REFRESH_S, events
from tests.fakes.objects import pointer_to


def test_promoting_and_rolling_back_switch_in_process(scene, capsys):
    for version, revision in ((1, 1), (2, 2), (1, 3)):
        scene.promote(version, revision)
        scene.clocks.pass_(REFRESH_S + 1)
        assert scene.answering() == version
    switches = [event for event in events(capsys) if event["event"] == "version_live"]
    assert [(switch["replaced"], switch["version"]) for switch in switches] == [(None, 1), (1, 2), (2, 1)]


def test_no_request_frees_a_replaced_version(scene, monkeypatch):
    freed_by, awaited = [], []
    monkeypatch.setattr(standard, "await_run", lambda: awaited.append(list(freed_by)))

    class Session:
        def __init__(self, predictor: Predictor) -> None:
            self.predict = predictor.predict
            self.prime = predictor.prime

        def __del__(self) -> None:
            freed_by.append(threading.current_thread().name)

    load = scene.follower._load
    scene.follower._load = lambda deployed, fetch: Session(load(deployed, fetch))
    scene.promote(1, 1)
    held = scene.follower.live or scene.follower.current()
    scene.promote(2, 2)
    scene.clocks.pass_(REFRESH_S + 1)
    began = time.monotonic()
    assert scene.answering() == 2  # though this very request has the first one in its hands
    assert time.monotonic() - began < USERS_S / 2
    assert not freed_by
    assert held.version == 1
    del held
    deadline = time.monotonic() + 5.0
    while not freed_by and time.monotonic() < deadline:
        time.sleep(0.01)
    assert freed_by == ["free"]
    assert [] in awaited, "the standard engine's is freed while a run computes, which does not need Python's lock"


def test_a_new_version_has_run_before_it_answers_and_the_first_one_has_not(scene, monkeypatch):
    primed = []
    monkeypatch.setattr(Predictor, "prime", lambda self: primed.append(scene.follower.live.version))
    scene.promote(1, 1)
    assert scene.answering() == 1
    assert primed == []  # a cold start runs nothing but what it was asked for
    scene.promote(2, 2)
    scene.clocks.pass_(REFRESH_S + 1)
    assert scene.answering() == 2
    assert primed == [1]  # while the old one was still the one that answers


@pytest.mark.parametrize(("gap_s", "share"), [(0.01, SPREAD_SHARE), (BUSY_GAP_S + 1, 0.0)], ids=["many", "few"])
def test_files_are_spread_over_time_only_while_requests_come_one_after_the_other(scene, gap_s, share):
    spread = []
    load = scene.follower._load
    scene.follower._load = lambda deployed, fetch: spread.append(fetch.spread_s) or load(deployed, fetch)
    scene.promote(1, 1)
    assert scene.answering() == 1
    scene.promote(2, 2)
    deadline = time.monotonic() + 20.0
    while scene.answering() == 1 and time.monotonic() < deadline:
        scene.clocks.pass_(gap_s)
        time.sleep(0.001)
    assert spread == [0.0, share * REFRESH_S]


def test_an_older_revision_is_never_gone_back_to(scene, capsys):
    scene.promote(2, 5)
    assert scene.answering() == 2
    scene.promote(1, 4)
    scene.clocks.pass_(REFRESH_S + 1)
    assert scene.answering() == 2
    assert "older_pointer_ignored" in [event["event"] for event in events(capsys)]


def test_a_new_revision_of_the_same_bytes_keeps_the_session(scene):
    pointer = scene.promote(1, 1)
    predictor = scene.follower.current().predictor
    pointer["revision"], pointer["champion"]["version"] = 2, 7
    scene.objects.put(POINTER, json.dumps(pointer).encode())
    scene.clocks.pass_(REFRESH_S + 1)
    live = scene.follower.current()
    assert (live.revision, live.version) == (2, 7)
    assert live.predictor is predictor


def test_concurrent_requests_all_succeed_while_versions_switch(scene):
    """Every request gets the whole answer of one version, the one that it says."""
    scene.promote(1, 1)
    scene.answering()
    scene.follower._refresh_s = 0.002
    scene.follower._now = both_clocks
    stop = threading.Event()
    seen: set[int] = set()
    failures: list[BaseException] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                seen.add(scene.answering())
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test reports it
                failures.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for revision in range(2, 30):
        scene.promote(revision % 3 + 1, revision)
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert seen == {1, 2, 3}


def test_the_same_bytes_with_another_contract_are_held_to_the_other(scene):
    def promised(version: int, most: float) -> None:
        pointer = pointer_to("sums", onnx_models.row_sum(1.0), version=version, revision=version)
        field = {
            "dtype": "float32",
            "shape": [None, 2],
            "mode": "reject",
            "minimum": 0.0,
            "maximum": most,
            "nulls": False,
        }
        pointer["champion"]["contract"] = {"format": 1, "rows": 0, "fields": {"x": field}}
        scene.objects.put(pointer["champion"]["key"], onnx_models.row_sum(1.0))
        scene.objects.put(POINTER, json.dumps(pointer).encode())

    def load(deployed, fetch):
        return Predictor.load(fetch(deployed.file), signature=deployed.signature, contract=parse(deployed.contract))

    scene.follower._load = load
    promised(1, 1.0)
    with pytest.raises(RequestError, match="the contract allows 0 to 1"):
        scene.follower.current().predictor.answer('{"instances": [[5, 5]]}')
    promised(2, 100.0)
    scene.clocks.pass_(REFRESH_S + 1)
    live = scene.follower.current()
    assert live.version == 2
    assert live.predictor.answer('{"instances": [[5, 5]]}') == ([11.0], [])
