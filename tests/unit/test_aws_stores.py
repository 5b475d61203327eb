"""What the adapters make of AWS's refusals. That they store and read is shown by the contract suite against AWS."""

import base64
import datetime as dt
import hashlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore import exceptions as boto
from botocore.response import StreamingBody
from botocore.stub import Stubber

from modelyard.aws.bucket import S3Artifacts
from modelyard.aws.clients import Clients
from modelyard.aws.counting import Counted
from modelyard.aws.failures import aws_errors
from modelyard.aws.table import DynamoDBRecords
from modelyard.errors import AWSError, CredentialsError, ModelyardError, UsageError
from modelyard.ports import ConditionFailedError, Delete, ObjectLine, Put, UnfinishedUpload, parts_sha256

CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}
ONE = [Put({"pk": "p", "sk": "s"}, absent=True)]


@pytest.fixture
def table() -> Iterator[tuple[DynamoDBRecords, Stubber]]:
    client = boto3.client("dynamodb", **CREDENTIALS)  # type: ignore[call-overload]
    with Stubber(client) as stubber:
        yield DynamoDBRecords(client, "registry", sleep=lambda _: None, deadline_s=0.2), stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def bucket() -> Iterator[tuple[S3Artifacts, Stubber]]:
    client = boto3.client("s3", **CREDENTIALS)  # type: ignore[call-overload]
    with Stubber(client) as stubber:
        yield S3Artifacts(client, "artifacts", sleep=lambda _: None), stubber
        stubber.assert_no_pending_responses()


def cancelled(stubber: Stubber, *reasons: str) -> None:
    stubber.add_client_error(
        "transact_write_items",
        "TransactionCanceledException",
        modeled_fields={"CancellationReasons": [{"Code": reason} for reason in reasons]},
    )


def test_a_transaction_that_met_another_is_repeated(table: tuple[DynamoDBRecords, Stubber]) -> None:
    records, stubber = table
    cancelled(stubber, "TransactionConflict", "None")
    cancelled(stubber, "None", "ThrottlingError")
    stubber.add_client_error("transact_write_items", "TransactionInProgressException")
    stubber.add_response("transact_write_items", {})
    records.transact(ONE * 2)


def test_a_failed_condition_is_an_answer_with_its_positions(table: tuple[DynamoDBRecords, Stubber]) -> None:
    records, stubber = table
    cancelled(stubber, "None", "ConditionalCheckFailed", "TransactionConflict", "ConditionalCheckFailed")
    with pytest.raises(ConditionFailedError) as refused:
        records.transact(ONE * 4)
    assert refused.value.positions == (1, 3)


def test_a_transaction_that_is_wrong_is_not_repeated(table: tuple[DynamoDBRecords, Stubber]) -> None:
    records, stubber = table
    cancelled(stubber, "None", "ValidationError")
    with pytest.raises(AWSError, match="cannot write table registry"):
        records.transact(ONE * 2)


def test_a_transaction_that_always_meets_others_ends_at_the_deadline() -> None:
    class Busy:
        calls = 0

        def transact_write_items(self, **_: Any) -> None:
            self.calls += 1
            answer = {
                "Error": {"Code": "TransactionCanceledException"},
                "CancellationReasons": [{"Code": "TransactionConflict"}],
            }
            raise boto.ClientError(answer, "TransactWriteItems")  # type: ignore[arg-type]

    busy = Busy()
    with pytest.raises(AWSError) as refused:
        DynamoDBRecords(busy, "registry", sleep=lambda _: None, deadline_s=0.05).transact(ONE)  # type: ignore[arg-type]
    assert refused.value.code == "contended"
    assert busy.calls > 2


@pytest.mark.parametrize(
    ("code", "error", "stable"),
    [
        ("ExpiredTokenException", CredentialsError, "credentials_expired"),
        ("ExpiredToken", CredentialsError, "credentials_expired"),
        ("UnrecognizedClientException", CredentialsError, "credentials_unknown"),
        ("InvalidClientTokenId", CredentialsError, "credentials_unknown"),
        ("SignatureDoesNotMatch", CredentialsError, "credentials_unknown"),
        ("AccessDeniedException", CredentialsError, "access_denied"),
        ("AccessDenied", CredentialsError, "access_denied"),
        ("ResourceNotFoundException", AWSError, "not_deployed"),
        ("NoSuchBucket", AWSError, "not_deployed"),
        ("ProvisionedThroughputExceededException", AWSError, "throttled"),
        ("SlowDown", AWSError, "throttled"),
        ("InternalServerError", AWSError, "aws"),
        ("ValidationException", AWSError, "aws"),
    ],
)
def test_every_refusal_becomes_an_error_of_the_tree(code: str, error: type[ModelyardError], stable: str) -> None:
    with pytest.raises(error, match="cannot read table registry") as refused, aws_errors("read table registry"):
        raise boto.ClientError({"Error": {"Code": code, "Message": "line one\nline two " + "x" * 5000}}, "GetItem")
    assert refused.value.code == stable
    assert refused.value.exit_code == (3 if error is CredentialsError else 5)
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 500
    assert isinstance(refused.value.__cause__, boto.ClientError)


