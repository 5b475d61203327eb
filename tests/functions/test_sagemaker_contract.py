"""What SageMaker asks of a container, as its documentation lists it, asked of the server over a socket.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html and `InvokeEndpoint`'s reference:
port and routes, pings within 2 seconds, connections within 250 ms, answers within 60 seconds, 25 MB, chunked bodies,
headers that it adds, plain statuses, SIGTERM with 30 seconds to end. How the image is started is tests/stacks'.
"""

import http.client
import io
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes import onnx_models
from tests.fakes.objects import promote
from tests.fakes.raw_callers import RawAnswer, RawCaller, request, sums
from tests.fakes.sagemaker_runtime import wait_until
from tests.fakes.served import ServedStand

PING_S, CONNECT_S, ANSWER_S, END_S = 2.0, 0.25, 60.0, 30.0
MOST = 25 * 1_048_576
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
TEXT = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def stand() -> Iterator[ServedStand]:
    """A model that adds up two numbers."""
    with ServedStand({"sums": onnx_models.row_sum()}) as started:
        yield started


@pytest.fixture(scope="module")
def echo() -> Iterator[ServedStand]:
    """A model that gives text back."""
    with ServedStand({"echo": onnx_models.echo(("s", "string", [None]))}) as started:
        yield started


def _pinged(stand: ServedStand) -> tuple[RawAnswer, float, float]:
    """The answer to a ping over a new connection, and how long the connection and the answer took."""
    began = time.monotonic()
    with RawCaller(stand.port) as caller:
        connected = time.monotonic()
        caller.send(PING)
        answer = caller.answer()
    assert answer is not None
    return answer, connected - began, time.monotonic() - connected


def test_a_ping_is_answered_with_200_and_an_empty_or_a_json_body(stand: ServedStand) -> None:
    answer, connect_s, answer_s = _pinged(stand)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.content or b"{}") == {}
    assert connect_s < CONNECT_S
    assert answer_s < PING_S


