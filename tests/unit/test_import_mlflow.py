"""Folders of MLflow models: what comes along, and what is refused."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import onnx
import onnxruntime
import pytest
from onnx.external_data_helper import convert_model_to_external_data

from modelyard.errors import AdmissionError, UsageError
from modelyard.external_data import has_external_data
from modelyard.importing import Imported, read_folder, recorded_beside
from modelyard.importing.declared import contradictions, read_declared
from modelyard.importing.file_store import _LARGEST_HISTORY
from modelyard.importing.mlmodel import read_mlmodel
from modelyard.importing.recorded import LONGEST_NAME, MOST_CHARACTERS, Notes, recorded
from modelyard.importing.weights import whole_model
from modelyard.version import Lineage, Manifest, OutputSpec, Signature, TensorSpec
from tests.fakes.mlflow_folders import FLAVORS, RUN, SIGNATURE, external, mlmodel, model_with_weights, write_model

FIXTURES = Path(__file__).parents[1] / "fixtures" / "mlflow"


def read(folder: Path) -> Imported:
    return read_folder(folder, recorded=lambda model: recorded_beside(folder, model))


# --- what MLflow itself wrote


@pytest.mark.parametrize(("release", "own"), [("2.22.5", {}), ("3.17.2", {"accuracy": 0.5})])
def test_a_model_of_a_real_mlflow_comes_with_weights_metrics_and_params(release: str, own: dict[str, float]) -> None:
    (file,) = (FIXTURES / release).rglob("MLmodel")
    imported = read(file.parent)
    assert not has_external_data(imported.content)
    session = onnxruntime.InferenceSession(imported.content, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"x": [[1.0, 2.0, 3.0, 4.0]]})
    assert answer.tolist() == [[640.0]]
    assert imported.signature == Signature(
        (TensorSpec("x", "float32", (None, 4)),), (OutputSpec("y", "float32", (None, 1)),)
    )
    assert imported.metrics == {"rmse": 1.25, "val/f1 score": 0.75, **own}
    assert imported.params == {"alpha": "0.1", "kind": "ridge"}
    document = read_mlmodel(file.read_bytes())
    assert imported.imported_from == f"mlflow {release} run {document.run_id} model {document.model_id}"
    assert imported.remarks == ("metric 'undefined' was left out: nan is not a finite number",)


# --- the signature


GRAPH = Signature(
    (TensorSpec("x", "float32", (None, 4)),),
    (OutputSpec("label", "int64", (None,)), OutputSpec("probabilities", "float32", (None, 3))),
)
TWO = Signature(
    (TensorSpec("age", "float32", (None, 1)), TensorSpec("town", "string", (None, 1))),
    (OutputSpec("y", "float32", (None, 1)),),
)
TENSORS = Signature((TensorSpec("x", "float32", (None, 2, 8)),), (OutputSpec("y", "float32", ()),))


def tensor(dtype: str, *shape: int, name: str | None = None) -> dict[str, Any]:
    named = {} if name is None else {"name": name}
    return {**named, "type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}}


def columns(*kinds: str, names: str = "abcdefgh") -> list[dict[str, Any]]:
    return [{"type": kind, "name": name, "required": True} for kind, name in zip(kinds, names, strict=False)]


def found(graph: Signature, **sides: Any) -> list[str]:
    return contradictions(read_declared({side: json.dumps(entries) for side, entries in sides.items()}), graph)


@pytest.mark.parametrize(
    ("graph", "sides"),
    [
        (GRAPH, {"inputs": [tensor("float32", -1, 4, name="x")], "outputs": None}),
        (GRAPH, {"inputs": [tensor("float64", -1, 4)], "outputs": [tensor("int64", -1)]}),
        (GRAPH, {"inputs": columns(*["double"] * 4), "outputs": columns("long", names=["label"])}),
        (GRAPH, {"inputs": columns("double", "long", "float", "boolean")}),
        (GRAPH, {"outputs": [tensor("float32", -1, 3)]}),
        (GRAPH, {"outputs": [tensor("int64", 1, 1, name="label")]}),
        (TWO, {"inputs": columns("double", "string", names=["age", "town"]), "outputs": columns("float", names="y")}),
        (TWO, {"inputs": [tensor("object", -1, 1, name="town"), tensor("float32", -1, name="age")]}),
        (TWO, {"inputs": [tensor("str320", -1, 1, name="town"), tensor("float32", -1, name="age")]}),
        (TWO, {"inputs": columns("any", "any", names=["age", "town"])}),
        (TENSORS, {"inputs": [tensor("float32", -1, -1, 8)], "outputs": [tensor("float32", -1, 7)]}),
        (TENSORS, {"inputs": [{"type": "array", "items": {"type": "array", "items": {"type": "double"}}}]}),
    ],
)
def test_a_declaration_that_says_the_same_or_less_contradicts_nothing(graph: Signature, sides: dict[str, Any]) -> None:
    assert found(graph, **sides) == []


@pytest.mark.parametrize(
    ("graph", "sides", "said"),
    [
        (GRAPH, {"inputs": [tensor("float32", -1, 4, name="X")]}, ["inputs 'X', the graph 'x'"]),
        (
            GRAPH,
            {"inputs": [tensor("int64", -1, 4, name="x")]},
            ["MLmodel says int64 [-1, 4], the graph float32 [n, 4]"],
        ),
        (GRAPH, {"inputs": [tensor("float32", -1, 5)]}, ["float32 [-1, 5]", "float32 [n, 4]"]),
        (GRAPH, {"inputs": [tensor("float32", -1, 2, 2)]}, ["[-1, 2, 2]", "[n, 4]"]),
        (GRAPH, {"inputs": columns(*["double"] * 3)}, ["float64 [-1, 3]", "[n, 4]"]),
        (GRAPH, {"inputs": columns(*["string"] * 4)}, ["string [-1, 4]", "float32"]),
        (GRAPH, {"inputs": columns("double", "string", "long", "long")}, ["float64 and int64 and string", "float32"]),
        (GRAPH, {"outputs": [tensor("float64", -1, name="score")]}, ["outputs 'score'", "'label', 'probabilities'"]),
        (GRAPH, {"outputs": [tensor("bool", -1)]}, ["output 'label': MLmodel says bool [-1], the graph int64 [n]"]),
        (TWO, {"inputs": columns("double", names=["age"])}, ["inputs 'age', the graph 'age', 'town'"]),
        (TWO, {"inputs": columns("double", "datetime", names=["age", "town"])}, ["datetime [-1]", "string [n, 1]"]),
        (TWO, {"inputs": [tensor("float32", -1), tensor("float32", -1), tensor("float32", -1)]}, ["3 inputs", "2"]),
        (TENSORS, {"inputs": columns("double", "double")}, ["inputs 'a', 'b'", "the graph 'x'"]),
    ],
)
def test_a_contradiction_names_both_sides(graph: Signature, sides: dict[str, Any], said: list[str]) -> None:
    (problem, *_) = found(graph, **sides)
    for part in said:
        assert part in problem


def test_a_contradicted_model_is_not_imported(tmp_path: Path) -> None:
    outputs = json.dumps([{"name": "z", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 1]}}])
    folder = write_model(tmp_path / "model", signature={**SIGNATURE, "outputs": outputs})
    with pytest.raises(AdmissionError, match="outputs 'z', the graph 'y'") as refused:
        read(folder)
    assert refused.value.code == "signature_contradicted"
    assert "set_signature" in (refused.value.next_step or "")


def test_a_model_without_signature_has_that_of_its_graph(tmp_path: Path) -> None:
    imported = read(write_model(tmp_path / "model", signature=None, run_id=None, model_uuid=None, mlflow_version=None))
    assert imported.signature.inputs == (TensorSpec("x", "float32", (None, 2)),)
    assert (imported.imported_from, imported.remarks) == ("mlflow", ())


@pytest.mark.parametrize(
    "inputs",
    [
        "{",
        '{"a": 1}',
        "[1]",
        '[{"name": 5, "type": "long"}]',
        '[{"name": "x"}]',
        '[{"name": "x", "type": "tensor"}]',
        '[{"name": "x", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-2, true]}}]',
        '[{"name": "x", "type": "long"}, {"name": "x", "type": "long"}]',
        "[" * 100_000,
    ],
)
def test_a_signature_that_is_none_is_one_clear_error(inputs: str) -> None:
    with pytest.raises(UsageError, match="MLmodel: signature: ") as refused:
        read_declared({"inputs": inputs})
    assert refused.value.code == "invalid_declaration"


# --- other flavors, other files


def test_another_flavor_is_refused_by_name() -> None:
    flavors = {"python_function": {"loader_module": "mlflow.sklearn"}, "sklearn": {"pickled_model": "model.pkl"}}
    with pytest.raises(UsageError, match="its flavors are python_function, sklearn") as refused:
        read_mlmodel(json.dumps(mlmodel(flavors=flavors)).encode())
    assert refused.value.code == "no_onnx_flavor"
    assert "mlflow.onnx.log_model" in (refused.value.next_step or "")


def test_code_and_parameters_that_stay_behind_are_remarked(tmp_path: Path) -> None:
    flavors = {"onnx": {**FLAVORS["onnx"], "code": "code"}}
    signature = {**SIGNATURE, "params": json.dumps([{"name": "top", "type": "long", "default": 1, "shape": None}])}
    imported = read(write_model(tmp_path / "model", flavors=flavors, signature=signature, run_id=None))
    assert [remark.split(",")[0] for remark in imported.remarks] == [
        "its Python files were not taken; what the endpoint shall run belongs into the model's python/",
        "parameters of its signature were not taken; an ONNX graph has inputs only",
    ]


# --- weights beside the graph


def test_weights_of_every_graph_and_attribute_are_folded_in(tmp_path: Path) -> None:
    model = model_with_weights()
    whole = model.SerializeToString(deterministic=True)
    convert_model_to_external_data(model, location="weights.data", size_threshold=0, convert_attribute=True)
    onnx.save(model, tmp_path / "model.onnx")
    outside = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    assert outside.graph.initializer[0].external_data
    assert outside.graph.node[2].attribute[0].t.external_data
    folded = whole_model(tmp_path, "model.onnx")
    assert not has_external_data(folded)
    assert folded == whole


def test_a_file_with_all_its_weights_is_taken_byte_for_byte(tmp_path: Path) -> None:
    content = model_with_weights().SerializeToString()
    (tmp_path / "model.onnx").write_bytes(content)
    assert whole_model(tmp_path, "model.onnx") == content


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({"location": "gone.data"}, "'gone.data' is not there"),
        ({"location": "../weights.data"}, "not a path inside the folder"),
        ({"location": "/etc/passwd"}, "not a path inside the folder"),
        ({"location": "below/../../weights.data"}, "not a path inside the folder"),
        ({"location": ""}, "'.' is"),
        ({"location": "weights.data\0"}, "not a path inside the folder"),
        ({"location": "link.data"}, "symbolic link"),
        ({"location": "linked/weights.data"}, "symbolic link"),
        ({"location": "hard.data"}, "hard link"),
        ({"location": "pipe"}, "no plain file"),
        ({"location": "*/_ORT_MEM_ADDR_/*"}, "is not there"),
        ({"location": "weights.data", "offset": 0, "length": 17}, "bytes 0 to 17 of a file with 16"),
        ({"location": "weights.data", "offset": -1}, "offset or length '-1'"),
        ({"location": "weights.data", "length": "1e3"}, "offset or length '1e3'"),
    ],
)
def test_weights_that_are_not_in_the_folder_are_refused(tmp_path: Path, entries: dict[str, Any], problem: str) -> None:
    folder = tmp_path / "model"
    (folder / "below").mkdir(parents=True)
    for place in (folder, tmp_path):
        (place / "weights.data").write_bytes(b"\0" * 16)
    (folder / "link.data").symlink_to(tmp_path / "weights.data")
    (folder / "linked").symlink_to(tmp_path)
    (tmp_path / "elsewhere").write_bytes(b"\0" * 16)
    (folder / "hard.data").hardlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder / "pipe")
    (folder / "model.onnx").write_bytes(external(**entries))
    with pytest.raises(AdmissionError, match=problem) as refused:
        whole_model(folder, "model.onnx")
    assert refused.value.code == "external_data"
    assert refused.value.next_step


def test_tensors_that_share_bytes_count_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.importing.weights.LARGEST_ARTIFACT", 3000)
    model = onnx.ModelProto.FromString(external(length=1000))
    model.graph.initializer.extend([model.graph.initializer[0]] * 5)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "weights.data").write_bytes(b"\0" * 1000)
    with pytest.raises(AdmissionError, match="more than 3,000 bytes with its weights"):
        whole_model(tmp_path, "model.onnx")


# --- metrics and parameters


def store(root: Path, run_id: str = RUN, model_id: str | None = None) -> Path:
    """A run with one metric in a file store; the model's folder in it."""
    run = root / "mlruns" / "1" / run_id
    (run / "metrics").mkdir(parents=True)
    (run / "params").mkdir()
    (run / "meta.yaml").write_text(f"artifact_uri: file:///x\nrun_id: {run_id}\n")
    (run / "metrics" / "rmse").write_text("1 2.0 1\n3 0.5 2\n9 7.0 1\n")
    if model_id is None:
        return write_model(run / "artifacts" / "deep" / "model")
    own = root / "mlruns" / "1" / "models" / model_id
    (own / "metrics").mkdir(parents=True)
    (own / "meta.yaml").write_text(f"model_id: {model_id}\nsource_run_id: {run_id}\n")
    (own / "metrics" / "accuracy").write_text(f"5 0.25 0 {run_id} eval 1a2b\n9 0.75 1 {run_id} eval 1a2b\n")
    return write_model(own / "artifacts", model_id=model_id, model_uuid=model_id)


