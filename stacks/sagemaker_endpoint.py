"""A SageMaker endpoint behind a model, or behind several that share one: image, role, configuration, releases, scaling.

    image ──► CfnModel ──► CfnEndpointConfig ──► CfnEndpoint ──► machines that come and go
                 ▲                                    ▲
            role, variables                 alarms that take a release back

The rule: the container is the same for every kind of endpoint, and follows the deployment's pointer in S3 as a function
does, so a release of a model never comes here. That is also why network isolation is off: an isolated container reaches
no S3 (https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html). What it may do there is what
its role allows.

Properties: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_SageMaker.html
"""

from collections.abc import Sequence
from typing import Any

from aws_cdk import CfnOutput, RemovalPolicy
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_sns as sns
from constructs import Construct

from modelyard import async_keys, stack_names
from modelyard.endpoint_keys import read_keys, written_keys
from modelyard.endpoint_variables import server_variables
from modelyard.instances import has_own_disk
from modelyard.release_override import ReleaseOverride
from modelyard.spec import Model
from modelyard.spec_server import SERVERLESS_CONCURRENCY
from stacks.base import ModelyardStack
from stacks.findings import accept, accept_objects
from stacks.function import RETENTION
from stacks.registry_stack import SAGEMAKER_LOGS, RegistryStack
from stacks.sagemaker_image import ServerImage
from stacks.sagemaker_metrics import VARIANT, EndpointMetrics, release_alarms, standing_alarms
from stacks.sagemaker_release import deployment_config
from stacks.sagemaker_scaling import EndpointScaling

START_S = 600
"""For the container to be healthy: it reads the pointer and loads the models first."""
GPU_MACHINE = "al2023-ami-sagemaker-inference-gpu-4-1"
"""The machine image whose driver runs CUDA 13, which the locked onnxruntime is built for."""