def test_pings_are_answered_in_time_while_others_ask(stand: ServedStand) -> None:
    ended = threading.Event()
    large = request(sums(*[(1, 2)] * 9_000), path="/invocations")

    def ask_on() -> None:
        with RawCaller(stand.port) as caller:
            while not ended.is_set():
                caller.send(large)
                answer = caller.answer()
                assert answer is not None
                assert answer.status == 200

    threads = [threading.Thread(target=ask_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            answer, connect_s, answer_s = _pinged(stand)
            assert (answer.status, connect_s < CONNECT_S, answer_s < PING_S) == (200, True, True)
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_pings_are_answered_in_time_while_bodies_of_25_mb_are_read(echo: ServedStand) -> None:
    text = b'{"instances": ["%b"]}' % (b"a" * (MOST - 30))
    answers: list[Any] = []

    def ask() -> None:
        with RawCaller(echo.port) as caller:
            caller.socket.settimeout(60)
            caller.send(request(text, path="/invocations"))
            answers.append(caller.answer())

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    slowest = 0.0
    while any(thread.is_alive() for thread in threads):
        slowest = max(slowest, *_pinged(echo)[1:])
        time.sleep(0.02)
    assert slowest < PING_S
    assert [answer.status for answer in answers] == [200] * 3


def test_pings_say_so_when_nothing_can_be_loaded() -> None:
    with ServedStand({"sums": None}, REFRESH_S=0.4) as stand:  # nothing was promoted yet: that is no failure
        promote(stand.bucket, "sums", onnx_models.row_sum(), version=3, revision=1)
        (key,) = [key for key in stand.bucket.objects if key.startswith("artifacts/")]
        content = stand.bucket.objects.pop(key)
        wait_until(lambda: _pinged(stand)[0].status == 503)
        stand.bucket.put(key, content)
        wait_until(lambda: _pinged(stand)[0].status == 200)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_invocations_take_post_only(stand: ServedStand, method: str) -> None:
    status, headers, _ = stand.ask(method, "/invocations", b"{}", TEXT)
    assert (status, headers["allow"]) == (405, "POST")


NPY = io.BytesIO()
np.save(NPY, np.array([[1, 2], [3, 4]], dtype=np.float32))
BODIES = {
    "application/json": (sums((1, 2), (3, 4)), "application/json"),
    "application/json; charset=utf-8": (sums((1, 2), (3, 4)), "application/json"),
    "text/csv": (b"1,2\n3,4\n", "text/csv"),
    "text/csv; charset=utf-8": (b"1,2\r\n3,4", "text/csv"),
    "application/x-npy": (NPY.getvalue(), "application/x-npy"),
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("chunked", [False, True])
def test_every_type_is_taken_at_once_and_in_chunks(stand: ServedStand, kind: str, chunked: bool) -> None:
    body, accept = BODIES[kind]
    connection = http.client.HTTPConnection("127.0.0.1", stand.port, timeout=10)
    parts = (body[at : at + 7] for at in range(0, len(body), 7))
    connection.request(
        "POST",
        "/invocations",
        parts if chunked else body,
        {"Content-Type": kind, "Accept": accept},
        encode_chunked=chunked,
    )
    response = connection.getresponse()
    content = response.read()
    connection.close()
    assert (response.status, response.getheader("content-type", "").partition(";")[0]) == (200, accept)
    if accept == "text/csv":
        assert content == b"3.0\n7.0\n"
    elif accept == "application/json":
        assert json.loads(content)["predictions"] == [3.0, 7.0]
    else:
        assert np.load(io.BytesIO(content)).ravel().tolist() == [3.0, 7.0]


def test_a_model_with_code_of_its_own_takes_no_csv(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def preprocess(instances):\n    raise AssertionError\n")
    own = {"sums": {"MODELYARD_CODE": "own", "MODELYARD_ENGINE": "standard"}}
    with ServedStand({"sums": onnx_models.row_sum()}, path=tmp_path, each=own) as stand:
        answer = stand.post("/invocations", "1,2", content_type="text/csv")
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


def test_a_body_in_many_chunks_of_any_size_is_put_together(echo: ServedStand) -> None:
    text = "".join(chr(97 + at % 26) for at in range(300_000))
    body = json.dumps({"instances": [text]}).encode()
    parts, at, size = [], 0, 1
    while at < len(body):
        parts.append(b"%x\r\n%b\r\n" % (len(body[at : at + size]), body[at : at + size]))
        at, size = at + size, size * 3 % 40_009 or 1
    head = (
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with RawCaller(echo.port) as caller:
        caller.send(head + b"".join(parts) + b"0\r\n\r\n")
        answer = caller.answer()
    assert answer is not None
    assert json.loads(answer.content)["predictions"] == [text]


@pytest.mark.parametrize(("over", "status"), [(-1, 200), (0, 200), (1, 413)])
def test_a_body_may_have_25_mb_and_not_a_byte_more(echo: ServedStand, over: int, status: int) -> None:
    text = b'{"instances": ["%b"]}'
    body = text % (b"a" * (MOST + over - len(text % b"")))
    assert len(body) == MOST + over
    found, _, content = echo.ask("POST", "/invocations", body, TEXT)
    assert found == status
    assert (b"body_too_large" in content) == (status == 413)
    assert echo.ask("GET", "/ping")[0] == 200


STATUSES = {
    "no JSON": (b"{", TEXT, 400),
    "no instances": (b"{}", TEXT, 400),
    "another shape": (b'{"instances": [[1]]}', TEXT, 400),
    "a type that nobody knows": (b"{}", {"content-type": "image/png"}, 415),
    "no body": (b"", TEXT, 400),
}


@pytest.mark.parametrize(("body", "headers", "status"), STATUSES.values(), ids=STATUSES)
def test_what_is_wrong_has_a_plain_status_and_a_problem(
    stand: ServedStand, body: bytes, headers: dict[str, str], status: int
) -> None:
    found, came, content = stand.ask("POST", "/invocations", body, headers)
    assert (found, came["content-type"]) == (status, "application/problem+json")
    assert json.loads(content)["status"] == status
    assert "x-amzn-sagemaker-custom-attributes" not in came


def test_headers_that_sagemaker_adds_change_nothing(stand: ServedStand) -> None:
    added = {
        **TEXT,
        "x-amzn-sagemaker-custom-attributes": "trace=42",
        "x-amzn-sagemaker-inference-id": "7",
        "x-amzn-sagemaker-target-variant": "champion",
        "x-amzn-sagemaker-target-container-hostname": "a",
        "x-amzn-trace-id": "Root=1-67891233-abcdef012345678912345678",
        "accept": "*/*",
    }
    status, _, content = stand.ask("POST", "/invocations", sums((1, 2)), added)
    assert (status, json.loads(content)["predictions"]) == (200, [3.0])


def test_a_run_that_takes_long_is_answered_and_one_beyond_the_limit_is_ended() -> None:
    """60 seconds are SageMaker's; the limit is the spec's, and a test waits for a short one."""
    with ServedStand({"sums": onnx_models.endless_below_zero()}, TIMEOUT_S=1.5) as stand:
        began = time.monotonic()
        status, _, content = stand.ask("POST", "/invocations", sums((-1, 2)), TEXT)
        assert (status, json.loads(content)["code"]) == (504, "run_timeout")
        assert 1.4 < time.monotonic() - began < 3
        assert stand.ask("POST", "/invocations", sums((1, 2)), TEXT)[0] == 200


def test_it_ends_in_time_when_it_is_told_to_in_the_middle_of_a_run() -> None:
    with ServedStand({"sums": onnx_models.endless_below_zero()}, TIMEOUT_S=2) as stand:
        with RawCaller(stand.port) as caller:
            caller.send(request(sums((-1, 2)), path="/invocations"))
            time.sleep(0.3)
            began = time.monotonic()
            stand.process.send_signal(signal.SIGTERM)
            answer = caller.answer()
            assert answer is not None
            assert answer.status == 504
        assert stand.process.wait(END_S) == 0
        assert time.monotonic() - began < 10
