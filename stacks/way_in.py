"""The function in front of a model on SageMaker: the routes and the callers' rights are those of a Lambda endpoint."""

from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from modelyard import async_keys, stack_names
from modelyard.packaging import endpoint_of, layers_of
from modelyard.spec import Model
from stacks.base import ModelyardStack
from stacks.function import EntryPoint
from stacks.registry_stack import RegistryStack
from stacks.sagemaker_endpoint import SageMakerEndpoint

MEMORY_MB = 512
"""It waits for the endpoint most of its time, and is billed for all of it.

Measured under Lambda's runtime client (Python 3.11 on x86-64): 21 MB when it has started, 104 MB at most with 6 MB of
JSON both ways, 184 MB where one character in them takes four bytes. An answer of 25 MB, which SageMaker allows and
Lambda does not return, takes 211 MB, and 456 MB with such a character.
"""


class WayIn(Construct):
    """Hands the requests for one model to its SageMaker endpoint, and may call that one and no other.

    Attributes:
        entry: The function and its role.
        alias: ``live``: what the routes lead to.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        model: Model,
        registry: RegistryStack,
        server: SageMakerEndpoint | None,
        base_path: str,
    ) -> None:
        """Make it.

        Args:
            scope: The stack.
            construct_id: Unique in it.
            model: The model.
            registry: Whose bucket async requests and their answers lie in.
            server: The endpoint; None in the local AWS, where a process of this machine stands in for it.
            base_path: What callers have in front of a route's path.
        """
        super().__init__(scope, construct_id)
        stack = ModelyardStack.of(self)
        assert isinstance(stack, ModelyardStack)  # noqa: S101 - the only kind of stack there is; tells the type checker
        spec, settings = model.spec, stack.settings
        assert spec.kind is not None  # noqa: S101 - only models on SageMaker get this construct
        later = spec.kind == "async"
        name = stack_names.sagemaker_endpoint(
            stack.deployment.name, spec.kind, model=model.name, host=spec.endpoint.host
        )
        routing = spec.rollout.routing
        self.entry = EntryPoint(
            self,
            "Invoke",
            file=endpoint_of(model),
            layers=layers_of(endpoint_of(model), model),
            description=f"Modelyard way in to {model.name}",
            memory_mb=MEMORY_MB,
            timeout_s=spec.endpoint.timeout_s,
            concurrency=spec.endpoint.concurrency,
            environment={
                "MODELYARD_MODEL": model.name,
                "MODELYARD_TARGET": spec.endpoint.target,
                "MODELYARD_SAGEMAKER_ENDPOINT": name if server is None else server.endpoint.attr_endpoint_name,
                **({"MODELYARD_ROUTING": routing} if routing.startswith("header:") else {}),
                **({"MODELYARD_ARTIFACT_BUCKET": registry.artifacts.bucket_name} if later else {}),
                **({"MODELYARD_ASYNC_TIMEOUT_S": str(spec.server.timeout_s)} if later else {}),
                **({"MODELYARD_BASE_PATH": base_path} if base_path else {}),
                **(
                    {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": f"http://127.0.0.1:{settings.server_port}"}
                    if server is None
                    else {}
                ),
            },
        )
        if server is not None:
            # The reference is the endpoint's ARN, as SageMaker writes it.
            verb = "sagemaker:InvokeEndpointAsync" if later else "sagemaker:InvokeEndpoint"
            self.entry.allow(verb, on=[server.endpoint.ref])
        if later:
            self._allow_bucket(model, registry)
        self.alias = lambda_.Alias(self, "Live", alias_name="live", version=self.entry.function.current_version)

    def _allow_bucket(self, model: Model, registry: RegistryStack) -> None:
        """Leave requests, write down what became of them, and read the answers: of this model alone."""
        asked, jobs = async_keys.input_key(model.name, "*"), async_keys.job_key(model.name, "*")
        answers = [f"{prefix(model.name)}*" for prefix in (async_keys.output_prefix, async_keys.failure_prefix)]
        self.entry.allow_objects("s3:PutObject", bucket=registry.artifacts, keys=[asked, jobs])
        self.entry.allow_objects("s3:GetObject", bucket=registry.artifacts, keys=[jobs, *answers])
        # Without it S3 answers 403 for an answer that is not there yet.
        self.entry.allow("s3:ListBucket", on=[registry.artifacts.bucket_arn])
        stack = ModelyardStack.of(self)
        assert isinstance(stack, ModelyardStack)  # noqa: S101 - the only kind of stack there is
        if stack.settings.kms_key is not None and not stack.settings.is_local:
            self.entry.allow("kms:Decrypt", on=[stack.settings.kms_key])
