"""Instances in, predictions out: every dtype and shape, and every refusal with its field and row."""

import json
import math
import sys
import threading
import time

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.contract.document import Contract, Field
from modelyard.errors import AdmissionError, ModelError, RequestError
from modelyard.predictor import standard
from modelyard.predictor.arrays import from_numpy, to_numpy
from modelyard.predictor.code import ModelCode
from modelyard.predictor.predictor import Predictor
from modelyard.predictor.threads import threads_for
from tests.fakes import onnx_models

TABLE = onnx_models.echo(
    ("name", "string", [None, 1]), ("size", "float32", [None, 1]), ("count", "int8", [None, 1]), ("new", "bool", [None])
)
ROW = {"name": "a", "size": 1.5, "count": 3, "new": True}


def predictor(*tensors, **options) -> Predictor:
    return Predictor.load(onnx_models.echo(*tensors), **options)


def refusal(model: Predictor, instances: list) -> RequestError:
    with pytest.raises(RequestError) as caught:
        model.predict(instances)
    return caught.value


# -- what goes through ------------------------------------------------------------------------------------------------


def test_a_text_is_answered_with_plain_values_and_with_structs_that_are_written_alike():
    model, body = Predictor.load(TABLE), json.dumps({"instances": [ROW, ROW | {"name": "b"}]})
    plain, structs = model.answer(body)[0], model.answer(body, structs=True)[0]
    assert plain == model.predict([ROW, ROW | {"name": "b"}])
    assert not isinstance(structs[0], dict)
    assert msgspec.json.encode(structs) == msgspec.json.encode(plain)


def test_several_inputs_take_objects_and_several_outputs_give_objects():
    rows = [ROW, {"new": False, "count": -128, "size": 2, "name": "日本\x00"}]
    assert Predictor.load(TABLE).predict(rows) == [{f"{key}_out": value for key, value in row.items()} for row in rows]


@pytest.mark.parametrize("instances", [[[1, 2.5], [3, 4]], [{"x": [1, 2.5]}, {"x": [3, 4]}], [{"x": [1, 2.5]}, [3, 4]]])
def test_a_single_input_takes_the_bare_value_or_an_object(instances):
    assert predictor(("x", "float32", [None, 2])).predict(instances) == [[1.0, 2.5], [3.0, 4.0]]


@pytest.mark.parametrize("instances", [[1, 2.5], [[1], [2.5]], [1, [2.5]], [{"x": 1}, {"x": [2.5]}]])
def test_an_input_of_one_column_takes_a_scalar_or_a_list_of_one(instances):
    assert predictor(("x", "float64", [None, 1])).predict(instances) == [1.0, 2.5]


def test_an_input_without_a_second_axis_takes_scalars():
    assert predictor(("x", "int64", [None])).predict([2**63 - 1, -(2**63)]) == [2**63 - 1, -(2**63)]


def test_pictures_and_other_deep_arrays_keep_their_shape():
    picture = [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]
    assert predictor(("x", "float32", [None, 1, 3, 2])).predict([picture, picture]) == [picture, picture]


def test_an_axis_that_may_vary_takes_what_the_request_brings():
    model = predictor(("x", "int32", [None, "length"]))
    assert model.predict([[1, 2, 3]]) == [[1, 2, 3]]
    assert model.predict([[1], [2]]) == [[1], [2]]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float16", 0.5),
        ("float32", 3.4e38),
        ("float64", 1e308),
        ("float32", 2**63),
        ("int8", -128),
        ("int16", 32767),
        ("int32", -(2**31)),
        ("int64", 2**63 - 1),
        ("uint8", 255),
        ("uint16", 65535),
        ("uint32", 2**32 - 1),
        ("uint64", 2**64 - 1),
        ("bool", True),
        ("string", ""),
    ],
)
def test_each_dtype_takes_its_whole_range(dtype, value):
    (answer,) = predictor(("x", dtype, [None, 1])).predict([value])
    assert answer == pytest.approx(value) if isinstance(value, float) else answer == value


