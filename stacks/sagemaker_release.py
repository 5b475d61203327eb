"""How SageMaker moves an endpoint to new code: a second fleet, traffic in steps, and back when an alarm fires.

The environment says it in the words of CodeDeploy, which releases Lambda endpoints (`modelyard.environments`); here
they become a blue/green update of SageMaker's. SageMaker shifts whole machines: a tenth of the traffic is one machine
of ten, and with fewer the first step is larger. Where there may be only one, or none that anybody sees (serverless),
everything moves at once, the old fleet stays as long as the steps would have taken, and an alarm brings it back.
Source: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sagemaker as sagemaker

from modelyard.environments import CodeRelease
from modelyard.spec import ModelSpec

BAKE_S = 300
"""After the last step: as long as a window of the alarms, plus what CloudWatch takes to have the metrics."""
LONGEST_WAIT_S = 3600
START_S = 3600
"""For a new fleet to start and to pass its health check, beside all waiting."""
LONGEST_S = 28_800
_LEAST_STEP, _LARGEST_STEP = 10, 50
"""Percent of the machines that SageMaker takes for a linear step."""


@dataclass(frozen=True)
class Steps:
    """What an environment's ``code_release`` says: ``canary`` or ``linear``, and the minutes between steps."""

    shape: str
    minutes: int

    @classmethod
    def of(cls, release: CodeRelease) -> "Steps | None":
        """The steps of a release; None for all at once."""
        found = re.fullmatch(r"(canary|linear)_10_percent_(?:every_)?(\d+)_minutes?", release)
        return None if found is None else cls(found[1], int(found[2]))

    @property
    def total_s(self) -> int:
        """From the first step to the last."""
        return self.minutes * 60 * (1 if self.shape == "canary" else 9)


def deployment_config(
    release: CodeRelease, spec: ModelSpec, alarms: Sequence[cloudwatch.Alarm]
) -> sagemaker.CfnEndpoint.DeploymentConfigProperty | None:
    """What a release of code does; None where it is all at once, which is what SageMaker does by itself.

    Without an alarm SageMaker takes nothing back, so steps without alarms would only be slow: where an override leaves
    all of them out, everything moves at once.

    Args:
        release: The environment's.
        spec: The model's, or that of one of those that share the endpoint.
        alarms: Those that take it back.
    """
    steps = Steps.of(release)
    if steps is None or not alarms:
        return None
    kind = spec.kind
    least = 0 if kind is None or kind == "serverless" else spec.server.least_instances(kind)
    routing = _routing(steps, least)
    whole = routing.type == "ALL_AT_ONCE"
    bake = min(max(steps.total_s, BAKE_S), LONGEST_WAIT_S) if whole else BAKE_S
    waits = bake if whole else bake + steps.total_s
    return sagemaker.CfnEndpoint.DeploymentConfigProperty(
        auto_rollback_configuration=sagemaker.CfnEndpoint.AutoRollbackConfigProperty(
            alarms=[sagemaker.CfnEndpoint.AlarmProperty(alarm_name=alarm.alarm_name) for alarm in alarms]
        ),
        blue_green_update_policy=sagemaker.CfnEndpoint.BlueGreenUpdatePolicyProperty(
            traffic_routing_configuration=routing,
            termination_wait_in_seconds=bake,
            maximum_execution_timeout_in_seconds=min(waits + START_S, LONGEST_S),
        ),
    )


def _routing(steps: Steps, least: int) -> sagemaker.CfnEndpoint.TrafficRoutingConfigProperty:
    """Where at least ``least`` machines answer."""
    wait = steps.minutes * 60
    if least < 2:
        return sagemaker.CfnEndpoint.TrafficRoutingConfigProperty(type="ALL_AT_ONCE", wait_interval_in_seconds=0)
    if steps.shape == "canary":
        # One machine is at most half of two, and a smaller part of more: it is always a size that SageMaker takes.
        return sagemaker.CfnEndpoint.TrafficRoutingConfigProperty(
            type="CANARY",
            wait_interval_in_seconds=wait,
            canary_size=sagemaker.CfnEndpoint.CapacitySizeProperty(type="INSTANCE_COUNT", value=1),
        )
    percent = min(max(ceil(100 / least), _LEAST_STEP), _LARGEST_STEP)
    return sagemaker.CfnEndpoint.TrafficRoutingConfigProperty(
        type="LINEAR",
        wait_interval_in_seconds=wait,
        linear_step_size=sagemaker.CfnEndpoint.CapacitySizeProperty(type="CAPACITY_PERCENT", value=percent),
    )
