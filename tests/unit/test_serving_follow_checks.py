"""When the pointer is checked: how often, who waits, and what becomes of a check that froze or was given up."""

import threading
import time

import pytest

from modelyard.errors import AWSError
from modelyard.serving.follow import AWAKE_SHARE, both_clocks
from tests.fakes.following import REFRESH_S, Scene, events


def check_that_hangs(scene: Scene, *, then: Exception | None = None) -> threading.Event:
    """Start a check that hangs once it has read the pointer; later ones do not.

    Args:
        scene: Where a check is due.
        then: What becomes of it; ``None``: the check goes on with what it read.

    Returns:
        What ends the hanging.
    """
    reading, end = threading.Event(), threading.Event()
    get_if_changed = scene.objects.get_if_changed

    def hangs(key, etag):
        found = get_if_changed(key, etag)
        reading.set()
        end.wait(5.0)
        if then is not None:
            raise then
        return found

    scene.objects.get_if_changed = hangs
    scene.answering()  # starts the check
    assert reading.wait(5.0)
    scene.objects.get_if_changed = get_if_changed
    return end


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
    thaw = check_that_hangs(scene)
    scene.promote(2, 2)
    scene.clocks.freeze(3600)
    threading.Timer(0.05, thaw.set).start()
    assert scene.answering() == 2


def test_a_check_that_a_freeze_left_hanging_holds_nobody_up_and_counts_no_more(scene):
    """Its connection is dead, which it finds out only after its own timeout."""
    scene.promote(1, 1)
    scene.answering()
    scene.clocks.pass_(REFRESH_S / 2 + 0.1)
    dead = check_that_hangs(scene, then=AWSError("the connection is dead"))
    hanging = scene.follower._thread
    scene.promote(2, 2)
    scene.clocks.freeze(3600)
    began = time.monotonic()
    assert scene.answering() == 2
    assert time.monotonic() - began < 2.0
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
