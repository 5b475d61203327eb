"""One HTTP request, signed or not, without the code under test."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def request(
    method: str,
    url: str,
    body: Any = None,
    *,
    credentials: Mapping[str, str] | None = None,
    content_type: str = "application/json",
    more: Mapping[str, str] | None = None,
) -> tuple[int, Mapping[str, str], Any]:
    """Send it; status, headers, and the body parsed as JSON where it is."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": content_type, **(more or {})}
    if credentials is not None:
        keys = Credentials(
            credentials["aws_access_key_id"],
            credentials["aws_secret_access_key"],
            credentials.get("aws_session_token"),
        )
        signed = AWSRequest(method, url, data=content, headers=headers)
        SigV4Auth(keys, "execute-api", "eu-west-1").add_auth(signed)
        headers = dict(signed.headers)
    sent = urllib.request.Request(url, data=content or None, headers=headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(sent, timeout=60) as answer:  # noqa: S310 - the private local AWS
            return answer.status, answer.headers, _parsed(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.headers, _parsed(refused.read())


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content if b"\0" in content else content.decode(errors="replace")
