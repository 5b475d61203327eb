"""What every stack of Modelyard has in common: its environment, what was built for it, its synthesizer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_cdk import AssetHashType, CliCredentialsStackSynthesizer, DefaultStackSynthesizer, Environment, Stack, Tags
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from modelyard import environments
from modelyard.packaging import LayerManifest, find_layer, function_asset
from modelyard.packaging.targets import Architecture
from modelyard.stack_names import PROJECT


@dataclass(frozen=True)
class Deployment:
    """What a synth is about: a project folder, the environment's name and its settings."""

    project: Path
    name: str
    settings: environments.Environment


class ModelyardStack(Stack):
    """A stack in one environment, able to make the layers that its functions share."""

    def __init__(self, scope: Construct, stack_name: str, *, deployment: Deployment, description: str) -> None:
        settings = deployment.settings
        # The emulator refuses the asset-publishing role of a bootstrap stack when it enforces IAM; the caller's own
        # credentials do the same there.
        synthesizer: Any = CliCredentialsStackSynthesizer() if settings.is_local else DefaultStackSynthesizer()
        super().__init__(
            scope,
            stack_name,
            stack_name=stack_name,
            description=description,
            env=Environment(account=settings.account, region=settings.region),
            termination_protection=settings.deletion_protection,
            synthesizer=synthesizer,
        )
        self.deployment = deployment
        self.settings = settings
        self._layers: dict[tuple[str, str], lambda_.LayerVersion] = {}
        Tags.of(self).add("project", PROJECT.lower())
        Tags.of(self).add("environment", deployment.name)

    @property
    def waiting_rollouts(self) -> str:
        """What ``states:SendTaskSuccess`` is allowed on: the rollouts that wait for a person.

        CloudFormation names state machines after their logical ids. The local AWS checks this action against no
        resource. Either way whoever answers has to have the token, which says which task.
        """
        if self.settings.is_local:
            return "*"
        return f"arn:{self.partition}:states:{self.region}:{self.account}:stateMachine:Rollout*"

    @property
    def runtime(self) -> lambda_.Runtime:
        """Python of all functions of the environment."""
        return lambda_.Runtime(
            f"python{self.settings.python_version}", lambda_.RuntimeFamily.PYTHON, supports_snap_start=True
        )

    def layer(self, name: str, *, architecture: Architecture) -> lambda_.LayerVersion:
        """The layer ``name``, made once per stack.

        Each stack has its own layer version of the same asset: an exported layer ARN could not change while another
        stack imports it.
        """
        key = (name, architecture)
        if key not in self._layers:
            self._layers[key] = lambda_.LayerVersion(
                self,
                f"Layer-{name}-{architecture}",
                code=_asset(self.built_layer(name, architecture=architecture)),
                compatible_runtimes=[self.runtime],
                description=f"Modelyard {name} for Python {self.settings.python_version}",
            )
        return self._layers[key]

    def function_code(self, file: str, *, architecture: Architecture) -> lambda_.Code:
        """The code of ``functions/<file>.py`` with its bytecode, as it was built."""
        return _asset(self.built_layer(function_asset(file), architecture=architecture))

    def built_layer(self, name: str, *, architecture: Architecture) -> LayerManifest:
        """What was built for this environment; synth only reads it."""
        return find_layer(self.deployment.project, self.settings, name, architecture=architecture)


def _asset(built: LayerManifest) -> lambda_.Code:
    """A built zip under the digest of its content: equal content is no new version of a layer or function."""
    return lambda_.Code.from_asset(str(built.path), asset_hash=built.digest, asset_hash_type=AssetHashType.CUSTOM)
