"""The Open Inference Protocol where it concerns no model, and every model's routes where the name has no endpoint.

A model's own routes are its endpoint's, so what comes here below ``/v2/models`` names a model that is not deployed.
"""

from typing import Any

from fastapi import APIRouter

from modelyard import __version__
from modelyard.control.openapi import problems
from modelyard.control.routes import MODEL_ROUTES
from modelyard.control.services import EACH_ONCE, NO_QUERY, AsCaller
from modelyard.errors import NotFoundError
from modelyard.names import name_problem

EXTENSIONS = ["binary_tensor_data", "classification"]

router = APIRouter(tags=["Open Inference Protocol"], dependencies=EACH_ONCE, redirect_slashes=False)
unknown = APIRouter(redirect_slashes=False)


@router.get("/v2", operation_id="show_server", summary="Show the server", dependencies=NO_QUERY)
def show_server() -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return {"name": "modelyard", "version": __version__, "extensions": EXTENSIONS}


@router.get("/v2/health/live", operation_id="show_live", summary="Show that the server runs", dependencies=NO_QUERY)
def show_live() -> dict[str, bool]:
    """Whether the server runs."""
    return {"live": True}


@router.get(
    "/v2/health/ready",
    operation_id="show_ready",
    summary="Show that the server is ready",
    dependencies=NO_QUERY,
    responses=problems({502: "`aws`: the registry cannot be read."}),
)
def show_ready(registry: AsCaller) -> dict[str, bool]:
    """Whether the registry can be read. Whether a model answers says `GET /v2/models/{name}/ready`."""
    registry.models(limit=1)
    return {"live": True, "ready": True}


def _no_endpoint(name: str, proxy: str = "") -> None:  # noqa: ARG001 - the rest of the path says nothing more
    shown = repr(name) if name_problem(name) is None else "that name"
    raise NotFoundError(
        f"there is no endpoint of a model with {'the name ' if shown != 'that name' else ''}{shown} at this URL",
        code="unknown_model",
        field="name",
        next_step="GET /models lists the models; with 'endpoint.api' a model may be at the URL of another API.",
    )


for _method, _path in MODEL_ROUTES:
    unknown.add_api_route(
        _path.replace("{proxy+}", "{proxy:path}"), _no_endpoint, methods=[_method], include_in_schema=False
    )
