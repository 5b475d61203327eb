"""What keeps the registry in order by itself: a function on the table's stream, and a report by schedule."""

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from constructs import Construct

from modelyard import stack_names
from modelyard.packaging import layers_of
from stacks.base import Deployment, ModelyardStack
from stacks.dead_letters import DeadLetters
from stacks.function import EntryPoint
from stacks.registry_stack import RegistryStack

GRACE_DAYS = 7
TABLE_READ = ("dynamodb:GetItem", "dynamodb:Query")


class UpkeepStack(ModelyardStack):
    """The functions that no request and no upload calls.

    Attributes:
        stream: Publishes pointers and keeps the search index, after each change of a model or its deployment.
        report: Says once a week what a sweep would remove.
    """

    def __init__(self, scope: Construct, *, deployment: Deployment, registry: RegistryStack) -> None:
        super().__init__(
            scope,
            stack_names.upkeep_stack(deployment.name),
            deployment=deployment,
            description="Modelyard: what follows the registry",
        )
        self._registry = registry
        self.stream = self._follow_the_table()
        self.report = self._report_orphans()
        CfnOutput(self, stack_names.REPORT_FUNCTION, value=self.report.function.function_name)
        for name, entry in (("Stream", self.stream), ("Report", self.report)):
            CfnOutput(self, f"{stack_names.LOGS}{name}", value=entry.log_group.log_group_name)

    def _entry(
        self, construct_id: str, *, file: str, description: str, timeout_s: int, **environment: str
    ) -> EntryPoint:
        return EntryPoint(
            self,
            construct_id,
            file=file,
            layers=layers_of("workflow"),
            description=description,
            timeout_s=timeout_s,
            environment={
                "MODELYARD_ARTIFACT_BUCKET": self._registry.artifacts.bucket_name,
                "MODELYARD_TABLE": self._registry.table.table_name,
                **environment,
            },
        )

    def _follow_the_table(self) -> EntryPoint:
        registry = self._registry
        entry = self._entry(
            "Stream", file="registry_stream", description="Modelyard: pointers and search index", timeout_s=120
        )
        undelivered = DeadLetters(
            self, "Undelivered", settings=self.settings, topic=registry.topic, what="a change of the registry's table"
        )
        undelivered.queue.grant_send_messages(entry.function)
        changes = [{"dynamodb": {"Keys": {"sk": {"S": [kind]}}}} for kind in ("MODEL", "DEPLOYMENT")]
        stream = registry.table.table_stream_arn
        assert stream is not None  # noqa: S101 - the registry stack gives the table one
        # Not DynamoEventSource: it grants listing the streams of every table.
        entry.allow(
            "dynamodb:DescribeStream",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
            "dynamodb:ListStreams",
            on=[stream],
        )
        entry.function.add_event_source_mapping(
            "Changes",
            event_source_arn=stream,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            batch_size=100,
            bisect_batch_on_error=True,
            filters=[lambda_.FilterCriteria.filter(change) for change in changes],
            max_record_age=Duration.hours(2),
            on_failure=sources.SqsDlq(undelivered.queue),
            report_batch_item_failures=True,
            retry_attempts=20,
        )
        arn = [registry.table.table_arn]
        read = ["MODEL#*", "CATALOGUE", "FIND#*", "FILE#*", "VERSIONS#*"]
        entry.allow(*TABLE_READ, on=arn, conditions=_leading(read))
        # The index and nothing else: what the registry knows is never written from here.
        entry.allow("dynamodb:PutItem", on=arn, conditions=_leading(["FIND#*", "FILE#*", "VERSIONS#*"]))
        entry.allow("dynamodb:DeleteItem", on=arn, conditions=_leading(["FIND#*"]))
        entry.allow_objects("s3:GetObject", "s3:PutObject", bucket=registry.artifacts, keys=["deployments/*"])
        entry.allow("s3:ListBucket", on=[registry.artifacts.bucket_arn])
        return entry

    def _report_orphans(self) -> EntryPoint:
        registry = self._registry
        entry = self._entry(
            "Report",
            file="registry_report",
            description="Modelyard: what a sweep would remove",
            timeout_s=900,
            MODELYARD_GRACE_DAYS=str(GRACE_DAYS),
        )
        entry.allow(*TABLE_READ, on=[registry.table.table_arn], conditions=_leading(["MODEL#*", "CATALOGUE"]))
        entry.allow("s3:ListBucket", "s3:ListBucketMultipartUploads", on=[registry.artifacts.bucket_arn])
        entry.allow_objects("s3:PutObject", bucket=registry.artifacts, keys=["sweeps/*"])
        unstarted = DeadLetters(
            self, "Unstarted", settings=self.settings, topic=registry.topic, what="the start of the weekly report"
        )
        events.Rule(
            self,
            "Weekly",
            description="What a sweep of the registry would remove",
            schedule=events.Schedule.rate(Duration.days(7)),
            targets=[
                targets.LambdaFunction(
                    entry.function,
                    dead_letter_queue=unstarted.queue,
                    max_event_age=Duration.hours(2),
                    retry_attempts=2,
                )
            ],
        )
        return entry


def _leading(partitions: list[str]) -> dict[str, dict[str, list[str]]]:
    return {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": partitions}}
