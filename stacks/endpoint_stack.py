"""One model's endpoint: a function, its alias ``live``, its routes, its alarms."""

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from modelyard import stack_names
from modelyard.control.routes import APP_ROUTES, ASYNC_ROUTES, MODEL_ROUTES, route_of
from modelyard.endpoint_keys import read_keys, written_keys
from modelyard.endpoint_variables import model_variables
from modelyard.packaging import endpoint_of, layers_of
from modelyard.release_override import ReleaseOverride
from modelyard.spec import Model
from stacks.api_stack import ApiStack
from stacks.base import Deployment, ModelyardStack
from stacks.code_release import METRICS_NAMESPACE, CodeRelease
from stacks.function import EntryPoint
from stacks.placement_warning import warn_of_placement
from stacks.registry_stack import RegistryStack
from stacks.sagemaker_endpoint import SageMakerEndpoint
from stacks.way_in import WayIn

ROUTE_NAMES = ("PredictRoute", "FeedbackRoute", "OpenApiRoute", "TensorsRoute", "TensorsBelowRoute", "InferRoute")
"""Of `MODEL_ROUTES`; a route that gets another name is replaced, and does not answer meanwhile."""

APP_ROUTE_NAMES = ("AppRoute", "AppBelowRoute")
"""The same of `APP_ROUTES`."""

ASYNC_ROUTE_NAMES = ("PredictionRoute",)
"""The same of `ASYNC_ROUTES`."""


