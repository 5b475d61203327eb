"""An S3 of two verbs over HTTP: GET with ETag and 304, and PUT.

For what has to go through a real client and a socket: the obstore client's tests and the cold-start benchmark.
"""

import contextlib
import hashlib
import time
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

from tests.fakes.http_server import HttpServer


class HttpBucket(HttpServer):
    """Serves a bucket on a free port of 127.0.0.1 while the ``with`` block runs.

    Attributes:
        requests: (path, headers) of each request, in order.
        status: Answers every request with this status while it is set.
        delay_s: How long each answer takes.
        written: (key, when by `time.monotonic`) of each object that a client wrote, in order.
    """

    def __init__(self, name: str = "artifacts") -> None:
        self.name = name
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.status: int | None = None
        self.delay_s = 0.0
        self.written: list[tuple[str, float]] = []
        bucket = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._note()
                content = bucket.objects.get(unquote(self.path).removeprefix(f"/{bucket.name}/"))
                etag = None if content is None else f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
                if bucket.status is not None:
                    self._answer(bucket.status, b"<Error><Code>Refused</Code></Error>")
                elif content is None:
                    self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
                elif self.headers.get("If-None-Match") == etag:
                    self._answer(304, b"", etag)
                else:
                    self._answer(200, content, etag)

            def do_PUT(self) -> None:
                self._note()
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if bucket.status is not None:
                    self._answer(bucket.status, b"<Error><Code>Refused</Code></Error>")
                    return
                key = unquote(self.path).removeprefix(f"/{bucket.name}/")
                bucket.objects[key] = content
                bucket.written.append((key, time.monotonic()))
                self._answer(200, b"", f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"')

            def _note(self) -> None:
                headers = {key.lower(): value for key, value in self.headers.items()}
                bucket.requests.append((unquote(self.path), headers))
                time.sleep(bucket.delay_s)

            def _answer(self, status: int, content: bytes, etag: str | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Last-Modified", "Sat, 21 Nov 2026 10:00:00 GMT")
                if etag:
                    self.send_header("ETag", etag)
                with contextlib.suppress(ConnectionError):  # a client may have given up
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
                pass

        super().__init__(Handler)

    def put(self, key: str, content: bytes) -> None:
        self.objects[key] = content

    @property
    def environment(self) -> dict[str, str]:
        """What Lambda would set for a function beside this bucket."""
        return {
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": self.url,
        }
