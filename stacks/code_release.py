"""How an endpoint gets new code: CodeDeploy moves the alias in steps, and back when an alarm fires.

    cdk deploy ──► a version of the function, alarms of its own ──► the deployment group ──► the alias, by CodeDeploy

A release of a model never comes here: it happens inside the function, whatever its code. Synth only; the local AWS has
no CodeDeploy, so its alias moves at once.
"""

from collections.abc import Sequence

import jsii
from aws_cdk import CfnOutput, Duration, IResolveContext, IStringProducer, Lazy, Tags
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_codedeploy as codedeploy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from modelyard import stack_names
from modelyard.release_override import ReleaseOverride
from modelyard.spec import Model
from stacks.base import ModelyardStack
from stacks.findings import accept_resources, logical_id

METRICS_NAMESPACE = "Modelyard"
"""Of the metrics that an endpoint's audit line carries; a test holds it against ``modelyard.serving.audit``."""

WINDOW = Duration.minutes(5)
"""What an alarm on the new version sums up. The window slides by a minute, and before the release this version had no
request, so it fires as early as one of a minute would, on five times the requests."""
LEAST_FAILURES = 3
"""Of the new version in a window. A tenth of the traffic may be ten requests, and one unlucky one of them 10 %."""
LEAST_CALLS = 20
"""Of the new version in a window, before its latency says something."""


class CodeRelease(Construct):
    """The deployment group of an endpoint's alias, and the alarms on the version that is being released.

    Attributes:
        group: The deployment group.
        alarms: On the new version alone: on what it fails at and on its latency.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        model: Model,
        function: lambda_.Function,
        alias: lambda_.Alias,
        alarms: Sequence[cloudwatch.Alarm],
        override: ReleaseOverride | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = ModelyardStack.of(self)
        assert isinstance(stack, ModelyardStack)  # noqa: S101 - the only kind of stack there is; tells the type checker
        self._model, self._function, self._alias = model, function, alias
        self.alarms = self._alarms_on_new_version()
        left_out = () if override is None else override.alarms
        self.group = codedeploy.LambdaDeploymentGroup(
            self,
            "Group",
            alias=alias,
            application=codedeploy.LambdaApplication(self, "Application"),
            alarms=[*(alarm for alarm in alarms if alarm.node.id not in left_out), *self.alarms],
            auto_rollback=codedeploy.AutoRollbackConfig(
                failed_deployment=True, stopped_deployment=True, deployment_in_alarm=True
            ),
            deployment_config=getattr(codedeploy.LambdaDeploymentConfig, stack.settings.release.upper()),
            # The construct attaches AWS's own policy to any role that lets it: it is for every alias of the account.
            role=self._role(stack).without_policy_updates(),
        )
        # The group has its alarms before the alias moves: an override that came later would be none, and its end too.
        alias.node.add_dependency(self.group)
        if override is not None:
            Tags.of(self.group).add(stack_names.RELEASE_OVERRIDE_TAG, override.operation)
            # On the stack, because the command line looks for the name.
            CfnOutput(stack, stack_names.RELEASE_OVERRIDE, value=override.word(stack.deployment.name))

    def _role(self, stack: ModelyardStack) -> iam.Role:
        """What CodeDeploy may do: move this alias, and look at alarms."""
        arn = self._function.function_arn
        alarms = f"arn:{stack.partition}:cloudwatch:{stack.region}:{stack.account}:alarm:*"
        moves = iam.PolicyStatement(
            actions=["lambda:GetAlias", "lambda:UpdateAlias", "lambda:GetProvisionedConcurrencyConfig"],
            resources=[arn, f"{arn}:*"],
        )
        looks = iam.PolicyStatement(actions=["cloudwatch:DescribeAlarms"], resources=[alarms])
        # Inline, so that it is there when the role is: the alias waits for the group, and the group for the role.
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("codedeploy.amazonaws.com"),
            description=f"Modelyard: moves the alias of {self._model.name}'s endpoint to new code",
            inline_policies={"Move": iam.PolicyDocument(statements=[moves, looks])},
        )
        accept_resources(role, [f"<{logical_id(self._function)}.Arn>:*"], why="The function's own versions and alias.")
        accept_resources(
            role,
            [alarms],
            why="How CodeDeploy asks for alarms is not documented; where it may not, it stops every release.",
        )
        return role

    def _alarms_on_new_version(self) -> list[cloudwatch.Alarm]:
        """Alarms that know one version only, so that a tenth of the traffic is not lost in the rest of it.

        They are made anew for each version, and not changed, because a changed alarm keeps the state that it was in:
        one that the version before made fire would stop the release that mends it.
        """
        monitoring = self._model.spec.monitoring
        calls = self._metric("Invocations", "Sum")
        answered = cloudwatch.Metric(
            namespace=METRICS_NAMESPACE,
            metric_name="errors",
            dimensions_map={
                "model": self._model.name,
                "function_version": self._function.current_version.version,
            },
            statistic="Sum",
            period=WINDOW,
        )
        failed = f"IF(failed >= {LEAST_FAILURES}, failed / calls, 0)"
        crashed = self._metric("Errors", "Sum")
        slow = self._metric("Duration", "p90")
        return [
            self._alarm("Crashes", failed, {"failed": crashed, "calls": calls}, monitoring.error_rate),
            self._alarm("Errors", failed, {"failed": answered, "calls": calls}, monitoring.error_rate),
            self._alarm(
                "Latency", f"IF(calls >= {LEAST_CALLS}, slow, 0)", {"slow": slow, "calls": calls},
                monitoring.latency_p99_ms,
            ),
        ]  # fmt: skip

    def _metric(self, name: str, statistic: str) -> cloudwatch.Metric:
        """One of Lambda's own metrics, of the alias's calls that the new version answered."""
        function = self._function.function_name
        return cloudwatch.Metric(
            namespace="AWS/Lambda",
            metric_name=name,
            dimensions_map={
                "FunctionName": function,
                "Resource": f"{function}:{self._alias.alias_name}",
                "ExecutedVersion": self._function.current_version.version,
            },
            statistic=statistic,
            period=WINDOW,
        )

    def _alarm(
        self, what: str, expression: str, metrics: dict[str, cloudwatch.IMetric], limit: float
    ) -> cloudwatch.Alarm:
        alarm = cloudwatch.Alarm(
            self,
            f"NewVersion{what}",
            metric=cloudwatch.MathExpression(
                expression=expression, using_metrics=metrics, period=WINDOW, label=f"{what.lower()} of the new version"
            ),
            threshold=limit,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=f"{self._model.name}, code that is being released: {what.lower()} above {limit}",
        )
        child = alarm.node.default_child
        assert isinstance(child, cloudwatch.CfnAlarm)  # noqa: S101 - what an L2 alarm is made of
        child.override_logical_id(Lazy.uncached_string(_ForVersion(alarm, self._function)))
        return alarm


@jsii.implements(IStringProducer)
class _ForVersion:
    """The logical id of an alarm with the end of the function's version's, which is a digest of code and configuration.

    Asked late: the digest is known when everything that changes the function is.
    """

    def __init__(self, alarm: cloudwatch.Alarm, function: lambda_.Function) -> None:
        self._of, self._function = logical_id(alarm), function

    def produce(self, _context: IResolveContext) -> str:
        """Called by CDK."""
        return f"{self._of}{logical_id(self._function.current_version)[-8:]}"
