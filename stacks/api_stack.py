"""The way in: HTTP APIs with IAM authorization on every route, and the control plane behind the first of them."""

import re

from aws_cdk import CfnOutput, RemovalPolicy
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from modelyard import stack_names
from modelyard.control.routes import APP_ROUTES, ASYNC_ROUTES, CALLS, MODEL_ROUTES, ROUTES, SERVER_ROUTES
from modelyard.errors import SpecError
from modelyard.packaging import layers_of
from modelyard.spec import Model
from stacks.base import Deployment, ModelyardStack
from stacks.findings import WAITING, accept_resources, logical_id
from stacks.function import RETENTION, EntryPoint
from stacks.registry_stack import RegistryStack

ROUTES_PER_API = 300
ROUTES_PER_MODEL = len(MODEL_ROUTES)
ACCESS_LOG = (
    '{"request_id":"$context.requestId","time":"$context.requestTime","caller":"$context.identity.userArn",'
    '"source_ip":"$context.identity.sourceIp","route":"$context.routeKey","status":"$context.status",'
    '"latency_ms":"$context.responseLatency","bytes":"$context.responseLength","error":"$context.error.message"}'
)


def _control_routes(index: int) -> tuple[tuple[str, str], ...]:
    """The routes of the control plane on an API. Each adds to the function's policy, which holds 20 KB."""
    return (*ROUTES, *MODEL_ROUTES) if index == 0 else SERVER_ROUTES


def _in_policy(path: str) -> str:
    """A path as a policy names it: ``*`` for what it leaves open."""
    return re.sub(r"{\w+}", "*", path)


