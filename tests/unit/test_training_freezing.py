"""Which rows are frozen: chosen once by a rule, and recognised whatever happens around them."""

import csv
import io
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from modelyard.errors import UsageError
from modelyard.training.freezing import FrozenRows, are_among, are_frozen, choose, in_words
from modelyard.training.plan import Plan
from modelyard.training.records import read_records
from modelyard.training.table import Table, read_table
from tests.fakes.training_data import csv_file, diabetes, plan, weather, weather_plan

ALL = weather(2012, 2013, 2014, 2015)


def table_of(spec: Plan, *files: bytes) -> Table:
    reading = read_table(spec, list(files))
    assert reading.findings == ()
    assert reading.table is not None
    return reading.table


def frozen_days(*files: bytes, spec: Plan | None = None) -> set[str]:
    spec = spec or weather_plan()
    table = table_of(spec, *files)
    return set(table.columns["date"][choose(spec, table)].tolist())


def chosen(spec: Plan, *files: bytes) -> tuple[Table, FrozenRows]:
    """All rows, and those that are frozen."""
    table = table_of(spec, *files)
    return table, FrozenRows.of(table.take(choose(spec, table)))


def days(table: Table, mask: Any) -> set[str]:
    return set(table.columns["date"][mask].tolist())


# -- a row is recognised ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def year() -> tuple[Table, FrozenRows, set[str]]:
    table, rows = chosen(weather_plan(), ALL[0])
    return table, rows, {row[rows.header.index("date")] for row in rows.rows}


def test_a_frozen_row_is_recognised_in_the_file_that_it_came_from(year: tuple[Table, FrozenRows, set[str]]) -> None:
    table, rows, frozen = year
    assert days(table, are_frozen(weather_plan(), table, rows)) == frozen
    assert len(frozen) == 73


def test_more_files_freeze_no_more_rows_and_no_fewer(year: tuple[Table, FrozenRows, set[str]]) -> None:
    _, rows, frozen = year
    table = table_of(weather_plan(), *ALL)
    assert len(table) == 1_461
    assert days(table, are_frozen(weather_plan(), table, rows)) == frozen


def test_a_frozen_row_is_recognised_in_another_order_another_file_and_another_spelling(
    year: tuple[Table, FrozenRows, set[str]],
) -> None:
    _, rows, frozen = year
    lines = b"".join(ALL[:2]).decode().splitlines()
    header = lines[0]
    texts = sorted((line for line in lines if line != header), key=lambda line: line[::-1])
    reordered = io.StringIO()
    writer = csv.DictWriter(reordered, ["weather", "wind", "temp_min", "temp_max", "precipitation", "date"])
    writer.writeheader()
    for row in csv.DictReader([header, *texts]):
        writer.writerow({**row, "wind": f"{float(row['wind']):.3f}", "temp_min": f"{float(row['temp_min']):+.3e}"})
    table = table_of(weather_plan(), reordered.getvalue().encode())
    assert days(table, are_frozen(weather_plan(), table, rows)) == frozen


def test_a_frozen_row_is_recognised_when_its_label_is_corrected(year: tuple[Table, FrozenRows, set[str]]) -> None:
    _, rows, frozen = year
    table = table_of(weather_plan(), ALL[0].replace(b"rain", b"fog"))
    assert days(table, are_frozen(weather_plan(), table, rows)) == frozen


def test_a_frozen_row_is_recognised_when_the_model_looks_at_other_columns(
    year: tuple[Table, FrozenRows, set[str]],
) -> None:
    _, rows, frozen = year
    fewer = weather_plan(features={"date": "date", "wind": "number"})
    table = table_of(fewer, ALL[0])
    assert days(table, are_frozen(fewer, table, rows)) == frozen
    other = weather_plan(target="wind", features={"date": "date", "weather": "category"}, task="regression",
                         metric="rmse", kinds=["linear_regression"])  # fmt: skip
    assert days(table_of(other, ALL[0]), are_frozen(other, table_of(other, ALL[0]), rows)) == frozen


