"""What is asked of everybody: one model, one request, one answer.

Gradient boosting of 100 trees on scikit-learn's breast cancer data: 569 rows of 30 numeric features, 2 classes. And,
where the question is what batches gain, a wide network on scikit-learn's digits. The contract is inferred from these
rows, as a registration does.
"""

import functools
import json
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.measuring.bucket import Bucket
from benchmarks.measuring.script import PROJECT
from modelyard.contract.document import to_json
from modelyard.contract.inference import infer
from modelyard.version import TensorSpec
from tests.fakes.objects import pointer_to

MODEL = "tumours"
MODEL_KEY = f"models/{MODEL}.onnx"
"""Where the rivals find the same file; they have no registry."""

_EVENTS = PROJECT / "tests" / "events"


@dataclass(frozen=True)
class Workload:
    """A model and the rows that it is asked about.

    Attributes:
        onnx: The file.
        rows: float32 [rows, features].
        names: Of the inputs, where each feature is one; else there is one input ``x``.
        model: What it is called.
    """

    onnx: bytes
    rows: Any
    names: tuple[str, ...] = ()
    model: str = MODEL

    def arrays(self, batch: int) -> dict[str, Any]:
        """What ``session.run`` takes for a batch."""
        rows = self.rows[:batch]
        if not self.names:
            return {"x": np.ascontiguousarray(rows)}
        return {name: np.ascontiguousarray(rows[:, at : at + 1]) for at, name in enumerate(self.names)}

    def only(self, row: int) -> "Workload":
        """The same with one of its rows."""
        return replace(self, rows=self.rows[row : row + 1])

    def answers(self, batch: int) -> list[Any]:
        """The model's own outputs for a batch, in their order."""
        import onnxruntime

        session = onnxruntime.InferenceSession(self.onnx, providers=["CPUExecutionProvider"])
        outputs: list[Any] = session.run(None, self.arrays(batch))
        return outputs

    def event(self, batch: int) -> dict[str, Any]:
        """An API Gateway HTTP API event, payload format 2.0."""
        rows = self.rows[:batch].astype(float).round(6).tolist()
        instances = [dict(zip(self.names, row, strict=True)) for row in rows] if self.names else rows
        return predict_event(self.model, instances)

    def serve(self, bucket: Bucket) -> dict[str, str]:
        """Put the version live, and the variables that a function beside the bucket gets."""
        pointer = pointer_to(self.model, self.onnx, version=1, revision=1)
        champion = pointer["champion"]
        inputs = tuple(TensorSpec(t["name"], t["dtype"], tuple(t["shape"])) for t in champion["signature"]["inputs"])
        champion["contract"] = to_json(infer(self.arrays(len(self.rows)), inputs))
        bucket.put(champion["key"], self.onnx)
        bucket.put(MODEL_KEY, self.onnx)
        bucket.put(f"deployments/{self.model}.json", json.dumps(pointer).encode())
        return {
            **bucket.environment,
            "MODELYARD_MODEL": self.model,
            "MODELYARD_ARTIFACT_BUCKET": bucket.name,
            "MODELYARD_REFRESH_S": "3600",
            "MODEL": self.model,
            "MODEL_BUCKET": bucket.name,
            "MODEL_KEY": MODEL_KEY,
            "POWERTOOLS_SERVICE_NAME": self.model,
            "POWERTOOLS_METRICS_NAMESPACE": "Rivals",
            "AWS_LAMBDA_FUNCTION_NAME": f"{self.model}-predict",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
            "PYTHONDONTWRITEBYTECODE": "1",
        }


def predict_event(model: str, instances: list[Any]) -> dict[str, Any]:
    """An API Gateway HTTP API event, payload format 2.0, that asks a model for predictions."""
    event: dict[str, Any] = json.loads((_EVENTS / "http_api_v2_predict.json").read_text())
    path = f"/models/{model}/predict"
    event["body"] = json.dumps({"instances": instances})
    event["rawPath"] = event["requestContext"]["http"]["path"] = path
    event["routeKey"] = event["requestContext"]["routeKey"] = f"POST {path}"
    return event


def as_rest_api_event(event: dict[str, Any]) -> dict[str, Any]:
    """The same request as a REST API sends it (payload format 1.0), the only one that Chalice's routes know."""
    http, resource = event["requestContext"]["http"], "/models/{model}/predict"
    return {
        "resource": resource,
        "path": http["path"],
        "httpMethod": http["method"],
        "headers": event["headers"],
        "multiValueHeaders": {name: [value] for name, value in event["headers"].items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"model": MODEL},
        "stageVariables": None,
        "requestContext": {
            "resourcePath": resource,
            "path": http["path"],
            "httpMethod": http["method"],
            "requestId": event["requestContext"]["requestId"],
            "identity": {"sourceIp": http["sourceIp"], "userArn": "arn:aws:iam::111122223333:user/forecast-app"},
        },
        "body": event["body"],
        "isBase64Encoded": False,
    }


@functools.cache
def one_input() -> Workload:
    """All features in one input ``x``, float32 [batch, 30]."""
    onnx, rows, _ = _boosting()
    return Workload(onnx, rows)


@functools.cache
def named_inputs() -> Workload:
    """Each feature an input of its own, float32 [batch, 1], as Modelyard's trainer exports a table."""
    from onnx import TensorProto, helper, load_from_string

    onnx, rows, names = _boosting()
    model = load_from_string(onnx)
    graph = model.graph
    del graph.input[:]
    graph.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in names)
    graph.node.insert(0, helper.make_node("Concat", list(names), ["x"], axis=1))
    return Workload(model.SerializeToString(), rows, names)


@functools.cache
def wide_network() -> Workload:
    """Two dense layers of 2,048 on digits, float32 [batch, 64] to 10 classes, 17 MB: a model that gains from batches.

    One row takes a product of a vector and a matrix, so all weights are read for it; 64 rows read them once. It is
    fitted for a moment only (97 % of its own rows are right), because what it costs does not depend on how good it is.
    """
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_digits
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    found = load_digits()
    rows = (found.data / 16).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network = MLPClassifier((2048, 2048), max_iter=3, random_state=0).fit(rows, found.target)
    model = to_onnx(network, initial_types=[("x", FloatTensorType([None, 64]))], options={"zipmap": False})
    return Workload(model.SerializeToString(), rows, model="digits")


@functools.cache
def _boosting() -> tuple[bytes, Any, tuple[str, ...]]:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier

    found = load_breast_cancer()
    rows = found.data.astype(np.float32)
    trees = GradientBoostingClassifier(n_estimators=100, random_state=0).fit(rows, found.target)
    model = to_onnx(trees, initial_types=[("x", FloatTensorType([None, 30]))], options={"zipmap": False})
    return model.SerializeToString(), rows, tuple(str(name).replace(" ", "_") for name in found.feature_names)
