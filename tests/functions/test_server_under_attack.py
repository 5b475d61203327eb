"""What callers may do to a server on purpose: half requests, two in one, headers without end, answers that they never
read. Each gets one answer for each request, or a closed connection, and nobody beside it notices."""

import contextlib
import resource
import select
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.measuring.server import resident_mb
from tests.fakes import onnx_models
from tests.fakes.raw_callers import RawAnswer, RawCaller, request, sums
from tests.fakes.served import ServedStand

SHORT = request(sums((1, 2)))
LONG = request(sums((1, 2)), "Accept: application/json, */*")
"""Both ask for the same; only the first is answered in the parser's callback."""

SECOND = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
IMPATIENT = """
import modelyard.server.connection as connection
connection.REQUEST_S = connection.READ_S = {seconds}
connection.SWEEP_S = 0.1
connection.UNREAD_BYTES = {unread}
"""
"""Deadlines that a test can wait for, set where the interpreter starts."""

WIDE = 2_000_000
"""Digits of an answer that no socket's buffers hold."""


@pytest.fixture(scope="module")
def stand() -> Iterator[ServedStand]:
    """A model that adds up two numbers."""
    with ServedStand({"sums": onnx_models.row_sum(), "echo": onnx_models.echo(("s", "string", [None]))}) as started:
        yield started


def _impatient(folder: Path, *, seconds: float = 1.0, unread: int = 268_435_456) -> ServedStand:
    (folder / "sitecustomize.py").write_text(IMPATIENT.format(seconds=seconds, unread=unread))
    return ServedStand({"echo": onnx_models.echo(("s", "string", [None]))}, path=folder)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedStand]:
    """A server that waits for a second where others wait for thirty."""
    with _impatient(tmp_path_factory.mktemp("impatient")) as started:
        yield started


def _goes_on(stand: ServedStand) -> bool:
    """Whether a new caller is answered at once."""
    began = time.monotonic()
    with RawCaller(stand.port) as caller:
        caller.send(SECOND)
        answer = caller.answer()
    return answer is not None and answer.status == 200 and time.monotonic() - began < 2


def _sent(caller: RawCaller, parts: list[bytes]) -> int:
    """How many bytes of these the server takes before it takes no more."""
    sent = 0
    for part in parts:
        try:
            caller.send(part)
        except (TimeoutError, ConnectionError):
            break
        sent += len(part)
    return sent


def _sums(answer: RawAnswer | None) -> bytes:
    assert answer is not None
    assert answer.status == 200, answer
    return answer.content.partition(b'"predictions":')[2].rstrip(b"}")


# -- one request that may be two ---------------------------------------------------------------------------------------


def _posted(*lines: str, body: bytes = b"", end: str = "\r\n") -> bytes:
    head = ["POST /models/sums/predict HTTP/1.1", "Host: x", "Content-Type: application/json", *lines]
    return (end.join(head) + end + end).encode() + body


def _chunked(first: str, *lines: str) -> bytes:
    return _posted("Transfer-Encoding: chunked", *lines, body=first.encode() + b"\r\n{}\r\n0\r\n\r\n" + SECOND)


