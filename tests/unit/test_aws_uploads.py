"""What the data bucket's adapter makes of S3's answers. That it stores and reads is shown against the local AWS."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from modelyard.aws import uploads as module
from modelyard.aws.counting import Counted
from modelyard.aws.uploads import UploadFacts, Uploads
from modelyard.errors import AWSError, CredentialsError, UsageError

CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}
HEAD = {"ETag": '"abc"', "ContentLength": 3}


@pytest.fixture
def s3() -> Iterator[Stubber]:
    client = boto3.client("s3", **CREDENTIALS)  # type: ignore[call-overload]
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def store(s3: Stubber) -> Uploads:
    return Uploads(s3.client, "data")


def body(content: bytes) -> dict[str, Any]:
    return {"Body": StreamingBody(io.BytesIO(content), len(content))}


def test_a_version_is_asked_for_by_its_id(store: Uploads, s3: Stubber) -> None:
    s3.add_response("head_object", HEAD | {"VersionId": "v7"}, {"Bucket": "data", "Key": "m/a.csv", "VersionId": "v7"})
    s3.add_response("get_object", body(b"x,y"), {"Bucket": "data", "Key": "m/a.csv", "VersionId": "v7"})
    assert store.head("m/a.csv", "v7") == UploadFacts("v7", "abc", 3)
    assert store.get("m/a.csv", "v7") == b"x,y"


@pytest.mark.parametrize("answered", [{}, {"VersionId": "null"}], ids=["never versioned", "versioning suspended"])
def test_an_object_without_a_version_is_named_by_its_tag(store: Uploads, s3: Stubber, answered: dict[str, str]) -> None:
    exactly = {"Bucket": "data", "Key": "m/a.csv", "VersionId": "null", "IfMatch": '"abc"'}
    s3.add_response("head_object", HEAD | answered, {"Bucket": "data", "Key": "m/a.csv"})
    s3.add_response("get_object", body(b"x,y"), exactly)
    s3.add_response("head_object", HEAD | answered, exactly)
    s3.add_response("head_object", HEAD | answered, {"Bucket": "data", "Key": "m/a.csv", "VersionId": "null"})
    facts = store.head("m/a.csv")
    assert facts == UploadFacts("null:abc", "abc", 3)
    assert store.get("m/a.csv", "null:abc") == b"x,y"
    assert store.head("m/a.csv", "null:abc") == store.head("m/a.csv", "null") == facts


@pytest.mark.parametrize(
    ("code", "status"),
    [("404", 404), ("NoSuchKey", 404), ("NoSuchVersion", 404), ("405", 405), ("MethodNotAllowed", 405), ("412", 412)],
)
def test_what_is_gone_deleted_or_replaced_is_none(store: Uploads, s3: Stubber, code: str, status: int) -> None:
    s3.add_client_error("head_object", code, http_status_code=status)
    s3.add_client_error("get_object", code, http_status_code=status)
    assert store.head("m/a.csv", "v1") is None
    assert store.get("m/a.csv", "v1") is None


@pytest.mark.parametrize(
    ("code", "error"), [("403", CredentialsError), ("AccessDenied", CredentialsError), ("500", AWSError)]
)
def test_a_refusal_is_no_absence(store: Uploads, s3: Stubber, code: str, error: type[Exception]) -> None:
    s3.add_client_error("head_object", code)
    s3.add_client_error("get_object", code)
    with pytest.raises(error, match="cannot look at s3://data/m/a"):
        store.head("m/a.csv")
    with pytest.raises(error, match="cannot read s3://data/m/a"):
        store.get("m/a.csv", "v1")


def test_versions_are_read_page_by_page_and_only_those_of_the_key(store: Uploads, s3: Stubber) -> None:
    more = {"IsTruncated": True, "NextKeyMarker": "m/a.csv", "NextVersionIdMarker": "v2"}
    lines = [{"Key": "m/a.csv", "VersionId": "v3"}, {"Key": "m/a.csv", "VersionId": "v2"}]
    s3.add_response("list_object_versions", more | {"Versions": lines}, {"Bucket": "data", "Prefix": "m/a.csv"})
    following = {"Bucket": "data", "Prefix": "m/a.csv", "KeyMarker": "m/a.csv", "VersionIdMarker": "v2"}
    lines = [{"Key": "m/a.csv", "VersionId": "null", "ETag": '"abc"'}, {"Key": "m/a.csv.bak", "VersionId": "v1"}]
    more = {"IsTruncated": True, "NextKeyMarker": "m/a.csv.bak", "NextVersionIdMarker": "v1"}
    s3.add_response("list_object_versions", more | {"Versions": lines}, following)
    assert store.versions("m/a.csv") == ("v3", "v2", "null:abc")


def test_of_very_many_versions_the_newest_ten_thousand_are_read(store: Uploads, s3: Stubber) -> None:
    more = {"IsTruncated": True, "NextKeyMarker": "m/a.csv", "NextVersionIdMarker": "v0"}
    for page in range(10):
        lines = [{"Key": "m/a.csv", "VersionId": f"v{page}"}]
        s3.add_response("list_object_versions", more | {"Versions": lines})
    assert len(store.versions("m/a.csv")) == 10


def test_versions_that_may_not_be_listed_are_an_error_in_words(store: Uploads, s3: Stubber) -> None:
    s3.add_client_error("list_object_versions", "AccessDenied", http_status_code=403)
    with pytest.raises(CredentialsError, match="cannot list the versions of s3://data/m/a"):
        store.versions("m/a.csv")


def test_a_connection_that_breaks_while_the_bytes_arrive_is_an_error_in_words(store: Uploads, s3: Stubber) -> None:
    s3.add_response("get_object", {"Body": StreamingBody(io.BytesIO(b"x,"), 3)})
    with pytest.raises(AWSError, match="cannot read s3://data/m/a"):
        store.get("m/a.csv", "v1")


@pytest.mark.parametrize(("answered", "version"), [({"VersionId": "v1"}, "v1"), ({}, "null:abc")])
def test_an_upload_is_checked_by_s3_and_its_version_is_the_one_that_a_run_claims(
    store: Uploads, s3: Stubber, tmp_path: Path, answered: dict[str, str], version: str
) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"x,y")
    expected = {"Bucket": "data", "Key": "m/a.csv", "Body": ANY, "ContentType": "text/csv", "ChecksumSHA256": ANY}
    s3.add_response("put_object", {"ETag": '"abc"'} | answered, expected)
    assert store.put("m/a.csv", file, sha256=hashlib.sha256(b"x,y").hexdigest()) == version


def test_a_file_too_large_for_one_put_is_refused_before_it_is_read(
    store: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_UPLOAD", 2)
    file = tmp_path / "a.csv"
    file.write_bytes(b"x,y")
    with pytest.raises(UsageError, match="has 3 bytes; one upload takes 2"):
        store.put("m/a.csv", file, sha256="00")


def test_a_file_name_that_is_no_text_is_refused(store: Uploads, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the file's name is not valid Unicode"):
        store.put("m/\udcff.csv", tmp_path, sha256="00")


def test_progress_counts_what_is_read_again_once() -> None:
    told: list[int] = []
    counted = Counted(io.BytesIO(b"0123456789"), told.append)
    assert counted.read(4) == b"0123"
    counted.seek(0)
    assert counted.read() == b"0123456789"
    assert counted.tell() == sum(told) == 10
    assert told == [4, -4, 10]
