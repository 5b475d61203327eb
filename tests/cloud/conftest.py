"""A private local AWS with the app deployed to it: own port, own state, never the one that ``make up`` runs.

It is brought up by ``modelyard up`` itself, once for all tests of this folder, and reached through pytest-localstack's
``RunningSession``, which refuses to let boto3 talk to anything else. IAM is enforced.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pytest_localstack.session import RunningSession

from modelyard.aws.bucket import S3Artifacts
from modelyard.aws.table import DynamoDBRecords
from modelyard.registry import Registry

PROJECT = Path(__file__).parents[2]
REGION = "eu-west-1"
ROOT = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
SERVICES = ("s3", "dynamodb", "iam", "lambda", "cloudformation", "stepfunctions", "sts", "logs", "events", "sqs")
UP_TIMEOUT_S = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cloud)


def free_port() -> int:
    """A port that is free, and the next one as well: there the models on SageMaker are served."""
    for _ in range(100):
        with socket.socket() as probe, socket.socket() as beside:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            with suppress(OSError, OverflowError):
                beside.bind(("127.0.0.1", port + 1))
                return port
    raise AssertionError("no two free ports beside each other")


@dataclass(frozen=True)
class System:
    """The deployed system, as a user has it: a command line, and AWS clients."""

    port: int
    home: Path
    session: RunningSession
    first_output: str = field(repr=False)
    project: Path = PROJECT

    @property
    def environ(self) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MODELYARD_"))}
        return {**kept, "MODELYARD_LOCAL_PORT": str(self.port), "MODELYARD_HOME": str(self.home), "COLUMNS": "200"}

    def run(self, *arguments: str, code: int = 0, timeout_s: float = 300) -> str:
        """Run the command line; its stdout. The exit code must be ``code``."""
        ended = subprocess.run(
            [sys.executable, "-m", "modelyard", *arguments],
            cwd=self.project, env=self.environ, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        assert ended.returncode == code, f"{arguments}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout if code == 0 else ended.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def client(self, service: str, **credentials: str) -> Any:
        """A boto3-like client of the private local AWS, as root unless credentials are given."""
        return self.session.botocore.client(service, region_name=REGION, **(credentials or ROOT))

    def outputs(self, stack: str) -> dict[str, str]:
        (found,) = self.client("cloudformation").describe_stacks(StackName=f"Modelyard-local-{stack}")["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}

    def registry(self, artifacts: type[S3Artifacts] = S3Artifacts, **settings: Any) -> Registry:
        """The deployed registry, as the developer unless ``credentials`` are given."""
        keys, names = settings.pop("credentials", self.developer), self.outputs("Registry")
        records = DynamoDBRecords(self.client("dynamodb", **keys), names["RegistryTable"])
        kept = artifacts(self.client("s3", **keys), names["ArtifactBucket"])
        return Registry(records, kept, actor="test", **settings)

    def url(self, path: str) -> str:
        return self.outputs("Api")["Url"] + path

    @property
    def developer(self) -> dict[str, str]:
        keys = json.loads((self.home / "aws" / "credentials.json").read_text())
        return {"aws_access_key_id": keys["access_key"], "aws_secret_access_key": keys["secret_key"]}

    def role_credentials(self, function_name: str) -> dict[str, str]:
        """Temporary credentials of a function's own role, so that a test can try what the function must not."""
        role = self.client("lambda").get_function_configuration(FunctionName=function_name)["Role"]
        iam, name = self.client("iam"), role.rsplit("/", 1)[-1]
        trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        trust = json.loads(trust) if isinstance(trust, str) else trust
        statement = {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
        }
        widened = {**trust, "Statement": [*trust["Statement"], statement]}
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(widened))
        try:
            found = self.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        finally:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
        return {
            "aws_access_key_id": found["AccessKeyId"],
            "aws_secret_access_key": found["SecretAccessKey"],
            "aws_session_token": found["SessionToken"],
        }


@contextmanager
def brought_up(home: Path, project: Path = PROJECT) -> Iterator[System]:
    """``modelyard up`` on a free port with an empty state; stopped, and forgotten, at the end."""
    port = free_port()
    session = RunningSession("127.0.0.1", services=dict.fromkeys(SERVICES, port), region_name=REGION)
    starting = System(port=port, home=home, session=session, first_output="", project=project)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "modelyard", "up"],
            cwd=project, env=starting.environ, capture_output=True, text=True, timeout=UP_TIMEOUT_S, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"modelyard up: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        yield replace(starting, first_output=ended.stderr + ended.stdout)
    finally:
        starting.run("down", "--forget")


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """This project, as it is."""
    with brought_up(tmp_path_factory.mktemp("modelyard")) as found:
        yield found
