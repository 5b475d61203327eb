"""API Gateway in front of the control plane: a call as the event that its function gets, the response read back."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

EVENT = json.loads((Path(__file__).parents[1] / "events" / "http_api_v2_control.json").read_text())
CALLER = EVENT["requestContext"]["authorizer"]["iam"]["userArn"]
CONTEXT = SimpleNamespace(
    aws_request_id="8f5f1c1e-0c5e-4f0e-9d0a-6b1f0e9c2d11",
    function_name="control",
    memory_limit_in_mb=1769,
    invoked_function_arn="arn:aws:lambda:eu-west-1:111122223333:function:control",
)


class Answer:
    """What the function answered; a body that is not what its content type says fails the test."""

    def __init__(self, response: dict[str, Any]) -> None:
        assert response["isBase64Encoded"] is False
        self.status: int = response["statusCode"]
        self.headers: dict[str, str] = response["headers"]
        self.text: str = response["body"]
        self.body: Any = json.loads(self.text) if "json" in self.headers["content-type"] else None
        assert (self.headers["content-type"] == "application/problem+json") == (self.status >= 400)

    @property
    def code(self) -> str:
        """The problem's code, after a look at the whole problem."""
        assert {"type", "title", "status", "code", "detail", "request_id"} <= set(self.body)
        assert self.body["status"] == self.status
        assert self.body["title"] != "Error"  # what a status gets that has no title of its own
        assert self.body["request_id"]
        assert "Traceback" not in self.text
        return self.body["code"]


def event(method: str, path: str, body: Any = None, *, query: str = "", **changes: Any) -> dict[str, Any]:
    """The event of a call; ``body`` is JSON to send, or the raw text."""
    made = copy.deepcopy(EVENT)
    made["rawPath"] = made["requestContext"]["http"]["path"] = quote(path, safe="/%", errors="surrogatepass")
    made["requestContext"]["http"]["method"] = method
    made["rawQueryString"] = query
    if body is None:
        del made["body"], made["headers"]["content-type"]
    else:
        made["body"] = body if isinstance(body, str) else json.dumps(body)
    made.update(changes)
    return made


class Gateway:
    """Calls a function as a signed caller does.

    Args:
        handler: The function, or an adapter around an app.
        caller: IAM ARN that the authorizer established; None: it did not.
    """

    def __init__(self, handler: Callable[[Any, Any], dict[str, Any]], *, caller: str | None = CALLER) -> None:
        self._handler = handler
        self.caller = caller

    def send(self, made: dict[str, Any]) -> Answer:
        if self.caller is None:
            made["requestContext"].pop("authorizer", None)
        else:
            made["requestContext"]["authorizer"]["iam"]["userArn"] = self.caller
        return Answer(self._handler(made, CONTEXT))

    def get(self, path: str, query: str = "", **headers: str) -> Answer:
        made = event("GET", path, query=query)
        made["headers"].update(headers)
        return self.send(made)

    def post(self, path: str, body: Any = None) -> Answer:
        return self.send(event("POST", path, body))

    def put(self, path: str, body: Any = None) -> Answer:
        return self.send(event("PUT", path, body))
