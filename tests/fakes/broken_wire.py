"""Harm to one HTTP request of boto3, below its retries: they run for real, and so does the death of a process."""

import io
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import botocore.endpoint
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from botocore.httpsession import URLLib3Session

from tests.fakes.broken_stores import Fault, Harm

READS = frozenset(
    {"GetItem", "TransactGetItems", "Query", "HeadObject", "GetObject", "ListObjectsV2", "ListMultipartUploads"}
)
"""Operations that change nothing, so that an answer that was lost differs little from a request that was."""


class Wire:
    """What some clients send: counted, and harmed at one place.

    Args:
        fault: Which request is harmed; for good means that the same request is harmed every time.
    """

    def __init__(self, fault: Fault | None = None) -> None:
        self.operations: list[str] = []
        self._fault = fault
        self._harmed: tuple[str, str, Any] | None = None
        self._times = 0
        self._lock = threading.Lock()
        self._session = _connections()

    @property
    def happened(self) -> bool:
        """Whether the request to be harmed was sent."""
        return self._times > 0

    @contextmanager
    def over(self, *clients: Any) -> Iterator["Wire"]:
        """Count, and harm, what these clients send meanwhile."""
        for client in clients:
            client.meta.events.register("before-send", self._before_send)
        try:
            yield self
        finally:
            for client in clients:
                client.meta.events.unregister("before-send", self._before_send)

    def _before_send(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        _, service, operation = event_name.split(".")
        body = request.body if service == "dynamodb" else None  # S3 says in the URL what it is about
        this = (request.method, request.url, body)
        with self._lock:
            number = len(self.operations)
            self.operations.append(operation)
            fault = self._fault
            if fault is None or not (number == fault.at or (fault.lasting and this == self._harmed)):
                return None
            self._harmed = this
            self._times += 1
        match fault.harm:
            case Harm.UNSENT:
                raise ConnectTimeoutError(endpoint_url=request.url)
            case Harm.THROTTLED:
                return _throttled(request, service)
            case Harm.UNANSWERED:
                assert self._session.send(request).content is not None
                raise ReadTimeoutError(endpoint_url=request.url)
            case Harm.DIED_AFTER:
                assert self._session.send(request).content is not None
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


def _connections() -> URLLib3Session:
    """New connections with the option that botocore's own have; without, each answer waits 40 ms for an ACK."""
    return URLLib3Session(max_pool_connections=10, socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)])


class _Body(io.BytesIO):
    def stream(self) -> list[bytes]:
        return [self.read()]


def _throttled(request: Any, service: str) -> AWSResponse:
    if service == "dynamodb":
        said = b'{"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "slow down"}'
        return AWSResponse(request.url, 400, {"Content-Type": "application/x-amz-json-1.0"}, _Body(said))
    said = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    return AWSResponse(request.url, 503, {}, _Body(b"" if request.method == "HEAD" else said))


def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let botocore's retries follow each other without a pause."""

    class Hurried:
        @staticmethod
        def sleep(_seconds: float) -> None:
            return None

    monkeypatch.setattr(botocore.endpoint, "time", Hurried)


def in_a_child_that_dies(act: Any, *clients: Any) -> None:
    """Run ``act`` in a child process, which has to be killed while it does.

    The child talks over connections of its own: what its parent has open stays as it is.
    """
    child = os.fork()
    if child == 0:
        try:
            for client in clients:
                client._endpoint.http_session = _connections()
            act()
        finally:
            os._exit(7)  # it did not die: neither pytest nor anything else may go on in here
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the child ended with {os.waitstatus_to_exitcode(status)} instead of dying"
    assert os.WTERMSIG(status) == signal.SIGKILL
