"""The JSON form of a contract: what is read, and what is refused with its place."""

import subprocess
import sys
from typing import Any

import pytest

from modelyard.contract.document import Contract, Field, pairs, parse, to_json
from modelyard.errors import UsageError

TEMPERATURE: dict[str, Any] = {
    "dtype": "float32", "shape": [None, 1], "mode": "reject", "minimum": -28.45, "maximum": 56.95,
    "seen": [-7.1, 35.6], "nulls": True, "null_rate": 0.01,
}  # fmt: skip
KIND: dict[str, Any] = {
    "dtype": "string", "shape": [None, 1], "mode": "warn", "categories": {"rain": 0.6, "sun": 0.4}, "nulls": False,
    "null_rate": 0.0,
}  # fmt: skip
ROW: dict[str, Any] = {
    "dtype": "int64", "shape": [None, 3], "mode": "clip", "minimum": [0, 1, 2], "maximum": 9, "nulls": False,
}  # fmt: skip


def document(**fields: Any) -> dict[str, Any]:
    return {"format": 1, "rows": 1461, "fields": fields}


def test_a_contract_comes_back_as_it_went_in() -> None:
    whole = document(temp_max=TEMPERATURE, kind=KIND, row=ROW)
    contract = parse(whole)
    assert to_json(contract) == whole
    assert contract.fields["temp_max"].seen == (-7.1, 35.6)
    assert contract.fields["row"].minimum == (0, 1, 2)
    assert [field.elements for field in contract.fields.values()] == [None, None, 3]


def test_what_is_not_known_is_not_written() -> None:
    field = Field(dtype="bool", shape=(None,), mode="reject", nulls=False)
    assert to_json(Contract(rows=0, fields={"x": field})) == document(
        x={"dtype": "bool", "shape": [None], "mode": "reject", "nulls": False}
    ) | {"rows": 0}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (None, "contract.format is None; this release reads 1"),
        ([], "contract.format is None"),
        ({"format": 2}, "contract.format is 2; this release reads 1"),
        ({"format": 1, "rows": 3}, "contract is not valid: Object missing required field `fields`"),
        (document() | {"rows": -1}, "contract.rows is -1"),
        (document(x=TEMPERATURE | {"mode": "ignore"}), r"Invalid enum value 'ignore' - at `\$.fields"),
        (document(x=TEMPERATURE | {"dtype": "float8"}), "contract.fields.x has dtype 'float8'"),
        (document(x=TEMPERATURE | {"shape": []}), r"contract.fields.x has shape \[\]"),
        (document(x=TEMPERATURE | {"shape": [-1]}), "sizes from 0 on"),
        (document(x=TEMPERATURE | {"minimum": float("nan")}), "has minimum that is not a finite number"),
        (document(x=TEMPERATURE | {"maximum": [1, float("inf")]}), "has maximum with 2 values; it must be one number"),
        (document(x=TEMPERATURE | {"minimum": 60}), "has a minimum of 60 above its maximum"),
        (document(x=TEMPERATURE | {"maximum": 1e300}), "has maximum of 1e[+]300, which float32 cannot hold"),
        (document(x=TEMPERATURE | {"maximum": 10**400}), "has maximum of 1000000000.*, which float32 cannot hold"),
        (document(x=TEMPERATURE | {"dtype": "int8", "minimum": 0, "maximum": 12.5}), "of 12.5, which int8 cannot hold"),
        (
            document(x=TEMPERATURE | {"dtype": "int8", "minimum": 0, "maximum": 128}),
            "has maximum of 128, which int8 cannot hold",
        ),
        (document(x=TEMPERATURE | {"minimum": True}), "Expected `int | float | array | null`, got `bool`"),
        (document(x=TEMPERATURE | {"null_rate": 1.5}), "has the share 1.5 for 'null_rate'"),
        (document(x=TEMPERATURE | {"categories": {"a": 1}}), "only text has them"),
        (document(x=KIND | {"categories": {}}), "and at least one"),
        (document(x=KIND | {"categories": {"a": -1}}), "has the share -1.0 for 'a'"),
        (document(x=KIND | {"mode": "clip"}), "only numbers can be clipped"),
        (document(x=KIND | {"maximum": 1}), "has maximum and dtype string; only numbers have limits"),
        (document(x=ROW | {"minimum": [0, 1]}), "has minimum with 2 values; it must be one number or a list of 3"),
        (document(x=ROW | {"minimum": [0, 10, 0]}), "has a minimum of 10 above its maximum"),
        (document(x=ROW | {"seen": [[0, 0, 0], [1]]}), r"has seen\[1\] with 1 values"),
    ],
)
def test_what_is_no_contract_is_refused_with_its_place(wrong: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        parse(wrong)
    assert refused.value.code == "invalid_contract"
    assert str(refused.value.field).startswith("contract")


def test_limits_are_paired_element_by_element() -> None:
    assert pairs((1, 2), (3, 4)) == [(1, 3), (2, 4)]
    assert pairs((1, 2), 5) == [(1, 5), (2, 5)]
    assert pairs(1, None) == []


def test_the_endpoint_reads_it_without_numpy() -> None:
    """It is on the hot path: what it imports is paid for at every cold start."""
    code = (
        "import sys\n"
        "for name in ('numpy', 'pydantic', 'dataclasses', 'json', 'hashlib', 'inspect'): sys.modules[name] = None\n"
        "import modelyard.contract.document"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