@pytest.mark.parametrize(
    ("raised", "error", "stable"),
    [
        (boto.NoCredentialsError(), CredentialsError, "credentials"),
        (
            boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
            CredentialsError,
            "credentials",
        ),
        (boto.UnauthorizedSSOTokenError(), CredentialsError, "credentials"),
        (boto.TokenRetrievalError(provider="sso", error_msg="expired"), CredentialsError, "credentials"),
        (boto.ProfileNotFound(profile="nobody"), CredentialsError, "credentials"),
        (boto.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), AWSError, "unreachable"),
        (boto.ConnectTimeoutError(endpoint_url="http://127.0.0.1:1"), AWSError, "unreachable"),
        (boto.ReadTimeoutError(endpoint_url="http://127.0.0.1:1"), AWSError, "unreachable"),
        (boto.ResponseStreamingError(error="cut"), AWSError, "unreachable"),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), AWSError, "aws"),
        (boto.ParamValidationError(report="bad"), AWSError, "aws"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_failure_of_the_client_becomes_one_too(
    raised: Exception, error: type[ModelyardError], stable: str
) -> None:
    with pytest.raises(error) as refused, aws_errors("read table registry"):
        raise raised
    assert refused.value.code == stable


def test_an_endpoint_that_does_not_answer_is_said_so() -> None:
    clients = Clients(region="eu-west-1", endpoint_url="http://127.0.0.1:9", access_key="a", secret_key="b")
    client = boto3.client("s3", endpoint_url=clients.endpoint_url, config=_impatient(), **CREDENTIALS)  # type: ignore[call-overload]
    with pytest.raises(AWSError) as refused:
        S3Artifacts(client, "artifacts").head("key")
    assert refused.value.code == "unreachable"


def _impatient() -> Any:
    from botocore.config import Config

    return Config(retries={"total_max_attempts": 1}, connect_timeout=1)


def test_an_endpoint_that_never_answers_costs_no_more_than_the_attempts_that_were_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts; nobody reads
        clients = Clients(
            region="eu-west-1", endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}", access_key="a",
            secret_key="b", connect_timeout_s=0.5, read_timeout_s=0.2, attempts=2,
        )  # fmt: skip
        for call in (
            lambda: S3Artifacts(clients.s3, "b").get("k"),
            lambda: DynamoDBRecords(clients.dynamodb, "t").get("p", "s"),
        ):
            began = time.monotonic()
            with pytest.raises(AWSError) as refused:
                call()
            assert refused.value.code == "unreachable"
            assert 0.4 <= time.monotonic() - began < 10


def test_a_client_is_patient_unless_it_is_asked_not_to_be() -> None:
    def limits(clients: Clients) -> tuple[float, float, int]:
        config = clients.s3.meta.config
        return config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]

    keys = {"region": "eu-west-1", "access_key": "a", "secret_key": "b"}
    assert limits(Clients(**keys)) == (5, 30, 5)
    assert limits(Clients(**keys, connect_timeout_s=2, read_timeout_s=4.5, attempts=3)) == (2, 4.5, 3)


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


def test_clients_are_made_for_one_region_and_one_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    clients = Clients(access_key="a", secret_key="b")
    assert (clients.region, clients.s3.meta.region_name) == ("eu-central-1", "eu-central-1")
    assert clients.s3.meta.endpoint_url == clients.dynamodb.meta.endpoint_url == "http://127.0.0.1:4566"
    assert clients.s3 is clients.s3
    assert Clients(region="eu-west-1", endpoint_url="http://127.0.0.1:1").s3.meta.endpoint_url == "http://127.0.0.1:1"


def test_no_region_and_no_profile_are_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(UsageError) as refused:
        _ = Clients().s3
    assert refused.value.code == "no_region"
    with pytest.raises(CredentialsError, match="nobody"):
        _ = Clients(region="eu-west-1", profile="nobody").s3


