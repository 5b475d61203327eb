"""Training on SageMaker, for what does not fit Lambda: the same trainer in a container, the same files in and out."""

from collections.abc import Callable
from typing import Any

from aws_cdk import Duration, Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from modelyard.packaging import layers_of
from modelyard.spec import Model
from stacks.base import ModelyardStack
from stacks.findings import accept, accept_objects
from stacks.function import EntryPoint
from stacks.registry_stack import RegistryStack

VOLUME = Size.gibibytes(30)
IN_THE_IMAGE = ("layers/core/python", "layers/training", "layers/notebook")
"""What the Dockerfile copies, beside a model's own code; nothing else makes another image."""


class SageMakerTraining(Construct):
    """A training job per run, and the step that brings its output to where a function would have left it.

    Deploying it builds an image, which takes Docker; nobody whose models fit Lambda needs either.
    """

    def __init__(self, scope: Construct, construct_id: str, *, model: Model, registry: RegistryStack) -> None:
        super().__init__(scope, construct_id)
        stack = ModelyardStack.of(self)
        assert isinstance(stack, ModelyardStack)  # noqa: S101 - the only kind of stack there is
        training = model.spec.training
        assert training is not None  # noqa: S101 - only models with a [training] section get this construct
        assert training.instance is not None  # noqa: S101 - and an instance
        self._model, self._registry, self._stack = model, registry, stack
        self._instance, self._timeout_s = training.instance, training.timeout_s
        self._image = ecr_assets.DockerImageAsset(
            self,
            "Image",
            directory=str(stack.deployment.project),
            file="layers/training/Dockerfile",
            target=_target(model),
            build_args={
                "PYTHON": stack.settings.python_version,
                **({"MODEL": model.name} if model.training_entry is not None else {}),
                **({"NOTEBOOK": model.notebook} if model.notebook is not None else {}),
            },
            platform=ecr_assets.Platform.LINUX_AMD64,
            exclude=["*", *(f"!{part}" for part in (*IN_THE_IMAGE, *_own_parts(model))), "**/__pycache__"],
        )
        runs = f"runs/{model.name}/*"
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"),
            description=f"Modelyard retraining of {model.name}: the training job",
        )
        self._image.repository.grant_pull(self.role)
        self.role.add_to_policy(
            iam.PolicyStatement(
                actions=["s3:GetObject", "s3:PutObject"], resources=[registry.artifacts.arn_for_objects(runs)]
            )
        )
        self.role.add_to_policy(
            iam.PolicyStatement(actions=["s3:ListBucket"], resources=[registry.artifacts.bucket_arn])
        )
        log_group = f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:log-group:/aws/sagemaker/TrainingJobs"
        self.role.add_to_policy(
            iam.PolicyStatement(
                actions=["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                resources=[log_group, f"{log_group}:*"],
            )
        )
        accept_objects(self.role, registry.artifacts, [runs])
        accept(
            self.role,
            {
                "AwsSolutions-IAM5[Resource::*]": "ecr:GetAuthorizationToken accepts no narrower resource.",
                f"AwsSolutions-IAM5[Resource::{log_group}:*]": "Streams of SageMaker's one log group for trainings.",
            },
        )
        self.collect = EntryPoint(
            self,
            "Collect",
            file="retraining_collect",
            layers=layers_of("workflow"),
            description=f"Modelyard retraining of {model.name}: collect",
            memory_mb=1769,
            timeout_s=120,
            environment={
                "MODELYARD_MODEL": model.name,
                "MODELYARD_ARTIFACT_BUCKET": registry.artifacts.bucket_name,
                "MODELYARD_DATA_BUCKET": registry.uploads.bucket_name,
                "MODELYARD_TABLE": registry.table.table_name,
            },
        )
        self.collect.allow_objects("s3:GetObject", "s3:PutObject", bucket=registry.artifacts, keys=[runs])
        self.collect.allow("s3:ListBucket", on=[registry.artifacts.bucket_arn])

    def states(
        self, invoke: Callable[[str, EntryPoint, dict[str, Any], str], tasks.LambdaInvoke]
    ) -> tuple[tasks.SageMakerCreateTrainingJob, tasks.LambdaInvoke]:
        """The job, and what collects its output; the second follows the first."""
        bucket = self._registry.artifacts.bucket_name
        where = sfn.JsonPath.string_at("$.prepared.job")
        job = tasks.SageMakerCreateTrainingJob.json_path(
            self,
            "Train on SageMaker",
            # At most 63 letters, digits and '-', unique in the account, and another one after a redrive.
            training_job_name=sfn.JsonPath.format(
                "modelyard-{}-{}",
                sfn.JsonPath.hash(sfn.JsonPath.string_at("$$.Execution.Name"), "SHA-1"),
                sfn.JsonPath.string_at("$$.Execution.RedriveCount"),
            ),
            # As it is: for locations that are known at run time only, the task would grant all of S3.
            role=self.role.without_policy_updates(),
            algorithm_specification=tasks.AlgorithmSpecification(
                training_image=tasks.DockerImage.from_registry(self._image.image_uri),
                training_input_mode=tasks.InputMode.FILE,
            ),
            input_data_config=[
                tasks.Channel(
                    channel_name="job",
                    data_source=tasks.DataSource(
                        s3_data_source=tasks.S3DataSource(
                            s3_location=tasks.S3Location.from_json_expression(
                                sfn.JsonPath.format(f"s3://{bucket}/{{}}/in/", where)
                            ),
                            s3_data_type=tasks.S3DataType.S3_PREFIX,
                        )
                    ),
                )
            ],
            output_data_config=tasks.OutputDataConfig(
                s3_output_location=tasks.S3Location.from_json_expression(
                    sfn.JsonPath.format(f"s3://{bucket}/{{}}/sagemaker/", where)
                )
            ),
            resource_config=tasks.ResourceConfig(
                instance_count=1,
                instance_type=ec2.InstanceType(self._instance.removeprefix("ml.")),
                volume_size=VOLUME,
            ),
            stopping_condition=tasks.StoppingCondition(max_runtime=Duration.seconds(self._timeout_s)),
            integration_pattern=sfn.IntegrationPattern.RUN_JOB,
            result_path="$.sagemaker",
            # Above the job's own deadline: the instance has to start and the output to be stored.
            task_timeout=sfn.Timeout.duration(Duration.seconds(self._timeout_s + 1_200)),
        )
        job.add_retry(
            errors=["SageMaker.AmazonSageMakerException", "SageMaker.ThrottlingException"],
            interval=Duration.seconds(10),
            max_attempts=4,
            backoff_rate=2,
        )
        output = {
            "job": where,
            "output": sfn.JsonPath.string_at("$.sagemaker.ModelArtifacts.S3ModelArtifacts"),
        }
        collect = invoke("Collect the training's output", self.collect, output, "training")
        job.next(collect)
        return job, collect


def _own_parts(model: Model) -> list[str]:
    """What of a model's folder trains it."""
    if model.training_entry is None:
        return []
    notebook = [] if model.notebook is None else [f"models/{model.name}/{model.notebook}"]
    return [*notebook, *([f"models/{model.name}/python"] if _has_packages(model) else [])]


def _target(model: Model) -> str:
    """The stage of ``layers/training/Dockerfile``."""
    if model.training_entry is None:
        return "plain"
    if model.notebook is None:
        return "own"
    return "notebook_own" if _has_packages(model) else "notebook"


def _has_packages(model: Model) -> bool:
    return (model.folder / "python").is_dir()
