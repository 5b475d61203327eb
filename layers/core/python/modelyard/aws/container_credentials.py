"""Credentials from the environment's own endpoint: where a Lambda function with SnapStart finds them.

The rule: only what `obstore` cannot do itself. A snapshot may not hold credentials, so Lambda gives such a function
``AWS_CONTAINER_CREDENTIALS_FULL_URI`` and ``AWS_CONTAINER_AUTHORIZATION_TOKEN`` instead of keys. obstore 0.12 takes
that URI only beside a token *file*; with the token itself it goes looking for the metadata service of a server.
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from modelyard.errors import CredentialsError
from modelyard.plain_http import Connection

TIMEOUT_S = 2.0
_SCHEME = "http://"
_NEXT_STEP = "It is tried again by the next request; see the function's configuration of SnapStart."


class ContainerCredentials:
    """Called by obstore for credentials; it keeps them and asks again some minutes before they expire.

    Args:
        uri: ``AWS_CONTAINER_CREDENTIALS_FULL_URI``, over plain http to this machine.
        token: ``AWS_CONTAINER_AUTHORIZATION_TOKEN``.

    Raises:
        ValueError: When the URI names no port.
    """

    __slots__ = ("_address", "_path", "_token")

    def __init__(self, uri: str, token: str) -> None:
        self._address, _, path = uri.removeprefix(_SCHEME).partition("/")
        self._path = f"/{path}"
        self._token = token
        Connection(self._address, timeout_s=TIMEOUT_S)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "ContainerCredentials | None":
        """Those of the environment; ``None`` where it holds keys, or no such endpoint."""
        uri, token = (
            environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""),
            environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        )
        if environ.get("AWS_ACCESS_KEY_ID") or not token or not uri.startswith(_SCHEME):
            return None
        return cls(uri, token)

    def __call__(self) -> dict[str, Any]:
        """The credentials, in obstore's form.

        Raises:
            CredentialsError: When the endpoint does not answer, or not with credentials (code ``no_credentials``).
        """
        connection = Connection(self._address, timeout_s=TIMEOUT_S)
        try:
            answer = connection.call("GET", self._path, {"Authorization": self._token})
        except OSError as error:
            raise CredentialsError(
                f"{self._address} gives no credentials: {error}", code="no_credentials", next_step=_NEXT_STEP
            ) from error
        finally:
            connection.close()
        try:
            found = msgspec.json.decode(answer.body)
            return {
                "access_key_id": found["AccessKeyId"],
                "secret_access_key": found["SecretAccessKey"],
                "token": found["Token"],
                "expires_at": datetime.fromisoformat(found["Expiration"]),
            }
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise CredentialsError(  # what was answered may hold a secret: it is not quoted
                f"{self._address} answered {answer.status} without credentials ({type(error).__name__})",
                code="no_credentials",
                next_step=_NEXT_STEP,
            ) from None
