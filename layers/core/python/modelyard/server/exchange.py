"""`HttpExchange`: a request over HTTP, as the event that an endpoint knows, and a response of bytes.

What API Gateway establishes for a function (who asks, under which id) comes from SageMaker's way in here, or is not
known: nothing that a caller says of itself in a header is believed.
"""

import os
from typing import Any

from modelyard.serving.exchange import Exchange
from modelyard.serving.follow import Live
from modelyard.serving.response import MAX_RESPONSE_BYTES, too_large

NOBODY: dict[str, Any] = {}
JSON_HEADERS = {"content-type": "application/json"}


def _json(body: bytes, *, instances: int = 1, status: int = 200) -> dict[str, Any]:  # noqa: ARG001 - as for functions
    return {"statusCode": status, "headers": JSON_HEADERS, "body": body}


def _binary(body: bytes, headers: dict[str, str], *, instances: int) -> dict[str, Any]:  # noqa: ARG001
    return {"statusCode": 200, "headers": headers, "body": body}


class HttpExchange(Exchange):
    """One request to the server.

    Args:
        route: As API Gateway names it, like ``POST /models/wine/predict``.
        headers: Of the request, names in lower case.
        body: Of the request, held to the server's limit.
        live: The version that is loaded.
        proxy: The rest of the path, where the route ends with ``{proxy+}``.
        request_id: Left out, one is made.
        iam: Who asks, as the way in knows it.
    """

    __slots__ = ()

    json = staticmethod(_json)
    binary = staticmethod(_binary)

    def __init__(
        self,
        route: str,
        headers: dict[str, str],
        body: bytes,
        live: Live | None,
        *,
        proxy: str | None = None,
        request_id: str | None = None,
        iam: dict[str, str] | None = None,
    ) -> None:
        request_id = request_id or os.urandom(8).hex()
        context = NOBODY if iam is None else {"authorizer": {"iam": iam}}
        event: dict[str, Any] = {"routeKey": route, "headers": headers, "body": body, "requestContext": context}
        if proxy is not None:
            event["pathParameters"] = {"proxy": proxy}
        super().__init__(event, request_id, live)


def _json_for_lambda(body: bytes, *, instances: int = 1, status: int = 200) -> dict[str, Any]:
    _refuse_large(len(body), instances)
    return _json(body, instances=instances, status=status)


def _binary_for_lambda(body: bytes, headers: dict[str, str], *, instances: int) -> dict[str, Any]:
    _refuse_large((len(body) + 2) // 3 * 4, instances)
    return _binary(body, headers, instances=instances)


class LambdaExchange(HttpExchange):
    """A request whose answer goes back through a function, which returns no more than Lambda lets it.

    The audit line is written here, so an answer that cannot get there is refused here. What lies just below the limit
    is for the way in to decide: it knows how Lambda will write it.
    """

    __slots__ = ()

    json = staticmethod(_json_for_lambda)
    binary = staticmethod(_binary_for_lambda)


def _refuse_large(size: int, instances: int) -> None:
    if size > MAX_RESPONSE_BYTES:
        raise too_large(size, instances)
