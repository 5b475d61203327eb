"""The Amazon States Language as far as our workflow uses it, without executions: paths, templates, choices, errors.

JSONPath, and of the intrinsic functions ``States.Format`` with one argument. What this does not know it refuses.
Nothing here changes the data that it gets: what is the same before and after a state is shared.
https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

UNCATCHABLE = frozenset({"States.Runtime", "States.DataLimitExceeded"})
"""Errors that ``States.ALL`` does not catch."""

_FORMAT = re.compile(r"States\.Format\('([^'\\\\]*)', (\$[^ ,)]+)\)")
_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\[(\d+)\]")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "IsNull": lambda found, expected: (found is None) is expected,
    "BooleanEquals": lambda found, expected: isinstance(found, bool) and found is expected,
    "StringEquals": lambda found, expected: isinstance(found, str) and found == expected,
    "NumericEquals": lambda found, expected: found == expected,
    "NumericGreaterThan": lambda found, expected: found > expected,
    "NumericGreaterThanEquals": lambda found, expected: found >= expected,
    "NumericLessThan": lambda found, expected: found < expected,
    "NumericLessThanEquals": lambda found, expected: found <= expected,
}


class StateError(Exception):
    """An error with the name that Retry and Catch look for."""

    def __init__(self, name: str, cause: str = "") -> None:
        super().__init__(f"{name}: {cause}")
        self.name, self.cause = name, cause


def sent(document: Any) -> Any:
    """What arrives of a document that travels as JSON, which has no NaN."""
    return json.loads(json.dumps(document, allow_nan=False))


def found(path: str | None, data: Any, context: Mapping[str, Any]) -> Any:
    """What a path points at, in the data or (``$$``) in the context; nothing at all for no path."""
    if path is None:
        return {}
    formatted = _FORMAT.fullmatch(path)
    if formatted:
        return formatted[1].replace("{}", str(found(formatted[2], data, context)))
    if not path.startswith("$"):
        raise NotImplementedError(f"{path} is no plain path")
    place = context if path.startswith("$$") else data
    rest = path.lstrip("$")
    if _STEP.sub("", rest):
        raise NotImplementedError(f"{path} is no plain path")
    try:
        for name, number in _STEP.findall(rest):
            place = place[int(number)] if number else place[name]
    except (KeyError, IndexError, TypeError):
        raise StateError("States.Runtime", f"{path} is not in the state") from None
    return place


def filled(template: Any, data: Any, context: Mapping[str, Any]) -> Any:
    """A template with its ``.$`` fields looked up."""
    if isinstance(template, list):
        return [filled(one, data, context) for one in template]
    if not isinstance(template, dict):
        return template
    return dict(
        (key.removesuffix(".$"), found(value, data, context))
        if key.endswith(".$")
        else (key, filled(value, data, context))
        for key, value in template.items()
    )


def placed(data: Any, path: str | None, result: Any) -> Any:
    """The data with a result where ResultPath says; None discards it."""
    if path is None:
        return data
    if path == "$":
        return result
    name, _, rest = path.removeprefix("$.").partition(".")
    inner = result if not rest else placed(data.get(name, {}), f"$.{rest}", result)
    return {**data, name: inner}


def holds(rule: Mapping[str, Any], data: Any, context: Mapping[str, Any]) -> bool:
    """Whether a rule of a Choice is true."""
    if "And" in rule:
        return all(holds(one, data, context) for one in rule["And"])
    if "Or" in rule:
        return any(holds(one, data, context) for one in rule["Or"])
    if "Not" in rule:
        return not holds(rule["Not"], data, context)
    ((comparison, expected),) = ((key, rule[key]) for key in rule if key not in {"Variable", "Next", "Comment"})
    if comparison == "IsPresent":
        try:
            found(rule["Variable"], data, context)
        except StateError:
            return not expected
        return bool(expected)
    value = found(rule["Variable"], data, context)
    if comparison.endswith("Path"):
        comparison, expected = comparison.removesuffix("Path"), found(expected, data, context)
    return _COMPARISONS[comparison](value, expected)


def matches(names: list[str], error: str) -> bool:
    """Whether a Retry or a Catch for these names is for this error."""
    if error in names:
        return True
    if error in UNCATCHABLE:
        return False
    return "States.ALL" in names or ("States.TaskFailed" in names and error != "States.Timeout")


def definition_of(template: Mapping[str, Any]) -> dict[str, Any]:
    """The definition in a synthesized stack; a function's ARN becomes its logical id."""
    machines = [
        found for found in template["Resources"].values() if found["Type"] == "AWS::StepFunctions::StateMachine"
    ]
    text = machines[0]["Properties"]["DefinitionString"]
    if isinstance(text, dict):
        text = "".join(part if isinstance(part, str) else _named(part) for part in text["Fn::Join"][1])
    definition: dict[str, Any] = json.loads(text)
    return definition


def _named(token: Mapping[str, Any]) -> str:
    named = token.get("Ref") or next(iter(token.values()))
    return "aws" if named == "AWS::Partition" else str(named if isinstance(named, str) else named[0])