def test_an_output_with_classes_gives_a_probability_per_class():
    (answer,) = Predictor.load(onnx_models.classifier()).predict([[0.0, 50.0, 0.0]])
    assert answer["label"] == 1
    assert answer["probabilities"] == pytest.approx({"rain": 0.0, "sun": 1.0, "snow": 0.0})


def test_null_reaches_a_float_column_as_a_missing_value():
    model = Predictor(_IsNaN(), Predictor.load(onnx_models.echo(("x", "float32", [None, 1]))).signature)
    assert model.predict([1.0, None, {"x": None}, [None]]) == [0.0, 1.0, 1.0, 1.0]


def test_a_missing_value_does_not_let_an_overflow_through():
    refused = refusal(predictor(("x", "float32", [None, 1])), [None, 1e39])
    assert (refused.code, refused.row) == ("out_of_range", 1)


class _IsNaN:
    def run(self, arrays: list) -> list:
        return [from_numpy(np.isnan(to_numpy(arrays[0])).astype(np.float32))]


def test_the_largest_batch_is_answered_and_one_more_is_refused():
    model = predictor(("x", "float32", [None, 1]), max_instances=3)
    assert model.predict([1, 2, 3]) == [1, 2, 3]
    refused = refusal(model, [1, 2, 3, 4])
    assert (refused.code, refused.status, refused.field) == ("batch_too_large", 413, "instances")


# -- what is refused --------------------------------------------------------------------------------------------------

REFUSED_ROWS = {
    "a missing key": ({"name": "a", "size": 1.0, "count": 3}, "missing_field", "new"),
    "an extra key": ({**ROW, "colour": "red"}, "unknown_field", "colour"),
    "a missing and an extra key": ({"name": "a", "size": 1.0, "count": 3, "New": True}, "missing_field", "new"),
    "a list": ([1, 2, 3, 4], "wrong_type", None),
    "null": (None, "wrong_type", None),
    "text": ("name", "wrong_type", None),
    "a string for a float": ({**ROW, "size": "1.5"}, "wrong_type", "size"),
    "a boolean for a float": ({**ROW, "size": True}, "wrong_type", "size"),
    "a boolean for an integer": ({**ROW, "count": True}, "wrong_type", "count"),
    "a fraction for an integer": ({**ROW, "count": 5.0}, "wrong_type", "count"),
    "an integer for a boolean": ({**ROW, "new": 1}, "wrong_type", "new"),
    "a number for a string": ({**ROW, "name": 5}, "wrong_type", "name"),
    "null for a string": ({**ROW, "name": None}, "wrong_type", "name"),
    "null for an integer": ({**ROW, "count": None}, "wrong_type", "count"),
    "null for a boolean": ({**ROW, "new": None}, "wrong_type", "new"),
    "an object for a float": ({**ROW, "size": {}}, "wrong_type", "size"),
    "a list of two for a scalar": ({**ROW, "size": [1.0, 2.0]}, "wrong_shape", "size"),
    "an empty list for a scalar": ({**ROW, "size": []}, "wrong_shape", "size"),
    "a list where there is no axis": ({**ROW, "new": [True]}, "wrong_type", "new"),
    "one above an int8": ({**ROW, "count": 128}, "out_of_range", "count"),
    "2^63 for an int8": ({**ROW, "count": 2**63}, "out_of_range", "count"),
    "10^4999 for a float": ({**ROW, "size": 10**4999}, "out_of_range", "size"),
    "above a float32": ({**ROW, "size": 1e39}, "out_of_range", "size"),
    "infinity": ({**ROW, "size": math.inf}, "out_of_range", "size"),
    "not a number": ({**ROW, "size": math.nan}, "out_of_range", "size"),
}


