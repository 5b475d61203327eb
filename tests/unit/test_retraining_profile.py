"""The summary of the columns: the rows to learn from beside the frozen ones, as JSON that any reader takes."""

import json
from typing import Any

import numpy as np
import pytest

from modelyard.retraining.profile import profile
from modelyard.training.table import Table, table_of
from tests.fakes.training_data import csv_file, plan, weather, weather_plan, whole

KINDS = {"x": "number", "colour": "category", "day": "date", "said": "text"}
PLAN = plan(target="y", features=KINDS, task="regression", metric="rmse", kinds=["linear_regression"])


def table(*rows: tuple[Any, ...]) -> Table:
    return table_of(PLAN, csv_file([*KINDS, "y"], rows), name="rows")


def found(training: list[tuple[Any, ...]], evaluation: list[tuple[Any, ...]]) -> dict[str, Any]:
    summary = profile(PLAN, table(*training), table(*evaluation))
    return json.loads(json.dumps(summary, allow_nan=False))  # type: ignore[no-any-return]


def test_each_feature_and_the_target_has_a_summary_of_its_kind() -> None:
    training = [(at, "red" if at < 6 else "blue", f"2012-0{at % 3 + 1}-01", f"word {at}", at / 2) for at in range(10)]
    evaluation: list[tuple[Any, ...]] = [(20, "red", "2012-02-07", "other", 7), ("", "green", "", "", 8)]
    summary = found(training, evaluation)
    assert {name: part["kind"] for name, part in summary.items()} == KINDS | {"y": "number"}
    number = summary["x"]
    assert (number["minimum"], number["maximum"], number["mean"], number["median"]) == (0, 9, 4.5, 4.5)
    assert (number["missing"], number["distinct"]) == (0, 10)
    assert number["histogram"] == {
        "edges": [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20],
        "training": [2, 2, 2, 2, 2, 0, 0, 0, 0, 0],
        "evaluation": [0] * 9 + [1],
    }
    assert summary["colour"] == {
        "kind": "category", "missing": 0, "distinct": 2, "top": [["red", 0.6, 0.5], ["blue", 0.4, 0]],
    }  # fmt: skip
    assert summary["day"]["top"] == [["2012-01", 0.4, 0], ["2012-02", 0.3, 0.5], ["2012-03", 0.3, 0]]
    assert summary["said"] == {"kind": "text", "missing": 0, "distinct": 10}


def test_the_target_of_classes_is_a_category() -> None:
    year = whole(weather_plan(), weather(2012)[0])
    summary = profile(weather_plan(), year, year.take(np.arange(366) < 50))
    assert summary["weather"]["kind"] == "category"
    assert summary["weather"]["top"][0][:2] == ["rain", 0.521858]
    assert len(summary["date"]["top"]) == 6, "of twelve months every second"


def test_ten_values_and_ten_months_are_shown_however_many_there_are() -> None:
    training = [(at, f"c{at}", f"{2000 + at // 12}-{at % 12 + 1:02}-01", "", at) for at in range(100)]
    summary = found(training, training[:1])
    assert len(summary["colour"]["top"]) == 10
    assert [month for month, *_ in summary["day"]["top"]] == [
        f"{2000 + at // 12}-{at % 12 + 1:02}" for at in range(0, 100, 10)
    ]
    assert summary["said"]["missing"] == 1


def test_a_long_value_is_cut() -> None:
    ((value, *_),) = found([(1, "x" * 500, "", "", 1)], [(1, "y", "", "", 1)])["colour"]["top"]
    assert len(value) == 60


EMPTY = ("", "", "", "", 1)


@pytest.mark.parametrize(
    ("training", "evaluation", "keys"),
    [
        ([EMPTY], [EMPTY], {"kind", "missing", "distinct"}),
        ([EMPTY], [(5, "", "", "", 1)], {"kind", "missing", "distinct"}),
        (
            [(5, "", "", "", 1)],
            [EMPTY],
            {"kind", "missing", "distinct", "minimum", "maximum", "mean", "median", "histogram"},
        ),
    ],
)
def test_a_column_without_values_on_one_side_has_what_can_be_said(training: Any, evaluation: Any, keys: Any) -> None:
    assert set(found(training, evaluation)["x"]) == keys


@pytest.mark.parametrize(
    ("values", "has_histogram"),
    [
        ([7, 7], True),
        ([1e30, 1e30], False),
        ([1e30, 1e30 * (1 + 1e-15)], False),
        ([5e-324, 0], False),
        ([3.4e38, -3.4e38], True),
        ([1e-300, 2e-300], True),
    ],
    ids=["one value", "one large value", "two neighbours", "the smallest number", "both ends", "small numbers"],
)
def test_numbers_of_any_size_have_a_summary_and_a_histogram_where_ten_bars_fit(
    values: list[float], has_histogram: bool
) -> None:
    summary = found([(repr(value), "", "", "", 1) for value in values * 5], [(repr(values[0]), "", "", "", 1)])["x"]
    assert (summary["minimum"], summary["maximum"]) == (min(values), max(values))
    assert ("histogram" in summary) == has_histogram
    if has_histogram:
        assert sum(summary["histogram"]["training"]) == 10
        assert sum(summary["histogram"]["evaluation"]) == 1
