"""A stand-in for S3 in a process of its own, so that serving an object takes nothing from whoever is measured.

Plain HTTP/1.1 with keep-alive: GET with ETag, 304 and 404, HEAD, and PUT. Answers are made when an object is put, so a
GET is one look into a dictionary and one write; a large object lies in a file, from which Linux sends it without a
copy, since S3 would take nothing from this machine's processors and memory. It stamps each request with
`time.monotonic`, which all processes of a machine share.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import Any, Self

LAST_MODIFIED = "Sat, 21 Nov 2026 10:00:00 GMT"
LARGE_BYTES = 1_000_000


class Bucket:
    """A bucket while the ``with`` block runs.

    Args:
        processors: Where the process may run; everywhere by default.
    """

    name = "artifacts"

    def __init__(self, processors: set[int] | None = None) -> None:
        self._processors = processors

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
        if self._processors and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self._process.pid, self._processors)
        assert self._process.stdout is not None  # noqa: S101 - PIPE was asked for
        self.address = self._process.stdout.readline().decode().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        url = f"{self.address}/{self.name}/{key}"
        with urllib.request.urlopen(urllib.request.Request(url, content, method="PUT")):  # noqa: S310 - our own
            pass

    def requests(self) -> list[tuple[str, str, float, float]]:
        """Method, path, when it was there and when it was answered, of each request since this was last asked."""
        with urllib.request.urlopen(f"{self.address}/requests") as answer:  # noqa: S310 - our own
            return [tuple(line) for line in json.load(answer)]

    @property
    def environment(self) -> dict[str, str]:
        """What Lambda would set for a function beside this bucket."""
        return {
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": self.address,
            "ORT_DISABLE_TELEMETRY": "1",  # nothing measured here calls anybody outside
        }


class _Connection(asyncio.Protocol):
    def __init__(self, objects: dict[str, tuple[str, bytes, Any]], seen: list[Any]) -> None:
        self._objects = objects  # the content is bytes, or a file of them
        self._seen = seen
        self._read = bytearray()
        self._sending: asyncio.Task[int] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            lines = self._read[:end].decode("latin-1").split("\r\n")
            headers = {name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines[1:])}
            size = int(headers.get("content-length", 0))
            if headers.pop("expect", None):  # boto3 asks before it sends a body
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self._read[:end] = b"\r\n".join(
                    x.encode("latin-1") for x in lines if not x.lower().startswith("expect")
                )
                continue
            if len(self._read) < end + 4 + size:
                return
            body = bytes(self._read[end + 4 : end + 4 + size])
            del self._read[: end + 4 + size]
            method, target, _ = lines[0].split(" ")
            self._answer(method, target.partition("?")[0], headers, body)

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        came = time.monotonic()
        if path == "/requests":
            self._send("200 OK", json.dumps(self._seen).encode())
            self._seen.clear()
            return
        if method == "PUT":
            etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nETag: {etag}\r\nLast-Modified: {LAST_MODIFIED}\r\n"
            )
            content: Any = body
            if len(body) >= LARGE_BYTES:
                content = tempfile.TemporaryFile()  # noqa: SIM115 - it is there as long as the object is
                content.write(body)
                content.flush()
            self._objects[path] = (etag, f"{head}\r\n".encode(), content)
            self._send("200 OK", b"", f"ETag: {etag}\r\n")
        elif (found := self._objects.get(path)) is None:
            self._send("404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>")
        elif headers.get("if-none-match") == found[0]:
            self._transport.write(f"HTTP/1.1 304 Not Modified\r\nETag: {found[0]}\r\n\r\n".encode())
        else:
            _, head, content = found
            self._transport.write(head)
            if method == "GET" and isinstance(content, bytes):
                self._transport.write(content)
            elif method == "GET":  # the transport reads nothing meanwhile, so no other answer gets between
                self._sending = asyncio.ensure_future(asyncio.get_running_loop().sendfile(self._transport, content))
        self._seen.append((method, path, came, time.monotonic()))

    def _send(self, status: str, content: bytes, more: str = "") -> None:
        self._transport.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{more}\r\n".encode() + content)


async def _serve() -> None:
    objects: dict[str, tuple[str, bytes, Any]] = {}
    seen: list[Any] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(objects, seen), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    ended = asyncio.Event()
    loop.add_reader(0, ended.set)  # whoever started it is gone
    await ended.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve())
