"""What an environment declares: ``environments.toml``, one table per environment.

An environment is an account, a region and the safety settings that differ between trying things out and serving
users. It is read in ``app.py`` and in the CLI, nowhere below.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, RootModel, field_validator, model_validator

from modelyard.errors import SpecError, UsageError
from modelyard.spec import Section
from modelyard.toml import read_toml, validate

ENVIRONMENTS_FILE = "environments.toml"
LOCAL = "local"
LOCAL_ACCOUNT = "000000000000"
PORT_VARIABLE = "MODELYARD_LOCAL_PORT"


class Environment(Section):
    """Where a deployment lives and how careful it is."""

    account: str = Field(description="12-digit AWS account id.")
    region: str = Field(description="AWS region.")
    port: int | None = Field(default=None, ge=1024, le=65535, description="Port of the local AWS; local only.")
    python: Literal["3.12", "3.13", "host"] = Field(
        default="3.13", description="Lambda's Python; host: the Python that runs this command, local only."
    )
    retain: bool = Field(default=True, description="Keep buckets and table when the stack is destroyed.")
    deletion_protection: bool = Field(default=True, description="Refuse to delete the table and the stacks.")
    alarms: bool = Field(default=True, description="Create alarms on errors, latency and dead letters.")
    alarm_email: str | None = Field(default=None, description="Who is told about alarms and failed runs.")
    requests_per_second: int = Field(default=500, ge=1, le=10000, description="Steady rate that each API lets in.")
    request_burst: int = Field(default=1000, ge=1, le=5000, description="Requests that each API lets in at once.")
    log_retention_days: Literal[1, 7, 30, 90, 365] = Field(default=30, description="How long function logs are kept.")
    require_reason: bool = Field(default=False, description="promote and rollback need --reason.")

    @field_validator("account")
    @classmethod
    def _account_has_12_digits(cls, value: str) -> str:
        if not re.fullmatch(r"\d{12}", value):
            raise ValueError(f"{value!r} is not an AWS account id: 12 digits")
        return value

    @field_validator("region")
    @classmethod
    def _region_looks_right(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", value):
            raise ValueError(f"{value!r} is not an AWS region, like 'eu-west-1'")
        return value

    @model_validator(mode="after")
    def _local_settings_stay_local(self) -> Self:
        is_local = self.port is not None
        if is_local and self.account != LOCAL_ACCOUNT:
            raise ValueError(f"port is for the local AWS, whose account is {LOCAL_ACCOUNT!r}")
        if self.python == "host" and not is_local:
            raise ValueError("python = 'host' is for the local AWS; Lambda has '3.12' and '3.13'")
        return self

    @property
    def is_local(self) -> bool:
        """Whether this is the AWS emulator on this machine."""
        return self.port is not None

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
    document: dict[str, Any] = read_toml(text, file=file)
    return validate(Environments, document, file=file).root


def load_environments(project: Path, environ: Mapping[str, str] | None = None) -> dict[str, Environment]:
    """Read ``environments.toml`` of a project folder.

    Raises:
        SpecError: When it is missing or has findings.
    """
    path = project / ENVIRONMENTS_FILE
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as missing:
        finding = f"{ENVIRONMENTS_FILE}: not found in {project}"
        raise SpecError(finding, findings=(finding,), next_step="Run the command in the project's folder.") from missing
    return _with_local_port(parse_environments(text), environ if environ is not None else os.environ)


def _with_local_port(environments: dict[str, Environment], environ: Mapping[str, str]) -> dict[str, Environment]:
    """Let a second local AWS run beside the first, on the port that the environment variable names."""
    port = environ.get(PORT_VARIABLE)
    if port is None:
        return environments
    if not (port.isdecimal() and 1024 <= int(port) <= 65535):
        raise UsageError(f"{PORT_VARIABLE}={port!r} is not a port: 1024 to 65535")
    return {
        name: environment.model_copy(update={"port": int(port)}) if environment.is_local else environment
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
            f"environment {name!r} is not in {ENVIRONMENTS_FILE}; there are {', '.join(environments)}",
            code="unknown_environment",
        ) from None
