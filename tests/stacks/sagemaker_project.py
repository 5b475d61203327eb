"""A project of models on SageMaker, one of each kind, and its templates."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.environments import ENVIRONMENTS_FILE
from tests.stacks.conftest import PROJECT, synthesize_project

KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
MODEL = '[model]\nname = "{name}"\ntask = "regression"\nartifact = "model.onnx"\n{more}[endpoint]\n{endpoint}'
MODELS = {
    "steady": 'target = "sagemaker-realtime"\n[server]\nmin_instances = 2\n',
    "single": 'target = "sagemaker-realtime"\n[rollout]\nrouting = "header:x-session"\n',
    "rare": 'target = "sagemaker-serverless"\n',
    "long": 'target = "sagemaker-async"\n[server]\nmax_concurrency = 4\n',
    "graphic": 'target = "sagemaker-realtime"\n[server]\ninstance = "ml.g5.xlarge"\nproviders = ["cuda", "cpu"]\n',
    "first": 'target = "sagemaker-realtime"\nhost = "shelf"\n[server]\ninstance = "ml.c7g.large"\nmax_instances = 1\n',
    "second": 'target = "sagemaker-realtime"\nhost = "shelf"\n[server]\ninstance = "ml.c7g.large"\nmax_instances = 1\n',
    "plain": 'target = "lambda"\n',
}
"""``[endpoint]`` of each, and what follows it."""
WITH_CODE = ("graphic", "second")


@dataclass(frozen=True)
class Assembly:
    """The templates of the project in one environment, and what the rule packs say."""

    folder: Path
    findings: list[str]
    templates: dict[str, dict[str, Any]] = field(repr=False)

    def stack(self, ending: str) -> dict[str, Any]:
        """The resources of the stack whose name ends so."""
        (found,) = [body["Resources"] for name, body in self.templates.items() if name.endswith(ending)]
        return found

    def outputs(self, ending: str) -> dict[str, Any]:
        """Its outputs."""
        (found,) = [body["Outputs"] for name, body in self.templates.items() if name.endswith(ending)]
        return {name: output["Value"] for name, output in found.items()}

    def of(self, ending: str, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of all resources of a type, by logical id."""
        return {name: item.get("Properties", {}) for name, item in self.stack(ending).items() if item["Type"] == kind}

    def only(self, ending: str, kind: str) -> dict[str, Any]:
        """The properties of the one resource of a type."""
        (found,) = self.of(ending, kind).values()
        return found

    def image(self, ending: str) -> tuple[dict[str, Any], set[str]]:
        """How the image is built, and every file that the build gets."""
        (path,) = self.folder.glob(f"*{ending}.assets.json")
        (asset,) = json.loads(path.read_text())["dockerImages"].values()
        folder = self.folder / asset["source"]["directory"]
        return asset["source"], {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def write_project(folder: Path, models: dict[str, str]) -> Path:
    """A project with these models."""
    shutil.copytree(PROJECT / "layers", folder / "layers", ignore=shutil.ignore_patterns("__pycache__"))
    for name, endpoint in models.items():
        own = f"{name}_model"
        more = f'code = "{own}"\n' if name in WITH_CODE else ""
        files = {"model.toml": MODEL.format(name=name, more=more, endpoint=endpoint), "model.onnx": ""}
        if more:
            files[f"python/{own}/__init__.py"] = ""
        for file, text in files.items():
            (folder / "models" / name / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "models" / name / file).write_text(text)
    return folder


def assembly_of(project: Path, folder: Path, environment: str, more: str = "", **context: str) -> Assembly:
    """The whole app in one environment, with these lines added to its table."""
    settings = (PROJECT / ENVIRONMENTS_FILE).read_text()
    before, table, after = settings.partition(f"\n[{environment}]")
    line, newline, rest = after.partition("\n")
    (project / ENVIRONMENTS_FILE).write_text(before + table + line + newline + more + rest)
    templates, findings = synthesize_project(project, environment, folder, **context)
    return Assembly(folder, findings, templates)


def statements(resources: dict[str, Any], part: str) -> list[dict[str, Any]]:
    """Every statement of the policies of the one role whose logical id has ``part`` in it."""
    roles = {name for name, item in resources.items() if item["Type"] == "AWS::IAM::Role" and part in name}
    (role,) = roles
    return [
        statement
        for item in resources.values()
        if item["Type"] == "AWS::IAM::Policy" and {"Ref": role} in item["Properties"]["Roles"]
        for statement in item["Properties"]["PolicyDocument"]["Statement"]
    ]


def actions_of(found: list[dict[str, Any]]) -> set[str]:
    """The actions of some statements."""
    return {
        action
        for statement in found
        for action in (statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])
    }
