"""Between Lambda and the app: Mangum, which never lets an event raise.

An exception out of a handler costs the caller a bare 502 and, on the local AWS, the function its process.
"""

import asyncio
from functools import cache
from typing import Any

from mangum import Mangum
from mangum.adapter import DEFAULT_TEXT_MIME_TYPES
from mangum.types import ASGI

from modelyard.control.frame import Journal
from modelyard.errors import RequestError
from modelyard.serving.problem import CONTENT_TYPE, problem_response


class Adapter:
    """Lambda's entry point for an ASGI app behind an HTTP API.

    Args:
        app: The app.
        journal: Where an event that is no request is kept.
    """

    def __init__(self, app: ASGI, *, journal: Journal) -> None:
        asyncio.set_event_loop(_event_loop())
        self._journal = journal
        # Content types that are not named here are sent as base64, which a person cannot read in a console.
        self._mangum = Mangum(app, lifespan="off", text_mime_types=[*DEFAULT_TEXT_MIME_TYPES, CONTENT_TYPE])

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        """Answer one event of payload format 2.0."""
        asyncio.set_event_loop(_event_loop())
        try:
            return self._mangum(event, context)
        except Exception as error:  # noqa: BLE001 - the last line of defence, outside the app's own
            request_id = str(getattr(context, "aws_request_id", None) or "unknown")
            self._journal.failure(error, request_id=request_id)
            refusal = RequestError(
                "the event is not a request that API Gateway's HTTP API passes on (payload format 2.0)",
                code="invalid_event",
                next_step="Call the API's URL, not the function.",
            )
            return problem_response(refusal, request_id=request_id)


@cache
def _event_loop() -> asyncio.AbstractEventLoop:
    """One loop per process: Mangum takes the thread's current one, and newer Pythons warn when there is none."""
    return asyncio.new_event_loop()
