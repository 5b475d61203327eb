"""Two versions beside each other: what differs, what is better, and exactly what breaks a caller."""

from typing import Any

import msgspec
import pytest

from modelyard.comparison import Comparison, compare
from modelyard.contract.signatures import show_shape
from modelyard.version import Lineage, Manifest, OutputSpec, Signature, TensorSpec, TrainingObject, Version

X, WIND = TensorSpec("x", "float32", (None, 3)), TensorSpec("wind", "float32", (None, 1))
P = OutputSpec("p", "float32", (None, 2), ("no", "yes"))
LABEL = OutputSpec("label", "string", (None,))


def version(*tensors: TensorSpec, number: int = 1, **changes: Any) -> Version:
    """A version with these inputs and outputs."""
    inputs = tuple(found for found in tensors if not isinstance(found, OutputSpec)) or (X,)
    outputs = tuple(found for found in tensors if isinstance(found, OutputSpec)) or (P, LABEL)
    settings: dict[str, Any] = {
        "model": "m",
        "task": "binary",
        "digest": "d" * 64,
        "key": "artifacts/d",
        "size": 7,
        "signature": Signature(inputs, outputs),
    }
    return Version(number=number, manifest=Manifest(**settings | changes), author="ana", created_at="2026-11-21")


FIELD = {"dtype": "float32", "shape": [None, 1], "mode": "reject", "nulls": True}


def promise(**fields: dict[str, Any]) -> dict[str, Any]:
    """A contract in its JSON form, with these fields."""
    plain = {"dtype": "string", "nulls": False}
    found = {name: FIELD | (plain if "categories" in field else {}) | field for name, field in fields.items()}
    return {"format": 1, "rows": 9, "fields": found}


def differences(comparison: Comparison, part: str) -> dict[str, tuple[str, Any, Any]]:
    return {found.what: (found.change, found.a, found.b) for found in getattr(comparison, part)}


def test_a_version_does_not_differ_from_itself() -> None:
    one = version(metrics={"accuracy": 0.8}, contract=promise(x={"maximum": 1}), lineage=Lineage(run_id="r"))
    found = compare(one, one)
    assert (found.same_bytes, found.breaking, found.signature, found.contract, found.lineage) == (True, (), (), (), ())
    assert found.metrics[0].difference == 0
    assert found.metrics[0].better is None


@pytest.mark.parametrize(
    ("before", "after", "breaking"),
    [
        ((X, WIND), (X,), ["input 'wind' is gone"]),
        ((X,), (X, WIND), ["input 'wind' is new: requests without it are refused"]),
        (
            (X, WIND),
            (X, TensorSpec("wind_speed", "float32", (None, 1))),
            ["input 'wind' is gone; 'wind_speed' stands in its place"],
        ),
        (
            (X, WIND),
            (X, TensorSpec("gusts", "float64", (None, 1))),
            ["input 'wind' is gone", "input 'gusts' is new: requests without it are refused"],
        ),
        (
            (X, WIND),
            (X, TensorSpec("gusts", "float32", (None, 2))),
            ["input 'wind' is gone", "input 'gusts' is new: requests without it are refused"],
        ),
        ((WIND, X), (X, WIND), []),
        ((X,), (TensorSpec("x", "float64", (None, 3)),), ["input 'x' is float64, and was float32"]),
        ((X,), (TensorSpec("x", "float32", (None, 4)),), ["input 'x' has shape [n, 4], and had [n, 3]"]),
        ((X,), (TensorSpec("x", "float32", (None, None)),), []),
        ((X,), (TensorSpec("x", "float32", (1, 3)),), ["input 'x' has shape [1, 3], and had [n, 3]"]),
        ((TensorSpec("x", "float32", (1, 3)),), (X,), []),
        (
            (WIND,),
            (TensorSpec("wind", "float32", (None, None)),),
            ["input 'wind' has shape [n, n], and had [n, 1]"],
        ),
        ((P, LABEL, OutputSpec("z", "int64", (None,))), (P, LABEL), ["output 'z' is gone"]),
        ((P, LABEL), (P, LABEL, OutputSpec("z", "int64", (None,))), []),
        (
            (P,),
            (P, LABEL),
            ["an answer was a bare value and is an object, by the number of outputs"],
        ),
        ((LABEL, P), (OutputSpec("label", "int64", (None,)), P), ["output 'label' is int64, and was string"]),
        (
            (LABEL, P),
            (LABEL, OutputSpec("p", "float32", (None, 1), ("yes",))),
            ["class 'no' of output 'p' gone"],
        ),
        ((LABEL, P), (LABEL, OutputSpec("p", "float32", (None, 3), ("no", "yes", "maybe"))), []),
        ((LABEL, P), (LABEL, OutputSpec("p", "float32", (None, 2), ("yes", "no"))), []),
        ((LABEL, P), (LABEL, OutputSpec("p", "float32", (None, 2))), ["output 'p' names its classes no more"]),
        (
            (LABEL, OutputSpec("z", "float32", (None, 2))),
            (LABEL, OutputSpec("z", "float32", (None, 5))),
            ["output 'z' has shape [n, 5], and had [n, 2]"],
        ),
        (
            (LABEL, OutputSpec("z", "float32", (1, 2))),
            (LABEL, OutputSpec("z", "float32", (None, 2))),
            [],
        ),
    ],
    ids=[
        "input gone", "input new", "input renamed", "another dtype", "another shape", "order", "dtype", "size",
        "size free", "batch fixed", "batch free", "column to list", "output gone", "output new", "one output to two",
        "output dtype", "class gone", "class new", "classes in another order", "classes unnamed",
        "output size", "output batch",
    ],
)  # fmt: skip
def test_what_breaks_a_caller_is_named(
    before: tuple[TensorSpec, ...], after: tuple[TensorSpec, ...], breaking: list[str]
) -> None:
    found = compare(version(*before), version(*after))
    assert list(found.breaking) == breaking
    assert [difference.breaks for difference in found.signature if difference.breaks] == breaking


