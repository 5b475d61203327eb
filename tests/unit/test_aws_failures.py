"""What AWS and its client library refuse, as errors of the tree; and how long a silent endpoint is waited for."""

import socket
import time
from typing import Any

import boto3
import pytest
from botocore import exceptions as boto

from modelyard.aws.bucket import S3Artifacts
from modelyard.aws.clients import Clients
from modelyard.aws.failures import aws_errors
from modelyard.aws.table import DynamoDBRecords
from modelyard.errors import AWSError, CredentialsError, ModelyardError

CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}


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
