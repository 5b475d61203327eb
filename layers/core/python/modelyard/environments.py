"""What an environment declares: ``environments.toml``, one table per environment.

An environment is an account, a region and the safety settings that differ between trying things out and serving
users. It is read in ``app.py`` and in the CLI, nowhere below.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, RootModel

from modelyard.errors import SpecError, UsageError
from modelyard.spec_section import Section
from modelyard.toml import Problem, dotted, nearest, read_toml, read_toml_file, validate, value_at

ENVIRONMENTS_FILE = "environments.toml"
LOCAL = "local"
LOCAL_ACCOUNT = "000000000000"
PORT_VARIABLE = "MODELYARD_LOCAL_PORT"
ENVIRONMENTS_DOCS = "docs/environments.md"

CodeRelease = Literal[
    "all_at_once",
    "canary_10_percent_5_minutes",
    "canary_10_percent_10_minutes",
    "canary_10_percent_15_minutes",
    "canary_10_percent_30_minutes",
    "linear_10_percent_every_1_minute",
    "linear_10_percent_every_2_minutes",
    "linear_10_percent_every_3_minutes",
    "linear_10_percent_every_10_minutes",
]
"""How traffic moves to new code, by the names of CodeDeploy's own deployment configurations. One that all stacks share
could not be changed while they import it, and one for each stack would be many of the few that an account may have."""

NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,19}")
"""Names of environments: they are part of stack names, which CloudFormation gives 128 characters."""

_KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]+")


def _account(value: str) -> str:
    if not re.fullmatch("[0-9]{12}", value):
        raise ValueError(f"{value!r} is not an AWS account id: 12 digits in quotes")
    return value


def _region(value: str) -> str:
    if not re.fullmatch("[a-z]{2}(-[a-z]+)+-[0-9]", value):
        raise ValueError(f"{value!r} is not an AWS region, like 'eu-west-1'")
    return value


def _address(value: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
        raise ValueError(f"{value!r} is not an e-mail address")
    return value


def _key(value: str) -> str:
    if not _KEY_ARN.fullmatch(value):
        raise ValueError(f"{value!a} is not the ARN of a KMS key, like 'arn:aws:kms:eu-west-1:444455556666:key/…'")
    return value


class Environment(Section):
    """Where a deployment lives and how careful it is."""

    account: Annotated[str, AfterValidator(_account)] = Field(
        description=f"12-digit AWS account id, in quotes; {LOCAL_ACCOUNT!r} is the local AWS."
    )
    region: Annotated[str, AfterValidator(_region)] = Field(description="AWS region.")
    port: int | None = Field(
        default=None, ge=1024, le=65535, description="Port of the AWS emulator on this machine; [local] alone has one."
    )
    sagemaker_port: int | None = Field(
        default=None,
        ge=1024,
        le=65535,
        description="Port of what stands in for SageMaker on this machine; left out, the port after 'port'; [local] "
        "alone has one.",
    )
    python: Literal["3.12", "3.13", "host"] = Field(
        default="3.13", description="Lambda's Python; host: the Python that runs this command, [local] only."
    )
    retain: bool = Field(
        default=True,
        description="Keep buckets and table when the stack is destroyed; without it a bucket goes only if it is empty.",
    )
    deletion_protection: bool = Field(default=True, description="Refuse to delete the table and the stacks.")
    alarms: bool = Field(default=True, description="Create alarms on errors, latency and dead letters.")
    code_release: CodeRelease | None = Field(
        default=None,
        description="How endpoints get new code; left out, canary_10_percent_10_minutes where there are alarms, "
        "all_at_once where there are none.",
    )
    alarm_email: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None, description="Who is told about alarms and failed runs."
    )
    kms_key: Annotated[str, AfterValidator(_key)] | None = Field(
        default=None,
        description="ARN of the KMS key for disks of SageMaker's machines and for answers of async endpoints; left "
        "out, AWS's own keys.",
    )
    requests_per_second: int = Field(default=500, ge=1, le=10000, description="Steady rate that each API lets in.")
    request_burst: int = Field(default=1000, ge=1, le=5000, description="Requests that each API lets in at once.")
    log_retention_days: Literal[1, 7, 30, 90, 365] = Field(default=30, description="How long function logs are kept.")
    capture_days: int = Field(
        default=90, ge=1, le=3650, description="How long captured requests, and the labels sent for them, are kept."
    )
    require_reason: bool = Field(default=False, description="promote and rollback need --reason.")
    approval: bool = Field(
        default=False, description="A rollout asks a person before it promotes, whatever the model says."
    )

    @property
    def is_local(self) -> bool:
        """Whether this is the AWS emulator on this machine."""
        return self.port is not None

    @property
    def server_port(self) -> int | None:
        """Where something stands in for SageMaker on this machine, also without a key for it; None in a cloud."""
        if self.port is None:
            return None
        return self.sagemaker_port if self.sagemaker_port is not None else self.port + 1

    @property
    def release(self) -> CodeRelease:
        """How endpoints get new code, also where the file does not say."""
        if self.code_release is not None:
            return self.code_release
        return "all_at_once" if self.is_local or not self.alarms else "canary_10_percent_10_minutes"

    @property
    def python_version(self) -> str:
        """Minor version of Python that functions run on, like ``3.13``."""
        return f"{sys.version_info[0]}.{sys.version_info[1]}" if self.python == "host" else self.python


class Environments(RootModel[dict[str, Environment]]):
    """A whole ``environments.toml``."""


def parse_environments(text: str, *, file: str = ENVIRONMENTS_FILE) -> dict[str, Environment]:
    """Parse and validate the text of an ``environments.toml``.

    Raises:
        SpecError: With every finding.
    """
    return _checked(read_toml(text, file=file), file=file)


def find_project(start: Path) -> Path:
    """The nearest folder at or above ``start`` that has an ``environments.toml``.

    Raises:
        UsageError: When there is none.
    """
    for folder in (start, *start.parents):
        if (folder / ENVIRONMENTS_FILE).is_file():
            return folder
    raise UsageError(
        f"no {ENVIRONMENTS_FILE} in {start} or above it",
        code="no_project",
        next_step="Go to the project's folder and run the command again.",
    )


def load_environments(project: Path, environ: Mapping[str, str] | None = None) -> dict[str, Environment]:
    """Read ``environments.toml`` of a project folder.

    Raises:
        SpecError: When it is missing or has findings.
        UsageError: When the port that `PORT_VARIABLE` names is none.
    """
    try:
        document = read_toml_file(project / ENVIRONMENTS_FILE, file=ENVIRONMENTS_FILE)
    except FileNotFoundError as missing:
        finding = f"{ENVIRONMENTS_FILE}: not found in {project}"
        raise SpecError(finding, findings=(finding,), next_step="Run the command in the project's folder.") from missing
    environments = _checked(document, file=ENVIRONMENTS_FILE)
    return _with_local_port(environments, environ if environ is not None else os.environ)


def _checked(document: dict[str, Any], *, file: str) -> dict[str, Environment]:
    return validate(Environments, document, file=file, rules=_disagreements(document), docs=ENVIRONMENTS_DOCS).root


def _disagreements(document: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong between keys, found in the raw document: it may have other findings too."""
    for name, table in document.items():
        if not isinstance(table, dict):
            continue
        if not NAME_PATTERN.fullmatch(name):
            yield (
                dotted((name,)),
                "is no environment's name: a lower-case letter, then at most 19 of a-z, 0-9, '-'",
            )
        account, port = value_at(table, "account"), value_at(table, "port")
        yield from _key_disagreements(name, table)
        if value_at(table, "code_release") not in (None, "all_at_once"):
            yield from _release_disagreements(name, table)
        if name == LOCAL:
            if port is None:
                yield (
                    dotted((name, "port")),
                    "is required: where the AWS emulator on this machine listens, like 4599",
                )
            if port is not None and value_at(table, "sagemaker_port") == port:
                yield dotted((name, "sagemaker_port")), f"{port} is the port of the AWS emulator; give another"
            if isinstance(account, str) and account != LOCAL_ACCOUNT:
                yield dotted((name, "account")), f"{account!r} is not that of the local AWS: {LOCAL_ACCOUNT!r}"
            continue
        if port is not None:
            yield dotted((name, "port")), "is for [local] alone: the AWS emulator on this machine"
        if value_at(table, "sagemaker_port") is not None:
            yield dotted((name, "sagemaker_port")), "is for [local] alone; in the cloud there is SageMaker"
        if account == LOCAL_ACCOUNT:
            yield dotted((name, "account")), f"{LOCAL_ACCOUNT!r} is the local AWS; [{name}] needs an account of yours"
        if value_at(table, "python") == "host":
            yield dotted((name, "python")), "'host' is for [local] alone; Lambda has '3.12' and '3.13'"


