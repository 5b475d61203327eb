"""What all models share: bytes in S3, truth in DynamoDB, an event bus and the topic that tells people."""

from collections.abc import Sequence

from aws_cdk import CfnOutput, Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from modelyard import async_keys, stack_names
from modelyard.spec import Model
from stacks.base import Deployment, ModelyardStack
from stacks.dead_letters import DeadLetters
from stacks.findings import NO_TLS_HERE, WAITING, accept, accept_objects, accept_resources

SWEPT = ("artifacts/*", "reports/*")
LOOKED_AT = ("sweeps/*", "rollouts/*")
"""What an operator reads beside what an operator writes."""
SAGEMAKER_LOGS = "/aws/sagemaker/Endpoints"
"""Where SageMaker writes what containers print; it takes no other place."""
CAPTURED = ("captures/", "feedback/")
REPLAYED = ("artifacts/*", "captures/*", "feedback/*")
"""What a replay reads."""
ROLLOUTS_TOLD = (
    "Rollout Asked", "Rollout Aborted", "Rollout Refused", "Rollout Undecided", "Rollout Superseded", "Rollout Failed",
    "Rollout Not Begun",
)  # fmt: skip
"""What people are told of a rollout: every end but the promotion, and that they are asked."""


class RegistryStack(ModelyardStack):
    """The stateful part: nothing in it is replaced by a release of code.

    Attributes:
        artifacts: Bucket of model files, pointers and reports.
        uploads: Bucket of training files; an object created here is an event on the default bus.
        table: The registry.
        bus: Events about models: how their retraining runs ended.
        topic: Where alarms and failed runs are told to people.
    """

    def __init__(self, scope: Construct, *, deployment: Deployment, models: Sequence[Model] = ()) -> None:
        super().__init__(
            scope,
            stack_names.registry_stack(deployment.name),
            deployment=deployment,
            description="Modelyard: model registry (buckets, table, event bus)",
        )
        access_logs = self._bucket("AccessLogs", expire_days=90)
        accept(access_logs, {"AwsSolutions-S1": "This is where the access logs go; logging them would feed itself."})
        kept_days = {"runs/": 30, "uploads/": 1, "sweeps/": 90, "observed/": 7}
        kinds = {model.spec.kind for model in models} - {None}
        if "async" in kinds:
            kept_days[async_keys.FOLDER] = async_keys.KEPT_DAYS
        captured = dict.fromkeys(CAPTURED, self.settings.capture_days)
        self.artifacts = self._bucket("Artifacts", logs=access_logs, expiring={**kept_days, **captured})
        self.uploads = self._bucket("Data", logs=access_logs)
        # The L2 property would add a custom resource with a function of its own; the L1 property does the same.
        child = self.uploads.node.default_child
        assert isinstance(child, s3.CfnBucket)  # noqa: S101 - what an L2 bucket is made of
        child.add_property_override("NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled", True)
        # Not TableV2: the local AWS loses the items of an AWS::DynamoDB::GlobalTable when the resource is updated.
        self.table = dynamodb.Table(
            self,
            "Records",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            stream=dynamodb.StreamViewType.KEYS_ONLY,
            deletion_protection=self.settings.deletion_protection,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            removal_policy=self._removal_policy,
        )
        self.bus = events.EventBus(self, "Events", description="How retraining runs of models ended")
        self.topic = sns.Topic(self, "Notifications", enforce_ssl=True)
        # A topic policy of its own replaces the default one, by which alarms of the account could publish.
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        if self.settings.alarm_email is not None:
            self.topic.add_subscription(subscriptions.EmailSubscription(self.settings.alarm_email))
        self._notify()
        self.operator_policy = self._operator_policy(on_sagemaker=bool(kinds) and not self.settings.is_local)
        self.sweep_policy = self._sweep_policy()
        self.replay_policy = self._replay_policy()
        for name, value in (
            (stack_names.ARTIFACT_BUCKET, self.artifacts.bucket_name),
            (stack_names.DATA_BUCKET, self.uploads.bucket_name),
            (stack_names.TABLE, self.table.table_name),
            (stack_names.EVENT_BUS, self.bus.event_bus_name),
            (stack_names.OPERATOR_POLICY, self.operator_policy.managed_policy_arn),
            (stack_names.SWEEP_POLICY, self.sweep_policy.managed_policy_arn),
            (stack_names.REPLAY_POLICY, self.replay_policy.managed_policy_arn),
        ):
            CfnOutput(self, name, value=value)

    @property
    def _removal_policy(self) -> RemovalPolicy:
        return RemovalPolicy.RETAIN if self.settings.retain else RemovalPolicy.DESTROY

    def _bucket(
        self,
        name: str,
        *,
        logs: s3.Bucket | None = None,
        expire_days: int | None = None,
        expiring: dict[str, int] | None = None,
    ) -> s3.Bucket:
        rules = [s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(1))]
        if expire_days is not None:
            rules.append(s3.LifecycleRule(expiration=Duration.days(expire_days)))
        for prefix, days in (expiring or {}).items():
            rules.append(
                s3.LifecycleRule(
                    prefix=prefix,
                    expiration=Duration.days(days),
                    noncurrent_version_expiration=Duration.days(days),
                )
            )
        bucket = s3.Bucket(
            self,
            name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            # The local AWS speaks plain HTTP on the loopback interface, which a TLS-only bucket refuses, as it should.
            enforce_ssl=not self.settings.is_local,
            lifecycle_rules=rules,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=self._removal_policy,
            server_access_logs_bucket=logs,
            server_access_logs_prefix=f"{name.lower()}/" if logs else None,
            versioned=logs is not None,
        )
        if self.settings.is_local:
            accept(bucket, {"AwsSolutions-S10": NO_TLS_HERE})
        return bucket

    def _notify(self) -> None:
        """Tell people about runs that did not end well or wait for them, and about events that were not delivered."""
        undelivered = DeadLetters(
            self, "Undelivered", settings=self.settings, topic=self.topic, what="a notification about a run"
        )
        said = {name: events.EventField.from_path(f"$.detail.{name}") for name in ("model", "run_id", "reason")}
        chosen = "" if self.settings.is_local else f"--env {self.deployment.name} "
        message = (
            f"{events.EventField.detail_type}: {said['model']}\n{said['reason']}\n"
            f"Report: modelyard {chosen}report {said['model']} --run {said['run_id']}"
        )
        events.Rule(
            self,
            "RunEnded",
            event_bus=self.bus,
            description="Runs that were rejected, failed or wait for a person, to the notification topic",
            event_pattern=events.EventPattern(
                source=["modelyard"], detail_type=["Run Rejected", "Run Failed", "Run Registered"]
            ),
            targets=[
                targets.SnsTopic(
                    self.topic,
                    dead_letter_queue=undelivered.queue,
                    message=events.RuleTargetInput.from_text(message),
                )
            ],
        )

        say = f"modelyard {chosen}rollout status {said['model']}"
        events.Rule(
            self,
            "RolloutEnded",
            event_bus=self.bus,
            description="Rollouts that ended at the champion or wait for a person, to the notification topic",
            event_pattern=events.EventPattern(source=["modelyard"], detail_type=list(ROLLOUTS_TOLD)),
            targets=[
                targets.SnsTopic(
                    self.topic,
                    dead_letter_queue=undelivered.queue,
                    message=events.RuleTargetInput.from_text(
                        f"{events.EventField.detail_type}: {said['model']}\n{said['reason']}\nLook: {say}"
                    ),
                )
            ],
        )

    def _operator_policy(self, *, on_sagemaker: bool) -> iam.ManagedPolicy:
        """What a person needs for register, upload, promote, rollback, versions, history, status and logs."""
        policy = iam.ManagedPolicy(
            self, "Operator", description="Run Modelyard: register, upload, promote, roll back, look at everything"
        )
        stacks = f"{stack_names.PROJECT}-{self.deployment.name}-*"
        # CloudFormation names state machines and log groups after their logical ids; the local AWS does it otherwise.
        name, local = self.deployment.name, self.settings.is_local
        workflow = stack_names.retraining_stack(name, "*") if local else "Retraining*"
        rollouts = stack_names.rollout_stack(name, "*") if local else "Rollout*"
        log_groups = f"/aws/cloudformation/{stacks}" if self.settings.is_local else stacks
        named = {
            "cloudformation": [f"stack/{stacks}/*"],
            "logs": [f"log-group:{log_groups}"],
            "states": [f"{kind}:{named}" for named in (workflow, rollouts) for kind in ("stateMachine", "execution")],
        }
        actions = {
            "cloudformation": ["DescribeStacks"],
            "logs": ["FilterLogEvents"],
            "states": [
                "StartExecution",
                "RedriveExecution",
                "ListExecutions",
                "DescribeExecution",
                "GetExecutionHistory",
            ],
        }
        if self.settings.alarms:  # which of them fire, before a release of code
            named["cloudwatch"], actions["cloudwatch"] = [f"alarm:{stacks}"], ["DescribeAlarms"]
        if on_sagemaker:  # whether an endpoint runs the configuration that it was last given
            named["sagemaker"] = [f"endpoint/{stack_names.sagemaker_endpoints(name)}"]
            actions["sagemaker"] = ["DescribeEndpoint"]
            named["logs"].append(f"log-group:{SAGEMAKER_LOGS}/{stack_names.sagemaker_endpoints(name)}")
        keys = ["artifacts/*", "deployments/*", "evaluation_sets/*", "reports/*"]
        policy.add_statements(
            iam.PolicyStatement(
                actions=["dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem"], resources=[self.table.table_arn]
            ),
            # Entries of the search index, which 'doctor' makes again; nothing else in the table is ever deleted.
            iam.PolicyStatement(
                actions=["dynamodb:DeleteItem"],
                resources=[self.table.table_arn],
                conditions={"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["FIND#*"]}},
            ),
            iam.PolicyStatement(
                actions=["s3:GetObject", "s3:PutObject"],
                resources=[*[self.artifacts.arn_for_objects(key) for key in keys], self.uploads.arn_for_objects("*")],
            ),
            iam.PolicyStatement(
                actions=["s3:AbortMultipartUpload"], resources=[self.artifacts.arn_for_objects("artifacts/*")]
            ),
            iam.PolicyStatement(
                actions=["s3:GetObject"], resources=[self.artifacts.arn_for_objects(key) for key in LOOKED_AT]
            ),
            # Training files are read as the versions that were trained on: to reproduce, and to tell old from new.
            iam.PolicyStatement(actions=["s3:GetObjectVersion"], resources=[self.uploads.arn_for_objects("*")]),
            iam.PolicyStatement(actions=["s3:ListBucketVersions"], resources=[self.uploads.bucket_arn]),
            # Without it S3 answers 403 for an object that is not there, and "not yet published" reads as "forbidden".
            iam.PolicyStatement(
                actions=["s3:ListBucket"], resources=[self.artifacts.bucket_arn, self.uploads.bucket_arn]
            ),
        )
        policy.add_statements(
            iam.PolicyStatement(actions=["states:SendTaskSuccess"], resources=[self.waiting_rollouts])
        )
        accept_resources(policy, [self.waiting_rollouts], why=WAITING)
        accept_objects(policy, self.artifacts, [*keys, *LOOKED_AT])
        accept_objects(policy, self.uploads, ["*"])
        for service, names in named.items():
            arns = [f"arn:{self.partition}:{service}:{self.region}:{self.account}:{name}" for name in names]
            policy.add_statements(
                iam.PolicyStatement(actions=[f"{service}:{action}" for action in actions[service]], resources=arns)
            )
            accept_resources(
                policy,
                arns,
                why="Models come and go, the prefix stays; names of state machines do not begin with it.",
            )
        return policy

    def _sweep_policy(self) -> iam.ManagedPolicy:
        """What ``modelyard sweep --delete`` needs beside the operator's: apart, since it is the one that deletes."""
        policy = iam.ManagedPolicy(
            self, "Sweep", description="Delete objects of Modelyard's registry that no record names"
        )
        policy.add_statements(
            iam.PolicyStatement(actions=["s3:ListBucketMultipartUploads"], resources=[self.artifacts.bucket_arn]),
            iam.PolicyStatement(
                actions=["s3:AbortMultipartUpload", "s3:DeleteObjectVersion"],
                resources=[self.artifacts.arn_for_objects(key) for key in SWEPT],
            ),
        )
        accept_objects(policy, self.artifacts, SWEPT)
        return policy

    def _replay_policy(self) -> iam.ManagedPolicy:
        """All that ``modelyard replay`` needs: for a CI job, which reads what was captured and changes nothing."""
        policy = iam.ManagedPolicy(self, "Replay", description="Read versions and captured requests of Modelyard")
        itself = f"stack/{stack_names.registry_stack(self.deployment.name)}/*"
        stack = f"arn:{self.partition}:cloudformation:{self.region}:{self.account}:{itself}"
        policy.add_statements(
            iam.PolicyStatement(actions=["cloudformation:DescribeStacks"], resources=[stack]),
            iam.PolicyStatement(actions=["dynamodb:GetItem", "dynamodb:Query"], resources=[self.table.table_arn]),
            iam.PolicyStatement(
                actions=["s3:GetObject"], resources=[self.artifacts.arn_for_objects(key) for key in REPLAYED]
            ),
            iam.PolicyStatement(actions=["s3:ListBucket"], resources=[self.artifacts.bucket_arn]),
        )
        accept_objects(policy, self.artifacts, REPLAYED)
        accept_resources(policy, [stack], why="This stack; its id ends in something that nobody knows before.")
        return policy
