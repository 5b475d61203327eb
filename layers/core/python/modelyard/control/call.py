"""Who calls, as API Gateway's IAM authorizer established it.

The rule: the actor of the ledger is the caller's IAM ARN out of the event's authorizer context, which only API Gateway
writes. A header says nothing about who somebody is, and none is read here.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import Scope

_KEY = "modelyard.call"


@dataclass(slots=True)
class Call:
    """One request, beside what HTTP says about it.

    Attributes:
        caller: The caller's IAM ARN; None when API Gateway did not establish one.
        account: The caller's account.
        request_id: API Gateway's, or Lambda's; it is in the log, in every problem and in the access log.
        code: How it ended, ``ok`` or the problem's code; written by whoever answers.
        failure: The cause of a 5xx, for the journal.
        is_v2: Whether the caller speaks the Open Inference Protocol, whose clients look for ``error`` in a problem.
    """

    caller: str | None
    account: str | None
    request_id: str
    code: str = "ok"
    failure: Exception | None = None
    is_v2: bool = False

    @classmethod
    def of(cls, scope: Scope) -> "Call":
        """The call that an ASGI scope from Mangum belongs to."""
        gateway = _context(scope)
        iam = _part(_part(gateway, "authorizer"), "iam")
        request_id = gateway.get("requestId") or getattr(scope.get("aws.context"), "aws_request_id", None)
        return cls(
            _text(iam.get("userArn")),
            _text(iam.get("accountId")),
            str(request_id or uuid.uuid4()),
            is_v2=path_of(scope).startswith("/v2"),
        )

    def attach(self, scope: Scope) -> None:
        """Make this the call of ``scope``, for the routes."""
        scope[_KEY] = self


def call_of(scope: Scope) -> Call:
    """The call that ``attach`` put there."""
    attached: Call = scope[_KEY]
    return attached


def path_of(scope: Scope) -> str:
    """The path without the stage, which API Gateway puts before it unless the stage is ``$default``."""
    path: str = scope["path"]
    stage = _context(scope).get("stage")
    return path[len(stage) + 1 :] if isinstance(stage, str) and path.startswith(f"/{stage}/") else path


def _context(scope: Scope) -> Mapping[str, Any]:
    return _part(scope.get("aws.event"), "requestContext")


def _part(document: Any, key: str) -> Mapping[str, Any]:
    found = document.get(key) if isinstance(document, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
