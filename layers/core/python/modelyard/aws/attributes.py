"""JSON values as DynamoDB attribute values, and back, without losing a bit of a number.

DynamoDB's number has 38 digits and no NaN, keeps no difference between ``1`` and ``1.0``, and ends near 10^±126. The
rules: a whole float is written with all its digits, any other in its shortest form that reads back as the same float; a
float that DynamoDB's number cannot hold is written as binary, a type that JSON never needs. What has no exact
form (NaN, infinities, integers beyond 64 bits) is refused here too, though callers check earlier
(``modelyard.canonical``).
"""

import math
from typing import Any

from modelyard.canonical import INTEGERS

SMALLEST, LARGEST = 1e-129, 1e125


def to_attribute(value: Any) -> dict[str, Any]:
    """One JSON value as an attribute value."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() if value in INTEGERS:
            return {"N": str(value)}
        case float() if math.isfinite(value):
            return _float_attribute(value)
        case list() | tuple():
            return {"L": [to_attribute(entry) for entry in value]}
        case dict():
            return {"M": to_attributes(value)}
    raise ValueError(f"{value!r} ({type(value).__name__}) cannot be stored exactly")


def to_attributes(item: dict[Any, Any]) -> dict[str, Any]:
    """A record as DynamoDB takes it."""
    if not all(isinstance(key, str) and key for key in item):
        raise ValueError(f"keys {[*item]!r} cannot be stored: a key is non-empty text")
    return {key: to_attribute(value) for key, value in item.items()}


def from_attribute(attribute: dict[str, Any]) -> Any:
    """The JSON value of an attribute value that ``to_attribute`` made."""
    ((kind, value),) = attribute.items()
    match kind:
        case "NULL":
            return None
        case "BOOL" | "S":
            return value
        case "N":
            return _number(value)
        case "B":
            return float(bytes(value))
        case "L":
            return [from_attribute(entry) for entry in value]
        case "M":
            return from_attributes(value)
    raise ValueError(f"attribute type {kind} is not one that this registry writes")


def from_attributes(item: dict[str, Any]) -> dict[str, Any]:
    """A record as DynamoDB gives it."""
    return {key: from_attribute(value) for key, value in item.items()}


def _float_attribute(value: float) -> dict[str, Any]:
    if value.is_integer() and int(value) in INTEGERS:
        return {"N": str(int(value))}
    if SMALLEST < abs(value) < LARGEST:
        return {"N": repr(value)}
    return {"B": repr(value).encode()}


def _number(text: str) -> int | float:
    """A whole number within 64 bits is an int; DynamoDB may answer 1E+23 in digits, which is the float it was."""
    if text.lstrip("-").isdigit():
        whole = int(text)
        return whole if whole in INTEGERS else float(text)
    return float(text)
