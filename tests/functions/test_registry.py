"""The registry's own functions as Lambda runs them: imported with their environment, events in, JSON out."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modelyard.aws.registry import open_registry
from modelyard.pointer_key import pointer_key
from modelyard.registry import Registry, Search
from tests.fakes.registries import Yard

PROJECT = Path(__file__).parents[2]
EVENT = json.loads((PROJECT / "tests" / "events" / "dynamodb_stream_keys_only.json").read_text())
SCHEDULED = {"version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
ENVIRONMENT = {"MODELYARD_TABLE": "table", "MODELYARD_ARTIFACT_BUCKET": "artifact-bucket", "MODELYARD_GRACE_DAYS": "7"}
Load = Callable[[str], ModuleType]


@pytest.fixture
def yard() -> Yard:
    return Yard()


@pytest.fixture
def load(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Imports a function's file anew; it finds the fakes behind AWS."""

    def fake(environ: Mapping[str, str]) -> Registry:
        assert {name: environ[name] for name in ENVIRONMENT} == ENVIRONMENT
        return yard.registry("function")

    monkeypatch.setattr("modelyard.aws.registry.open_registry", fake)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    def loaded(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, f"functions.{name}", raising=False)
        return importlib.import_module(f"functions.{name}")

    return loaded


def call(module: ModuleType, event: Any) -> Any:
    return json.loads(json.dumps(module.handler(json.loads(json.dumps(event)), None), allow_nan=False))


def test_a_batch_of_the_stream_publishes_pointers_and_the_index(
    yard: Yard, load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in ("weather", "digits"):
        yard.add(model, model.encode())
        yard.registry().promote(model, 1)
        del yard.artifacts.objects[pointer_key(model)]
    assert call(load("registry_stream"), EVENT) == {"batchItemFailures": []}
    assert json.loads(yard.artifacts.objects[pointer_key("weather")])["revision"] == 1
    assert pointer_key("digits") not in yard.artifacts.objects, "only its record changed"
    assert [model.name for model in yard.registry().search(Search()).items] == ["digits", "weather"]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["model"], line["change"][-2:]) for line in lines] == [("weather", "91"), ("digits", "92")]


def test_what_failed_is_answered_as_a_partial_batch(yard: Yard, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    yard.add("digits")
    yard.add("weather", b"2")
    module, whole = load("registry_stream"), yard.records.get

    def get(pk: str, sk: str) -> Any:
        from modelyard.errors import AWSError

        if "digits" in pk:
            raise AWSError("the connection was cut", code="unreachable")
        return whole(pk, sk)

    monkeypatch.setattr(yard.records, "get", get)
    assert call(module, EVENT) == {"batchItemFailures": [{"itemIdentifier": "4421584500000000017450439092"}]}
    assert [model.name for model in yard.registry().search(Search()).items] == ["weather"]


def test_the_weekly_event_stores_a_report(yard: Yard, load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(load("registry_report"), SCHEDULED)
    assert (answer["orphans"], answer["bytes"]) == (0, 0)
    stored = json.loads(yard.artifacts.objects[answer["report"]])
    assert (stored["older_than_s"], stored["deleted"], stored["by"]) == (7 * 86400, False, "function")
    assert "_aws" in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["registry_stream", "registry_report"])
def test_an_event_of_the_console_harms_nothing(load: Load, name: str) -> None:
    call(load(name), {"key1": "value1"})


def test_the_registry_of_a_function_acts_as_the_functions_role() -> None:
    class Sts:
        def get_caller_identity(self) -> dict[str, str]:
            return {"Arn": "arn:aws:sts::111122223333:assumed-role/stream/function"}

    class Clients:
        s3 = dynamodb = None

        def client(self, name: str) -> Any:
            assert name == "sts"
            return Sts()

    registry = open_registry(ENVIRONMENT, clients=Clients())  # type: ignore[arg-type]
    assert registry.actor == "arn:aws:sts::111122223333:assumed-role/stream/function"


WITHOUT = """
import sys
for name in ("pydantic", "pandas", "aws_cdk", "fastapi", "obstore", "sklearn", "scipy", "skl2onnx", "onnx", "typer"):
    sys.modules[name] = None
import modelyard.upkeep, modelyard.aws.registry
"""


def test_the_functions_import_only_what_their_layer_holds() -> None:
    ran = subprocess.run([sys.executable, "-c", WITHOUT], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
