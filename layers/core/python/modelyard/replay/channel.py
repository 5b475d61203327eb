"""`Channel`: whole messages over a socket, with a deadline: what the two processes of a replay say to each other.

A model's own code runs at the other end and may write what it likes to standard output; a socket of its own is not
disturbed by it. And unlike a pipe it takes a deadline in both directions.
"""

import socket
import time

LARGEST = 1 << 30
"""Bytes of a message; more is no message of ours."""
_LENGTH = 8
_PIECE = 1 << 20


class BrokenChannelError(Exception):
    """The other end is gone, or speaks another language."""


class Channel:
    """One end.

    Args:
        end: A connected stream socket; it is closed with the channel.
    """

    __slots__ = ("_end",)

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def close(self) -> None:
        """Close it; the other end sees that."""
        self._end.close()

    def send(self, content: bytes, *, within_s: float | None = None) -> None:
        """Send one message.

        Raises:
            TimeoutError: When the other end does not take it in time.
            BrokenChannelError: When it is gone.
        """
        self._end.settimeout(within_s)
        try:
            self._end.sendall(len(content).to_bytes(_LENGTH) + content)
        except TimeoutError:
            raise
        except OSError as error:
            raise BrokenChannelError(str(error)) from error

    def receive(self, *, within_s: float | None = None) -> bytes:
        """The next message.

        Raises:
            TimeoutError: When there is none in time.
            BrokenChannelError: When the other end is gone.
        """
        ends = None if within_s is None else time.monotonic() + within_s
        length = int.from_bytes(self._exactly(_LENGTH, ends))
        if length > LARGEST:
            raise BrokenChannelError(f"a message of {length} bytes")
        return self._exactly(length, ends)

    def _exactly(self, length: int, ends: float | None) -> bytes:
        found = bytearray()
        while len(found) < length:
            left_s = None if ends is None else ends - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise TimeoutError
            self._end.settimeout(left_s)
            try:
                piece = self._end.recv(min(_PIECE, length - len(found)))
            except TimeoutError:
                raise
            except OSError as error:
                raise BrokenChannelError(str(error)) from error
            if not piece:
                raise BrokenChannelError("the other end is closed")
            found += piece
        return bytes(found)
