"""Modelyard's server as a process beside a bucket, asked over sockets as `tests.fakes.endpoint` asks an endpoint."""

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from benchmarks.measuring.server import free_port
from tests.fakes.endpoint import Answer, event
from tests.fakes.http_bucket import HttpBucket
from tests.fakes.objects import promote

ROOT = Path(__file__).parents[2]
START_S, ANSWER_S, END_S = 60.0, 60.0, 30.0
ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
WAYS = ("http", "sagemaker")
"""Straight to the model's route, and to SageMaker's with what the way in says of the request."""

OF_THE_CONNECTION = {"host", "content-length", "connection", "transfer-encoding"}


class ServedStand:
    """A server of some models while the ``with`` block runs.

    Args:
        models: The ONNX file of each; ``None``: nothing of it is live.
        engine: Which engine runs them.
        contracts: Of a model, its JSON form.
        version: Number of each one's version.
        path: Folders with the models' own code.
        each: More variables of a model.
        variables: More of the server's, without ``MODELYARD_``.

    Attributes:
        bucket: Where pointers and models lie.
        process: The server; its workers are others.
    """

    def __init__(
        self,
        models: Mapping[str, bytes | None],
        *,
        engine: str = "lean",
        contracts: Mapping[str, Any] | None = None,
        version: int = 3,
        path: Path | None = None,
        each: Mapping[str, dict[str, str]] | None = None,
        **variables: object,
    ) -> None:
        self.names = list(models)
        self.bucket = HttpBucket()
        for name, model in models.items():
            if model is None:
                continue
            pointer = promote(self.bucket, name, model, version=version, revision=1)
            pointer["champion"]["contract"] = (contracts or {}).get(name)
            self.bucket.put(f"deployments/{name}.json", json.dumps(pointer).encode())
        self.port = free_port()
        own = [{"MODELYARD_MODEL": name, **(each or {}).get(name, {})} for name in models]
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": "" if path is None else str(path),
            "MODELYARD_ARTIFACT_BUCKET": self.bucket.name,
            "MODELYARD_ENGINE": engine,
            "MODELYARD_REFRESH_S": "3600",
            "MODELYARD_SERVER_PORT": str(self.port),
            "MODELYARD_SERVER_WORKERS": "1",
            **{f"MODELYARD_{name}": str(value) for name, value in variables.items()},
        }
        if len(own) == 1:
            self._environment |= own[0]
        else:
            self._environment |= {f"MODELYARD_MODEL_{at}": json.dumps(one) for at, one in enumerate(own, start=1)}
        self._folder = tempfile.TemporaryDirectory(prefix="served-")
        self._log = Path(self._folder.name) / "log"
        self._read = 0  # bytes of the log that were looked at

    # -- the process --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.bucket.__enter__()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "modelyard.server"],
                env={**self._environment, **self.bucket.environment},
                cwd=self._folder.name,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.connection = self.connect()
        try:
            self._wait()
        except BaseException:
            self.process.kill()
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()
        try:
            self.end()
        finally:
            self.process.kill()
            self.process.wait()
            self.bucket.__exit__(kind, error, trace)
            self._folder.cleanup()

    def end(self) -> int:
        """Ask it to end, and wait until it has; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_S)

    def _wait(self) -> None:
        ends = time.monotonic() + START_S
        while time.monotonic() < ends and self.process.poll() is None:
            try:
                if self.ask("GET", "/ping")[0] == 200:
                    return
            except OSError:
                self.connection.close()
            time.sleep(0.02)
        raise AssertionError(f"the server does not answer:\n{self.written()}")

    # -- what it says -------------------------------------------------------------------------------------------------

    def written(self) -> str:
        """Its whole log."""
        return self._log.read_text("utf-8", "replace")

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged since this was asked last; what is not JSON fails."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
            self._read += len(new)
        try:
            return [json.loads(line) for line in new.splitlines()]
        except ValueError as error:
            raise AssertionError(f"not all of the log is JSON:\n{new.decode('utf-8', 'replace')}") from error

    def audits(self) -> list[dict[str, Any]]:
        """The audit lines among them; an event of a level above info is one that nobody expected."""
        new = self.lines()
        unexpected = [line for line in new if line["kind"] == "event" and line["level"] != "info"]
        assert not unexpected, unexpected
        return [line for line in new if line["kind"] == "audit"]

    # -- what callers do ----------------------------------------------------------------------------------------------

    def connect(self) -> http.client.HTTPConnection:
        """Another connection."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one answer, on the connection that is kept."""
        self.connection.request(method, path, body, dict(headers or {}))
        response = self.connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()

    def send(self, made: dict[str, Any], way: str = "http") -> Answer:
        """The answer to what API Gateway would hand to a function."""
        raw = made.get("body") or ""
        body = base64.b64decode(raw, validate=True) if made["isBase64Encoded"] else raw.encode()
        headers = {name: value for name, value in made["headers"].items() if name not in OF_THE_CONNECTION}
        if way == "sagemaker":
            return self._invoke(made, headers, body)
        method, path = made["requestContext"]["http"]["method"], quote(made["rawPath"])
        return answered(*self.ask(method, path, body, headers))

    def _invoke(self, made: dict[str, Any], headers: dict[str, str], body: bytes) -> Answer:
        iam = made["requestContext"].get("authorizer", {}).get("iam", {})
        told = {
            "route": made["routeKey"],
            "proxy": made.get("pathParameters", {}).get("proxy"),
            "id": made["requestContext"]["requestId"],
            "caller": iam.get("userArn"),
            "account": iam.get("accountId"),
            "h": {key: value for key, value in headers.items() if key not in ("content-type", "accept")},
        }
        if "content-type" not in headers:
            told["h"]["content-type"] = ""
        sent = {
            "content-type": headers.get("content-type", "application/octet-stream"),
            "accept": headers.get("accept", "application/json"),
            ATTRIBUTES: json.dumps({key: value for key, value in told.items() if value is not None}),
        }
        status, came, content = self.ask("POST", "/invocations", body, sent)
        said = json.loads(came.pop(ATTRIBUTES))
        assert status == (said["status"] if said["status"] >= 500 else 200)
        assert said["h"].items() <= came.items()
        return answered(said["status"], came, content)

    def slowest_meanwhile(self, work: Callable[[], object]) -> float:
        """Seconds of the slowest ping while others do something."""
        thread, slowest = threading.Thread(target=work), 0.0
        thread.start()
        while thread.is_alive():
            began = time.monotonic()
            assert self.ask("GET", "/ping")[0] == 200
            slowest = max(slowest, time.monotonic() - began)
        return slowest

    def get(self, path: str, way: str = "http") -> Answer:
        return self.send(event("GET", path), way)

    def post(self, path: str, body: Any, way: str = "http", **headers: str) -> Answer:
        raw = body if isinstance(body, bytes | str) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send(event("POST", path, raw, headers={"content-type": "application/json", **named}), way)

    def predict(self, *instances: Any, model: str | None = None, way: str = "http") -> Answer:
        return self.post(f"/models/{model or self.names[0]}/predict", {"instances": list(instances)}, way)


def answered(status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    """An answer over HTTP, held to what must hold of every endpoint's."""
    assert headers["content-length"] == str(len(content))
    return Answer(
        {
            "statusCode": status,
            "headers": dict(headers),
            "body": base64.b64encode(content).decode(),
            "isBase64Encoded": True,
        }
    )
