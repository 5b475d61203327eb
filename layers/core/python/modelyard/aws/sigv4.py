"""Signature Version 4 by hand, for the one call of a hot path that obstore does not make.

The rule: only what such a call needs: a POST without a query, whose path needs no escaping, and whose body is at hand.
botocore signs anything, and takes ten times as long to import as the whole cold start may take; a test holds the two
against each other. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

from modelyard.errors import CredentialsError

ALGORITHM = "AWS4-HMAC-SHA256"
RENEW_S = 120.0
"""How long before they expire credentials are asked for again."""


class Keys:
    """What a request is signed with.

    Attributes:
        token: Of a session; empty for credentials that last.
    """

    __slots__ = ("access_key", "secret_key", "token")

    def __init__(self, access_key: str, secret_key: str, token: str = "") -> None:
        self.access_key = access_key
        self.secret_key = secret_key
        self.token = token


class EnvironmentKeys:
    """The keys of a process on Lambda: in its environment, or at the endpoint that the environment names.

    Args:
        environ: The process environment; it is looked at for each request, for what renews keys writes them there.
    """

    __slots__ = ("_environ", "_found", "_until")

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._found: Keys | None = None
        self._until = 0.0

    def __call__(self) -> Keys:
        """The keys.

        Raises:
            CredentialsError: Where there are none (code ``no_credentials``).
        """
        access_key, secret_key = self._environ.get("AWS_ACCESS_KEY_ID"), self._environ.get("AWS_SECRET_ACCESS_KEY")
        if access_key and secret_key:
            return Keys(access_key, secret_key, self._environ.get("AWS_SESSION_TOKEN") or "")
        if self._found is None or time.time() > self._until:
            self._found = self._asked()
        return self._found

    def _asked(self) -> Keys:
        from modelyard.aws.container_credentials import ContainerCredentials

        endpoint = ContainerCredentials.of(self._environ)
        if endpoint is None:
            raise CredentialsError(
                "there are no AWS credentials to sign the request with",
                code="no_credentials",
                next_step="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; on Lambda the function's role gives them.",
            )
        found: dict[str, Any] = endpoint()
        self._until = found["expires_at"].timestamp() - RENEW_S
        return Keys(found["access_key_id"], found["secret_access_key"], found["token"])


class Signer:
    """Signs requests to one service in one region.

    Args:
        service: The name that the service has in signatures.
        region: Like ``eu-west-1``.
    """

    __slots__ = ("_region", "_service")

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region

    def signed(
        self, keys: Keys, *, host: str, path: str, headers: Mapping[str, str], body: bytes, now: float | None = None
    ) -> dict[str, str]:
        """The headers to send: those given, all of them signed, with date, token and signature.

        Args:
            keys: Whose signature it is.
            host: As the ``Host`` header has it.
            path: Of letters, digits, ``/``, ``-``, ``_`` and ``.``.
            headers: Names in any case; values of printable ASCII.
            body: What is sent.
            now: Seconds since the epoch.
        """
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        sent = {**headers, "X-Amz-Date": moment}
        if keys.token:
            sent["X-Amz-Security-Token"] = keys.token
        named = {name.lower(): " ".join(value.split()) for name, value in {**sent, "Host": host}.items()}
        names = sorted(named)
        listed = ";".join(names)
        lines = [f"{name}:{named[name]}" for name in names]
        request = "\n".join(["POST", path, "", *lines, "", listed, hashlib.sha256(body).hexdigest()])
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        text = "\n".join([ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
        key = f"AWS4{keys.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        credential = f"Credential={keys.access_key}/{scope}"
        sent["Authorization"] = f"{ALGORITHM} {credential}, SignedHeaders={listed}, Signature={signature}"
        return sent