def metrics_of(folder: Path) -> dict[str, float]:
    return recorded_beside(folder, read_mlmodel((folder / "MLmodel").read_bytes())).metrics


def test_a_metric_is_its_value_at_the_highest_step(tmp_path: Path) -> None:
    assert metrics_of(store(tmp_path)) == {"rmse": 0.5}


def test_a_model_has_its_own_metrics_and_those_of_its_run(tmp_path: Path) -> None:
    assert metrics_of(store(tmp_path, model_id="m-1")) == {"rmse": 0.5, "accuracy": 0.75}


def test_of_a_run_with_two_models_the_runs_metrics_may_be_the_others(tmp_path: Path) -> None:
    folder = store(tmp_path, model_id="m-1")
    for model in ("m-1", "m-2"):
        (tmp_path / "mlruns" / "1" / RUN / "outputs" / model).mkdir(parents=True)
    found = recorded_beside(folder, read_mlmodel((folder / "MLmodel").read_bytes()))
    assert found.metrics == {"accuracy": 0.75}
    assert "the run made 2 models" in found.remarks[0]


def test_a_folder_in_anothers_run_brings_nothing_of_that_run(tmp_path: Path) -> None:
    folder = store(tmp_path, run_id="other")
    found = recorded_beside(folder, read_mlmodel((folder / "MLmodel").read_bytes()))
    assert found.metrics == {}
    assert f"import runs:/{RUN}/PATH to have them" in found.remarks[0]


