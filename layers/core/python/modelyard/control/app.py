"""The control plane as an ASGI app: one factory, which wires routes, errors and the frame around them.

    call      who calls              bodies   what is taken       look     routes that look
    frame     around every route     queries  what is asked for   cards    a model card
    problems  errors as answers      answers  what is given       change   routes that change
    page      /docs                  uploads  file ─► version
    protocol  Open Inference Protocol: the server; models without an endpoint
    rollouts  versions that meet traffic in steps

It runs under Mangum on Lambda (``functions/api.py``). FastAPI is right here and wrong in the endpoint: comfort counts
and a start of half a second does not.
"""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, JSONResponse

from modelyard.admission import admit as admit_bytes
from modelyard.control import cards, change, look, protocol, rollouts
from modelyard.control.frame import Frame, Journal
from modelyard.control.openapi import ANY_PROBLEM, openapi_document
from modelyard.control.page import PAGE_HEADERS, docs_page
from modelyard.control.problems import answer_errors
from modelyard.control.services import NoSignals, RolloutSignals, Services
from modelyard.control.uploads import Admit, UploadSigner
from modelyard.registry import Registry


class ControlPlane(FastAPI):
    """FastAPI with this project's OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi_document(self.routes)
        return self.openapi_schema


def create_app(
    registry_for: Callable[[str], Registry],
    uploads: UploadSigner,
    *,
    journal: Journal,
    admit: Admit = admit_bytes,
    require_reason: bool = False,
    signals: RolloutSignals | None = None,
) -> ControlPlane:
    """The app.

    Args:
        registry_for: The registry as this IAM ARN acts on it; called once per request.
        uploads: Signs uploads to the bucket that the registry reads.
        journal: Where audit lines and failures go.
        admit: Refuses bytes that are not a model which Modelyard would run.
        require_reason: Whether a change of what is live must say why.
        signals: Reach rollout workflows; None where there are none.
    """
    app = ControlPlane(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.services = Services(registry_for, uploads, admit, require_reason, signals or NoSignals())
    for router in (look.router, cards.router, change.router, rollouts.router, protocol.router):
        app.include_router(router, responses=ANY_PROBLEM)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi_json() -> Response:
        return JSONResponse(app.openapi())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(docs_page(app.openapi()), headers=PAGE_HEADERS)

    app.include_router(protocol.unknown)
    answer_errors(app)
    app.add_middleware(Frame, journal=journal)
    return app
