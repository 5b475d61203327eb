"""Large batches: what the engine says of whole columns is what looking at each value says."""

import struct
from typing import Any

import numpy as np
import onnx
import pytest

from modelyard.contract.document import parse
from modelyard.errors import AdmissionError, RequestError
from modelyard.predictor.array import Array
from modelyard.predictor.arrays import from_numpy
from modelyard.predictor.enforcement import checks_of
from modelyard.predictor.lean import LeanEngine
from modelyard.predictor.predictor import LARGE, Predictor
from modelyard.predictor.screen import Screen, graph
from modelyard.predictor.signature import Tensor
from modelyard.predictor.standard import StandardEngine
from tests.fakes import onnx_models

ENGINES = [StandardEngine, LeanEngine]
ROWS = 600
TENSORS = (
    Tensor("a", "float32", (None, 1)),
    Tensor("b", "float32", (None, 3)),
    Tensor("c", "int64", (None,)),
    Tensor("d", "float64", (None, 1)),
    Tensor("text", "string", (None, 1)),
    Tensor("free", "float32", (None, 2)),
)
CONTRACT = parse(
    {
        "format": 1,
        "rows": 10,
        "fields": {
            "a": {"dtype": "float32", "shape": [None, 1], "mode": "reject", "minimum": -1, "maximum": 1,
                  "nulls": False},
            "b": {"dtype": "float32", "shape": [None, 3], "mode": "clip", "minimum": [0, 0, 0], "maximum": [1, 2, 3],
                  "nulls": False},
            "c": {"dtype": "int64", "shape": [None], "mode": "warn", "minimum": 0, "nulls": False},
            "d": {"dtype": "float64", "shape": [None, 1], "mode": "reject", "maximum": 1e300, "nulls": True},
        },
    }
)  # fmt: skip


def arrays(**changes: tuple[int, float]) -> list[Array]:
    """Values inside; a change puts one value at one place."""
    made: dict[str, Any] = {
        "a": np.full((ROWS, 1), 0.5, np.float32), "b": np.tile(np.float32([1, 2, 3]), (ROWS, 1)),
        "c": np.arange(ROWS), "d": np.full((ROWS, 1), -1e299), "free": np.zeros((ROWS, 2), np.float32),
    }  # fmt: skip
    for name, (place, value) in changes.items():
        made[name].reshape(-1)[place] = value
    return [
        Array("string", (ROWS, 1), ["x"] * ROWS) if tensor.name == "text" else from_numpy(made[tensor.name])
        for tensor in TENSORS
    ]


@pytest.fixture(scope="module", params=ENGINES)
def screen(request: pytest.FixtureRequest) -> Screen:
    return Screen(request.param, TENSORS, checks_of(TENSORS, CONTRACT))


def test_columns_inside_are_clean_and_text_is_never_screened(screen: Screen) -> None:
    assert screen.clean(arrays()) == {0, 1, 2, 3, 5}


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("a", 0, 1.1), ("a", ROWS - 1, -1.1), ("a", 7, float("nan")), ("a", 7, float("inf")), ("b", 0, 1.1),
        ("b", 4, 2.1), ("b", 3 * ROWS - 1, 3.1), ("b", 3 * ROWS - 3, -0.1), ("c", 300, -1), ("d", 5, 1.1e300),
        ("d", 5, float("-inf")), ("d", 5, float("nan")), ("free", 9, float("nan")), ("free", 9, float("inf")),
    ],
)  # fmt: skip
def test_one_value_outside_anywhere_takes_its_input_out_and_no_other(
    screen: Screen, name: str, place: int, value: float
) -> None:
    number = [tensor.name for tensor in TENSORS].index(name)
    assert screen.clean(arrays(**{name: (place, value)})) == {0, 1, 2, 3, 5} - {number}


@pytest.mark.parametrize(("place", "value"), [(0, 1.0), (1, 2.0), (2, 3.0), (0, 0.0)])
def test_a_value_at_its_limit_is_inside(screen: Screen, place: int, value: float) -> None:
    assert 1 in screen.clean(arrays(b=(place, value)))


def test_a_sum_that_is_too_large_for_its_dtype_leaves_the_values_to_be_looked_at() -> None:
    tensors = (Tensor("x", "float32", (None, 1)),)
    large = from_numpy(np.full((ROWS, 1), 3e38, np.float32))
    assert Screen(StandardEngine, tensors, [None]).clean([large]) == frozenset()


@pytest.mark.parametrize("inputs", [1, 2, 40])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_the_graph_that_is_written_by_hand_is_valid_onnx(dtype: str, inputs: int) -> None:
    model = onnx.load_from_string(graph(dtype, inputs))
    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.input) == inputs


def test_an_engine_that_cannot_run_it_screens_nothing_and_is_not_asked_again() -> None:
    asked = []

    def engine(model: bytes) -> None:
        asked.append(model)
        raise AdmissionError("no such operator")

    screen = Screen(engine, TENSORS, checks_of(TENSORS, CONTRACT))
    assert screen.clean(arrays()) == frozenset()
    assert screen.clean(arrays()) == frozenset()
    assert len(asked) == 3  # once for each dtype


# -- with and without it the outcome is the same ----------------------------------------------------------------------

MODEL = onnx_models.echo(*((tensor.name, tensor.dtype, list(tensor.shape)) for tensor in TENSORS))


def outcome(predictor: Predictor, given: list[Array]) -> Any:
    try:
        batch = predictor.admit(given)
    except RequestError as refused:
        return refused.status, refused.code, refused.field, refused.row, refused.message
    return [bytes(array.buffer) if array.dtype != "string" else array.buffer for array in batch.arrays], batch.warnings


@pytest.mark.parametrize("engine", ["standard", "lean"])
@pytest.mark.parametrize(
    "change",
    [
        {}, {"a": (3, 2.0)}, {"a": (3, float("nan"))}, {"b": (5, 9.0)}, {"b": (5, float("inf"))}, {"c": (8, -4)},
        {"d": (9, float("nan"))}, {"d": (9, float("inf"))}, {"free": (1, float("nan"))}, {"c": (1, -1), "b": (0, -1)},
    ],
)  # fmt: skip
def test_a_large_batch_has_the_outcome_that_each_value_gives(
    engine: Any, change: dict[str, tuple[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.load(MODEL, contract=CONTRACT, engine=engine)
    given = arrays(**change)
    assert sum(len(array.elements()) for array in given) >= LARGE
    screened = outcome(predictor, given)
    monkeypatch.setattr("modelyard.predictor.screen.Screen.clean", lambda *_: frozenset())
    assert screened == outcome(predictor, given)


@pytest.mark.parametrize("engine", ["standard", "lean"])
def test_a_large_batch_inside_is_not_looked_at_value_by_value(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor.load(MODEL, contract=CONTRACT, engine=engine)

    def looked(*_: object) -> None:
        raise AssertionError("a clean input was looked at")

    monkeypatch.setattr("modelyard.predictor.enforcement.FieldCheck.apply", looked)
    given = arrays()
    assert predictor.admit(given).arrays == given


def test_a_buffer_that_lies_anywhere_is_screened_and_run_alike() -> None:
    """onnxruntime is given the address of a column in the middle of a request."""
    values = struct.pack(f"={ROWS * 2}f", *range(ROWS * 2))
    for offset in (0, 4, 8, 12):
        view = memoryview(bytes(offset) + values)[offset:]
        array = Array("float32", (ROWS, 2), view)
        predictor = Predictor.load(onnx_models.row_sum(), engine="lean")
        (output,) = predictor.run(predictor.admit([array]))
        assert output.elements()[:2] == [1.0, 5.0]