def test_files_of_a_store_that_are_no_metrics_are_passed_over(tmp_path: Path) -> None:
    folder = store(tmp_path)
    metrics = tmp_path / "mlruns" / "1" / RUN / "metrics"
    (metrics / "text").write_text("not a number\n")
    (metrics / "empty").write_text("")
    (metrics / "bytes").write_bytes(b"\xff\n")
    (metrics / "link").symlink_to(metrics / "rmse")
    with (metrics / "long").open("wb") as file:
        file.truncate(_LARGEST_HISTORY + 1)
    assert metrics_of(folder) == {"rmse": 0.5}


def test_what_cannot_be_kept_is_left_out_with_a_remark() -> None:
    metrics = {
        "rmse": 0.5,
        "nan": float("nan"),
        "inf": float("-inf"),
        "stored inf": 1.7976931348623157e308,
        "a\u202eb": 1.0,
        "x" * (LONGEST_NAME + 1): 1.0,
        "system/cpu_utilization_percentage": 12.0,
    }
    params = {"alpha": "0.1", "lines": "a\nb", "bell": "\x07", "store": "postgresql://ada:lovelace@db/x"}
    found = recorded(Notes(metrics, params))
    assert found.metrics == {"rmse": 0.5}
    assert found.params == {"alpha": "0.1", "lines": "a\nb"}
    assert len(found.remarks) == 7
    assert "parameter 'store' was left out: it looks like an address with a password" in found.remarks
    assert not any("lovelace" in remark or "\u202e" in remark for remark in found.remarks)


