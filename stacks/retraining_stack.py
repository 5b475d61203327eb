"""One model's retraining: what starts it, the workflow, and who hears of its end."""

from aws_cdk import Annotations, CfnOutput, TimeZone
from aws_cdk import aws_events as events
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from constructs import Construct

from modelyard import stack_names
from modelyard.retraining.placing import place
from modelyard.spec import Model, training_plan
from modelyard.training.plan import decode_plan
from stacks.base import Deployment, ModelyardStack
from stacks.dead_letters import DeadLetters
from stacks.registry_stack import RegistryStack
from stacks.retraining_workflow import RetrainingWorkflow
from stacks.rollout_stack import RolloutStack
from stacks.workflow import alarm_on_failures, starts, stopped, when_stopped

ALARMS = {"drift": "Drift alarm", "quality": "Quality alarm"}
"""Detail types of the events that start a run."""


class RetrainingStack(ModelyardStack):
    """The workflow and the rule that starts it when a file arrives."""

    def __init__(
        self,
        scope: Construct,
        *,
        deployment: Deployment,
        model: Model,
        registry: RegistryStack,
        rollout: RolloutStack | None = None,
    ) -> None:
        super().__init__(
            scope,
            stack_names.retraining_stack(deployment.name, model.name),
            deployment=deployment,
            description=f"Modelyard: retraining of {model.name}",
        )
        # The logical id of the state machine starts with this word; the operator policy names it.
        self.workflow = RetrainingWorkflow(
            self,
            "Retraining",
            model=model,
            registry=registry,
            rollout=None if rollout is None else rollout.workflow.state_machine,
        )
        machine = self.workflow.state_machine
        undelivered = DeadLetters(
            self, "Undelivered", settings=self.settings, topic=registry.topic, what=f"a trigger of {model.name}"
        )
        target = starts(machine, undelivered)
        # Rules take places and not triggers: which trigger a file belongs to is the workflow's to say, once.
        for index, (prefix, suffix) in enumerate(model.spec.upload_places):
            events.Rule(
                self,
                f"Upload{index}",
                description=f"A training file of {model.name} arrived",
                event_pattern=events.EventPattern(
                    source=["aws.s3"],
                    detail_type=["Object Created"],
                    detail={
                        "bucket": {"name": [registry.uploads.bucket_name]},
                        "object": {"key": [{"wildcard": f"{prefix}*{suffix}"}]},
                    },
                ),
                targets=[target],
            )
        # By its ARN, which is exported already: the local AWS adds no export to a stack that is else unchanged.
        bus = events.EventBus.from_event_bus_arn(self, "Bus", registry.bus.event_bus_arn)
        for index, trigger in enumerate(model.spec.retraining_triggers):
            if trigger.kind == "schedule":
                minute, hour, day, month, week_day, year = str(trigger.cron).split()
                scheduler.Schedule(
                    self,
                    f"Schedule{index}",
                    description=f"Retraining of {model.name} by the clock",
                    schedule=scheduler.ScheduleExpression.cron(
                        minute=minute,
                        hour=hour,
                        month=month,
                        year=year,
                        **({"week_day": week_day} if day == "?" else {"day": day}),
                        time_zone=TimeZone.of(trigger.timezone),
                    ),
                    target=scheduler_targets.StepFunctionsStartExecution(
                        machine,
                        dead_letter_queue=undelivered.queue,
                        input=scheduler.ScheduleTargetInput.from_object(
                            {"trigger": "schedule", "index": index, "time": scheduler.ContextAttribute.scheduled_time}
                        ),
                    ),
                )
            elif trigger.kind == "alarm":
                events.Rule(
                    self,
                    f"Alarm{index}",
                    event_bus=bus,
                    description=f"An alarm about {model.name}: {', '.join(trigger.alarms)}",
                    event_pattern=events.EventPattern(
                        source=["modelyard"],
                        detail_type=[ALARMS[alarm] for alarm in trigger.alarms],
                        detail={"model": [model.name]},
                    ),
                    targets=[target],
                )
        # A step's failure is recorded by the workflow. Who stops an execution, or lets it run into its limit, stops
        # that too: this writes it down, and gives the turn to the next run.
        when_stopped(
            self,
            machine,
            self.workflow.steps["conclude"],
            undelivered,
            what=f"{model.name}'s retraining",
            model=model.name,
            more={"status": "failed", "state": {"error": stopped()}},
        )
        Annotations.of(self).add_info(f"{model.name} trains {place(decode_plan(training_plan(model.spec))).why}")
        if self.settings.alarms:
            alarm_on_failures(self, machine, registry.topic, prefix="Run", what=f"A retraining run of {model.name}")
        for step, entry in self.workflow.steps.items():
            CfnOutput(self, f"{stack_names.LOGS}{step.capitalize()}", value=entry.log_group.log_group_name)
        CfnOutput(self, stack_names.WORKFLOW, value=machine.state_machine_arn)
