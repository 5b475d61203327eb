"""One answer of a model: which form it has, what it says, and whether a caller could use it.

The rule: an answer is believed only in the form in which callers get it, the same as in the gate
(`modelyard.evaluation.rows`): a finite number; a label, alone or with probabilities from 0 to 1 that sum to 1; a list
of finite numbers. Anything else that JSON can hold is the answer of a model's own code: it is compared and not doubted.
Whether an answer has the champion's form is decided where that is known (`observations`).
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from modelyard.evaluation.rows import SUM
from modelyard.labels import class_name

Form = Literal["none", "number", "label", "classes", "vector", "other"]
FORMS: Final[tuple[Form, ...]] = ("none", "number", "label", "classes", "vector", "other")
Problem = Literal[
    "", "raises", "refuses_input", "not_loaded", "slow", "memory_leak", "wrong_shape", "not_finite", "wrong_type",
    "probabilities_invalid", "unknown_class", "class_missing",
]  # fmt: skip
PROBLEMS: Final[tuple[Problem, ...]] = (
    "", "raises", "refuses_input", "not_loaded", "slow", "memory_leak", "wrong_shape", "not_finite", "wrong_type",
    "probabilities_invalid", "unknown_class", "class_missing",
)  # fmt: skip
CODES: Final[dict[str, Problem]] = {
    "run_timeout": "slow", "time_budget": "slow", "memory_budget": "memory_leak",
    "not_loaded": "not_loaded", "no_room": "not_loaded", "not_loadable": "not_loaded",
    "unsupported_signature": "not_loaded",
    "not_finite": "not_finite", "wrong_output": "wrong_shape", "wrong_batch": "wrong_shape",
    "wrong_code": "wrong_shape",
    "wrong_type": "refuses_input", "wrong_shape": "refuses_input", "unknown_field": "refuses_input",
    "missing_field": "refuses_input", "out_of_range": "refuses_input", "duplicate_key": "refuses_input",
    "outside_range": "refuses_input", "unknown_category": "refuses_input", "null_not_allowed": "refuses_input",
    "wrong_signature": "refuses_input", "invalid_request": "refuses_input", "batch_too_large": "refuses_input",
}  # fmt: skip
"""What the endpoint says of a challenger that gave no answer: refused the input, gave what is none, took too long. Any
other code is that it raised."""
_NOT_FINITE: Final = frozenset({"nan", "inf", "infinity", "-inf", "-infinity", "+inf", "+infinity"})
_DEEPEST = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What a prediction says.

    Attributes:
        form: Which form it has.
        key: What has to be the same for two answers to be: the label; of other JSON all of it but fractional numbers.
        number: The number; of two classes the probability of the second by name, of more that of the answered one; of
            other JSON the only fractional number in it. NaN where there is none.
        problem: Why no caller could use it, "" where one could.
        kind: What else all answers of a model share: the type of the label and the classes; the length of a list and
            how it is nested.
        probabilities: Of every class.
        vector: The numbers of a list; of other JSON its fractional numbers.
    """

    form: Form
    key: str = ""
    number: float = math.nan
    problem: Problem = ""
    kind: Any = None
    probabilities: dict[str, float] | None = None
    vector: tuple[float, ...] | None = None


def read_answer(prediction: Any, *, of_classes: bool = False) -> Answer:
    """The answer that one prediction is; where the model is known to answer classes, a whole number is a label."""
    match prediction:
        case None:
            return Answer("number", problem="not_finite")  # a NaN becomes null on its way through JSON
        case bool():
            return Answer("label", key=class_name(prediction), kind="bool")
        case int() if of_classes:
            return Answer("label", key=class_name(prediction), kind="int")
        case int() | float():
            found = _float(prediction)
            return Answer("number", number=found, problem="" if math.isfinite(found) else "not_finite")
        case str() if prediction.strip().lower() in _NOT_FINITE:
            return Answer("number", problem="not_finite")
        case str():
            return Answer("label", key=prediction, kind="str")
        case {"label": bool() | int() | float() | str() as label, "probabilities": dict(probabilities)}:
            return _classes(label, probabilities)
        case list() if prediction and all(entry is None or _is_number(entry) for entry in prediction):
            return _vector(tuple(math.nan if entry is None else _float(entry) for entry in prediction), "")
    return _other(prediction)


def failed_answer(code: str | None) -> Answer:
    """What stands for a row that the challenger did not answer."""
    return Answer("none", problem=CODES.get(code or "", "raises"))


def _classes(label: Any, probabilities: dict[Any, Any]) -> Answer:
    name, kind = class_name(label), _kind(type(label).__name__, tuple(probabilities))
    given: dict[str, float] = {}
    for key, value in probabilities.items():
        if isinstance(value, float) and math.isfinite(value):
            given[key if isinstance(key, str) else class_name(key)] = value
        elif value is None or isinstance(value, float):
            return Answer("classes", name, problem="not_finite", kind=kind)
        elif _is_number(value):
            given[class_name(key)] = _float(value)
        else:
            return Answer("classes", name, problem="probabilities_invalid", kind=kind)
    if not given or not (
        abs(sum(given.values()) - 1) <= SUM and min(given.values()) >= -SUM and max(given.values()) <= 1 + SUM
    ):
        return Answer("classes", name, problem="probabilities_invalid", kind=kind, probabilities=given)
    told = given[max(given)] if len(given) == 2 else given.get(name, math.nan)
    problem: Problem = "" if name in given else "unknown_class"
    return Answer("classes", name, number=told, problem=problem, kind=kind, probabilities=given)


@lru_cache(maxsize=64)
def _kind(label: str, names: tuple[Any, ...]) -> tuple[str, frozenset[str]]:
    return label, frozenset(map(class_name, names))


def _vector(values: tuple[float, ...], key: str) -> Answer:
    problem: Problem = "" if all(map(math.isfinite, values)) else "not_finite"
    return Answer("vector", key, problem=problem, kind=(key, len(values)), vector=values)


def _other(value: Any) -> Answer:
    fractions: list[float] = []
    kept = [0]

    def blank(entry: Any, depth: int) -> Any:
        match entry:
            case bool() | str() | int():
                kept[0] += 1
                return entry
            case float():
                fractions.append(entry)
                return None
            case list() if depth < _DEEPEST:
                return [blank(one, depth + 1) for one in entry]
            case dict() if depth < _DEEPEST:
                return {str(name): blank(one, depth + 1) for name, one in entry.items()}
        return None

    rest = blank(value, 0)
    try:
        key = msgspec.json.encode(rest, order="sorted").decode()
    except (TypeError, ValueError, OverflowError):
        key = "a value that JSON cannot hold"
    if not kept[0] and fractions:
        return _vector(tuple(fractions), key)
    problem: Problem = "" if all(map(math.isfinite, fractions)) else "not_finite"
    told = fractions[0] if len(fractions) == 1 else math.nan
    return Answer("other", key, number=told, problem=problem, vector=tuple(fractions) or None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return math.inf
