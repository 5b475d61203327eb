"""The same request in each form that an endpoint speaks, and how to change it."""

import copy
import io
import json
import struct
from typing import Any

import numpy as np

from modelyard.predictor.array import Array
from modelyard.serving.forms import arrow_writer
from modelyard.serving.request import ARROW, NPY
from tests.fakes import onnx_models
from tests.fakes.endpoint import event

OCTETS = "application/octet-stream"
ENGINES = ("standard", "lean")

MODEL = onnx_models.echo(
    ("size", "float32", [None, 1]),
    ("count", "int64", [None, 1]),
    ("kind", "string", [None, 1]),
    ("pair", "float32", [None, 2]),
)

CONTRACT = {
    "format": 1,
    "rows": 100,
    "fields": {
        "size": {"dtype": "float32", "shape": [None, 1], "mode": "reject", "minimum": -1.0, "maximum": 1e38,
                 "nulls": False},
        "kind": {"dtype": "string", "shape": [None, 1], "mode": "reject", "categories": {"rain": 0.5, "sun": 0.5},
                 "nulls": False},
    },
}  # fmt: skip

RIGHT = {"size": 0.5, "count": 1, "kind": "rain", "pair": [1.0, 2.0]}


def instances(*rows: Any, **changes: Any) -> dict[str, Any]:
    found = [{**RIGHT, **changes}] if not rows else list(rows)
    return as_json(json.dumps({"instances": found}))


def as_json(text: str | bytes, path: str = "/models/weather/predict", **headers: str) -> dict[str, Any]:
    return event("POST", path, text, headers={"content-type": "application/json", **headers})


TENSORS: dict[str, dict[str, Any]] = {
    "size": {"name": "size", "datatype": "FP32", "shape": [1, 1], "data": [0.5]},
    "count": {"name": "count", "datatype": "INT64", "shape": [1, 1], "data": [1]},
    "kind": {"name": "kind", "datatype": "BYTES", "shape": [1, 1], "data": ["rain"]},
    "pair": {"name": "pair", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]},
}

INFER = "/v2/models/weather/infer"


def tensors(*more: dict[str, Any], **changes: dict[str, Any]) -> dict[str, Any]:
    """An OIP request in JSON; a change replaces parts of the input of that name."""
    inputs = [{**tensor, **changes.get(name, {})} for name, tensor in TENSORS.items()]
    return as_json(json.dumps({"inputs": [*inputs, *more]}), INFER)


BYTES = {
    "size": struct.pack("<f", 0.5),
    "count": struct.pack("<q", 1),
    "kind": b"\x04\0\0\0rain",
    "pair": struct.pack("<2f", 1, 2),
}


def tensor_bytes(shapes: dict[str, list[int]] | None = None, **changes: bytes) -> dict[str, Any]:
    """An OIP request with bytes after the JSON."""
    data = {**BYTES, **changes}
    inputs = [
        {key: value for key, value in tensor.items() if key != "data"}
        | {"shape": (shapes or {}).get(name, tensor["shape"]), "parameters": {"binary_data_size": len(data[name])}}
        for name, tensor in TENSORS.items()
    ]
    text = json.dumps({"inputs": inputs}).encode()
    headers = {"content-type": OCTETS, "inference-header-content-length": str(len(text))}
    return event("POST", INFER, b"".join((text, *data.values())), headers=headers)


def npy(array: Any, **changes: Any) -> dict[str, Any]:
    file = io.BytesIO()
    np.save(file, array, **changes)
    return event("POST", "/models/weather/predict", file.getvalue(), headers={"content-type": NPY})


COLUMNS: dict[str, Array] = {
    "size": Array.pack("float32", (1,), [0.5]),
    "count": Array.pack("int64", (1,), [1]),
    "kind": Array.pack("string", (1,), ["rain"]),
    "pair": Array.pack("float32", (1, 2), [1.0, 2.0]),
}


def columns(*names: str, **changes: Array) -> dict[str, Any]:
    found = {**COLUMNS, **changes}
    body = arrow_writer.write_table([(name, found[name]) for name in names or found])
    return event("POST", "/models/weather/predict", body, headers={"content-type": ARROW})


def changed(made: dict[str, Any], **parts: Any) -> dict[str, Any]:
    found = copy.deepcopy(made)
    found.update(parts)
    return found


def headed(made: dict[str, Any], **headers: str) -> dict[str, Any]:
    found = copy.deepcopy(made)
    found["headers"].update({name.replace("_", "-"): value for name, value in headers.items()})
    return found


def array(dtype: str, shape: tuple[int, ...], *elements: Any) -> Array:
    return Array.pack(dtype, shape, list(elements))


def without(*names: str) -> dict[str, Any]:
    return {key: value for key, value in RIGHT.items() if key not in names}


EVERY = {
    "instances": instances(),
    "OIP": tensors(),
    "OIP bytes": tensor_bytes(),
    "Arrow": columns(),
}


def ones_in_every_form(rows: int) -> list[dict[str, Any]]:
    """So many rows of two numbers, for a model of one input ``x``."""
    ones = np.ones((rows, 2), dtype=np.float32)
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 2]}
    text = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": ones.nbytes}}]}).encode()
    headers = {"content-type": OCTETS, "inference-header-content-length": str(len(text))}
    table = arrow_writer.write_table([("x", Array("float32", (rows, 2), ones.tobytes()))])
    return [
        as_json(json.dumps({"instances": ones.tolist()})),
        as_json(json.dumps({"inputs": [{**tensor, "data": ones.ravel().tolist()}]}), INFER),
        event("POST", INFER, text + ones.tobytes(), headers=headers),
        npy(ones),
        event("POST", "/models/weather/predict", table, headers={"content-type": ARROW}),
    ]
