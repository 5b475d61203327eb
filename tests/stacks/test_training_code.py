"""The stack of a model that trains itself: what its functions carry, what names its code, and what its image holds."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelyard.environments import choose_environment, load_environments
from modelyard.packaging import training_code_digest
from modelyard.spec import load_model
from tests.stacks.conftest import PROJECT, built_digest

SPEC = """
[model]
name = "{name}"
task = "regression"
[training]
target = "y"
entry = "{entry}"
instance = "ml.m5.xlarge"
[training.features]
x = {{ kind = "number" }}
[evaluation]
metric = "rmse"
"""
MODELS = {
    "own": ("own_model.fitting:train", ("python/own_model/fitting.py",)),
    "noted": ("notebooks/train it.ipynb", ("notebooks/train it.ipynb",)),
    "both": ("train.ipynb", ("train.ipynb", "python/words/__init__.py")),
    "plain": ("", ()),
}


@dataclass(frozen=True)
class Stacks:
    """The assembly of a project with these models in dev."""

    project: Path
    folder: Path

    def resources(self, model: str, kind: str) -> list[dict[str, Any]]:
        (path,) = self.folder.glob(f"*Retraining-{model}.template.json")
        found = json.loads(path.read_text())["Resources"]
        return [item["Properties"] for item in found.values() if item["Type"] == kind]

    def step(self, model: str, name: str) -> dict[str, Any]:
        functions = self.resources(model, "AWS::Lambda::Function")
        (found,) = [each for each in functions if each["Handler"] == f"retraining_{name}.handler"]
        return found

    def layers(self, model: str, name: str) -> set[str]:
        (path,) = self.folder.glob(f"*Retraining-{model}.template.json")
        resources = json.loads(path.read_text())["Resources"]
        carried = [resources[layer["Ref"]]["Properties"] for layer in self.step(model, name)["Layers"]]
        return {layer["Description"].split()[1] for layer in carried}

    def image(self, model: str) -> tuple[dict[str, Any], set[str]]:
        """How the image is built, and every file that the build gets."""
        (path,) = self.folder.glob(f"*Retraining-{model}.assets.json")
        (asset,) = json.loads(path.read_text())["dockerImages"].values()
        folder = self.folder / asset["source"]["directory"]
        return asset["source"], {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def stacks(unbuilt_layers: None, tmp_path_factory: pytest.TempPathFactory) -> Stacks:
    import stacks  # noqa: F401, I001 - chooses the Node that aws_cdk starts
    from aws_cdk import App
    from stacks.base import Deployment
    from stacks.registry_stack import RegistryStack
    from stacks.retraining_stack import RetrainingStack

    project, folder = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("assembly")
    shutil.copytree(PROJECT / "layers", project / "layers", ignore=shutil.ignore_patterns("__pycache__"))
    for name, (entry, files) in MODELS.items():
        spec = SPEC.format(name=name, entry=entry)
        for file, text in {
            "model.toml": spec if entry else spec.replace('entry = ""\n', ""),
            "data/rows.csv": "x,y",
        }.items():
            (project / "models" / name / file).parent.mkdir(parents=True, exist_ok=True)
            (project / "models" / name / file).write_text(text)
        for file in files:
            (project / "models" / name / file).parent.mkdir(parents=True, exist_ok=True)
            (project / "models" / name / file).write_text("{}")
    (project / "stacks").mkdir()
    (project / "stacks" / "other.py").touch()
    context = json.loads((PROJECT / "cdk.json").read_text())["context"]
    app = App(outdir=str(folder), context={**context, "env": "dev"}, analytics_reporting=False)
    settings = choose_environment(load_environments(PROJECT), "dev")
    deployment = Deployment(project=project, name="dev", settings=settings)
    registry = RegistryStack(app, deployment=deployment)
    for name in MODELS:
        model = load_model(project / "models" / name)
        RetrainingStack(app, deployment=deployment, model=model, registry=registry)
    app.synth()
    return Stacks(project, folder)


def test_the_training_function_carries_what_trains_the_model_and_the_others_do_not(stacks: Stacks) -> None:
    assert stacks.layers("own", "train") == {"core", "training", "training-own"}
    assert stacks.layers("noted", "train") == {"core", "notebook", "training", "training-noted"}
    assert stacks.layers("plain", "train") == {"core", "training"}
    for model in MODELS:
        assert stacks.layers(model, "evaluate") == {"core", "serving"}


def test_the_code_is_named_where_it_is_decided_whether_there_is_something_to_learn(stacks: Stacks) -> None:
    for model in MODELS:
        for step in ("prepare", "evaluate"):
            variables = stacks.step(model, step)["Environment"]["Variables"]
            named = None if model == "plain" else training_code_digest(stacks.project, model)
            assert variables.get("MODELYARD_OWN_DIGEST") == named
    digests = {
        model: stacks.step(model, "prepare")["Environment"]["Variables"]["MODELYARD_LOCK_DIGEST"] for model in MODELS
    }
    assert digests["own"] == digests["plain"] == built_digest("training", "arm64")
    assert digests["noted"] == digests["both"] != digests["plain"], "its libraries are in two layers"


LIBRARY = "layers/core/python/modelyard/training/container.py"


@pytest.mark.parametrize(
    ("model", "target", "arguments"),
    [
        ("plain", "plain", {}),
        ("own", "own", {"MODEL": "own"}),
        ("noted", "notebook", {"MODEL": "noted", "NOTEBOOK": "notebooks/train it.ipynb"}),
        ("both", "notebook_own", {"MODEL": "both", "NOTEBOOK": "train.ipynb"}),
    ],
)
def test_the_image_is_built_of_what_trains_the_model_and_of_nothing_else(
    stacks: Stacks, model: str, target: str, arguments: dict[str, str]
) -> None:
    source, files = stacks.image(model)
    assert source["dockerBuildTarget"] == target
    assert source["dockerBuildArgs"] == {"PYTHON": "3.13", **arguments}
    others = {file for file in files if not file.startswith("layers/core/python/modelyard/")}
    assert others == {
        "layers/training/Dockerfile", "layers/training/requirements.in", "layers/training/requirements.txt",
        "layers/notebook/requirements.in", "layers/notebook/requirements.txt",
        *(f"models/{model}/{file}" for file in MODELS[model][1]),
    }  # fmt: skip
    assert LIBRARY in files
    stages = [line.split()[-1] for line in (PROJECT / source["dockerFile"]).read_text().splitlines() if " AS " in line]
    assert target in stages
