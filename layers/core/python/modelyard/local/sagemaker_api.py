"""`LocalSageMaker`: the REST API of SageMaker's runtime in front of ASGI apps, for the local AWS, which has none.

::

    POST /endpoints/<name>/invocations         ─► the app's POST /invocations ─► its answer, or ModelError
    POST /endpoints/<name>/async-invocations   ─► 202; later S3 in ─► the same ─► S3 out, or a failure there
    GET  /ping                                 ─► the first app's own

The rule: what the way in meets in the cloud it meets here, limits and errors too, over the same code. Forms of messages
and sizes are SageMaker's, as its API reference has them and as they were seen. Who calls has to have signed for
SageMaker; whose signature it is, is not checked.
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

import asyncio
import contextlib
import json
import os
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from modelyard.aws.objects import open_bucket
from modelyard.errors import ModelyardError
from modelyard.local.containers import App, ContainerError, ContainerReply, Receive, Running, Scope, Send, ask
from modelyard.serving.audit import write_failure

MIB = 1024 * 1024
CONTAINER_S = 60.0
ASYNC_S = 900
"""How long a container may take: of a request that waits, and of one that does not where it asks for nothing else."""

LIMITS = {"sagemaker-serverless": 4 * MIB, "sagemaker-realtime": 25 * MIB, "sagemaker-async": 1024 * MIB}
"""Largest body of each target, both ways."""

ASYNC = "sagemaker-async"
AT_ONCE = 4
"""Asynchronous requests that a container works on at the same time."""

VARIANT = "AllTraffic"
_PATH = re.compile(r"/endpoints/([A-Za-z0-9-]{1,63})/(async-)?invocations")
_PREFIX = "x-amzn-sagemaker-"
_ATTRIBUTES = f"{_PREFIX}custom-attributes"
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/,]+/\d{8}/[a-z0-9-]+/sagemaker/aws4_request,")

Headers = dict[str, str]


class Bucket(Protocol):
    """What is used of `modelyard.aws.objects.Objects`."""

    def get(self, key: str) -> tuple[bytes, str]:
        """Bytes and ETag of an object."""
        ...

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        ...


@dataclass(frozen=True, slots=True)
class LocalEndpoint:
    """One endpoint.

    Attributes:
        app: Its container.
        target: Which kind of endpoint it is, a key of `LIMITS`.
        output: ``s3://`` URI below which asynchronous answers are written.
        failure: The same for what failed.
    """

    app: App
    target: str
    output: str = ""
    failure: str = ""


class RuntimeRefusalError(Exception):
    """An error in SageMaker's form."""

    def __init__(self, kind: str, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.document = {"Message": message, **more}


class LocalSageMaker:
    """The ASGI app.

    Args:
        endpoints: By their names.
        open_: Opens a bucket; left out, with the credentials of the process.
        account: The account's number, for messages.
        region: For messages.
        container_s: How long a container may take; shorter in tests.
    """

    def __init__(
        self,
        endpoints: Mapping[str, LocalEndpoint],
        *,
        open_: Callable[[str], Bucket] | None = None,
        account: str = "000000000000",
        region: str = "us-east-1",
        container_s: float = CONTAINER_S,
    ) -> None:
        self._endpoints = endpoints
        self._open = open_ or (lambda name: open_bucket(name, os.environ))
        self._account = account
        self._region = region
        self._container_s = container_s
        self._room = {name: asyncio.Semaphore(AT_ONCE) for name in endpoints}
        self._working: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry point."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/ping" and self._endpoints:
            await next(iter(self._endpoints.values())).app(scope, receive, send)
        elif scope["type"] == "http":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            try:
                status, answered, body = await self._answer(scope, headers, receive)
            except RuntimeRefusalError as error:
                status, body = error.status, json.dumps(error.document).encode()
                answered = {"content-type": "application/json", "x-amzn-errortype": error.kind}
            await _send(send, status, {**answered, "x-amzn-requestid": str(uuid.uuid4())}, body)

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive) -> tuple[int, Headers, bytes]:
        found = _PATH.fullmatch(scope["path"])
        if found is None or scope["method"] != "POST":
            raise RuntimeRefusalError("UnknownOperationException", 404, "There is no such operation.")
        if not _SIGNED.match(headers.get("authorization", "")):
            raise RuntimeRefusalError("MissingAuthenticationTokenException", 403, "Missing Authentication Token")
        name, later = found[1], found[2] is not None
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            raise RuntimeRefusalError("ValidationError", 400, f"Endpoint {name} of account {self._account} not found.")
        if later != (endpoint.target == ASYNC):
            raise RuntimeRefusalError(
                "ValidationError", 400, f"Endpoint {name} does not support this kind of invocation."
            )
        attributes = headers.get(_ATTRIBUTES, "")
        if len(attributes) > 1024 or not attributes.isascii():
            raise _invalid("customAttributes", "Member must have length less than or equal to 1024")
        body = await _body(receive, 0 if later else LIMITS[endpoint.target])
        if later:
            return self._later(name, endpoint, headers)
        reply = await self._invoked(name, endpoint, headers, body, self._container_s)
        answered = {"content-type": reply.headers.get("content-type", "application/octet-stream")}
        if _ATTRIBUTES in reply.headers:
            answered[_ATTRIBUTES] = reply.headers[_ATTRIBUTES]
        return 200, {**answered, "x-amzn-invoked-production-variant": VARIANT}, reply.body

    async def _invoked(
        self, name: str, endpoint: LocalEndpoint, headers: Headers, body: bytes, timeout_s: float
    ) -> ContainerReply:
        """The container's answer.

        Raises:
            RuntimeRefusalError: A ModelError, when it is not 2xx.
        """
        kept = ("content-type", "accept", _ATTRIBUTES, f"{_PREFIX}inference-id")
        handed_on = {key: headers[key] for key in kept if key in headers}
        try:
            limit = LIMITS[endpoint.target]
            reply = await ask(endpoint.app, handed_on, body, timeout_s=timeout_s, most_bytes=limit)
        except ContainerError as error:
            raise self._model_error(name, 0, str(error)) from error
        if not 200 <= reply.status < 300:
            raise self._model_error(name, reply.status, reply.body.decode(errors="replace"))
        return reply

    def _model_error(self, name: str, status: int, message: str) -> RuntimeRefusalError:
        side = "client" if 400 <= status < 500 else "server"
        group = f"/aws/sagemaker/Endpoints/{name}"
        return RuntimeRefusalError(
            "ModelError",
            424,
            f'Received {side} error ({status}) from primary with message "{message}". See {group} in account '
            f"{self._account} for more information.",
            ErrorCode=f"{side.upper()}_ERROR_FROM_MODEL",
            LogStreamArn=f"arn:aws:logs:{self._region}:{self._account}:log-group:{group}",
            OriginalMessage=message,
            OriginalStatusCode=status,
        )

    # -- asynchronous -------------------------------------------------------------------------------------------------

    def _later(self, name: str, endpoint: LocalEndpoint, headers: Headers) -> tuple[int, Headers, bytes]:
        location = headers.get(f"{_PREFIX}inputlocation", "")
        if not re.fullmatch(r"s3://[^/]+/.+", location):
            raise _invalid(
                "inputLocation", "Member must satisfy regular expression pattern: ^(https|s3)://([^/]+)/?(.*)$"
            )
        inference_id, made = headers.get(f"{_PREFIX}inference-id") or str(uuid.uuid4()), uuid.uuid4()
        output, failure = f"{endpoint.output}{made}.out", f"{endpoint.failure}{made}-error.out"
        task = asyncio.ensure_future(self._work(name, endpoint, headers, (location, output, failure)))
        self._working.add(task)  # a task that nobody holds may be collected
        task.add_done_callback(self._working.discard)
        answered = {
            "content-type": "application/json",
            f"{_PREFIX}outputlocation": output,
            f"{_PREFIX}failurelocation": failure,
        }
        return 202, answered, json.dumps({"InferenceId": inference_id}).encode()

    async def _work(self, name: str, endpoint: LocalEndpoint, headers: Headers, where: tuple[str, str, str]) -> None:
        """Have the container answer out of one object into another."""
        given, output, failure = where
        said = {
            "content-type": headers.get(f"{_PREFIX}content-type", "application/octet-stream"),
            "accept": headers.get(f"{_PREFIX}accept", "*/*"),
            **{key: headers[key] for key in (_ATTRIBUTES, f"{_PREFIX}inference-id") if key in headers},
        }
        timeout_s = float(headers.get(f"{_PREFIX}invocationtimeoutseconds") or ASYNC_S)
        try:
            async with self._room[name]:
                body = await asyncio.to_thread(self._read, given)
                reply = await self._invoked(name, endpoint, said, body, timeout_s)
            await asyncio.to_thread(self._write, output, reply.body)
        except (RuntimeRefusalError, ModelyardError) as error:
            try:
                await asyncio.to_thread(self._write, failure, str(error).encode())
            except ModelyardError as unwritten:
                write_failure("async_failure_not_written", unwritten, endpoint=name)

    def _read(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        content, _ = self._open(bucket).get(key)
        return bytes(content)

    def _write(self, uri: str, content: bytes) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self._open(bucket).put(key, content)

    # -- start and end ------------------------------------------------------------------------------------------------

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and end every container with this app; none of them answers before all do."""
        async with contextlib.AsyncExitStack() as running:
            await receive()
            for app in {id(endpoint.app): endpoint.app for endpoint in self._endpoints.values()}.values():
                problem = await running.enter_async_context(Running(app, scope))
                if problem is not None:
                    await send({"type": "lifespan.startup.failed", "message": problem})
                    return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            for task in list(self._working):
                task.cancel()
            await asyncio.gather(*self._working, return_exceptions=True)
        await send({"type": "lifespan.shutdown.complete"})


async def _body(receive: Receive, most: int) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size <= most:
            parts.append(part)  # the rest is read and thrown away, so that the caller comes to read what is wrong
        more = message.get("more_body", False)
    if size > most:
        raise _invalid("body", f"Member must have length less than or equal to {most}")
    return b"".join(parts)


def _invalid(what: str, constraint: str) -> RuntimeRefusalError:
    message = f"1 validation error detected: Value at '{what}' failed to satisfy constraint: {constraint}"
    return RuntimeRefusalError("ValidationError", 400, message)


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    sent.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
