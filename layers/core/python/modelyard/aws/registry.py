"""The registry, from a function's environment."""

from collections.abc import Mapping

from modelyard.aws.bucket import S3Artifacts
from modelyard.aws.clients import Clients
from modelyard.aws.failures import aws_errors
from modelyard.aws.table import DynamoDBRecords
from modelyard.registry import Registry


def open_registry(environ: Mapping[str, str], *, clients: Clients | None = None) -> Registry:
    """The registry named by ``MODELYARD_TABLE`` and ``MODELYARD_ARTIFACT_BUCKET``.

    The actor in the ledger is the function's own role session.
    """
    clients = clients or Clients()
    with aws_errors("find out who this function is"):
        actor: str = clients.client("sts").get_caller_identity()["Arn"]
    artifacts = S3Artifacts(clients.s3, environ["MODELYARD_ARTIFACT_BUCKET"])
    return Registry(DynamoDBRecords(clients.dynamodb, environ["MODELYARD_TABLE"]), artifacts, actor=actor)