class SageMakerEndpoint(Construct):
    """The endpoint that answers for one model, or for several with one ``endpoint.host``.

    Attributes:
        endpoint: The endpoint.
        role: What the container runs as.
        alarms: ``ErrorRate`` and ``Latency``; none where the environment has no alarms.
        release_alarms: Quicker ones, for releases of code; none where those are all at once.
        topics: Who is told of answers and of failures, by output; an async endpoint's only.
        log_group: Where the container logs.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        models: Sequence[Model],
        registry: RegistryStack,
        override: ReleaseOverride | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = ModelyardStack.of(self)
        assert isinstance(stack, ModelyardStack)  # noqa: S101 - the only kind of stack there is; tells the type checker
        spec = models[0].spec  # of several with one host, all ask for the same
        assert spec.kind is not None  # noqa: S101 - only models on SageMaker get this construct
        self._stack, self._models, self._registry = stack, models, registry
        self._spec, self._kind = spec, spec.kind
        self._shown = ", ".join(model.name for model in models)
        name = stack_names.sagemaker_endpoint(
            stack.deployment.name, self._kind, model=models[0].name, host=spec.endpoint.host
        )
        self.topics = self._topics() if self._kind == "async" else {}
        self.log_group = self._logs(name)
        image = ServerImage(self, "Server", models=models)
        self.role = self._role(image)
        model = sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=self.role.role_arn,
            enable_network_isolation=False,
            primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(
                image=image.asset.image_uri,
                environment={
                    "MODELYARD_ARTIFACT_BUCKET": registry.artifacts.bucket_name,
                    **server_variables(models, self._kind),
                },
            ),
        )
        # SageMaker makes a model by its role: the rights have to be there, and the log group with its retention.
        model.node.add_dependency(self.role, self.log_group)
        self._config = self._configuration(model)
        metrics = EndpointMetrics(name, models)
        self.alarms: list[cloudwatch.Alarm] = []
        self.release_alarms: list[cloudwatch.Alarm] = []
        if stack.settings.alarms:
            self.alarms = standing_alarms(self, metrics, what=self._shown)
        self.endpoint = sagemaker.CfnEndpoint(
            self,
            "Endpoint",
            endpoint_name=name,
            endpoint_config_name=self._config.attr_endpoint_config_name,
            deployment_config=self._release(metrics, override),
            # A release leaves as many machines as there are. One that may have none begins with one, which proves it.
            retain_all_variant_properties=self._least != 0 and self._kind != "serverless",
        )
        if self._kind != "serverless" and self._spec.server.max_instances > self._least:
            EndpointScaling(
                self, "Scaling", endpoint=self.endpoint, server=spec.server, kind=self._kind, metrics=metrics
            )
        for alarm in self.alarms:
            alarm.add_alarm_action(actions.SnsAction(registry.topic))
        self._tell()

    @property
    def _least(self) -> int:
        return self._spec.server.least_instances(self._kind)

    def _release(
        self, metrics: EndpointMetrics, override: ReleaseOverride | None
    ) -> sagemaker.CfnEndpoint.DeploymentConfigProperty | None:
        release = self._stack.settings.release
        if release == "all_at_once":
            return None
        self.release_alarms = release_alarms(self, metrics, what=self._shown)
        left_out = () if override is None else override.alarms
        watching = [alarm for alarm in (*self.alarms, *self.release_alarms) if alarm.node.id not in left_out]
        return deployment_config(release, self._spec, watching)

    def _tell(self) -> None:
        """What the command line looks for; on the stack, because it looks for the names."""
        alarms = [*self.alarms, *self.release_alarms]
        for output, value in (
            (stack_names.SAGEMAKER_ENDPOINT, self.endpoint.attr_endpoint_name),
            (stack_names.SAGEMAKER_CONFIG, self._config.attr_endpoint_config_name),
            (f"{stack_names.LOGS}Predict", self.log_group.log_group_name),
            *((f"{stack_names.ALARM}{alarm.node.id}", alarm.alarm_name) for alarm in alarms),
            *((output, topic.topic_arn) for output, topic in self.topics.items()),
        ):
            CfnOutput(self._stack, output, value=value)

    def _logs(self, name: str) -> logs.LogGroup:
        settings = self._stack.settings
        return logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"{SAGEMAKER_LOGS}/{name}",
            retention=RETENTION[settings.log_retention_days],
            removal_policy=RemovalPolicy.RETAIN if settings.retain else RemovalPolicy.DESTROY,
        )

    def _configuration(self, model: sagemaker.CfnModel) -> sagemaker.CfnEndpointConfig:
        server, key = self._spec.server, self._stack.settings.kms_key
        variant: dict[str, Any] = {"variant_name": VARIANT, "model_name": model.attr_model_name}
        more: dict[str, Any] = {}
        if self._kind == "serverless":
            concurrency = server.max_concurrency or SERVERLESS_CONCURRENCY
            variant["serverless_config"] = sagemaker.CfnEndpointConfig.ServerlessConfigProperty(
                memory_size_in_mb=server.memory_mb,
                max_concurrency=concurrency,
                provisioned_concurrency=server.provisioned_concurrency,
            )
        else:
            variant |= {
                "initial_variant_weight": 1,
                "initial_instance_count": max(1, self._least),
                "instance_type": server.instance,
                "container_startup_health_check_timeout_in_seconds": START_S,
            }
            if server.wants_gpu:
                variant["inference_ami_version"] = GPU_MACHINE
            if key is not None and not has_own_disk(server.instance):
                more["kms_key_id"] = key
        if self._kind == "realtime":
            variant["routing_config"] = sagemaker.CfnEndpointConfig.RoutingConfigProperty(
                routing_strategy="LEAST_OUTSTANDING_REQUESTS"
            )
        if self._kind == "async":
            more["async_inference_config"] = self._async(key)
        config = sagemaker.CfnEndpointConfig(
            self,
            "Configuration",
            production_variants=[sagemaker.CfnEndpointConfig.ProductionVariantProperty(**variant)],
            **more,
        )
        if self._kind != "serverless" and "kms_key_id" not in more:
            accept(config, {"AwsSolutions-SM2": _no_key_why(key)})
        return config

    def _async(self, key: str | None) -> sagemaker.CfnEndpointConfig.AsyncInferenceConfigProperty:
        bucket, name = f"s3://{self._registry.artifacts.bucket_name}", self._models[0].name  # it shares no endpoint
        most = self._spec.server.max_concurrency
        return sagemaker.CfnEndpointConfig.AsyncInferenceConfigProperty(
            client_config=None
            if most is None
            else sagemaker.CfnEndpointConfig.AsyncInferenceClientConfigProperty(
                max_concurrent_invocations_per_instance=most
            ),
            output_config=sagemaker.CfnEndpointConfig.AsyncInferenceOutputConfigProperty(
                s3_output_path=f"{bucket}/{async_keys.output_prefix(name)}",
                s3_failure_path=f"{bucket}/{async_keys.failure_prefix(name)}",
                kms_key_id=key,
                notification_config=sagemaker.CfnEndpointConfig.AsyncInferenceNotificationConfigProperty(
                    success_topic=self.topics[stack_names.ANSWERS_TOPIC].topic_arn,
                    error_topic=self.topics[stack_names.FAILURES_TOPIC].topic_arn,
                ),
            ),
        )

    def _topics(self) -> dict[str, sns.Topic]:
        return {
            output: sns.Topic(self, output, enforce_ssl=True)
            for output in (stack_names.ANSWERS_TOPIC, stack_names.FAILURES_TOPIC)
        }

    def _role(self, image: ServerImage) -> iam.Role:
        """What the container may do: what the function of a Lambda endpoint may, for each of its models."""
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"),
            description=f"Modelyard endpoint on SageMaker: {self._shown}"[:1000],
        )
        image.asset.repository.grant_pull(role)
        accept(role, {"AwsSolutions-IAM5[Resource::*]": "ecr:GetAuthorizationToken accepts no narrower resource."})
        artifacts = self._registry.artifacts
        readable, writable = read_keys(self._models), written_keys(self._models)
        for action, keys in (("s3:GetObject", readable), ("s3:PutObject", writable)):
            _allow(role, action, on=[artifacts.arn_for_objects(key) for key in keys])
        accept_objects(role, artifacts, [*readable, *writable])
        # Without it S3 answers 403 for a pointer that does not exist yet, and "nothing is live" reads as "forbidden".
        _allow(role, "s3:ListBucket", on=[artifacts.bucket_arn])
        self.log_group.grant_write(role)
        for topic in self.topics.values():
            topic.grant_publish(role)
        if self._stack.settings.kms_key is not None:
            key = self._stack.settings.kms_key
            _allow(role, "kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey", on=[key])
            _allow(role, "kms:CreateGrant", on=[key], conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}})
        return role


def _allow(role: iam.Role, *allowed: str, on: Sequence[str], conditions: dict[str, Any] | None = None) -> None:
    role.add_to_policy(iam.PolicyStatement(actions=list(allowed), resources=list(on), conditions=conditions or {}))


def _no_key_why(key: str | None) -> str:
    if key is None:
        return "Encrypted by AWS's own key; environments.toml has kms_key for one of yours."
    return "This machine's disk is its own, which its hardware encrypts; SageMaker puts no key of ours on it."
