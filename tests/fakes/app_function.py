"""The function of a model with an app of its own, as Lambda runs it: events in, responses out, audit lines."""

import copy
import json
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

PROJECT = Path(__file__).parents[2]


EVENT = json.loads((PROJECT / "tests" / "events" / "http_api_v2_predict.json").read_text())


CONTEXT = SimpleNamespace(aws_request_id="8f5f1c1e-0c5e-4f0e-9d0a-6b1f0e9c2d11")


PREFIX = "/models/sums/app"


REFRESH_S = 0.2


ROW = {"left": 1, "right": 2}


def asking(method: str, path: str, body: object = None, *, query: str = "", **changes: Any) -> dict[str, Any]:
    """An event as API Gateway makes it for a request below the app's prefix."""
    event = copy.deepcopy(EVENT)
    route = f"ANY {PREFIX}" + ("/{proxy+}" if path else "")
    event |= {"routeKey": route, "rawPath": PREFIX + path, "rawQueryString": query}
    event["requestContext"]["http"] |= {"method": method, "path": PREFIX + path}
    event["requestContext"]["routeKey"] = route
    if path:
        event["pathParameters"] = {"proxy": path.removeprefix("/")}
    event.pop("body", None)
    if body is not None:
        event["body"] = body if isinstance(body, str) else json.dumps(body)
    return {**event, **changes}


class Function:
    """The imported function, and what it wrote."""

    def __init__(self, module: ModuleType, written: Path) -> None:
        self.module = module
        self._written = written
        self.lines: list[dict[str, Any]] = []

    def ask(self, event: object, context: object = CONTEXT) -> tuple[int, Any]:
        """Status and body, as JSON where it is JSON."""
        response = self.raw(event, context)
        body = response["body"]
        return response["statusCode"], json.loads(body) if "json" in response["headers"]["content-type"] else body

    def raw(self, event: object, context: object = CONTEXT) -> dict[str, Any]:
        response: dict[str, Any] = self.module.handler(event, context)
        json.dumps(response)
        return response

    def read(self) -> list[dict[str, Any]]:
        whole = self._written.read_text().split("\n")[:-1]  # another thread may be writing the last one
        self.lines += map(json.loads, whole[len(self.lines) :])
        return self.lines

    @property
    def audits(self) -> list[dict[str, Any]]:
        return [line for line in self.read() if line["kind"] == "audit"]

    def events(self) -> list[str]:
        return [line["event"] for line in self.read() if line["kind"] == "event"]

    def flush(self) -> None:
        """Have all that comes after an answer done, as at the end of the process."""
        self.module.ENDPOINT._afterwards.flush(10.0)


def notes() -> list[str]:
    found: list[str] = sys.modules["tests.fakes.web_app"].NOTES
    return found


def until(reached: Any, *, within_s: float = 10.0) -> None:
    ends = time.monotonic() + within_s
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.01)
