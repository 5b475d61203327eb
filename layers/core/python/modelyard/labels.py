"""Labels: what turned out to be true of rows that were predicted, as callers send it later. Pure.

The rule: what is taken counts. So a label that could belong to no prediction, or could never be compared with an
answer, is refused with its place; one that may be right although no version expects it, a class that none of them
knows, is taken, and told.

Both ends read by it: the endpoint (`modelyard.serving.feedback`), and the command ``feedback``, which reads its whole
file before the first call.
"""

import re
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

import msgspec

from modelyard.errors import RequestError
from modelyard.names import check_unicode
from modelyard.predictor.encode import listed, said, shown
from modelyard.predictor.signature import FLOATS, INTEGERS, Tensor

Value = bool | int | float | str

MOST_LABELS = 10_000
"""In one call."""
MOST_ROWS = 100_000
"""Of one request; of a larger one the verdict reads nothing."""
LONGEST_LABEL = 256
"""Characters."""
PREDICTION_ID = "[0-9a-f]{32}"
"""As endpoints make them."""
INTEGER_RANGE = range(-(2**63), 2**63)
"""What every reader of JSON keeps exactly."""

_PARTS = ("prediction_id", "label", "row")


class Label(msgspec.Struct, frozen=True):
    """What was true of one row.

    Attributes:
        prediction_id: Of the answer, as the caller got it.
        label: What the answer should have been: a class, or a number.
        row: Of the request, from 0.
    """

    prediction_id: str
    label: Value
    row: int = 0


def read_label(entry: Any) -> Label:
    """A label of its JSON form.

    Raises:
        UsageError: What is wrong with it; ``field`` is the part at fault.
    """
    if type(entry) is not dict:
        raise RequestError(
            f"a label is an object with 'prediction_id' and 'label', not {said(entry)}", code="wrong_type"
        )
    for part in _PARTS[:2]:
        if part not in entry:
            raise RequestError(f"{part!r} is missing", code="missing_field", field=part)
    if not entry.keys() <= set(_PARTS):
        unknown = next(key for key in entry if key not in _PARTS)[:80]
        raise RequestError(
            f"{unknown!r} is no part of a label; {listed(list(_PARTS))} are", code="unknown_field", field=unknown
        )
    return Label(_prediction_id(entry["prediction_id"]), _value(entry["label"]), _row(entry.get("row", 0)))


def repeated(labels: Sequence[Label]) -> tuple[int, int] | None:
    """The first two places that are about the same row: which of them is true is not for us to choose."""
    seen: dict[tuple[str, int], int] = {}
    for place, label in enumerate(labels):
        first = seen.setdefault((label.prediction_id, label.row), place)
        if first != place:
            return first, place
    return None


class Expected:
    """What labels of a model must be to be compared with its answers.

    Args:
        outputs: Of the version that is live.
        others: Outputs of the versions on trial, which may know other classes.
    """

    __slots__ = ("_numbers", "_texts", "classes", "is_number")

    def __init__(self, outputs: Sequence[Tensor], others: Iterable[Sequence[Tensor]] = ()) -> None:
        own = _classes_in(outputs)
        self.classes = own and list(dict.fromkeys([*own, *(name for other in others for name in _classes_in(other))]))
        self.is_number = not own and len(outputs) == 1 and outputs[0].scalar and outputs[0].dtype in FLOATS | INTEGERS
        numbers = set(filter(_is_number, self.classes))
        self._numbers, self._texts = bool(numbers), len(numbers) < len(self.classes)

    def problem(self, value: Value) -> str | None:
        """Why no answer could be compared with this label; None where one could."""
        if self.is_number and (isinstance(value, bool | str)):
            return f"is {said(value)}; this model answers a number"
        if not self.classes or self.knows(value):
            return None
        if isinstance(value, str):
            fits = self._texts or _is_number(value)
        else:
            fits = self._numbers and not isinstance(value, bool)
        return None if fits else f"is {shown(value)}, {said(value)}; {self._listed()}"

    def knows(self, value: Value) -> bool:
        """Whether it is a class of the model, or the model has none."""
        return not self.classes or class_name(value) in self.classes

    def surprise(self, value: Value) -> str:
        """That no version has answered this, and none ever will."""
        return f"is {shown(value)}; {self._listed()}"

    def _listed(self) -> str:
        return f"the classes of this model are {listed(self.classes)}"


def class_name(value: Any) -> str:
    """A class as it is compared, whatever type names it: 1, 1.0 and "1" are one class."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    try:
        return str(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of thousands of digits"


def _prediction_id(value: Any) -> str:
    if type(value) is not str:
        raise RequestError(
            f"'prediction_id' is {said(value)}; it must be a string", code="wrong_type", field="prediction_id"
        )
    if not re.fullmatch(PREDICTION_ID, value):
        raise RequestError(
            f"'prediction_id' is {shown(value)}; endpoints make ids of 32 characters of 0-9 and a-f",
            code="invalid_prediction_id",
            field="prediction_id",
            next_step="Send the prediction_id of the answer that the label is about.",
        )
    return value


def _value(value: Any) -> Value:
    match value:
        case bool():
            return value
        case int() if value in INTEGER_RANGE:
            return value
        case float() if isfinite(value):
            return value
        case int() | float():
            raise RequestError(
                f"'label' is {shown(value)}; it must be finite, and an integer must fit into 64 bits",
                code="out_of_range",
                field="label",
            )
        case "":
            raise RequestError("'label' is empty; leave out rows without a label", code="invalid_text", field="label")
        case str():
            return check_unicode(value, field="label", limit=LONGEST_LABEL)
    raise RequestError(
        f"'label' is {said(value)}; it must be a string, a number or a boolean", code="wrong_type", field="label"
    )


def _row(value: Any) -> int:
    if type(value) is not int:
        raise RequestError(f"'row' is {said(value)}; it must be an integer", code="wrong_type", field="row")
    if not 0 <= value < MOST_ROWS:
        raise RequestError(
            f"'row' is {shown(value)}; rows of a request are counted from 0, and it has at most {MOST_ROWS:,}",
            code="out_of_range",
            field="row",
        )
    return value


def _classes_in(outputs: Sequence[Tensor]) -> list[str]:
    return next((list(tensor.classes) for tensor in outputs if tensor.classes), [])


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False