def test_another_task_is_a_difference() -> None:
    found = compare(version(), version(task="multiclass"))
    assert differences(found, "signature") == {"task": ("changed", "binary", "multiclass")}
    assert found.breaking == ()


@pytest.mark.parametrize(
    ("name", "a", "b", "difference", "better"),
    [
        ("accuracy", 0.8, 0.75, -0.05, False),
        ("log_loss", 0.5, 0.4, -0.1, True),
        ("rmse", 3.0, 4.0, 1.0, False),
        ("speed", 3.0, 4.0, 1.0, None),
        ("accuracy", 0.5, 0.5, 0.0, None),
        ("accuracy", None, 0.5, None, None),
    ],
)
def test_a_metric_says_whether_the_second_is_better(
    name: str, a: float | None, b: float, difference: float | None, better: bool | None
) -> None:
    found = compare(version(metrics={} if a is None else {name: a}), version(metrics={name: b})).metrics[0]
    assert (found.name, found.a, found.b, found.better) == (name, a, b, better)
    assert found.difference == (None if difference is None else pytest.approx(difference))


def test_a_contract_is_compared_field_by_field_and_says_what_breaks() -> None:
    one = promise(km={"minimum": 0, "maximum": 80, "null_rate": 0.0}, old={}, kind={"categories": {"a": 0.5, "b": 0.5}})
    two = promise(km={"minimum": 1, "maximum": 70, "null_rate": 0}, new={}, kind={"categories": {"a": 0.5, "c": 0.5}})
    found = compare(version(contract=one), version(contract=two))
    assert differences(found, "contract") == {
        "field km: minimum": ("changed", 0, 1),
        "field km: maximum": ("changed", 80, 70),
        "field old": ("removed", FIELD, None),
        "field kind: categories": ("changed", {"a": 0.5, "b": 0.5}, {"a": 0.5, "c": 0.5}),
        "field new": ("added", None, FIELD),
    }
    said = [
        "allowed values of input 'km' are 1 to 70, and were 0 to 80",
        "category 'b' of input 'kind' gone",
    ]
    assert list(found.breaking) == said
    assert [difference.breaks for difference in found.contract if difference.breaks] == said, "each once"


def test_a_contract_of_another_release_is_shown_and_promises_nothing() -> None:
    found = compare(version(contract={"format": 9, "fields": {"x": []}}), version(contract=promise(x={"maximum": 1})))
    assert found.breaking == ()
    assert {"format", "rows", "field x"} == set(differences(found, "contract"))


def test_a_contract_that_only_one_has_is_one_difference() -> None:
    found = compare(version(), version(contract=promise()))
    assert differences(found, "contract") == {"contract": ("added", None, promise())}
    assert (found.a.has_contract, found.b.has_contract) == (False, True)
    assert compare(version(), version()).contract == ()


def test_lineage_names_the_files_that_came_and_went_by_their_bytes() -> None:
    def file(name: str, digest: str) -> TrainingObject:
        return TrainingObject("data", f"m/{name}", "v1", digest * 64, 10)

    one = Lineage(source="trained", objects=(file("a.csv", "a"), file("b.csv", "b")), run_id="run-1", parent_version=1)
    two = Lineage(source="trained", objects=(file("renamed.csv", "b"), file("c.csv", "c")), run_id="run-2")
    found = differences(compare(version(lineage=one), version(lineage=two)), "lineage")
    assert {what: change for what, (change, _, _) in found.items()} == {
        "file m/a.csv": "removed",
        "file m/c.csv": "added",
        "run_id": "changed",
        "parent_version": "removed",
    }
    assert found["file m/c.csv"][2]["rows"] == 10


def test_parameters_of_an_import_are_compared_one_by_one() -> None:
    one, two = Lineage(params={"depth": "3", "same": "1"}), Lineage(params={"depth": "4", "same": "1"})
    found = differences(compare(version(lineage=one), version(lineage=two)), "lineage")
    assert found == {"params: depth": ("changed", "3", "4")}


def test_two_models_can_be_compared_and_the_whole_is_json() -> None:
    found = compare(version(), version(model="other", number=4, digest="e" * 64, note="n"))
    assert (found.a.model, found.b.model, found.b.version, found.same_bytes) == ("m", "other", 4, False)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Comparison) == found


def test_a_shape_reads_as_a_person_writes_it() -> None:
    assert show_shape((None, 8, 8)) == "[n, 8, 8]"
    assert show_shape(()) == "[]"