def _key_disagreements(name: str, table: dict[str, Any]) -> Iterator[Problem]:
    key, region = value_at(table, "kms_key"), value_at(table, "region")
    found = _KEY_ARN.fullmatch(key) if isinstance(key, str) else None
    at = dotted((name, "kms_key"))
    if found is not None and name == LOCAL:
        yield at, "is for the cloud; the local AWS has no SageMaker"
    elif found is not None and isinstance(region, str) and found[1] != region:
        yield at, f"is a key in {found[1]}, and the environment is in {region}; SageMaker takes keys of its own region"


def _release_disagreements(name: str, table: dict[str, Any]) -> Iterator[Problem]:
    at = dotted((name, "code_release"))
    if name == LOCAL:
        yield at, "must be 'all_at_once': the local AWS has no CodeDeploy"
    elif value_at(table, "alarms") is False:
        yield at, "needs alarms = true, because without an alarm nothing takes bad code back; else 'all_at_once'"


def _with_local_port(environments: dict[str, Environment], environ: Mapping[str, str]) -> dict[str, Environment]:
    """Let a second local AWS run beside the first, on the port that the environment variable names."""
    port = environ.get(PORT_VARIABLE)
    if port is None:
        return environments
    if not re.fullmatch("[0-9]{4,5}", port) or not 1024 <= int(port) <= 65535:
        raise UsageError(
            f"{PORT_VARIABLE}={port!a} is not a port: 1024 to 65535",
            code="invalid_port",
            next_step=f"Unset {PORT_VARIABLE}, or set it to a free port.",
        )
    # Not the file's sagemaker_port either: the first local AWS may have it.
    elsewhere = {"port": int(port), "sagemaker_port": None}
    return {
        name: environment.model_copy(update=elsewhere) if environment.is_local else environment
        for name, environment in environments.items()
    }


def choose_environment(environments: dict[str, Environment], name: str) -> Environment:
    """The environment called ``name``.

    Raises:
        UsageError: When there is none, with the names there are.
    """
    try:
        return environments[name]
    except KeyError:
        raise UsageError(
            f"environment {name!a} is not in {ENVIRONMENTS_FILE}; {nearest(name, environments)}",
            code="unknown_environment",
            next_step=f"Choose another with --env (cdk: -c env=…), or add the table to {ENVIRONMENTS_FILE}.",
        ) from None