@pytest.mark.parametrize("case", REFUSED_ROWS)
@pytest.mark.parametrize("row", [0, 2])
def test_a_bad_row_is_refused_with_its_index_and_field(case, row):
    bad, code, field = REFUSED_ROWS[case]
    instances = [ROW, ROW, ROW]
    instances[row] = bad
    refused = refusal(Predictor.load(TABLE), instances)
    assert (refused.code, refused.row, refused.field) == (code, row, field)
    assert f"instance {row}" in refused.message
    assert len(refused.message) < 300


REFUSED_ARRAYS = {
    "too few features": ([[1, 2, 3], [1, 2]], [None, 3], "wrong_shape", 1),
    "too many features": ([[1, 2, 3], [1, 2, 3, 4]], [None, 3], "wrong_shape", 1),
    "no features": ([[1], []], [None, None], "wrong_shape", 1),
    "only empty rows": ([[], []], [None, None], "wrong_shape", 0),
    "a scalar for a list": ([[1, 2], 3], [None, 2], "wrong_shape", 1),
    "a list for a scalar": ([[1, 2], [[1], [2]]], [None, 2], "wrong_type", 1),
    "rows of different lengths": ([[1, 2], [1, 2, 3]], [None, None], "ragged", 1),
    "a string inside": ([[1, 2], [1, "2"]], [None, 2], "wrong_type", 1),
    "null inside": ([[1, 2], [1, None]], [None, 2], "wrong_type", 1),
    "a boolean inside": ([[1, 2], [True, 2]], [None, 2], "wrong_type", 1),
    "too large inside": ([[1, 2], [1, 1e39]], [None, 2], "out_of_range", 1),
    "a missing axis": ([[[1, 2], [3, 4]], [1, 2]], [None, 2, 2], "wrong_shape", 1),
    "a ragged picture": ([[[1, 2], [3, 4]], [[1, 2], [3]]], [None, 2, 2], "wrong_shape", 1),
    "a ragged picture of any size": ([[[1, 2], [3, 4]], [[1, 2], [3]]], [None, None, None], "ragged", 1),
    "pictures of different sizes": ([[[1, 2]], [[1, 2], [3, 4]]], [None, None, None], "ragged", 1),
    "text": ([[1, 2], "12"], [None, 2], "wrong_shape", 1),
}


@pytest.mark.parametrize("case", REFUSED_ARRAYS)
def test_a_bad_array_is_refused_with_its_row(case):
    instances, shape, code, row = REFUSED_ARRAYS[case]
    refused = refusal(predictor(("x", "float32", shape)), instances)
    assert (refused.code, refused.row, refused.field) == (code, row, "x")


def test_an_empty_batch_is_refused():
    refused = refusal(Predictor.load(TABLE), [])
    assert (refused.code, refused.field) == ("empty_batch", "instances")


def test_a_model_exported_for_one_row_says_so():
    model = predictor(("x", "float32", [1, 2]))
    assert model.predict([[1, 2]]) == [[1, 2]]
    assert refusal(model, [[1, 2], [3, 4]]).code == "wrong_batch"


def test_a_message_stays_short_for_a_value_that_nests_a_thousand_deep():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert len(refusal(predictor(("x", "float32", [None, 2])), [[1, 2], deep]).message) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "name", "size"]), inner),
    max_leaves=8,
)
MODELS = [
    predictor(("x", "float32", [None, 2])),
    predictor(("x", "int8", [None, None, 2])),
    predictor(("x", "string", [None, 1])),
    predictor(("name", "string", [None, 1]), ("size", "float16", [None, 1])),
]


CODES = {
    "empty_batch", "missing_field", "unknown_field", "wrong_type", "wrong_shape", "ragged", "out_of_range",
}  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.lists(JSON, max_size=4))
def test_whatever_json_brings_is_answered_row_by_row_or_refused_with_a_code(instances):
    for model in MODELS:
        try:
            answers, code = model.predict(instances), None
        except RequestError as refused:
            answers, code = None, refused.code
        assert code in CODES if answers is None else len(answers) == len(instances)


