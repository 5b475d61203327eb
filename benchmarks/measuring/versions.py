"""Versions of one model that differ by what they add to its output, and how one of them goes live."""

import copy
import functools
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import helper, load_from_string, numpy_helper

from benchmarks.measuring.bucket import Bucket
from benchmarks.measuring.workload import predict_event
from modelyard.compiling.compiler import CompilationRefused, compile_model
from tests.fakes import realistic_models
from tests.fakes.objects import pointer_to

MODEL = "swapped"
COMPILE_AGAIN = 5


def _small() -> bytes:
    from onnx import TensorProto

    graph = realistic_models.Graph()
    graph.add("MatMul", "x", graph.weight(30, 30), output="y")
    return graph.model(
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 30])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 30])],
    )


SIZES: dict[str, Callable[[], bytes]] = {
    "4 KB": _small,
    "14 MB": realistic_models.image_classifier,
    "90 MB": realistic_models.text_encoder,
    "90 MB compiled": realistic_models.text_encoder,
}


class Versions:
    """The versions of one size of model, in a bucket.

    Attributes:
        bucket: Where they lie.
        event: A request for one row.
        raw_event: The same as the JSON that Lambda is called with.
    """

    def __init__(self, bucket: Bucket, size: str) -> None:
        self.bucket = bucket
        self._model = load_from_string(_raw(SIZES[size]))
        self._compiled = size.endswith("compiled")
        self._pointers: dict[int, dict[str, Any]] = {}
        self._revision = 0
        self.event = predict_event(MODEL, [self._instance()])
        self.raw_event = json.dumps(self.event).encode()

    def restart(self) -> None:
        """Version 1 is live."""
        self._revision = 0
        self.promote(1)

    def promote(self, version: int) -> float:
        """Put a version live; the time when the pointer was written."""
        if version not in self._pointers:
            onnx = self._adding(version)
            pointer = pointer_to(MODEL, onnx, version=version, revision=0)
            self.bucket.put(pointer["champion"]["key"], onnx)
            if self._compiled:
                pointer["champion"] |= self._forms(onnx)
            self._pointers[version] = pointer
        self._revision += 1
        content = json.dumps({**self._pointers[version], "revision": self._revision}).encode()
        began = time.monotonic()
        self.bucket.put(f"deployments/{MODEL}.json", content)
        return began

    def prepare(self, versions: int) -> None:
        """Make and upload versions before anybody's time counts."""
        for version in range(1, versions + 1):
            self.promote(version)

    def _forms(self, onnx: bytes) -> dict[str, Any]:
        """What the registry adds to a pointer for a version that was compiled."""
        made = compile_model(onnx)
        for _ in range(COMPILE_AGAIN):
            if not isinstance(made, CompilationRefused):
                break
            made = compile_model(onnx)  # a busy machine makes a form look slower than the raw file
        if isinstance(made, CompilationRefused):
            raise SystemExit(f"not compiled: {made.reason}")
        forms = [
            {
                "architecture": form.architecture,
                "model": self._file(form.model),
                "weights": None if form.weights is None else self._file(form.weights),
            }
            for form in made.forms
        ]
        return {"onnxruntime": onnxruntime.__version__, "forms": forms}

    def _file(self, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        self.bucket.put(f"forms/{digest}", content)
        return {"key": f"forms/{digest}", "digest": digest, "size": len(content)}

    def _adding(self, version: int) -> bytes:
        model = copy.deepcopy(self._model)
        graph = model.graph
        largest = max(graph.initializer, key=lambda tensor: len(tensor.raw_data))
        changed = numpy_helper.to_array(largest).copy()
        changed.flat[0] += version * 1e-4  # so that no two versions share the file of their weights
        largest.CopyFrom(numpy_helper.from_array(changed, largest.name))
        output = graph.output[0].name
        for node in graph.node:
            for place, name in enumerate(node.output):
                if name == output:
                    node.output[place] = "before"
        graph.initializer.append(numpy_helper.from_array(np.float32(version), "version"))
        graph.node.append(helper.make_node("Add", ["before", "version"], [output]))
        content: bytes = model.SerializeToString()
        return content

    def _instance(self) -> Any:
        random = np.random.default_rng(0)
        row: dict[str, Any] = {}
        for tensor in self._model.graph.input:
            sizes = [size.dim_value or 16 for size in tensor.type.tensor_type.shape.dim[1:]]
            if tensor.type.tensor_type.elem_type == 7:  # int64: words, and which of them are there
                row[tensor.name] = np.ones(sizes, int).tolist()
            else:
                row[tensor.name] = random.standard_normal(sizes).astype(np.float32).round(3).tolist()
        return row


@functools.cache
def _raw(make: Callable[[], bytes]) -> bytes:
    return make()
