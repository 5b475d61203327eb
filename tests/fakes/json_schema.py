"""As much of JSON Schema 2020-12 as our documents use; a keyword that it does not know fails the test."""

import re
from typing import Any

TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "number": (int, float),
    "integer": int,
}  # fmt: skip
NOTES = {"default", "description", "examples", "format"}


def problems(schema: dict[str, Any], value: Any, document: dict[str, Any], at: str = "$") -> list[str]:
    """What is wrong with a value; empty where it is valid.

    Args:
        schema: The schema.
        value: The value.
        document: What ``$ref`` refers to.
        at: Where the value is.
    """
    found: list[str] = []
    for keyword, rule in schema.items():
        if keyword in NOTES:
            continue
        if keyword not in KEYWORDS:
            raise AssertionError(f"unknown keyword {keyword!r}")
        found += KEYWORDS[keyword](schema, rule, value, document, at)
    return found


def _ref(_: Any, rule: str, value: Any, document: Any, at: str) -> list[str]:
    target = document
    for part in rule.removeprefix("#/").split("/"):
        target = target[part]
    return problems(target, value, document, at)


def _type(_: Any, rule: Any, value: Any, __: Any, at: str) -> list[str]:
    names = rule if isinstance(rule, list) else [rule]
    fits = any(isinstance(value, TYPES[name]) and (name == "boolean" or type(value) is not bool) for name in names)
    whole = "integer" in names and isinstance(value, float) and value.is_integer()
    return [] if fits or whole else [f"{at} is no {rule}"]


def _any_of(_: Any, rule: list[Any], value: Any, document: Any, at: str) -> list[str]:
    return [] if any(not problems(one, value, document, at) for one in rule) else [f"{at} is none of several"]


def _required(_: Any, rule: list[str], value: Any, __: Any, at: str) -> list[str]:
    return [f"{at} lacks {name}" for name in rule if isinstance(value, dict) and name not in value]


def _properties(_: Any, rule: dict[str, Any], value: Any, document: Any, at: str) -> list[str]:
    known = [name for name in rule if isinstance(value, dict) and name in value]
    return [problem for name in known for problem in problems(rule[name], value[name], document, f"{at}.{name}")]


def _additional(schema: Any, rule: Any, value: Any, document: Any, at: str) -> list[str]:
    extra = [name for name in value if name not in schema.get("properties", {})] if isinstance(value, dict) else []
    if rule is False:
        return [f"{at} has {name}" for name in extra]
    return [problem for name in extra if rule is not True for problem in problems(rule, value[name], document, at)]


def _items(schema: Any, rule: Any, value: Any, document: Any, at: str) -> list[str]:
    rest = value[len(schema.get("prefixItems", [])) :] if isinstance(value, list) else []
    if rule is False:
        return [f"{at} has more items"] if rest else []
    return [problem for item in rest for problem in problems(rule, item, document, f"{at}[]")]


def _prefix(_: Any, rule: list[Any], value: Any, document: Any, at: str) -> list[str]:
    pairs = zip(rule, value, strict=False) if isinstance(value, list) else ()
    return [problem for one, item in pairs for problem in problems(one, item, document, f"{at}[]")]


def _limit(broken: Any, measure: Any = None) -> Any:
    def check(_: Any, rule: Any, value: Any, __: Any, at: str) -> list[str]:
        if measure is None:
            applies = isinstance(value, int | float) and type(value) is not bool
            return [f"{at} is {value}, limit {rule}"] if applies and broken(value, rule) else []
        return (
            [f"{at} has {len(value)}, limit {rule}"] if isinstance(value, measure) and broken(len(value), rule) else []
        )

    return check


def _among(_: Any, rule: list[Any], value: Any, __: Any, at: str) -> list[str]:
    return [] if any(value == one and type(value) is type(one) for one in rule) else [f"{at} is none of {rule}"]


def _pattern(_: Any, rule: str, value: Any, __: Any, at: str) -> list[str]:
    return [f"{at} is not {rule}"] if isinstance(value, str) and not re.search(rule, value) else []


KEYWORDS: dict[str, Any] = {
    "$ref": _ref,
    "type": _type,
    "anyOf": _any_of,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "prefixItems": _prefix,
    "minimum": _limit(lambda value, limit: value < limit),
    "maximum": _limit(lambda value, limit: value > limit),
    "minItems": _limit(lambda length, limit: length < limit, list),
    "maxItems": _limit(lambda length, limit: length > limit, list),
    "minLength": _limit(lambda length, limit: length < limit, str),
    "maxLength": _limit(lambda length, limit: length > limit, str),
    "pattern": _pattern,
    "enum": _among,
    "const": lambda schema, rule, value, document, at: _among(schema, [rule], value, document, at),
}
