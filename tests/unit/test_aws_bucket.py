"""What the adapter makes of S3's refusals, listings and deletions. Uploads in parts: test_aws_parts."""

import datetime as dt
import io
from collections.abc import Iterator

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from modelyard.aws.bucket import S3Artifacts
from modelyard.errors import AWSError, CredentialsError
from modelyard.ports import ObjectLine, UnfinishedUpload

CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}


@pytest.fixture
def bucket() -> Iterator[tuple[S3Artifacts, Stubber]]:
    client = boto3.client("s3", **CREDENTIALS)  # type: ignore[call-overload]
    with Stubber(client) as stubber:
        yield S3Artifacts(client, "artifacts", sleep=lambda _: None), stubber
        stubber.assert_no_pending_responses()


def test_a_busy_key_is_tried_again(bucket: tuple[S3Artifacts, Stubber]) -> None:
    artifacts, stubber = bucket
    stubber.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
    stubber.add_response("put_object", {"ETag": '"1"'})
    assert artifacts.put_if_absent("key", b"body", content_type="text/plain")


def test_a_denied_write_is_not_a_lost_race(bucket: tuple[S3Artifacts, Stubber]) -> None:
    artifacts, stubber = bucket
    stubber.add_client_error("put_object", "AccessDenied", http_status_code=403)
    with pytest.raises(CredentialsError, match="cannot write s3://artifacts/key"):
        artifacts.put_if_absent("key", b"body", content_type="text/plain")


def test_a_missing_bucket_is_not_a_missing_object(bucket: tuple[S3Artifacts, Stubber]) -> None:
    artifacts, stubber = bucket
    stubber.add_client_error("get_object", "NoSuchBucket", http_status_code=404)
    with pytest.raises(AWSError) as refused:
        artifacts.get("key")
    assert refused.value.code == "not_deployed"


def test_an_answer_that_breaks_off_is_an_error_and_not_a_shorter_object(bucket: tuple[S3Artifacts, Stubber]) -> None:
    artifacts, stubber = bucket
    stubber.add_response("get_object", {"Body": StreamingBody(io.BytesIO(b"half"), 8), "ETag": '"1"'})
    with pytest.raises(AWSError):
        artifacts.get("key")


@pytest.mark.parametrize("checksum", ["not base64!", "q1w2e3==-3"])
def test_a_checksum_of_an_upload_in_parts_is_not_a_digest(bucket: tuple[S3Artifacts, Stubber], checksum: str) -> None:
    artifacts, stubber = bucket
    stubber.add_response("head_object", {"ContentLength": 1, "ETag": '"1"', "ChecksumSHA256": checksum})
    facts = artifacts.head("key")
    assert facts is not None
    assert facts.sha256 is None


# -- listing and removing ---------------------------------------------------------------------------------------------

NOON = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


def test_a_listing_goes_on_page_by_page_as_it_is_asked_for(bucket: tuple[S3Artifacts, Stubber]) -> None:
    artifacts, stubber = bucket
    line = {"Size": 3, "LastModified": NOON}
    first = {"Bucket": "artifacts", "Prefix": "a/"}
    stubber.add_response(
        "list_objects_v2",
        {"IsTruncated": True, "NextContinuationToken": "t", "Contents": [line | {"Key": "a/1"}]},
        first,
    )
    lines = artifacts.listing("a/")
    assert next(lines) == ObjectLine("a/1", 3, NOON)
    stubber.add_response("list_objects_v2", {"IsTruncated": True, "NextContinuationToken": "u"})
    stubber.add_response("list_objects_v2", {"IsTruncated": False, "Contents": [line | {"Key": "a/2"}]})
    assert [found.key for found in lines] == ["a/2"]


def test_a_listing_that_breaks_off_is_an_error_and_not_a_shorter_listing(bucket: tuple[S3Artifacts, Stubber]) -> None:
    artifacts, stubber = bucket
    stubber.add_response(
        "list_objects_v2",
        {
            "IsTruncated": True,
            "NextContinuationToken": "t",
            "Contents": [{"Key": "a", "Size": 1, "LastModified": NOON}],
        },
    )
    stubber.add_client_error("list_objects_v2", "AccessDenied", http_status_code=403)
    with pytest.raises(CredentialsError, match="cannot list s3://artifacts/"):
        list(artifacts.listing(""))


def test_unfinished_uploads_are_found_on_every_page(bucket: tuple[S3Artifacts, Stubber]) -> None:
    artifacts, stubber = bucket
    one, two = ({"Key": f"a/{n}", "UploadId": f"u{n}", "Initiated": NOON} for n in (1, 2))
    more = {"IsTruncated": True, "NextKeyMarker": "a/1", "NextUploadIdMarker": "u1", "Uploads": [one]}
    stubber.add_response("list_multipart_uploads", more, {"Bucket": "artifacts", "Prefix": "a/"})
    stubber.add_response(
        "list_multipart_uploads",
        {"IsTruncated": False, "Uploads": [two]},
        {"Bucket": "artifacts", "Prefix": "a/", "KeyMarker": "a/1", "UploadIdMarker": "u1"},
    )
    assert list(artifacts.unfinished("a/")) == [UnfinishedUpload(f"a/{n}", f"u{n}", NOON) for n in (1, 2)]


def test_an_upload_that_is_gone_counts_as_given_up_and_one_that_is_kept_does_not(
    bucket: tuple[S3Artifacts, Stubber],
) -> None:
    artifacts, stubber = bucket
    upload = UnfinishedUpload("a/1", "u1", NOON)
    stubber.add_client_error("abort_multipart_upload", "NoSuchUpload", http_status_code=404)
    artifacts.abandon(upload)
    stubber.add_client_error("abort_multipart_upload", "AccessDenied", http_status_code=403)
    with pytest.raises(CredentialsError, match="cannot give up an upload to s3://artifacts/a/1"):
        artifacts.abandon(upload)


def test_a_deletion_names_the_object_version_and_its_refusal_is_no_success(
    bucket: tuple[S3Artifacts, Stubber],
) -> None:
    artifacts, stubber = bucket
    stubber.add_response("delete_object", {}, {"Bucket": "artifacts", "Key": "a/1", "VersionId": "v1"})
    artifacts.delete("a/1", version_id="v1")
    stubber.add_client_error("delete_object", "AccessDenied", http_status_code=403)
    with pytest.raises(CredentialsError, match=r"cannot delete s3://artifacts/a/1 \(version v1\)"):
        artifacts.delete("a/1", version_id="v1")
