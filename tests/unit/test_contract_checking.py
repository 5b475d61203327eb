"""Columns against a contract: which values are outside, and that it says what the endpoint says."""

import math
from typing import Any

import numpy as np
import pytest

from modelyard.contract.checking import check
from modelyard.contract.document import Contract, Field
from modelyard.contract.inference import infer
from modelyard.contract.rules import Rules
from modelyard.errors import RequestError
from modelyard.predictor.arrays import from_numpy
from modelyard.predictor.enforcement import checks_of
from modelyard.predictor.signature import Tensor
from modelyard.version import TensorSpec

NUMBER = Field(dtype="float32", shape=(None, 1), mode="reject", minimum=-1.5, maximum=35.6, nulls=False)
TEXT = Field(dtype="string", shape=(None, 1), mode="warn", categories={"sun": 0.4, "rain": 0.6}, nulls=True)
ROW = Field(dtype="int64", shape=(None, 3), mode="clip", minimum=(0, 1, 2), maximum=9, nulls=False)


def contract(**fields: Field) -> Contract:
    return Contract(rows=10, fields=fields)


def sentences(found: Contract, **arrays: Any) -> list[str]:
    return [finding.sentence for finding in check(found, arrays)]


def test_what_a_contract_was_inferred_from_keeps_it() -> None:
    rng = np.random.default_rng(4)
    arrays: dict[str, Any] = {
        "a": rng.normal(size=50).astype("f4"),
        "b": rng.normal(size=(50, 4)).astype("f2"),
        "c": np.array(["x", "y", "", None, "z"] * 10, dtype=object),
        "d": np.array([math.nan, 0.1] * 25, dtype="f4"),
        "e": rng.integers(0, 255, size=(50, 2, 2)).astype("u1"),
    }
    tensors = (
        TensorSpec("a", "float32", (None, 1)), TensorSpec("b", "float16", (None, 4)),
        TensorSpec("c", "string", (None, 1)), TensorSpec("d", "float32", (None, 1)),
        TensorSpec("e", "uint8", (None, 2, 2)),
    )  # fmt: skip
    assert check(infer(arrays, tensors, Rules(tolerance=0)), arrays) == ()


def test_a_value_outside_is_named_with_its_row_and_what_is_allowed() -> None:
    found = check(contract(x=NUMBER), {"x": np.array([[0], [99.5], [3], [-2]], dtype="f4")})
    (one,) = found
    assert (one.field, one.problem, one.mode, one.row, one.element, one.value, one.rows) == (
        "x", "outside_range", "reject", 1, None, 99.5, 2,
    )  # fmt: skip
    assert one.sentence == "'x' of row 1 is 99.5 (and 1 more); allowed is -1.5 to 35.6"


def test_a_limit_is_compared_in_the_precision_of_the_column() -> None:
    assert float(np.float32(35.6)) != 35.6
    assert check(contract(x=NUMBER), {"x": np.array([35.6, -1.5], dtype="f4")}) == ()
    low = Field(dtype="float32", shape=(None, 1), mode="reject", minimum=35.6, nulls=False)
    assert check(contract(x=low), {"x": np.array([35.6], dtype="f4")}) == ()


def test_text_missing_values_and_elements() -> None:
    found = contract(kind=TEXT, row=ROW, x=NUMBER)
    kinds = np.array([["sun"], [""], [None], ["snow"]], dtype=object)
    rows = np.array([[0, 1, 2], [9, 9, 9], [0, 0, 2], [0, 1, 10]])
    assert sentences(found, kind=kinds, row=rows, x=np.array([0, math.nan, 1, 2], dtype="f4")) == [
        "'kind' of row 3 is 'snow'; allowed are 'rain', 'sun'",
        "'row'[1] of row 2 is 0 (and 1 more); allowed is 1 to 9",
        "'x' of row 1 is missing; it may not be missing",
    ]
    strict = Field(dtype="string", shape=(None, 1), mode="warn", categories={"sun": 1}, nulls=False)
    (one,) = check(contract(kind=strict), {"kind": np.array(["sun", ""])})
    assert (one.problem, one.mode, one.value) == ("null_not_allowed", "reject", None)


def test_a_field_that_is_missing_is_a_finding_and_one_that_is_not_promised_is_none() -> None:
    assert sentences(contract(x=NUMBER), y=np.zeros(3)) == ["'x' is missing; every row needs one"]
    assert check(contract(), {"y": np.zeros(3)}) == ()


CASES: dict[str, tuple[Field, list[Any]]] = {
    "inside": (NUMBER, [0, 35.6, -1.5]),
    "above": (NUMBER, [0, 35.7]),
    "below": (NUMBER, [-1.6]),
    "missing": (NUMBER, [0, math.nan]),
    "elements": (ROW, [[0, 1, 2], [0, 1, 1]]),
    "text": (TEXT, ["sun", "", "snow"]),
    "known text": (TEXT, ["sun", "rain", ""]),
}


@pytest.mark.parametrize("case", CASES)
def test_it_finds_what_the_endpoint_refuses(case: str) -> None:
    field, values = CASES[case]
    field = Field(**{name: getattr(field, name) for name in field.__struct_fields__} | {"mode": "reject"})
    array = np.array(values, dtype=object if field.dtype == "string" else field.dtype)
    array = array.reshape(len(values), *[size for size in field.shape[1:] if size])
    (check_one,) = checks_of((Tensor("x", field.dtype, field.shape),), contract(x=field))
    assert check_one is not None
    refused: RequestError | None = None
    try:
        check_one.apply(from_numpy(array), [])
    except RequestError as problem:
        refused = problem
    found = check(contract(x=field), {"x": array})
    assert [(one.problem, one.row) for one in found] == ([] if refused is None else [(refused.code, refused.row)])
