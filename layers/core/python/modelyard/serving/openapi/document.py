"""The document: paths, schemas and examples of one model as its live version is."""

from typing import Any, cast

from modelyard.contract.document import Field, parse
from modelyard.labels import MOST_LABELS, Expected
from modelyard.predictor.predictor import Predictor
from modelyard.predictor.signature import Tensor
from modelyard.serving.follow import Live
from modelyard.serving.oip.datatypes import DATATYPES, described, described_outputs
from modelyard.serving.oip.server import OCTETS
from modelyard.serving.openapi import examples
from modelyard.serving.openapi.schemas import Schema, instance_schema, label_schema, prediction_schema
from modelyard.serving.problem import CONTENT_TYPE
from modelyard.serving.request import ARROW, JSON, NPY

OPENAPI = "3.1.0"
_SECURITY = {
    "sigv4": {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "description": "AWS Signature Version 4, service execute-api.",
        "x-amazon-apigateway-authtype": "awsSigv4",
    }
}
_SIGNED = "Every request is signed with AWS credentials (SigV4, service `execute-api`). "
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_FILE = {"type": "string", "format": "binary"}
_PARAMETERS = {"type": "object", "additionalProperties": True}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": _TEXT, "description": "The live one."}


def openapi_document(live: Live, model: str, *, signed: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document of one model's routes.

    Args:
        live: The version that answers.
        model: Its name.
        signed: Whether requests are signed with AWS credentials; a server of one's own asks for none.
    """
    predictor = cast("Predictor", live.predictor)
    fields = {} if live.contract is None else parse(live.contract).fields
    below = f"/v2/models/{model}"
    paths = {f"/models/{model}/predict": {"post": _predict(predictor, fields)}}
    paths[f"/models/{model}/feedback"] = {"post": _feedback()}
    paths[f"/models/{model}/openapi.json"] = {"get": _get("openapi", "This document", {"type": "object"})}
    for path, suffix in ((below, ""), (f"{below}/versions/{{version}}", "_of_version")):
        parameters = [_VERSION] if suffix else []
        for rest, method, operation in (
            ("", "get", _get(f"metadata{suffix}", "Inputs and outputs as tensors", _ref("ModelMetadata"))),
            ("/ready", "get", _get(f"ready{suffix}", "Whether the model answers", _ref("Ready"))),
            ("/infer", "post", _infer(predictor, fields, suffix)),
        ):
            paths[path + rest] = (
                {method: {**operation, "parameters": parameters}} if parameters else {method: operation}
            )
    return {
        "openapi": OPENAPI,
        "info": {
            "title": f"Modelyard endpoint of {model}",
            "version": str(live.version),
            "description": (
                f"Answers with version {live.version} of `{model}` (SHA-256 `{live.digest}`). "
                f"{_SIGNED if signed else ''}Every error is a problem document with a stable `code`."
            ),
        },
        **({"security": [{"sigv4": []}]} if signed else {}),
        "paths": paths,
        "components": {
            **({"securitySchemes": _SECURITY} if signed else {}),
            "schemas": _schemas(predictor, fields, model, live.version),
        },
    }


def _predict(predictor: Predictor, fields: dict[str, Field]) -> dict[str, Any]:
    taken: dict[str, Any] = {JSON: {"schema": _ref("PredictRequest")}}
    given: dict[str, Any] = {JSON: {"schema": _ref("PredictResponse")}}
    if not predictor.has_preprocess:
        batches = examples.batches(predictor.signature.inputs, fields, predictor.check_rows.exactly)
        texts = [tensor.name for tensor in predictor.signature.inputs if tensor.dtype == "string"]
        unknown = [name for name in texts if name not in fields or fields[name].categories is None]
        free = f'; "text" stands for any text of {", ".join(unknown[:5])}' if unknown else ""
        middle = "The middle of the training data" if fields else "Made up from the signature"
        taken[JSON]["examples"] = {
            name: {"summary": f"{summary}{free}", "value": {"instances": shown}}
            for (name, summary), shown in zip((("one", middle), ("several", "Middle and ends")), batches, strict=False)
        }
        taken[ARROW] = {"schema": _FILE}
        if len(predictor.signature.inputs) == 1 and predictor.signature.inputs[0].dtype != "string":
            taken[NPY] = {"schema": _FILE}
    if not predictor.has_postprocess:
        given[ARROW] = {"schema": _FILE}
        if len(predictor.signature.outputs) == 1 and predictor.signature.outputs[0].dtype != "string":
            given[NPY] = {"schema": _FILE}
    return {
        "operationId": "predict",
        "summary": "Predict",
        "requestBody": {"required": True, "content": taken},
        "responses": {"200": {"description": "One prediction for each instance", "content": given}, **_problems()},
    }


def _feedback() -> dict[str, Any]:
    answered = {"description": "The labels are stored", "content": {JSON: {"schema": _ref("FeedbackResponse")}}}
    return {
        "operationId": "feedback",
        "summary": "Send true labels of earlier predictions",
        "requestBody": {"required": True, "content": {JSON: {"schema": _ref("FeedbackRequest")}}},
        "responses": {"200": answered, **_problems()},
    }


def _infer(predictor: Predictor, fields: dict[str, Field], suffix: str) -> dict[str, Any]:
    exactly = predictor.check_rows.exactly
    batches = [] if predictor.has_preprocess else examples.batches(predictor.signature.inputs, fields, exactly)
    inputs = [_example(tensor, batches[0]) for tensor in predictor.signature.inputs if batches]
    has_json_form = all(tensor.dtype != "float16" for tensor in predictor.signature.inputs)
    body: dict[str, Any] = {"schema": _ref("InferRequest")}
    if inputs and has_json_form:
        body["example"] = {"inputs": inputs}
    return {
        "operationId": f"infer{suffix}",
        "summary": "Infer, Open Inference Protocol v2; with bytes after the JSON as Triton's extension has it",
        "requestBody": {"required": True, "content": {JSON: body, OCTETS: {"schema": _FILE}}},
        "responses": {
            "200": {
                "description": "The outputs",
                "content": {JSON: {"schema": _ref("InferResponse")}, OCTETS: {"schema": _FILE}},
            },
            **_problems(),
        },
    }


def _example(tensor: Tensor, instances: list[dict[str, Any]]) -> dict[str, Any]:
    """One input of a request, with the values that some instances have."""
    values = [instance[tensor.name] for instance in instances]
    rows = [[value] for value in values] if tensor.scalar and len(tensor.shape) == 2 else values
    return {"name": tensor.name, "datatype": DATATYPES[tensor.dtype], "shape": _sizes(rows), "data": rows}


def _sizes(value: Any) -> list[int]:
    return [len(value), *_sizes(value[0])] if isinstance(value, list) else []


def _get(operation: str, summary: str, schema: Schema) -> dict[str, Any]:
    answered = {"200": {"description": summary, "content": {JSON: {"schema": schema}}}}
    return {"operationId": operation, "summary": summary, "responses": {**answered, **_problems()}}


def _problems() -> dict[str, Any]:
    return {"default": {"description": "A problem", "content": {CONTENT_TYPE: {"schema": _ref("Problem")}}}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas(predictor: Predictor, fields: dict[str, Field], model: str, version: int) -> dict[str, Schema]:
    signature, exactly = predictor.signature, predictor.check_rows.exactly
    own_request = {"description": "What the model's own preprocess takes."}
    own_answer = {"description": "What the model's own postprocess gives."}
    instance = instance_schema(signature.inputs, fields, predictor.reader.nulls)
    prediction = own_answer if predictor.has_postprocess else prediction_schema(signature.outputs)
    inputs = [_tensor(described(tensor), "data") for tensor in signature.inputs]
    outputs = [_tensor(output) for output in described_outputs(signature)]
    expected = None if predictor.has_postprocess else Expected(signature.outputs)
    names = {"enum": [tensor.name for tensor in signature.outputs]}
    return {
        "Instance": own_request if predictor.has_preprocess else instance,
        "PredictRequest": _object(
            {
                "instances": {
                    "type": "array",
                    "items": _ref("Instance"),
                    "minItems": exactly or 1,
                    "maxItems": exactly or predictor.max_instances,
                }
            },
        ),
        "PredictResponse": _object(
            {
                "model": {"const": model},
                "version": {"type": "integer", "minimum": 1, "examples": [version]},
                "digest": _TEXT,
                "prediction_id": _TEXT,
                "predictions": {"type": "array", "items": prediction},
            },
            optional={"warnings": {"type": "array", "items": {"type": "object"}}},
        ),
        "Label": label_schema(expected),
        "FeedbackRequest": {
            "anyOf": [
                _object({"labels": {"type": "array", "items": _ref("Label"), "minItems": 1, "maxItems": MOST_LABELS}}),
                _ref("Label"),
            ]
        },
        "FeedbackResponse": _object(
            {"model": {"const": model}, "accepted": {"type": "integer", "minimum": 1}, "time": _TEXT},
            optional={"warnings": {"type": "array", "items": {"type": "object"}}},
        ),
        "InferRequest": _object(
            {"inputs": {"type": "array", "items": {"anyOf": inputs}, "minItems": len(inputs), "maxItems": len(inputs)}},
            optional={
                "id": _TEXT,
                "model_name": {},
                "model_version": {},
                "parameters": _PARAMETERS,
                "outputs": {
                    "type": "array",
                    "items": _object({"name": names}, optional={"parameters": _PARAMETERS}),
                    "maxItems": len(outputs),
                },
            },
        ),
        "InferResponse": _object(
            {
                "model_name": {"const": model},
                "model_version": _TEXT,
                "parameters": _PARAMETERS,
                "outputs": {"type": "array", "items": {"anyOf": outputs}},
            },
            optional={"id": _TEXT},
        ),
        "ModelMetadata": _object(
            {
                "name": {"const": model},
                "versions": {"type": "array", "items": _TEXT},
                "platform": _TEXT,
                "inputs": {"type": "array", "items": {"type": "object"}},
                "outputs": {"type": "array", "items": {"type": "object"}},
            }
        ),
        "Ready": _object({"name": {"const": model}, "version": _TEXT, "ready": {"type": "boolean"}}),
        "Problem": {
            "type": "object",
            "properties": {
                "type": _TEXT,
                "title": _TEXT,
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "code": _TEXT,
                "detail": _TEXT,
                "request_id": _TEXT,
                "field": _TEXT,
                "row": _COUNT,
                "next_step": _TEXT,
                "error": _TEXT,
            },
            "required": ["type", "title", "status", "code", "detail", "request_id"],
        },
    }


def _object(required: dict[str, Any], *, optional: dict[str, Any] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _tensor(metadata: dict[str, Any], *required: str) -> Schema:
    """A tensor of a request or an answer; what lies in its data is said by the dtype."""
    shape = metadata["shape"]
    sizes = [{"const": size} if size >= 0 else {"type": "integer", "minimum": 1} for size in shape]
    rank = len(sizes)
    fixed: Schema = {"type": "array", "prefixItems": sizes, "items": False, "minItems": rank, "maxItems": rank}
    if not sizes:  # a graph that does not say
        fixed = {"type": "array", "items": _COUNT}
    return _object(
        {
            "name": {"const": metadata["name"]},
            "datatype": {"const": metadata["datatype"]},
            "shape": fixed,
            **{name: {"type": "array"} for name in required},
        },
        optional={"parameters": _PARAMETERS, **({} if required else {"data": {"type": "array"}})},
    )
