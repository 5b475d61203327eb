"""What happens to a server while callers ask on: a worker dies, it is to end, a version takes over, S3 is away, nobody
reads its lines, its disk is full. No answer that was promised is lost, and no worker is stuck."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from modelyard.server.lines import Lines
from tests.fakes import hostile_models, onnx_models
from tests.fakes.objects import promote
from tests.fakes.onnx_models import _model, _value
from tests.fakes.raw_callers import RawCaller, request, sums
from tests.fakes.sagemaker_runtime import wait_until
from tests.fakes.served import ServedStand
from tests.fakes.server_load import Callers, workers_of

SUMS = {"sums": onnx_models.row_sum()}
SLOW = {"sums": onnx_models.endless_below_zero()}
"""Answers at once, and never where a number is negative."""

PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
LONG = ("Accept: application/json, */*",)
"""Headers of a request that takes the long way."""


@pytest.fixture(scope="module")
def two_workers() -> Iterator[ServedStand]:
    """A server of two workers."""
    with ServedStand(SUMS, SERVER_WORKERS=2) as stand:
        yield stand


def _ping_s(stand: ServedStand) -> float:
    """How long a ping takes over a new connection."""
    began = time.monotonic()
    with RawCaller(stand.port) as caller:
        caller.send(PING)
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 200
    return time.monotonic() - began


# -- a worker dies -----------------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_takes_its_own_connections_along_and_is_replaced(two_workers: ServedStand) -> None:
    before = workers_of(two_workers.process.pid)
    assert len(before) == 2
    with Callers(two_workers.port, threads=6) as callers:
        time.sleep(0.3)
        os.kill(before[0], signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: len(set(workers_of(two_workers.process.pid)) - set(before)) == 1, 5.0)
        time.sleep(0.5)
    wrong = callers.wrong()
    assert len(wrong) <= 6, wrong  # one of each connection at most; whoever asks again is answered by the other
    assert all(one.status is None and abs(one.began + one.took - killed) < 3 for one in wrong), wrong
    assert max(one.took for one in callers.asked) < 5
    assert before[1] in workers_of(two_workers.process.pid)


def test_workers_do_not_outlive_the_process_that_watches_them() -> None:
    with ServedStand(SUMS, SERVER_WORKERS=2) as stand:
        workers = workers_of(stand.process.pid)
        stand.process.kill()
        stand.process.wait()
        wait_until(lambda: not any(_runs(worker) for worker in workers), 5.0)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# -- the server is to end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_asked_is_answered_before_the_end(workers: int) -> None:
    with ServedStand(SUMS, SERVER_WORKERS=workers, CAPTURE=1) as stand:
        with Callers(stand.port) as callers:
            time.sleep(0.5)
            began = time.monotonic()
            assert stand.end() == 0
            took = time.monotonic() - began
        assert took < 5
        wrong = [one for one in callers.wrong() if one.connected]
        # A connection that the kernel has taken and no worker has is all that may be lost.
        assert all(one.took < 2 and isinstance(one.failure, ConnectionResetError) for one in wrong), wrong
        assert len(wrong) <= 4
        answered = sum(one.status == 200 for one in callers.asked)
        lines = [json.loads(line) for line in stand.written().splitlines()]
        assert sum(line["kind"] == "audit" for line in lines) == answered
        written = sum(content.count(b"\n") for key, content in stand.bucket.objects.items()
                      if key.startswith("captures/"))  # fmt: skip
        assert written == answered


def test_a_request_whose_body_is_half_there_is_waited_for(tmp_path: Path) -> None:
    body = sums((1, 2))
    sent = [request(body), request(body, *LONG), request(body)[:40]]
    with ServedStand(SUMS) as stand, contextlib.ExitStack() as stack:
        callers = [stack.enter_context(RawCaller(stand.port)) for _ in sent]
        for caller, whole in zip(callers, sent, strict=True):
            caller.send(whole[:-10])
        time.sleep(0.2)
        stand.process.send_signal(signal.SIGTERM)
        time.sleep(1.0)
        answers = []
        for caller, whole in zip(callers[:2], sent, strict=False):
            caller.send(whole[-10:])
            answers += caller.answers()
        assert [(answer.status, answer.headers["connection"]) for answer in answers] == [(200, "close")] * 2
        assert callers[2].ended_within(1.0)  # of a line that is half there nobody knows what it asks
        assert stand.process.wait(3) == 0


def test_a_large_answer_that_is_being_read_is_not_cut_off_by_the_end() -> None:
    with ServedStand({"echo": onnx_models.echo(("s", "string", [None]))}) as stand, RawCaller(stand.port) as caller:
        text = "a" * 10_000_000
        caller.send(request(f'{{"instances": ["{text}"]}}'.encode(), path="/models/echo/predict"))
        time.sleep(0.5)
        stand.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        answer = caller.answer()
        assert answer is not None
        assert text.encode() in answer.content
        assert stand.process.wait(5) == 0


def test_a_server_ends_while_it_still_starts() -> None:
    with ServedStand(SUMS) as first:
        first.bucket.delay_s = 0.5
        for after_s in (0.05, 0.3, 0.8):
            second = subprocess.Popen(
                [sys.executable, "-m", "modelyard.server"],
                env={**first._environment, **first.bucket.environment, "MODELYARD_SERVER_PORT": "0"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(after_s)
            second.send_signal(signal.SIGTERM)
            assert second.wait(8) in (0, -signal.SIGTERM)  # the second: before it has said what to do


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_whose_port_is_taken_says_so_and_fails(two_workers: ServedStand, workers: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "modelyard.server"],
        env={
            **two_workers._environment,
            **two_workers.bucket.environment,
            "MODELYARD_SERVER_WORKERS": str(workers),
        },
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert ran.returncode not in (0, -signal.SIGKILL)
    assert b"address already in use" in ran.stderr.lower()


# -- another version ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/models/sums/predict", "/invocations"])
def test_versions_take_over_and_back_without_a_failed_request(path: str) -> None:
    refresh_s = 0.4
    with (
        ServedStand(SUMS, SERVER_WORKERS=2, REFRESH_S=refresh_s) as stand,
        Callers(stand.port, path=path) as callers,
    ):
        for revision, version in enumerate((4, 5, 4, 5), start=2):
            model = onnx_models.row_sum(version * 100_000)
            promote(stand.bucket, "sums", model, version=version, revision=revision)
            promoted = time.monotonic()
            time.sleep(refresh_s + 0.6)  # what it takes to load on a machine that does five other things
            ends = promoted + 20.0
            while not (late := _since(callers, promoted + refresh_s + 0.5)) and time.monotonic() < ends:
                time.sleep(0.05)  # where the machine stood still, nobody has asked since
            assert {one.version for one in late} == {version}
        callers.stop()
        assert not callers.wrong()
        assert max(one.took for one in callers.asked) < 5


def _since(callers: Callers, when: float) -> list[Any]:
    return [one for one in callers.asked if one.began > when]


def counting(least: int = 8_000) -> bytes:
    """x float32 [n, 2] to y float32 [n, 1]: the sum of each row, after as many steps as the largest number says.

    The fewest take longer than a run that is done on the event loop may.
    """
    true, steps = TensorProto.BOOL, TensorProto.INT64
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["v"], ["v_next"])],
        "body",
        [
            helper.make_tensor_value_info("i", steps, []),
            helper.make_tensor_value_info("go", true, []),
            _value("v", "float32", [None, 1]),
        ],
        [helper.make_tensor_value_info("go_on", true, []), _value("v_next", "float32", [None, 1])],
    )
    constants = [
        helper.make_tensor("axes", steps, [1], [1]),
        helper.make_tensor("least", steps, [], [least]),
        helper.make_tensor("yes", true, [], [True]),
    ]
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=1),
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["more"], to=steps),
        helper.make_node("Add", ["least", "more"], ["count"]),
        helper.make_node("Loop", ["count", "yes", "sum"], ["y"], body=body),
    ]
    ends = [_value("x", "float32", [None, 2])], [_value("y", "float32", [None, 1])]
    return _model(nodes, *ends, constants).SerializeToString()


def test_requests_that_wait_for_a_replaced_version_are_still_answered_and_pings_at_once() -> None:
    """The engine is busy for longer than a replaced version is kept for those who still have it."""
    with ServedStand({"sums": counting()}, REFRESH_S=0.4, TIMEOUT_S=20) as stand:
        answers: list[Any] = []
        waiting = [threading.Thread(target=lambda: answers.append(_ask(stand, (5_000_000, 0)))) for _ in range(3)]
        for thread in waiting:
            thread.start()
            time.sleep(0.05)
        promote(stand.bucket, "sums", onnx_models.row_sum(400_000.0), version=4, revision=2)
        while any(thread.is_alive() for thread in waiting):
            assert _ping_s(stand) < 2
            time.sleep(0.05)
        assert [(status, answer["version"]) for status, answer in answers] == [(200, 3)] * 3
        assert _ask(stand, (1, 2))[1]["version"] == 4


def _ask(stand: ServedStand, *rows: tuple[float, float]) -> tuple[int, Any]:
    with RawCaller(stand.port) as caller:
        caller.socket.settimeout(30)
        caller.send(request(sums(*rows)))
        answer = caller.answer()
    assert answer is not None
    return answer.status, json.loads(answer.content)


# -- a model that never ends -------------------------------------------------------------------------------------------


def test_a_run_that_never_ends_is_ended_and_the_worker_goes_on() -> None:
    with ServedStand(SLOW, TIMEOUT_S=5) as stand:
        answers: list[Any] = []
        threads = [threading.Thread(target=lambda: answers.append(_ask(stand, (-1, 1)))) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(1.5)  # the first shows how long a run may take; until then it is run where it is read
        assert _ping_s(stand) < 2
        for thread in threads:
            thread.join()
        assert [(status, answer["code"]) for status, answer in answers] == [(504, "run_timeout")] * 3
        assert _ask(stand, (1, 2))[0] == 200


def test_a_model_that_never_ends_at_all_does_not_keep_the_server_from_starting_or_ending() -> None:
    models = {"endless": hostile_models.endless_loop(), "sums": onnx_models.row_sum()}
    with ServedStand(models, TIMEOUT_S=1) as stand:
        with RawCaller(stand.port) as caller:
            caller.socket.settimeout(20)
            caller.send(request(b'{"instances": [[1, 2, 3]]}', path="/models/endless/predict"))
            answer = caller.answer()
        assert answer is not None
        assert answer.status in (503, 504)
        assert _ask(stand, (1, 2))[0] == 200
        assert _ping_s(stand) < 5
        assert stand.end() == 0


# -- S3 is away --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", ["hangs", "answers 503"])
def test_answers_go_on_while_s3_does_not(failure: str) -> None:
    with ServedStand(SUMS, REFRESH_S=0.4, CAPTURE=1) as stand:
        with Callers(stand.port) as callers:
            time.sleep(0.3)
            if failure == "hangs":
                stand.bucket.delay_s = 30.0
            else:
                stand.bucket.status = 503
            time.sleep(2.5)
            assert _ping_s(stand) < 5
        assert not callers.wrong()
        assert max(one.took for one in callers.asked) < 5
        began = time.monotonic()
        assert stand.end() in (0, 1)  # 1: it gave up what it could not write
        assert time.monotonic() - began < 30


def test_a_ping_does_not_wait_for_s3_where_nothing_is_loaded() -> None:
    with ServedStand({"sums": None}, REFRESH_S=0.4) as stand:
        stand.bucket.delay_s = 10.0
        time.sleep(0.5)
        assert _ping_s(stand) < 5
        stand.bucket.delay_s = 0.0


# -- nobody reads its lines --------------------------------------------------------------------------------------------


def _started(stand: ServedStand, **streams: Any) -> subprocess.Popen[bytes]:
    """Another server like that one, with other streams, in its place."""
    stand.process.terminate()
    stand.process.wait(10)
    stand.connection.close()
    environment = {**stand._environment, **stand.bucket.environment}
    stand.process = subprocess.Popen([sys.executable, "-m", "modelyard.server"], env=environment, **streams)
    stand._wait()
    return stand.process


def test_answers_go_on_when_the_reader_of_the_lines_is_gone() -> None:
    with ServedStand(SUMS) as stand:
        process = _started(stand, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.close()
        with Callers(stand.port, threads=2) as callers:
            time.sleep(0.5)
        assert not callers.wrong()
        assert stand.predict([1, 2]).status == 200
        assert stand.post("/models/sums/predict", {}).status == 400


def test_answers_go_on_when_nobody_reads_the_lines_and_the_log_says_how_many_are_missing() -> None:
    with ServedStand(SUMS) as stand:
        process = _started(stand, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with Callers(stand.port, threads=2) as callers:
            time.sleep(2.5)
        assert not callers.wrong()
        assert max(one.took for one in callers.asked) < 5  # the first that finds nobody waits for a moment
        assert _ping_s(stand) < 5
        found = _read_now(process.stdout)
        assert stand.predict([1, 2]).status == 200
        found += _read_now(process.stdout)
        lines = [json.loads(line) for line in found.splitlines() if line]
        (missing,) = [line["lines"] for line in lines if line.get("event") == "lines_lost"]
        assert missing + sum(line["kind"] == "audit" for line in lines) == len(callers.asked) + 1
        assert stand.end() == 0
        process.stdout.close()


def _read_now(stream: Any) -> bytes:
    found = b""
    while select.select([stream], [], [], 0.3)[0]:
        found += os.read(stream.fileno(), 1 << 20)
    return found


def test_a_line_is_written_whole_or_counted(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    lines = Lines(writer)
    long = "a" * 30_000 + "\n"
    assert lines.write(long) == len(long)
    while select.select([], [writer], [], 0)[1]:
        os.write(writer, b"b" * 4096)
    began = time.monotonic()
    assert lines.write("lost\n") == 5
    assert 0.5 < time.monotonic() - began < 10
    began = time.monotonic()
    lines.write("lost as well\n")
    assert time.monotonic() - began < 0.9
    assert os.read(reader, 1 << 20).startswith(long.encode())
    lines.write("read\n")
    told, after = os.read(reader, 1 << 20).decode().strip().splitlines()
    assert json.loads(told)["lines"] == 2
    assert after == "read"
    os.close(writer)
    os.close(reader)
    lines.write("nobody is there\n")


def test_a_disk_that_takes_nothing_stops_neither_answers_nor_counts(tmp_path: Path) -> None:
    stand = ServedStand(SUMS)
    stand._environment["TMPDIR"] = str(tmp_path)
    with stand:
        (folder,) = tmp_path.glob("modelyard-metrics-*")
        shutil.rmtree(folder)
        assert stand.predict([1, 2]).status == 200
        status, _, counts = stand.ask("GET", "/metrics")
        assert status == 200
        assert b'modelyard_requests_total{model="sums",status="200"} 1' in counts
        assert stand.end() == 0
        assert '"event":"server_ended"' in stand.written()
