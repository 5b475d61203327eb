"""Every error as ``application/problem+json``: one place where an exception becomes an answer.

The rule: a caller gets what was wrong, where, and what to do next; never a traceback, never another content type. The
document itself is the endpoint's (``modelyard.serving.problem``), so that clients parse one form.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from modelyard.control.call import Call, call_of
from modelyard.errors import AWSError, CredentialsError, ModelyardError, NotFoundError, RequestError, UsageError
from modelyard.serving.problem import problem_response

MOST_FINDINGS = 10
LONGEST_SHOWN = 60


def problem(call: Call, error: ModelyardError) -> Response:
    """The answer that tells a caller about ``error``."""
    call.code = error.code
    document = problem_response(error, request_id=call.request_id, as_v2=call.is_v2)
    return Response(document["body"], status_code=document["statusCode"], headers=document["headers"])


def answer_errors(app: FastAPI) -> None:
    """Make ``app`` answer what its routes raise on purpose, and what FastAPI raises before them."""
    app.add_exception_handler(ModelyardError, _expected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)


async def _expected(request: Request, error: Exception) -> Response:
    assert isinstance(error, ModelyardError)  # noqa: S101 - how it was registered; tells the type checker
    if isinstance(error, CredentialsError):
        # The caller was let in by IAM. It is this function's own role that may not, which the caller cannot change.
        denied = AWSError(
            error.message,
            code=error.code,
            next_step="Deploy the Api stack again: its function's role lacks a permission.",
        )
        denied.__cause__ = error
        error = denied
    call = call_of(request.scope)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        call.failure = error
    return problem(call, error)


async def _refused(request: Request, error: Exception) -> Response:
    """What the router refuses (404, 405) and what FastAPI cannot read."""
    assert isinstance(error, HTTPException)  # noqa: S101 - how it was registered; tells the type checker
    called = f"{request.method} {ascii(request.url.path)[1:-1][:LONGEST_SHOWN]}"
    refusal: ModelyardError
    if error.status_code == HTTPStatus.NOT_FOUND:
        refusal = NotFoundError(f"there is no route {called}", code="unknown_route", next_step="Look at GET /docs.")
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        refusal = UsageError(
            f"there is no route {called}; this path takes {allowed}",
            code="method_not_allowed",
            status=error.status_code,
            next_step="Look at GET /docs.",
        )
    elif error.status_code == HTTPStatus.BAD_REQUEST:  # reading failed otherwise than at one character
        refusal = RequestError(
            f"the body of {called} cannot be read as JSON",
            code="invalid_json",
            next_step="Send UTF-8, without deep nesting and numbers of thousands of digits.",
        )
    else:
        refusal = RequestError(f"{called} cannot be read: {error.detail}", status=error.status_code)
    return problem(call_of(request.scope), refusal)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - how it was registered; tells the type checker
    return problem(call_of(request.scope), _validation_error(request, error.errors()))


def _validation_error(request: Request, findings: Sequence[Any]) -> UsageError:
    first = findings[0]
    content_type = request.headers.get("content-type", "")
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "no JSON")
        return RequestError(f"the body is not JSON: {reason} at character {first['loc'][-1]}", code="invalid_json")
    if tuple(first["loc"]) == ("body",) and content_type and not _is_json(content_type):
        return RequestError(
            f"the content type is {ascii(content_type)[:LONGEST_SHOWN]}; this route reads application/json",
            code="unsupported_media_type",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            next_step="Send JSON with the header 'content-type: application/json'.",
        )
    shown = [_sentence(finding) for finding in findings[:MOST_FINDINGS]]
    if len(findings) > MOST_FINDINGS:
        shown.append(f"and {len(findings) - MOST_FINDINGS} more")
    return RequestError("; ".join(shown), field=_field(first), next_step="GET /docs lists what each route takes.")


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _field(finding: Any) -> str:
    """Where it is, without the part of the request that FastAPI puts first."""
    path = ".".join(str(part) for part in finding["loc"][1:]) or str(finding["loc"][0])
    return ascii(path)[1:-1][:LONGEST_SHOWN]  # an unknown key is the caller's own text


def _sentence(finding: Any) -> str:
    field = _field(finding)
    match finding["type"]:
        case "missing":
            return f"{field} is missing"
        case "extra_forbidden":
            return f"{field} is not something that this route takes"
        case "value_error":
            message = str(finding["ctx"]["error"])
        case _:
            message = finding["msg"][:1].lower() + finding["msg"][1:]
    value = ascii(finding["input"])
    return f"{field} is {value if len(value) <= LONGEST_SHOWN else value[: LONGEST_SHOWN - 3] + '...'}: {message}"
