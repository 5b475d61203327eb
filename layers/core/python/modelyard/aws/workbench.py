"""The workbench of the retraining steps, from a function's environment."""

from collections.abc import Mapping

from modelyard.aws.bucket import S3Artifacts
from modelyard.aws.clients import Clients
from modelyard.aws.failures import aws_errors
from modelyard.aws.table import DynamoDBRecords
from modelyard.aws.uploads import Uploads
from modelyard.registry import Registry
from modelyard.retraining.workbench import Workbench


def open_workbench(environ: Mapping[str, str]) -> Workbench:
    """Registry and buckets named by ``MODELYARD_TABLE``, ``MODELYARD_ARTIFACT_BUCKET``, ``MODELYARD_DATA_BUCKET``.

    The actor in the ledger is the function's own role session. Lambda says how much memory there is.
    """
    clients = Clients()
    with aws_errors("find out who this function is"):
        actor: str = clients.client("sts").get_caller_identity()["Arn"]
    artifacts = S3Artifacts(clients.s3, environ["MODELYARD_ARTIFACT_BUCKET"])
    return Workbench(
        registry=Registry(DynamoDBRecords(clients.dynamodb, environ["MODELYARD_TABLE"]), artifacts, actor=actor),
        artifacts=artifacts,
        uploads=Uploads(clients.s3, environ["MODELYARD_DATA_BUCKET"]),
        memory_mb=int(environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")) or None,
    )
