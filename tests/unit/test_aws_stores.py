"""What the adapters make of AWS's refusals. That they store and read is shown by the contract suite against AWS."""

import io
import socket
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore import exceptions as boto
from botocore.response import StreamingBody
from botocore.stub import Stubber

from modelyard.aws.bucket import S3Artifacts
from modelyard.aws.clients import Clients
from modelyard.aws.failures import aws_errors
from modelyard.aws.table import DynamoDBRecords
from modelyard.errors import AWSError, CredentialsError, ModelyardError, UsageError
from modelyard.ports import ConditionFailedError, Put

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
