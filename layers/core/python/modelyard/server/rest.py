"""What is not asked often, by FastAPI: the server's own routes, its counts, and what is not there."""

from typing import Any

from fastapi import FastAPI, Request, Response

from modelyard import __version__
from modelyard.server.metrics import CONTENT_TYPE, Metrics
from modelyard.server.models import Models
from modelyard.serving.problem import problem_response
from modelyard.serving.routing import unknown_route

EXTENSIONS = ["binary_tensor_data", "classification"]


def make_rest(models: Models, metrics: Metrics) -> FastAPI:
    """The application.

    Args:
        models: Of this worker.
        metrics: What it has counted.
    """
    app = FastAPI(title="Modelyard server", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)

    @app.get("/v2")
    async def show_server() -> dict[str, Any]:
        """Name, version and extensions of the server, and its models."""
        return {"name": "modelyard", "version": __version__, "extensions": EXTENSIONS, "models": models.names}

    @app.get("/v2/health/live")
    async def show_live() -> dict[str, bool]:
        """Whether the server runs."""
        return {"live": True}

    @app.get("/v2/health/ready")
    async def show_ready(response: Response) -> dict[str, Any]:
        """Whether every model that is loaded answers."""
        ready = all(state == "ready" for state in models.states.values())
        response.status_code = 200 if ready else 503
        return {"live": True, "ready": ready, "models": models.states}

    @app.get("/metrics")
    async def show_metrics() -> Response:
        """Counts of all workers, in Prometheus's text format."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.api_route(
        "/{path:path}",
        methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"],
        include_in_schema=False,
    )
    async def not_there(request: Request) -> Response:
        """A problem, as everywhere."""
        return _not_there(request)

    @app.exception_handler(404)
    @app.exception_handler(405)
    async def no_route(request: Request, _: Exception) -> Response:
        """The same for methods that nobody has heard of, and for ``*``, which is no path."""
        return _not_there(request)

    return app


def _not_there(request: Request) -> Response:
    path = request.url.path
    error = unknown_route(request.method, path)
    response = problem_response(error, request_id="unknown", as_v2=path.startswith("/v2"))
    return Response(response["body"], response["statusCode"], response["headers"])