class LambdaEndpoint(Construct):
    """A model on Lambda.

    Attributes:
        entry: The function and its role.
        alias: ``live``: code releases move it; model releases happen inside the function.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, model: Model, registry: RegistryStack, base_path: str
    ) -> None:
        super().__init__(scope, construct_id)
        endpoint = model.spec.endpoint
        app = model.spec.model.app
        self.entry = EntryPoint(
            self,
            "Predict",
            file=endpoint_of(model),
            layers=layers_of(endpoint_of(model), model),
            description=f"Modelyard endpoint of {model.name}",
            memory_mb=endpoint.memory_mb,
            timeout_s=endpoint.timeout_s,
            architecture=endpoint.architecture,
            concurrency=endpoint.concurrency,
            snap_start=endpoint.snap_start,
            environment={
                "MODELYARD_ARTIFACT_BUCKET": registry.artifacts.bucket_name,
                **model_variables(model),
                **({} if app is None else {"MODELYARD_APP": app}),
                **({"MODELYARD_BASE_PATH": base_path} if app is not None and base_path else {}),
            },
        )
        # The endpoint reads its own pointer and model files, and can write nothing but the labels that it is sent and
        # what it captures; it captures while a version is on trial, whatever monitoring.capture says.
        self.entry.allow_objects("s3:GetObject", bucket=registry.artifacts, keys=read_keys([model]))
        self.entry.allow_objects("s3:PutObject", bucket=registry.artifacts, keys=written_keys([model]))
        # Without it S3 answers 403 for a pointer that does not exist yet, and "nothing is live" reads as "forbidden".
        self.entry.allow("s3:ListBucket", on=[registry.artifacts.bucket_arn])
        self.alias = lambda_.Alias(self, "Live", alias_name="live", version=self.entry.function.current_version)


class EndpointStack(ModelyardStack):
    """Everything that belongs to one model's endpoint; adding or removing a model touches no other stack.

    Attributes:
        endpoint: The function that the routes lead to, and its alias: on SageMaker the way in.
        server: The SageMaker endpoint, where the model has one of its own.
        alarms: On its errors and its latency; none where the environment has no alarms.
        release: How the alias moves to new code; None where it moves at once.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        deployment: Deployment,
        model: Model,
        registry: RegistryStack,
        api: ApiStack,
        override: ReleaseOverride | None = None,
        host: SageMakerEndpoint | None = None,
    ) -> None:
        super().__init__(
            scope,
            stack_names.endpoint_stack(deployment.name, model.name),
            deployment=deployment,
            description=f"Modelyard: endpoint of {model.name}",
        )
        http_api = api.apis[model.spec.endpoint.api]
        base_path = api.base_path(http_api)
        override = override if override is not None and override.model == model.name else None
        self.server: SageMakerEndpoint | None = None
        if model.spec.kind is not None and host is None and not self.settings.is_local:
            self.server = SageMakerEndpoint(self, "Server", models=[model], registry=registry, override=override)
        self.endpoint: LambdaEndpoint | WayIn
        if model.spec.kind is None:
            self.endpoint = LambdaEndpoint(self, "Endpoint", model=model, registry=registry, base_path=base_path)
        else:
            self.endpoint = WayIn(
                self, "WayIn", model=model, registry=registry, server=self.server or host, base_path=base_path
            )
        integration = integrations.HttpLambdaIntegration("Predict", self.endpoint.alias)
        routes = list(zip(ROUTE_NAMES, MODEL_ROUTES, strict=True))
        if model.spec.model.app is not None:
            routes += zip(APP_ROUTE_NAMES, APP_ROUTES, strict=True)
        if model.spec.kind == "async":
            routes += zip(ASYNC_ROUTE_NAMES, ASYNC_ROUTES, strict=True)
        for name, (method, path) in routes:
            apigateway.HttpRoute(
                self,
                name,
                http_api=http_api,
                route_key=apigateway.HttpRouteKey.with_(route_of(path, model.name), apigateway.HttpMethod(method)),
                authorizer=authorizers.HttpIamAuthorizer(),
                integration=integration,
            )
        self.alarms: list[cloudwatch.Alarm] = []
        if self.server is not None:
            self.alarms = self.server.alarms
        elif self.settings.alarms:
            self._alarm(model, registry)
        self.release: CodeRelease | None = None
        if self.settings.release != "all_at_once":
            self.release = CodeRelease(
                self,
                "Release",
                model=model,
                function=self.endpoint.entry.function,
                alias=self.endpoint.alias,
                alarms=self.alarms,
                override=override,
            )
        warn_of_placement(self, model)
        CfnOutput(self, stack_names.PREDICT_FUNCTION, value=self.endpoint.entry.function.function_name)
        step = "Predict" if model.spec.kind is None else "Invoke"
        CfnOutput(self, f"{stack_names.LOGS}{step}", value=self.endpoint.entry.log_group.log_group_name)

    def _alarm(self, model: Model, registry: RegistryStack) -> None:
        monitoring, alias = model.spec.monitoring, self.endpoint.alias
        window = Duration.minutes(5)
        # The function answers 500 and 503 itself, so Lambda counts only what it could not: timeouts, memory, failed
        # starts. The rest is counted by the metric that the audit line carries.
        answered = cloudwatch.Metric(
            namespace=METRICS_NAMESPACE,
            metric_name="errors",
            dimensions_map={"model": model.name},
            statistic="Sum",
            period=window,
        )
        error_rate = cloudwatch.MathExpression(
            expression="IF(calls > 0, (FILL(crashed, 0) + FILL(answered, 0)) / calls, 0)",
            using_metrics={
                "answered": answered,
                "crashed": alias.metric_errors(period=window),
                "calls": alias.metric_invocations(period=window),
            },
            period=window,
            label="share of failed requests",
        )
        latency = alias.metric_duration(period=window, statistic="p99")
        for name, metric, threshold, what in (
            ("ErrorRate", error_rate, monitoring.error_rate, "share of failed requests"),
            ("Latency", latency, monitoring.latency_p99_ms, "99th percentile of latency in ms"),
        ):
            alarm = cloudwatch.Alarm(
                self,
                name,
                metric=metric,
                threshold=threshold,
                evaluation_periods=3,
                datapoints_to_alarm=2,
                comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
                alarm_description=f"{model.name}: {what} above {threshold}",
            )
            alarm.add_alarm_action(actions.SnsAction(registry.topic))
            self.alarms.append(alarm)
            CfnOutput(self, f"{stack_names.ALARM}{name}", value=alarm.alarm_name)
