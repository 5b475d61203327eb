"""What a command works on: a project, one of its environments, and AWS as that environment's caller.

Local and cloud differ in two things only, both of them here: where AWS is, and whose credentials are used. The caller's
own credentials never reach the local AWS and the local ones never leave this machine.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelyard import stack_names
from modelyard.cli.local_users import read_keys
from modelyard.control.routes import FEEDBACK_ROUTE, PREDICT_ROUTE, route_of
from modelyard.environments import (
    ENVIRONMENTS_FILE,
    Environment,
    choose_environment,
    find_project,
    load_environments,
)
from modelyard.errors import AWSError, CredentialsError, NotFoundError, UsageError
from modelyard.names import name_problem
from modelyard.spec import SPEC_FILE, Model, load_model, load_models

if TYPE_CHECKING:
    from modelyard.aws.clients import Clients
    from modelyard.aws.uploads import Uploads
    from modelyard.local.emulator import LocalAws
    from modelyard.registry import Registry

HOME_VARIABLE = "MODELYARD_HOME"
CREDENTIALS_FILE = "credentials.json"


class Session:
    """One command's view of the world; everything in it is made when it is first asked for."""

    def __init__(self, environment: str, *, start: Path, environ: Mapping[str, str] = os.environ) -> None:
        self.name = environment
        self._start, self._environ = start, environ

    @cached_property
    def project(self) -> Path:
        """The project's folder."""
        return find_project(self._start.resolve())

    @cached_property
    def home(self) -> Path:
        """Where the local AWS keeps its state and credentials; git-ignored."""
        named = self._environ.get(HOME_VARIABLE)
        return Path(named).resolve() if named else self.project / ".modelyard"

    @cached_property
    def settings(self) -> Environment:
        """The environment's settings."""
        return choose_environment(load_environments(self.project, self._environ), self.name)

    @cached_property
    def models(self) -> list[Model]:
        """Every model of the project."""
        return load_models(self.project / "models")

    def model(self, name: str) -> Model:
        """One model of the project.

        Raises:
            UsageError: When ``name`` is no model name: it would be a path.
            NotFoundError: When there is no such folder, with the models there are.
        """
        problem = name_problem(name)
        if problem is not None:
            raise UsageError(
                problem,
                code="invalid_name",
                field="model",
                next_step="Give the name of a folder in models; 'modelyard status' lists them.",
            )
        folder = self.project / "models" / name
        if not (folder / SPEC_FILE).is_file():
            known = sorted(path.parent.name for path in (self.project / "models").glob(f"*/{SPEC_FILE}"))
            raise NotFoundError(
                f"model {name!a} has no models/{name}/{SPEC_FILE}; there are {', '.join(known) or 'none'}",
                code="unknown_model",
                next_step="Run 'modelyard init' to add one.",
            )
        return load_model(folder)

    def model_here(self, name: str) -> Model | None:
        """The model's folder in this project, where there is one; a registry may hold models of other projects."""
        try:
            return self.model(name)
        except NotFoundError:
            return None

    @cached_property
    def local_aws(self) -> "LocalAws":
        """The local AWS of this project."""
        from modelyard.local.emulator import LocalAws

        port = self.settings.port
        if port is None:
            raise UsageError(f"environment {self.name!r} is in the cloud; the local AWS belongs to 'local'")
        python = self.project / ".modelyard" / "ministack" / "bin" / "python"
        return LocalAws(home=self.home / "aws", port=port, python=python)

    @cached_property
    def clients(self) -> "Clients":
        """AWS clients as this environment's caller.

        Raises:
            CredentialsError: When the credentials belong to another account than the environment's.
            AWSError: When the local AWS does not run.
        """
        from modelyard.aws.clients import Clients

        if self.settings.is_local:
            if not self.local_aws.is_running():
                raise AWSError("the local AWS is not running", code="not_running", next_step="Run 'make up'.")
            access_key, secret_key = self.local_credentials()
            return Clients(
                region=self.settings.region,
                endpoint_url=self.local_aws.endpoint,
                access_key=access_key,
                secret_key=secret_key,
            )
        clients = Clients(region=self.settings.region)
        account = self._identity(clients)["Account"]
        if account != self.settings.account:
            raise CredentialsError(
                f"these credentials belong to account {account}; environment {self.name!r} is account "
                f"{self.settings.account}",
                code="wrong_account",
                next_step=f"Set AWS_PROFILE to a profile of {self.settings.account}, or correct {ENVIRONMENTS_FILE}.",
            )
        return clients

    def local_credentials(self) -> tuple[str, str]:
        """Access key and secret of the local developer, an IAM user that ``modelyard up`` makes.

        Raises:
            AWSError: When it has not been made.
        """
        keys = read_keys(self.home / "aws" / CREDENTIALS_FILE)
        if keys is None:
            raise AWSError(
                "the local AWS has no developer credentials yet", code="not_deployed", next_step="Run 'make up'."
            )
        return keys

    @cached_property
    def actor(self) -> str:
        """The IAM identity of the caller, for the ledger."""
        return str(self._identity(self.clients)["Arn"])

    def outputs(self, stack: str) -> dict[str, str]:
        """Outputs of a deployed stack by name.

        Raises:
            AWSError: When the stack is not deployed.
        """
        if stack not in self._outputs:
            found = self._describe(stack)
            if found is None:
                raise AWSError(
                    f"stack {stack} is not deployed in account {self.settings.account}, {self.settings.region}",
                    code="not_deployed",
                    next_step="Run 'make up'."
                    if self.settings.is_local
                    else f"Run 'cdk deploy --all -c env={self.name}'.",
                )
            self._outputs[stack] = found
        return self._outputs[stack]

    @cached_property
    def _outputs(self) -> dict[str, dict[str, str]]:
        return {}

    def is_deployed(self, stack: str) -> bool:
        """Whether the stack exists."""
        return self._describe(stack) is not None

    def _describe(self, stack: str) -> dict[str, str] | None:
        from botocore.exceptions import ClientError

        from modelyard.aws.failures import aws_errors

        with aws_errors(f"describe stack {stack}"):
            try:
                answer = self._cloudformation.describe_stacks(StackName=stack)
            except ClientError as error:
                if "does not exist" in str(error):
                    return None
                raise
        return {output["OutputKey"]: output["OutputValue"] for output in answer["Stacks"][0].get("Outputs", [])}

    @cached_property
    def _cloudformation(self) -> Any:
        return self.clients.client("cloudformation")

    @cached_property
    def registry(self) -> "Registry":
        """The environment's registry, as the caller."""
        from modelyard.aws.bucket import S3Artifacts
        from modelyard.aws.table import DynamoDBRecords
        from modelyard.registry import Registry

        outputs = self.outputs(stack_names.registry_stack(self.name))
        records = DynamoDBRecords(self.clients.dynamodb, outputs[stack_names.TABLE])
        artifacts = S3Artifacts(self.clients.s3, outputs[stack_names.ARTIFACT_BUCKET])
        return Registry(records, artifacts, actor=self.actor)

    @cached_property
    def uploads(self) -> "Uploads":
        """The environment's data bucket."""
        from modelyard.aws.uploads import Uploads

        outputs = self.outputs(stack_names.registry_stack(self.name))
        return Uploads(self.clients.s3, outputs[stack_names.DATA_BUCKET])

    def predict_url(self, model: str) -> str:
        """Where to POST instances for a model."""
        return self._url_of(PREDICT_ROUTE, model)

    def feedback_url(self, model: str) -> str:
        """Where to POST labels for a model."""
        return self._url_of(FEEDBACK_ROUTE, model)

    def _url_of(self, route: str, model: str) -> str:
        api = self.model(model).spec.endpoint.api  # first: what no deployment brings says so
        self.outputs(stack_names.endpoint_stack(self.name, model))  # says so when the model is not deployed
        return self.api_url(api) + route_of(route, model)

    def api_url(self, index: int = 0) -> str:
        """Where one of the environment's APIs is, without a slash at the end."""
        url = self.outputs(stack_names.api_stack(self.name))[f"{stack_names.API_URL}{index or ''}"]
        if self.settings.is_local:
            # The emulator updates no stack of which only an output changed: after a new `port` it names the old one.
            return self.local_aws.endpoint + urlsplit(url).path
        return url

    def _identity(self, clients: "Clients") -> dict[str, Any]:
        from modelyard.aws.failures import aws_errors

        with aws_errors("find out who you are"):
            identity: dict[str, Any] = {}
            with suppress(KeyError):  # botocore's, when a page that is XML answers
                identity = clients.client("sts").get_caller_identity()
        if not {"Account", "Arn"} <= identity.keys():
            raise AWSError(
                "cannot find out who you are: what answers is not AWS, perhaps a proxy or a sign-in page",
                code="unreachable",
                next_step="Check the network, then run the command again.",
            )
        return identity
