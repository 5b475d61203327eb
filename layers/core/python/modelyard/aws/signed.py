"""Signed calls to an HTTP API, as any client of a Modelyard endpoint makes them (SigV4, service ``execute-api``)."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelyard.aws.failures import aws_errors
from modelyard.errors import AWSError, CredentialsError

if TYPE_CHECKING:
    from modelyard.aws.clients import Clients

TIMEOUT_S = 35
"""Seconds: a little more than the 30 s after which the HTTP API itself gives up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status code, headers in lower case, and the body, parsed where it is JSON."""

    status: int
    headers: dict[str, str]
    body: Any


def call(clients: "Clients", method: str, url: str, body: Any = None) -> Answer:
    """Send one signed request.

    Args:
        clients: Whose credentials and region.
        method: HTTP method.
        url: The whole URL.
        body: JSON to send; None sends nothing.

    Raises:
        CredentialsError: When there are no credentials to sign with.
        AWSError: When nothing answers there.
    """
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.httpsession import URLLib3Session

    with aws_errors(f"call {url}"):
        credentials = clients.session.get_credentials()
        if credentials is None:
            raise CredentialsError(
                "there are no AWS credentials to sign the request with", next_step="Sign in, or set AWS_PROFILE."
            )
        content = b"" if body is None else json.dumps(body).encode()
        request = AWSRequest(method, url, data=content, headers={"content-type": "application/json"})
        SigV4Auth(credentials.get_frozen_credentials(), "execute-api", clients.region).add_auth(request)
        answer = URLLib3Session(timeout=TIMEOUT_S).send(request.prepare())
    headers = {name.lower(): value for name, value in answer.headers.items()}
    try:
        parsed = json.loads(answer.content) if answer.content else None
    except ValueError:
        if "json" in headers.get("content-type", ""):
            raise AWSError(f"{url} answered {answer.status_code} with a body that is not JSON") from None
        parsed = answer.content.decode(errors="replace")
    return Answer(answer.status_code, headers, parsed)
