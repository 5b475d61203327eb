"""What takes long holds nobody up: the event loop goes on whatever the models do."""

import json
import time
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.fakes.onnx_models import _model, _value
from tests.fakes.served import ServedStand

HEADERS = {"content-type": "application/json"}


def dense(layers: int = 12, width: int = 400) -> bytes:
    """x float32 [n, 2] to y float32 [n, 1]: rows cost the same, however many there are; ten thousand take a second."""
    draw, nodes, weights, last = np.random.default_rng(0), [], [], "x"
    for layer in range(layers):
        values = draw.normal(size=(width if layer else 2, width)) / 20
        weights.append(helper.make_tensor(f"w{layer}", TensorProto.FLOAT, values.shape, values.ravel().tolist()))
        nodes += [
            helper.make_node("MatMul", [last, f"w{layer}"], [f"sums{layer}"]),
            helper.make_node("Erf", [f"sums{layer}"], [f"layer{layer}"]),
        ]
        last = f"layer{layer}"
    nodes.append(helper.make_node("ReduceMean", [last], ["y"], axes=[1], keepdims=1))
    ends = [_value("x", "float32", [None, 2])], [_value("y", "float32", [None, 1])]
    return _model(nodes, *ends, weights).SerializeToString()


def every_pair(bends: int = 30) -> bytes:
    """x float32 [n, m] to y float32 [n, 1]: a row takes as long as the square of a size that the caller chooses."""
    axes = [helper.make_tensor(f"axis{axis}", TensorProto.INT64, [1], [axis]) for axis in (1, 2)]
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axis1"], ["across"]),
        helper.make_node("Unsqueeze", ["x", "axis2"], ["down"]),
        helper.make_node("Mul", ["across", "down"], ["bent0"]),
        *(helper.make_node("Erf", [f"bent{at}"], [f"bent{at + 1}"]) for at in range(bends)),
        helper.make_node("ReduceMean", [f"bent{bends}"], ["y"], axes=[2], keepdims=0),
        helper.make_node("ReduceMean", ["y"], ["z"], axes=[1], keepdims=1),
    ]
    ends = [_value("x", "float32", [None, None])], [_value("z", "float32", [None, 1])]
    return _model(nodes, *ends, axes).SerializeToString()


def ask(stand: ServedStand, instances: Any, times: int) -> float:
    """Seconds of the quickest of some requests, one after the other."""
    connection, body, quickest = stand.connect(), json.dumps({"instances": instances}), float("inf")
    for _ in range(times):
        began = time.monotonic()
        connection.request("POST", "/models/m/predict", body, HEADERS)
        response = connection.getresponse()
        assert (response.status, len(json.loads(response.read())["predictions"])) == (200, len(instances))
        quickest = min(quickest, time.monotonic() - began)
    connection.close()
    return quickest


@pytest.mark.parametrize("most", [1, 64])
def test_many_rows_of_a_model_whose_single_rows_are_quick_hold_nobody_up(most: int) -> None:
    with ServedStand({"m": dense()}, MAX_BATCH=most) as stand:
        took: list[float] = []
        slowest = stand.slowest_meanwhile(lambda: took.append(ask(stand, [[1, 2]] * 8_000, 2)))
        assert slowest < took[0] / 2


@pytest.mark.parametrize("most", [1, 64])
def test_a_size_that_the_caller_chooses_is_learnt_of(most: int) -> None:
    with ServedStand({"m": every_pair()}, MAX_BATCH=most) as stand:
        long = [[0.5] * 2_200]
        ask(stand, long, 20)  # a run that takes long is an outlier until there are more of them
        took: list[float] = []
        slowest = stand.slowest_meanwhile(lambda: took.append(ask(stand, long, 5)))
        assert slowest < took[0] / 2
