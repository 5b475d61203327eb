"""Following the pointer: when it is checked, what a check may change, and that nothing is lost when it fails."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator

import pytest

from modelyard.contract.document import parse
from modelyard.errors import AWSError, CredentialsError, ModelyardError, RequestError
from modelyard.predictor.predictor import Predictor
from modelyard.serving.follow import AWAKE_SHARE, USERS_S, PointerFollower, both_clocks
from tests.fakes import onnx_models
from tests.fakes.objects import InMemoryObjects, pointer_to, promote

REFRESH_S = 10.0
POINTER = "deployments/sums.json"


class Clocks:
    """A monotonic and a wall clock that a test moves."""

    def __init__(self) -> None:
        self.monotonic = 1000.0
        self.wall = 1_795_255_200.0

    def __call__(self) -> tuple[float, float]:
        return self.monotonic, self.wall

    def pass_(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds

    def freeze(self, seconds: float) -> None:
        """Time that only the world outside noticed."""
        self.wall += seconds


class Scene:
    def __init__(self) -> None:
        self.objects = InMemoryObjects()
        self.clocks = Clocks()
        self.loads: list[int] = []
        self.follower = PointerFollower(
            self.objects, "sums", refresh_s=REFRESH_S, load=self._load, now=self.clocks, patience_s=5.0
        )

    def _load(self, deployed, fetch):
        model = fetch(deployed.file)
        self.loads.append(deployed.version)
        return Predictor.load(model, signature=deployed.signature)

    def promote(self, version: int, revision: int) -> dict:
        return promote(self.objects, "sums", onnx_models.row_sum(float(version)), version=version, revision=revision)

    def answering(self) -> int:
        """The version that answers a request now, told by its answer."""
        live = self.follower.current()
        assert live.predictor.predict([[0.0, 0.0]]) == [float(live.version)]
        return live.version

    def settle(self) -> None:
        """Wait for a check in the background."""
        self.follower.wait(5.0)

    def checks(self) -> int:
        return self.objects.reads.count(POINTER)


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.settle()  # a check under way must not write its line into the next test


def events(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# -- when it is checked -----------------------------------------------------------------------------------------------


def test_the_first_request_waits_for_the_first_check(scene):
    scene.promote(1, 1)
    assert scene.answering() == 1


def test_a_fresh_answer_costs_no_check(scene):
    scene.promote(1, 1)
    scene.answering()
    scene.clocks.pass_(REFRESH_S / 2)
    assert scene.answering() == 1
    scene.settle()
    assert scene.checks() == 1


def test_after_half_the_time_a_check_runs_in_the_background(scene):
    scene.promote(1, 1)
    scene.answering()
    scene.promote(2, 2)
    scene.clocks.pass_(REFRESH_S / 2 + 0.1)
    gate = threading.Event()
    scene.objects.before_read = lambda key: gate.wait(5.0)
    assert scene.answering() == 1  # it did not wait
    gate.set()
    scene.settle()
    assert scene.answering() == 2


def test_there_are_never_two_checks_at_once(scene):
    scene.promote(1, 1)
    scene.answering()
    scene.clocks.pass_(REFRESH_S / 2 + 0.1)
    gate = threading.Event()
    scene.objects.before_read = lambda key: gate.wait(5.0)
    for _ in range(20):
        scene.answering()
    gate.set()
    scene.settle()
    assert scene.checks() == 2


@pytest.mark.parametrize("passing", ["pass_", "freeze"])
def test_after_the_whole_time_the_request_waits_for_the_check(scene, passing):
    scene.promote(1, 1)
    scene.answering()
    scene.promote(2, 2)
    getattr(scene.clocks, passing)(REFRESH_S + 0.1)
    assert scene.answering() == 2


def test_a_wall_clock_that_was_set_back_does_not_stop_the_checks(scene):
    scene.promote(1, 1)
    scene.answering()
    scene.promote(2, 2)
    scene.clocks.wall -= 100_000
    scene.clocks.monotonic += REFRESH_S + 0.1
    assert scene.answering() == 2


def test_a_check_that_began_before_a_freeze_does_not_count(scene):
    """The answer to its GET may be from before; so one more check is made before the request is answered."""
    scene.promote(1, 1)
    scene.answering()
    scene.clocks.pass_(REFRESH_S / 2 + 0.1)
    read, thaw = threading.Event(), threading.Event()
    get_if_changed = scene.objects.get_if_changed

    def frozen_after_reading(key, etag):
        found = get_if_changed(key, etag)
        read.set()
        thaw.wait(5.0)
        return found

    scene.objects.get_if_changed = frozen_after_reading
    scene.answering()  # starts the check
    assert read.wait(5.0)
    scene.objects.get_if_changed = get_if_changed
    scene.promote(2, 2)
    scene.clocks.freeze(3600)
    threading.Timer(0.05, thaw.set).start()
    assert scene.answering() == 2


def test_a_check_that_a_freeze_left_hanging_holds_nobody_up_and_counts_no_more(scene):
    """Its connection is dead, which it finds out only after its own timeout."""
    scene.promote(1, 1)
    scene.answering()
    scene.clocks.pass_(REFRESH_S / 2 + 0.1)
    reading, dead = threading.Event(), threading.Event()
    get_if_changed = scene.objects.get_if_changed

    def hangs(key, etag):
        reading.set()
        dead.wait(5.0)
        raise AWSError("the connection is dead")

    scene.objects.get_if_changed = hangs
    scene.answering()
    assert reading.wait(5.0)
    hanging = scene.follower._thread
    scene.objects.get_if_changed = get_if_changed
    scene.promote(2, 2)
    scene.clocks.freeze(3600)
    assert scene.answering() == 2
    dead.set()
    hanging.join(5.0)
    scene.clocks.pass_(REFRESH_S / 2 - 0.1)
    checks = scene.checks()
    assert scene.answering() == 2
    assert scene.checks() == checks  # what ended late has not made the answer older


def test_where_requests_come_one_after_another_the_environment_is_not_kept_for_a_check(scene):
    scene.promote(1, 1)
    scene.answering()
    gate = threading.Event()
    scene.objects.before_read = lambda key: gate.wait(5.0)
    scene.clocks.pass_(REFRESH_S / 2 + 0.1)
    scene.answering()
    scene.clocks.pass_(0.01)
    scene.answering()
    scene.clocks.pass_(0.5)  # one that was late does not make the others rare
    scene.answering()
    scene.clocks.pass_(0.01 * AWAKE_SHARE)  # that is how long the request took
    began = time.monotonic()
    scene.follower.run()
    assert time.monotonic() - began < 2.0
    assert scene.follower.due()
    gate.set()
    scene.settle()
    assert not scene.follower.due()


def test_a_check_that_was_given_up_brings_no_older_version_back(scene):
    scene.promote(1, 1)
    scene.answering()
    scene.promote(2, 2)
    loading, thaw = threading.Event(), threading.Event()
    load = scene.follower._load

    def frozen_in_the_load(deployed, fetch):
        if deployed.version == 2:
            loading.set()
            assert thaw.wait(5.0)
        return load(deployed, fetch)

    scene.follower._load = frozen_in_the_load
    scene.clocks.pass_(REFRESH_S / 2 + 0.1)
    scene.answering()
    assert loading.wait(5.0)
    late = scene.follower._thread
    scene.promote(3, 3)
    scene.clocks.freeze(3600)
    assert scene.answering() == 3
    thaw.set()
    late.join(5.0)
    assert scene.follower.live.version == 3
    scene.clocks.pass_(REFRESH_S + 1)
    assert scene.answering() == 3


def test_a_load_that_takes_its_time_is_not_begun_again_by_every_request(scene, capsys):
    scene.promote(1, 1)
    scene.answering()
    scene.promote(2, 2)
    scene.follower._patience_s = 0.02
    gate, load, loads = threading.Event(), scene.follower._load, []

    def slow(deployed, fetch):
        loads.append(deployed.version)
        gate.wait(5.0)
        return load(deployed, fetch)

    scene.follower._load = slow
    for _ in range(6):
        scene.clocks.pass_(REFRESH_S + 1)
        assert scene.answering() == 1
    assert loads == [2, 2]  # one that may be dead, and one more
    gate.set()
    scene.settle()
    assert scene.answering() == 2
    capsys.readouterr()


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


def test_where_requests_are_rare_the_environment_is_kept_until_the_check_is_done(scene):
    scene.promote(1, 1)
    scene.answering()
    scene.promote(2, 2)
    scene.clocks.pass_(REFRESH_S / 2 + 0.1)
    scene.objects.before_read = lambda key: time.sleep(0.05)
    scene.follower.run()
    assert scene.follower.live.version == 2


def test_an_unchanged_pointer_is_not_loaded_again(scene):
    scene.promote(1, 1)
    for _ in range(3):
        scene.answering()
        scene.clocks.pass_(REFRESH_S + 1)
    assert scene.loads == [1]


def test_a_check_that_hangs_holds_a_request_up_for_its_patience_only(scene, capsys):
    scene.promote(1, 1)
    scene.answering()
    scene.follower._patience_s = 0.05
    gate = threading.Event()
    scene.objects.before_read = lambda key: gate.wait(5.0)
    scene.clocks.pass_(REFRESH_S + 1)
    assert scene.answering() == 1
    gate.set()
    scene.settle()
    assert "pointer_check_slow" in [event["event"] for event in events(capsys)]


def test_the_real_clocks_move_forward():
    first, second = both_clocks(), both_clocks()
    assert first[0] <= second[0]
    assert abs(first[1] - time.time()) < 5


# -- what a check may change ------------------------------------------------------------------------------------------


def test_promoting_and_rolling_back_switch_in_process(scene, capsys):
    for version, revision in ((1, 1), (2, 2), (1, 3)):
        scene.promote(version, revision)
        scene.clocks.pass_(REFRESH_S + 1)
        assert scene.answering() == version
    switches = [event for event in events(capsys) if event["event"] == "version_live"]
    assert [(switch["replaced"], switch["version"]) for switch in switches] == [(None, 1), (1, 2), (2, 1)]


def test_no_request_frees_a_replaced_version(scene):
    freed_by = []

    class Session:
        def __init__(self, predictor: Predictor) -> None:
            self.predict = predictor.predict

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