class ApiStack(ModelyardStack):
    """A list of HTTP APIs (each holds 300 routes) and the control plane's function.

    The first API has all routes of the control plane, the others those of the Open Inference Protocol's server.

    Attributes:
        apis: The HTTP APIs; a model's ``endpoint.api`` is the index of the one that carries its routes.
        control: The control plane's function.
    """

    def __init__(
        self, scope: Construct, *, deployment: Deployment, registry: RegistryStack, models: list[Model]
    ) -> None:
        super().__init__(
            scope,
            stack_names.api_stack(deployment.name),
            deployment=deployment,
            description="Modelyard: HTTP API and control plane",
        )
        count = 1 + max((model.spec.endpoint.api for model in models), default=0)
        self._check_capacity(models)
        self.apis = [self._api(index) for index in range(count)]
        self.control = self._control_plane(registry)
        integration = integrations.HttpLambdaIntegration("Control", self.control.function)
        for index, api in enumerate(self.apis):
            for method, path in _control_routes(index):
                api.add_routes(path=path, methods=[apigateway.HttpMethod(method)], integration=integration)
        later = [(method, _in_policy(path)) for method, path in ASYNC_ROUTES]
        self.invoke_policy = self._policy(
            "Invoke",
            "Call every Modelyard model, and see what it takes",
            self.apis,
            [*CALLS, *(later if any(model.spec.kind == "async" for model in models) else ())],
        )
        self.control_policy = self._policy(
            "UseControlPlane",
            "Use every route of Modelyard's control plane",
            self.apis[:1],
            [(method, _in_policy(path)) for method, path in ROUTES],
        )
        for index, api in enumerate(self.apis):
            suffix = "" if index == 0 else str(index)
            CfnOutput(self, f"{stack_names.API_URL}{suffix}", value=self.url(api))
        CfnOutput(self, stack_names.CONTROL_FUNCTION, value=self.control.function.function_name)
        CfnOutput(self, f"{stack_names.LOGS}Control", value=self.control.log_group.log_group_name)
        CfnOutput(self, stack_names.CONTROL_POLICY, value=self.control_policy.managed_policy_arn)
        CfnOutput(self, stack_names.INVOKE_POLICY, value=self.invoke_policy.managed_policy_arn)

    def url(self, api: apigateway.HttpApi) -> str:
        """Base URL of an API, without a slash at the end."""
        if self.settings.is_local:
            return f"http://127.0.0.1:{self.settings.port}{self.base_path(api)}"
        return api.api_endpoint

    def base_path(self, api: apigateway.HttpApi) -> str:
        """What callers have in front of a route's path and its function does not see."""
        return f"/_aws/execute-api/{api.api_id}/{self._stage_name}" if self.settings.is_local else ""

    @property
    def _stage_name(self) -> str:
        """``$default`` keeps the stage out of the URL; the local AWS has it there, where curl would sign it wrongly."""
        return "live" if self.settings.is_local else "$default"

    def _check_capacity(self, models: list[Model]) -> None:
        for index in {model.spec.endpoint.api for model in models}:
            carried = [model for model in models if model.spec.endpoint.api == index]
            taken = len(_control_routes(index)) + ROUTES_PER_MODEL * len(carried)
            taken += len(ASYNC_ROUTES) * sum(model.spec.kind == "async" for model in carried)
            taken += len(APP_ROUTES) * sum(model.spec.model.app is not None for model in carried)
            if taken > ROUTES_PER_API:
                raise SpecError(
                    f"API {index} would carry {taken} routes; an HTTP API holds {ROUTES_PER_API}",
                    next_step=f"Set endpoint.api = {index + 1} in the model.toml of some models.",
                )

    def _api(self, index: int) -> apigateway.HttpApi:
        api = apigateway.HttpApi(
            self,
            f"Api{index}",
            description=f"Modelyard {self.deployment.name} {index}",
            create_default_stage=False,
            default_authorizer=authorizers.HttpIamAuthorizer(),
        )
        group = logs.LogGroup(
            self,
            f"Api{index}Logs",
            retention=RETENTION[self.settings.log_retention_days],
            removal_policy=RemovalPolicy.RETAIN if self.settings.retain else RemovalPolicy.DESTROY,
        )
        apigateway.CfnStage(
            self,
            f"Api{index}Stage",
            api_id=api.api_id,
            stage_name=self._stage_name,
            auto_deploy=True,
            access_log_settings={"destinationArn": group.log_group_arn, "format": ACCESS_LOG},
            default_route_settings={
                "detailedMetricsEnabled": True,
                "throttlingRateLimit": self.settings.requests_per_second,
                "throttlingBurstLimit": self.settings.request_burst,
            },
        )
        return api

    def _control_plane(self, registry: RegistryStack) -> EntryPoint:
        control = EntryPoint(
            self,
            "Control",
            file="api",
            layers=layers_of("api"),
            description="Modelyard control plane",
            memory_mb=1769,
            timeout_s=29,
            environment={
                "MODELYARD_ARTIFACT_BUCKET": registry.artifacts.bucket_name,
                "MODELYARD_TABLE": registry.table.table_name,
                "MODELYARD_REQUIRE_REASON": "1" if self.settings.require_reason else "0",
                "MODELYARD_EVENT_BUS": registry.bus.event_bus_name,
                "POWERTOOLS_SERVICE_NAME": "modelyard-control",
                "POWERTOOLS_METRICS_NAMESPACE": "Modelyard",
            },
        )
        control.allow(
            "dynamodb:GetItem",
            "dynamodb:Query",
            "dynamodb:PutItem",
            on=[registry.table.table_arn],
        )
        artifacts = registry.artifacts
        control.allow_objects(
            "s3:GetObject", "s3:PutObject", bucket=artifacts, keys=["artifacts/*", "deployments/*", "uploads/*"]
        )
        control.allow_objects("s3:AbortMultipartUpload", bucket=artifacts, keys=["artifacts/*"])
        control.allow_objects("s3:GetObject", bucket=artifacts, keys=["reports/*", "rollouts/*"])
        registry.bus.grant_put_events_to(control.function)
        control.allow("states:SendTaskSuccess", on=[self.waiting_rollouts])
        accept_resources(control, [self.waiting_rollouts], why=WAITING)
        control.allow("s3:ListBucket", on=[registry.artifacts.bucket_arn])
        return control

    def _policy(
        self, name: str, description: str, apis: list[apigateway.HttpApi], routes: list[tuple[str, str]]
    ) -> iam.ManagedPolicy:
        """A policy that allows calling some routes of these APIs; ``*`` stands for a model's name."""
        policy = iam.ManagedPolicy(self, name, description=description)
        policy.add_statements(
            iam.PolicyStatement(
                actions=["execute-api:Invoke"],
                resources=[api.arn_for_execute_api(method, path, "*") for api in apis for method, path in routes],
            )
        )
        place = f"arn:{self.partition}:execute-api:{self.region}:{self.account}"
        accept_resources(
            policy,
            [f"{place}:<{logical_id(api)}>/*/{method}{path}" for api in apis for method, path in routes],
            why="These routes for every model and on every stage of this API.",
        )
        return policy