def test_parameters_leave_room_in_the_manifest() -> None:
    found = recorded(Notes(params={f"p{place:03}": "x" * 6_000 for place in range(100)}))
    assert sum(len(name) + len(value) for name, value in found.params.items()) <= MOST_CHARACTERS
    assert 0 < len(found.params) < 100
    assert found.remarks[-1].endswith("more parameters were left out")


@pytest.mark.parametrize("models", [1, 2])
def test_an_undefined_metric_that_a_database_turned_into_0_is_left_out(models: int) -> None:
    assert recorded(Notes({"f1": float("nan")}), Notes({"f1": 0.0}), models_of_run=models).metrics == {}


def test_the_runs_last_value_counts_more_than_the_models_of_the_step_at_which_it_was_logged() -> None:
    assert recorded(Notes({"rmse": 1.25}), Notes({"rmse": 1.5})).metrics == {"rmse": 1.25}


def test_a_model_is_one_version_from_wherever_it_was_imported() -> None:
    made = Manifest(
        model="iris",
        task="binary",
        digest="ab" * 32,
        key="k",
        size=1,
        signature=GRAPH,
        lineage=Lineage(code_digest="c"),
    )
    imported = Lineage(code_digest="c", imported_from=f"mlflow 3.17.2 run {RUN}", params={"alpha": "0.1"})
    assert msgspec.structs.replace(made, lineage=imported).identity == made.identity
