"""Versions: what makes two the same, and what may be written into one."""

import math
from typing import Any

import msgspec
import pytest

from modelyard.canonical import canonical_json, check_json
from modelyard.errors import UsageError
from modelyard.version import (
    Lineage,
    Manifest,
    OutputSpec,
    Signature,
    TensorSpec,
    TrainingObject,
    Version,
    artifact_key,
)

DIGEST = "ab" * 32
OBJECT = TrainingObject("data", "weather/2026.csv", "v1", "cd" * 32, 1461)


def manifest(**changes: Any) -> Manifest:
    made = Manifest(
        model="weather",
        task="multiclass",
        digest=DIGEST,
        key=artifact_key(DIGEST),
        size=1234,
        signature=Signature(
            (TensorSpec("date", "string", (None, 1)),),
            (
                OutputSpec("label", "string", (None,)),
                OutputSpec("probabilities", "float32", (None, 2), ("rain", "sun")),
            ),
        ),
        contract={"columns": {"date": {"null_rate": 0.0}}},
        metrics={"accuracy": 0.75},
        evaluation="reports/weather/run-1.json",
        lineage=Lineage(source="trained", objects=(OBJECT,), code_digest="c", lock_digest="l", run_id="run-1"),
        note="first",
    )
    return msgspec.structs.replace(made, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": {"accuracy": 0.8}},
        {"note": "again"},
        {"evaluation": None},
        {"lineage": msgspec.structs.replace(manifest().lineage, run_id="run-2", execution="arn")},
        {"contract": {"columns": {"date": {"null_rate": 0}}}},
    ],
    ids=["metrics", "note", "report", "run", "a whole number written as an integer"],
)
def test_the_run_that_made_it_does_not_make_another_version(changes: dict[str, Any]) -> None:
    assert manifest(**changes).identity == manifest().identity


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": "ba" * 32},
        {"task": "binary"},
        {"signature": msgspec.structs.replace(manifest().signature, outputs=manifest().signature.outputs[:1])},
        {"contract": None},
        {"contract": {"columns": {"date": {"null_rate": 0.1}}}},
        {"lineage": msgspec.structs.replace(manifest().lineage, parent_version=1)},
        {"lineage": msgspec.structs.replace(manifest().lineage, code_digest="d")},
        {"lineage": msgspec.structs.replace(manifest().lineage, objects=(OBJECT, OBJECT))},
    ],
    ids=["bytes", "task", "signature", "no contract", "contract", "parent", "code", "files"],
)
def test_other_bytes_promise_or_origin_make_another_version(changes: dict[str, Any]) -> None:
    assert manifest(**changes).identity != manifest().identity


def test_identity_is_stable_across_releases() -> None:
    assert manifest().identity == "8ba43cfca747c7b0f4e8fe6d37f590559e1e8d6ea900eddf5f18d119a45be956"


def test_a_signature_has_the_form_that_the_pointer_promises() -> None:
    assert msgspec.json.decode(msgspec.json.encode(manifest().signature)) == {
        "inputs": [{"name": "date", "dtype": "string", "shape": [None, 1]}],
        "outputs": [
            {"name": "label", "dtype": "string", "shape": [None], "classes": None},
            {"name": "probabilities", "dtype": "float32", "shape": [None, 2], "classes": ["rain", "sun"]},
        ],
    }


def test_a_version_comes_back_from_json_as_it_was() -> None:
    version = Version(number=3, manifest=manifest(), author="ana", created_at="2026-11-21T10:00:00.000000Z")
    assert msgspec.json.decode(msgspec.json.encode(version), type=Version) == version


def test_a_version_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        manifest().note = "other"  # type: ignore[misc]


def test_canonical_json_has_one_text_for_one_meaning() -> None:
    assert canonical_json({"b": [1.0, 0.5, -0.0], "a": "ü"}) == '{"a":"ü","b":[1,0.5,0]}'.encode()
    assert canonical_json({"x": 2.0**70}) == b'{"x":1.1805916207174113e+21}'


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, math.nan]}, "contract.a[1]"),
        ({"a": {"b": math.inf}}, "contract.a.b"),
        ({"a": 2**64}, "contract.a"),
        ({"a": {"": 1}}, "contract.a"),
        ({1: 2}, "contract"),
        ({"a": "\ud800"}, "contract.a"),
        ({"a": b"x"}, "contract.a"),
        ({"a": {1, 2}}, "contract.a"),
    ],
    ids=["NaN", "infinity", "65 bits", "empty key", "number as key", "half a character", "bytes", "set"],
)
def test_what_would_not_come_back_is_refused_with_its_path(value: Any, path: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_json(value, field="contract")
    assert refused.value.field == path
    assert refused.value.code in ("invalid_json", "invalid_text")


def test_bottomless_nesting_is_refused() -> None:
    value: Any = 0
    for _ in range(10_000):
        value = [value]
    with pytest.raises(UsageError, match="deeper than 20"):
        check_json(value, field="contract")
