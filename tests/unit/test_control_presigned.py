"""Signed uploads: the URL covers size, digest and key, so S3 refuses anything else. No request is made."""

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest

from modelyard.aws.clients import Clients
from modelyard.aws.presigned import S3UploadSigner
from modelyard.control.settings import ControlSettings
from modelyard.control.uploads import SignedUpload
from modelyard.errors import CredentialsError, UsageError

DIGEST = hashlib.sha256(b"a model").hexdigest()
KEY = f"uploads/seattle_weather/{DIGEST}.onnx"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")


def sign(**where: str) -> SignedUpload:
    return S3UploadSigner(Clients(region="eu-west-1", **where), "example-artifacts").sign(
        KEY, sha256=DIGEST, size=7, expires_s=900
    )


def test_what_is_signed_covers_every_header_that_the_caller_is_told_to_send() -> None:
    signed = sign()
    query = parse_qs(urlsplit(signed.url).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["900"]
    assert query["X-Amz-Security-Token"] == ["token"]
    assert set(query["X-Amz-SignedHeaders"][0].split(";")) == {"host", *signed.headers}
    assert signed.headers == {
        "content-length": "7",
        "content-type": "application/octet-stream",
        "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(b"a model").digest()).decode(),
    }


def test_the_bucket_is_named_in_its_own_region() -> None:
    parts = urlsplit(sign().url)
    assert (parts.scheme, parts.netloc, parts.path) == (
        "https",
        "example-artifacts.s3.eu-west-1.amazonaws.com",
        f"/{KEY}",
    )


def test_a_local_endpoint_has_the_bucket_in_the_path() -> None:
    parts = urlsplit(sign(endpoint_url="http://127.0.0.1:4599").url)
    assert (parts.netloc, parts.path) == ("127.0.0.1:4599", f"/example-artifacts/{KEY}")


def test_without_credentials_nothing_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(CredentialsError):
        sign()


def test_the_environment_is_read_whole() -> None:
    whole = {"MODELYARD_ARTIFACT_BUCKET": "b", "MODELYARD_TABLE": "t"}
    assert ControlSettings.read(whole) == ControlSettings("b", "t", require_reason=False)
    assert ControlSettings.read({**whole, "MODELYARD_REQUIRE_REASON": "1"}).require_reason
    with pytest.raises(UsageError) as refused:
        ControlSettings.read({"MODELYARD_TABLE": "", "MODELYARD_REQUIRE_REASON": "yes"})
    for name in ("MODELYARD_ARTIFACT_BUCKET is not set", "MODELYARD_TABLE is not set", "MODELYARD_REQUIRE_REASON is"):
        assert name in refused.value.message
