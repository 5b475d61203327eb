"""Credentials from the endpoint that the environment names, as under SnapStart."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from modelyard.aws.container_credentials import ContainerCredentials
from modelyard.aws.objects import open_bucket
from modelyard.errors import CredentialsError
from tests.fakes.http_bucket import HttpBucket

PATH = "/2021-04-23/credentials"


class CredentialEndpoint:
    def __init__(self) -> None:
        self.reads = 0
        self.status = 200
        self.key = "AKID"
        self.valid_for = timedelta(hours=6)
        self.raw: bytes | None = None
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.reads += 1
                right = (self.path, self.headers.get("Authorization")) == (PATH, "token")
                body = endpoint.body if endpoint.raw is None else endpoint.raw
                self.send_response(endpoint.status if right else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def body(self) -> bytes:
        expires = (datetime.now(UTC) + self.valid_for).isoformat().replace("+00:00", "Z")
        return json.dumps(
            {"AccessKeyId": self.key, "SecretAccessKey": "secret", "Token": "session", "Expiration": expires}
        ).encode()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{self._server.server_address[1]}{PATH}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "token",
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def endpoint() -> Iterator[CredentialEndpoint]:
    served = CredentialEndpoint()
    yield served
    served.close()


@pytest.fixture
def bucket() -> Iterator[HttpBucket]:
    with HttpBucket() as served:
        served.put("key", b"content")
        yield served


def environment(endpoint: CredentialEndpoint, bucket: HttpBucket) -> dict[str, str]:
    found = {"AWS_ENDPOINT_URL": bucket.environment["AWS_ENDPOINT_URL"], "AWS_REGION": "eu-west-1"}
    return {**found, **endpoint.environment}


def test_requests_are_signed_with_what_the_endpoint_gives_and_it_is_asked_once(endpoint, bucket):
    objects = open_bucket(bucket.name, environment(endpoint, bucket))
    assert endpoint.reads == 0
    for _ in range(5):
        objects.get("key")
    objects.put("other", b"x")
    assert endpoint.reads == 1
    assert {headers["x-amz-security-token"] for _, headers in bucket.requests} == {"session"}
    assert all("Credential=AKID/" in headers["authorization"] for _, headers in bucket.requests)


def test_credentials_that_end_soon_are_asked_for_again(endpoint, bucket):
    endpoint.valid_for = timedelta(seconds=30)
    objects = open_bucket(bucket.name, environment(endpoint, bucket))
    objects.get("key")
    endpoint.key = "NEXT"
    threading.Event().wait(0.2)  # not for every request of a burst
    objects.get("key")
    assert endpoint.reads == 2
    assert "Credential=NEXT/" in bucket.requests[-1][1]["authorization"]


def test_to_reconnect_forgets_credentials(endpoint, bucket):
    objects = open_bucket(bucket.name, environment(endpoint, bucket))
    objects.get("key")
    endpoint.key = "NEXT"
    objects.reconnect()
    objects.get("key")
    assert "Credential=NEXT/" in bucket.requests[-1][1]["authorization"]


@pytest.mark.parametrize(
    ("status", "raw"),
    [
        (404, b"cannot get credentials"),
        (200, b"{}"),
        (200, b"[]"),
        (200, b""),
        (200, b'{"AccessKeyId":"A","SecretAccessKey":"HIDDEN","Token":"T","Expiration":"soon"}'),
        (200, b'{"AccessKeyId":"A","SecretAccessKey":"HIDDEN","Token":"T","Expiration":7}'),
    ],
)
def test_an_answer_without_credentials_is_an_error_that_quotes_no_secret(endpoint, bucket, status, raw):
    endpoint.status, endpoint.raw = status, raw
    with pytest.raises(CredentialsError) as caught:
        open_bucket(bucket.name, environment(endpoint, bucket)).get("key")
    assert "HIDDEN" not in str(caught.value)
    assert not bucket.requests


def test_keys_in_the_environment_come_first(endpoint, bucket):
    objects = open_bucket(bucket.name, {**environment(endpoint, bucket), **bucket.environment})
    objects.get("key")
    assert endpoint.reads == 0
    assert "Credential=test/" in bucket.requests[-1][1]["authorization"]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/x"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "https://host/x", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "t"},
        {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "t"},
    ],
)
def test_other_environments_are_left_to_obstore(environ):
    assert ContainerCredentials.of(environ) is None


def test_without_such_an_endpoint_nothing_of_it_is_imported():
    script = (
        "import sys; from modelyard.aws.objects import open_bucket\n"
        "open_bucket('b', {'AWS_REGION': 'eu-west-1', 'AWS_ACCESS_KEY_ID': 'x', 'AWS_SECRET_ACCESS_KEY': 'y'})\n"
        "print(sorted({'modelyard.plain_http', 'modelyard.aws.container_credentials', 'socket'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "[]\n"
