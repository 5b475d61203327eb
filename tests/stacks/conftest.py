"""Every environment's templates, synthesized once for all tests: starting jsii takes longer than the tests."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modelyard.environments import choose_environment, load_environments
from modelyard.spec import load_model
from tests.fakes.rollouts import MODEL
from tests.fakes.states_language import definition_of

PROJECT = Path(__file__).parents[2]
ENVIRONMENTS = ("local", "dev", "prod")


@dataclass(frozen=True)
class Synthesized:
    """One environment's cloud assembly and what the rule packs say about it."""

    name: str
    folder: Path
    templates: dict[str, dict[str, Any]] = field(repr=False)
    findings: list[str]

    def template(self, ending: str) -> dict[str, Any]:
        """The template of the stack whose name ends so."""
        (found,) = [body for name, body in self.templates.items() if name.endswith(ending)]
        return found

    def resources(self, kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Stack, logical id and resource, for every resource of a type in every stack."""
        for stack, body in self.templates.items():
            for logical_id, resource in body["Resources"].items():
                if resource["Type"] == kind:
                    yield stack, logical_id, resource


def built_digest(name: str, architecture: str) -> str:
    """The digest that these tests give a layer or function."""
    return hashlib.sha256(f"{name}-{architecture}".encode()).hexdigest()


@pytest.fixture(scope="session")
def unbuilt_layers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Synth needs layers that were built; these tests need only that they are asked for, not what is in them."""
    import stacks.base
    from modelyard.packaging import LayerManifest

    archive = tmp_path_factory.mktemp("layers") / "layer.zip"
    archive.write_bytes(b"PK\x05\x06" + bytes(18))

    def find_layer(_project: Path, _environment: Any, layer: str, *, architecture: str = "arm64") -> LayerManifest:
        return LayerManifest(
            name=layer, target=architecture, digest=built_digest(layer, architecture), inputs="", unzipped_bytes=0,
            zip_bytes=22, files=0, bytecode=None, packages=(), modules=(), pruned=(), left_out=(), path=archive,
        )  # fmt: skip

    patch = pytest.MonkeyPatch()
    patch.setattr(stacks.base, "find_layer", find_layer)
    yield
    patch.undo()


@pytest.fixture(scope="session", params=ENVIRONMENTS)
def synthesized(
    request: pytest.FixtureRequest, unbuilt_layers: None, tmp_path_factory: pytest.TempPathFactory
) -> Synthesized:
    """The app in one environment, checked with cdk-nag's AwsSolutions and Serverless packs."""
    return synthesize(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def prod(unbuilt_layers: None, tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """The app in prod."""
    return synthesize("prod", tmp_path_factory.mktemp("prod-only"))


_DONE: dict[tuple[str, ...], Synthesized] = {}


def synthesize(environment: str, folder: Path, **more: str) -> Synthesized:
    """The app in one environment, told more by ``-c`` if anything."""
    key = (environment, *more.values())
    if key not in _DONE:
        templates, findings = synthesize_project(PROJECT, environment, folder, **more)
        _DONE[key] = Synthesized(environment, folder, templates, findings)
    return _DONE[key]


def synthesize_project(
    project: Path, environment: str, folder: Path, **more: str
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The templates of a project's app in one environment, by stack, and what the rule packs find."""
    from aws_cdk import App, Validations
    from cdk_nag import AwsSolutionsChecks, ServerlessChecks

    import app as modelyard_app
    import stacks  # noqa: F401 - chooses the Node that aws_cdk starts

    context = json.loads((PROJECT / "cdk.json").read_text())["context"]
    app = App(outdir=str(folder), context={**context, "env": environment, **more}, analytics_reporting=False)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
    modelyard_app.build_app(app, project)
    try:
        app.synth()
    except RuntimeError as error:
        if "ValidationFailed" not in str(error):
            raise
    templates = {
        path.name.removesuffix(".template.json"): json.loads(path.read_text())
        for path in sorted(folder.glob("*.template.json"))
    }
    return templates, _findings(folder / "validation-report.json")


def _findings(report: Path) -> list[str]:
    """What the packs found and nobody accepted. Without findings the report names no pack; a test of its own proves
    that they run."""
    return [
        f"{violation['ruleName']}: {construct['constructPath']}"
        for plugin in json.loads(report.read_text())["pluginReports"]
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    ]


@pytest.fixture(scope="session")
def templates(unbuilt_layers: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The stacks of a model with gradual rollouts in dev, checked by the rule packs."""
    import stacks  # noqa: F401, I001 - chooses the Node that aws_cdk starts
    from aws_cdk import App, Validations
    from cdk_nag import AwsSolutionsChecks, ServerlessChecks
    from stacks.api_stack import ApiStack
    from stacks.base import Deployment
    from stacks.endpoint_stack import EndpointStack
    from stacks.registry_stack import RegistryStack
    from stacks.retraining_stack import RetrainingStack
    from stacks.rollout_stack import RolloutStack

    folder = tmp_path_factory.mktemp("rollout")
    context = json.loads((PROJECT / "cdk.json").read_text())["context"]
    app = App(outdir=str(folder), context={**context, "env": "dev"}, analytics_reporting=False)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
    settings = choose_environment(load_environments(PROJECT), "dev").model_copy(update={"alarms": True})
    deployment = Deployment(project=PROJECT, name="dev", settings=settings)
    model = load_model(PROJECT / "models" / "seattle_weather")
    rollout = model.spec.rollout.model_copy(update={"mode": "gradual"})
    model = model.model_copy(update={"spec": model.spec.model_copy(update={"rollout": rollout})})
    registry = RegistryStack(app, deployment=deployment)
    api = ApiStack(app, deployment=deployment, registry=registry, models=[model])
    endpoint = EndpointStack(app, deployment=deployment, model=model, registry=registry, api=api)
    made = RolloutStack(app, deployment=deployment, model=model, registry=registry, endpoint=endpoint)
    RetrainingStack(app, deployment=deployment, model=model, registry=registry, rollout=made)
    app.synth()  # raises when a pack finds something
    return {path.name: json.loads(path.read_text()) for path in Path(folder).glob("*.template.json")}


@pytest.fixture(scope="session")
def definition(templates: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The rollout workflow of `templates`, for the model of the tests' yard."""
    text = json.dumps(definition_of(ending(templates, "Rollout-seattle-weather")))
    found: dict[str, Any] = json.loads(text.replace("seattle_weather", MODEL))
    return found


def ending(templates: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """The template of the one stack whose name has this in it."""
    (found,) = [body for key, body in templates.items() if name in key]
    return found


@pytest.fixture(scope="session")
def sagemaker_dev(unbuilt_layers: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project with a model of each kind on SageMaker, in dev, with releases in steps and a key of its own."""
    from tests.stacks.sagemaker_project import KEY, MODELS, assembly_of, write_project

    project = write_project(tmp_path_factory.mktemp("sagemaker") / "project", MODELS)
    more = f'code_release = "canary_10_percent_15_minutes"\nkms_key = "{KEY}"\n'
    return assembly_of(project, tmp_path_factory.mktemp("sagemaker-dev"), "dev", more)