# -- what the model does wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "row"), [(-1.0, 1), (0.0, 1)])
def test_an_answer_that_is_no_finite_number_is_an_error_and_never_null(value, row):
    with pytest.raises(ModelError) as caught:
        Predictor.load(onnx_models.logarithm()).predict([1.0, value])
    assert (caught.value.code, caught.value.row, caught.value.field) == ("not_finite", row, "y")


def test_a_model_that_raises_is_a_model_error_with_its_cause():
    with pytest.raises(ModelError) as caught:
        Predictor.load(onnx_models.fails_unless_two_rows()).predict([1.0, 2.0, 3.0])
    assert caught.value.code == "model_failed"
    assert "Reshape" in str(caught.value.__cause__)
    assert "Reshape" not in caught.value.message


def test_an_answer_for_another_number_of_rows_is_an_error():
    with pytest.raises(ModelError) as caught:
        Predictor.load(onnx_models.total()).predict([1.0, 2.0])
    assert caught.value.code == "wrong_output"


def test_bytes_that_are_no_model_are_not_loaded_and_nothing_is_printed(capfd):
    not_utf8 = onnx_models.row_sum().replace(b"ReduceSum", b"Reduce\xff\xfe\xfd")
    for content in (b"", b"abc", b"\x80\x04\x95", onnx_models.row_sum()[:40], not_utf8):
        with pytest.raises(AdmissionError) as caught:
            Predictor.load(content)
        assert caught.value.code == "not_loadable"
    assert capfd.readouterr() == ("", "")


def test_a_model_is_not_loaded_under_another_models_signature():
    wrong = {
        "inputs": [{"name": "x", "dtype": "float64", "shape": [None, 2]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": [None, 1]}],
    }
    with pytest.raises(AdmissionError) as caught:
        Predictor.load(onnx_models.row_sum(), signature=wrong)
    assert caught.value.code == "invalid_signature"


@pytest.mark.parametrize(("memory_mb", "threads"), [(128, 1), (1769, 1), (2600, 1), (3538, 2), (10240, 6)])
def test_threads_follow_the_memory(memory_mb, threads):
    assert threads_for(memory_mb) == threads


# -- a model's own code -----------------------------------------------------------------------------------------------

ONE_COLUMN = ("x", "float32", [None, 1])


def with_code(preprocess=None, postprocess=None, tensor=ONE_COLUMN) -> Predictor:
    return predictor(tensor, code=ModelCode("own", preprocess, postprocess))


def test_own_code_stands_before_and_after_the_model():
    model = with_code(
        lambda rows: {"x": np.array([[len(row["text"])] for row in rows], np.float32)},
        lambda outputs: [
            {"length": np.float32(value), "twice": outputs["x_out"][:1]} for value in outputs["x_out"][:, 0]
        ],
    )
    assert model.predict([{"text": "abc"}, {"text": ""}]) == [
        {"length": 3.0, "twice": [[3.0]]},
        {"length": 0.0, "twice": [[3.0]]},
    ]


def test_own_code_may_refuse_a_request():
    def preprocess(rows):
        raise RequestError("'text' is too long", field="text", row=1)

    assert refusal(with_code(preprocess), [1]).row == 1


def _raises(kind):
    def hook(argument):
        raise kind("secret")

    return hook


@pytest.mark.parametrize("kind", [ValueError, KeyError, SystemExit, RecursionError, MemoryError])
@pytest.mark.parametrize("place", ["preprocess", "postprocess"])
def test_whatever_else_own_code_raises_is_the_models_failure(kind, place):
    with pytest.raises(ModelError) as caught:
        with_code(**{place: _raises(kind)}).predict([1.0])
    assert caught.value.code == "model_failed"
    assert type(caught.value.__cause__) is kind
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "returned",
    [
        None,
        [],
        {},
        {"y": np.zeros((1, 1), np.float32)},
        {"x": [[1.0]]},
        {"x": np.zeros((1, 1))},
        {"x": np.zeros((2, 1), np.float32)},
        {"x": np.zeros((1, 2), np.float32)},
        {"x": np.zeros(1, np.float32)},
        {"x": np.zeros((1, 1), np.float32), "z": 1},
    ],
)
def test_arrays_of_own_code_are_checked_against_the_signature(returned):
    with pytest.raises(ModelError) as caught:
        with_code(lambda rows: returned).predict([1.0])
    assert caught.value.code == "wrong_code"


@pytest.mark.parametrize("strings", [np.array([["a"]], object), np.array([["a"]])])
def test_own_code_may_give_strings_as_objects_or_as_text(strings):
    assert with_code(lambda rows: {"x": strings}, tensor=("x", "string", [None, 1])).predict(["b"]) == ["a"]


def test_numbers_that_are_not_finite_never_reach_own_code():
    model = Predictor.load(
        onnx_models.logarithm(), code=ModelCode("own", None, lambda outputs: [int(outputs["y"].argmax())])
    )
    assert model.predict([1.0]) == [0]
    with pytest.raises(ModelError) as caught:
        model.predict([-1.0])
    assert caught.value.code == "not_finite"


def endless() -> list:
    """A list that holds itself."""
    found: list = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("returned", "code"),
    [
        ([], "wrong_code"),
        ({}, "wrong_code"),
        ([1, 2], "wrong_code"),
        ([{1: "a"}], "wrong_code"),
        ([{"a": {1, 2}}], "wrong_code"),
        ([object()], "wrong_code"),
        ([endless()], "wrong_code"),
        ([np.longdouble(1)], "wrong_code"),
        ([math.nan], "not_finite"),
        ([{"a": [1.0, math.inf]}], "not_finite"),
        ([np.float32("nan")], "not_finite"),
        ([np.array([1.0, np.inf])], "not_finite"),
    ],
)
def test_answers_of_own_code_are_checked_to_be_json(returned, code):
    with pytest.raises(ModelError) as caught:
        with_code(postprocess=lambda outputs: returned).predict([1.0])
    assert caught.value.code == code


