"""`/predict` with NPY and Arrow: the same answers as with JSON, whichever form comes and whichever goes."""

import io
import json
from typing import Any

import numpy as np
import pytest

from modelyard.predictor.array import Array
from modelyard.predictor.arrays import from_numpy, to_numpy
from modelyard.predictor.code import ModelCode
from modelyard.predictor.signature import Tensor
from modelyard.serving.forms import arrow, arrow_writer
from modelyard.serving.request import ARROW, JSON, NPY
from tests.fakes import onnx_models
from tests.fakes.endpoint import Answer, EndpointStand

PREDICT = "/models/weather/predict"
ROWS = np.array([[1.0, 2.0], [3.0, 4.5], [-1.0, 0.25]])


def npy_of(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def table_of(**columns: Any) -> bytes:
    return arrow_writer.write_table(
        [(name, from_numpy(np.asarray(values)) if not isinstance(values, Array) else values)
         for name, values in columns.items()]
    )  # fmt: skip


def told(answer: Answer, *outputs: Tensor) -> Any:
    """The values of an answer, from whatever form."""
    assert answer.status == 200, answer.content
    if answer.type == JSON:
        return answer.json["predictions"]
    if answer.type == NPY:
        return np.load(io.BytesIO(answer.content), allow_pickle=False).tolist()
    arrays = arrow.read_table(answer.content, outputs, frozenset(), most_rows=10_000)
    return {tensor.name: to_numpy(array).tolist() for tensor, array in zip(outputs, arrays, strict=True)}


@pytest.fixture(params=["standard", "lean"])
def sums(request: pytest.FixtureRequest) -> EndpointStand:
    return EndpointStand(onnx_models.row_sum(), engine=request.param)


BODIES = {
    JSON: json.dumps({"instances": ROWS.tolist()}).encode(),
    NPY: npy_of(ROWS.astype(np.float32)),
    ARROW: table_of(x=ROWS.astype(np.float32)),
}


@pytest.mark.parametrize("given", ["", JSON, "*/*", NPY, ARROW])
@pytest.mark.parametrize("taken", BODIES)
def test_every_form_goes_in_and_every_form_comes_out(sums: EndpointStand, taken: str, given: str) -> None:
    answer = sums.post(PREDICT, BODIES[taken], content_type=taken, accept=given)
    assert answer.type == (given if given in (NPY, ARROW) else JSON)
    found = told(answer, Tensor("y", "float32", (None, 1)))
    assert (found["y"] if given == ARROW else found) == [3.0, 7.5, -0.75]


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (f"{NPY};q=0", JSON),
        (f"{NPY}; q=0.0, */*", JSON),
        (f"application/json, {NPY};q=0.1", JSON),
        (f"{NPY};q=0.2, {ARROW};q=0.3", ARROW),
        (f"{NPY};q=0, {ARROW}", ARROW),
        (f"{ARROW};v=1;q=0.9, application/json;q=0.8", ARROW),
        (f"{NPY};q=abc", NPY),
        (f"{NPY};q=nan", NPY),
        (f"{NPY}, application/json", NPY),
    ],
)
def test_the_form_that_is_wanted_most_is_given(sums: EndpointStand, accept: str, given: str) -> None:
    answer = sums.post(PREDICT, BODIES[JSON], accept=accept)
    assert (answer.status, answer.headers["content-type"]) == (200, given)


@pytest.mark.parametrize("accept", ["application/x-arrow.stream", "application/vnd.apache.arrow.file", "x-npy", "*/*"])
def test_a_form_that_is_none_of_ours_is_answered_with_json(sums: EndpointStand, accept: str) -> None:
    answer = sums.post(PREDICT, BODIES[JSON], accept=accept)
    assert (answer.status, answer.type) == (200, JSON)


