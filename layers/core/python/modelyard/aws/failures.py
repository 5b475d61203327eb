"""What AWS says when it refuses, in the words and classes of ``modelyard.errors``.

No botocore exception leaves ``modelyard.aws``: a user gets the cause, and what to do next, in one line each. Throttling
and lost connections have been retried by botocore (mode ``standard``) before they arrive here.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from modelyard.errors import AWSError, CredentialsError, ModelyardError

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
_UNKNOWN = frozenset(
    {
        "AuthFailure", "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSignatureException",
        "InvalidToken", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)  # fmt: skip
_DENIED = frozenset(
    {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "KMS.AccessDeniedException"}
)
_THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled", "SlowDown", "Throttling",
        "ThrottlingException", "TooManyRequestsException",
    }
)  # fmt: skip
_ABSENT = frozenset({"NoSuchBucket", "ResourceNotFoundException"})
_NO_CREDENTIALS = (
    boto.ConfigParseError,
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.NoAuthTokenError,
    boto.ProfileNotFound,
    boto.SSOError,
    boto.TokenRetrievalError,
)
_NO_ANSWER = (
    boto.HTTPClientError,
    boto.ConnectionError,
    ResponseParserError,  # what answered was not AWS: a proxy's page, for example
)


def code_of(error: boto.ClientError) -> str:
    """The error code that AWS gave, like ``AccessDeniedException``."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Raise what botocore raises inside as an error of the tree; ``what`` says what was tried, like "read table x"."""
    try:
        yield
    except boto.ClientError as error:
        raise _refusal(what, error) from error
    except _NO_CREDENTIALS as error:
        raise CredentialsError(
            f"cannot {what}: no usable AWS credentials ({_line(error)})",
            next_step="Sign in ('aws sso login', or set AWS_PROFILE), then run the command again.",
        ) from error
    except _NO_ANSWER as error:
        raise AWSError(
            f"cannot {what}: AWS does not answer ({_line(error)})",
            code="unreachable",
            next_step="Check the network; for the local environment, start it first.",
        ) from error
    except boto.BotoCoreError as error:
        raise AWSError(f"cannot {what}: {_line(error)}") from error


def _refusal(what: str, error: boto.ClientError) -> ModelyardError:
    code, said = code_of(error), _line(error)
    if code in _EXPIRED:
        return CredentialsError(
            f"cannot {what}: the AWS credentials have expired",
            code="credentials_expired",
            next_step="Sign in again, then run the command again.",
        )
    if code in _UNKNOWN:
        return CredentialsError(
            f"cannot {what}: AWS does not know these credentials ({code})",
            code="credentials_unknown",
            next_step="Check AWS_PROFILE and the account of the environment.",
        )
    if code in _DENIED:
        return CredentialsError(
            f"cannot {what}: these credentials may not do that ({said})",
            code="access_denied",
            next_step="Use a role that may, and check that it is in the environment's account.",
        )
    if code in _ABSENT:
        return AWSError(
            f"cannot {what}: it does not exist in this account and region ({code})",
            code="not_deployed",
            next_step="Deploy the environment first, and check its account and region.",
        )
    if code in _THROTTLED:
        return AWSError(
            f"cannot {what}: AWS is throttling, and kept doing so over several tries ({code})",
            code="throttled",
            next_step="Wait a minute and run the command again; repeating it is safe.",
        )
    return AWSError(f"cannot {what}: {said}")


def _line(error: Exception) -> str:
    """The message on one line, and short: some quote the whole request."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:297]}..."