def test_a_package_that_cannot_be_imported_or_has_no_hooks_says_so(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_model.py").write_text("raise RuntimeError('at import')")
    (tmp_path / "empty_model.py").write_text("")
    for package in ("absent_model", "broken_model", "empty_model"):
        with pytest.raises(ModelError) as caught:
            ModelCode.load(package)
        assert caught.value.code == "code_not_loadable"


def test_the_contract_holds_for_what_the_models_own_preprocess_makes():
    column = Field(dtype="float32", shape=(None, 1), mode="reject", nulls=False, maximum=10.0)
    model = Predictor.load(
        onnx_models.echo(("x", "float32", [None, 1])),
        code=ModelCode("doubling", preprocess=lambda rows: {"x": np.array(rows, np.float32).reshape(-1, 1) * 2}),
        contract=Contract(rows=1, fields={"x": column}),
    )
    assert model.predict([5.0]) == [10.0]
    with pytest.raises(RequestError, match="'x' of instance 1 is 12; the contract allows at most 10"):
        model.predict([5.0, 6.0])


@pytest.mark.parametrize("engine", ["lean", "standard"])
def test_a_predictor_that_nobody_holds_frees_its_session_at_once(engine):
    model = Predictor.load(onnx_models.row_sum(), engine=engine)
    model.predict([[1, 2]])
    held = model._engine
    del model
    assert sys.getrefcount(held) == 2, "this name and the call's argument"


def test_a_session_of_the_standard_engine_is_let_go_once_a_run_has_begun_or_nobody_asks(monkeypatch):
    model = Predictor.load(onnx_models.row_sum(), engine="standard")
    waiting = threading.Thread(target=standard.await_run, daemon=True)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    deadline = time.monotonic() + 1.0
    while waiting.is_alive() and time.monotonic() < deadline:
        model.predict([[1, 2]])
    assert not waiting.is_alive()
    monkeypatch.setattr(standard, "_LOOKS", 3)
    standard.await_run()
