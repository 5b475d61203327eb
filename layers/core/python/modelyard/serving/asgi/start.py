"""The start of an endpoint with an app: that of any endpoint, with the app imported while S3 and the session work."""

from __future__ import annotations

from modelyard.errors import UsageError
from modelyard.serving.start import start as start_endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from modelyard.serving.endpoint import Endpoint
    from modelyard.serving.follow import PointerFollower


def start(environ: Mapping[str, str]) -> Endpoint:
    """The endpoint that a function's environment describes, with its app up and its live version loaded.

    Args:
        environ: What every endpoint is told; ``MODELYARD_APP``, like ``package.module:attribute``; and, where callers
            have something in front of ``/models`` that API Gateway cuts off, that as ``MODELYARD_BASE_PATH``.

    Raises:
        UsageError: When the environment is incomplete.
        ModelError: When the app cannot be imported or its startup fails.
    """
    app = environ.get("MODELYARD_APP")
    if not app:
        raise UsageError(
            "the endpoint's environment is incomplete: MODELYARD_APP is not set",
            code="invalid_settings",
            next_step="Deploy the model's stack again; it sets these variables.",
        )

    def made(follower: PointerFollower, **parts: Any) -> Endpoint:
        from modelyard.serving.asgi.endpoint import AppEndpoint  # slow, so it waits until other threads are at work

        return AppEndpoint(follower, app=app, base_path=environ.get("MODELYARD_BASE_PATH", ""), **parts)

    return start_endpoint(environ, make=made)
