"""Every route, named once for the stacks that open them and the functions that answer them.

Each route is its own resource in IAM, so a caller can be allowed to register a version and not to put it live. A test
holds the control plane's app against `ROUTES`, another the endpoint against `MODEL_ROUTES`.
"""

ROUTES: tuple[tuple[str, str], ...] = (
    ("GET", "/models"),
    ("GET", "/models/{name}"),
    ("GET", "/models/{name}/versions"),
    ("POST", "/models/{name}/versions"),
    ("GET", "/models/{name}/versions/{number}"),
    ("GET", "/models/{name}/versions/{number}/card"),
    ("GET", "/models/{name}/deployment"),
    ("GET", "/models/{name}/history"),
    ("GET", "/models/{name}/runs"),
    ("GET", "/models/{name}/notes"),
    ("PUT", "/models/{name}/notes"),
    ("GET", "/files/{sha256}/versions"),
    ("POST", "/models/{name}/uploads"),
    ("POST", "/models/{name}/promote"),
    ("POST", "/models/{name}/rollback"),
    ("POST", "/models/{name}/trial"),
    ("POST", "/models/{name}/trial/end"),
    ("GET", "/models/{name}/rollout"),
    ("POST", "/models/{name}/rollout"),
    ("POST", "/models/{name}/rollout/{act}"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
)
"""The control plane's."""

SERVER_ROUTES = tuple((method, path) for method, path in ROUTES if path.startswith("/v2"))
"""Those of the Open Inference Protocol that belong to no model; every API has them, for its clients know one URL."""

PREDICT_ROUTE = "/models/{name}/predict"
FEEDBACK_ROUTE = "/models/{name}/feedback"
MODEL_ROUTES: tuple[tuple[str, str], ...] = (
    ("POST", PREDICT_ROUTE),
    ("POST", FEEDBACK_ROUTE),
    ("GET", "/models/{name}/openapi.json"),
    ("GET", "/v2/models/{name}"),
    ("GET", "/v2/models/{name}/{proxy+}"),
    ("POST", "/v2/models/{name}/{proxy+}"),
)
"""Of each model; its endpoint answers them. With a name that has no endpoint they are the control plane's, which says
so: API Gateway prefers a route that has the name to one with a place for it."""

APP_ROUTES: tuple[tuple[str, str], ...] = (("ANY", "/models/{name}/app"), ("ANY", "/models/{name}/app/{proxy+}"))
"""Besides, of each model that has an app of its own."""

ASYNC_ROUTES: tuple[tuple[str, str], ...] = (("GET", "/models/{name}/predictions/{id}"),)
"""Besides, of each model whose endpoint answers later: what became of a request."""

CALLS: tuple[tuple[str, str], ...] = (
    ("POST", "/models/*/predict"),
    ("POST", "/models/*/feedback"),
    ("GET", "/models/*/openapi.json"),
    ("POST", "/v2/models/*"),
    ("GET", "/v2/*"),
    ("GET", "/v2"),
    ("*", "/models/*/app"),
    ("*", "/models/*/app/*"),
)
"""`MODEL_ROUTES`, `SERVER_ROUTES` and `APP_ROUTES` as a policy names them, where ``*`` stands for slashes too."""


def route_of(path: str, model: str) -> str:
    """A path of `MODEL_ROUTES` or `APP_ROUTES` for one model."""
    return path.replace("{name}", model)
