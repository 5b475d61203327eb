"""Parts of the rows: how columns are cut, and what a slice may lose."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.evaluation import EvaluationSet
from modelyard.evaluation.slices import MISSING, OTHER, Slice, measure_slices, parts_of
from modelyard.metrics import Measured
from modelyard.training.plan import FeatureKind


def cut(values: list[Any], kind: FeatureKind | None = None) -> dict[str, list[int]]:
    return {name: rows.tolist() for name, rows in parts_of(values, kind)}


def test_a_category_is_cut_by_value_the_most_frequent_first() -> None:
    assert cut(["b", "a", "b", "", None, math.nan]) == {"b": [0, 2], "a": [1], MISSING: [3, 4, 5]}
    assert list(cut(["a", "b", "b"])) == ["b", "a"]


def test_of_many_values_the_rest_is_one_slice() -> None:
    found = cut([f"v{n:02}" for n in range(25)] + ["v24"])
    assert len(found) == 21
    assert next(iter(found)) == "v24"
    assert len(found[OTHER]) == 5


def test_a_number_is_cut_in_four_and_few_numbers_stand_by_themselves() -> None:
    found = cut([float(n) for n in range(8)] + [None])
    assert found == {
        "up to 1": [0, 1], "above 1, up to 3": [2, 3], "above 3, up to 5": [4, 5], "above 5": [6, 7], MISSING: [8],
    }  # fmt: skip
    assert cut(["1", "0", "1", "NA"]) == {"0": [1], "1": [0, 2], MISSING: [3]}


@pytest.mark.parametrize("values", [[0] * 90 + list(range(10)), [9] * 95 + [1, 2, 3, 4, 5]])
def test_a_number_that_is_mostly_one_value_is_cut_beside_it(values: list[int]) -> None:
    found = cut(values)
    assert len(found) == 2
    assert sum(map(len, found.values())) == len(values)


def test_a_declared_category_of_digits_is_not_a_number() -> None:
    codes = [f"{10115 + n % 6}" for n in range(12)]
    assert len(cut(codes)) == 4
    assert len(cut(codes, "category")) == 6
    assert cut(["a", "b"], "number") == {"a": [0], "b": [1]}, "declared a number, and is none"


def test_a_date_is_cut_by_month_over_the_years() -> None:
    dates = ["2013-12-01", "2012-01-31", "2013-01-01", "", "2012-06-15T10:00"]
    assert list(cut(dates).items()) == [("January", [1, 2]), ("June", [4]), ("December", [0]), (MISSING, [3])]
    assert cut(["2012-13-01", "2012-01-01"]) == {"2012-01-01": [1], "2012-13-01": [0]}, "no month 13: these are texts"


def test_long_or_garbling_texts_are_cut_and_cleaned() -> None:
    found = list(cut(["x" * 5_000, "\u202eevil\x00\nline", "\ud800"]))
    assert all(len(name) <= 60 for name in found)
    assert "\ufffdevil\ufffd line" in found
    assert "".join(found).encode("utf-8")


@given(
    st.lists(st.none() | st.floats() | st.integers() | st.booleans() | st.text(max_size=5), min_size=1, max_size=80),
    st.sampled_from([None, "number", "category", "date", "text"]),
)
@settings(deadline=None)
def test_every_row_is_in_one_slice(values: list[Any], kind: FeatureKind | None) -> None:
    rows = [row for _, part in parts_of(values, kind) for row in part.tolist()]
    assert sorted(rows) == list(range(len(values)))


# --- what is measured


def slices(
    champion: list[float] | None, challenger: list[float], column: list[Any], **settings: Any
) -> tuple[list[Slice], list[str]]:
    truth = np.zeros(len(challenger))
    rows = EvaluationSet(
        "regression", [{"x": n} for n in range(len(challenger))], truth.tolist(), None, 0.0, {"c": column}
    )
    given: dict[str, Any] = {"metric": "mae", "max_loss": 0.5, "level": 0.9} | settings
    columns = given.pop("columns", ["c"])
    return measure_slices(
        rows, columns, challenger=Measured(truth, np.array(challenger)),
        champion=None if champion is None else Measured(truth, np.array(champion)), **given,
    )  # fmt: skip


def test_a_slice_that_loses_more_than_is_allowed_does_not_pass() -> None:
    column = ["a"] * 20 + ["b"] * 20 + ["c"] * 19
    found, absent = slices([1.0] * 59, [1.5] * 20 + [1.6] * 20 + [9.0] * 19, column)
    assert absent == []
    assert [(one.value, one.rows, one.passed, one.judged) for one in found] == [
        ("a", 20, True, True), ("b", 20, False, True), ("c", 19, True, False),
    ]  # fmt: skip
    assert found[1].improvement == pytest.approx(-0.6)
    assert (found[1].challenger, found[1].champion) == pytest.approx((1.6, 1.0))


def test_whether_a_slice_was_judged_is_in_the_document() -> None:
    found, _ = slices([1.0] * 59, [1.0] * 59, ["a"] * 40 + ["b"] * 19)
    assert [one["judged"] for one in msgspec.to_builtins(found)] == [True, False]


def test_a_slice_that_cannot_be_compared_is_judged_and_does_not_pass() -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        found, _ = slices([1.0] * 20, [1e300] * 20, ["a"] * 20, metric="rmse")
    assert [(one.improvement, one.judged, one.passed) for one in found] == [(None, True, False)]


def test_a_slice_has_an_interval_of_its_own() -> None:
    draw = np.random.default_rng(0)
    found, _ = slices((1 + draw.random(60)).tolist(), draw.random(60).tolist(), ["a"] * 60)
    assert found[0].low is not None
    assert found[0].high is not None
    assert found[0].improvement is not None
    assert 0 < found[0].low < found[0].improvement < found[0].high


def test_without_a_champion_slices_are_only_shown() -> None:
    found, _ = slices(None, [1.0] * 40, ["a", "b"] * 20)
    assert [(one.rows, one.champion, one.improvement, one.passed, one.judged) for one in found] == [
        (20, None, None, True, False)
    ] * 2


def test_a_feature_can_be_sliced_without_being_handed_over_again_and_others_are_named() -> None:
    found, absent = slices([1.0] * 40, [1.0] * 40, ["a"] * 40, columns=["x", "gone"])
    assert {one.column for one in found} == {"x"}
    assert absent == ["gone"]
