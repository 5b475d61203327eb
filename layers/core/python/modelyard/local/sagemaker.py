"""``python -m modelyard.local.sagemaker FILE``: SageMaker's endpoints of the local AWS as one process.

The file says which endpoints there are::

    {"port": 4600, "endpoints": {"modelyard-local-realtime-model-wine": {
        "target": "sagemaker-realtime", "environment": {"MODELYARD_MODEL": "wine", ...},
        "output": "", "failure": ""}}}

Each is a container of its own, `modelyard.server`'s app with that environment over the process's; ``output`` and
``failure`` are where an asynchronous one writes. `modelyard.local.sagemaker_api` is what is in front of them.
"""

import os
import resource
import sys
import tempfile
from pathlib import Path

import msgspec

from modelyard.errors import UsageError
from modelyard.local.sagemaker_api import LIMITS, LocalEndpoint, LocalSageMaker

HOST = "127.0.0.1"
KEEP_ALIVE_S = 75
DRAIN_S = 20


class EndpointEntry(msgspec.Struct, forbid_unknown_fields=True):
    """One endpoint of the file."""

    target: str
    environment: dict[str, str]
    output: str = ""
    failure: str = ""


class EndpointsFile(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    port: int
    endpoints: dict[str, EndpointEntry]


def read_file(path: Path) -> EndpointsFile:
    """Read the file.

    Raises:
        UsageError: When it is none, or names a target that is none (code ``invalid_settings``).
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=EndpointsFile)
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(
            f"{path} is no file of endpoints: {error}", code="invalid_settings", next_step="Run 'modelyard up'."
        ) from error
    for name, entry in found.endpoints.items():
        if entry.target not in LIMITS:
            raise UsageError(
                f"{path}: the target of {name} is {entry.target!r}; it must be {', '.join(LIMITS)}",
                code="invalid_settings",
                next_step="Run 'modelyard up'.",
            )
    return found


def make_app(found: EndpointsFile, metrics: Path) -> LocalSageMaker:
    """The endpoints of a file, as one ASGI app.

    Args:
        found: The file.
        metrics: A folder for what the containers count.
    """
    from modelyard.server.app import ServerApp
    from modelyard.server.settings import ServerSettings

    endpoints: dict[str, LocalEndpoint] = {}
    for name, entry in found.endpoints.items():
        folder = metrics / name
        folder.mkdir()
        app = ServerApp(ServerSettings.read({**os.environ, **entry.environment}), folder)
        endpoints[name] = LocalEndpoint(app, entry.target, entry.output, entry.failure)
    return LocalSageMaker(endpoints, region=os.environ.get("AWS_REGION", "us-east-1"))


def main(path: str) -> None:
    """Serve until told to end."""
    import uvicorn

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    found = read_file(Path(path))
    with tempfile.TemporaryDirectory(prefix="modelyard-metrics-") as folder:
        uvicorn.run(
            make_app(found, Path(folder)),
            host=HOST,
            port=found.port,
            ws="none",
            lifespan="on",
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
        )


if __name__ == "__main__":
    main(sys.argv[1])
