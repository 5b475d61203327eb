"""Where boto3 clients are made, with one region, one endpoint and one idea of retrying.

Clients are made when they are first used: importing boto3 costs a third of a second, and a command that fails on its
arguments should not pay it. Functions make one ``Clients`` per process.
"""

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelyard.aws.failures import aws_errors
from modelyard.errors import UsageError

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
ATTEMPTS = 5
CONNECTIONS = 50


class Clients:
    """AWS clients of one account and region.

    Args:
        region: The region; None takes AWS_REGION or the profile's.
        endpoint_url: Where AWS is; None takes AWS_ENDPOINT_URL, or AWS itself.
        profile: A profile of the AWS configuration; None takes AWS_PROFILE.
        access_key: With ``secret_key``, the credentials themselves; only the local AWS has such.
        secret_key: See ``access_key``.
        connect_timeout_s: How long one attempt waits for a connection.
        read_timeout_s: How long one attempt waits for the next bytes of an answer.
        attempts: How often a call is tried in all, where trying again makes sense.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        profile: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._region = region or os.environ.get("AWS_REGION")
        self.endpoint_url = endpoint_url or os.environ.get("AWS_ENDPOINT_URL") or None
        self._profile = profile
        self._access_key, self._secret_key = access_key, secret_key
        self._connect_timeout_s, self._read_timeout_s, self._attempts = connect_timeout_s, read_timeout_s, attempts

    @cached_property
    def session(self) -> "boto3.Session":
        """The boto3 session behind the clients."""
        import boto3

        with aws_errors("use AWS"):
            return boto3.Session(
                botocore_session=_without_configuration() if self._access_key else None,
                region_name=self._region,
                profile_name=self._profile,
                aws_access_key_id=self._access_key,
                aws_secret_access_key=self._secret_key,
            )

    @cached_property
    def region(self) -> str:
        """The region of every client.

        Raises:
            UsageError: When none is set.
        """
        region = self._region or self.session.region_name
        if region is None:
            raise UsageError(
                "no AWS region is set", code="no_region", next_step="Choose an environment, or set AWS_REGION."
            )
        return region

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """DynamoDB, for ``modelyard.aws.table``."""
        made: DynamoDBClient = self.client("dynamodb")
        return made

    @cached_property
    def s3(self) -> "S3Client":
        """S3, for ``modelyard.aws.bucket``."""
        made: S3Client = self.client("s3")
        return made

    def client(self, service: str) -> Any:
        """A new client of ``service``, as boto3 names it.

        Raises:
            UsageError: When no region is known.
            CredentialsError: When the profile does not exist.
        """
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "total_max_attempts": self._attempts},
            connect_timeout=self._connect_timeout_s,
            read_timeout=self._read_timeout_s,
            max_pool_connections=CONNECTIONS,
            # A local endpoint has no host name for each bucket.
            s3={"addressing_style": "path"} if self.endpoint_url else None,
        )
        with aws_errors(f"use {service}"):
            # boto3's overloads know services by literal name, and this one is a variable.
            return self.session.client(  # type: ignore[call-overload]
                service, region_name=self.region, endpoint_url=self.endpoint_url, config=config
            )


def _without_configuration() -> Any:
    """A botocore session that reads no profile and no file: with fixed keys, the caller's own play no part."""
    from botocore.session import Session

    nowhere = (None, None, os.devnull, None)
    return Session({"profile": (None, None, None, None), "config_file": nowhere, "credentials_file": nowhere})
