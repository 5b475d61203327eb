"""The HTTP client for the machine's own servers: what it sends, and what it makes of wrong answers."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from modelyard import plain_http
from modelyard.plain_http import Connection, HttpError


class Server:
    """Answers each request on a connection with the next of ``answers``, then closes it; None closes at once."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                while self.answers and (request := connection.recv(65_536)):
                    self.requests.append(request)
                    answer = self.answers.pop(0)
                    if answer is None:
                        break
                    connection.sendall(answer)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    yield served
    served.close()


@pytest.fixture
def connection(server: Server) -> Iterator[Connection]:
    made = Connection(server.address, timeout_s=0.5)
    yield made
    made.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Name:  value \r\n\r\nhi"


def test_a_call_sends_head_and_body_and_reads_both(server, connection):
    server.answers = [OK]
    answer = connection.call("POST", "/path", {"Name": "value"}, b"body")
    assert (answer.status, answer.body, answer.headers["x-name"]) == (200, b"hi", "value")
    head, body = server.requests[0].split(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /path HTTP/1.1",
        b"Host: " + server.address.encode(),
        b"Content-Length: 4",
        b"Name: value",
    ]
    assert body == b"body"


def test_one_connection_serves_several_calls(server, connection):
    server.answers = [OK, OK, OK]
    for _ in range(3):
        connection.call("GET", "/", {})
    assert server.connections == 1


def test_a_chunked_answer_is_put_together(server, connection):
    chunks = b"4;note=x\r\nWiki\r\n5\r\npedia\r\n0\r\nTrailer: x\r\n\r\n"
    server.answers = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, OK]
    assert connection.call("GET", "/", {}).body == b"Wikipedia"
    assert connection.call("GET", "/", {}).body == b"hi"


def test_chunks_are_held_to_the_limit_together(server):
    chunks = b"8\r\n12345678\r\n" * 3 + b"0\r\n\r\n"
    server.answers = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks] * 2
    for limit, fits in ((24, True), (23, False)):
        connection = Connection(server.address, timeout_s=0.5, max_body_bytes=limit)
        with contextlib.nullcontext() if fits else pytest.raises(HttpError, match="more than 23"):
            assert len(connection.call("GET", "/", {}).body) == 24
        connection.close()


def test_a_connection_that_the_server_closes_is_opened_again(server, connection):
    server.answers = [OK.replace(b"X-Name", b"Connection: close\r\nX-Name"), OK]
    connection.call("GET", "/", {})
    assert connection.fileno() == -1
    assert connection.call("GET", "/", {}).status == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        None,
    ],
)
def test_what_is_no_answer_is_an_error_and_ends_the_connection(server, connection, answer):
    server.answers = [answer]
    with pytest.raises(HttpError):
        connection.call("GET", "/", {})
    assert connection.fileno() == -1


def test_a_cut_answer_is_an_error(server, connection):
    server.answers = [OK[:-1]]
    with pytest.raises(OSError, match="closed the connection"):
        connection.call("GET", "/", {})


def test_a_server_that_is_silent_is_given_up_in_time(connection, server):
    server.answers = [b"HTTP/1.1 200 OK\r\n", b""]
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        connection.call("GET", "/", {})
    assert time.monotonic() - began < 2


def test_without_a_server_it_fails_at_once():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and not listened at
        connection = Connection(f"127.0.0.1:{nobody.getsockname()[1]}", timeout_s=0.5)
        with pytest.raises(ConnectionRefusedError):
            connection.call("GET", "/", {})


@pytest.mark.parametrize("address", ["127.0.0.1", "", "host:port"])
def test_an_address_without_a_port_is_refused(address):
    with pytest.raises(ValueError, match="invalid literal"):
        Connection(address, timeout_s=1.0)


def test_a_body_may_be_as_large_as_the_limit(server, connection):
    size = plain_http.MAX_BODY_BYTES
    server.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size]
    assert len(connection.call("GET", "/", {}).body) == size