def with_columns(file: bytes, *names: str, **more: str) -> bytes:
    """Some columns of a file and further ones."""
    found = list(csv.DictReader(io.StringIO(file.decode())))
    header = [*(names or found[0]), *more]
    return csv_file(header, [[{**row, **more}[name] for name in header] for row in found])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ALL[0], with_columns(ALL[0], note="windy")),
        (with_columns(ALL[0], note="windy"), ALL[0]),
        (with_columns(ALL[0], note="windy"), with_columns(ALL[0], station="4711")),
        (with_columns(ALL[0], note=""), with_columns(ALL[0], note="")),
    ],
    ids=["a column more", "a column less", "another column", "an empty column"],
)
def test_a_frozen_row_is_recognised_in_an_export_with_other_columns(before: bytes, after: bytes) -> None:
    spec = weather_plan()
    _, rows = chosen(spec, before)
    table = table_of(spec, after)
    assert int(are_frozen(spec, table, rows).sum()) == len(rows.rows) == 73


@pytest.mark.parametrize("travels", [False, True], ids=["in memory", "as CSV"])
def test_a_row_from_a_file_without_a_column_is_recognised_when_it_comes_with_one(travels: bool) -> None:
    """Another file had it when the rows were frozen; that this one had not is no value."""
    spec = weather_plan()
    _, rows = chosen(spec, ALL[0], with_columns(ALL[1], note="windy"))
    if travels:
        rows = FrozenRows.from_csv(rows.to_csv())
    later = table_of(spec, with_columns(ALL[0], note="late"), with_columns(ALL[1], note="windy"))
    assert int(are_frozen(spec, later, rows).sum()) == len(rows.rows)
    other = table_of(spec, with_columns(ALL[1], note="calm"))
    assert not are_frozen(spec, other, rows).any(), "with another note it is another row"


def test_frozen_rows_travel_as_csv() -> None:
    awkward = csv_file(
        ["", "x", "said", "y"],
        [[at, at, text, "ab"[at % 2]] for at, text in enumerate(['"', "a,b", "two\nlines", "", " é☔", "NA", "'"])],
    )
    spec = plan(target="y", features={"x": "number", "said": "category"}, task="binary")
    rows = FrozenRows.of(table_of(spec, awkward))
    assert FrozenRows.from_csv(rows.to_csv()) == rows
    assert rows.header == ("x", "said", "y"), "a data frame's index is no column"
    mixed = FrozenRows.of(table_of(spec, awkward, csv_file(["x", "said", "y", "z"], [[99, "q", "a", "r"]])))
    assert FrozenRows.from_csv(mixed.to_csv()) == mixed
    assert read_records(mixed.to_csv(), name="m", expected=("x", "z")).findings == (), "and is a file like others"


def test_all_rows_of_files_are_recognised_among_others() -> None:
    spec = weather_plan()
    seen = FrozenRows.of_files([read_records(file, name="f", expected=()) for file in ALL[:2]])
    table = table_of(spec, *ALL)
    assert days(table, are_among(spec, table, seen)) == {day for day in table.columns["date"] if day < "2014"}
    assert not are_among(spec, table, FrozenRows.of_files([])).any()


# -- rows that stay together ------------------------------------------------------------------------------------------


