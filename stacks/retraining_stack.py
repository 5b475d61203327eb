"""One model's retraining: an upload starts a workflow that ends with a better champion or a written reason why not."""

from collections.abc import Mapping
from typing import Any

from aws_cdk import CfnOutput, Duration, RemovalPolicy
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from modelyard import stack_names
from modelyard.packaging import layers_of
from modelyard.packaging.targets import SHARED_ARCHITECTURE, FunctionKind
from modelyard.pointer_key import pointer_key
from modelyard.spec import Model, training_plan
from stacks.base import Deployment, ModelyardStack
from stacks.dead_letters import DeadLetters
from stacks.findings import accept, accept_resources, logical_id
from stacks.function import RETENTION, EntryPoint
from stacks.registry_stack import RegistryStack

TABLE_READ = ("dynamodb:GetItem", "dynamodb:Query")
NO_XRAY = "The execution history shows every step with its times; X-Ray would add a grant on '*'."
TABLE_WRITE = ("dynamodb:PutItem",)


class RetrainingWorkflow(Construct):
    """Claim → validate → train → evaluate → register → promote, or a recorded rejection or failure.

    Attributes:
        state_machine: The Standard workflow; its states read like the story.
        steps: The functions by step name.
    """

    def __init__(self, scope: Construct, construct_id: str, *, model: Model, registry: RegistryStack) -> None:
        super().__init__(scope, construct_id)
        assert model.spec.training is not None  # noqa: S101 - only models with a [training] section get this construct
        stack = ModelyardStack.of(self)
        assert isinstance(stack, ModelyardStack)  # noqa: S101 - the only kind of stack there is
        self._stack, self._registry, self._model = stack, registry, model
        self._plan = training_plan(model.spec)
        self.steps: dict[str, EntryPoint] = {}
        training = model.spec.training
        self._step("claim")
        # It reads the whole data set, as the training does.
        self._step("validate", memory_mb=training.memory_mb, timeout_s=120)
        self._step("train", function="train", memory_mb=training.memory_mb, timeout_s=training.timeout_s)
        self._step("evaluate", memory_mb=1769, timeout_s=300)
        # What trained a version: the library and the locked dependencies, as the layers carry them.
        digests = {
            f"MODELYARD_{what}_DIGEST": stack.built_layer(layer, architecture=SHARED_ARCHITECTURE).digest
            for what, layer in (("CODE", "core"), ("LOCK", "training"))
        }
        self._step("register", memory_mb=1769, timeout_s=120, environment=digests)
        self._step("promote")
        self._step("conclude")
        self._grant()
        log_group = logs.LogGroup(
            self,
            "Logs",
            retention=RETENTION[stack.settings.log_retention_days],
            removal_policy=RemovalPolicy.RETAIN if stack.settings.retain else RemovalPolicy.DESTROY,
        )
        self.state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            comment=f"Retraining of {model.name}: new data becomes a better model or a written reason why not",
            definition_body=sfn.DefinitionBody.from_chainable(self._definition()),
            state_machine_type=sfn.StateMachineType.STANDARD,
            timeout=Duration.seconds(training.timeout_s + 1200),
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL),
        )
        accept_resources(
            self.state_machine,
            [f"<{logical_id(entry.function)}.Arn>:*" for entry in self.steps.values()],
            why="The versions and aliases of this one function.",
        )
        accept(
            self.state_machine,
            {
                "AwsSolutions-IAM5[Resource::*]": "CloudWatch's log delivery actions accept no narrower resource.",
                "AwsSolutions-SF2": NO_XRAY,
                "Serverless-StepFunctionStateMachineXray": NO_XRAY,
            },
        )

    def _step(
        self,
        name: str,
        *,
        function: FunctionKind = "workflow",
        memory_mb: int = 512,
        timeout_s: int = 60,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.steps[name] = EntryPoint(
            self,
            name.capitalize(),
            file=f"retraining_{name}",
            layers=layers_of(function),
            description=f"Modelyard retraining of {self._model.name}: {name}",
            memory_mb=memory_mb,
            timeout_s=timeout_s,
            environment={
                "MODELYARD_MODEL": self._model.name,
                "MODELYARD_ARTIFACT_BUCKET": self._registry.artifacts.bucket_name,
                "MODELYARD_DATA_BUCKET": self._registry.uploads.bucket_name,
                "MODELYARD_TABLE": self._registry.table.table_name,
                **(environment or {}),
            },
        )

    def _grant(self) -> None:
        """Each step gets what it touches: keys of this model in the table, prefixes of this model in the buckets."""
        name, registry, steps = self._model.name, self._registry, self.steps
        uploads, artifacts = registry.uploads, registry.artifacts
        table = [registry.table.table_arn]
        claims = f"CLAIM#{uploads.bucket_name}/{name}/*"
        for step, entry in steps.items():
            marks = [f"OBJECT#{key}" for key in ("artifacts/sha256/*", f"reports/{name}/*")]
            extra = {"claim": [claims], "register": ["CATALOGUE", *marks]}.get(step, [])
            keys = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"MODEL#{name}", *extra]}}
            writes = step in {"claim", "validate", "register", "promote", "conclude"}
            entry.allow(*TABLE_READ, *(TABLE_WRITE if writes else ()), on=table, conditions=keys)
        for step in ("claim", "validate", "train"):
            steps[step].allow_objects("s3:GetObject", "s3:GetObjectVersion", bucket=uploads, keys=[f"{name}/*"])
            # Without it S3 answers 403 for a file that was deleted meanwhile, and "gone" reads as "forbidden".
            steps[step].allow("s3:ListBucket", on=[uploads.bucket_arn])
        steps["train"].allow_objects("s3:PutObject", bucket=artifacts, keys=[f"runs/{name}/*"])
        for step in ("evaluate", "register"):
            steps[step].allow_objects("s3:GetObject", bucket=artifacts, keys=[f"runs/{name}/*", "artifacts/sha256/*"])
        steps["evaluate"].allow_objects("s3:PutObject", bucket=artifacts, keys=[f"reports/{name}/*"])
        steps["register"].allow_objects(
            "s3:PutObject", "s3:AbortMultipartUpload", bucket=artifacts, keys=["artifacts/sha256/*"]
        )
        for step in ("evaluate", "register", "promote"):
            steps[step].allow("s3:ListBucket", on=[artifacts.bucket_arn])
        steps["promote"].allow_objects("s3:GetObject", "s3:PutObject", bucket=artifacts, keys=[pointer_key(name)])

    def _definition(self) -> sfn.IChainable:
        run = {"run_id": sfn.JsonPath.string_at("$$.Execution.Name"), "plan": self._plan}
        claim = self._invoke("Claim the upload", "claim", {**run, "event": sfn.JsonPath.object_at("$")}, "$.claim")
        upload = {**run, "object": sfn.JsonPath.object_at("$.claim.object")}
        validate = self._invoke("Validate the data", "validate", upload, "$.validation")
        train = self._invoke(
            "Train the candidates",
            "train",
            {**upload, "validation": sfn.JsonPath.object_at("$.validation")},
            "$.training",
        )
        trained = {**upload, "training": sfn.JsonPath.object_at("$.training")}
        evaluate = self._invoke("Evaluate against the champion", "evaluate", trained, "$.evaluation")
        register = self._invoke(
            "Register the version",
            "register",
            {
                **trained,
                "evaluation": sfn.JsonPath.object_at("$.evaluation"),
                "execution": sfn.JsonPath.string_at("$$.Execution.Id"),
            },
            "$.registered",
        )
        registered = {
            **run,
            "evaluation": sfn.JsonPath.object_at("$.evaluation"),
            "registered": sfn.JsonPath.object_at("$.registered"),
        }
        promote = self._invoke("Make it the champion", "promote", registered, "$.promoted")
        rejected = self._conclude("rejected", "Record the rejection")
        rejected.next(self._tell("Rejected", then=sfn.Succeed(self, "Rejected", comment="The live model is untouched")))
        failed = self._conclude("failed", "Record the failure")
        failed.next(
            self._tell("Failed", then=sfn.Fail(self, "Failed", error_path="$.error.Error", cause_path="$.error.Cause"))
        )
        learnt_before = self._conclude("duplicate", "Record the duplicate").next(
            sfn.Succeed(self, "Learnt before", comment="An earlier run ended with these very bytes")
        )
        # Somebody changed what is live after the comparison: compare again, with what is live now. That also tells a
        # challenger that would break the new champion's callers from one that failed.
        for task in (register, promote):
            task.add_catch(evaluate, errors=["ConflictError"], result_path="$.conflict")
        for task in (claim, validate, train, evaluate, register, promote):
            task.add_catch(failed, errors=["States.ALL"], result_path="$.error")

        if self._model.spec.rollout.automatic:
            good_end = promote.next(self._tell("Promoted", then=sfn.Succeed(self, "Promoted")))
        else:
            waiting = sfn.Succeed(self, "Waiting for a person", comment="modelyard promote makes it the champion")
            good_end = self._conclude("registered", "Record the version").next(self._tell("Registered", then=waiting))
        better = (
            sfn.Choice(self, "Is it better?")
            .when(sfn.Condition.boolean_equals("$.evaluation.passed", True), register.next(good_end))
            .otherwise(rejected)
        )
        usable = (
            sfn.Choice(self, "Is the data usable?")
            .when(sfn.Condition.string_equals("$.validation.status", "valid"), train.next(evaluate).next(better))
            .when(sfn.Condition.string_equals("$.validation.status", "duplicate"), learnt_before)
            .otherwise(rejected)
        )
        return claim.next(
            sfn.Choice(self, "Is it new?")
            .when(sfn.Condition.string_equals("$.claim.status", "claimed"), validate.next(usable))
            .otherwise(sfn.Succeed(self, "Nothing to do", comment="Claimed by an earlier run, or not training data"))
        )

    def _conclude(self, status: str, title: str) -> tasks.LambdaInvoke:
        run = {"run_id": sfn.JsonPath.string_at("$$.Execution.Name"), "plan": self._plan}
        return self._invoke(
            title, "conclude", {**run, "status": status, "state": sfn.JsonPath.object_at("$")}, "$.conclusion"
        )

    def _invoke(self, title: str, step: str, payload: Mapping[str, Any], result_path: str) -> tasks.LambdaInvoke:
        function = self.steps[step].function
        task = tasks.LambdaInvoke.json_path(
            self,
            title,
            lambda_function=function,
            payload=sfn.TaskInput.from_object(dict(payload)),
            payload_response_only=True,
            result_path=result_path,
            retry_on_service_exceptions=False,
            task_timeout=sfn.Timeout.duration((function.timeout or Duration.seconds(60)).plus(Duration.seconds(15))),
        )
        # Only what passes by itself is tried again; an error of ours would be the same error again.
        task.add_retry(
            errors=[
                "Lambda.ServiceException",
                "Lambda.AWSLambdaException",
                "Lambda.SdkClientException",
                "Lambda.ClientExecutionTimeoutException",
                "Lambda.TooManyRequestsException",
                "AWSError",
            ],
            interval=Duration.seconds(2),
            max_attempts=4,
            backoff_rate=2,
        )
        return task

    def _tell(self, status: str, *, then: sfn.Succeed | sfn.Fail) -> tasks.EventBridgePutEvents:
        """Put an event on the bus, then end; a run that could not be told about has ended all the same."""
        task = tasks.EventBridgePutEvents(
            self,
            f"Tell: {status.lower()}",
            entries=[
                tasks.EventBridgePutEventsEntry(
                    event_bus=self._registry.bus,
                    source="modelyard",
                    detail_type=f"Run {status}",
                    detail=sfn.TaskInput.from_object(
                        {
                            "model": self._model.name,
                            "run_id": sfn.JsonPath.string_at("$$.Execution.Name"),
                            "status": status.lower(),
                            "outcome": sfn.JsonPath.object_at("$.promoted" if status == "Promoted" else "$.conclusion"),
                        }
                    ),
                )
            ],
            result_path=sfn.JsonPath.DISCARD,
            task_timeout=sfn.Timeout.duration(Duration.seconds(60)),
        )
        task.add_retry(errors=["States.TaskFailed"], interval=Duration.seconds(2), max_attempts=4, backoff_rate=2)
        task.add_catch(then, errors=["States.ALL"], result_path="$.not_told")
        task.next(then)
        return task