# -- uploads in parts -------------------------------------------------------------------------------------------------

BODY = b"0123456789"
SHA256 = hashlib.sha256(BODY).hexdigest()


def refusal(code: str) -> boto.ClientError:
    return boto.ClientError({"Error": {"Code": code}}, "Operation")


def base64_of(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


class Bucket:
    """What the adapter calls for an upload in parts; ``refuse`` says what each call of a kind ends with, None: well."""

    def __init__(self, **refuse: list[BaseException | None]) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.before_part: Callable[[int], None] = lambda _: None
        self._refuse = refuse
        self._lock = threading.Lock()

    def _call(self, name: str, parts: dict[str, Any]) -> None:
        with self._lock:
            self.calls.append((name, parts))
            refused = self._refuse[name].pop(0) if self._refuse.get(name) else None
        if refused is not None:
            raise refused

    def create_multipart_upload(self, **parts: Any) -> dict[str, str]:
        self._call("create", parts)
        return {"UploadId": f"upload-{len(self.named('create'))}"}

    def upload_part(self, **parts: Any) -> dict[str, str]:
        self.before_part(parts["PartNumber"])
        self._call("part", parts)
        return {"ETag": f"tag-{parts['PartNumber']}"}

    def complete_multipart_upload(self, **parts: Any) -> None:
        self._call("complete", parts)

    def abort_multipart_upload(self, **parts: Any) -> None:
        self._call("abort", parts)

    def put_object(self, **parts: Any) -> None:
        parts["Body"] = parts["Body"] if isinstance(parts["Body"], bytes) else parts["Body"].read()
        self._call("put", parts)

    def named(self, name: str) -> list[dict[str, Any]]:
        return [parts for found, parts in self.calls if found == name]


def send(bucket: Bucket, body: bytes = BODY, **parts: Any) -> bool:
    artifacts = S3Artifacts(bucket, "artifacts", sleep=lambda _: None, part_bytes=4)  # type: ignore[arg-type]
    return artifacts.put_if_absent("key", body, **{"content_type": "x/y", "sha256": SHA256} | parts)


def test_parts_have_a_checksum_each_and_the_condition_is_checked_at_the_end() -> None:
    bucket = Bucket()
    bucket.before_part = lambda number: time.sleep(0.02 * (4 - number))  # the last is there first
    assert send(bucket)
    place = {"Bucket": "artifacts", "Key": "key"}
    upload = place | {"UploadId": "upload-1"}
    assert bucket.named("create") == [place | {"ContentType": "x/y", "ChecksumAlgorithm": "SHA256"}]
    pieces = [b"0123", b"4567", b"89"]
    assert sorted(bucket.named("part"), key=lambda part: part["PartNumber"]) == [
        upload | {"PartNumber": number, "Body": piece, "ChecksumSHA256": base64_of(piece)}
        for number, piece in enumerate(pieces, 1)
    ]
    assert bucket.named("complete") == [
        upload
        | {"IfNoneMatch": "*"}
        | {
            "MultipartUpload": {
                "Parts": [
                    {"PartNumber": number, "ETag": f"tag-{number}", "ChecksumSHA256": base64_of(piece)}
                    for number, piece in enumerate(pieces, 1)
                ]
            }
        }
    ]
    assert bucket.named("abort") == []


def test_only_what_is_larger_than_a_part_and_has_a_checksum_goes_in_parts() -> None:
    for body, sha256 in ((BODY[:4], hashlib.sha256(BODY[:4]).hexdigest()), (BODY, None), (b"", None)):
        bucket = Bucket()
        assert send(bucket, body, sha256=sha256)
        assert [name for name, _ in bucket.calls] == ["put"]
        assert bucket.calls[0][1].get("ChecksumSHA256") == (None if sha256 is None else base64_of(body))


def test_a_replacement_in_parts_keeps_its_condition() -> None:
    bucket = Bucket()
    artifacts = S3Artifacts(bucket, "artifacts", part_bytes=4)  # type: ignore[arg-type]
    assert artifacts.put_if_match("key", BODY, etag='"1"', content_type="x/y", sha256=SHA256)
    assert bucket.named("complete")[0]["IfMatch"] == '"1"'
    assert "IfNoneMatch" not in bucket.named("complete")[0]


@pytest.mark.parametrize("code", ["PreconditionFailed", "412", "NoSuchUpload"])
def test_a_completion_that_comes_too_late_is_a_lost_race_and_is_given_up(code: str) -> None:
    bucket = Bucket(complete=[refusal(code)])
    assert not send(bucket)
    assert [parts["UploadId"] for parts in bucket.named("abort")] == ["upload-1"]


def test_an_upload_that_a_sweep_gave_up_meanwhile_is_a_lost_race() -> None:
    assert not send(Bucket(part=[None, refusal("NoSuchUpload")]))


def test_a_completion_that_met_another_begins_again_and_progress_goes_back() -> None:
    bucket, sent = Bucket(complete=[refusal("ConditionalRequestConflict")]), list[int]()
    assert send(bucket, progress=sent.append)
    assert [parts["UploadId"] for parts in bucket.named("abort")] == ["upload-1"]
    assert bucket.named("complete")[-1]["UploadId"] == "upload-2"
    assert sent == [4, 4, 2, -10, 4, 4, 2]


def test_a_put_that_met_another_counts_its_bytes_once() -> None:
    bucket, sent = Bucket(put=[refusal("ConditionalRequestConflict")]), list[int]()
    body = BODY[:4]
    assert send(bucket, body, sha256=hashlib.sha256(body).hexdigest(), progress=sent.append)
    assert (len(bucket.named("put")), sum(sent)) == (2, 4)


def test_progress_is_told_in_the_callers_own_thread() -> None:
    threads = set()
    assert send(Bucket(), progress=lambda _: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize(
    ("refuse", "error", "code"),
    [
        ({"part": [None, refusal("AccessDenied")]}, CredentialsError, "access_denied"),
        ({"part": [boto.ReadTimeoutError(endpoint_url="http://127.0.0.1:1")]}, AWSError, "unreachable"),
        ({"part": [refusal("BadDigest")]}, AWSError, "checksum_mismatch"),
        ({"complete": [refusal("BadDigest")]}, AWSError, "checksum_mismatch"),
        ({"complete": [refusal("InternalError")]}, AWSError, "aws"),
        ({"complete": [refusal("SlowDown")], "abort": [refusal("SlowDown")]}, AWSError, "throttled"),
        ({"complete": [refusal("AccessDenied")], "abort": [RuntimeError("no")]}, CredentialsError, "access_denied"),
    ],
)
def test_an_upload_that_fails_is_given_up_and_says_why(refuse: Any, error: type[ModelyardError], code: str) -> None:
    bucket = Bucket(**{name: list(kinds) for name, kinds in refuse.items()})
    with pytest.raises(error) as refused:
        send(bucket)
    assert refused.value.code == code
    assert [name for name, _ in bucket.calls].count("abort") == 1
    assert bucket.calls[-1][0] == "abort", "no part is sent after the giving up"


def test_an_upload_that_could_not_begin_is_not_given_up() -> None:
    bucket = Bucket(create=[refusal("AccessDenied")])
    with pytest.raises(CredentialsError):
        send(bucket)
    assert [name for name, _ in bucket.calls] == ["create"]


@pytest.mark.parametrize("where", ["part", "complete", "progress"])
def test_ctrl_c_gives_the_upload_up_and_waits_for_no_part_that_did_not_begin(where: str) -> None:
    bucket = Bucket(**{where: [KeyboardInterrupt()]})

    def progress(_sent: int) -> None:
        if where == "progress":
            raise KeyboardInterrupt

    if where != "complete":
        bucket.before_part = lambda number: time.sleep(0.01 * number)
    body = bytes(4 * 100)
    with pytest.raises(KeyboardInterrupt):
        send(bucket, body, sha256=hashlib.sha256(body).hexdigest(), progress=progress)
    time.sleep(0.1)
    assert [name for name, _ in bucket.calls].count("abort") == 1
    assert bucket.calls[-1][0] == "abort", "a part that was under way would outlive the giving up"
    if where != "complete":
        assert len(bucket.named("part")) < 50


@pytest.mark.parametrize(
    ("size", "parts", "known"), [(20, 3, True), (17, 3, True), (24, 3, True), (25, 3, False), (16, 3, False)]
)
def test_a_composite_checksum_counts_for_parts_as_this_adapter_makes_them(size: int, parts: int, known: bool) -> None:
    client = boto3.client("s3", **CREDENTIALS)  # type: ignore[call-overload]
    digest = parts_sha256(bytes(size), 8)
    with Stubber(client) as stubber:
        composite = f"{base64.b64encode(bytes.fromhex(digest)).decode()}-{parts}"
        answer = {"ContentLength": size, "ETag": '"1-3"', "ChecksumSHA256": composite, "VersionId": "v7"}
        stubber.add_response("head_object", answer, {"Bucket": "b", "Key": "k", "ChecksumMode": "ENABLED"})
        facts = S3Artifacts(client, "b", part_bytes=8).head("k")
    assert facts is not None
    assert (facts.sha256, facts.parts_sha256, facts.version_id) == (None, digest if known else None, "v7")


def test_the_composite_checksum_is_over_the_digests_of_the_parts() -> None:
    digests = b"".join(hashlib.sha256(part).digest() for part in (b"0123", b"4567", b"89"))
    assert parts_sha256(BODY, 4) == hashlib.sha256(digests).hexdigest()
    assert parts_sha256(BODY, 10) == parts_sha256(BODY, 99) == hashlib.sha256(bytes.fromhex(SHA256)).hexdigest()
    assert parts_sha256(BODY, 4) != parts_sha256(BODY, 5)


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


def test_a_transaction_deletes_by_key_alone(table: tuple[DynamoDBRecords, Stubber]) -> None:
    records, stubber = table
    stubber.add_response(
        "transact_write_items",
        {},
        {
            "TransactItems": [
                {"Delete": {"TableName": "registry", "Key": {"pk": {"S": "p"}, "sk": {"S": "gone"}}}},
                {
                    "Put": {
                        "TableName": "registry",
                        "Item": {"pk": {"S": "p"}, "sk": {"S": "s"}},
                        "ConditionExpression": "attribute_not_exists(pk)",
                    }
                },
            ]
        },
    )
    records.transact([Delete("p", "gone"), *ONE])


@pytest.mark.parametrize(
    ("parts", "condition", "values"),
    [
        ({}, "", {}),
        ({"prefix": "B#"}, " AND begins_with(sk, :prefix)", {":prefix": "B#"}),
        ({"since": "b"}, " AND sk >= :low", {":low": "b"}),
        ({"until": "b"}, " AND sk <= :high", {":high": "b"}),
        ({"since": "a", "until": "b"}, " AND sk BETWEEN :low AND :high", {":low": "a", ":high": "b"}),
        (
            {"prefix": "B#", "since": "B#2"},
            " AND sk BETWEEN :low AND :high",
            {":low": "B#2", ":high": "B#\U0010ffff"},
        ),
        ({"prefix": "B#", "until": "B#2"}, " AND sk BETWEEN :low AND :high", {":low": "B#", ":high": "B#2"}),
    ],
)
def test_a_query_is_one_range_of_the_sort_key(
    table: tuple[DynamoDBRecords, Stubber], parts: dict[str, str], condition: str, values: dict[str, str]
) -> None:
    records, stubber = table
    stubber.add_response(
        "query",
        {"Items": []},
        {
            "TableName": "registry",
            "KeyConditionExpression": "pk = :pk" + condition,
            "ExpressionAttributeValues": {":pk": {"S": "p"}} | {name: {"S": value} for name, value in values.items()},
            "ConsistentRead": True,
            "ScanIndexForward": True,
        },
    )
    assert records.query("p", **{"prefix": ""} | parts).items == ()


def test_a_range_that_ends_before_it_begins_is_empty_without_asking(table: tuple[DynamoDBRecords, Stubber]) -> None:
    records, _ = table
    assert records.query("p", prefix="", since="b", until="a").items == ()


# -- progress ---------------------------------------------------------------------------------------------------------


def test_what_is_read_again_counts_once() -> None:
    sent: list[int] = []
    counted = Counted(io.BytesIO(BODY), sent.append)
    assert (counted.read(4), counted.read(0), counted.tell()) == (b"0123", b"", 4)
    counted.seek(0)
    assert (counted.read(), counted.read()) == (BODY, b"")
    assert sent == [4, -4, 10]
    counted.seek(0, io.SEEK_END)
    counted.seek(-3, io.SEEK_CUR)
    assert counted.read(99) == b"789"
    assert sum(sent) == len(BODY)


def test_an_upload_whose_connection_breaks_is_sent_again_and_counted_once() -> None:
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            if len(bodies) == 1:  # the answer is lost
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        clients = Clients(
            region="eu-west-1", endpoint_url=f"http://127.0.0.1:{server.server_address[1]}", access_key="a",
            secret_key="b", attempts=3,
        )  # fmt: skip
        body, sent = b"x" * 300_000, list[int]()
        digest = hashlib.sha256(body).hexdigest()
        artifacts = S3Artifacts(clients.s3, "artifacts")
        assert artifacts.put_if_absent("key", body, sha256=digest, content_type="x/y", progress=sent.append)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert bodies == [body, body]
    assert sum(sent) == len(body)
