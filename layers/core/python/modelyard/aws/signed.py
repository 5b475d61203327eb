"""Signed calls to an HTTP API, as any client of a Modelyard endpoint makes them (SigV4, service ``execute-api``)."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from modelyard.aws.failures import aws_errors
from modelyard.errors import AWSError, CredentialsError

if TYPE_CHECKING:
    from modelyard.aws.clients import Clients

TIMEOUT_S = 35
"""Seconds: a little more than the 30 s after which the HTTP API itself gives up."""

ACCEPTED = 202
LATER_S = 900.0
"""Longest wait for an answer that comes later: machines that are gone take minutes to come back."""


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


def ask(clients: "Clients", url: str, body: Any, *, waiting: Callable[[float], None] = lambda _: None) -> Answer:
    """Send one signed POST; where the endpoint answers later, wait for that answer.

    Args:
        clients: Whose credentials and region.
        url: The whole URL.
        body: JSON to send.
        waiting: Is told, before each look, for how many seconds the answer has been waited for.

    Raises:
        CredentialsError: When there are no credentials to sign with.
        AWSError: When nothing answers there, or there is no answer after `LATER_S`.
    """
    answer = call(clients, "POST", url, body)
    if answer.status != ACCEPTED or "location" not in answer.headers:
        return answer
    place, began = urljoin(url, answer.headers["location"]), time.monotonic()
    while (waited_s := time.monotonic() - began) < LATER_S:
        waiting(waited_s)
        time.sleep(min(2.0, 0.2 + waited_s / 10))
        answer = call(clients, "GET", place)
        if answer.status != ACCEPTED:
            return answer
    raise AWSError(
        f"{url} has no answer after {LATER_S:.0f} s", code="answer_pending", next_step=f"Ask GET {place} again later."
    )
