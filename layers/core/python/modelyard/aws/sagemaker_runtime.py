"""SageMaker's runtime for the way in: InvokeEndpoint and InvokeEndpointAsync, without boto3.

The rule: it is the client of a hot path, so it imports neither boto3 nor `http.client`, keeps its connections, and
holds every wait to the caller's deadline. What SageMaker answers is handed on as it is, refusals too
(`modelyard.way_in.refusals` reads them); what is raised here is what never was an answer.

Tried again: what was not sent, what was throttled, and once what was sent over a connection that the server had closed
while it was idle. A prediction that is made twice harms nobody, and of several labels of a row the newest counts.
"""

import _thread
import atexit
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from modelyard.aws.kept_connection import KeptConnection, LostError, NotSentError, host_header
from modelyard.aws.sigv4 import EnvironmentKeys, Keys, Signer
from modelyard.errors import AWSError
from modelyard.plain_http import Answer

if TYPE_CHECKING:
    import ssl

SERVICE = "sagemaker"
HEADER = "X-Amzn-SageMaker-"
MAX_ANSWER_BYTES = 26_214_400
"""25 MB, which a real-time endpoint may answer; Lambda returns less, and says so by itself."""

ATTEMPTS = 3
PAUSE_S = 0.1
"""Before the second attempt; twice that before the third, each up to half as much longer."""

THROTTLED = ("ThrottlingException", "Throttling", "TooManyRequestsException")
LOADING = "ModelNotReadyException"
BAD_REQUEST = 400


FIRST_S = 2.0
"""Longest wait for the first connection when the process ends."""


class UnavailableError(AWSError):
    """SageMaker's runtime cannot be reached; the caller may send the same again."""

    code = "endpoint_unavailable"
    status = 503
    headers = {"retry-after": "5"}  # noqa: RUF012 - read only


class TooLateError(AWSError):
    """No answer came within the time that there was."""

    code = "endpoint_timeout"
    status = 504


class Request:
    """What an endpoint is asked.

    Attributes:
        endpoint: Its name.
        attributes: For the container, as it is; at most 1,024 printable ASCII characters, like the two types.
    """

    __slots__ = ("accept", "attributes", "content_type", "endpoint")

    def __init__(self, endpoint: str, *, content_type: str, accept: str, attributes: str) -> None:
        self.endpoint = endpoint
        self.content_type = content_type
        self.accept = accept
        self.attributes = attributes


