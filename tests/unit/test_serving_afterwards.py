"""Work after the answer, where no Lambda holds the environment awake for it."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.serving.afterwards import Afterwards

PROJECT = Path(__file__).parents[2]
SOON_S = 5.0


class Duty:
    """Is due as often as it is told; counts."""

    def __init__(self, *, times: int = 0) -> None:
        self.times = times
        self.ran = 0
        self.finished = 0
        self.failure: Exception | None = None

    def due(self) -> bool:
        if self.failure is not None:
            raise self.failure
        return self.ran < self.times

    def run(self) -> None:
        self.ran += 1

    def finish(self) -> None:
        self.finished += 1


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + SOON_S
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.002)
    return condition()


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


@pytest.fixture
def afterwards():
    return Afterwards.start({})


def test_work_begins_when_the_handler_has_returned_and_not_before(afterwards):
    done = threading.Event()
    afterwards.add(done.set)
    time.sleep(0.02)
    assert not done.is_set()
    afterwards.invocation_done(None)
    assert done.wait(SOON_S)


def test_work_is_done_in_order_on_one_thread_that_is_not_the_requests(afterwards):
    seen: list[tuple[int, str]] = []
    for number in range(20):
        afterwards.add(lambda number=number: seen.append((number, threading.current_thread().name)))
    afterwards.invocation_done(None)
    assert eventually(lambda: len(seen) == 20)
    assert seen == [(number, "afterwards") for number in range(20)]


def test_work_that_fails_is_an_event_and_the_next_piece_is_done(afterwards, capfd):
    done = threading.Event()
    afterwards.add(lambda: 1 // 0)
    afterwards.add(done.set)
    afterwards.invocation_done(None)
    assert done.wait(SOON_S)
    (line,) = lines(capfd)
    assert (line["event"], line["level"]) == ("afterwards_failed", "error")
    assert "division" in line["message"]
    assert "ZeroDivisionError" in "".join(line["traceback"])


def test_the_queue_drops_the_oldest_and_says_how_many(capfd):
    afterwards = Afterwards(limit=3, tick_s=None)
    seen: list[int] = []
    for number in range(10):
        afterwards.add(lambda number=number: seen.append(number))
    assert afterwards.flush(SOON_S)
    assert seen == [7, 8, 9]
    (line,) = lines(capfd)
    assert (line["event"], line["dropped"], line["limit"]) == ("afterwards_dropped", 7, 3)


def test_a_duty_has_its_turn_after_an_answer_when_it_is_due():
    afterwards, due, not_due = Afterwards(tick_s=None), Duty(times=1), Duty()
    afterwards.attend(due)
    afterwards.attend(not_due)
    assert afterwards.pending()
    afterwards.invocation_done(None)
    assert eventually(lambda: due.ran == 1)
    assert eventually(lambda: not afterwards.busy)
    assert not afterwards.pending()
    afterwards.invocation_done(None)
    assert (due.ran, not_due.ran) == (1, 0)


def test_a_duty_becomes_due_without_requests():
    afterwards, duty = Afterwards(tick_s=0.01), Duty()
    afterwards.attend(duty)
    duty.times = 2
    assert eventually(lambda: duty.ran == 2)


def test_a_duty_that_cannot_say_is_reported_by_the_worker_and_harms_no_other(capfd):
    afterwards, broken, duty = Afterwards(tick_s=None), Duty(), Duty(times=1)
    broken.failure = RuntimeError("cannot say")
    afterwards.attend(broken)
    afterwards.attend(duty)
    afterwards.invocation_done(None)
    assert eventually(lambda: duty.ran == 1)
    assert [line["message"] for line in lines(capfd)] == ["cannot say"]


def test_a_flush_does_what_waits_and_has_every_duty_finish(afterwards):
    duty, seen = Duty(), []
    afterwards.attend(duty)
    afterwards.add(lambda: seen.append(1))
    assert afterwards.flush(SOON_S)
    assert (seen, duty.finished) == ([1], 1)
    afterwards.add(lambda: seen.append(2))
    assert afterwards.flush(SOON_S)
    assert (seen, duty.finished) == ([1, 2], 2)


def test_a_flush_that_takes_too_long_says_so_and_goes_on(afterwards):
    hold, done = threading.Event(), threading.Event()
    afterwards.add(lambda: (hold.wait(SOON_S), done.set()))
    assert not afterwards.flush(0.02)
    hold.set()
    assert done.wait(SOON_S)


def test_a_flush_of_nothing_starts_no_thread(afterwards):
    before = threading.active_count()
    assert afterwards.flush(0.0)
    assert threading.active_count() == before


def test_many_threads_may_add_at_once(afterwards):
    seen: list[int] = []

    def add(base: int) -> None:
        for number in range(25):
            afterwards.add(lambda number=number: seen.append(base + number))
            afterwards.invocation_done(None)

    threads = [threading.Thread(target=add, args=(100 * base,)) for base in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert afterwards.flush(SOON_S)
    assert len(seen) == 200


def test_an_address_where_nobody_answers_is_as_good_as_none(capfd):
    afterwards = Afterwards.start({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"})
    done = threading.Event()
    afterwards.add(done.set)
    afterwards.invocation_done(None)
    assert done.wait(SOON_S)
    assert lines(capfd) == []


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", ":"])
def test_an_address_that_is_none_is_as_good_as_none(address):
    assert Afterwards.start({"AWS_LAMBDA_RUNTIME_API": address})._extension is None


def test_where_nothing_is_frozen_no_extension_is_asked_for():
    environ = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1", "AWS_LAMBDA_MAX_CONCURRENCY": "16"}
    script = (
        "import sys; from modelyard.serving.afterwards import Afterwards\n"
        f"Afterwards.start({environ!r}); print('modelyard.serving.extension' in sys.modules)"
    )
    assert _run(script) == "False\n"


def test_what_waits_is_done_when_the_interpreter_ends():
    script = (
        "from modelyard.serving.afterwards import Afterwards\n"
        "afterwards = Afterwards.start({})\n"
        "afterwards.add(lambda: print('done'))\n"
    )
    assert _run(script) == "done\n"


def test_it_imports_no_network_module_where_there_is_no_lambda():
    script = (
        "import sys; from modelyard.serving.afterwards import Afterwards; Afterwards.start({})\n"
        "print(sorted({'socket', 'signal', 'http', 'asyncio', 'modelyard.plain_http'} & set(sys.modules)))"
    )
    assert _run(script) == "[]\n"


def _run(script: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stderr == ""
    return ran.stdout
