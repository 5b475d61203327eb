"""`Connection`: uvicorn's, with a short way for predictions, and with deadlines.

The short way: a prediction that is answered in microseconds is answered in the parser's own callback, without a task, a
scope or messages; those take longer than the answer. Whatever is not that simple (another route, type or encoding, a
large body, a model that takes longer, an answer still under way on the connection) goes uvicorn's way, to the same
application.

The deadlines and bounds: uvicorn closes a connection that is idle between two requests, and waits for ever for the
rest of a request, and for a caller to take an answer; and it takes headers of any size. A few thousand of those would
hold all the files and memory there are.

The order: answers leave in the order of their requests, and a connection that cannot go on (what came is no HTTP, or
the server ends) answers first what was asked in whole.
"""

import asyncio
import contextlib
import os
import socket
import struct
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from modelyard.errors import RequestError
from modelyard.server.app import Route, ServerApp
from modelyard.server.endpoint import LARGE_BYTES
from modelyard.server.exchange import JSON_HEADERS
from modelyard.serving.problem import problem_response

REQUEST_S = 30.0
"""From a request's first byte, or the connection's, to its last. 25 MB in that time are 7 Mbit/s."""

READ_S = 30.0
"""In which a caller must have taken some of an answer that waits for it."""

HEAD_BYTES = 65_536
"""Of a request's line and headers together, and of anything else that comes without a byte of a body."""

HEADERS = 100
"""Of a request."""

UNREAD_BYTES = 268_435_456
"""Of all answers that wait for their callers; beyond it those go first that have waited for longest."""

IN_KERNEL_BYTES = 3_145_728
"""Of an answer that waits, what the kernel may have taken already; it is kept until all of it is gone."""

LINGER_S = 0.5
"""How long an idle connection may still bring a request when the server ends: it may be on its way."""

SWEEP_S = 1.0
"""How often connections are looked at: one timer for all costs less than one for each."""

OK = 200