class SageMakerRuntime:
    """Calls endpoints. Safe to use from several threads at once; each call has a connection to itself.

    Args:
        url: Of the service.
        signer: Signs for it.
        keys: Whose signature.
    """

    __slots__ = ("_host", "_idle", "_keys", "_named", "_port", "_signer", "_tls", "_with_tls")

    def __init__(self, url: str, *, signer: Signer, keys: Callable[[], Keys]) -> None:
        self._signer = signer
        self._keys = keys
        scheme, _, rest = url.partition("://")
        host, _, port = rest.partition("/")[0].rpartition(":")
        self._with_tls = scheme == "https"
        if not host:
            host, port = port, "443" if self._with_tls else "80"
        self._host, self._port = host.strip("[]"), int(port)
        self._named = host_header(self._host, self._port, tls=self._with_tls)
        self._tls: ssl.SSLContext | None = None
        self._idle: list[KeptConnection] = []

    def connect_soon(self) -> None:
        """Open a first connection beside what else there is to do at a start."""
        done = _thread.allocate_lock()
        done.acquire()

        def connect() -> None:
            try:
                self._connect()
            finally:
                done.release()

        _thread.start_new_thread(connect, ())
        # A thread that is inside OpenSSL when the interpreter ends crashes the process.
        atexit.register(done.acquire, True, FIRST_S)

    def close(self) -> None:
        """Close what is idle; the next call opens a connection again."""
        while self._idle:
            self._idle.pop().close()

    def invoke(self, request: Request, body: bytes, *, ends: float) -> Answer:
        """Have an endpoint answer.

        Args:
            request: What is asked.
            body: What the container gets.
            ends: When to give up, by `time.monotonic`.

        Raises:
            UnavailableError: When SageMaker cannot be reached (code ``endpoint_unavailable``).
            TooLateError: When no answer came in time (code ``endpoint_timeout``).
            AWSError: When an answer was lost, or was none (code ``endpoint_failed``).
            CredentialsError: When there is nothing to sign with.
        """
        headers = {
            "Content-Type": request.content_type,
            "Accept": request.accept,
            f"{HEADER}Custom-Attributes": request.attributes,
        }
        return self._call(f"/endpoints/{request.endpoint}/invocations", headers, body, ends)

    def invoke_async(
        self, request: Request, *, location: str, inference_id: str, timeout_s: str = "", ends: float
    ) -> Answer:
        """Have an endpoint answer later, into a bucket.

        Args:
            request: What is asked.
            location: ``s3://`` URI of what the container gets.
            inference_id: At most 64 characters, for SageMaker's notifications.
            timeout_s: How long the container may take; empty for 15 minutes.
            ends: When to give up, by `time.monotonic`.

        Raises:
            ModelyardError: As `invoke` does.
        """
        headers = {
            f"{HEADER}Content-Type": request.content_type,
            f"{HEADER}Accept": request.accept,
            f"{HEADER}Custom-Attributes": request.attributes,
            f"{HEADER}Inference-Id": inference_id,
            f"{HEADER}InputLocation": location,
            **({f"{HEADER}InvocationTimeoutSeconds": timeout_s} if timeout_s else {}),
        }
        return self._call(f"/endpoints/{request.endpoint}/async-invocations", headers, b"", ends)

    def _call(self, path: str, headers: Mapping[str, str], body: bytes, ends: float) -> Answer:
        attempt = 1
        while True:
            try:
                answer = self._once(path, headers, body, ends)
            except NotSentError as error:
                if attempt == ATTEMPTS or not _paused(attempt, ends):
                    raise UnavailableError(
                        "SageMaker cannot be reached", next_step="Send the same request again."
                    ) from error
            except LostError as error:
                if attempt > 1 or not error.when_idle:
                    raise AWSError(
                        "the answer of the endpoint was lost",
                        code="endpoint_failed",
                        next_step="Send the same request again.",
                    ) from error
            except TimeoutError as error:
                raise TooLateError(
                    "the endpoint did not answer in the time that there was",
                    next_step="Send fewer instances at once; a model that takes this long belongs on sagemaker-async.",
                ) from error
            else:
                if not is_throttled(answer) or attempt == ATTEMPTS or not _paused(attempt, ends):
                    return answer
            attempt += 1

    def _once(self, path: str, headers: Mapping[str, str], body: bytes, ends: float) -> Answer:
        signed = self._signer.signed(self._keys(), host=self._named, path=path, headers=headers, body=body)
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._made()
        answer = connection.ask(path, signed, body, ends=ends)
        self._idle.append(connection)
        return answer

    def _made(self) -> KeptConnection:
        if self._with_tls and self._tls is None:
            import ssl  # 8 ms, which an emulator's caller is spared

            self._tls = ssl.create_default_context()
        return KeptConnection(self._host, self._port, tls=self._tls, max_body_bytes=MAX_ANSWER_BYTES)

    def _connect(self) -> None:
        connection = self._made()
        try:
            connection.connect()
        except OSError:
            return  # the first call meets it again, and says so
        self._idle.append(connection)


def open_runtime(environ: Mapping[str, str]) -> SageMakerRuntime:
    """The runtime of the region that a function runs in.

    Args:
        environ: ``AWS_REGION``, what `EnvironmentKeys` reads, and ``AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME`` where another
            server stands for SageMaker.
    """
    region = environ.get("AWS_REGION") or "us-east-1"
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    url = environ.get("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME") or f"https://runtime.sagemaker.{region}.{domain}"
    return SageMakerRuntime(url, signer=Signer(SERVICE, region), keys=EnvironmentKeys(environ))


def error_type(answer: Answer) -> str:
    """Which error of SageMaker's an answer is, like ``ModelError``; empty for an answer that is none."""
    if answer.status < 400:
        return ""
    named = answer.headers.get("x-amzn-errortype", "").partition(":")[0].rpartition("#")[2].strip()
    if named:
        return named
    if answer.status == BAD_REQUEST:  # some throttled calls were seen with this status, and the type in the body only
        return next((name for name in THROTTLED if name.encode() in answer.body[:1000]), "ValidationError")
    return _BY_STATUS.get(answer.status, f"HTTP {answer.status}")


_BY_STATUS = {424: "ModelError", 429: THROTTLED[0], 503: "ServiceUnavailable"}


def is_throttled(answer: Answer) -> bool:
    """Whether nothing was done for want of room, so that the same may be sent again."""
    return error_type(answer) in (*THROTTLED, LOADING)


def _paused(attempt: int, ends: float) -> bool:
    """Wait before another attempt; False where there is no time for it."""
    pause = PAUSE_S * 2 ** (attempt - 1) * (1 + os.urandom(1)[0] / 512)
    if time.monotonic() + 2 * pause > ends:
        return False
    time.sleep(pause)
    return True
