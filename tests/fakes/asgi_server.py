"""An ASGI app on a socket: a server of the standard library in front of an event loop, for apps that are to be asked
over HTTP without one of the real servers."""

import asyncio
import threading
from collections.abc import Coroutine
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fakes.http_server import HttpServer


class AsgiServer(HttpServer):
    """Serves ``app`` on a free port of 127.0.0.1 while the ``with`` block runs, from its startup to its shutdown."""

    def __init__(self, app: Any) -> None:
        server = self
        self._app = app
        self._loop = asyncio.new_event_loop()
        self._events: asyncio.Queue[Any] = asyncio.Queue()
        self._said: asyncio.Queue[Any] = asyncio.Queue()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                status, headers, content = server.run(server.ask(self.command, self.path, self.headers.items(), body))
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name.decode("latin-1"), value.decode("latin-1"))
                if b"content-length" not in dict(headers):
                    self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST  # noqa: N815 - the base class looks for it

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(Handler)
        self._looping = threading.Thread(target=self._loop.run_forever, daemon=True)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Have the loop do something; wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def ask(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any, bytes]:
        """Status, headers and body of one answer."""
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        }
        await self._app(scope, receive, send)
        start, *parts = messages
        return start["status"], start["headers"], b"".join(part.get("body", b"") for part in parts)

    def start(self) -> None:
        super().start()
        self._looping.start()
        self._living = asyncio.run_coroutine_threadsafe(
            self._app({"type": "lifespan", "asgi": {"version": "3.0"}}, self._events.get, self._said.put), self._loop
        )
        assert self.run(self._lifespan("startup"))["type"] == "lifespan.startup.complete"

    def stop(self) -> None:
        super().stop()
        self.run(self._lifespan("shutdown"))
        self._living.result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._looping.join()
        self._loop.close()

    async def _lifespan(self, what: str) -> Any:
        await self._events.put({"type": f"lifespan.{what}"})
        return await self._said.get()
