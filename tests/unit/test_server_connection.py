"""The short way and the long way of a prediction: who may go which, and that nobody can tell them apart."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from modelyard.server.app import ServerApp, route_of
from modelyard.server.connection import SWEEP_S
from modelyard.server.endpoint import LARGE_BYTES
from modelyard.server.settings import ServerSettings
from tests.fakes import onnx_models
from tests.fakes.served import ServedStand

PATH = b"/models/sums/predict"
JSON = (b"content-type", b"application/json")
ROUTE = ("sums", "POST /models/sums/predict", None)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> ServerApp:
    settings = ServerSettings.read({"MODELYARD_MODEL": "sums", "MODELYARD_ARTIFACT_BUCKET": "bucket"})
    return ServerApp(settings, tmp_path_factory.mktemp("metrics"))


@pytest.mark.parametrize(
    "more", [[], [(b"accept", b"*/*")], [(b"accept", b"application/json")], [(b"host", b"x"), (b"user-agent", b"y")],
             [(b"content-length", b"5")], [(b"transfer-encoding", b"chunked")]],
)  # fmt: skip
def test_a_prediction_in_json_may_go_the_short_way(app: ServerApp, more: list[Any]) -> None:
    assert app.short_way(b"POST", PATH, [JSON, *more]) == ROUTE
    assert app.short_way(b"POST", PATH, [*more, JSON]) == ROUTE


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        (b"GET", PATH, [JSON]),
        (b"POST", b"/models/other/predict", [JSON]),
        (b"POST", PATH + b"?x=1", [JSON]),
        (b"POST", PATH + b"/", [JSON]),
        (b"POST", b"/models/sums/feedback", [JSON]),
        (b"POST", b"/invocations", [JSON]),
        (b"POST", b"http://host" + PATH, [JSON]),
        (b"POST", PATH, []),
        (b"POST", PATH, [(b"content-type", b"application/json; charset=utf-8")]),
        (b"POST", PATH, [(b"content-type", b"application/x-npy")]),
        (b"POST", PATH, [JSON, (b"content-type", b"text/html")]),
        (b"POST", PATH, [JSON, (b"accept", b"application/x-npy")]),
        (b"POST", PATH, [JSON, (b"content-encoding", b"gzip")]),
        (b"POST", PATH, [JSON, (b"content-encoding", b"identity")]),
    ],
)
def test_whatever_else_goes_the_long_way(app: ServerApp, method: bytes, path: bytes, headers: list[Any]) -> None:
    assert app.short_way(method, path, headers) is None


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/models/x/predict", ("x", "POST /models/x/predict", None)),
        ("GET", "/models/x", ("x", "GET /models/x", None)),
        ("GET", "/models/x/a/b/c", ("x", "GET /models/x/a/b/c", None)),
        ("GET", "/models/", ("", "GET /models/", None)),
        ("GET", "/v2/models/x", ("x", "GET /v2/models/x", None)),
        ("GET", "/v2/models/x/", ("x", "GET /v2/models/x/{proxy+}", "")),
        ("POST", "/v2/models/x/versions/3/infer", ("x", "POST /v2/models/x/{proxy+}", "versions/3/infer")),
        ("GET", "/v2/models", None),
        ("GET", "/v2", None),
        ("GET", "/models", None),
        ("GET", "/", None),
        ("GET", "", None),
        ("GET", "models/x/predict", None),
        ("GET", "//models/x/predict", None),
    ],
)
def test_a_path_is_a_route_as_api_gateway_names_it(method: str, path: str, route: Any) -> None:
    assert route_of(method, path) == route


# -- over sockets -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stand() -> Iterator[ServedStand]:
    with ServedStand({"sums": onnx_models.row_sum()}) as started:
        yield started


def answer(stand: ServedStand, sent: bytes) -> tuple[bytes, dict[bytes, bytes], Any]:
    """Status line, headers and body of what comes until the connection is closed."""
    with socket.create_connection(("127.0.0.1", stand.port), 30) as connection:
        connection.sendall(sent)
        came = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = came.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines)
    assert int(headers[b"content-length"]) == len(body)
    return status, headers, json.loads(body)


def request(path: bytes, body: bytes) -> bytes:
    lines = [b"host: x", b"connection: close", b"content-type: application/json", b"content-length: %d" % len(body)]
    return b"POST %b HTTP/1.1\r\n%b\r\n\r\n%b" % (path, b"\r\n".join(lines), body)


@pytest.mark.parametrize(
    "body", [b'{"instances": [[1, 2]]}', b"{", b"", b'{"instances": [["x", 2]]}', b'{"instances": []}', b"\xff"]
)
def test_nobody_can_tell_the_ways_apart(stand: ServedStand, body: bytes) -> None:
    stand.audits()
    short, long = [answer(stand, request(path, body)) for path in (PATH, PATH + b"?long")]
    for one in (short, long):
        one[1].pop(b"date")
        for key in ("prediction_id", "request_id"):
            one[2].pop(key, None)
    assert short == long
    one, two = stand.audits()
    for key in one.keys() - {"time", "latency_ms", "_aws", "prediction_id", "request_id"}:
        assert one[key] == two[key], key


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_body_is_read_whole_at_the_limit_of_the_short_way(stand: ServedStand, more: int) -> None:
    status, _, found = answer(stand, request(PATH, b'{"instances": [[1, 2]]}'.ljust(LARGE_BYTES + more)))
    assert (status, found["predictions"]) == (b"HTTP/1.1 200 OK", [3.0])


def test_ways_alternate_on_one_connection_and_answers_keep_their_order(stand: ServedStand) -> None:
    sent, turns = [], 30
    for turn in range(turns):
        path = PATH if turn % 3 else PATH + b"?long"
        body = json.dumps({"instances": [[turn, 0]]}).encode()
        made = request(path, body)
        sent.append(made if turn == turns - 1 else made.replace(b"connection: close\r\n", b""))
    with socket.create_connection(("127.0.0.1", stand.port), 30) as connection:
        connection.sendall(b"".join(sent))
        came = b"".join(iter(lambda: connection.recv(65536), b""))
    bodies = [json.loads(part.partition(b"\r\n\r\n")[2]) for part in came.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert [body["predictions"] for body in bodies] == [[float(turn)] for turn in range(turns)]


def test_a_small_limit_holds_for_the_short_way_too() -> None:
    body = b'{"instances": [[1, 2]]}'
    with ServedStand({"sums": onnx_models.row_sum()}, MAX_BODY_MB=4096 / 1_048_576) as small:
        for more, status in ((0, b"200"), (1, b"413")):
            assert answer(small, request(PATH, body.ljust(4096 + more)))[0].split()[1] == status


def test_a_connection_is_kept_when_a_body_comes_after_its_answer(stand: ServedStand) -> None:
    with socket.create_connection(("127.0.0.1", stand.port), 30) as connection:
        head, _, body = request(b"/models/other/predict", b"{}").partition(b"\r\n\r\n")
        connection.sendall(head.replace(b"connection: close\r\n", b"") + b"\r\n\r\n")
        came = b""
        while not came.endswith(b"}"):
            came += connection.recv(65536)
        assert came.startswith(b"HTTP/1.1 404")
        connection.sendall(body)
        time.sleep(2 * SWEEP_S + 0.1)
        connection.sendall(request(PATH, b'{"instances": [[1, 2]]}'))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
