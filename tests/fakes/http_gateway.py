"""API Gateway for a client that wants a socket: HTTP requests as events for an endpoint, its responses as HTTP."""

import base64
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fakes.endpoint import CONTEXT, event
from tests.fakes.http_server import HttpServer


class HttpGateway(HttpServer):
    """A server on a free port of 127.0.0.1.

    Args:
        handle: The function: event and context in, response out.
    """

    def __init__(self, handle: Callable[[Any, Any], dict[str, Any]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                path = self.path.partition("?")[0]
                made = event(self.command, path, body, headers=dict(self.headers.items()))
                response = handle(made, CONTEXT)
                content = response["body"].encode()
                if response["isBase64Encoded"]:
                    content = base64.b64decode(content)
                self.send_response(response["statusCode"])
                for name, value in response["headers"].items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(Handler)