class RetrainingStack(ModelyardStack):
    """The workflow and the rule that starts it when a file arrives."""

    def __init__(self, scope: Construct, *, deployment: Deployment, model: Model, registry: RegistryStack) -> None:
        super().__init__(
            scope,
            stack_names.retraining_stack(deployment.name, model.name),
            deployment=deployment,
            description=f"Modelyard: retraining of {model.name}",
        )
        # The logical id of the state machine starts with this word; the operator policy names it.
        self.workflow = RetrainingWorkflow(self, "Retraining", model=model, registry=registry)
        machine = self.workflow.state_machine
        undelivered = DeadLetters(
            self, "Undelivered", settings=self.settings, topic=registry.topic, what=f"an upload for {model.name}"
        )
        for index, trigger in enumerate(model.spec.upload_triggers):
            prefix = trigger.prefix or f"{model.name}/"
            events.Rule(
                self,
                f"Upload{index}",
                description=f"A training file of {model.name} arrived",
                event_pattern=events.EventPattern(
                    source=["aws.s3"],
                    detail_type=["Object Created"],
                    detail={
                        "bucket": {"name": [registry.uploads.bucket_name]},
                        "object": {"key": [{"wildcard": f"{prefix}*{trigger.suffix}"}]},
                    },
                ),
                targets=[
                    targets.SfnStateMachine(
                        machine,
                        dead_letter_queue=undelivered.queue,
                        max_event_age=Duration.hours(24),
                        retry_attempts=185,
                    )
                ],
            )
        if self.settings.alarms:
            window = Duration.minutes(5)
            for name, metric, what in (
                ("RunFailed", machine.metric_failed(period=window), "failed"),
                ("RunTimedOut", machine.metric_timed_out(period=window), "took longer than its limit"),
            ):
                alarm = metric.create_alarm(
                    self,
                    name,
                    alarm_description=f"A retraining run of {model.name} {what}",
                    threshold=1,
                    evaluation_periods=1,
                    treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
                )
                alarm.add_alarm_action(actions.SnsAction(registry.topic))
        for step, entry in self.workflow.steps.items():
            CfnOutput(self, f"{stack_names.LOGS}{step.capitalize()}", value=entry.log_group.log_group_name)
        CfnOutput(self, stack_names.WORKFLOW, value=machine.state_machine_arn)
