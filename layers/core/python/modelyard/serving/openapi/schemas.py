"""JSON Schema of a model's inputs and outputs. Pure.

The rule: what the schema allows, the endpoint answers, and what it forbids is refused; but for a list of one value
where one is asked for, which is taken too and is nothing to recommend. So a limit stands in it only where the contract
refuses what lies outside; a limit that clips or warns is said in words.
"""

from typing import Any

from modelyard.contract.document import Field, Limit
from modelyard.labels import LONGEST_LABEL, MOST_ROWS, PREDICTION_ID, Expected
from modelyard.predictor.encode import limits, listed
from modelyard.predictor.signature import FLOATS, INTEGERS, Tensor

Schema = dict[str, Any]


def instance_schema(tensors: tuple[Tensor, ...], fields: dict[str, Field], nulls: frozenset[str]) -> Schema:
    """One instance; with a single input also the bare value."""
    properties = {tensor.name: input_schema(tensor, fields.get(tensor.name), nulls) for tensor in tensors}
    instance: Schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return instance if len(tensors) > 1 else {"anyOf": [instance, *properties.values()]}


def input_schema(tensor: Tensor, field: Field | None, nulls: frozenset[str]) -> Schema:
    """The value of one input in one instance."""
    allowed = _nullable(tensor, field, nulls)
    least, most = (None, None) if field is None else (field.minimum, field.maximum)
    sizes = () if tensor.scalar else tensor.shape[1:]
    if isinstance(least, tuple) or isinstance(most, tuple):
        count = len(least) if isinstance(least, tuple) else len(most)  # type: ignore[arg-type]  # one of them is one
        pairs = zip(_each(least, count), _each(most, count), strict=True)
        items = [_element(tensor, field, low, high, allowed) for low, high in pairs]
        schema: Schema = {"type": "array", "prefixItems": items, "items": False, "minItems": count, "maxItems": count}
    else:
        schema = _element(tensor, field, least, most, allowed)
        for size in reversed(sizes):
            schema = {"type": "array", "items": schema, "minItems": size or 1}
            if size is not None:
                schema["maxItems"] = size
    said = _description(tensor, field)
    return schema if said is None else {**schema, "description": said}


def prediction_schema(tensors: tuple[Tensor, ...]) -> Schema:
    """What one instance is answered with."""
    if len(tensors) == 1:
        return output_schema(tensors[0])
    properties = {tensor.name: output_schema(tensor) for tensor in tensors}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def output_schema(tensor: Tensor) -> Schema:
    """The value of one output for one instance."""
    element = {"type": _json_type(tensor.dtype)}
    if tensor.classes is not None:
        probabilities = dict.fromkeys(tensor.classes, element)
        return {
            "type": "object",
            "properties": probabilities,
            "required": list(probabilities),
            "additionalProperties": False,
        }
    schema: Schema = element
    for size in reversed(() if tensor.scalar else tensor.shape[1:]):
        schema = {"type": "array", "items": schema}
        if size is not None:
            schema |= {"minItems": size, "maxItems": size}
    if tensor.dtype == "float32" and tensor.shape == (None, None):  # perhaps a ZipMap's, of classes that nobody knows
        return {"anyOf": [schema, {"type": "object", "additionalProperties": element}]}
    return schema


def label_schema(expected: Expected | None) -> Schema:
    """A true label of an earlier prediction. Other classes than the model's are taken too: they may be right."""
    label: Schema = {"type": ["string", "number", "boolean"], "maxLength": LONGEST_LABEL, "minLength": 1}
    if expected is not None and expected.is_number:
        label = {"type": "number"}
    elif expected is not None and expected.classes:
        label["description"] = f"known are {listed(expected.classes)}"
    return {
        "type": "object",
        "properties": {
            "prediction_id": {"type": "string", "pattern": f"^{PREDICTION_ID}$"},
            "label": label,
            "row": {"type": "integer", "minimum": 0, "maximum": MOST_ROWS - 1, "default": 0},
        },
        "required": ["prediction_id", "label"],
        "additionalProperties": False,
    }


def _element(tensor: Tensor, field: Field | None, least: Any, most: Any, nullable: bool) -> Schema:
    dtype = tensor.dtype
    schema: Schema = {"type": _json_type(dtype)}
    if dtype in INTEGERS | FLOATS:
        low, high = map(float if dtype in FLOATS else int, limits(dtype))
        enforced = field is not None and field.mode == "reject"
        schema["minimum"] = low if least is None or not enforced else least
        schema["maximum"] = high if most is None or not enforced else most
    if field is not None and field.categories is not None and field.mode == "reject":
        schema["enum"] = [*field.categories, *([""] if nullable and "" not in field.categories else [])]
    if nullable:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"].append(None)
    return schema


def _nullable(tensor: Tensor, field: Field | None, nulls: frozenset[str]) -> bool:
    return tensor.name in nulls if field is None else field.nulls


def _description(tensor: Tensor, field: Field | None) -> str | None:
    said = [f"{tensor.dtype}"]
    if field is not None:
        if field.nulls:
            said.append("null where it is missing")
        limited = field.minimum is not None or field.maximum is not None or field.categories is not None
        if limited and field.mode != "reject":
            happens = "moved to the nearest limit" if field.mode == "clip" else "answered with a warning"
            said.append(f"what lies outside the contract is {happens}")
        if field.mode == "warn" and field.categories is not None:
            said.append(f"known are {', '.join(map(repr, list(field.categories)[:12]))}")
    return "; ".join(said)


def _json_type(dtype: str) -> str:
    if dtype in FLOATS:
        return "number"
    return "integer" if dtype in INTEGERS else {"bool": "boolean"}.get(dtype, "string")


def _each(limit: Limit | None, count: int) -> tuple[Any, ...]:
    return limit if isinstance(limit, tuple) else (limit,) * count
