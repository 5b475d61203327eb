"""One model's rollouts: the workflow, what starts it, and who hears when it is stopped."""

from aws_cdk import CfnOutput
from aws_cdk import aws_events as events
from constructs import Construct

from modelyard import stack_names
from modelyard.spec import Model
from stacks.base import Deployment, ModelyardStack
from stacks.dead_letters import DeadLetters
from stacks.endpoint_stack import EndpointStack
from stacks.registry_stack import RegistryStack
from stacks.rollout_workflow import RolloutWorkflow
from stacks.workflow import alarm_on_failures, starts, stopped, when_stopped


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
            targets=[starts(machine, undelivered)],
        )
        # A step's failure takes the traffic back and is recorded by the workflow. Who stops an execution, or lets it
        # run into its limit, stops that too: this does it in its place.
        when_stopped(
            self,
            machine,
            self.workflow.steps["conclude"],
            undelivered,
            what=f"{model.name}'s rollout",
            model=model.name,
            more={"outcome": "failed", "error": stopped()},
        )
        if self.settings.alarms:
            alarm_on_failures(self, machine, registry.topic, prefix="Rollout", what=f"A rollout of {model.name}")
        for step, entry in self.workflow.steps.items():
            # Retraining has steps of the same names.
            CfnOutput(self, f"{stack_names.LOGS}Rollout{step.capitalize()}", value=entry.log_group.log_group_name)
        CfnOutput(self, stack_names.WORKFLOW, value=machine.state_machine_arn)
