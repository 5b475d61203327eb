"""The OpenAPI document of a model: valid, true of what the endpoint takes and gives, and its examples are answered."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.control.routes import MODEL_ROUTES, route_of
from modelyard.predictor.code import ModelCode
from tests.fakes import onnx_models
from tests.fakes.endpoint import Answer, EndpointStand, event
from tests.fakes.json_schema import problems

METHODS = {"get", "post"}


def field(dtype: str, shape: list[int | None], mode: str = "reject", **rules: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "mode": mode, "nulls": False, **rules}


WEATHER = onnx_models.echo(
    ("temp", "float32", [None, 1]), ("count", "int8", [None]), ("kind", "string", [None, 1]),
    ("pair", "float32", [None, 2]), ("flag", "bool", [None, 1]), ("cube", "float64", [None, 2, 2]),
)  # fmt: skip
CONTRACT = {
    "format": 1,
    "rows": 100,
    "fields": {
        "temp": field("float32", [None, 1], minimum=-10.5, maximum=40, seen=[-7.0, 33.3]),
        "count": field("int8", [None], "clip", minimum=0, maximum=9, seen=[1, 8]),
        "kind": field("string", [None, 1], categories={"rain": 0.7, "sun": 0.3}, nulls=True),
        "pair": field("float32", [None, 2], minimum=[0, -1], maximum=[1, 1], seen=[[0.1, -0.5], [0.9, 0.5]]),
    },
}


def hook(argument: Any) -> Any:
    return argument


STANDS = {
    "contract": EndpointStand(WEATHER, contract=CONTRACT),
    "no contract": EndpointStand(WEATHER, engine="lean"),
    "one input": EndpointStand(onnx_models.row_sum(), engine="lean"),
    "classes": EndpointStand(onnx_models.classifier()),
    "zipmap": EndpointStand(onnx_models.zipmap(), engine="lean"),
    "text": EndpointStand(onnx_models.is_empty()),
    "sizes that vary": EndpointStand(onnx_models.echo(("x", "float32", [None, None, 3]))),
    "rows that the graph denies": EndpointStand(onnx_models.says_one_row()),
    "one row and no other": EndpointStand(
        onnx_models.echo(("x", "float32", [1, 2])),
        contract={"format": 1, "rows": 9, "fields": {"x": field("float32", [1, 2], seen=[[0, 1], [2, 3]])}},
    ),
    "four rows and no other": EndpointStand(onnx_models.echo(("x", "float32", [4, 1]), ("t", "string", [4]))),
    "more rows than are shown": EndpointStand(onnx_models.echo(("x", "float32", [500, 1]))),
    "the widest range": EndpointStand(
        onnx_models.echo(("x", "float64", [None, 1])),
        contract={
            "format": 1,
            "rows": 9,
            "fields": {"x": field("float64", [None, 1], minimum=-1.7e308, maximum=1.7e308, seen=[-1.7e308, 1.7e308])},
        },
    ),
    "half": EndpointStand(onnx_models.echo(("x", "float16", [None, 2]))),
    "own code": EndpointStand(onnx_models.row_sum(), code=ModelCode("own", hook, hook)),
}


def document_of(stand: EndpointStand) -> dict[str, Any]:
    answer = stand.get("/models/weather/openapi.json")
    assert answer.status == 200
    return answer.json


DOCUMENTS = {name: document_of(stand) for name, stand in STANDS.items()}


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    return document["components"]["schemas"][name]


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, found) for path, methods in document["paths"].items() for method, found in methods.items()]


def test_every_route_of_a_model_is_in_it_and_no_other() -> None:
    documented = {(method.upper(), path.replace("{version}", "3")) for method, path, _ in operations(DOCUMENTS["text"])}
    below = {"/ready": "GET", "/infer": "POST", "/versions/3": "GET", "/versions/3/ready": "GET",
             "/versions/3/infer": "POST"}  # fmt: skip
    expected = {(method, route_of(path, "weather")) for method, path in MODEL_ROUTES if "proxy" not in path}
    assert documented == expected | {(method, f"/v2/models/weather{rest}") for rest, method in below.items()}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_document_is_an_openapi_document(name: str) -> None:
    document = DOCUMENTS[name]
    assert document["openapi"] == "3.1.0"
    assert {"title", "version", "description"} <= set(document["info"])
    ids = [found["operationId"] for _, _, found in operations(document)]
    assert len(set(ids)) == len(ids)
    for method, path, found in operations(document):
        assert method in METHODS
        assert path.startswith("/")
        assert ("{version}" in path) == ([part["name"] for part in found.get("parameters", [])] == ["version"])
        assert set(found["responses"]) == {"200", "default"}
        for response in found["responses"].values():
            assert response["description"]
            assert response["content"]
    used = set(_refs(document))
    assert used == {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def test_who_asks_without_a_signature_is_told_of_none() -> None:
    assert DOCUMENTS["text"]["security"] == [{"sigv4": []}]
    assert "SigV4" in DOCUMENTS["text"]["info"]["description"]
    asked = event("GET", "/models/weather/openapi.json")
    del asked["requestContext"]["authorizer"]
    document = STANDS["text"].send(asked).json
    assert document["paths"] == DOCUMENTS["text"]["paths"]
    assert "security" not in document
    assert set(document["components"]) == {"schemas"}
    assert "SigV4" not in document["info"]["description"]


def _refs(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [ref for value in part.values() for ref in _refs(value)]
    return [ref for value in part for ref in _refs(value)] if isinstance(part, list) else []


def valid(document: dict[str, Any], name: str, value: Any) -> list[str]:
    return problems(schema(document, name), value, document)


@pytest.mark.parametrize("name", [name for name in STANDS if name != "own code"])
def test_the_examples_are_valid_and_answered_with_what_the_document_promises(name: str) -> None:
    stand, document = STANDS[name], DOCUMENTS[name]
    predict = document["paths"]["/models/weather/predict"]["post"]["requestBody"]["content"]["application/json"]
    for example in predict["examples"].values():
        assert valid(document, "PredictRequest", example["value"]) == []
        answer = stand.post("/models/weather/predict", example["value"])
        assert answer.status == 200, answer.content
        assert valid(document, "PredictResponse", answer.json) == []
    infer = document["paths"]["/v2/models/weather/infer"]["post"]["requestBody"]["content"]["application/json"]
    assert ("example" in infer) == (name not in ("half", "more rows than are shown"))
    if "example" in infer:
        assert valid(document, "InferRequest", infer["example"]) == []
        answer = stand.post("/v2/models/weather/infer", infer["example"])
        assert answer.status == 200, answer.content
        assert valid(document, "InferResponse", answer.json) == []


def test_the_answer_to_several_rows_is_as_documented_where_the_graph_says_one() -> None:
    stand, document = STANDS["rows that the graph denies"], DOCUMENTS["rows that the graph denies"]
    answer = stand.infer({"name": "x", "datatype": "FP32", "shape": [3, 1], "data": [1, 2, 3]})
    assert valid(document, "InferResponse", answer.json) == []


@pytest.mark.parametrize("name", STANDS)
def test_metadata_ready_and_problems_are_as_documented(name: str) -> None:
    stand, document = STANDS[name], DOCUMENTS[name]
    assert valid(document, "ModelMetadata", stand.get("/v2/models/weather").json) == []
    assert valid(document, "Ready", stand.get("/v2/models/weather/ready").json) == []
    for refused in (stand.predict(), stand.infer(), stand.predict({"é": 1}), stand.get("/v2/models/weather/x")):
        assert valid(document, "Problem", refused.json) == []


def test_the_examples_come_from_what_the_training_data_looked_like() -> None:
    content = DOCUMENTS["contract"]["paths"]["/models/weather/predict"]["post"]["requestBody"]["content"]
    shown = content["application/json"]["examples"]["several"]["value"]["instances"]
    assert [instance["temp"] for instance in shown] == [13.15, -7.0, 33.3]
    assert [instance["count"] for instance in shown] == [5, 1, 8]
    assert [instance["kind"] for instance in shown] == ["rain", "sun", "rain"]
    assert [instance["pair"] for instance in shown] == [[0.5, 0.0], [0.1, -0.5], [0.9, 0.5]]


def test_an_example_keeps_to_a_limit_that_is_tighter_than_the_data() -> None:
    rules = field("float32", [None, 2], minimum=[0.5, 0], maximum=[2, 3], seen=[[0, 1], [9, 2]])
    stand = EndpointStand(onnx_models.row_sum(), contract={"format": 1, "rows": 9, "fields": {"x": rules}})
    content = document_of(stand)["paths"]["/models/weather/predict"]["post"]["requestBody"]["content"]
    shown = content["application/json"]["examples"]["several"]["value"]["instances"]
    assert shown == [{"x": [1.25, 1.5]}, {"x": [0.5, 1.0]}, {"x": [2.0, 2.0]}]
    assert stand.predict(*shown).status == 200


def test_the_schema_has_the_contracts_limits_where_they_refuse() -> None:
    instance = schema(DOCUMENTS["contract"], "Instance")["properties"]
    assert (instance["temp"]["minimum"], instance["temp"]["maximum"]) == (-10.5, 40)
    assert (instance["count"]["minimum"], instance["count"]["maximum"]) == (-128, 127)
    assert "nearest limit" in instance["count"]["description"]
    assert instance["kind"]["enum"] == ["rain", "sun", "", None]
    assert instance["kind"]["type"] == ["string", "null"]
    assert [(item["minimum"], item["maximum"]) for item in instance["pair"]["prefixItems"]] == [(0, 1), (-1, 1)]


def test_a_models_own_code_takes_and_gives_what_no_schema_knows() -> None:
    document = DOCUMENTS["own code"]
    assert set(schema(document, "Instance")) == {"description"}
    request = document["paths"]["/models/weather/predict"]["post"]["requestBody"]["content"]
    assert list(request) == ["application/json"]
    assert "examples" not in request["application/json"]


@pytest.mark.parametrize(
    ("name", "taken", "given"),
    [("one input", True, True), ("classes", True, False), ("contract", False, False), ("text", False, True)],
)
def test_forms_that_are_not_json_are_documented_where_they_are_taken_and_given(
    name: str, taken: bool, given: bool
) -> None:
    predict = DOCUMENTS[name]["paths"]["/models/weather/predict"]["post"]
    assert ("application/x-npy" in predict["requestBody"]["content"]) == taken
    assert ("application/x-npy" in predict["responses"]["200"]["content"]) == given
    assert "application/vnd.apache.arrow.stream" in predict["requestBody"]["content"]


LABELS = [
    {"prediction_id": "0" * 32, "label": value} for value in ("rain", "x" * 257, "", 1, 0.5, True, None, [1])
] + [
    {"prediction_id": "0" * 31, "label": 1}, {"label": 1}, {"prediction_id": "0" * 32},
    {"prediction_id": "0" * 32, "label": 1, "row": 99_999}, {"prediction_id": "0" * 32, "label": 1, "row": 100_000},
    {"prediction_id": "0" * 32, "label": 1, "row": -1}, {"prediction_id": "0" * 32, "label": 1, "more": 1},
]  # fmt: skip


@pytest.mark.parametrize("name", ["one input", "own code", "classes"])
@pytest.mark.parametrize("label", LABELS, ids=str)
def test_labels_are_taken_as_documented(name: str, label: dict[str, Any]) -> None:
    stand, document = STANDS[name], DOCUMENTS[name]
    for body in (label, {"labels": [label]}):
        answer = stand.post("/models/weather/feedback", body)
        allowed = valid(document, "FeedbackRequest", body) == []
        other_kind = name == "classes" and answer.status == 422  # which a schema cannot tell: a new class may be right
        assert allowed == (answer.status == 200 or other_kind)
        assert valid(document, "FeedbackResponse" if answer.status == 200 else "Problem", answer.json) == []
    assert ("'rain', 'sun', 'snow'" in schema(document, "Label")["properties"]["label"].get("description", "")) == (
        name == "classes"
    )


# -- the schema and the endpoint agree --------------------------------------------------------------------------------

VALUES = st.one_of(
    st.sampled_from([None, True, False, "rain", "sun", "snow", "", 0, 1, -1, 9, 10, 127, 128, -11, 40, 41, 0.5, 1e39,
                     -10.5, -10.6, [], [0, 0], [0, -1], [1, 2], [0.5], [0, 0, 0], [None, 0], ["a", "b"],
                     [[1, 2], [3, 4]], [[1, 2], [3]], [[1], [2]], {}]),
    st.integers(-130, 130),
    st.floats(-50, 50, width=32),
)  # fmt: skip
RIGHT = {"temp": 1.0, "count": 1, "kind": "rain", "pair": [0.5, 0.5], "flag": True, "cube": [[1, 2], [3, 4]]}


@pytest.mark.parametrize("name", ["contract", "no contract"])
def test_what_the_schema_allows_is_answered_and_what_it_forbids_is_refused(name: str) -> None:
    stand, document = STANDS[name], DOCUMENTS[name]

    @settings(max_examples=400, deadline=None)
    @given(st.dictionaries(st.sampled_from([*RIGHT, "other"]), VALUES, max_size=2), st.sampled_from(["", *RIGHT]))
    def agree(changes: dict[str, Any], missing: str) -> None:
        instance = {key: value for key, value in (RIGHT | changes).items() if key != missing}
        asked = {"instances": [instance]}
        answer = stand.post("/models/weather/predict", asked)
        wrong = valid(document, "PredictRequest", asked)
        assert (answer.status == 200) == (not wrong) or _is_lenient(instance, wrong, answer), (wrong, answer.content)

    agree()


def _is_lenient(instance: dict[str, Any], wrong: list[str], answer: Answer) -> bool:
    """Where the two differ, and may.

    A whole number with a fraction of 0 is an integer to JSON Schema and not to us. A list of one value is taken for the
    value. ``null`` is NaN to this model, which gives it back.
    """
    counts = isinstance(instance.get("count"), float)
    lists = any(isinstance(instance.get(name), list) and len(instance[name]) == 1 for name in ("temp", "kind", "flag"))
    return counts or lists or (answer.code == "not_finite" and not wrong)


def test_the_document_holds_no_row_of_the_data_and_is_small() -> None:
    assert len(json.dumps(DOCUMENTS["contract"])) < 20_000


def test_a_text_that_the_contract_knows_nothing_of_is_said_to_stand_for_any() -> None:
    def summary(name: str) -> str:
        predict = DOCUMENTS[name]["paths"]["/models/weather/predict"]["post"]["requestBody"]["content"]
        return str(predict["application/json"]["examples"]["one"]["summary"])

    assert summary("contract") == "The middle of the training data"
    assert summary("no contract") == 'Made up from the signature; "text" stands for any text of kind'
