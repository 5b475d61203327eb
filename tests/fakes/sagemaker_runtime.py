"""SageMaker's runtime on a socket: InvokeEndpoint and InvokeEndpointAsync in front of a container, and what goes wrong.

Every request's signature is checked as AWS checks it, with botocore's own signer. A `Harm` of the list is what becomes
of the next request; when the list is empty, the container answers.
"""

import base64
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from modelyard.serving.endpoint import Endpoint
from tests.fakes.http_server import HttpServer

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
ACCESS_KEY, SECRET_KEY = "AKIDOFTHEWAYIN", "secret-of-the-way-in"
ACCOUNT = "111122223333"


class Asked:
    """One request, as it came."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes, connection: int) -> None:
        self.path = path
        self.headers = headers
        self.body = body
        self.connection = connection

    @property
    def attributes(self) -> Any:
        """What the way in says of the request."""
        return json.loads(self.headers[ATTRIBUTES.lower()])


Reply = tuple[int, dict[str, str], bytes]
Container = Callable[[Asked], Reply]
Harm = Callable[["_Handler", Asked], None]


def refusal(kind: str, message: str | None, *, status: int = 400, **more: Any) -> Harm:
    """SageMaker answers with an error of its own."""
    return said(status, {"Message": message, **more}, kind=kind)


def said(status: int, document: Any, *, kind: str | None = None) -> Harm:
    """SageMaker answers with this JSON, or with this text."""

    def harm(handler: "_Handler", _asked: Asked) -> None:
        body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        handler.reply(status, {} if kind is None else {"x-amzn-ErrorType": kind}, body)

    return harm


def model_error(status: int, message: str) -> Harm:
    """What SageMaker makes of a container's answer that is not 2xx."""
    return lambda handler, _asked: handler.reply(*of_the_container(status, message))


def of_the_container(status: int, message: str, *, endpoint: str = "modelyard-sums") -> Reply:
    """A ModelError."""
    side = "server" if status >= 500 or status == 0 else "client"
    document = {
        "ErrorCode": f"{side.upper()}_ERROR_FROM_MODEL",
        "LogStreamArn": f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:/aws/sagemaker/Endpoints/{endpoint}",
        "Message": f'Received {side} error ({status}) from primary with message "{message}". See the logs.',
        "OriginalMessage": message,
        "OriginalStatusCode": status,
    }
    return 424, {"x-amzn-ErrorType": "ModelError"}, json.dumps(document).encode()


def raw(content: bytes) -> Harm:
    """These bytes, and the end of the connection."""

    def harm(handler: "_Handler", _asked: Asked) -> None:
        handler.wfile.write(content)
        handler.wfile.flush()
        handler.close_connection = True

    return harm


