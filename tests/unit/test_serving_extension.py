"""The extension against the stand-in of the Extensions API; `tests/functions/test_under_the_runtime.py` has the rest:
what it does in a function, under the runtime client.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.serving.afterwards import Afterwards
from modelyard.serving.extension import LambdaExtension
from tests.fakes.runtime_api import Invocation, RuntimeApi

PROJECT = Path(__file__).parents[2]
SOON_S = 5.0


class Context:
    def __init__(self, invocation: Invocation) -> None:
        self.aws_request_id = invocation.id


@pytest.fixture
def api() -> Iterator[RuntimeApi]:
    served = RuntimeApi()
    yield served
    served.close()
    for thread in threading.enumerate():  # else what they say at their end is in the next test's output
        if thread.name == "extension":
            thread.join(SOON_S)


def register(api: RuntimeApi) -> tuple[Afterwards, LambdaExtension | None]:
    """As in a function's INIT, but on another thread, so that this process keeps its signal handlers."""
    made: list[Afterwards] = []
    thread = threading.Thread(
        target=lambda: made.append(Afterwards.start({"AWS_LAMBDA_RUNTIME_API": api.address})), daemon=True
    )
    thread.start()
    thread.join()
    return made[0], made[0]._extension


def waits(api: RuntimeApi) -> bool:
    """Whether the extension asks for its next event, now or soon."""
    with api.changed:
        return api.changed.wait_for(lambda: all(caller.waiting for caller in api.extensions.values()), SOON_S)


def test_it_registers_for_invocations_and_waits_for_the_first(api):
    register(api)
    assert [(caller.name, caller.events) for caller in api.extensions.values()] == [("modelyard", ("INVOKE",))]
    assert waits(api)


def test_on_lambda_a_duty_has_its_turn_after_answers_only(api):
    afterwards, _ = register(api)
    before = threading.active_count()
    afterwards.attend(afterwards)  # never asked, so anything will do
    assert afterwards.holds
    assert threading.active_count() == before


def test_a_registration_that_is_refused_costs_one_call_and_no_line(api, capfd):
    api.registration_open = False
    afterwards, extension = register(api)
    assert extension is None
    assert not afterwards.holds
    assert api.refused == [("/2020-01-01/extension/register", "Extension.RegistrationClosed")]
    assert capfd.readouterr().out == ""
    assert afterwards.flush(SOON_S)


def test_the_environment_is_held_from_the_invocation_to_the_end_of_the_context(api):
    afterwards, _ = register(api)
    assert waits(api)
    done = threading.Event()
    invocation = Invocation({}, timeout_s=30)
    api.hand_out(invocation)
    context = Context(invocation)
    afterwards.add(done.set)
    time.sleep(0.15)  # the handler takes its time
    assert not done.is_set()
    afterwards.invocation_done(context)
    del context
    assert done.wait(SOON_S)
    assert waits(api)


def test_what_another_invocation_said_does_not_count(api):
    afterwards, _ = register(api)
    for _ in range(2):
        assert waits(api)
        invocation = Invocation({}, timeout_s=30)
        api.hand_out(invocation)
        time.sleep(0.15)
        assert not any(caller.waiting for caller in api.extensions.values())
        afterwards.invocation_done(Context(invocation))


def test_an_invocation_that_never_reports_its_end_is_let_go_before_its_timeout(api):
    register(api)
    assert waits(api)
    invocation = Invocation({}, timeout_s=1.5)
    api.hand_out(invocation)
    assert waits(api)
    assert time.monotonic() - invocation.began < 1.5


def test_an_extension_that_cannot_go_on_says_so_to_lambda(api, capfd):
    register(api)
    assert waits(api)
    (caller,) = api.extensions.values()
    api.extensions.clear()
    with api.changed:
        api.invocation = Invocation({}, timeout_s=0.1)
        caller.waiting = False
        api.changed.notify_all()
        assert api.changed.wait_for(lambda: api.posted, SOON_S)
    assert api.posted == [("extension/exit/error", "Extension.Lost", {})]
    names = [json.loads(line)["event"] for line in capfd.readouterr().out.splitlines()]
    assert names == ["extension_call_failed"] * 3 + ["extension_lost"]


SCRIPT = """
import os, signal, sys, time
from modelyard.serving.afterwards import Afterwards
signal.signal(signal.SIGTERM, {previous})
afterwards = Afterwards.start(os.environ)
afterwards.add(lambda: print("flushed", flush=True))
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.5)
print("alive", flush=True)
"""


@pytest.mark.parametrize(
    ("previous", "status", "said"),
    [
        ("signal.SIG_DFL", -15, "flushed\n"),
        ("signal.SIG_IGN", 0, "flushed\nalive\n"),
        ("lambda *_: (print('previous', flush=True), sys.exit(7))", 7, "flushed\nprevious\n"),
    ],
    ids=["default", "ignored", "own"],
)
def test_a_signal_to_end_flushes_and_then_does_what_it_did_before(api, previous, status, said):
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(previous=previous)],
        env={"AWS_LAMBDA_RUNTIME_API": api.address},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (status, said, "")