class Connection(HttpToolsProtocol):
    """One connection; see uvicorn's for arguments."""

    app: ServerApp
    _usual: ClassVar[tuple[list[tuple[bytes, bytes]] | None, bytes]] = (None, b"")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A caller connects."""
        super().connection_made(transport)
        self._since: float | None = self.loop.time()  # that a whole request has been waited for
        self._idle_since = 0.0  # that the short way's last answer is out
        self._unread = 0  # bytes of answers that wait for the caller
        self._unread_since = 0.0
        self._route: Route | None = None  # of a request that may go the short way
        self._body: list[bytes] = []
        self._last = False
        self._in_head = self._in_body = False
        self._idle_bytes = 0  # that came since anything was made of them
        self._awaits_word = False  # "100 Continue", to send a body at all
        self._before: Any = None  # the cycle before the newest
        self._under_way: Any = None  # the cycle that is being answered, or was last; others wait in the pipeline
        self._refusal: RequestError | None = None
        _SWEEPER.watch(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        _SWEEPER.forget(self)
        if self._under_way is not None:  # uvicorn's tells the newest, which may still wait for its turn
            self._under_way.disconnected = True
            self._under_way.message_event.set()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server ends: answer what has begun or is on its way, and nothing after it."""
        self._last = True
        if self._is_idle and not self._in_body:
            self.loop.call_later(LINGER_S, self._leave)
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    def _leave(self) -> None:
        if self._is_idle and not self._in_body:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        self._unset_keepalive_if_required()
        while data:
            self._idle_bytes += len(data)
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as asked:  # by as many requests as there may be in the same bytes
                data = self._as_before(data[asked.args[0] :])
                continue
            except httptools.HttpParserError:
                self.send_400_response("this is no HTTP request")
            else:
                if self._idle_bytes > HEAD_BYTES:
                    self._refusal = _too_large()
                    self.send_400_response("")
            return

    # -- the parser's callbacks ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self.transport.is_closing():
            raise ConnectionError("the answer before was the last")
        self._since = self.loop.time()
        self._in_head = True
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or after the body a trailer; those count for nothing."""
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """What is asked is known."""
        self._in_head = False
        size, self._idle_bytes = self._idle_bytes, 0
        if len(self.headers) > HEADERS or (size > HEAD_BYTES and _size(self.headers) + len(self.url) > HEAD_BYTES):
            self._refusal = _too_large()
            raise self._refusal
        if self.parser.should_upgrade():
            return  # `data_received` asks again without it
        self._in_body = True
        if self._is_idle and not self.flow.write_paused:
            self._route = self.app.short_way(self.parser.get_method(), self.url, self.headers)
            if self._route is not None and not self.expect_100_continue:
                self._keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
                return
        self._go_the_long_way()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._idle_bytes = 0
        if self._route is None:
            self._awaits_word = False
            super().on_body(body)
            return
        self._body.append(body)
        if len(self._body) > 1 and sum(map(len, self._body)) > LARGE_BYTES:
            self._go_the_long_way()

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        if self.parser.should_upgrade():
            return
        self._since = None
        self._in_body = False
        self._idle_bytes = 0
        if self._route is not None:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            response = self.app.at_once(self._route, body, id(self)) if len(body) <= LARGE_BYTES else None
            if response is not None:
                self._route = None
                self._body.clear()
                self._answer(response)
                return
            self._go_the_long_way()
        super().on_message_complete()
        self.cycle.more_body = False  # also of one that was answered before its end
        self._idle_since = self.loop.time()  # if it was: then uvicorn's own timer has been stopped since
        if self._last and self._is_idle:
            self.transport.close()

    def _go_the_long_way(self) -> None:
        """Begin uvicorn's cycle after all, with what has come until now."""
        self._route, parts = None, self._body
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # makes the scope
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)
        self._body = []
        self._before = self.cycle
        super().on_headers_complete()
        if not self.pipeline:
            self._under_way = self.cycle
        self.cycle.keep_alive = self.cycle.keep_alive and not self._last
        self._awaits_word = expect
        for part in parts:
            super().on_body(part)

    def on_response_complete(self) -> None:
        """An answer of the long way is out."""
        if self.pipeline:
            self._under_way = self.pipeline[-1][0]
        super().on_response_complete()
        if self._awaits_word and self._in_body and self._is_idle:
            self.transport.close()  # what comes next may be the body, or another request

    def _answer(self, response: dict[str, Any]) -> None:
        body = response["body"]
        if type(body) is str:
            body = body.encode()
        ends = self._last or not self._keep_alive
        head = self._head(response)
        self.transport.write(
            b"%b%bcontent-length: %d\r\n\r\n%b" % (head, b"connection: close\r\n" if ends else b"", len(body), body)
        )
        self.server_state.total_requests += 1
        if ends:
            self.transport.close()
        self._idle_since = self.loop.time()

    def _head(self, response: dict[str, Any]) -> bytes:
        """Status and headers; of the usual answer the same for a second, in which the date is the same."""
        usual = response["headers"] is JSON_HEADERS and response["statusCode"] == OK
        defaults = self.server_state.default_headers
        if usual and Connection._usual[0] is defaults:
            return Connection._usual[1]
        parts = [STATUS_LINE[response["statusCode"]]]
        parts += [b"%b: %b\r\n" % header for header in defaults]
        parts += [f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in response["headers"].items()]
        head = b"".join(parts)
        if usual:
            Connection._usual = (defaults, head)
        return head

    def _as_before(self, rest: bytes) -> bytes:
        """The request without the wish for another protocol, which means that it is not granted, and what follows."""
        if self.parser.get_method() == b"CONNECT":
            self.send_400_response("this server is no proxy")
            return b""
        kept = [header for header in self.headers if header[0] not in (b"connection", b"upgrade", b"http2-settings")]
        lines = b"".join(b"%b: %b\r\n" % header for header in kept)
        version = self.parser.get_http_version().encode()
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, lines)
        self.parser = httptools.HttpRequestParser(self)
        return head + rest

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets a problem, as everything does, after the answers to what came before it."""
        if self.transport.is_closing():
            return
        error = self._refusal or RequestError(msg, code="invalid_http", next_step="Send HTTP/1.1.")
        self._last, self._since, self._route = True, None, None
        cycle: Any = self.cycle
        if cycle is not None and cycle.more_body:  # it is this request that goes wrong
            if self.pipeline:
                self.pipeline.popleft()
                self.cycle = cycle = self._before
            elif cycle.response_started:
                self.transport.close()
                return
            else:
                cycle = None
        if cycle is None or cycle.response_complete:
            self._answer(problem_response(error, request_id="unknown"))
        else:
            cycle.keep_alive = False

    @property
    def _is_idle(self) -> bool:
        cycle: Any = self.cycle  # None at first, whatever its type says
        return cycle is None or bool(cycle.response_complete)

    # -- deadlines ----------------------------------------------------------------------------------------------------

    def overdue(self, now: float) -> bool:
        """Whether the caller has kept the server waiting for too long."""
        if self._since is not None:
            if self.flow.read_paused:  # it is the server that does not go on
                self._since = now
            elif now - self._since > REQUEST_S:
                return True
        elif (
            self.timeout_keep_alive_task is None and self._is_idle and now - self._idle_since > self.timeout_keep_alive
        ):
            return True
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or unread < self._unread or self._unread == 0:
            self._unread_since = now
        self._unread = unread
        return unread > 0 and now - self._unread_since > READ_S

    def abort(self) -> None:
        """End it now, with all that waits for the caller; else the kernel would keep that for minutes."""
        found = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(found.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def pause_writing(self) -> None:
        """The caller does not take what it gets."""
        super().pause_writing()
        _SWEEPER.waits(self)

    def resume_writing(self) -> None:
        """It has taken most of it."""
        _SWEEPER.goes_on(self)
        super().resume_writing()


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _too_large() -> RequestError:
    return RequestError(
        f"the headers have more than {HEAD_BYTES:,} bytes, or are more than {HEADERS}",
        code="header_too_large",
        status=431,
        next_step="Send fewer.",
    )


class _Sweeper:
    """Looks at all connections of a worker, while there are any."""

    def __init__(self) -> None:
        self._watched: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}  # for their callers to read; in the order in which they began to
        self._next: asyncio.TimerHandle | None = None

    def watch(self, connection: Connection) -> None:
        self._watched.add(connection)
        if self._next is None:
            self._next = connection.loop.call_later(SWEEP_S, self._sweep, connection.loop)

    def forget(self, connection: Connection) -> None:
        self._watched.discard(connection)
        self._waiting.pop(connection, None)

    def waits(self, connection: Connection) -> None:
        self._waiting[connection] = None
        connection.loop.call_soon(self._let_go)  # when what can be sent was

    def goes_on(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)

    def _sweep(self, loop: Any) -> None:
        now = loop.time()
        for connection in [one for one in self._watched if one.overdue(now)]:
            connection.abort()
        self._next = loop.call_later(SWEEP_S, self._sweep, loop) if self._watched else None

    def _let_go(self) -> None:
        unread = {one: one.transport.get_write_buffer_size() + IN_KERNEL_BYTES for one in self._waiting}
        total = sum(unread.values())
        for connection, size in unread.items():
            if total <= UNREAD_BYTES:
                return
            total -= size
            connection.abort()


_SWEEPER = _Sweeper()