SMUGGLED = {
    "length, then chunked": _posted("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SECOND),
    "chunked, then length": _posted("Transfer-Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n" + SECOND),
    "two lengths": _posted("Content-Length: 0", f"Content-Length: {len(SECOND)}", body=SECOND),
    "the same length twice": _posted("Content-Length: 2", "Content-Length: 2", body=b"{}" + SECOND),
    "a list of lengths": _posted("Content-Length: 2, 2", body=b"{}" + SECOND),
    "a negative length": _posted("Content-Length: -2", body=b"{}" + SECOND),
    "a length with a sign": _posted("Content-Length: +2", body=b"{}" + SECOND),
    "a length in base 16": _posted("Content-Length: 0x2", body=b"{}" + SECOND),
    "a length beyond 64 bits": _posted("Content-Length: 18446744073709551618", body=b"{}" + SECOND),
    "a length with a space before the colon": _posted("Content-Length : 2", body=b"{}" + SECOND),
    "a folded coding": _posted("Transfer-Encoding:\r\n chunked", "Content-Length: 5", body=b"0\r\n\r\n" + SECOND),
    "a coding with a tab": _posted("Transfer-Encoding:\tchunked", "Content-Length: 5", body=b"0\r\n\r\n" + SECOND),
    "a coding that is none": _posted("Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + SECOND),
    "identity": _posted("Transfer-Encoding: identity", body=SECOND),
    "chunked is not last": _posted("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + SECOND),
    "two codings": _posted("Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=b"0\r\n\r\n" + SECOND),
    "a chunk of no size": _chunked("zz"),
    "a chunk of negative size": _chunked("-2"),
    "a chunk with a prefix": _chunked("0x2"),
    "a chunk beyond 64 bits": _chunked("10000000000000002"),
    "a chunk that is longer than it says": _chunked("1"),
    "a chunk whose size ends with a line feed": _posted(
        "Transfer-Encoding: chunked", body=b"2\n{}\r\n0\r\n\r\n" + SECOND
    ),
    "lines that end with a line feed": _posted("Content-Length: 2", body=b"{}" + SECOND, end="\n"),
    "a zero byte in a header": _posted("X-A: a\0b", "Content-Length: 2", body=b"{}" + SECOND),
    "a header without a name": _posted(": a", "Content-Length: 2", body=b"{}" + SECOND),
    "a line feed alone in a header": _posted("X-A: a\nContent-Length: 99", "Content-Length: 2", body=b"{}" + SECOND),
}


@pytest.mark.parametrize("sent", SMUGGLED.values(), ids=SMUGGLED)
def test_what_may_be_two_requests_gets_one_problem_and_a_closed_connection(stand: ServedStand, sent: bytes) -> None:
    with RawCaller(stand.port) as caller:
        caller.send(sent)
        (answer,) = caller.answers()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.headers["content-type"] == "application/problem+json"
    assert b'"invalid_http"' in answer.content


NO_HTTP = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a proxy's request": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that is not ASCII": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "nonsense": b"\0" * 300,
}


@pytest.mark.parametrize("sent", NO_HTTP.values(), ids=NO_HTTP)
def test_what_is_no_http_gets_a_problem_and_a_closed_connection(stand: ServedStand, sent: bytes) -> None:
    with RawCaller(stand.port) as caller:
        caller.send(sent)
        (answer,) = caller.answers()
    assert (answer.status, answer.headers["connection"]) == (400, "close")


@pytest.mark.parametrize(("path", "body"), [("short", SHORT), ("long", LONG)])
def test_after_the_last_answer_of_a_connection_nothing_is_served(stand: ServedStand, path: str, body: bytes) -> None:
    stand.audits()
    with RawCaller(stand.port) as caller:
        caller.send(body.replace(b"Host: x", b"Host: x\r\nConnection: close", 1) + SHORT + SHORT)
        (answer,) = caller.answers()
    assert answer.headers["connection"] == "close"
    assert len(stand.audits()) == 1


@pytest.mark.parametrize("body", [SHORT, LONG])
def test_http_1_0_is_answered_and_closed(stand: ServedStand, body: bytes) -> None:
    with RawCaller(stand.port) as caller:
        caller.send(body.replace(b"HTTP/1.1", b"HTTP/1.0"))
        (answer,) = caller.answers()
    assert _sums(answer) == b"[3.0]"


def test_a_trailer_changes_nothing_about_the_request(stand: ServedStand) -> None:
    body = sums((1, 2))
    trailed = b"%x\r\n%b\r\n0\r\nContent-Type: text/csv\r\nX-A: b\r\n\r\n" % (len(body), body)
    for more in ((), ("Accept: application/json, */*",)):
        with RawCaller(stand.port) as caller:
            caller.send(_posted("Transfer-Encoding: chunked", *more, body=trailed) + SHORT)
            assert _sums(caller.answer()) == b"[3.0]"
            assert _sums(caller.answer()) == b"[3.0]"


def test_a_wish_for_another_protocol_is_not_granted_and_the_request_is_answered(stand: ServedStand) -> None:
    for upgrade in ("h2c", "websocket"):
        asked = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABk")
        with RawCaller(stand.port) as caller:
            caller.send(request(sums((1, 2)), *asked) + SHORT)
            assert _sums(caller.answer()) == b"[3.0]"
            assert _sums(caller.answer()) == b"[3.0]"


def test_many_wishes_for_another_protocol_in_the_same_bytes_are_answered_each(stand: ServedStand) -> None:
    asked = b"GET /ping HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
    with RawCaller(stand.port) as caller:
        caller.send(asked * 1_000 + SHORT)
        for _ in range(1_000):
            answer = caller.answer()
            assert answer is not None
            assert answer.status == 200
        assert _sums(caller.answer()) == b"[3.0]"


def test_what_is_asked_of_no_path_gets_a_problem(stand: ServedStand) -> None:
    with RawCaller(stand.port) as caller:
        caller.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 404
    assert b'"code":"unknown_route"' in answer.content


def test_who_leaves_before_its_requests_have_had_their_turn_leaves_no_traceback(stand: ServedStand) -> None:
    long = request(sums(*[(1, 2)] * 9_000))  # is read and answered on a thread
    for _ in range(10):
        with RawCaller(stand.port) as caller:
            caller.send(long + LONG * 3)
            caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # the kernel's word
    assert _goes_on(stand)
    time.sleep(0.5)
    assert "Traceback" not in stand.written()


# -- order -------------------------------------------------------------------------------------------------------------


def test_answers_leave_in_the_order_of_their_requests(stand: ServedStand) -> None:
    """Short and long ways, the server's own routes and refusals, all sent at once."""
    kinds = [
        (lambda at: request(sums((at, 0))), 200),
        (lambda at: request(sums((at, 0)), "Accept: application/json, */*"), 200),
        (lambda at: b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (lambda at: request(b"{}"), 400),
        (lambda at: request(sums((at, 0), *[(0, 0)] * 9_000)), 200),
        (lambda at: b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ]
    made = [(at, *kinds[(at * 7 + at // 6) % len(kinds)]) for at in range(60)]
    with RawCaller(stand.port) as caller:
        caller.socket.settimeout(30)
        caller.send(b"".join(make(at) for at, make, _ in made))
        for at, make, status in made:
            answer = caller.answer()
            assert answer is not None
            assert answer.status == status
            if b"instances" in make(at):
                assert _sums(answer).startswith(b"[%d.0" % at)


def test_a_request_that_comes_byte_by_byte_is_answered(stand: ServedStand) -> None:
    with RawCaller(stand.port) as caller:
        for sent in (SHORT, LONG):
            for at in range(len(sent)):
                caller.send(sent[at : at + 1])
            assert _sums(caller.answer()) == b"[3.0]"


@pytest.mark.parametrize("first", [SHORT, LONG, LONG + LONG, SHORT + LONG])
@pytest.mark.parametrize("wrong", [b"\0\0\r\n\r\n", _chunked("zz")])
def test_what_came_before_nonsense_is_answered_first(stand: ServedStand, first: bytes, wrong: bytes) -> None:
    with RawCaller(stand.port) as caller:
        caller.send(first + wrong)
        answers = caller.answers()
    asked = first.count(b"HTTP/1.1")
    assert [_sums(answer) for answer in answers[:asked]] == [b"[3.0]"] * asked
    assert [answer.status for answer in answers[asked:]] in ([], [400])
    assert answers[-1].headers["connection"] == "close"


# -- size --------------------------------------------------------------------------------------------------------------

HEADS = {
    "a header of 1 MB": (f"X-A: {'a' * 1_000_000}",),
    "headers of 100 KB": tuple(f"X-{at}: {'a' * 1_000}" for at in range(99)),
    "1,000 headers": tuple(f"X-{at}: a" for at in range(1_000)),
}


@pytest.mark.parametrize("lines", HEADS.values(), ids=HEADS)
def test_headers_have_a_bound(stand: ServedStand, lines: tuple[str, ...]) -> None:
    with RawCaller(stand.port) as caller:
        try:
            caller.send(request(sums((1, 2)), *lines))
        except ConnectionError:
            return  # it did not even read them
        answers = caller.answers()
    assert [(answer.status, answer.headers["connection"]) for answer in answers] in ([(431, "close")], [])


def test_headers_just_below_the_bound_are_taken(stand: ServedStand) -> None:
    with RawCaller(stand.port) as caller:
        caller.send(request(sums((1, 2)), *(f"X-{at}: {'a' * 640}" for at in range(97))))
        assert _sums(caller.answer()) == b"[3.0]"


ENDLESS = {
    "a path": b"GET /",
    "a header": b"GET /ping HTTP/1.1\r\nX-A: ",
    "a trailer": _posted("Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\nX-A: "),
    "an extension of a chunk": _posted("Transfer-Encoding: chunked", body=b"2;a="),
}


@pytest.mark.parametrize("begun", ENDLESS.values(), ids=ENDLESS)
def test_what_never_ends_is_cut_off_and_not_kept(stand: ServedStand, begun: bytes) -> None:
    with RawCaller(stand.port) as caller:
        assert _sent(caller, [begun, *[b"a" * 1_000_000] * 64]) < 32_000_000
    assert _goes_on(stand)


def test_a_body_that_is_too_large_by_its_length_is_refused_before_it_comes(stand: ServedStand) -> None:
    with RawCaller(stand.port) as caller:
        caller.send(_posted("Content-Length: 26214401", "Expect: 100-continue"))
        (answer,) = caller.answers()  # no word to go on, and the connection ends: what would come next is not known
    assert answer.status == 413


def test_a_body_that_is_too_large_gets_its_answer_and_the_next_request_as_well(stand: ServedStand) -> None:
    with RawCaller(stand.port) as caller:
        caller.send(_posted("Content-Length: 26214401", body=b"a" * 26_214_401) + SHORT)
        first = caller.answer()
        assert first is not None
        assert first.status == 413
        assert _sums(caller.answer()) == b"[3.0]"


def test_a_body_without_a_length_is_refused_as_soon_as_it_is_too_large(stand: ServedStand) -> None:
    chunk = b"100000\r\n" + b"a" * 0x100000 + b"\r\n"
    with RawCaller(stand.port) as caller:
        caller.send(_posted("Transfer-Encoding: chunked", body=chunk * 26))
        first = caller.answer()
        assert first is not None
        assert first.status == 413
        caller.send(b"0\r\n\r\n" + SHORT)
        assert _sums(caller.answer()) == b"[3.0]"


def test_who_waits_for_100_continue_is_told(stand: ServedStand) -> None:
    body = sums((1, 2))
    with RawCaller(stand.port) as caller:
        for _ in range(2):
            caller.send(_posted(f"Content-Length: {len(body)}", "Expect: 100-continue"))
            told = caller.answer()
            assert told is not None
            assert told.status == 100
            caller.send(body)
            assert _sums(caller.answer()) == b"[3.0]"


def test_bodies_that_are_half_there_hold_no_more_memory_than_there_is_for_them(stand: ServedStand) -> None:
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(RawCaller(stand.port)) for _ in range(16)]
        for caller in callers:
            caller.send(_posted("Content-Length: 26214400", body=b"a" * 24_000_000))
        answers = [caller.answer() for caller in callers[11:]]
        assert [answer and answer.status for answer in answers] == [429] * 5
        assert _goes_on(stand)
    with RawCaller(stand.port) as caller:
        caller.send(_posted("Content-Length: 26214400", body=b"a" * 26_214_400))
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 400


# -- time --------------------------------------------------------------------------------------------------------------

SLOW = {
    "nothing": b"",
    "a line": b"POST /models/echo/pre",
    "a header": b"POST /models/echo/predict HTTP/1.1\r\nHost: x\r\nX-",
    "a body of the short way": request(b"{", path="/models/echo/predict").replace(b": 1\r", b": 9000\r"),
    "a body of the long way": request(b"{", "Accept: x/y", path="/models/echo/predict").replace(b": 1\r", b": 9000\r"),
    "a trailer": _posted("Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\nX-A: "),
}


@pytest.mark.parametrize("begun", SLOW.values(), ids=SLOW)
def test_a_request_that_comes_too_slowly_is_cut_off(impatient: ServedStand, begun: bytes) -> None:
    with RawCaller(impatient.port) as caller:
        caller.send(begun)
        ends = time.monotonic() + 4
        while time.monotonic() < ends:
            if caller.ended_within(0.1):
                break
            try:
                caller.send(b"a" if begun else b"")
            except ConnectionError:
                break
        assert time.monotonic() < ends


def test_a_connection_that_is_only_kept_is_not_cut_off_by_then(impatient: ServedStand) -> None:
    with RawCaller(impatient.port) as caller:
        caller.send(SECOND)
        assert caller.answer() is not None
        assert not caller.ended_within(1.5)
        caller.send(SECOND)
        assert caller.answer() is not None


def _echo(text: str) -> bytes:
    return request(f'{{"instances": ["{text}"]}}'.encode(), path="/models/echo/predict")


def test_who_never_reads_an_answer_is_cut_off(impatient: ServedStand) -> None:
    with RawCaller(impatient.port, receive_bytes=4096) as caller:
        caller.send(_echo("a" * WIDE * 4))
        time.sleep(2.5)
        assert _goes_on(impatient)
        with pytest.raises(AssertionError, match="bytes came"):  # what lies in the kernel's buffers, and no more
            caller.answer()


def test_who_asks_on_and_never_reads_is_not_answered_on(impatient: ServedStand) -> None:
    """Thousands of requests in one connection: their answers must not pile up in the server."""
    before = resident_mb(impatient.process.pid)
    asked = _echo("a" * 60_000)
    with RawCaller(impatient.port, receive_bytes=4096) as caller:
        caller.socket.settimeout(0.5)
        assert _sent(caller, [asked] * 5_000) < 60_000_000
    assert resident_mb(impatient.process.pid) - before < 60


def test_answers_that_nobody_reads_have_a_bound_together(tmp_path: Path) -> None:
    with _impatient(tmp_path, seconds=30.0, unread=40_000_000) as stand, contextlib.ExitStack() as stack:
        callers = [stack.enter_context(RawCaller(stand.port, receive_bytes=4096)) for _ in range(30)]
        for caller in callers:
            caller.send(_echo("a" * WIDE * 2))
        cut_off = select.poll()
        for caller in callers:
            cut_off.register(caller.socket, 0)
        ends = time.monotonic() + 8
        while len(cut_off.poll(0)) < 15:
            assert time.monotonic() < ends
            time.sleep(0.05)
        assert len(cut_off.poll(0)) < 30
        assert _goes_on(stand)


def test_thousands_of_idle_connections_leave_room_for_one_more(stand: ServedStand) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    idle = [socket.create_connection(("127.0.0.1", stand.port)) for _ in range(min(2_000, most - 500))]
    try:
        assert _goes_on(stand)
        idle[-1].sendall(SHORT)
        assert idle[-1].recv(15).startswith(b"HTTP/1.1 200")
    finally:
        for one in idle:
            one.close()
