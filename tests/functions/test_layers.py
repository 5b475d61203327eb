"""The built layers in an interpreter that has nothing else: every function starts and answers once.

The layers are those of the local environment, as ``modelyard build`` left them; ``make test`` builds them first. A
package that is missing from a layer, or that pruning took too much of, fails here and not at a user's.
"""

import base64
import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from onnx import helper, numpy_helper

from modelyard.compiling.forests import Trees
from modelyard.compiling.onnx_file import Node
from modelyard.compiling.packed_forest import packed
from modelyard.environments import load_environments
from modelyard.errors import BuildError
from modelyard.packaging import LayerManifest, find_layer, function_asset
from modelyard.packaging.elf import is_compiled, machine_of
from modelyard.packaging.fit import Fit, fit_of
from modelyard.packaging.imports import lay_out_runtime
from modelyard.packaging.native import LAYERS as LAYERS_WITH_KERNEL
from modelyard.packaging.sources import function_files
from modelyard.packaging.targets import FunctionSet, function_sets, layers_of
from modelyard.spec import Model, load_models
from tests.fakes import onnx_models
from tests.fakes.aws_endpoint import EMPTY_TABLE, Answer, answering, identity
from tests.fakes.gateway import event as control_event
from tests.fakes.hand_made_trees import around, ensemble
from tests.fakes.http_bucket import HttpBucket
from tests.fakes.objects import promote
from tests.fakes.training_data import weather, weather_plan

PROJECT = Path(__file__).parents[2]
LOCAL = load_environments(PROJECT)["local"]
MODELS = {model.name: model for model in load_models(PROJECT / "models")}
SETS = function_sets(LOCAL, MODELS.values(), function_files(PROJECT))
BY_TITLE = {function_set.title: function_set for function_set in SETS}
PREDICT = json.loads((PROJECT / "tests" / "events" / "http_api_v2_predict.json").read_text())
NOWHERE = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # discard: nothing listens there
    "MODELYARD_MODEL": "tested",
    "MODELYARD_TABLE": "table",
    "MODELYARD_ARTIFACT_BUCKET": "artifacts",
    "MODELYARD_DATA_BUCKET": "data",
    "MODELYARD_GRACE_DAYS": "7",
    "POWERTOOLS_SERVICE_NAME": "modelyard-control",
    "POWERTOOLS_METRICS_NAMESPACE": "Modelyard",
}
HANDLER = """
import importlib, json, sys
from types import SimpleNamespace
context = SimpleNamespace(
    aws_request_id="1", function_name="f", memory_limit_in_mb=1769, get_remaining_time_in_millis=lambda: 9000,
    invoked_function_arn="arn:aws:lambda:eu-west-1:111122223333:function:f",
)
handler = importlib.import_module(given["file"]).handler
try:
    answer = {"answer": handler(given["event"], context)}
except Exception as error:
    answer = {"error": type(error).__name__, "message": str(error)}
"""
START = """
import json, sys
given = json.load(sys.stdin)
sys.path[:0] = given["path"]
answer = None
exec(given["program"])
print("\\n" + json.dumps(answer))
"""


def built(name: str) -> LayerManifest:
    """A layer or function of the local environment."""
    if name == "lean" and not any(name in function_set.layers for function_set in SETS):
        pytest.skip("no model of this project uses the lean engine")
    try:
        return find_layer(PROJECT, LOCAL, name)
    except BuildError as error:
        if os.environ.get("MODELYARD_LAYERS") == "built":
            raise
        pytest.skip(f"{error.message}; 'make test' builds it first")


