"""The workbench of the retraining steps, from a function's environment."""

from collections.abc import Mapping

from modelyard.aws.clients import Clients
from modelyard.aws.registry import open_registry
from modelyard.aws.uploads import Uploads
from modelyard.retraining.workbench import Workbench


def open_workbench(environ: Mapping[str, str]) -> Workbench:
    """The registry (see ``open_registry``), and the bucket ``MODELYARD_DATA_BUCKET``. Lambda says how much memory."""
    clients = Clients()
    registry = open_registry(environ, clients=clients)
    return Workbench(
        registry=registry,
        artifacts=registry.artifacts,
        uploads=Uploads(clients.s3, environ["MODELYARD_DATA_BUCKET"]),
        memory_mb=int(environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")) or None,
        has_sagemaker=environ.get("MODELYARD_SAGEMAKER") != "no",
    )
