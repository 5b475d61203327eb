"""How many machines stand behind a SageMaker endpoint: by its requests, or by what waits in its queue.

Application Auto Scaling counts machines with a role that AWS has for it, so no role is made here. Sources:
https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling.html and, for none at all,
https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale.html
"""

from aws_cdk import Duration
from aws_cdk import aws_applicationautoscaling as scaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from modelyard.spec_server import Kind, ServerSection
from stacks.sagemaker_metrics import VARIANT, EndpointMetrics

OUT_COOLDOWN, IN_COOLDOWN = Duration.minutes(1), Duration.minutes(5)
"""Machines come quickly and go slowly: a start takes minutes, and requests fail while there are too few."""
MINUTE = Duration.minutes(1)
SERVICE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"


class EndpointScaling(Construct):
    """Target tracking on the machines of an endpoint; for one that may have none, also the step back from zero."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        endpoint: sagemaker.CfnEndpoint,
        server: ServerSection,
        kind: Kind,
        metrics: EndpointMetrics,
    ) -> None:
        super().__init__(scope, construct_id)
        least = server.least_instances(kind)
        registered = scaling.CfnScalableTarget(
            self,
            "Machines",
            service_namespace=SERVICE,
            scalable_dimension=DIMENSION,
            resource_id=f"endpoint/{endpoint.attr_endpoint_name}/variant/{VARIANT}",
            min_capacity=least,
            max_capacity=server.max_instances,
        )
        target = scaling.ScalableTarget.from_scalable_target_attributes(
            self,
            "Target",
            scalable_target_id=registered.ref,
            service_namespace=SERVICE,
            scalable_dimension=DIMENSION,
        )
        if kind == "realtime":
            scaling.TargetTrackingScalingPolicy(
                self,
                "Requests",
                scaling_target=target,
                predefined_metric=scaling.PredefinedMetric.SAGEMAKER_VARIANT_INVOCATIONS_PER_INSTANCE,
                target_value=server.invocations_per_instance,
                scale_out_cooldown=OUT_COOLDOWN,
                scale_in_cooldown=IN_COOLDOWN,
            )
            return
        scaling.TargetTrackingScalingPolicy(
            self,
            "Backlog",
            scaling_target=target,
            custom_metric=metrics.of_endpoint("ApproximateBacklogSizePerInstance", "Average", MINUTE),
            target_value=server.backlog_per_instance,
            scale_out_cooldown=OUT_COOLDOWN,
            scale_in_cooldown=IN_COOLDOWN,
        )
        if least == 0:
            self._wake(target, metrics)

    def _wake(self, target: scaling.IScalableTarget, metrics: EndpointMetrics) -> None:
        """A first machine for a first request: a backlog for each machine has no value while there is none."""
        waiting = cloudwatch.Alarm(
            self,
            "Waiting",
            metric=metrics.of_endpoint("HasBacklogWithoutCapacity", "Average", MINUTE),
            threshold=1,
            evaluation_periods=2,
            datapoints_to_alarm=2,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.MISSING,
            alarm_description="Requests wait and there is no machine: starts one",
        )
        first = scaling.StepScalingAction(
            self,
            "First",
            scaling_target=target,
            adjustment_type=scaling.AdjustmentType.CHANGE_IN_CAPACITY,
            cooldown=IN_COOLDOWN,
        )
        first.add_adjustment(adjustment=1, lower_bound=0)
        waiting.add_alarm_action(actions.ApplicationScalingAction(first))
