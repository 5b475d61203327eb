"""The obstore client against a bucket on a socket: what it sends, and what becomes of every answer."""

import subprocess
import sys

import pytest

from modelyard.aws import objects as module
from modelyard.aws.objects import open_bucket
from modelyard.errors import AWSError, CredentialsError, NotFoundError
from tests.fakes.http_bucket import HttpBucket


@pytest.fixture
def bucket():
    with HttpBucket("artifacts") as served:
        yield served


def test_an_object_comes_with_its_etag(bucket):
    bucket.put("deployments/m.json", b"{}")
    content, etag = open_bucket("artifacts", bucket.environment).get("deployments/m.json")
    assert (content, type(content)) == (b"{}", bytes)
    assert etag.startswith('"')


def test_an_object_comes_in_pieces(bucket, monkeypatch):
    monkeypatch.setattr(module, "PIECE_BYTES", 1 << 16)
    content = bytes(range(256)) * 4096
    bucket.put("k", content)
    pieces = list(map(bytes, open_bucket("artifacts", bucket.environment).pieces("k")))
    assert len(pieces) > 1
    assert b"".join(pieces) == content


def test_of_no_object_there_is_no_piece(bucket):
    with pytest.raises(NotFoundError):
        next(open_bucket("artifacts", bucket.environment).pieces("absent"))


def test_only_a_changed_object_is_sent_again(bucket):
    bucket.put("k", b"one")
    objects = open_bucket("artifacts", bucket.environment)
    _, etag = objects.get("k")
    assert objects.get_if_changed("k", etag) is None
    bucket.put("k", b"two")
    assert (objects.get_if_changed("k", etag) or (b"", ""))[0] == b"two"


def test_requests_are_signed_for_the_region_in_path_style(bucket):
    bucket.put("k", b"one")
    open_bucket("artifacts", {**bucket.environment, "AWS_SESSION_TOKEN": "session"}).get("k")
    path, headers = bucket.requests[0]
    assert path == "/artifacts/k"
    assert "Credential=test/" in headers["authorization"]
    assert "/eu-west-1/s3/aws4_request" in headers["authorization"]
    assert headers["x-amz-security-token"] == "session"


def test_no_object_is_not_found(bucket):
    with pytest.raises(NotFoundError) as caught:
        open_bucket("artifacts", bucket.environment).get("absent")
    assert caught.value.code == "object_not_found"
    assert "artifacts/absent" in caught.value.message


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_a_matter_of_credentials(bucket, status):
    bucket.status = status
    with pytest.raises(CredentialsError) as caught:
        open_bucket("artifacts", bucket.environment).get("k")
    assert caught.value.code == "access_denied"
    assert "role" in (caught.value.next_step or "")


def test_a_failing_s3_is_asked_again_and_then_an_aws_error(bucket):
    bucket.status = 500
    with pytest.raises(AWSError) as caught:
        open_bucket("artifacts", bucket.environment).get("k")
    assert len(bucket.requests) == 1 + module.RETRIES
    assert len(caught.value.message) < 400


def test_nobody_listening_is_an_aws_error():
    environment = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t"}
    with pytest.raises(AWSError):
        open_bucket("artifacts", {**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}).get("k")


def test_the_client_brings_neither_boto3_nor_asyncio():
    script = (
        "import sys, modelyard.aws.objects; print([m for m in ('boto3', 'botocore', 'asyncio') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"


def test_what_is_put_can_be_read_and_a_second_put_replaces_it(bucket):
    objects = open_bucket("artifacts", bucket.environment)
    for content in (b"one", b"", b"x" * 6_000_000):  # obstore would send the last one in parts
        objects.put("captures/m/a b+c.jsonl", content)
        assert objects.get("captures/m/a b+c.jsonl")[0] == content
    assert len(bucket.written) == 3


@pytest.mark.parametrize(("status", "error"), [(403, CredentialsError), (500, AWSError)])
def test_a_put_that_fails_says_that_it_was_a_write(bucket, monkeypatch, status, error):
    monkeypatch.setattr(module, "RETRIES", 0)
    bucket.status = status
    with pytest.raises(error, match=r"write artifacts/k") as caught:
        open_bucket("artifacts", bucket.environment).put("k", b"x")
    assert caught.value.next_step


def test_to_reconnect_leaves_a_bucket_usable(bucket):
    bucket.put("k", b"one")
    objects = open_bucket("artifacts", bucket.environment)
    objects.get("k")
    objects.reconnect()
    assert objects.get("k")[0] == b"one"
