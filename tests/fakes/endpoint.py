"""An endpoint of one model without Lambda and S3, asked as API Gateway asks: the event of a call, the response back."""

import base64
import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from modelyard.contract.document import parse
from modelyard.predictor.predictor import EngineName, Predictor
from modelyard.serving.endpoint import Endpoint
from modelyard.serving.feedback import Feedback
from modelyard.serving.follow import PointerFollower
from tests.fakes.objects import InMemoryObjects, promote

EVENT = json.loads((Path(__file__).parents[1] / "events" / "http_api_v2_predict.json").read_text())
CONTEXT = SimpleNamespace(aws_request_id="8f5f1c1e-0c5e-4f0e-9d0a-6b1f0e9c2d11")
TEXT_TYPES = ("application/json", "text/")
"""What API Gateway hands over as text; anything else, or no content type, comes as base64."""


def event(
    method: str, path: str, body: bytes | str | None = None, *, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """The event that API Gateway makes of a call; ``path`` is below one of a model's routes."""
    made = copy.deepcopy(EVENT)
    parts = path.removeprefix("/").split("/")
    key = path
    if parts[0] == "v2" and len(parts) > 3:
        key = f"/{'/'.join(parts[:3])}/{{proxy+}}"
        made["pathParameters"] = {"proxy": "/".join(parts[3:])}
    made["routeKey"] = made["requestContext"]["routeKey"] = f"{method} {key}"
    made["rawPath"] = made["requestContext"]["http"]["path"] = path
    made["requestContext"]["http"]["method"] = method
    made["headers"] = {
        **{name: value for name, value in made["headers"].items() if not name.startswith("content-")},
        **{name.lower(): value for name, value in (headers or {}).items()},
    }
    raw = body.encode() if isinstance(body, str) else body or b""
    if made["headers"].get("content-type", "").startswith(TEXT_TYPES):
        made["body"], made["isBase64Encoded"] = raw.decode("utf-8", "replace"), False
    else:
        made["body"], made["isBase64Encoded"] = base64.b64encode(raw).decode(), True
    if not raw:
        del made["body"]
    return made


class Answer:
    """A response as a client gets it; one that breaks the rules of every answer fails the test."""

    def __init__(self, response: dict[str, Any]) -> None:
        assert set(response) == {"statusCode", "headers", "body", "isBase64Encoded"}
        self.status: int = response["statusCode"]
        self.headers: dict[str, str] = response["headers"]
        self.type = self.headers["content-type"]
        self.content = (
            base64.b64decode(response["body"], validate=True)
            if response["isBase64Encoded"]
            else response["body"].encode()
        )
        assert (self.type == "application/problem+json") == (self.status >= 400)
        self.json: Any = json.loads(self.content, parse_constant=_refuse) if "json" in self.type else None
        if self.status >= 400:
            assert {"type", "title", "status", "code", "detail", "request_id"} <= set(self.json)
            assert self.json["status"] == self.status
            assert self.json["title"] != "Error"
            assert "Traceback" not in self.content.decode()

    @property
    def code(self) -> str:
        """The problem's code, or ``ok``."""
        return self.json["code"] if self.status >= 400 else "ok"


class EndpointStand:
    """One model behind an endpoint.

    Args:
        model: The ONNX file; ``None``: nothing is live.
        name: Of the model.
        engine: Which engine runs it.
        contract: Its JSON form.
        code: The model's own hooks.
        version: Its number.
    """

    def __init__(
        self,
        model: bytes | None,
        *,
        name: str = "weather",
        engine: EngineName = "standard",
        contract: dict[str, Any] | None = None,
        code: Any = None,
        version: int = 3,
        max_instances: int | None = None,
    ) -> None:
        self.name = name
        self.objects = InMemoryObjects()
        limits = {} if max_instances is None else {"max_instances": max_instances}
        if model is not None:
            pointer = promote(self.objects, name, model, version=version, revision=1)
            pointer["champion"]["contract"] = contract
            self.objects.put(f"deployments/{name}.json", json.dumps(pointer).encode())

        def load(deployed: Any, fetch: Any) -> Predictor:
            return Predictor.load(
                fetch(deployed.file),
                signature=deployed.signature,
                contract=None if deployed.contract is None else parse(deployed.contract),
                code=code,
                engine=engine,
                **limits,
            )

        self.endpoint = Endpoint(
            PointerFollower(self.objects, name, refresh_s=3600.0, load=load),
            model=name,
            make_feedback=lambda: Feedback(self.objects, model=name, wait_s=5.0),
        )
        self.endpoint.start()

    def send(self, made: Any) -> Answer:
        return Answer(self.endpoint.handle(made, CONTEXT))

    def get(self, path: str) -> Answer:
        return self.send(event("GET", path))

    def post(self, path: str, body: Any, *, content_type: str = "application/json", **headers: str) -> Answer:
        raw = body if isinstance(body, bytes | str) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send(event("POST", path, raw, headers={"content-type": content_type, **named}))

    def predict(self, *instances: Any) -> Answer:
        return self.post(f"/models/{self.name}/predict", {"instances": list(instances)})

    def label(self, *labels: Any) -> Answer:
        return self.post(f"/models/{self.name}/feedback", {"labels": list(labels)})

    def infer(self, *inputs: Any, **request: Any) -> Answer:
        return self.post(f"/v2/models/{self.name}/infer", {"inputs": list(inputs), **request})

    def infer_bytes(self, request: Any, *data: bytes) -> Answer:
        """A request with bytes after its JSON."""
        text = json.dumps(request).encode()
        return self.post(
            f"/v2/models/{self.name}/infer",
            b"".join((text, *data)),
            content_type="application/octet-stream",
            inference_header_content_length=str(len(text)),
        )


def _refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")
