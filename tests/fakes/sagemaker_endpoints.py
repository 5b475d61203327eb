"""SageMaker's control plane, as far as ``doctor`` asks it: what an endpoint is and which configuration it runs."""

from typing import Any

from botocore.exceptions import ClientError


class FakeSageMaker:
    """Endpoints by their names, each as ``describe_endpoint`` answers.

    An update that fails leaves the configuration before, and ``InService``, as SageMaker does.
    """

    def __init__(self) -> None:
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.refuses = ""

    def create(self, name: str, configuration: str) -> None:
        self.endpoints[name] = {
            "EndpointName": name,
            "EndpointStatus": "InService",
            "EndpointConfigName": configuration,
        }

    def update(self, name: str, configuration: str, *, fails: str = "") -> None:
        if fails:
            self.endpoints[name]["FailureReason"] = fails
        else:
            self.endpoints[name]["EndpointConfigName"] = configuration

    def describe_endpoint(self, *, EndpointName: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if self.refuses:
            raise ClientError({"Error": {"Code": self.refuses, "Message": "no"}}, "DescribeEndpoint")
        if EndpointName not in self.endpoints:
            message = f'Could not find endpoint "{EndpointName}".'
            raise ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "DescribeEndpoint")
        return dict(self.endpoints[EndpointName])