def test_rows_that_differ_in_the_target_only_are_on_one_side() -> None:
    spec = plan(target="y", features={"x": "number"}, task="regression", metric="rmse", kinds=["linear_regression"])
    table = table_of(spec, csv_file(["x", "y"], [[at // 3, at] for at in range(300)]))
    mask = choose(spec, table)
    sides: dict[float, set[bool]] = {}
    for value, side in zip(table.columns["x"].tolist(), mask.tolist(), strict=True):
        sides.setdefault(value, set()).add(side)
    assert all(len(found) == 1 for found in sides.values())
    assert mask.sum() == 60


def test_rows_that_stay_together_and_are_most_of_the_file_are_left_to_learn_from() -> None:
    """Not a fifth of the different rows: a fifth of the rows."""
    for seed in range(20):
        spec = plan(target="y", features={"x": "number"}, task="regression", metric="rmse", kinds=["linear_regression"])
        draw = random.Random(seed)  # noqa: S311 - made-up rows
        usual = [[seed, at] for at in range(900)]
        rare = [[100 + at + draw.random(), draw.random() * 900] for at in range(100)]
        table = table_of(spec, csv_file(["x", "y"], [*usual, *rare]))
        frozen = int(choose(spec, table).sum())
        assert 20 <= frozen <= 200, (seed, frozen)


# -- the rules --------------------------------------------------------------------------------------------------------


def test_a_share_of_every_class_is_frozen() -> None:
    table = table_of(weather_plan(), *ALL)
    mask = choose(weather_plan(), table)
    every, frozen = Counter(table.target.tolist()), Counter(table.target[mask].tolist())
    assert {name: round(count * 0.2) for name, count in every.items()} == frozen
    assert in_words(weather_plan()) == "20 % of every class"


def test_a_share_of_every_tenth_of_a_number_is_frozen() -> None:
    file, columns = diabetes()
    spec = plan(
        target="progression", features=dict.fromkeys(columns, "number"), task="regression", metric="rmse",
        kinds=["linear_regression"],
    )  # fmt: skip
    table = table_of(spec, file)
    mask = choose(spec, table)
    tenths = np.argsort(np.argsort(table.target, kind="stable"), kind="stable") * 10 // len(table)
    assert all(8 <= count <= 10 for count in Counter(tenths[mask].tolist()).values())
    assert in_words(spec) == "20 % of every tenth of 'progression'"


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.89])
def test_the_asked_share_is_frozen(share: float) -> None:
    assert len(frozen_days(*ALL, spec=weather_plan(holdout=share))) / 1461 == pytest.approx(share, abs=0.005)


def test_a_larger_share_only_adds_rows() -> None:
    assert frozen_days(ALL[0]) < frozen_days(ALL[0], spec=weather_plan(holdout=0.3))


def test_the_choice_is_a_function_of_the_rows_whatever_their_order_and_files() -> None:
    header, *lines = b"".join(ALL[:1]).splitlines()
    lines.sort(key=lambda line: line[::-1])
    halves = [b"\n".join([header, *lines[:100]]), b"\n".join([header, *lines[100:]])]
    assert frozen_days(*halves) == frozen_days(ALL[0])


def test_the_choice_of_known_rows_never_changes() -> None:
    """It is a promise to whoever trains the same again: this test fails when the rule changes."""
    assert sorted(frozen_days(ALL[0]))[:4] == ["2012-01-02", "2012-01-04", "2012-01-06", "2012-01-09"]


def test_of_a_class_of_two_one_is_frozen_and_a_class_of_one_is_learnt_from() -> None:
    spec = plan(target="y", features={"x": "number"})
    rows = [[at, "usual"] for at in range(50)] + [[100, "rare"], [101, "rare"], [200, "single"]]
    table = table_of(spec, csv_file(["x", "y"], rows))
    assert Counter(table.target[choose(spec, table)].tolist()) == {"usual": 10, "rare": 1}


@pytest.mark.parametrize("count", [3, 5, 8, 10, 14, 19, 25])
def test_of_few_numbers_about_the_share_is_frozen(count: int) -> None:
    spec = plan(target="y", features={"x": "number"}, task="regression", metric="rmse", kinds=["linear_regression"])
    table = table_of(spec, csv_file(["x", "y"], [[at, at * 3 % 7 + at / 100] for at in range(count)]))
    assert int(choose(spec, table).sum()) == pytest.approx(max(1, count * 0.2), abs=1)


def test_of_few_different_rows_with_numbers_one_is_frozen() -> None:
    spec = plan(target="y", features={"x": "number"}, task="regression", metric="rmse", kinds=["linear_regression"])
    table = table_of(spec, csv_file(["x", "y"], [[at % 3, at] for at in range(90)]))
    assert int(choose(spec, table).sum()) == 30


TIMED = weather_plan(split={"by": "time", "column": "date"})


def test_the_newest_rows_are_frozen_by_time() -> None:
    found = frozen_days(*ALL, spec=TIMED)
    assert len(found) == 293
    assert min(found) == "2015-03-14"
    assert in_words(TIMED) == "the newest 20 % of the rows by 'date'"


def test_rows_of_one_time_are_on_one_side() -> None:
    spec = plan(target="y", features={"x": "number"}, task="binary", split={"by": "time", "column": "at"})
    rows = [[f"2012-01-{at // 10 + 1:02}T06:00:00Z", at, "ab"[at % 2]] for at in range(100)]
    table = table_of(spec, csv_file(["at", "x", "y"], rows))
    mask = choose(spec, table)
    assert set(table.others["at"][mask].tolist()) == {"2012-01-09T06:00:00Z", "2012-01-10T06:00:00Z"}
    assert int(mask.sum()) == 20
    assert int(choose(plan(target="y", features={"x": "number"}, task="binary", holdout=0.15,
                           split={"by": "time", "column": "at"}), table).sum()) == 20  # fmt: skip


GROUPED = plan(target="y", features={"x": "number"}, task="binary", split={"by": "group", "column": "who"})


def grouped(*sizes: int) -> bytes:
    rows = [
        [f"group {group}", group * 1000 + at, "ab"[at % 2]] for group, size in enumerate(sizes) for at in range(size)
    ]
    return csv_file(["who", "x", "y"], rows)


def test_whole_groups_are_frozen() -> None:
    table = table_of(GROUPED, grouped(*[10] * 20))
    mask = choose(GROUPED, table)
    names = table.others["who"]
    assert not set(names[mask].tolist()) & set(names[~mask].tolist())
    assert int(mask.sum()) == 40
    assert in_words(GROUPED) == "whole groups of 'who', 20 % of the rows"


def test_what_comes_later_of_a_frozen_group_is_frozen_too() -> None:
    """Else the group would be on both sides, which is what the rule is for."""
    table, rows = chosen(GROUPED, grouped(*[10] * 20))
    frozen = {row[0] for row in rows.rows}
    later = csv_file(["x", "who", "y"], [[90000 + at, f"group {at}", "ab"[at % 2]] for at in range(30)])
    both = table_of(GROUPED, grouped(*[10] * 20), later)
    mask = are_frozen(GROUPED, both, rows)
    assert set(both.others["who"][mask].tolist()) == frozen
    assert int(mask.sum()) == 40 + 4
    assert len(table) == 200


def test_the_largest_group_is_not_frozen_where_a_smaller_one_will_do() -> None:
    for sizes in ((900, 20, 30, 50), (20, 900, 50, 30), (30, 50, 900, 20)):
        table = table_of(GROUPED, grouped(*sizes))
        assert 20 <= int(choose(GROUPED, table).sum()) <= 200
    table = table_of(GROUPED, grouped(500, 300, 400))
    assert set(table.others["who"][choose(GROUPED, table)].tolist()) == {"group 1"}


@pytest.mark.parametrize(
    ("spec", "file", "frozen"),
    [
        (GROUPED, grouped(50), 50),
        (weather_plan(split={"by": "time", "column": "at"}), with_columns(ALL[0], at="2012-01-01"), 366),
        (plan(target="y", features={"x": "number"}, task="binary"), csv_file(["x", "y"], [[1, "a"], [2, "b"]]), 0),
        (
            plan(target="y", features={"x": "number"}, task="binary"),
            csv_file(["x", "y"], [[1, "ab"[at % 2]] for at in range(2)]),
            0,
        ),
    ],
    ids=["one group", "one time", "one row of each class", "rows that differ in the target only"],
)
def test_rows_that_cannot_be_divided_are_refused_in_words(spec: Plan, file: bytes, frozen: int) -> None:
    table = table_of(spec, file)
    with pytest.raises(UsageError) as refused:
        choose(spec, table)
    assert refused.value.code == "too_few_rows"
    left = len(table) - frozen
    assert f"{len(table)} rows are too few to be divided: {frozen} would be frozen" in refused.value.message
    assert f"and {left} left to train on" in refused.value.message
    assert "evaluation.split" in (refused.value.next_step or "")


# -- which rows may be chosen -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [weather_plan(), TIMED], ids=["stratified", "time"])
def test_only_allowed_rows_are_frozen_and_the_share_is_of_all(spec: Plan) -> None:
    table = table_of(spec, *ALL)
    allowed = np.array([day >= "2014" for day in table.columns["date"]])
    mask = choose(spec, table, allowed=allowed)
    assert not (mask & ~allowed).any()
    assert int(mask.sum()) == pytest.approx(292, abs=2)


def test_a_group_of_which_one_row_may_not_be_frozen_is_not_frozen() -> None:
    table = table_of(GROUPED, grouped(*[10] * 20))
    names = table.others["who"]
    first = set(names[choose(GROUPED, table)].tolist())
    allowed = np.ones(len(table), dtype=np.bool_)
    for name in first:
        allowed[np.flatnonzero(names == name)[0]] = False
    second = set(names[choose(GROUPED, table, allowed=allowed)].tolist())
    assert second
    assert not first & second


def test_a_row_whose_twin_may_not_be_frozen_is_not_frozen() -> None:
    """They differ in the target only, and the champion has seen one of them."""
    spec = plan(target="y", features={"x": "number"}, task="binary")
    table = table_of(spec, csv_file(["x", "y"], [[at // 2, "ab"[at % 2]] for at in range(100)]))
    allowed = np.arange(100) % 2 == 0
    with pytest.raises(UsageError, match="0 would be frozen"):
        choose(spec, table, allowed=allowed)
