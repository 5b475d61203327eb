"""What breaks a caller of the live version, and what does not. Signatures: see test_comparison."""

from typing import Any

import msgspec
import pytest

from modelyard.contract.breaking import breaking, breaks
from modelyard.contract.document import Contract, Field, to_json
from modelyard.contract.signatures import Break
from modelyard.version import Manifest, OutputSpec, Signature, TensorSpec

NUMBER = Field(
    dtype="float32", shape=(None, 1), mode="reject", minimum=0, maximum=10, seen=(2, 8), nulls=True, null_rate=0.1
)
TEXT = Field(dtype="string", shape=(None, 1), mode="reject", categories={"a": 0.7, "b": 0.3}, nulls=True, null_rate=0.1)
MATRIX = Field(
    dtype="float32", shape=(None, 3), mode="reject", minimum=(0, 0, 0), maximum=(1, 2, 3),
    seen=((0, 0, 0), (1, 2, 3)), nulls=False, null_rate=0.0,
)  # fmt: skip


def contract(rows: int = 100, **fields: Field) -> Contract:
    return Contract(rows=rows, fields=fields)


def change(field: Field, **changes: Any) -> Field:
    return msgspec.structs.replace(field, **changes)


CASES: dict[str, tuple[Field, Field, list[tuple[str, str]]]] = {
    "nothing": (NUMBER, NUMBER, []),
    "a wider range": (NUMBER, change(NUMBER, minimum=-1, maximum=11.5), []),
    "no limits any more": (NUMBER, change(NUMBER, minimum=None, maximum=None), []),
    "a lower maximum": (
        NUMBER, change(NUMBER, maximum=9.5),
        [("narrowed", "allowed values of input 'x' are 0 to 9.5, and were 0 to 10")],
    ),
    "a higher minimum": (
        NUMBER, change(NUMBER, minimum=0.25),
        [("narrowed", "allowed values of input 'x' are 0.25 to 10, and were 0 to 10")],
    ),
    "only a lower end": (
        change(NUMBER, maximum=None), change(NUMBER, minimum=1, maximum=None),
        [("narrowed", "allowed values of input 'x' are from 1 on, and were from 0 on")],
    ),
    "large whole numbers one apart": (
        change(NUMBER, dtype="int64", maximum=2**60, nulls=False, seen=None),
        change(NUMBER, dtype="int64", maximum=2**60 - 1, nulls=False, seen=None),
        [("narrowed", f"allowed values of input 'x' are 0 to {2**60 - 1}, and were 0 to {2**60}")],
    ),
    "narrower, and only warned about": (NUMBER, change(NUMBER, maximum=5, mode="warn"), []),
    "narrower, and clipped": (
        change(NUMBER, mode="clip"), change(NUMBER, maximum=5, mode="clip"),
        [("narrowed", "allowed values of input 'x' are 0 to 5, and were 0 to 10")],
    ),
    "a first range where nothing was seen": (
        change(NUMBER, minimum=None, maximum=None, seen=None, null_rate=1.0), NUMBER, [],
    ),
    "limits around a single value": (change(NUMBER, seen=(5, 5)), change(NUMBER, minimum=4, maximum=6), []),
    "without that value": (
        change(NUMBER, seen=(5, 5)), change(NUMBER, minimum=6, maximum=7),
        [("narrowed", "allowed values of input 'x' are 6 to 7, and were 0 to 10")],
    ),
    "elements": (
        MATRIX, change(MATRIX, minimum=(0, 0, 1), maximum=(1, 1, 4)),
        [("narrowed", "allowed values of input 'x' are [1] 0 to 1, and were 0 to 2; [2] 1 to 4, and were 0 to 3")],
    ),
    "one pair instead of many": (MATRIX, change(MATRIX, minimum=0, maximum=3, seen=(0, 3)), []),
    "many instead of one pair": (
        change(MATRIX, minimum=0, maximum=3, seen=(0, 3)), MATRIX,
        [("narrowed", "allowed values of input 'x' are [0] 0 to 1, and were 0 to 3; [1] 0 to 2, and were 0 to 3")],
    ),
    "a category more": (TEXT, change(TEXT, categories={"a": 0.7, "b": 0.2, "c": 0.1}), []),
    "other shares": (TEXT, change(TEXT, categories={"b": 0.7, "a": 0.3}), []),
    "a category gone": (
        TEXT, change(TEXT, categories={"a": 1.0}), [("dropped_category", "category 'b' of input 'x' gone")],
    ),
    "a category gone, and only warned about": (TEXT, change(TEXT, categories={"a": 1.0}, mode="warn"), []),
    "free text": (TEXT, change(TEXT, categories=None), []),
    "no free text any more": (
        change(TEXT, categories=None), TEXT, [("dropped_category", "input 'x' takes 'a', 'b' only, and took any text")],
    ),
    "text where none was seen": (change(TEXT, categories=None, null_rate=1.0), TEXT, []),
    "nulls": (TEXT, change(TEXT, nulls=False), [("nulls_refused", "input 'x' may be missing no more")]),
    "nulls allowed": (change(TEXT, nulls=False), TEXT, []),
    "a stricter mode": (
        change(NUMBER, mode="warn"), NUMBER,
        [("stricter_mode", "input 'x' has mode 'reject' for a value outside, and had 'warn'")],
    ),
    "clipped instead of warned about": (
        change(NUMBER, mode="warn"), change(NUMBER, mode="clip"),
        [("stricter_mode", "input 'x' has mode 'clip' for a value outside, and had 'warn'")],
    ),
    "a stricter mode without limits": (
        change(NUMBER, mode="warn"), change(NUMBER, minimum=None, maximum=None), [],
    ),
    "a milder mode": (NUMBER, change(NUMBER, mode="clip"), []),
    "another dtype": (
        NUMBER, change(NUMBER, dtype="int64", nulls=False, maximum=1),
        [("retyped", "input 'x' is int64, and was float32")],
    ),
    "another shape": (
        NUMBER, change(MATRIX), [("reshaped", "input 'x' has shape [n, 3], and had [n, 1]")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_breaks_a_caller_is_named(case: str) -> None:
    live, new, said = CASES[case]
    found = breaks(contract(x=live), contract(x=new))
    assert [(one.kind, one.sentence) for one in found] == said
    assert all(one.field == "x" for one in found)


def test_a_break_as_json_says_from_what_to_what() -> None:
    (found,) = breaks(contract(x=NUMBER), contract(x=change(NUMBER, maximum=9)))
    assert msgspec.to_builtins(found) == {
        "field": "x", "role": "input", "kind": "narrowed", "from": [0, 10], "to": [0, 9],
        "sentence": "allowed values of input 'x' are 0 to 9, and were 0 to 10",
    }  # fmt: skip


def test_fields_that_went_and_came_are_breaks() -> None:
    found = breaks(contract(x=NUMBER, y=TEXT), contract(x=NUMBER, y=TEXT, z=NUMBER))
    assert [(one.kind, one.field) for one in found] == [("added", "z")]
    found = breaks(contract(x=NUMBER, y=TEXT), contract(x=NUMBER))
    assert [(one.kind, one.field) for one in found] == [("removed", "y")]
    found = breaks(contract(x=NUMBER), contract(z=NUMBER))
    assert [(one.kind, one.field, one.after) for one in found] == [("renamed", "x", "z")]


def test_limits_without_a_sample_promise_what_they_say_and_no_more() -> None:
    live = contract(rows=0, x=change(NUMBER, minimum=None, seen=None, null_rate=None), k=change(TEXT, categories=None))
    assert breaks(live, contract(x=NUMBER, k=TEXT)) == ()
    assert [one.kind for one in breaks(live, contract(x=change(NUMBER, maximum=9), k=TEXT))] == ["narrowed"]


def test_a_thousand_narrower_elements_are_one_break() -> None:
    wide = Field(
        dtype="float32", shape=(None, 1000), mode="reject", minimum=(0,) * 1000, maximum=(9,) * 1000, nulls=False,
        seen=((1,) * 1000, (8,) * 1000),
    )  # fmt: skip
    (found,) = breaks(contract(x=wide), contract(x=change(wide, maximum=(8,) * 1000)))
    assert found.sentence.endswith("[2] 0 to 8, and were 0 to 9; and 997 more elements")


def manifest(found: Contract | dict[str, Any] | None, *outputs: OutputSpec) -> Manifest:
    signature = Signature((TensorSpec("x", "float32", (None, 1)),), outputs or (OutputSpec("y", "float32", (None, 1)),))
    plain = to_json(found) if isinstance(found, Contract) else found
    return Manifest(model="m", task="regression", digest="d", key="k", size=1, signature=signature, contract=plain)


@pytest.mark.parametrize("none", [None, {"format": 2}, {"columns": {}}], ids=["none", "a later one", "another"])
def test_a_version_without_a_contract_that_can_be_read_promises_its_signature(none: Any) -> None:
    ours = contract(x=NUMBER)
    assert breaking(manifest(none), manifest(ours)) == ()
    assert breaking(manifest(ours), manifest(none)) == ()
    (found,) = breaking(manifest(none), manifest(ours, OutputSpec("z", "float32", (None, 1))))
    assert (found.kind, found.role, found.field) == ("renamed", "output", "y")


def test_values_and_outputs_are_breaks_side_by_side() -> None:
    live = manifest(contract(x=NUMBER), OutputSpec("p", "float32", (None, 2), ("no", "yes")))
    new = manifest(contract(x=change(NUMBER, maximum=1)), OutputSpec("p", "float32", (None, 1), ("yes",)))
    found = breaking(live, new)
    assert [(one.role, one.kind) for one in found] == [("output", "dropped_class"), ("input", "narrowed")]
    assert isinstance(found[0], Break)
