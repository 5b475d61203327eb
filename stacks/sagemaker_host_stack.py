"""The SageMaker endpoint that several models share, by the same ``endpoint.host``; each has a way in of its own."""

from collections.abc import Sequence

from constructs import Construct

from modelyard import stack_names
from modelyard.release_override import ReleaseOverride
from modelyard.spec import Model
from stacks.base import Deployment, ModelyardStack
from stacks.registry_stack import RegistryStack
from stacks.sagemaker_endpoint import SageMakerEndpoint


class SageMakerHostStack(ModelyardStack):
    """One endpoint, all models of one host.

    A model that joins or leaves changes the container's variables: a release of code to all of them. A new version of a
    model changes nothing here.

    Attributes:
        server: The endpoint.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        deployment: Deployment,
        host: str,
        models: Sequence[Model],
        registry: RegistryStack,
        override: ReleaseOverride | None = None,
    ) -> None:
        super().__init__(
            scope,
            stack_names.host_stack(deployment.name, host),
            deployment=deployment,
            description=f"Modelyard: the endpoint {host} of {', '.join(model.name for model in models)}"[:1024],
        )
        self.server = SageMakerEndpoint(
            self,
            "Server",
            models=models,
            registry=registry,
            override=override if override is not None and override.model in {model.name for model in models} else None,
        )


def hosts_of(models: Sequence[Model]) -> dict[str, list[Model]]:
    """Models that share an endpoint, by its name."""
    hosts: dict[str, list[Model]] = {}
    for model in models:
        if model.spec.endpoint.host is not None:
            hosts.setdefault(model.spec.endpoint.host, []).append(model)
    return hosts
