"""What the workflows share: how a state calls a step, how an end is told, how a machine is logged and watched.

The rule: every task has a timeout, tries again what passes by itself and nothing else, and an event that could not be
sent ends nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from stacks.base import ModelyardStack
from stacks.dead_letters import DeadLetters
from stacks.findings import accept, accept_resources, logical_id
from stacks.function import RETENTION, EntryPoint

TABLE_READ = ("dynamodb:GetItem", "dynamodb:Query")
TABLE_WRITE = ("dynamodb:PutItem",)
NO_XRAY = "The execution history shows every step with its times; X-Ray would add a grant on '*'."
NOTHING = {"status": "none"}
"""What a step leaves that was not needed, so that the steps after it find something under its name."""

TRANSIENT = (
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
    "AWSError",
)
"""What passes by itself."""

OLDEST_EVENT_HOURS, MOST_DELIVERIES = 24, 185
"""How long EventBridge tries to deliver; both are its most."""


def at(path: str) -> Any:
    """What the state holds under a path."""
    return sfn.JsonPath.object_at(f"$.{path}")


def call(
    scope: Construct, title: str, entry: EntryPoint, payload: Mapping[str, Any], result: str
) -> tasks.LambdaInvoke:
    """A state that calls a step and leaves its answer under a name."""
    function = entry.function
    task = tasks.LambdaInvoke.json_path(
        scope,
        title,
        lambda_function=function,
        payload=sfn.TaskInput.from_object(payload),
        payload_response_only=True,
        result_path=f"$.{result}",
        retry_on_service_exceptions=False,
        task_timeout=sfn.Timeout.duration((function.timeout or Duration.seconds(60)).plus(Duration.seconds(15))),
    )
    retry_what_passes(task)
    return task


def retry_what_passes(task: sfn.TaskStateBase) -> None:
    """Try again what passes by itself; an error of ours would be the same error again."""
    task.add_retry(errors=[*TRANSIENT], interval=Duration.seconds(2), max_attempts=4, backoff_rate=2)


def tell(
    scope: Construct,
    title: str,
    *,
    bus: events.IEventBus,
    detail_type: str,
    detail: Mapping[str, Any],
    then: sfn.Succeed | tasks.LambdaInvoke,
) -> tasks.EventBridgePutEvents:
    """A state that puts an event on the bus, then goes on, also where that could not be done."""
    task = tasks.EventBridgePutEvents(
        scope,
        title,
        entries=[
            tasks.EventBridgePutEventsEntry(
                event_bus=bus,
                source="modelyard",
                detail_type=detail_type,
                detail=sfn.TaskInput.from_object(detail),
            )
        ],
        result_path=sfn.JsonPath.DISCARD,
        task_timeout=sfn.Timeout.duration(Duration.seconds(60)),
    )
    task.add_retry(errors=["States.TaskFailed"], interval=Duration.seconds(2), max_attempts=4, backoff_rate=2)
    task.add_catch(then, errors=["States.ALL"], result_path="$.not_told")
    task.next(then)
    return task


def machine(
    scope: Construct,
    *,
    stack: ModelyardStack,
    comment: str,
    definition: sfn.IChainable,
    timeout: Duration,
    entries: Iterable[EntryPoint],
    logs_data: bool | None = None,
) -> sfn.StateMachine:
    """A Standard workflow with its log.

    Args:
        scope: The workflow's construct.
        stack: Its stack.
        comment: What it is for.
        definition: Its states.
        timeout: After which an execution is ended.
        entries: The functions that it calls.
        logs_data: Whether its log has what the states hold; None is CDK's default, which has it.
    """
    log_group = logs.LogGroup(
        scope,
        "Logs",
        retention=RETENTION[stack.settings.log_retention_days],
        removal_policy=RemovalPolicy.RETAIN if stack.settings.retain else RemovalPolicy.DESTROY,
    )
    made = sfn.StateMachine(
        scope,
        "StateMachine",
        comment=comment,
        definition_body=sfn.DefinitionBody.from_chainable(definition),
        state_machine_type=sfn.StateMachineType.STANDARD,
        timeout=timeout,
        logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=logs_data),
    )
    accept_resources(
        made,
        [f"<{logical_id(entry.function)}.Arn>:*" for entry in entries],
        why="The versions and aliases of this one function.",
    )
    accept(
        made,
        {
            "AwsSolutions-IAM5[Resource::*]": "CloudWatch's log delivery actions accept no narrower resource.",
            "AwsSolutions-SF2": NO_XRAY,
            "Serverless-StepFunctionStateMachineXray": NO_XRAY,
        },
    )
    return made


def starts(machine: sfn.IStateMachine, undelivered: DeadLetters) -> targets.SfnStateMachine:
    """The target of a rule that starts an execution."""
    return targets.SfnStateMachine(
        machine,
        dead_letter_queue=undelivered.queue,
        max_event_age=Duration.hours(OLDEST_EVENT_HOURS),
        retry_attempts=MOST_DELIVERIES,
    )


def stopped() -> dict[str, str]:
    """The error of an execution that ended from outside, as a state that failed would leave it."""
    return {"Error": "the execution ended from outside", "Cause": events.EventField.from_path("$.detail.status")}


def when_stopped(
    scope: Construct,
    machine: sfn.IStateMachine,
    conclude: EntryPoint,
    undelivered: DeadLetters,
    *,
    what: str,
    model: str,
    more: Mapping[str, Any],
) -> None:
    """Have a step write down that an execution was stopped from outside, or ran into its limit: no state can.

    Args:
        scope: The stack.
        machine: The workflow.
        conclude: The step.
        undelivered: Where an event goes that does not arrive.
        what: Of what an execution was stopped, for the rule's description.
        model: The model's name.
        more: What else the step is told, with `stopped` where it looks for the error.
    """
    told = {"run_id": events.EventField.from_path("$.detail.name"), "plan": {"model": model}, **more}
    events.Rule(
        scope,
        "Stopped",
        description=f"An execution of {what} was stopped from outside",
        event_pattern=events.EventPattern(
            source=["aws.states"],
            detail_type=["Step Functions Execution Status Change"],
            detail={"stateMachineArn": [machine.state_machine_arn], "status": ["ABORTED", "TIMED_OUT"]},
        ),
        targets=[
            targets.LambdaFunction(
                conclude.function,
                dead_letter_queue=undelivered.queue,
                max_event_age=Duration.hours(OLDEST_EVENT_HOURS),
                retry_attempts=MOST_DELIVERIES,
                event=events.RuleTargetInput.from_object(told),
            )
        ],
    )


def alarm_on_failures(
    scope: Construct, machine: sfn.IStateMachine, topic: sns.ITopic, *, prefix: str, what: str
) -> None:
    """Alarms for executions that fail, or take longer than their limit.

    Args:
        scope: The stack.
        machine: The workflow.
        topic: Who hears of it.
        prefix: Of the alarms' construct ids.
        what: What an execution is, with a capital letter.
    """
    window = Duration.minutes(5)
    for name, metric, said in (
        (f"{prefix}Failed", machine.metric_failed(period=window), "failed"),
        (f"{prefix}TimedOut", machine.metric_timed_out(period=window), "took longer than its limit"),
    ):
        alarm = metric.create_alarm(
            scope,
            name,
            alarm_description=f"{what} {said}",
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(topic))
