"""Folders as ``mlflow.onnx.save_model`` writes them, by hand; and what is asked of the ``mlflow`` package."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from tests.fakes.onnx_models import row_sum

RUN = "4069c84014c54001b04e14a364b20c10"
TENSOR = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}
SIGNATURE = {
    "inputs": json.dumps([{"name": "x", **TENSOR}]),
    "outputs": json.dumps([{"name": "y", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 1]}}]),
    "params": None,
}
FLAVORS: dict[str, Any] = {
    "onnx": {
        "code": None,
        "data": "model.onnx",
        "onnx_session_options": None,
        "onnx_version": "1.23.2",
        "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    },
    "python_function": {"data": "model.onnx", "loader_module": "mlflow.onnx", "python_version": "3.11.7"},
}


def mlmodel(**changes: Any) -> dict[str, Any]:
    """What MLmodel holds."""
    return {
        "artifact_path": "model",
        "flavors": FLAVORS,
        "mlflow_version": "3.17.2",
        "model_id": None,
        "model_uuid": "459b33a38969475c840fa232a577e746",
        "run_id": RUN,
        "signature": SIGNATURE,
        "utc_time_created": "2026-11-21 04:51:32.379327",
        **changes,
    }


def write_model(folder: Path, content: bytes | None = None, **changes: Any) -> Path:
    """A model's folder with the ONNX file ``content``; by default one that sums rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MLmodel").write_text(yaml.safe_dump(mlmodel(**changes), default_flow_style=False))
    (folder / "model.onnx").write_bytes(row_sum() if content is None else content)
    return folder


def model_with_weights() -> onnx.ModelProto:
    """x float32 [n, 2] to y: weights in the graph, in a branch, and in a function's attribute."""
    weight = numpy_helper.from_array(np.ones((2, 2), "float32"), "weight")
    inner = numpy_helper.from_array(np.full((1,), 3, "float32"), "inner")
    branch = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])],
        [inner],
    )
    condition = helper.make_tensor("condition", TensorProto.BOOL, [], [True])
    constant = numpy_helper.from_array(np.full((1,), 5, "float32"), "constant")
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["h"]),
        helper.make_node("If", ["condition"], ["plus"], then_branch=branch, else_branch=branch),
        helper.make_node("Constant", [], ["more"], value=constant),
        helper.make_node("Add", ["h", "plus"], ["i"]),
        helper.make_node("Add", ["i", "more"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph(nodes, "g", [x], [y], [weight, condition])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def external(location: str = "weights.data", **entries: object) -> bytes:
    """A graph with one tensor of 16 bytes that lies in ``location``."""
    model = model_with_weights()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return model.SerializeToString()


class FakeMlflow:
    """The three things that an import asks of the package."""

    def __init__(
        self, folder: Path, *, metrics: Any = None, params: Any = None, made: int = 1, own: Any = None
    ) -> None:
        self.asked: list[str] = []
        self._folder, self._own = folder, own
        outputs = SimpleNamespace(model_outputs=[SimpleNamespace(model_id=f"m-{place}") for place in range(made)])
        self._run = SimpleNamespace(data=SimpleNamespace(metrics=metrics or {}, params=params or {}), outputs=outputs)
        self.artifacts = SimpleNamespace(download_artifacts=self._download)

    def _download(self, *, artifact_uri: str, dst_path: str) -> str:
        self.asked.append(artifact_uri)
        return str(shutil.copytree(self._folder, Path(dst_path) / "model"))

    def MlflowClient(self) -> "FakeMlflow":  # noqa: N802 - its name in MLflow
        return self

    def get_run(self, run_id: str) -> Any:
        self.asked.append(run_id)
        return self._run

    def get_logged_model(self, model_id: str) -> Any:
        self.asked.append(model_id)
        return self._own


def metric(key: str, value: float, step: int = 0) -> Any:
    """A metric of a logged model."""
    return SimpleNamespace(key=key, value=value, step=step, timestamp=1_795_236_756_450 + step)
