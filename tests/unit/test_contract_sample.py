"""A sample of requests, from a file or a body: what is read of it, and what is refused with its line or row."""

import json
import math
from typing import Any

import numpy as np
import pytest

from modelyard.contract import sample
from modelyard.contract.inference import infer
from modelyard.contract.sample import arrays_of, instances_in
from modelyard.errors import UsageError
from modelyard.version import TensorSpec

WIND, KIND = TensorSpec("wind", "float32", (None, 1)), TensorSpec("kind", "string", (None, 1))
COUNT, IS_NEW = TensorSpec("count", "int64", (None,)), TensorSpec("is_new", "bool", (None,))
X = TensorSpec("X", "float32", (None, 3))
PICTURE = TensorSpec("picture", "float32", (None, 2, 2))


def test_a_csv_file_is_read_by_the_names_of_its_columns() -> None:
    inputs = (WIND, KIND, COUNT, IS_NEW)
    text = "\ufeffkind,count,target,wind,is_new\nrain,3,1,4.5,true\nsun,-2,0,,FALSE\n,+7,0,1e-3,0\n".replace(
        "FALSE", "false"
    )
    found = instances_in(text.encode(), inputs, name="a.csv")
    assert found == [
        {"wind": 4.5, "kind": "rain", "count": 3, "is_new": True},
        {"wind": None, "kind": "sun", "count": -2, "is_new": False},
        {"wind": 0.001, "kind": None, "count": 7, "is_new": False},
    ]
    arrays = arrays_of(found, inputs)
    assert arrays["kind"].ravel().tolist() == ["rain", "sun", ""]
    assert math.isnan(arrays["wind"][1, 0])
    assert (arrays["wind"].dtype, arrays["count"].dtype, arrays["is_new"].dtype) == (np.float32, np.int64, np.bool_)
    contract = infer(arrays, inputs)
    assert (contract.fields["kind"].nulls, contract.fields["wind"].null_rate) == (True, 0.3333)


def test_the_columns_of_a_file_are_the_elements_of_the_only_input() -> None:
    found = instances_in(b"length,width,height\n1,2,3\n4,5,6\n", (X,), name="a.csv")
    assert arrays_of(found, (X,))["X"].tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(UsageError, match=r"a\.csv has 2 columns; input 'X' takes 3 values a row"):
        instances_in(b"length,width\n1,2\n", (X,), name="a.csv")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps({"instances": [{"wind": 1}, {"wind": 2.5}]})),
        ("a.json", json.dumps([{"wind": 1}, {"wind": 2.5}])),
        ("a.json", "\ufeff[1, 2.5]"),
        ("a.jsonl", '{"wind": 1}\n\n{"wind": 2.5}\r\n'),
    ],
)
def test_json_holds_instances_as_requests_do(name: str, text: str) -> None:
    arrays = arrays_of(instances_in(text.encode(), (WIND,), name=name), (WIND,))
    assert arrays["wind"].tolist() == [[1], [2.5]]


@pytest.mark.parametrize(
    ("name", "content", "inputs", "said"),
    [
        ("a.xlsx", b"PK", (WIND,), "a.xlsx is none of .csv, .json, .jsonl"),
        ("a.csv", b"", (WIND,), "a.csv: is empty"),
        ("a.csv", b"wind\n", (WIND,), "a.csv: has a header and no rows"),
        ("a.csv", b"wind;kind\n1;a\n", (WIND, KIND), "the values are separated by semicolons; expected commas"),
        ("a.csv", b"wnd\n1\n", (WIND,), "column 'wind' is missing; the header has 'wnd'"),
        ("a.csv", b"wind\n1\n4,5\n", (WIND,), "1 rows do not have 1 values"),
        ("a.csv", b"wind\n1\nmuch\n", (WIND,), "a.csv: line 3: column 'wind' is 'much'; expected a number"),
        ("a.csv", b"wind\nnan\n", (WIND,), "column 'wind' is 'nan'"),
        ("a.csv", b"count\n4.5\n", (COUNT,), "expected a whole number"),
        ("a.csv", b"count\n" + b"9" * 5000, (COUNT,), "expected a whole number"),
        ("a.csv", b"is_new\nyes\n", (IS_NEW,), "expected true or false"),
        ("a.csv", b"picture,wind\n1,2\n", (PICTURE, WIND), "input 'picture' takes 2 x 2 values a row"),
        ("a.csv", b"wind,wind\n1,2\n", (WIND,), "there is 2 times|is there 2 times"),
        ("a.json", b"{", (WIND,), "a.json is not JSON"),
        ("a.json", b"[" * 100_000, (WIND,), "a.json is not JSON"),
        ("a.json", b"\xff", (WIND,), "a.json is not JSON"),
        ("a.json", b"{}", (WIND,), "a.json holds no instances"),
        ("a.json", b"[]", (WIND,), "a.json holds no instances"),
        ("a.jsonl", b'{"wind": 1}\n{"wind"', (WIND,), "a.jsonl: line 2 is not JSON"),
    ],
)
def test_a_file_that_is_no_sample_is_refused_in_words(
    name: str, content: bytes, inputs: tuple[TensorSpec, ...], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        instances_in(content, inputs, name=name)
    assert refused.value.code == "invalid_sample"
    assert refused.value.next_step


def test_a_file_is_not_read_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "LARGEST_SAMPLE", 3)
    with pytest.raises(UsageError, match=r"a\.json has 4 bytes; at most 3"):
        instances_in(b"[12]", (WIND,), name="a.json")


@pytest.mark.parametrize(
    ("instances", "field", "row", "said"),
    [
        ([{"wind": 1, "kind": "a"}, {"wind": "1", "kind": "a"}], "wind", 1, "is a string"),
        ([{"wind": 1}], "kind", 0, "instance 0 lacks 'kind'"),
        ([{"wind": 1, "kind": "a", "more": 1}], "more", 0, "which is no input"),
        ([{"wind": 1e39, "kind": "a"}], "wind", 0, "float32 goes from"),
        ([7], "sample", 0, "must be an object"),
    ],
)
def test_what_the_endpoint_would_refuse_is_refused_with_its_row(
    instances: list[Any], field: str, row: int, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        arrays_of(instances, (WIND, KIND))
    assert (refused.value.code, refused.value.field, refused.value.row) == ("invalid_sample", field, row)
