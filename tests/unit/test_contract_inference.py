"""What a contract says after a look at arrays, and that more data never makes it say less is allowed."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from modelyard.canonical import canonical_json, check_json
from modelyard.contract.breaking import breaks
from modelyard.contract.document import Contract, Field, parse, to_json
from modelyard.contract.inference import LARGEST, MOST_CATEGORIES, infer
from modelyard.contract.rules import FieldRules, Rules
from modelyard.errors import UsageError
from modelyard.version import Dtype, TensorSpec


def column(dtype: Dtype = "float32", *sizes: int | None) -> TensorSpec:
    return TensorSpec("x", dtype, (None, *(sizes or (1,))))


def look(values: Any, tensor: TensorSpec | None = None, rules: Rules | None = None, **more: Any) -> Field:
    """What the contract says about the only input of a model."""
    tensor = tensor or column()
    kind = object if tensor.dtype == "string" else tensor.dtype
    found = infer({"x": np.asarray(values, dtype=kind)}, (tensor,), rules, **more)
    check_json(to_json(found), field="contract")
    assert parse(msgspec.json.decode(canonical_json(found))) == found, "it survives the registry"
    return found.fields["x"]


def said(**fields: Any) -> Rules:
    return Rules(fields={"x": FieldRules(**fields)})


def test_a_range_has_room_of_the_span_that_was_seen_on_both_sides() -> None:
    field = look([[0], [10], [4]])
    assert (field.seen, field.minimum, field.maximum) == ((0.0, 10.0), -5.0, 15.0)
    assert (field.dtype, field.shape, field.mode, field.categories) == ("float32", (None, 1), "reject", None)
    assert look([[0], [10]], rules=Rules(tolerance=0)).maximum == 10


def test_numbers_have_the_fewest_digits_that_are_the_same_number() -> None:
    field = look([35.6, -7.1])
    assert (field.seen, field.minimum, field.maximum) == ((-7.1, 35.6), -28.45, 56.95)


@pytest.mark.parametrize(
    ("value", "low", "high"), [(100.0, 50.0, 150.0), (0.0, -0.5, 0.5), (-0.0, -0.5, 0.5), (0.25, -0.25, 0.75)]
)
def test_a_constant_column_has_room_of_its_value_or_of_one(value: float, low: float, high: float) -> None:
    field = look([value] * 5)
    assert (field.minimum, field.maximum) == (low, high)
    assert "-0.0" not in repr(field.seen)


@pytest.mark.parametrize(
    ("dtype", "values", "low", "high"),
    [
        ("int8", [100, 100], 50, 127),
        ("int8", [-100, 90], -128, 127),
        ("uint8", [3, 8], 0, 11),
        ("int32", [1, 2], 0, 3),
        ("uint64", [2**64 - 1, 2**64 - 3], 2**64 - 4, 2**64 - 1),
        ("int64", [2**62, 2**62 + 10], 2**62 - 5, 2**62 + 15),
        ("float16", [60000, -60000], -65504, 65504),
        ("float32", [3e38, -3e38], float(np.finfo("f4").min), float(np.finfo("f4").max)),
        ("float64", [1.7e308, -1.7e308], float(np.finfo("f8").min), float(np.finfo("f8").max)),
    ],
)
def test_a_range_ends_where_the_dtype_does_and_integers_stay_whole(
    dtype: Dtype, values: list[Any], low: float, high: float
) -> None:
    field = look(values, column(dtype))
    assert (field.minimum, field.maximum) == (low, high)
    assert isinstance(field.minimum, int) == dtype.lstrip("u").startswith("int")


def test_tiny_spans_of_large_numbers_keep_what_was_seen_inside() -> None:
    values = np.array([1e15, 1e15 + 0.25])
    field = look(values, column("float64"))
    assert isinstance(field.minimum, float)
    assert isinstance(field.maximum, float)
    assert field.minimum <= values[0] < values[1] <= field.maximum


def test_missing_numbers_are_a_rate_and_no_part_of_the_range() -> None:
    field = look([1.0, math.nan, 3.0, 2.0])
    assert (field.nulls, field.null_rate, field.seen) == (True, 0.25, (1.0, 3.0))
    assert look([1.0, 2.0]).nulls, "the signature takes null, whatever the sample held"
    empty = look([math.nan] * 3)
    assert (empty.null_rate, empty.seen, empty.minimum, empty.maximum) == (1.0, None, None, None)


def test_a_rare_missing_value_is_not_rounded_to_none() -> None:
    assert look([math.nan, *range(99_999)]).null_rate == 1e-5


@pytest.mark.parametrize(
    ("values", "tensor", "problem"),
    [
        ([1, math.inf, 2], column(), "'x' of row 1 is infinite"),
        ([1, -math.inf], column("float64"), "'x' of row 1 is infinite"),
        ([[1, 2], [3, math.nan]], column("float32", 2), "'x' of row 1 is missing"),
        ([[1, 2], [3, 4]], column("float32", 3), r"rows of shape \[2\]; expected \[3\]"),
        ([1, 2], column("float32", 3), r"rows of shape \[\]; expected \[3\]"),
    ],
)
def test_a_sample_that_no_request_could_be_is_refused(values: Any, tensor: TensorSpec, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as refused:
        look(values, tensor)
    assert (refused.value.code, refused.value.field) == ("invalid_sample", "x")


def test_a_sample_needs_every_input_and_equal_rows() -> None:
    tensors = (column(), TensorSpec("y", "float32", (None, 1)))
    with pytest.raises(UsageError, match="lacks 'y'"):
        infer({"x": np.zeros(2)}, tensors)
    with pytest.raises(UsageError, match="3 rows of 'y' and 2 of 'x'"):
        infer({"x": np.zeros(2), "y": np.zeros(3)}, tensors)


def test_texts_that_repeat_are_categories_with_shares_of_the_rows_that_have_one() -> None:
    field = look(["sun"] * 3 + ["rain"] * 6 + ["", None, "fog"], column("string"))
    assert field.categories == {"rain": 0.6, "sun": 0.3, "fog": 0.1}
    assert list(field.categories) == ["rain", "sun", "fog"]
    assert (field.nulls, field.null_rate) == (True, 0.1667)
    assert look(["b", "a"] * 2, column("string")).categories == {"a": 0.5, "b": 0.5}
    assert not look(["a", "a"], column("string")).nulls


@pytest.mark.parametrize(
    "values",
    [
        [f"id {at}" for at in range(50)],
        ["a", "a", "b"],
        [f"c{at % (MOST_CATEGORIES + 1)}" for at in range(1000)],
        ["x" * 201] * 10,
        ["\ud800"] * 10,
        ["", "", None],
    ],
    ids=["ids", "more than half distinct", "too many", "long", "no Unicode", "all missing"],
)
def test_other_texts_are_free(values: list[Any]) -> None:
    assert look(values, column("string")).categories is None


def test_most_categories_and_half_of_the_rows_are_still_categories() -> None:
    values = [f"c{at % MOST_CATEGORIES}" for at in range(2 * MOST_CATEGORIES)]
    assert len(look(values, column("string")).categories or {}) == MOST_CATEGORIES


def test_a_caller_may_know_which_texts_are_free_and_which_are_categories() -> None:
    assert look(["2012-01-01"] * 9, column("string"), texts={"x": "free"}).categories is None
    assert look(["a", "b"], column("string"), texts={"x": "categories"}).categories == {"a": 0.5, "b": 0.5}


def test_booleans_have_no_limits() -> None:
    field = look([True, True], TensorSpec("x", "bool", (None,)), Rules(mode="clip"))
    assert (field.minimum, field.categories, field.nulls, field.mode) == (None, None, False, "reject")


def test_a_row_of_features_has_limits_for_each_and_a_picture_has_one_pair() -> None:
    rows = np.array([[0, -1, 5], [10, 1, 5]], dtype="f4")
    field = look(rows, column("float32", 3))
    assert field.seen == ((0, -1, 5), (10, 1, 5))
    assert (field.minimum, field.maximum) == ((-5, -2, 2.5), (15, 2, 7.5))
    assert (field.nulls, field.null_rate) == (False, 0.0)
    picture = look(np.arange(8).reshape(2, 2, 2), column("float32", 2, 2))
    assert (picture.seen, picture.minimum, picture.maximum) == ((0, 7), -3.5, 10.5)
    assert look(np.ones((2, 1025)), column("float32", 1025)).seen == (1.0, 1.0)
    assert look(np.ones((2, 7)), column("float32", None)).seen == (1.0, 1.0)


def test_what_a_person_says_stands_above_what_was_seen() -> None:
    field = look([0, 10], rules=said(minimum=0.0, mode="clip"))
    assert (field.minimum, field.maximum, field.mode, field.seen) == (0.0, 15.0, "clip", (0.0, 10.0))
    assert look([0, 10], column("int8"), said(minimum=0.5, maximum=1000.0)).minimum == 1
    assert look([0, 10], column("int8"), said(maximum=1000.0)).maximum == 127
    every = look([[0, 5], [10, 5]], column("float32", 2), said(minimum=-1.0))
    assert (every.minimum, every.maximum) == (-1.0, (15, 7.5))


def test_without_a_sample_there_is_only_what_a_person_says() -> None:
    tensors = (column(), TensorSpec("kind", "string", (None, 1)))
    contract = infer({}, tensors, said(maximum=9.0))
    x, kind = contract.fields["x"], contract.fields["kind"]
    assert (contract.rows, x.minimum, x.maximum, x.seen, x.null_rate) == (0, None, 9.0, None, None)
    assert (kind.categories, kind.nulls, kind.null_rate) == (None, False, None)


@pytest.mark.parametrize(
    ("tensor", "rules", "problem"),
    [
        (column(), Rules(fields={"y": FieldRules()}), "contract.fields.y is no input of the model; its inputs are 'x'"),
        (column("string"), said(minimum=1.0), "string has no range"),
        (TensorSpec("x", "bool", (None,)), said(maximum=1.0), "bool has no range"),
        (column("string"), said(mode="clip"), "string cannot be clipped"),
        (column(), said(minimum=100.0), "allows from 100 to 15, which is nothing"),
        (column("float32", 2), said(maximum=-100.0), "allows from -5 to -100, which is nothing"),
    ],
)
def test_rules_that_do_not_fit_are_refused(tensor: TensorSpec, rules: Rules, problem: str) -> None:
    values = {"string": ["a", "a"], "bool": [True, True]}.get(
        tensor.dtype, np.full((2, tensor.shape[-1] or 1), [[0], [10]])
    )
    with pytest.raises(UsageError, match=problem) as refused:
        look(values, tensor, rules)
    assert refused.value.code == "invalid_contract"


def test_text_is_refused_where_numbers_are_clipped() -> None:
    assert look(["a", "a"], column("string"), Rules(mode="clip")).mode == "reject"
    assert look([1, 2], rules=Rules(mode="clip")).mode == "clip"


def wide(fields: int, rng: np.random.Generator) -> tuple[dict[str, Any], tuple[TensorSpec, ...]]:
    tensors = tuple(TensorSpec(f"embedding {at}", "float64", (None, 1024)) for at in range(fields))
    return {tensor.name: rng.normal(size=(50, 1024)) for tensor in tensors}, tensors


def test_a_long_contract_says_less_and_allows_more() -> None:
    arrays, tensors = wide(5, np.random.default_rng(1))
    texts = TensorSpec("text", "string", (None, 1))
    arrays["text"] = np.array([f"{at % 25} {'☔' * 150}" for at in range(50)], dtype=object)
    whole = infer(arrays, (*tensors[:1], texts))
    short = infer(arrays, (*tensors, texts))
    assert len(msgspec.json.encode(short)) <= LARGEST
    assert isinstance(whole.fields["embedding 0"].minimum, tuple)
    assert whole.fields["text"].categories
    kept = [isinstance(short.fields[tensor.name].minimum, tuple) for tensor in tensors]
    assert kept == [False] * 4 + [True], "and no more is left out than has to be"
    assert breaks(whole, Contract(rows=50, fields={name: short.fields[name] for name in whole.fields})) == ()


@pytest.mark.parametrize("seed", range(20))
def test_more_data_never_narrows(seed: int) -> None:
    """A data set only grows, so retraining alone breaks no caller: constant columns, missing values, rare texts."""
    rng = np.random.default_rng(seed)
    tensors = (
        column(), TensorSpec("i", "int16", (None,)), TensorSpec("m", "float32", (None, 4)),
        TensorSpec("k", "string", (None, 1)), TensorSpec("d", "string", (None, 1)),
    )  # fmt: skip
    count = 300
    numbers = (rng.normal(size=count) * 10.0 ** rng.integers(-8, 12)).astype("f4")
    numbers[: rng.integers(0, 4)] = math.nan
    numbers[4:9] = numbers[4]
    matrix = rng.normal(size=(count, 4)).astype("f4")
    matrix[:40, 1] = 0
    words = np.array([f"w{int(found)}" for found in rng.exponential(30, size=count)], dtype=object)
    words[rng.random(count) < 0.05] = ""
    everything = {
        "x": numbers, "i": rng.integers(-300, 300, size=count), "m": matrix, "k": words,
        "d": np.array([f"day {at}" for at in range(count)], dtype=object),
    }  # fmt: skip
    everything["i"][:30] = 7
    before: Contract | None = None
    for rows in (1, 2, 3, 8, 20, 50, 120, count):
        part = {name: array[:rows] for name, array in everything.items()}
        after = infer(part, tensors, texts={"k": "categories", "d": "free"})
        assert before is None or breaks(before, after) == (), rows
        before = after


def test_the_longest_texts_become_free_where_a_contract_gets_too_long() -> None:
    tensors = tuple(TensorSpec(name, "string", (None, 1)) for name in ("long", "longer", "short"))
    texts = {"long": "☔" * 150, "longer": "☔" * 190, "short": ""}
    arrays = {name: np.array([f"{at % 100}{text}" for at in range(200)], dtype=object) for name, text in texts.items()}
    fields = infer(arrays, tensors).fields
    assert [name for name, field in fields.items() if field.categories is None] == ["longer"]
