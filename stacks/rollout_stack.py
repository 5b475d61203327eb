"""One model's rollouts: the workflow, what starts it, and who hears when it is stopped."""

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from modelyard import stack_names
from modelyard.spec import Model
from stacks.base import Deployment, ModelyardStack
from stacks.dead_letters import DeadLetters
from stacks.endpoint_stack import EndpointStack
from stacks.registry_stack import RegistryStack
from stacks.rollout_workflow import RolloutWorkflow


class RolloutStack(ModelyardStack):
    """The rollout workflow of a model with ``rollout.mode = "gradual"``.

    Attributes:
        workflow: The workflow.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        deployment: Deployment,
        model: Model,
        registry: RegistryStack,
        endpoint: EndpointStack,
    ) -> None:
        super().__init__(
            scope,
            stack_names.rollout_stack(deployment.name, model.name),
            deployment=deployment,
            description=f"Modelyard: rollouts of {model.name}",
        )
        # The logical id of the state machine starts with this word; the operator policy names it.
        self.workflow = RolloutWorkflow(self, "Rollout", model=model, registry=registry, alarms=endpoint.alarms)
        machine = self.workflow.state_machine
        undelivered = DeadLetters(
            self, "Undelivered", settings=self.settings, topic=registry.topic, what=f"an event about {model.name}"
        )
        bus = events.EventBus.from_event_bus_arn(self, "Bus", registry.bus.event_bus_arn)
        events.Rule(
            self,
            "AskedFor",
            event_bus=bus,
            description=f"A rollout of {model.name} that a caller of the control plane has claimed",
            event_pattern=events.EventPattern(
                source=["modelyard"], detail_type=[stack_names.ROLLOUT_ASKED_FOR], detail={"model": [model.name]}
            ),
            targets=[
                targets.SfnStateMachine(
                    machine, dead_letter_queue=undelivered.queue, max_event_age=Duration.hours(24), retry_attempts=185
                )
            ],
        )
        # A step's failure takes the traffic back and is recorded by the workflow. Who stops an execution, or lets it
        # run into its limit, stops that too: this does it in its place.
        events.Rule(
            self,
            "Stopped",
            description=f"An execution of {model.name}'s rollout was stopped from outside",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"stateMachineArn": [machine.state_machine_arn], "status": ["ABORTED", "TIMED_OUT"]},
            ),
            targets=[
                targets.LambdaFunction(
                    self.workflow.steps["conclude"].function,
                    dead_letter_queue=undelivered.queue,
                    max_event_age=Duration.hours(24),
                    retry_attempts=185,
                    event=events.RuleTargetInput.from_object(
                        {
                            "run_id": events.EventField.from_path("$.detail.name"),
                            "plan": {"model": model.name},
                            "outcome": "failed",
                            "error": {
                                "Error": "the execution ended from outside",
                                "Cause": events.EventField.from_path("$.detail.status"),
                            },
                        }
                    ),
                )
            ],
        )
        if self.settings.alarms:
            window = Duration.minutes(5)
            for name, metric, what in (
                ("RolloutFailed", machine.metric_failed(period=window), "failed"),
                ("RolloutTimedOut", machine.metric_timed_out(period=window), "took longer than its limit"),
            ):
                alarm = metric.create_alarm(
                    self,
                    name,
                    alarm_description=f"A rollout of {model.name} {what}",
                    threshold=1,
                    evaluation_periods=1,
                    treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
                )
                alarm.add_alarm_action(actions.SnsAction(registry.topic))
        for step, entry in self.workflow.steps.items():
            # Retraining has steps of the same names.
            CfnOutput(self, f"{stack_names.LOGS}Rollout{step.capitalize()}", value=entry.log_group.log_group_name)
        CfnOutput(self, stack_names.WORKFLOW, value=machine.state_machine_arn)
