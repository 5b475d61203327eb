"""SageMaker's endpoints, as its control plane sees them now. Requests go by `modelyard.aws.sagemaker_runtime`."""

from typing import Any

from botocore.exceptions import ClientError

from modelyard.aws.failures import aws_errors
from modelyard.endpoint_state import EndpointState


class SageMakerEndpoints:
    """Endpoints by their names.

    Args:
        client: A low-level SageMaker client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def state(self, name: str) -> EndpointState | None:
        """What SageMaker says of an endpoint; None where there is none of that name."""
        with aws_errors(f"look at endpoint {name}"):
            try:
                answer = self._client.describe_endpoint(EndpointName=name)
            except ClientError as error:
                said = error.response["Error"]
                # SageMaker has no code of its own for what is not there.
                if said["Code"] == "ValidationException" and "not find" in said["Message"]:
                    return None
                raise
        return EndpointState(
            name=answer["EndpointName"],
            status=answer["EndpointStatus"],
            configuration=answer.get("EndpointConfigName", ""),
            reason=answer.get("FailureReason", ""),
        )
