"""Who may import whom: the rule that keeps start-up fast and AWS in one place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LIBRARY = PROJECT / "layers" / "core" / "python" / "modelyard"
AWS_CLIENTS = {"boto3", "botocore", "obstore", "s3transfer"}
CLOUD_ONLY_AT_SYNTH = {"aws_cdk", "constructs", "cdk_nag"}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found, folder
    return found


def _roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in _imports(path)}


@pytest.mark.parametrize("path", _files(PROJECT / "functions"), ids=lambda path: path.name)
def test_a_function_imports_the_library_and_little_else(path: Path) -> None:
    allowed = {"modelyard", "os", "typing", "mangum", "aws_lambda_powertools", "collections", "functools", "datetime"}
    assert _roots(path) <= allowed
    assert len(path.read_text().splitlines()) <= 60


def test_only_the_aws_folder_imports_an_aws_client() -> None:
    # The command line signs in, so it names botocore's errors; it runs on a person's machine.
    offenders = {
        str(path.relative_to(LIBRARY))
        for path in _files(LIBRARY)
        if _roots(path) & AWS_CLIENTS and path.relative_to(LIBRARY).parts[0] not in {"aws", "cli"}
    }
    assert offenders == set()


def test_the_library_knows_nothing_of_cdk_and_of_the_functions() -> None:
    for path in _files(LIBRARY):
        assert not _roots(path) & (CLOUD_ONLY_AT_SYNTH | {"functions", "stacks", "app"}), path


def test_stacks_import_only_what_declares() -> None:
    allowed = {
        "modelyard",
        "modelyard.async_keys",
        "modelyard.control.routes",
        "modelyard.endpoint_keys",
        "modelyard.endpoint_variables",
        "modelyard.environments",
        "modelyard.errors",
        "modelyard.instances",
        "modelyard.packaging",
        "modelyard.packaging.sources",
        "modelyard.packaging.targets",
        "modelyard.placement",
        "modelyard.pointer_key",
        "modelyard.release_override",
        "modelyard.retraining.placing",
        "modelyard.spec",
        "modelyard.spec_rollout",
        "modelyard.spec_server",
        "modelyard.stack_names",
        "modelyard.training.plan",
    }
    for path in _files(PROJECT / "stacks"):
        used = {name for name in _imports(path) if name.partition(".")[0] == "modelyard"}
        assert used <= allowed, path
        assert "functions" not in _roots(path)


def test_the_steps_of_retraining_know_of_aws_only_what_they_are_given() -> None:
    """One set of steps for the cloud, the local AWS and the tests; and a trainer that knows no step."""
    for path in _files(LIBRARY / "retraining") + _files(LIBRARY / "training") + _files(LIBRARY / "rollout"):
        assert not [name for name in _imports(path) if name.startswith("modelyard.aws")], path
    for path in _files(LIBRARY / "training"):
        assert not [name for name in _imports(path) if name.startswith(("modelyard.retraining", "modelyard.registry"))]


def test_nothing_of_the_command_line_is_imported_by_what_runs_in_lambda() -> None:
    for path in _files(LIBRARY):
        if path.relative_to(LIBRARY).parts[0] in {"cli", "local", "packaging", "placement", "__main__.py"}:
            continue
        assert not [
            name
            for name in _imports(path)
            if name.startswith(("modelyard.cli", "modelyard.local", "modelyard.packaging", "modelyard.placement"))
        ], path
