"""The server's endpoint asked as a function is: events in, HTTP API responses out, an event loop in between."""

import asyncio
import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from modelyard.server.endpoint import Probes, ServedEndpoint
from modelyard.server.exchange import HttpExchange
from modelyard.server.settings import ServerSettings

ANSWER_S = 30.0
SETTINGS = {"MODELYARD_MODEL": "any", "MODELYARD_ARTIFACT_BUCKET": "none"}


@cache
def a_loop() -> asyncio.AbstractEventLoop:
    """One for all tests, that goes on until they end."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


class LoopedEndpoint(ServedEndpoint):
    """In the place of `modelyard.serving.endpoint.Endpoint`, with the same arguments."""

    def __init__(self, follower: Any, **others: Any) -> None:
        settings = ServerSettings.read(SETTINGS)
        super().__init__(
            follower,
            loop=a_loop(),
            threads=ThreadPoolExecutor(2),
            settings=settings,
            probes=Probes(settings.max_batch),
            timeout_s=10.0,
            **others,
        )

    def handle(self, event: Any, context: Any) -> dict[str, Any]:
        return asyncio.run_coroutine_threadsafe(self.answer(event), a_loop()).result(ANSWER_S)

    async def answer(self, event: Any) -> dict[str, Any]:
        """The response, of bytes in base64 as API Gateway has them."""
        raw = event.get("body") or ""
        context = event["requestContext"]
        exchange = HttpExchange(
            event["routeKey"],
            event["headers"],
            base64.b64decode(raw) if event["isBase64Encoded"] else raw.encode(),
            self.live,
            proxy=event.get("pathParameters", {}).get("proxy"),
            request_id=context["requestId"],
            iam=context.get("authorizer", {}).get("iam"),
        )
        response = await self.serve(exchange)
        body = response["body"]
        content = body if isinstance(body, bytes) else body.encode()
        return {**response, "body": base64.b64encode(content).decode(), "isBase64Encoded": True}