@pytest.mark.parametrize("given", [NPY, ARROW])
def test_version_and_prediction_are_in_the_headers_where_the_answer_is_not_json(
    sums: EndpointStand, given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    answer = sums.post(PREDICT, BODIES[JSON], accept=f"text/html, {given.upper()};q=0.9")
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (answer.headers["modelyard-version"], len(answer.headers["modelyard-digest"])) == ("3", 64)
    assert answer.headers["modelyard-prediction-id"] == line["prediction_id"]
    assert (line["instances"], line["protocol"]) == (3, "npy" if given == NPY else "arrow")


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint64", "int32"])
def test_numbers_of_another_dtype_are_converted_as_json_numbers_are(sums: EndpointStand, dtype: str) -> None:
    rows = np.array([[1, 2], [3, 4]]).astype(dtype)
    assert told(sums.post(PREDICT, npy_of(rows), content_type=NPY)) == [3.0, 7.0]
    assert told(sums.post(PREDICT, table_of(x=rows), content_type=ARROW)) == [3.0, 7.0]


def test_rows_in_fortrans_order_are_the_same_rows(sums: EndpointStand) -> None:
    assert told(sums.post(PREDICT, npy_of(np.asfortranarray(ROWS)), content_type=NPY)) == [3.0, 7.5, -0.75]


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_value_a_row_may_have_an_axis_of_its_own_or_none(shape: tuple[int, ...]) -> None:
    stand = EndpointStand(onnx_models.echo(("x", "float32", [None, 1])))
    values = np.arange(3, dtype=np.float32).reshape(shape)
    assert told(stand.post(PREDICT, npy_of(values), content_type=NPY)) == [0.0, 1.0, 2.0]
    assert told(stand.post(PREDICT, table_of(x=values), content_type=ARROW)) == [0.0, 1.0, 2.0]


def test_a_list_in_a_column_fills_several_axes() -> None:
    stand = EndpointStand(onnx_models.echo(("x", "float32", [None, 2, 3])))
    values = np.arange(12, dtype=np.float32).reshape(2, 6)
    expected = values.reshape(2, 2, 3).tolist()
    assert told(stand.post(PREDICT, table_of(x=values), content_type=ARROW)) == expected
    assert told(stand.post(PREDICT, npy_of(values.reshape(2, 2, 3)), content_type=NPY)) == expected


def test_columns_of_many_kinds_come_back_by_name() -> None:
    tensors = [("size", "float64", [None, 1]), ("kind", "string", [None]), ("flag", "bool", [None, 1]),
               ("pair", "int16", [None, 2])]  # fmt: skip
    stand = EndpointStand(onnx_models.echo(*tensors), engine="lean")
    body = table_of(
        pair=np.array([[1, 2], [3, 4]], np.int16), kind=Array("string", (2,), ["é", ""]),
        flag=Array.pack("bool", (2,), [True, False]), size=np.array([0.5, 1.5]),
    )  # fmt: skip
    answer = stand.post(PREDICT, body, content_type=ARROW, accept=ARROW)
    outputs = [Tensor(f"{name}_out", dtype, tuple(shape)) for name, dtype, shape in tensors]
    assert told(answer, *outputs) == {
        "size_out": [0.5, 1.5], "kind_out": ["é", ""], "flag_out": [True, False], "pair_out": [[1, 2], [3, 4]],
    }  # fmt: skip


def test_probabilities_are_a_list_a_row() -> None:
    for model in (onnx_models.classifier(), onnx_models.zipmap()):
        stand = EndpointStand(model)
        (name,) = [tensor.name for tensor in stand.endpoint._follower.current().predictor.signature.inputs]
        answer = stand.predict({name: [0, 0, 0]}, {name: [0, 0, 9]})
        expected = [row.get("probabilities", row) for row in answer.json["predictions"]]
        found = stand.post(PREDICT, answer_body(name), accept=ARROW)
        outputs = (Tensor("probabilities", "float32", (None, 3)),)
        if name == "logits":
            outputs = (Tensor("label", "int64", (None,)), *outputs)
        assert told(found, *outputs)["probabilities"] == [pytest.approx(list(row.values())) for row in expected]


def answer_body(name: str) -> bytes:
    return json.dumps({"instances": [{name: [0, 0, 0]}, {name: [0, 0, 9]}]}).encode()


@pytest.mark.parametrize("taken", [NPY, ARROW])
@pytest.mark.parametrize(("mode", "expected"), [("clip", 2.0), ("warn", 9.0)])
def test_the_contract_clips_and_warns_in_every_form(taken: str, mode: str, expected: float) -> None:
    rule = {"dtype": "float32", "shape": [None, 2], "mode": mode, "minimum": 0, "maximum": 2, "nulls": False}
    stand = EndpointStand(
        onnx_models.highest("float32", width=2), contract={"format": 1, "rows": 1, "fields": {"x": rule}}
    )
    rows = np.array([[1.0, 9.0]])
    body = npy_of(rows) if taken == NPY else table_of(x=rows)
    plain = stand.post(PREDICT, body, content_type=taken)
    assert (plain.json["predictions"], len(plain.json.get("warnings", []))) == ([expected], int(mode == "warn"))
    asked = stand.post(PREDICT, body, content_type=taken, accept=NPY)
    assert asked.headers.get("modelyard-warned") == ("1" if mode == "warn" else None)


# -- what is refused --------------------------------------------------------------------------------------------------


def own(*, pre: bool, post: bool) -> EndpointStand:
    def preprocess(instances: list[Any]) -> dict[str, Any]:
        return {"x": np.array(instances, dtype=np.float32)}

    def postprocess(outputs: dict[str, Any]) -> list[Any]:
        return [{"sum": total} for (total,) in outputs["y"].tolist()]

    code = ModelCode("own", preprocess if pre else None, postprocess if post else None)
    return EndpointStand(onnx_models.row_sum(), code=code)


@pytest.mark.parametrize("taken", [NPY, ARROW])
def test_a_model_with_preprocess_takes_json_only(taken: str) -> None:
    refused = own(pre=True, post=False).post(PREDICT, BODIES[taken], content_type=taken)
    assert (refused.status, refused.code) == (415, "unsupported_media_type")
    assert "/v2/models" in refused.json["next_step"]
    assert told(own(pre=False, post=True).post(PREDICT, BODIES[taken], content_type=taken))[0] == {"sum": 3.0}


@pytest.mark.parametrize("given", [NPY, ARROW])
def test_a_model_with_postprocess_gives_json_only(given: str) -> None:
    refused = own(pre=False, post=True).post(PREDICT, BODIES[JSON], accept=given)
    assert (refused.status, refused.code) == (406, "not_acceptable")
    found = told(own(pre=True, post=False).post(PREDICT, BODIES[JSON], accept=given), Tensor("y", "float32", (None, 1)))
    assert (found["y"] if given == ARROW else found) == [3.0, 7.5, -0.75]


def test_one_array_is_not_enough_for_two_inputs_or_two_outputs() -> None:
    two = EndpointStand(onnx_models.echo(("a", "float32", [None, 1]), ("b", "float32", [None, 1])))
    refused = two.post(PREDICT, npy_of(np.ones(2)), content_type=NPY)
    assert (refused.status, "2 inputs" in refused.json["detail"]) == (415, True)
    refused = EndpointStand(onnx_models.classifier()).post(PREDICT, answer_body("logits"), accept=NPY)
    assert (refused.status, "2 outputs" in refused.json["detail"]) == (406, True)


def test_text_goes_in_no_npy_file() -> None:
    stand = EndpointStand(onnx_models.echo(("x", "string", [None, 1])))
    assert stand.post(PREDICT, json.dumps({"instances": ["a"]}), accept=NPY).status == 406
    assert stand.post(PREDICT, npy_of(np.ones(2)), content_type=NPY).code == "wrong_type"


@pytest.mark.parametrize("given", [NPY, ARROW])
def test_an_answer_of_other_rows_than_were_asked_for_is_the_models_failure(given: str) -> None:
    stand = EndpointStand(onnx_models.total())
    assert stand.post(PREDICT, json.dumps({"instances": [1.0]}), accept=given).status == 200
    refused = stand.post(PREDICT, json.dumps({"instances": [1.0, 2.0]}), accept=given)
    assert (refused.status, refused.code) == (500, "wrong_output")


def test_a_body_that_came_as_text_is_read_as_its_bytes(sums: EndpointStand) -> None:
    assert sums.post(PREDICT, b"\x93NUMPY", content_type=NPY).code == "invalid_npy"
    made = {"content_type": ARROW}
    assert sums.post(PREDICT, "text", **made).code == "invalid_arrow"
