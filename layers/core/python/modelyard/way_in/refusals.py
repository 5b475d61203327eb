"""What SageMaker itself refuses or fails with, as the problem that its caller gets. Pure.

The rule: a caller learns whether to send the same again, when, or what to change; SageMaker's own words name accounts
and roles, so they go into the log and not to the caller.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from modelyard.aws.sagemaker_runtime import LOADING, THROTTLED, TooLateError, UnavailableError, error_type
from modelyard.errors import AWSError, ModelyardError, RequestError
from modelyard.plain_http import Answer
from modelyard.way_in.answered import Outcome, failed_with

AGAIN = "Send the same request again."
MOST_SAID = 1000


class SageMakerSaidError(Exception):
    """Type and words of SageMaker's own error: the cause of a problem, for the log."""


class ThrottledError(AWSError):
    """More was asked of the endpoint at once than it takes."""

    code = "throttled"
    status = 429
    headers = {"retry-after": "1"}  # noqa: RUF012 - read only


def refused(answer: Answer) -> Outcome:
    """The response for an answer of 400 or above, where a container gave one.

    Raises:
        ModelyardError: Where none did, with what SageMaker said as its cause.
    """
    kind = error_type(answer)
    said = _read(answer.body)
    words = str(said.get("Message") or said.get("message") or "")
    if kind == "ModelError":
        status, original = said.get("OriginalStatusCode"), str(said.get("OriginalMessage") or "")
        status = status if type(status) is int else 0
        outcome = failed_with(status, original)
        if outcome is not None:
            return outcome
        words = f"{status} {words} {original} {said.get('LogStreamArn', '')}"
        problem = _of_the_container(status, words)
    else:
        problem = _KINDS.get(kind, _failed)(words)
    raise problem from SageMakerSaidError(f"{kind}: {words[:MOST_SAID]}")


def _read(body: bytes) -> dict[str, Any]:
    try:
        read = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _of_the_container(status: int, words: str) -> ModelyardError:
    if status == 0 and "timed out" in words:
        return TooLateError(
            "the endpoint's container did not answer in the 60 seconds that SageMaker gives it",
            next_step="Send fewer instances at once; a model that takes this long belongs on sagemaker-async.",
        )
    if status == 413:
        return _too_large(words)
    return AWSError(
        f"the endpoint's container answered {status}, with nothing that Modelyard's server says"
        if status
        else "the endpoint's container did not answer",
        code="endpoint_failed",
        next_step=AGAIN,
    )


def _throttled(_words: str) -> ModelyardError:
    return ThrottledError(
        "the endpoint is asked more at once than it takes",
        next_step=f"{AGAIN} Where this lasts, raise the endpoint's capacity in model.toml.",
    )


def _loading(_words: str) -> ModelyardError:
    return UnavailableError("the endpoint is still starting", next_step=AGAIN)


def _unavailable(_words: str) -> ModelyardError:
    return UnavailableError("SageMaker could not take the request", next_step=AGAIN)


def _invalid(words: str) -> ModelyardError:
    if "'body'" in words:
        if "less than or equal" in words:
            return _too_large(words)
        return RequestError(
            "the body is empty", code="empty_body", next_step="Send one; GET /models/<model>/openapi.json has examples."
        )
    if "ndpoint" in words:
        return UnavailableError(
            "the endpoint is not there, or not in service yet",
            next_step="Send the same request again in some minutes, or deploy the model's stack again.",
        )
    return _failed(words)


def _too_large(_words: str) -> ModelyardError:
    return RequestError(
        "the body is larger than SageMaker takes for this endpoint",
        code="body_too_large",
        status=413,
        next_step="Split the instances over several requests.",
    )


def _failed(_words: str) -> ModelyardError:
    return AWSError(
        "SageMaker failed or refused the way in",
        code="endpoint_failed",
        next_step="Look for the request id in the function's log; it holds the cause.",
    )


_KINDS: dict[str, Callable[[str], ModelyardError]] = {
    **dict.fromkeys(THROTTLED, _throttled),
    LOADING: _loading,
    "ServiceUnavailable": _unavailable,
    "ServiceUnavailableException": _unavailable,
    "InternalDependencyException": _unavailable,
    "ValidationError": _invalid,
    "ValidationException": _invalid,
    "RequestEntityTooLargeException": _too_large,
    "HTTP 413": _too_large,
}
