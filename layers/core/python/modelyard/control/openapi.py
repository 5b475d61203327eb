"""The OpenAPI document of the control plane: what FastAPI derives, corrected where it does not know how we answer."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from modelyard import __version__
from modelyard.control.answers import Problem
from modelyard.serving.problem import CONTENT_TYPE

TITLE = "Modelyard control plane"
DESCRIPTION = """\
Find and look at models, register versions, put them live and take them back. A model's own routes are beside these and
in a document of its own: `GET /models/{name}/openapi.json`.

Every request is signed with AWS credentials (SigV4, service `execute-api`), and each route is a resource of its own in
IAM. The caller's IAM ARN goes into the ledger. Times are UTC. Every error is a problem document with a stable `code`.
"""
TAGS = [
    {"name": "Look", "description": "Changes nothing."},
    {"name": "Describe", "description": "The owner's words beside what the registry knows."},
    {"name": "Register", "description": "A file becomes a version: get a URL, upload, register."},
    {"name": "Go live", "description": "A version becomes what endpoints answer with."},
    {"name": "Roll out", "description": "A version meets traffic in steps, each ended by a verdict."},
    {"name": "Open Inference Protocol", "description": "The server; each model has routes of its own."},
]
_SECURITY = {
    "sigv4": {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "description": "AWS Signature Version 4, service execute-api.",
        "x-amazon-apigateway-authtype": "awsSigv4",
    }
}
_PROBLEM_REF = {"$ref": f"#/components/schemas/{Problem.__name__}"}

Responses = dict[int | str, dict[str, Any]]


def problems(by_status: Mapping[int, str]) -> Responses:
    """FastAPI's ``responses`` of a route: what each error status means there."""
    return {status: {"model": Problem, "description": text} for status, text in by_status.items()}


ANY_PROBLEM: Responses = {
    "default": {
        "model": Problem,
        "description": "A problem: 400 what cannot be read, 403 who calls, 500 and 502 not the caller's fault.",
    }
}
"""Of every route. It also keeps FastAPI from promising its own form of validation errors, which is never sent."""


def openapi_document(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The document for these routes."""
    document = get_openapi(title=TITLE, version=__version__, description=DESCRIPTION, routes=routes, tags=TAGS)
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                _correct(status, response)
    document["components"]["securitySchemes"] = _SECURITY
    document["security"] = [{"sigv4": []}]
    return document


def _correct(status: str, response: dict[str, Any]) -> None:
    """Problems have a content type of their own, and FastAPI knows one for each route only."""
    for described in response.get("content", {}).values():
        if described.get("schema") == _PROBLEM_REF:
            response["content"] = {CONTENT_TYPE: described}
            break
    if response["description"] == "Successful Response":
        response["description"] = HTTPStatus(int(status)).phrase
