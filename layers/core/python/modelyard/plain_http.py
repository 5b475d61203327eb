"""HTTP/1.1 to a server of the same machine: Lambda's Runtime API, its Extensions API, its credentials.

The rule: one connection, one call at a time, answers that say their length, every read bounded. No TLS, no redirects,
no proxies: it never leaves the machine (`modelyard.aws.kept_connection` is this with TLS). `http.client` does more and
imports a parser of e-mail for it (17 ms, where a whole cold start takes 80); `socket` imports 2 ms of enumerations that
nothing here needs, so this uses what both stand on.
"""

import _socket
from collections.abc import Mapping

MAX_HEAD_BYTES = 65_536
MAX_BODY_BYTES = 1_048_576

_CHUNK = 65_536


class HttpError(OSError):
    """The server answered with something that is not an answer; the connection is of no more use."""


class Answer:
    """What a server answered; header names are lower-case."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Connection:
    """A connection to ``address``, opened by the first call and again after a failure.

    Args:
        address: ``host:port``, without a scheme.
        timeout_s: Longest wait for a connection and for each read; `wait` may wait longer.
        max_body_bytes: The largest body that is read.

    Raises:
        ValueError: When the address has no port.
    """

    __slots__ = ("_address", "_host", "_max_body_bytes", "_received", "_socket", "_timeout_s")

    def __init__(self, address: str, *, timeout_s: float, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host.strip("[]"), int(port))
        self._host = address
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._socket: _socket.socket | None = None
        self._received = b""

    def call(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Send a request and read its answer.

        Raises:
            OSError: When the server does not answer, or not in time (`TimeoutError`), or not in HTTP (`HttpError`).
        """
        self.send(method, path, headers, body)
        return self.read()

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send a request whose answer may take its time; `fileno` tells when it begins to come.

        Raises:
            OSError: As `call` does.
        """
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        request = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        try:
            self._open().sendall(request)
        except OSError:
            self.close()
            raise

    def read(self) -> Answer:
        """Read the answer to what was sent.

        Raises:
            OSError: As `call` does.
        """
        try:
            return self._read()
        except (OSError, ValueError, IndexError) as error:
            self.close()
            if isinstance(error, OSError):
                raise
            raise HttpError(f"{self._host} did not answer in HTTP: {str(error)[:200]}") from error

    def fileno(self) -> int:
        """The descriptor to poll for an answer; -1 without a connection."""
        return -1 if self._socket is None else self._socket.fileno()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._received = None, b""

    def _open(self) -> _socket.socket:
        if self._socket is None:
            family = _socket.AF_INET6 if ":" in self._address[0] else _socket.AF_INET
            connection = _socket.socket(family, _socket.SOCK_STREAM)
            connection.settimeout(self._timeout_s)
            try:
                connection.connect(self._address)
                connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            except OSError:
                connection.close()
                raise
            self._socket = connection
        return self._socket

    def _read(self) -> Answer:
        head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        headers: dict[str, str] = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._chunks()
        else:
            body = b""
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, headers, body)

    def _chunks(self) -> bytes:
        chunks: list[bytes] = []
        length = 0
        while True:
            size = int(self._until(b"\r\n").partition(b";")[0], 16)
            if size == 0:
                while self._until(b"\r\n"):  # trailers, and the empty line that ends them
                    pass
                return b"".join(chunks)
            length += size
            if length > self._max_body_bytes:
                raise ValueError(f"a body of more than {self._max_body_bytes} bytes")
            chunks.append(self._exactly(size))
            self._until(b"\r\n")

    def _until(self, end: bytes) -> bytes:
        while (found := self._received.find(end)) < 0:
            if len(self._received) > MAX_HEAD_BYTES:
                raise ValueError(f"a head of more than {MAX_HEAD_BYTES} bytes")
            self._more()
        part, self._received = self._received[:found], self._received[found + len(end) :]
        return part

    def _exactly(self, size: int) -> bytes:
        if not 0 <= size <= self._max_body_bytes:
            raise ValueError(f"a body of {size} bytes; at most {self._max_body_bytes} are read")
        parts, missing = [self._received], size - len(self._received)
        while missing > 0:  # put together once: to append each to the ones before takes a second where it is large
            parts.append(self._receive())
            missing -= len(parts[-1])
        whole = b"".join(parts)
        part, self._received = whole[:size], whole[size:]
        return part

    def _more(self) -> None:
        self._received += self._receive()

    def _receive(self) -> bytes:
        assert self._socket is not None  # noqa: S101 - what reads has sent before
        chunk = self._socket.recv(_CHUNK)
        if not chunk:
            raise HttpError(f"{self._host} closed the connection in the middle of an answer")
        return chunk
