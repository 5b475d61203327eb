"""A connection to an AWS service that is kept between calls, over TLS or to an emulator without, held to a deadline.

The rule: who calls learns what matters for trying again: that nothing of the request can have been acted on
(`NotSentError`), or that nobody knows (`LostError`). Lambda freezes the process between two invocations, and the server
closes what is idle meanwhile without the process hearing of it; so what was idle for long, or has something to read
before it was asked anything, is opened anew.
"""

import select
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelyard.plain_http import Answer, Connection, HttpError

if TYPE_CHECKING:
    import _socket
    import ssl

CONNECT_S = 3.0
IDLE_S = 15.0
"""How long an idle connection is trusted. By the clock on the wall: no other one goes on while a process is frozen."""


class NotSentError(OSError):
    """There was no connection, or it failed before the whole request was sent: a server cannot have acted on it."""


class LostError(OSError):
    """The request was sent and no whole answer came.

    Attributes:
        when_idle: It was sent over a connection that had been idle, and not a byte came back: most likely the server
            had closed it, and read nothing.
    """

    def __init__(self, message: str, *, when_idle: bool) -> None:
        super().__init__(message)
        self.when_idle = when_idle


class KeptConnection(Connection):
    """A connection to one server, for one call at a time.

    Args:
        host: Its name.
        port: Its port.
        tls: Makes TLS of a connection; None for plain HTTP.
        max_body_bytes: The largest body that is read.
    """

    __slots__ = ("_answering", "_ends", "_fresh", "_name", "_tls", "_used_at")

    def __init__(self, host: str, port: int, *, tls: "ssl.SSLContext | None", max_body_bytes: int) -> None:
        super().__init__(f"{host}:{port}", timeout_s=CONNECT_S, max_body_bytes=max_body_bytes)
        self._name = host
        self._tls = tls
        self._host = host_header(host, port, tls=tls is not None)
        self._ends = 0.0
        self._used_at = 0.0
        self._answering = False
        self._fresh = False  # open, and was not asked anything yet

    def connect(self) -> None:
        """Open the connection before there is something to send.

        Raises:
            OSError: When nobody is there.
        """
        self._ends = time.monotonic() + CONNECT_S
        self._open()
        self._used_at, self._fresh = time.time(), True

    def ask(self, path: str, headers: Mapping[str, str], body: bytes, *, ends: float) -> Answer:
        """Send a POST and read its answer.

        Args:
            path: With everything that the server is to see.
            headers: Beside ``Host`` and ``Content-Length``.
            body: What is sent.
            ends: When to give up, by `time.monotonic`.

        Raises:
            NotSentError: When it was not sent, whole.
            LostError: When it was, and was not answered.
            TimeoutError: When there was no time left.
        """
        self._ends, self._answering = ends, False
        if self.fileno() >= 0 and self._is_stale():
            self.close()
        idle, self._fresh = self.fileno() >= 0, False
        try:
            self.send("POST", path, headers, body)
        except OSError as error:
            if time.monotonic() >= ends:
                raise TimeoutError(str(error)) from error
            raise NotSentError(f"{self._host} cannot be reached: {error}") from error
        try:
            answer = self.read()
            if not {"content-length", "transfer-encoding"} & set(answer.headers):
                self.close()
                raise HttpError(f"{self._host} answered without saying how much")
        except TimeoutError:
            raise
        except OSError as error:
            raise LostError(
                f"{self._host} took the request and gave no answer: {error}", when_idle=idle and not self._answering
            ) from error
        self._used_at = time.time()
        return answer

    def _is_stale(self) -> bool:
        if not 0 <= time.time() - self._used_at <= IDLE_S:
            return True
        if self._fresh:  # TLS has something to read as soon as it is open: tickets for the next time
            return False
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _open(self) -> "_socket.socket":
        if self._socket is None:
            self._timeout_s = min(CONNECT_S, self._left())
            plain = super()._open()
            if self._tls is not None:
                try:
                    self._socket = self._tls.wrap_socket(plain, server_hostname=self._name)  # type: ignore[arg-type]
                except (OSError, ValueError):
                    plain.close()
                    self._socket = None
                    raise
        opened = super()._open()
        opened.settimeout(self._left())
        return opened

    def _receive(self) -> bytes:
        assert self._socket is not None  # noqa: S101 - what reads has sent before
        self._socket.settimeout(self._left())
        chunk = super()._receive()
        self._answering = True
        return chunk

    def _left(self) -> float:
        """Seconds until the call is given up."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("there is no time left")
        return left


def host_header(host: str, port: int, *, tls: bool) -> str:
    """How ``Host`` names a server: without the port that the scheme has anyway, as it is signed."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port == (443 if tls else 80) else f"{shown}:{port}"
