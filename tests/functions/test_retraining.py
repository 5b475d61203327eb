"""The retraining functions as Lambda runs them: imported with their environment, events in, JSON out."""

import datetime as dt
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modelyard.errors import ModelError, UsageError
from modelyard.retraining.workbench import Workbench
from tests.fakes.training_data import weather, weather_plan
from tests.fakes.trigger_events import s3_event
from tests.fakes.workbench import EXECUTION, Bench

PROJECT = Path(__file__).parents[2]
STEPS = (
    "claim", "validate", "turn", "prepare", "train", "collect", "evaluate", "register", "promote", "conclude",
)  # fmt: skip
ENVIRONMENT = {
    "MODELYARD_MODEL": "tested",
    "MODELYARD_TABLE": "table",
    "MODELYARD_ARTIFACT_BUCKET": "artifact-bucket",
    "MODELYARD_DATA_BUCKET": "data-bucket",
}
Call = Callable[[str, Mapping[str, Any]], dict[str, Any]]


@pytest.fixture
def bench() -> Bench:
    return Bench(weather_plan())


@pytest.fixture
def call(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls a function by the step's name; it is imported on its first call, and finds the fakes behind AWS."""
    opened: list[Mapping[str, str]] = []

    def open_workbench(environ: Mapping[str, str]) -> Workbench:
        opened.append(environ)
        assert {name: environ[name] for name in ENVIRONMENT} == ENVIRONMENT
        return bench.workbench

    monkeypatch.setattr("modelyard.aws.workbench.open_workbench", open_workbench)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    functions: dict[str, ModuleType] = {}

    def called(step: str, parts: Mapping[str, Any]) -> dict[str, Any]:
        if step not in functions:
            monkeypatch.delitem(sys.modules, f"functions.retraining_{step}", raising=False)
            functions[step] = importlib.import_module(f"functions.retraining_{step}")
        event = json.loads(json.dumps(bench.parts("run-1", **parts)))
        answer = json.dumps(functions[step].handler(event, None), allow_nan=False)
        assert len(opened) == len(functions), "one workbench for each function, however often it is called"
        return json.loads(answer)  # type: ignore[no-any-return]

    return called


def test_each_function_does_its_step_from_the_real_event_to_a_live_version(
    bench: Bench, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    version_id = bench.uploads.put("tested/2012.csv", weather(2012)[0])
    event = s3_event("s3_object_created", version_id=version_id)
    claim = call("claim", {"event": event})
    assert (claim["status"], claim["object"]["version_id"]) == ("claimed", version_id)
    given: dict[str, Any] = {"claim": claim}
    given["validation"] = call("validate", given)
    assert given["validation"]["status"] == "valid"
    assert call("turn", {**given, "turn": {"status": "none"}})["status"] == "wait", "a debounce"
    bench.yard.clock.now += dt.timedelta(minutes=1)
    given["turn"] = call("turn", {**given, "turn": {"status": "wait"}})
    assert given["turn"]["status"] == "go"
    given["prepared"] = call("prepare", given)
    assert given["prepared"]["status"] == "prepared"
    given["training"] = call("train", {"job": given["prepared"]["job"]})
    given["evaluation"] = call("evaluate", given)
    assert given["evaluation"]["passed"] is True
    given["registered"] = call("register", {**given, "execution": EXECUTION + "run-1"})
    assert given["registered"] == {"version": 1, "created": True}
    promoted = call("promote", given)
    assert (promoted["version"], promoted["revision"]) == (1, 1)
    written = [text for text in capsys.readouterr().out.splitlines() if text.startswith("{")]
    lines = [json.loads(text) for text in written]
    assert [(line["step"], line["outcome"]) for line in lines] == [
        ("claim", "claimed"),
        ("validate", "valid"),
        ("turn", "wait"),
        ("turn", "go"),
        ("prepare", "prepared"),
        ("train", "trained"),
        ("evaluate", "done"),
        ("register", "done"),
        ("promote", "done"),
    ]
    assert call("claim", {"event": event})["status"] == "claimed", "the same run again"


def test_an_event_without_a_version_id_as_the_local_aws_sends_it_is_claimed(bench: Bench, call: Call) -> None:
    bench.uploads.put("tested/2012.csv", weather(2012)[0])
    assert call("claim", {"event": s3_event("s3_object_created_without_version")})["status"] == "claimed"


@pytest.mark.parametrize("name", ["s3_test_event", "s3_object_deleted"])
def test_an_event_that_is_no_upload_is_ignored(call: Call, name: str) -> None:
    event = json.loads((PROJECT / "tests" / "events" / f"{name}.json").read_text())
    assert call("claim", {"event": event})["status"] == "ignored"


def test_the_conclusion_names_what_was_wrong_with_the_file(bench: Bench, call: Call) -> None:
    bench.uploads.put("tested/2012.csv", b"\xff\xfeno")
    claim = call("claim", {"event": s3_event("s3_object_created_without_version")})
    validation = call("validate", {"claim": claim})
    assert validation["status"] == "invalid"
    state = {"claim": claim, "validation": validation}
    conclusion = call("conclude", {"status": "rejected", "state": state, "execution": {"RedriveCount": 0}})
    assert (conclusion["status"], conclusion["reason"]) == (
        "rejected",
        "2012.csv: is UTF-16; save the file as UTF-8",
    )
    assert bench.document(conclusion["report_key"])["passed"] is False


def test_what_a_training_on_sagemaker_wrote_is_collected(bench: Bench, call: Call) -> None:
    state = bench.accept(weather(2012)[0])
    bench.prepare(state)
    bench.yard.artifacts.objects["runs/tested/output/model.tar.gz"] = b"no archive"
    with pytest.raises(ModelError, match="is no archive of a training job"):
        call(
            "collect",
            {"job": state["prepared"]["job"], "output": "s3://artifact-bucket/runs/tested/output/model.tar.gz"},
        )


@pytest.mark.parametrize("step", STEPS)
def test_a_test_event_of_the_console_is_refused_in_words(call: Call, step: str, bench: Bench) -> None:
    call_it = importlib.import_module(f"functions.retraining_{step}")
    with pytest.raises(UsageError, match="this is no event of the retraining workflow"):
        call_it.handler({"key1": "value1"}, None)


WITHOUT = """
import sys
for name in {absent}:
    sys.modules[name] = None
import {modules}
"""
NOWHERE = ("pydantic", "pandas", "aws_cdk", "fastapi", "obstore")


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("modelyard.retraining.training_step, modelyard.training.trainer", (*NOWHERE, "onnxruntime")),
        ("modelyard.training.container", (*NOWHERE, "onnxruntime", "boto3", "botocore")),
        (
            "modelyard.retraining.claiming, modelyard.retraining.validating, modelyard.retraining.turn_steps, "
            "modelyard.retraining.preparing, modelyard.retraining.training_step, modelyard.retraining.evaluating, "
            "modelyard.retraining.registering, modelyard.retraining.concluding",
            (*NOWHERE, "sklearn", "scipy", "skl2onnx", "onnx", "lightgbm"),
        ),
    ],
    ids=["training layer", "container", "serving layer"],
)
def test_each_step_imports_only_what_its_layer_holds(modules: str, absent: tuple[str, ...]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(absent=absent, modules=modules)],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
