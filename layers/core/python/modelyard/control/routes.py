"""The control plane's routes, named once for the stack that opens them and the app that answers them.

Each route is its own resource in IAM, so a caller can be allowed to register a version and not to put it live. A test
holds the app's routes against this list.
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
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
)
PREDICT_ROUTE = "/models/{name}/predict"