class Sandbox:
    """An interpreter without packages, and what Lambda would lay beside a function."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        venv.create(folder / "python", with_pip=False, symlinks=True)
        lay_out_runtime(folder / "runtime")

    def unpacked(self, name: str) -> Path:
        """A layer's ``python/``, or the folder of a function."""
        manifest = built(name)
        place = self._folder / name
        if not place.is_dir():
            with zipfile.ZipFile(manifest.path) as archive:
                archive.extractall(place)
        return place / "python" if (place / "python").is_dir() else place

    def run(self, title: str, program: str, *, environ: Mapping[str, str] = NOWHERE, **given: Any) -> Any:
        """What ``program`` leaves in ``answer``, run with the layers of a kind of function."""
        carried = BY_TITLE[title]
        names = [*(function_asset(file) for file in carried.files), *sorted(carried.layers)]
        path = [self.unpacked(name) for name in names]
        before = {file for place in path for file in place.rglob("*")}
        ended = subprocess.run(
            [str(self._folder / "python" / "bin" / "python"), "-c", START],
            input=json.dumps({"path": [*map(str, path), str(self._folder / "runtime")], "program": program, **given}),
            env={"PYTHONUTF8": "1", **environ}, cwd=self._folder, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        new = {file for place in path for file in place.rglob("*")} - before
        assert not new, "a layer is read-only in Lambda: what is compiled here is compiled again in every cold start"
        return json.loads(ended.stdout.splitlines()[-1])

    def call(self, title: str, file: str, event: Any, **environ: str) -> dict[str, Any]:
        """What a function answers to an event, or which error it raises."""
        answer: dict[str, Any] = self.run(title, HANDLER, file=file, event=event, environ=NOWHERE | environ)
        return answer


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return Sandbox(tmp_path_factory.mktemp("lambda"))


def test_the_interpreter_is_empty_but_for_what_lambdas_runtime_brings(sandbox: Sandbox) -> None:
    program = """
import importlib.util
names = ("boto3", "pydantic", "rich", "pip", "scipy", "fastapi")
answer = [name for name in names if importlib.util.find_spec(name)]
"""
    assert sandbox.run("workflow", program) == ["boto3"]


# --- one invocation of every function


def serve(bucket: HttpBucket, model: Model) -> tuple[dict[str, Any], str]:
    """Put a version of the model live; a first request, and what has to be in its answer."""
    artifact = model.spec.model.artifact
    if artifact is not None and model.spec.model.example is not None:
        promote(bucket, model.name, (model.folder / artifact).read_bytes(), version=1, revision=1)
        body = (model.folder / model.spec.model.example).read_text()
        return {**PREDICT, "routeKey": f"POST /models/{model.name}/predict", "body": body}, '"version":1'
    promote(bucket, model.name, onnx_models.row_sum(), version=1, revision=1)
    asked = {**PREDICT, "routeKey": f"POST /models/{model.name}/predict", "body": '{"instances": [[1, 2]]}'}
    return asked, '"predictions":[3.0]'


def ask(sandbox: Sandbox, bucket: HttpBucket, name: str, event: dict[str, Any]) -> str:
    """What the endpoint of a model answers, on its layers."""
    code = MODELS[name].spec.model.code
    said = sandbox.call(
        f"predict of {name}", "predict", event, **bucket.environment, MODELYARD_MODEL=name,
        MODELYARD_ARTIFACT_BUCKET=bucket.name, MODELYARD_REFRESH_S="3600", MODELYARD_ENGINE=MODELS[name].spec.engine,
        **({} if code is None else {"MODELYARD_CODE": code}),
    )  # fmt: skip
    assert said["answer"]["statusCode"] == 200, said
    body: str = said["answer"]["body"].replace(" ", "")
    return body


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_endpoint_of_every_model_predicts(sandbox: Sandbox, name: str) -> None:
    with HttpBucket() as bucket:
        event, expected = serve(bucket, MODELS[name])
        assert expected in ask(sandbox, bucket, name, event)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_endpoint_of_every_model_takes_labels(sandbox: Sandbox, name: str) -> None:
    label = json.dumps({"prediction_id": "0" * 32, "label": 3})
    with HttpBucket() as bucket:
        predict, _ = serve(bucket, MODELS[name])
        event = {**predict, "routeKey": f"POST /models/{name}/feedback", "body": label}
        assert '"accepted":1' in ask(sandbox, bucket, name, event)
        assert [key for key in bucket.objects if key.startswith(f"feedback/{name}/")]


def test_the_control_plane_answers_and_says_that_aws_cannot_be_reached(sandbox: Sandbox) -> None:
    described = sandbox.call("api", "api", control_event("GET", "/openapi.json"))["answer"]
    assert (described["statusCode"], json.loads(described["body"])["openapi"][0]) == (200, "3")

    refused = sandbox.call("api", "api", control_event("GET", "/models"))["answer"]
    assert refused["statusCode"] == 502
    assert refused["headers"]["content-type"] == "application/problem+json"


def aws(operation: str) -> Answer:
    """An AWS that knows who asks and holds nothing."""
    return identity("111122223333") if operation == "GetCallerIdentity" else EMPTY_TABLE


Said = Callable[[dict[str, Any]], bool]
ONE_INVOCATION: dict[str, tuple[Any, Said]] = {
    **dict.fromkeys(
        [
            f"retraining_{step}"
            for step in (
                "claim",
                "validate",
                "turn",
                "prepare",
                "train",
                "collect",
                "evaluate",
                "register",
                "promote",
                "conclude",
            )
        ],
        ({"key1": "value1"}, lambda said: "this is no event of the retraining workflow" in said["message"]),
    ),
    **dict.fromkeys(
        [f"rollout_{step}" for step in ("begin", "move", "judge", "ask", "promote", "conclude")],
        ({"key1": "value1"}, lambda said: "this is no event of the rollout workflow" in said["message"]),
    ),
    "registry_stream": ({"Records": []}, lambda said: "answer" in said),
    "registry_report": ({}, lambda said: said["error"] == "AWSError"),
}


def test_every_function_is_invoked_once() -> None:
    # `app` is invoked in test_app_layers.py, with a model that has an app of its own; `invoke` below.
    assert {*ONE_INVOCATION, "predict", "api", "app", "invoke"} == set(function_files(PROJECT)), (
        "a new function wants a row"
    )


@pytest.mark.parametrize("file", sorted(ONE_INVOCATION))
def test_every_other_function_starts_and_refuses_what_is_not_for_it(sandbox: Sandbox, file: str) -> None:
    event, as_expected = ONE_INVOCATION[file]
    title = next(function_set.title for function_set in SETS if file in function_set.files)
    with answering(aws) as address:
        said = sandbox.call(title, file, event, AWS_ENDPOINT_URL=address)
    assert as_expected(said), said


def test_the_way_in_starts_on_the_layers_that_it_would_carry(sandbox: Sandbox) -> None:
    """No model of the project is on SageMaker, so its function is not built; its layers are those of another one."""
    title = next(function_set.title for function_set in SETS if "lean" in function_set.layers)
    assert set(layers_of("invoke")) <= set(BY_TITLE[title].layers)
    program = """
import sys
sys.path.insert(0, given["folder"])
import invoke
said = invoke.handler({"key1": "value1"}, None)
answer = [said["statusCode"], "onnxruntime" in sys.modules, "botocore" in sys.modules]
"""
    environ = {"MODELYARD_MODEL": "sums", "MODELYARD_TARGET": "sagemaker-realtime", "MODELYARD_SAGEMAKER_ENDPOINT": "e",
               "AWS_REGION": "eu-west-1"}  # fmt: skip
    folder = str(PROJECT / "functions")
    assert sandbox.run(title, program, environ=NOWHERE | environ, folder=folder) == [400, False, False]


# --- what is imported late


def test_training_fits_and_converts_every_kind_of_candidate(sandbox: Sandbox) -> None:
    plan = weather_plan(kinds=("logistic_regression", "random_forest", "gradient_boosting"))
    program = """
from modelyard.training.plan import decode_plan
from modelyard.training.table import read_table
from modelyard.training.trainer import train
plan = decode_plan(given["plan"])
rows = read_table(plan, [file.encode() for file in given["files"]]).table
result = train(plan, rows, rows)
answer = [len(result.model) > 1000, sorted({score.candidate for score in result.leaderboard})]
"""
    files = [file.decode() for file in weather(2012)]
    converted, tried = sandbox.run("train", program, plan=msgspec.to_builtins(plan), files=files)
    assert converted
    assert {"logistic_regression", "random_forest", "gradient_boosting"} <= set(tried)


@pytest.mark.parametrize("title", ["workflow", "train", "predict of digits"])
def test_what_the_layers_keep_of_numpy_is_whole(sandbox: Sandbox, title: str) -> None:
    """Several of these import numpy.ma, which rewrites other functions' docstrings and fails where they are gone."""
    program = """
import importlib
import numpy as np
for name in "char ctypeslib f2py fft linalg ma polynomial random rec strings testing typing".split():
    importlib.import_module(f"numpy.{name}")
a = np.arange(10.0)
answer = [
    float(np.median(a)), float(np.quantile(a, 0.5)), float(np.percentile(a, 50)), float(np.nanmedian(a)),
    np.unique(a).size, np.union1d(a, a).size, np.setdiff1d(a, a).size, int(np.isin(a, a).sum()),
    float(np.ma.masked_array(a, mask=a > 4).mean()), np.histogram(a)[0].size, np.cov(a).size, np.polyfit(a, a, 1).size,
]
"""
    assert sandbox.run(title, program) == [4.5, 4.5, 4.5, 4.5, 10, 10, 0, 10, 2.0, 10, 1, 2]


@pytest.mark.parametrize("title", ["api", "workflow"])
def test_a_model_is_admitted_by_a_trial_in_a_child_process(sandbox: Sandbox, title: str) -> None:
    program = """
import base64
from modelyard.admission import admit
admit(base64.b64decode(given["model"]))
answer = "admitted"
"""
    model = base64.b64encode(onnx_models.row_sum()).decode()
    assert sandbox.run(title, program, model=model) == "admitted"


def test_the_c_library_in_the_lean_layer_says_which_version_it_is(sandbox: Sandbox) -> None:
    place = sandbox.unpacked("lean")
    (library,) = (place / "onnxruntime" / "capi").iterdir()
    program = """
import ctypes
base = ctypes.CDLL(given["library"]).OrtGetApiBase
base.restype = ctypes.POINTER(ctypes.c_void_p * 2)
answer = ctypes.CFUNCTYPE(ctypes.c_char_p)(base().contents[1])().decode()
"""
    assert sandbox.run("workflow", program, library=str(library)) == "1.31.1"


@pytest.mark.parametrize("layer", LAYERS_WITH_KERNEL)
def test_a_forest_runs_on_the_kernel_that_the_layer_brings(sandbox: Sandbox, layer: str) -> None:
    if built(layer).native is None:
        pytest.skip("no C compiler")
    title = next(function_set.title for function_set in SETS if layer in function_set.layers)
    program = """
import base64
from modelyard.compiling import kernel
from modelyard.predictor.predictor import Predictor
library = kernel.find(kernel.FOREST)
model = base64.b64decode(given["model"])
predictor = Predictor.load(model, engine=given["engine"], kernel=library)
answer = [library, predictor.predict([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])]
"""
    model = base64.b64encode(packed_stump()).decode()
    engine = "lean" if layer == "lean" else "standard"
    library, answers = sandbox.run(title, program, model=model, engine=engine)
    assert Path(library).is_relative_to(sandbox.unpacked(layer))
    assert answers == [1.0, 2.0]


def packed_stump() -> bytes:
    """One branch: 1 where the first column is at most 0, else 2."""
    stump = onnx.load_from_string(ensemble((0, "LEQ", 0.0, {0: 1.0}, {0: 2.0}))).graph.node[0]
    trees = Trees(Node(memoryview(stump.SerializeToString())))
    made = onnx.load_from_string(around([helper.make_node("ForestRegressor", ["x", "trees"], ["scores"])], None, 1))
    made.graph.node[0].domain = "modelyard"
    made.graph.initializer.append(numpy_helper.from_array(packed(trees), "trees"))
    made.opset_import.append(helper.make_opsetid("modelyard", 1))
    return made.SerializeToString()


# --- how large


def of_set(function_set: FunctionSet) -> Fit:
    names = [*function_set.layers, *map(function_asset, function_set.files)]
    return fit_of(function_set, {name: built(name) for name in names})


def without(package: str, layer: LayerManifest) -> int:
    return layer.unzipped_bytes - dict(layer.packages).get(package, 0)


@pytest.mark.parametrize(("layer", "most"), [("lean", 32_000_000), ("serving", 85_000_000)])
def test_an_endpoints_layer_stays_small(layer: str, most: int) -> None:
    assert without("obstore", built(layer)) <= most


def test_what_the_control_plane_carries_stays_below_100_mb() -> None:
    assert sum(without("obstore", layer) for layer in of_set(BY_TITLE["api"]).layers) <= 100_000_000


def test_no_layer_repeats_a_module_of_another_in_the_same_function() -> None:
    for function_set in SETS:
        seen: set[str] = set()
        for layer in of_set(function_set).layers:
            assert not seen & set(layer.modules), (function_set.title, layer.name)
            seen |= set(layer.modules)


def test_every_compiled_file_that_was_built_is_for_its_target_and_whole(tmp_path: Path) -> None:
    found = 0
    for path in sorted((PROJECT / "build" / "layers").glob("python*-*/*/*.zip")):
        platform = path.parts[-3].rpartition("-")[2]
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not is_compiled(Path(entry.filename)):
                    continue
                found += 1
                with archive.open(entry) as content:
                    (tmp_path / "head").write_bytes(content.read(64))
                if platform != "local" or sys.platform == "linux":
                    expected = {machine_of(Path(sys.executable).resolve())} if platform == "local" else {platform}
                    assert machine_of(tmp_path / "head") in expected, (path, entry.filename)
    if not found:
        pytest.skip("no layer is built; 'make test' builds them first")
