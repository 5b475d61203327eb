"""One model's retraining workflow: from what started it to a better champion, or a written reason why not."""

from collections.abc import Mapping
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from modelyard.packaging import LayerManifest, layers_of, lock_digest, training_code_digest, training_libraries
from modelyard.packaging.targets import SHARED_ARCHITECTURE, FunctionKind
from modelyard.pointer_key import pointer_key
from modelyard.spec import Model, training_plan
from modelyard.training.plan import LONGEST_FUNCTION_S
from stacks.base import ModelyardStack
from stacks.findings import accept_resources
from stacks.function import EntryPoint
from stacks.registry_stack import RegistryStack
from stacks.sagemaker_training import SageMakerTraining
from stacks.workflow import NOTHING, TABLE_READ, TABLE_WRITE, at, call, machine, tell


class RetrainingWorkflow(Construct):
    """Claim → validate → take a turn → prepare → train → evaluate → register → promote, or a recorded other end.

    Attributes:
        state_machine: The Standard workflow; its states read like the story.
        steps: The functions by step name.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        model: Model,
        registry: RegistryStack,
        rollout: sfn.IStateMachine | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        assert model.spec.training is not None  # noqa: S101 - only models with a [training] section get this construct
        stack = ModelyardStack.of(self)
        assert isinstance(stack, ModelyardStack)  # noqa: S101 - the only kind of stack there is
        self._stack, self._registry, self._model, self._rollout = stack, registry, model, rollout
        self._plan = training_plan(model.spec)
        self._run = {"run_id": sfn.JsonPath.string_at("$$.Execution.Name"), "plan": self._plan}
        self.steps: dict[str, EntryPoint] = {}
        self._add_steps()
        # The local AWS has no SageMaker: there the same trainer runs in a function whatever the size.
        has_sagemaker = model.spec.training.instance is not None and not stack.settings.is_local
        self.sagemaker = SageMakerTraining(self, "SageMaker", model=model, registry=registry) if has_sagemaker else None
        self._grant()
        self.state_machine = machine(
            self,
            stack=stack,
            comment=f"Retraining of {model.name}: new data becomes a better model or a written reason why not",
            definition=self._definition(),
            timeout=Duration.seconds(longest_run_s(model)),
            entries=self._entries(),
        )
        if self.sagemaker is not None:
            accept_resources(
                self.state_machine,
                [f"arn:{stack.partition}:sagemaker:{stack.region}:{stack.account}:training-job/*"],
                why="A training job gets its name when the run starts; CDK's task knows no prefix of it.",
            )

    def _entries(self) -> list[EntryPoint]:
        return [*self.steps.values(), *([] if self.sagemaker is None else [self.sagemaker.collect])]

    def _add_steps(self) -> None:
        training = self._model.spec.training
        assert training is not None  # noqa: S101 - see above
        self._step("claim")
        # These two read the whole data set.
        self._step("validate", memory_mb=training.memory_mb, timeout_s=300)
        self._step("turn")
        deadline = min(training.timeout_s, LONGEST_FUNCTION_S)
        # A set of words has one order then, and own code makes the same model of the same rows.
        seed = {"PYTHONHASHSEED": "0"}
        self._step("train", function="train", memory_mb=training.memory_mb, timeout_s=deadline, environment=seed)
        # What trained a version: the library and the locked dependencies, as the layers carry them; own code.
        libraries = [self._built(layer) for layer in training_libraries(self._model)]
        digests = {
            "MODELYARD_CODE_DIGEST": self._built("core").digest,
            "MODELYARD_LOCK_DIGEST": lock_digest(libraries),
        }
        if self._model.training_entry is not None:
            digests["MODELYARD_OWN_DIGEST"] = training_code_digest(self._stack.deployment.project, self._model.name)
        self._step("prepare", memory_mb=training.memory_mb, timeout_s=600, environment=digests)
        self._step("evaluate", memory_mb=1769, timeout_s=300, environment=digests)
        self._step("register", memory_mb=1769, timeout_s=120, environment=digests)
        self._step("promote")
        self._step("conclude")

    def _built(self, layer: str) -> LayerManifest:
        return self._stack.built_layer(layer, architecture=SHARED_ARCHITECTURE)

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
            layers=layers_of(function, self._model),
            description=f"Modelyard retraining of {self._model.name}: {name}",
            memory_mb=memory_mb,
            timeout_s=timeout_s,
            environment={
                "MODELYARD_MODEL": self._model.name,
                "MODELYARD_ARTIFACT_BUCKET": self._registry.artifacts.bucket_name,
                "MODELYARD_DATA_BUCKET": self._registry.uploads.bucket_name,
                "MODELYARD_TABLE": self._registry.table.table_name,
                **({"MODELYARD_SAGEMAKER": "no"} if self._stack.settings.is_local else {}),
                **(environment or {}),
            },
        )

    def _grant(self) -> None:
        """Each step gets what it touches: keys of this model in the table, prefixes of this model in the buckets."""
        name, registry, steps = self._model.name, self._registry, self.steps
        uploads, artifacts = registry.uploads, registry.artifacts
        table = [registry.table.table_arn]
        claims = [f"CLAIM#{uploads.bucket_name}/{name}/*", f"CLAIM#{name}/*"]
        readers, writers = {"evaluate"}, {"claim", "validate", "turn", "prepare", "register", "promote", "conclude"}
        for step in readers | writers:
            marks = [f"OBJECT#{key}" for key in ("artifacts/sha256/*", f"reports/{name}/*")]
            extra = {"claim": claims, "register": ["CATALOGUE", *marks]}.get(step, [])
            keys = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"MODEL#{name}", *extra]}}
            actions = (*TABLE_READ, *(TABLE_WRITE if step in writers else ()))
            steps[step].allow(*actions, on=table, conditions=keys)
        for step in ("claim", "validate", "prepare"):
            steps[step].allow_objects("s3:GetObject", "s3:GetObjectVersion", bucket=uploads, keys=[f"{name}/*"])
            # Without it S3 answers 403 for a file that was deleted meanwhile, and "gone" reads as "forbidden".
            steps[step].allow("s3:ListBucket", "s3:ListBucketVersions", on=[uploads.bucket_arn])
        runs, sets, reports = f"runs/{name}/*", f"evaluation_sets/{name}/*", f"reports/{name}/*"
        read = {
            "validate": [sets],
            "prepare": [runs, sets, reports],
            "train": [runs],
            "evaluate": [runs, sets, reports, "artifacts/sha256/*"],
            "register": [runs, reports, "artifacts/sha256/*"],
            "promote": [pointer_key(name)],
            "conclude": [reports],
        }
        written = {
            "prepare": [runs, sets, reports],
            "train": [runs],
            "evaluate": [reports],
            "promote": [pointer_key(name)],
            "conclude": [reports],
        }
        for step, keys_read in read.items():
            steps[step].allow_objects("s3:GetObject", bucket=artifacts, keys=keys_read)
            steps[step].allow("s3:ListBucket", on=[artifacts.bucket_arn])
        for step, keys_written in written.items():
            steps[step].allow_objects("s3:PutObject", bucket=artifacts, keys=keys_written)
        steps["register"].allow_objects(
            "s3:PutObject", "s3:AbortMultipartUpload", bucket=artifacts, keys=["artifacts/sha256/*"]
        )

    def _definition(self) -> sfn.IChainable:
        begin = sfn.Pass(
            self,
            "Begin",
            parameters={
                "event": sfn.JsonPath.object_at("$"),
                "validation": NOTHING,
                "turn": NOTHING,
                "without": NOTHING,
                "resume": {"from": "prepared"},
            },
        )
        claim = self._invoke("Claim the trigger", "claim", {"event": at("event")}, "claim")
        validate = self._invoke("Validate the data", "validate", {"claim": at("claim")}, "validation")
        asked = {"claim": at("claim"), "validation": at("validation"), "turn": at("turn")}
        turn = self._invoke("Take a turn", "turn", asked, "turn")
        prepare = self._invoke(
            "Prepare the data", "prepare", {"claim": at("claim"), "validation": at("validation")}, "prepared"
        )
        train = self._invoke("Train the candidates", "train", {"job": at("prepared.job")}, "training")
        trained = {"claim": at("claim"), "prepared": at("prepared"), "training": at("training")}
        evaluate = self._invoke(
            "Evaluate against the champion", "evaluate", {**trained, "without": at("without")}, "evaluation"
        )
        execution = {"execution": sfn.JsonPath.string_at("$$.Execution.Id")}
        evaluated = {**trained, "evaluation": at("evaluation")}
        register = self._invoke("Register the version", "register", {**evaluated, **execution}, "registered")
        promote = self._invoke(
            "Make it the champion", "promote", {**evaluated, "registered": at("registered")}, "promoted"
        )

        quiet = self._conclude("quiet", "Record why nothing was trained")
        quiet.next(sfn.Succeed(self, "Nothing trained", comment="Merged, skipped, superseded or learnt before"))
        rejected = self._conclude("rejected", "Record the rejection")
        rejected.next(self._tell("Rejected", then=sfn.Succeed(self, "Rejected", comment="The live model is untouched")))
        failed = self._conclude("failed", "Record the failure")
        # A redrive runs the state again that failed. A Fail state would fail again; this step says where to go on.
        ended = self._invoke(
            "Failed, until it is redriven",
            "conclude",
            {"conclusion": at("conclusion"), "execution": sfn.JsonPath.object_at("$$.Execution")},
            "resume",
        )
        failed.next(self._tell("Failed", then=ended))
        # What came before the turn begins there; what comes after it needs a turn again.
        restart = (
            sfn.Choice(self, "Where does it start again?")
            .when(sfn.Condition.string_equals("$.resume.from", "claim"), claim)
            .when(sfn.Condition.string_equals("$.resume.from", "validation"), validate)
            .otherwise(turn)
        )
        ended.next(restart)

        story: list[sfn.TaskStateBase] = [
            claim,
            validate,
            turn,
            prepare,
            train,
            evaluate,
            register,
            promote,
        ]

        # Somebody changed what is live after the comparison: compare again, with what is live now. That also tells a
        # challenger that would break the new champion's callers from one that failed.
        if self._model.spec.rollout.automatic:
            told = self._tell("Promoted", then=sfn.Succeed(self, "Promoted"))
            promote.next(self._unless_changed("Is the champion the same?", "promoted", evaluate, told))
            good_end: sfn.IChainable = promote if self._rollout is None else self._begin_rollout(promote, story)
        else:
            waiting = sfn.Succeed(self, "Waiting for a person", comment="modelyard promote makes it the champion")
            good_end = self._conclude("registered", "Record the version").next(self._tell("Registered", then=waiting))
        register.next(self._unless_changed("Do its callers stay?", "registered", evaluate, good_end))
        evaluate.next(
            sfn.Choice(self, "Is it better?")
            .when(sfn.Condition.boolean_equals("$.evaluation.passed", True), register)
            .otherwise(rejected)
        )

        ablate = self._invoke(
            "Train without the newest file",
            "train",
            {"job": at("prepared.ablation.job"), "training": at("training")},
            "without",
        )
        story.append(ablate)
        ablate.next(evaluate)
        is_trained = (
            sfn.Choice(self, "Is there a model?")
            .when(
                sfn.Condition.and_(
                    sfn.Condition.string_equals("$.training.status", "trained"),
                    sfn.Condition.is_present("$.prepared.ablation.job"),
                ),
                ablate,
            )
            .when(sfn.Condition.string_equals("$.training.status", "trained"), evaluate)
            .otherwise(rejected)
        )
        train.next(is_trained)
        training: sfn.IChainable = train
        if self.sagemaker is not None:
            on_sagemaker, collect = self.sagemaker.states(self._call)
            collect.next(is_trained)
            story += [on_sagemaker, collect]
            training = (
                sfn.Choice(self, "Does it fit Lambda?")
                .when(sfn.Condition.string_equals("$.prepared.where", "sagemaker"), on_sagemaker)
                .otherwise(train)
            )
        prepare.next(
            sfn.Choice(self, "Is there something to learn?")
            .when(sfn.Condition.string_equals("$.prepared.status", "prepared"), training)
            .when(sfn.Condition.string_equals("$.prepared.status", "unchanged"), quiet)
            .otherwise(rejected)
        )
        onwards = sfn.Choice(self, "Where does it go on?")
        for step, begins in (
            ("training", training),
            ("evaluation", evaluate),
            ("registered", register),
            ("promoted", promote if self._model.spec.rollout.automatic and self._rollout is None else register),
        ):
            onwards = onwards.when(sfn.Condition.string_equals("$.resume.from", step), begins)
        onwards.otherwise(prepare)
        nap = sfn.Wait(self, "Wait", time=sfn.WaitTime.seconds_path("$.turn.wait_s"))
        nap.next(turn)
        turn.next(
            sfn.Choice(self, "Is it its turn?")
            .when(sfn.Condition.string_equals("$.turn.status", "go"), onwards)
            .when(sfn.Condition.string_equals("$.turn.status", "wait"), nap)
            .otherwise(quiet)
        )
        validate.next(
            sfn.Choice(self, "Is the data usable?")
            .when(sfn.Condition.string_equals("$.validation.status", "valid"), turn)
            .when(sfn.Condition.string_equals("$.validation.status", "duplicate"), quiet)
            .otherwise(rejected)
        )
        claim.next(
            sfn.Choice(self, "What came?")
            .when(
                sfn.Condition.and_(
                    sfn.Condition.string_equals("$.claim.status", "claimed"),
                    sfn.Condition.is_present("$.claim.object.key"),
                ),
                validate,
            )
            .when(sfn.Condition.string_equals("$.claim.status", "claimed"), turn)
            .when(sfn.Condition.string_equals("$.claim.status", "superseded"), quiet)
            .otherwise(sfn.Succeed(self, "Nothing to do", comment="Claimed by an earlier run, or not for this model"))
        )
        for state in story:
            state.add_catch(failed, errors=["States.ALL"], result_path="$.error")
        return (
            sfn.Choice(self, "Is it new?", comment="A start with a saved state takes up a run that failed")
            .when(sfn.Condition.is_present("$.resume"), restart)
            .otherwise(begin.next(claim))
        )

    def _begin_rollout(self, promote: sfn.IChainable, story: list[sfn.TaskStateBase]) -> sfn.IChainable:
        """Begin the rollout of the version, under this run's name; the first version is simply promoted."""
        assert self._rollout is not None  # noqa: S101 - its caller asks
        registered = self._conclude("registered", "Record the version")
        registered.next(sfn.Succeed(self, "Rollout begun", comment="It promotes the version, or says why not"))
        begin = tasks.StepFunctionsStartExecution(
            self,
            "Begin the rollout",
            state_machine=self._rollout,
            name=sfn.JsonPath.string_at("$$.Execution.Name"),
            input=sfn.TaskInput.from_object(
                {"version": at("registered.version"), "reason": sfn.JsonPath.string_at("$.evaluation.reason")}
            ),
            result_path=sfn.JsonPath.DISCARD,
            task_timeout=sfn.Timeout.duration(Duration.seconds(60)),
        )
        begin.add_retry(errors=["States.TaskFailed"], interval=Duration.seconds(2), max_attempts=4, backoff_rate=2)
        # A run that is redriven finds the rollout that it began before.
        begin.add_catch(
            registered, errors=["StepFunctions.ExecutionAlreadyExistsException"], result_path=sfn.JsonPath.DISCARD
        )
        story.append(begin)
        begin.next(registered)
        return (
            sfn.Choice(self, "Is there a champion?")
            .when(sfn.Condition.is_null("$.evaluation.champion"), promote)
            .otherwise(begin)
        )

    def _unless_changed(self, title: str, step: str, again: sfn.IChainable, onwards: sfn.IChainable) -> sfn.Choice:
        """Compare again where the step found that what is live is no longer what was compared with."""
        is_said, is_changed = sfn.Condition.is_present, sfn.Condition.string_equals
        path = f"$.{step}.status"
        return (
            sfn.Choice(self, title)
            .when(sfn.Condition.and_(is_said(path), is_changed(path, "conflict")), again)
            .otherwise(onwards)
        )

    def _conclude(self, status: str, title: str) -> tasks.LambdaInvoke:
        payload = {
            "status": status,
            "state": sfn.JsonPath.object_at("$"),
            "execution": sfn.JsonPath.object_at("$$.Execution"),
        }
        return self._invoke(title, "conclude", payload, "conclusion")

    def _invoke(self, title: str, step: str, payload: Mapping[str, Any], result: str) -> tasks.LambdaInvoke:
        return self._call(title, self.steps[step], payload, result)

    def _call(self, title: str, entry: EntryPoint, payload: Mapping[str, Any], result: str) -> tasks.LambdaInvoke:
        return call(self, title, entry, {**self._run, **payload}, result)

    def _tell(self, status: str, *, then: sfn.Succeed | tasks.LambdaInvoke) -> tasks.EventBridgePutEvents:
        """Put an event on the bus, then end; a run that could not be told about has ended all the same."""
        outcome = "$.promoted" if status == "Promoted" else "$.conclusion"
        detail = {
            "model": self._model.name,
            "run_id": sfn.JsonPath.string_at("$$.Execution.Name"),
            "status": status.lower(),
            "outcome": sfn.JsonPath.object_at(outcome),
            "reason": sfn.JsonPath.string_at(f"{outcome}.reason"),
            "report": sfn.JsonPath.string_at(f"{outcome}.report_key"),
            "look": sfn.JsonPath.format(
                f"modelyard report {self._model.name} --run {{}}", sfn.JsonPath.string_at("$$.Execution.Name")
            ),
        }
        return tell(
            self,
            f"Tell: {status.lower()}",
            bus=self._registry.bus,
            detail_type=f"Run {status}",
            detail=detail,
            then=then,
        )


def longest_run_s(model: Model) -> int:
    """Seconds that an execution may take: its own training, that of the run before it, and what its trigger waits."""
    training = model.spec.training
    assert training is not None  # noqa: S101 - only models with a [training] section are retrained
    waits = max((trigger.cooldown_s + 10 * trigger.debounce_s for trigger in model.spec.retraining_triggers), default=0)
    return 2 * (training.timeout_s + 1_800) + waits
