"""One model's rollout workflow: from a registered version to the champion, in steps, or back, with the reason."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from modelyard.packaging import layers_of
from modelyard.pointer_key import pointer_key
from modelyard.spec import Model
from modelyard.spec_rollout import rollout_plan
from stacks.base import ModelyardStack
from stacks.function import EntryPoint
from stacks.registry_stack import RegistryStack
from stacks.workflow import NOTHING, TABLE_READ, TABLE_WRITE, at, call, machine, retry_what_passes, tell

KILLED = ["Lambda.Unknown", "Runtime.ExitError", "Sandbox.Timedout"]
"""What is said of a function that died; every step may be run again, so each is, twice."""

MARGIN_S = 3_600
"""For the steps themselves; the judge ends a rollout at its own limit."""


class RolloutWorkflow(Construct):
    """Begin → move → let traffic come → judge → … → promote, or back to the champion.

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
        alarms: Sequence[cloudwatch.Alarm],
    ) -> None:
        super().__init__(scope, construct_id)
        stack = ModelyardStack.of(self)
        assert isinstance(stack, ModelyardStack)  # noqa: S101 - the only kind of stack there is
        self._stack, self._registry, self._model = stack, registry, model
        self._plan = rollout_plan(model.spec, approval=stack.settings.approval)
        self._run = {
            "run_id": sfn.JsonPath.string_at("$$.Execution.Name"),
            "execution": sfn.JsonPath.object_at("$$.Execution"),
            "plan": self._plan,
            "state": sfn.JsonPath.object_at("$"),
        }
        self.steps: dict[str, EntryPoint] = {}
        watch = {"MODELYARD_ALARMS": ",".join(alarm.alarm_name for alarm in alarms)} if alarms else {}
        self._step("begin", environment=watch)
        self._step("move")
        # It holds all that the verdict rests on, some 50,000 captured rows.
        self._step("judge", memory_mb=3008, timeout_s=300, environment=watch)
        self._step("ask")
        self._step("promote")
        self._step("conclude")
        self._grant(alarms)
        self.state_machine = machine(
            self,
            stack=stack,
            comment=f"Rollout of {model.name}: a version becomes the champion in steps, or does not",
            definition=self._definition(),
            timeout=Duration.seconds(int(model.spec.rollout.longest_hours * 3600) + MARGIN_S),
            entries=self.steps.values(),
            logs_data=False,  # one of the states gets a token by which a person's answer is given
        )

    def _step(
        self,
        name: str,
        *,
        memory_mb: int = 512,
        timeout_s: int = 60,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.steps[name] = EntryPoint(
            self,
            name.capitalize(),
            file=f"rollout_{name}",
            layers=layers_of("workflow"),
            description=f"Modelyard rollout of {self._model.name}: {name}",
            memory_mb=memory_mb,
            timeout_s=timeout_s,
            environment={
                "MODELYARD_MODEL": self._model.name,
                "MODELYARD_ARTIFACT_BUCKET": self._registry.artifacts.bucket_name,
                "MODELYARD_TABLE": self._registry.table.table_name,
                **(environment or {}),
            },
        )

    def _grant(self, alarms: Sequence[cloudwatch.Alarm]) -> None:
        """Each step gets what it touches: keys of this model in the table, prefixes of this model in the bucket."""
        name, artifacts = self._model.name, self._registry.artifacts
        keys = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"MODEL#{name}"]}}
        for entry in self.steps.values():
            entry.allow(*TABLE_READ, *TABLE_WRITE, on=[self._registry.table.table_arn], conditions=keys)
        for step in ("move", "promote", "conclude"):
            self.steps[step].allow_objects("s3:GetObject", "s3:PutObject", bucket=artifacts, keys=[pointer_key(name)])
            # Without it S3 answers 403 for an object that is not there, and "not there" reads as "forbidden".
            self.steps[step].allow("s3:ListBucket", on=[artifacts.bucket_arn])
        judge = self.steps["judge"]
        judge.allow_objects("s3:GetObject", bucket=artifacts, keys=[f"captures/{name}/*", f"feedback/{name}/*"])
        judge.allow_objects(
            "s3:GetObject", "s3:PutObject", bucket=artifacts, keys=[f"observed/{name}/*", f"rollouts/{name}/*"]
        )
        judge.allow("s3:ListBucket", on=[artifacts.bucket_arn])
        for step in ("begin", "judge") if alarms else ():
            self.steps[step].allow("cloudwatch:DescribeAlarms", on=[alarm.alarm_arn for alarm in alarms])

    def _definition(self) -> sfn.IChainable:
        prepare = sfn.Pass(
            self,
            "Note what is asked for",
            parameters={"event": sfn.JsonPath.object_at("$"), "next": {"phase": 0}, "ended": NOTHING},
        )
        begin = self._invoke("Begin the rollout", "begin", "next")
        move = self._invoke("Move the traffic", "move", "next")
        come = sfn.Wait(self, "Let traffic come", time=sfn.WaitTime.seconds_path("$.next.wait_s"))
        judge = self._invoke("Judge what came", "judge", "next")
        ask = self._ask()
        promote = self._invoke("Make it the champion", "promote", "ended")
        back = self._invoke("Back to the champion", "conclude", "ended")
        failed = self._invoke("Record the failure", "conclude", "ended", {"outcome": "failed"})
        # A redrive runs the state again that failed. A Fail state would fail again; this step lets it begin again.
        until_redriven = self._invoke(
            "Failed, until it is redriven", "conclude", "resume", {"ended": sfn.JsonPath.object_at("$.ended")}
        )
        until_redriven.next(prepare_again(self, begin))

        promoted = sfn.Succeed(self, "Promoted")
        stays = sfn.Succeed(self, "The champion stays", comment="The version is registered, and the reason is recorded")
        not_begun = sfn.Succeed(self, "Not begun", comment="Another rollout runs, or there is nothing to compare with")

        begin.next(
            sfn.Choice(self, "Has it begun?")
            .when(_says("next", "begun"), move)
            .when(_says("next", "not_begun"), self._tell("not begun", "next", then=not_begun))
            .otherwise(sfn.Succeed(self, "Begun by another execution"))
        )
        move.next(sfn.Choice(self, "Has it moved?").when(_says("next", "moved"), come).otherwise(back))
        come.next(judge)
        judge.next(
            sfn.Choice(self, "What does the verdict say?")
            .when(_says("next", "continue"), come)
            .when(_says("next", "move"), move)
            .when(_says("next", "ask"), self._tell("a person is asked", "next", then=ask))
            .when(_says("next", "waiting"), ask)
            .when(_says("next", "promote"), promote)
            .otherwise(back)
        )
        ask.next(judge)
        told = self._tell("promoted", "ended", then=promoted)
        promote.next(sfn.Choice(self, "Is it the champion?").when(_says("ended", "promoted"), told).otherwise(back))
        back.next(
            sfn.Choice(self, "How did it end?")
            .when(_says("ended", "promoted"), told)
            .otherwise(self._tell("the champion stays", "ended", then=stays))
        )
        failed.next(self._tell("failed", "ended", then=until_redriven))
        for state in (begin, move, judge, promote, back):
            state.add_catch(failed, errors=["States.ALL"], result_path="$.error")
        # Whatever became of the question, the judge looks again, and reads the answer where it is written down.
        ask.add_catch(judge, errors=["States.Timeout", "AlreadyAnsweredError"], result_path=sfn.JsonPath.DISCARD)
        ask.add_catch(failed, errors=["States.ALL"], result_path="$.error")
        return prepare.next(begin)

    def _invoke(self, title: str, step: str, result: str, more: Mapping[str, Any] | None = None) -> tasks.LambdaInvoke:
        task = call(self, title, self.steps[step], {**self._run, **(more or {})}, result)
        _retry_what_died(task)
        return task

    def _ask(self) -> tasks.LambdaInvoke:
        """Wait for a person, by task token, and not for ever: the judge goes on looking meanwhile."""
        task = tasks.LambdaInvoke.json_path(
            self,
            "Ask a person",
            lambda_function=self.steps["ask"].function,
            integration_pattern=sfn.IntegrationPattern.WAIT_FOR_TASK_TOKEN,
            payload=sfn.TaskInput.from_object({**self._run, "token": sfn.JsonPath.task_token}),
            result_path=sfn.JsonPath.DISCARD,
            retry_on_service_exceptions=False,
            task_timeout=sfn.Timeout.duration(Duration.seconds(self._model.spec.rollout.ask_every_s)),
        )
        retry_what_passes(task)
        _retry_what_died(task)
        return task

    def _tell(self, what: str, of: str, *, then: sfn.Succeed | tasks.LambdaInvoke) -> tasks.EventBridgePutEvents:
        """Put an event on the bus, then go on; a rollout that could not be told about goes on all the same."""
        detail = {
            "model": self._model.name,
            "rollout_id": sfn.JsonPath.string_at(f"$.{of}.rollout_id"),
            "version": sfn.JsonPath.object_at(f"$.{of}.version"),
            "reason": sfn.JsonPath.string_at(f"$.{of}.reason"),
        }
        asked = of == "next" and what != "not begun"
        return tell(
            self,
            f"Tell: {what}",
            bus=self._registry.bus,
            detail_type="Rollout Asked" if asked else sfn.JsonPath.string_at(f"$.{of}.event"),
            detail=detail,
            then=then,
        )


def prepare_again(scope: Construct, begin: sfn.IChainable) -> sfn.Pass:
    """The state of a rollout that begins again, without what the failed attempt left."""
    again = sfn.Pass(
        scope,
        "Begin again",
        parameters={"event": sfn.JsonPath.object_at("$.event"), "next": at("resume"), "ended": NOTHING},
    )
    again.next(begin)
    return again


def _retry_what_died(task: tasks.LambdaInvoke) -> None:
    task.add_retry(errors=KILLED, interval=Duration.seconds(5), max_attempts=2, backoff_rate=2)


def _says(part: str, status: str) -> sfn.Condition:
    return sfn.Condition.string_equals(f"$.{part}.status", status)