def reset(handler: "_Handler", _asked: Asked) -> None:
    """The request was read; the connection is gone."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def closing(handler: "_Handler", asked: Asked) -> None:
    """The container answers, and the server then closes the connection without saying so."""
    handler.reply(*handler.runtime.container(asked))
    handler.close_connection = True


def silence(seconds: float) -> Harm:
    """Nothing, for so long."""

    def harm(handler: "_Handler", asked: Asked) -> None:
        handler.runtime.ended.wait(seconds)
        reset(handler, asked)

    return harm


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    runtime: "FakeSageMakerRuntime"

    def setup(self) -> None:
        super().setup()
        self.runtime.connections += 1
        self.number = self.runtime.connections

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, body, self.number)
        self.runtime.asked.append(asked)
        problem = self.runtime.signature_problem(asked)
        if problem is not None:
            self.reply(
                403, {"x-amzn-ErrorType": "InvalidSignatureException"}, json.dumps({"message": problem}).encode()
            )
        elif self.runtime.harms:
            self.runtime.harms.pop(0)(self, asked)
        else:
            self.reply(*self.runtime.container(asked))

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class FakeSageMakerRuntime(HttpServer):
    """Serves one endpoint on a free port of 127.0.0.1 while the ``with`` block runs.

    Attributes:
        asked: The requests, in order.
        connections: How many there were.
        container: Answers what no harm is done to.
        harms: What becomes of the next requests.
    """

    def __init__(self, container: Container | None = None) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.container: Container = container or (lambda _asked: answer({"predictions": []}))
        self.harms: list[Harm] = []
        self.ended = threading.Event()
        super().__init__(type("Handler", (_Handler,), {"runtime": self}))

    @property
    def environment(self) -> dict[str, str]:
        """What Lambda and the stack would set for a way in beside it."""
        return {
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_SESSION_TOKEN": "token+of/the=way in",
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": self.url,
            "MODELYARD_MODEL": "weather",
            "MODELYARD_SAGEMAKER_ENDPOINT": "modelyard-weather",
            "MODELYARD_TARGET": "sagemaker-realtime",
        }

    def signature_problem(self, asked: Asked) -> str | None:
        """What AWS would have against the signature."""
        return signature_problem("POST", f"{self.url}{asked.path}", asked.headers, asked.body)

    def stop(self) -> None:
        """Be silent no longer, and end."""
        self.ended.set()
        super().stop()


def signature_problem(method: str, url: str, headers: dict[str, str], body: bytes) -> str | None:
    """What is wrong with a request's signature; None when botocore makes the same one.

    Args:
        method: Of the request.
        url: With the host that was asked.
        headers: Names in lower case.
        body: As it was sent.
    """
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if scheme != "AWS4-HMAC-SHA256" or set(parts) != {"Credential", "SignedHeaders", "Signature"}:
        return "it is not signed"
    signed = {name: headers[name] for name in parts["SignedHeaders"].split(";")}
    if signed.pop("host", None) != urlsplit(url).netloc:
        return "the host is not signed"
    unsigned = {name for name in headers if name.startswith("x-amz") or name == "content-type"} - set(signed)
    if unsigned:
        return f"{unsigned} are not signed"
    access_key, date, region, service, _ = parts["Credential"].split("/")
    moment = headers["x-amz-date"]
    if access_key != ACCESS_KEY or not moment.startswith(date) or service != "sagemaker":
        return f"{parts['Credential']} is of somebody else"
    auth = SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), service, region)
    request = AWSRequest(method, url, data=body, headers=signed)
    request.context["timestamp"] = moment
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return None if expected == parts["Signature"] else "the signature is another one"


def answer(document: Any, *, status: int = 200, **headers: str) -> Reply:
    """What Modelyard's server answers with JSON."""
    attributes = {"status": status, "h": {name.replace("_", "-"): value for name, value in headers.items()}}
    kind = "application/json" if status < 400 else "application/problem+json"
    return 200, {"Content-Type": kind, ATTRIBUTES: json.dumps(attributes)}, json.dumps(document).encode()


def container_of(endpoint: Endpoint) -> Container:
    """A container that has an endpoint answer, as the contract with the way in says."""

    def container(asked: Asked) -> Reply:
        known = asked.attributes
        headers = {
            "content-type": asked.headers.get("content-type", ""),
            "accept": asked.headers.get("accept", ""),
            **known.get("h", {}),
        }
        iam = {"userArn": known.get("caller"), "accountId": known.get("account")}
        event = {
            "version": "2.0",
            "routeKey": known["route"],
            "headers": headers,
            "body": base64.b64encode(asked.body).decode(),
            "isBase64Encoded": True,
            "pathParameters": {"proxy": known.get("proxy")},
            "requestContext": {"requestId": known["id"], "authorizer": {"iam": iam}},
        }
        response = endpoint.handle(event, None)
        status, content = response["statusCode"], response["body"]
        body = base64.b64decode(content) if response["isBase64Encoded"] else content.encode()
        if status >= 500:
            return of_the_container(status, body.decode())
        own = {name: value for name, value in response["headers"].items() if name != "content-type"}
        attributes = json.dumps({"status": status, "h": own})
        return 200, {"Content-Type": response["headers"]["content-type"], ATTRIBUTES: attributes}, body

    return container


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for what another thread does."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)
