"""A queue for what could not be delivered, with the alarm that says so."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from modelyard.environments import Environment
from stacks.findings import NO_TLS_HERE, accept


class DeadLetters(Construct):
    """Events that EventBridge gave up on, kept for 14 days.

    Attributes:
        queue: The queue.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Environment, topic: sns.Topic, what: str
    ) -> None:
        super().__init__(scope, construct_id)
        self.queue = sqs.Queue(self, "Queue", enforce_ssl=not settings.is_local, retention_period=Duration.days(14))
        reason = "This is a dead-letter queue."
        accept(self.queue, {"AwsSolutions-SQS3": reason, "Serverless-SQSRedrivePolicy": reason})
        if settings.is_local:
            accept(
                self.queue,
                {"AwsSolutions-SQS4": NO_TLS_HERE},
            )
        if settings.alarms:
            alarm = self.queue.metric_approximate_number_of_messages_visible().create_alarm(
                self,
                "Arrived",
                alarm_description=f"EventBridge could not deliver {what}",
                evaluation_periods=1,
                threshold=1,
                comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            )
            alarm.add_alarm_action(actions.SnsAction(topic))
