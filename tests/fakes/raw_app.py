"""An ASGI app without a framework: it knows no lifespan, and for one path gives no answer."""

from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    if scope["path"].endswith("/nothing"):
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": memoryview(scope["type"].encode())})
