"""One Lambda function of Modelyard: an entry point in ``functions/``, its layers, its own log group and role."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from modelyard.packaging.targets import SHARED_ARCHITECTURE, Architecture
from stacks.base import ModelyardStack
from stacks.findings import accept, accept_objects

RETENTION = {
    1: logs.RetentionDays.ONE_DAY,
    7: logs.RetentionDays.ONE_WEEK,
    30: logs.RetentionDays.ONE_MONTH,
    90: logs.RetentionDays.THREE_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
}
PYTHON_IS_CHOSEN = (
    "The Python version is chosen per environment, among those whose wheels the locks hold; the local AWS runs the "
    "host's own."
)


class EntryPoint(Construct):
    """A function with the permissions that are granted to it and no others.

    Attributes:
        function: The Lambda function.
        log_group: Where it logs; the only log group that its role may write.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        file: str,
        layers: Sequence[str],
        environment: Mapping[str, str],
        description: str,
        memory_mb: int = 512,
        timeout_s: int = 30,
        architecture: Architecture = SHARED_ARCHITECTURE,
        concurrency: int | None = None,
        snap_start: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = ModelyardStack.of(self)
        assert isinstance(stack, ModelyardStack)  # noqa: S101 - the only kind of stack there is; tells the type checker
        settings = stack.settings
        self.log_group = logs.LogGroup(
            self,
            "Logs",
            retention=RETENTION[settings.log_retention_days],
            removal_policy=RemovalPolicy.RETAIN if settings.retain else RemovalPolicy.DESTROY,
        )
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"), description=description)
        self.log_group.grant_write(role)
        limits: dict[str, Any] = {} if concurrency is None else {"reserved_concurrent_executions": concurrency}
        if snap_start and not settings.is_local:  # the host's own Python may be one without SnapStart
            limits["snap_start"] = lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS
        self.function = lambda_.Function(
            self,
            "Function",
            description=description,
            code=stack.function_code(file, architecture=architecture),
            handler=f"{file}.handler",
            runtime=stack.runtime,
            architecture=lambda_.Architecture.ARM_64 if architecture == "arm64" else lambda_.Architecture.X86_64,
            layers=[stack.layer(name, architecture=architecture) for name in layers],
            environment=dict(environment),
            memory_size=memory_mb,
            timeout=Duration.seconds(timeout_s),
            role=role,
            log_group=self.log_group,
            **limits,
        )
        if "snap_start" in limits:
            accept(
                self.function, {"Annotation::@aws-cdk/aws-lambda:snapStartRequirePublish": "The alias is of a version."}
            )
        accept(
            self.function,
            {
                "AwsSolutions-L1": PYTHON_IS_CHOSEN,
                "Serverless-LambdaLatestVersion": PYTHON_IS_CHOSEN,
                "Serverless-LambdaTracing": "The audit line carries latency and the request id; the X-Ray client would "
                "cost the endpoint more start-up time than everything else together.",
                "Serverless-LambdaDLQ": "Invoked synchronously, by the API or by the workflow, which handle failures.",
                "Serverless-LambdaDefaultMemorySize": "Memory is set for each function.",
            },
        )

    def allow(self, *actions: str, on: Sequence[str], conditions: Mapping[str, Any] | None = None) -> None:
        """Grant actions on named resources; for what no ``grant_*`` method expresses narrowly enough."""
        self.function.add_to_role_policy(
            iam.PolicyStatement(actions=list(actions), resources=list(on), conditions=dict(conditions or {}))
        )

    def allow_objects(self, *actions: str, bucket: s3.Bucket, keys: Sequence[str]) -> None:
        """Grant S3 actions on some keys of a bucket and on no others."""
        self.allow(*actions, on=[bucket.arn_for_objects(key) for key in keys])
        accept_objects(self, bucket, keys)
