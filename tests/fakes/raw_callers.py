"""Callers of a server who write bytes to a socket themselves: what no HTTP library sends or leaves unread."""

import json
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self

ANSWER_S = 10.0


@dataclass(frozen=True)
class RawAnswer:
    """One answer as it came.

    Attributes:
        status: Of its first line.
        headers: Names in lower case.
        content: The body.
    """

    status: int
    headers: dict[str, str]
    content: bytes


class RawCaller:
    """A connection to a port of this machine.

    Args:
        port: Where the server listens.
        receive_bytes: The kernel's buffer for what the server sends; a small one is soon full.
    """

    def __init__(self, port: int, *, receive_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(ANSWER_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(("127.0.0.1", port))
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, *, head: bool = False) -> RawAnswer | None:
        """The next answer; None where the connection ended before one began.

        Args:
            head: Whether it is one to HEAD, which has no body.

        Raises:
            TimeoutError: None came.
            AssertionError: It ended in the middle of one.
        """
        while b"\r\n\r\n" not in self._read:
            if not self._receive():
                assert not self._read, self._read
                return None
        first, _, self._read = self._read.partition(b"\r\n\r\n")
        lines = first.decode("latin-1").split("\r\n")
        version, status = lines[0].split(" ")[:2]
        assert version == "HTTP/1.1", lines[0]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        size = 0 if head or status == "100" else int(headers["content-length"])
        while len(self._read) < size:
            assert self._receive(), f"{len(self._read)} of {size} bytes came"
        content, self._read = self._read[:size], self._read[size:]
        return RawAnswer(int(status), headers, content)

    def answers(self) -> list[RawAnswer]:
        """All that come until the server ends the connection."""
        found = []
        while (one := self.answer()) is not None:
            found.append(one)
        return found

    def ended_within(self, seconds: float) -> bool:
        """Whether the server ends the connection by then, saying nothing more."""
        self.socket.settimeout(seconds)
        try:
            return not self._receive()
        except TimeoutError:
            return False

    def _receive(self) -> bool:
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionError:
            return False
        self._read += data
        return bool(data)


def request(
    body: bytes, *more: str, path: str = "/models/sums/predict", method: str = "POST", version: str = "1.1"
) -> bytes:
    """A request with a body of that length.

    Args:
        body: As it is sent.
        more: Header lines beside the usual ones.
        path: What is asked.
        method: How.
        version: Of HTTP.
    """
    lines = [
        f"{method} {path} HTTP/{version}",
        "Host: x",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *more,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def sums(*rows: tuple[float, float]) -> bytes:
    """The body that asks `onnx_models.row_sum` for the sum of each row."""
    return json.dumps({"instances": rows}).encode()
