"""What a training file may look like, and what its owner is told otherwise."""

import hashlib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.errors import UsageError
from modelyard.training.plan import Plan
from modelyard.training.table import Reading, Table, check_upload, read_table, table_of
from tests.fakes.training_data import csv_file, plan, weather, weather_plan

HEADER = ["day", "size", "colour", "grade"]
ROWS = [
    ["2024-01-01", 1.5, "red", "good"],
    ["2024-01-02", 2.5, "blue", "bad"],
    ["2024-01-03", 3.5, "red", "good"],
    ["2024-01-04", 4.5, "green", "bad"],
]
FEATURES = {"day": "date", "size": "number", "colour": "category"}


@pytest.fixture(scope="module")
def graded() -> Plan:
    return plan(target="grade", features=FEATURES)


def changed(row: int, column: str, value: Any) -> bytes:
    rows = [list(cells) for cells in ROWS]
    rows[row][HEADER.index(column)] = value
    return csv_file(HEADER, rows)


def without(column: str) -> bytes:
    at = HEADER.index(column)
    return csv_file([*HEADER[:at], *HEADER[at + 1 :]], [[*row[:at], *row[at + 1 :]] for row in ROWS])


def accepted(reading: Reading) -> Table:
    assert reading.findings == ()
    assert reading.table is not None
    return reading.table


def test_a_file_becomes_typed_columns_in_the_order_of_the_plan(graded: Plan) -> None:
    table = accepted(read_table(graded, [csv_file(HEADER[::-1], [row[::-1] for row in ROWS])]))
    assert list(table.columns) == ["day", "size", "colour"]
    assert table.columns["size"].tolist() == [1.5, 2.5, 3.5, 4.5]
    assert table.columns["colour"].tolist() == ["red", "blue", "red", "green"]
    assert table.target.tolist() == ["good", "bad", "good", "bad"]


def test_labels_stay_text_and_a_regression_target_is_a_number() -> None:
    file = csv_file(["size", "grade"], [[1, "1"], [2, "0"], [3, "1"]])
    assert accepted(read_table(plan(target="grade", features={"size": "number"}), [file])).target.tolist() == [
        "1",
        "0",
        "1",
    ]
    regression = plan(
        target="grade", features={"size": "number"}, task="regression", metric="mae", kinds=["random_forest"]
    )
    assert accepted(read_table(regression, [file])).target.tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    "spelling",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"\n", b"\r"),
        lambda text: text.replace(b",", b" , "),
        lambda text: text.replace(b"\n", b"\n\n") + b",,,\n",
        lambda text: b"\n".join(b",".join(b'"%b"' % cell for cell in line.split(b",")) for line in text.split()),
        lambda text: text.rstrip(),
    ],
    ids=["byte order mark", "CRLF", "CR", "blanks", "blank lines", "quoted", "no last line end"],
)
def test_spellings_of_the_same_table_read_the_same(graded: Plan, spelling: Any) -> None:
    plain = accepted(read_table(graded, [csv_file(HEADER, ROWS)]))
    table = accepted(read_table(graded, [spelling(csv_file(HEADER, ROWS))]))
    assert [column.tolist() for column in table.columns.values()] == [
        column.tolist() for column in plain.columns.values()
    ]
    assert table.target.tolist() == plain.target.tolist()


def test_a_quoted_newline_is_part_of_a_value_and_lines_are_still_counted_right(graded: Plan) -> None:
    rows = [["2024-01-01", 1.5, "red\nand blue", "good"], ["2024-01-02", "big", "red", "bad"]]
    reading = read_table(graded, [csv_file(HEADER, rows)], names=["a.csv"])
    assert reading.findings == (
        "a.csv: column 'size': 1 value cannot be read (line 4: 'big'); expected numbers such as 4.7, of at most "
        "3.4e38; empty where missing",
    )
    assert accepted(read_table(graded, [csv_file(HEADER, rows[:1] + ROWS)])).columns["colour"][0] == "red\nand blue"


def test_missing_values_of_features_are_kept_as_missing(graded: Plan) -> None:
    rows = [["", "", "", "good"], ["2024-01-02", "NA", "NA", "bad"], ["2024-01-03", "NaN", "red", "bad"], ROWS[0]]
    table = accepted(read_table(graded, [csv_file(HEADER, rows)]))
    assert np.isnan(table.columns["size"]).tolist() == [True, True, True, False]
    assert table.columns["colour"].tolist() == ["", "NA", "red", "red"], "NA is a value of a category"
    assert table.columns["day"][0] == ""
    assert table.instances()[0] == {"day": "", "size": None, "colour": ""}


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"", "is empty"),
        (b" \n\n ", "is empty"),
        (csv_file(HEADER, []), "has a header and no rows"),
        (csv_file(HEADER, ROWS).replace(b",", b";"), "separated by semicolons; expected commas"),
        (csv_file(HEADER, ROWS).replace(b",", b"\t"), "separated by tabs; expected commas"),
        (csv_file(HEADER, ROWS).decode().encode("utf-16"), "is UTF-16"),
        (changed(1, "colour", "gr\u00fcn").decode().encode("latin-1"), "not UTF-8 (byte 0xfc on line 3)"),
        (b"PK\x03\x04" + bytes(20), "is a zip or Excel file"),
        (b"PAR1" + bytes(20), "is a Parquet file"),
        (csv_file(HEADER, ROWS) + b"\x00", "holds a NUL byte"),
        (csv_file(HEADER, ROWS) + b'2024-01-05,1,"red,good\n', "line 6 is not CSV"),
        (csv_file(HEADER, ROWS) + b"2024-01-05,1,good\n", "1 rows do not have 4 values (line 6 has 3)"),
        (without("size"), "column 'size' is missing; the header has 'day', 'colour', 'grade'"),
        (without("grade"), "column 'grade' is missing"),
        (csv_file(["day", "Size", "colour", "grade"], ROWS), "column 'size' is missing; did you mean 'Size'?"),
        (csv_file(["day", "size", "size", "grade"], ROWS), "column 'size' is there 2 times"),
        (csv_file(ROWS[0], ROWS[1:]), "column 'day' is missing; the header has '2024-01-01'"),
        (changed(2, "size", "3,5"), "column 'size': 1 value cannot be read (line 4: '3,5'); expected numbers"),
        (changed(2, "size", "1_000"), "line 4: '1_000'"),
        (changed(2, "size", "inf"), "line 4: 'inf'"),
        (changed(2, "size", "1e400"), "line 4: '1e400'"),
        (changed(2, "size", "1e39"), "of at most 3.4e38"),
        (
            changed(0, "day", "01/02/2024"),
            "column 'day': 1 value cannot be read (line 2: '01/02/2024'); expected dates",
        ),
        (changed(0, "day", "2024-02-30"), "line 2: '2024-02-30'"),
        (changed(0, "day", "2024-1-3"), "line 2: '2024-1-3'"),
        (changed(0, "day", "20240103"), "line 2: '20240103'"),
        (changed(0, "day", "2024-W01-1"), "line 2: '2024-W01-1'"),
        (changed(3, "grade", ""), "column 'grade' is the target and has no value in 1 row (line 5)"),
        (csv_file(HEADER, [[*row[:2], "", row[3]] for row in ROWS]), "column 'colour' is empty in all 4 rows"),
        (csv_file(HEADER, [[row[0], "NA", *row[2:]] for row in ROWS]), "column 'size' is empty in all 4 rows"),
        (csv_file(HEADER, [[*row[:3], "good"] for row in ROWS]), "target 'grade' has one class only ('good', 4 rows)"),
        (csv_file(HEADER, [[*row[:2], row[3], row[3]] for row in ROWS]), "column 'colour' equals the target in all 4"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_words(graded: Plan, file: bytes, said: str) -> None:
    reading = read_table(graded, [file], names=["a.csv"])
    assert reading.table is None
    assert said in "\n".join(reading.findings)


def test_swapped_columns_are_found_by_their_values(graded: Plan) -> None:
    findings = read_table(graded, [csv_file(["size", "day", "colour", "grade"], ROWS)]).findings
    assert len(findings) == 2
    assert "column 'day'" in findings[0]
    assert "column 'size'" in findings[1]


def test_all_findings_of_all_files_come_at_once(graded: Plan) -> None:
    files = [changed(0, "size", "big"), b"", changed(1, "day", "soon")]
    findings = read_table(graded, files, names=["a.csv", "b.csv", "c.csv"]).findings
    assert [finding.split(":")[0] for finding in findings] == ["b.csv", "a.csv", "c.csv"]


def test_a_finding_shows_three_examples_and_counts_the_others(graded: Plan) -> None:
    rows = [["2024-01-01", f"no {number}", "red", "good"] for number in range(10)]
    (finding,) = read_table(graded, [csv_file(HEADER, rows)]).findings
    assert "10 values cannot be read (line 2: 'no 0', line 3: 'no 1', line 4: 'no 2' and 7 more)" in finding


@pytest.mark.parametrize("feature", [["1", "0", "2"], ["1.0", "0.0", "2e0"]])
def test_a_leak_is_found_in_whatever_spelling(feature: list[str]) -> None:
    leaking = plan(target="grade", features={"other": "number"})
    reading = read_table(leaking, [csv_file(["other", "grade"], list(zip(feature, "102", strict=True)))])
    assert "column 'other' equals the target in all 3 rows: it is the answer; leave it out" in reading.findings


def test_a_leak_of_a_regression_is_found() -> None:
    leaking = plan(target="y", features={"x": "number"}, task="regression", metric="mae", kinds=["random_forest"])
    (finding,) = read_table(leaking, [csv_file(["x", "y"], [[1, 1.0], [2.5, "2.50"]])]).findings
    assert "equals the target" in finding


def test_a_feature_that_only_renames_the_classes_is_remarked_on() -> None:
    coded = plan(target="grade", features={"code": "category", "size": "number"})
    reading = read_table(
        coded, [csv_file(["code", "size", "grade"], [["A", 1, "good"], ["B", 2, "bad"], ["A", 3, "good"]])]
    )
    accepted(reading)
    assert any("'code' has one value for each class" in remark for remark in reading.remarks)


def test_a_regression_with_one_value_and_a_binary_task_with_three_classes_are_refused() -> None:
    regression = plan(target="y", features={"x": "number"}, task="regression", metric="mae", kinds=["random_forest"])
    (finding,) = read_table(regression, [csv_file(["x", "y"], [[1, 7], [2, 7.0]])]).findings
    assert finding == "target 'y' is 7.0 in all 2 rows; expected different values"
    binary = plan(target="y", features={"x": "number"}, task="binary")
    (finding,) = read_table(binary, [csv_file(["x", "y"], [[1, "a"], [2, "b"], [3, "c"]])]).findings
    assert finding == "target 'y' has 3 classes ('a', 'b', 'c'); a binary task has two"


def test_a_measurement_given_as_classes_and_an_id_given_as_a_category_are_refused() -> None:
    rows = [[f"id {number}", number, number + 0.5] for number in range(1_001)]
    multiclass = plan(target="y", features={"x": "number"})
    (finding,) = read_table(multiclass, [csv_file(["id", "x", "y"], rows)]).findings
    assert "has 1,001 classes in 1,001 rows" in finding
    regression = plan(target="y", features={"id": "category"}, task="regression", metric="mae", kinds=["random_forest"])
    (finding,) = read_table(regression, [csv_file(["id", "x", "y"], rows)]).findings
    assert "column 'id' is a category with 1,001 different values" in finding


def test_rows_that_come_again_in_another_file_are_dropped_with_a_remark(graded: Plan) -> None:
    again = [[row[0], f"{row[1]}0", *row[2:]] for row in ROWS]
    reading = read_table(graded, [csv_file(HEADER, ROWS), csv_file(HEADER, again)])
    assert len(accepted(reading)) == 4
    assert reading.rows == (4, 4)
    assert reading.remarks == ("4 of 8 rows are in an earlier file already, the same in every column: dropped",)


def test_rows_that_say_the_same_within_one_file_are_cases_of_their_own(graded: Plan) -> None:
    """A survey with few answers has many equal rows, and without them other shares of each class."""
    once, twice, thrice = (csv_file(HEADER, ROWS + ROWS[:1] * more) for more in (0, 1, 2))
    reading = read_table(graded, [twice])
    assert len(accepted(reading)) == 5
    (remark,) = reading.remarks
    assert remark.startswith("file 1: 1 of 5 rows say the same as an earlier row of the file")
    for files, rows in (([once, twice], 5), ([twice, once], 5), ([twice, thrice], 6), ([thrice, twice, once], 6)):
        assert len(accepted(read_table(graded, files))) == rows


def test_rows_that_differ_in_a_column_the_model_does_not_use_are_no_duplicates() -> None:
    small = plan(target="grade", features={"size": "number"})
    reading = read_table(small, [csv_file(["id", "size", "grade"], [[1, 5, "a"], [2, 5, "a"], [3, 6, "b"]])])
    assert len(accepted(reading)) == 3
    assert reading.remarks[0] == "file 1: not used by the model: id"


def test_the_index_of_a_data_frame_counts_for_nothing(graded: Plan) -> None:
    files = [csv_file(["", *HEADER], [[at + first, *row] for at, row in enumerate(ROWS)]) for first in (0, 100)]
    assert len(accepted(read_table(graded, files))) == 4


def test_no_files_at_all_is_a_finding(graded: Plan) -> None:
    assert read_table(graded, []).findings == ("there is no training file; expected at least one",)


def test_an_upload_is_checked_alone_and_its_digest_is_that_of_its_bytes() -> None:
    (file,) = weather(2012)
    check = check_upload(weather_plan(), file, name="2012.csv", minimum_rows=30)
    assert check.valid
    assert check.rows == 366
    assert check.sha256 == hashlib.sha256(file).hexdigest()


def test_an_upload_with_too_few_rows_is_refused(graded: Plan) -> None:
    check = check_upload(graded, csv_file(HEADER, ROWS), name="a.csv", minimum_rows=5)
    assert not check.valid
    assert check.findings == ("a.csv: has 4 rows; expected at least 5",)
    assert check_upload(graded, csv_file(HEADER, ROWS + ROWS[:1]), minimum_rows=5).valid, "as the file has them"


def test_a_sunny_week_is_refused_alone_and_accepted_after_a_year() -> None:
    header, *lines = weather(2014)[0].decode().splitlines()
    sunny = "\n".join([header, *[line for line in lines if line.endswith(",sun")][:7]]).encode()
    assert "one class only" in check_upload(weather_plan(), sunny).findings[0]
    check = check_upload(weather_plan(), sunny, earlier=weather(2012))
    assert check.valid
    assert check.rows == 7


def test_new_categories_and_classes_are_welcome(graded: Plan) -> None:
    new = csv_file(HEADER, [["2025-01-01", 9, "violet", "excellent"]])
    assert check_upload(graded, new, earlier=[csv_file(HEADER, ROWS)]).valid


def test_ten_times_the_usual_rows_are_read(graded: Plan) -> None:
    rows = [
        [f"20{year:02}-0{month}-1{day}", year / 7 + month, "red", "good" if day % 2 else "bad"]
        for year in range(100)
        for month in range(1, 10)
        for day in range(10)
    ]
    assert len(accepted(read_table(graded, [csv_file(HEADER, rows)]))) == 9_000


# -- columns that are no features -------------------------------------------------------------------------------------

SPLIT = plan(target="grade", features={"size": "number"}, split={"by": "time", "column": "day"})
GROUPED = plan(target="grade", features={"size": "number"}, split={"by": "group", "column": "colour"})
SLICED = msgspec.structs.replace(GROUPED, evaluation=msgspec.structs.replace(GROUPED.evaluation, slices=["day"]))


def test_columns_that_rows_are_split_or_sliced_by_are_kept_beside_the_features() -> None:
    table = accepted(read_table(SLICED, [csv_file(HEADER, ROWS)]))
    assert list(table.columns) == ["size"]
    assert {name: column.tolist() for name, column in table.others.items()} == {
        "day": ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"],
        "colour": ["red", "blue", "red", "green"],
    }
    assert table.others_or_features("colour").tolist() == ["red", "blue", "red", "green"]
    assert table.others_or_features("size").tolist() == [1.5, 2.5, 3.5, 4.5]


@pytest.mark.parametrize("spec", [SPLIT, GROUPED, SLICED], ids=["time", "group", "slices"])
def test_a_file_without_such_a_column_is_refused(spec: Plan) -> None:
    (missing,) = {"day", "colour"} & set(spec.columns) if spec is not SLICED else ("day",)
    assert f"column {missing!r} is missing" in read_table(spec, [without(missing)]).findings[0]


@pytest.mark.parametrize("value", ["soon", "03.01.2024", "2024", "", "20240103"])
def test_a_time_that_does_not_sort_as_text_is_refused(value: str) -> None:
    (finding,) = read_table(SPLIT, [changed(2, "day", value)], names=["a.csv"]).findings
    assert finding.startswith(
        f"a.csv: column 'day': 1 value cannot be read (line 4: {value!r}); expected dates or times"
    )


@pytest.mark.parametrize("value", ["2024-01-03", "2024-01-03T06:00:00Z", "2024-01-03 06:00", "2024-01"])
def test_a_date_a_time_and_a_month_are_times(value: str) -> None:
    accepted(read_table(SPLIT, [changed(2, "day", value)]))


def test_a_row_of_no_group_is_refused() -> None:
    (finding,) = read_table(GROUPED, [changed(1, "colour", "")]).findings
    assert "expected a name in every row: rows of one group stay together" in finding
    accepted(read_table(SLICED, [changed(1, "day", "")]))  # a slice may be without a name


# -- parts of a table -------------------------------------------------------------------------------------------------


def test_some_rows_of_a_table_are_a_table(graded: Plan) -> None:
    table = accepted(
        read_table(graded, [csv_file(HEADER, ROWS), csv_file([*HEADER, "id"], [[*ROWS[0][:2], "x", "bad", 7]])])
    )
    part = table.take(np.array([False, True, False, False, True]))
    assert len(part) == 2
    assert part.columns["colour"].tolist() == ["blue", "x"]
    assert part.target.tolist() == ["bad", "bad"]
    assert part.files.tolist() == [0, 1]
    assert part.rows[1] == ["2024-01-01", "1.5", "x", "bad", "7"]
    assert part.headers[1] == (*HEADER, "id")


def test_a_file_of_checked_rows_is_read_whole(graded: Plan) -> None:
    """Duplicates, rows without any value, columns without any value, one class: a part of a table may be so."""
    rows = [["", "", "", "good"], ["2024-01-01", "", "", "good"], ["2024-01-01", "", "", "good"]]
    table = table_of(graded, csv_file(HEADER, rows), name="training.csv")
    assert (len(table), table.target.tolist()) == (3, ["good"] * 3)
    assert table.columns["day"].tolist() == ["", "2024-01-01", "2024-01-01"]


def test_questions_are_read_without_their_answer(graded: Plan) -> None:
    header, *rows = [[*row[:3]] for row in [HEADER, *ROWS]]
    table = table_of(graded, csv_file(header, [["", "", ""], *rows]), name="q.csv", without_target=True)
    assert (len(table), len(table.target)) == (5, 0)
    assert table.instances()[0] == {"day": "", "size": None, "colour": ""}
    assert len(table.take(np.array([True, True, False, False, False])).target) == 0


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (csv_file(HEADER, []), "q.csv: has a header and no rows"),
        (without("size"), "q.csv: column 'size' is missing"),
        (changed(0, "size", "big"), "q.csv: column 'size': 1 value cannot be read (line 2: 'big')"),
        (changed(0, "grade", ""), "q.csv: column 'grade' is the target and has no value in 1 row (line 2)"),
    ],
)
def test_a_file_that_is_not_of_checked_rows_is_an_error(graded: Plan, file: bytes, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        table_of(graded, file, name="q.csv")
    assert refused.value.code == "invalid_training_data"
    assert said in refused.value.message


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_either_rows_or_findings(graded: Plan, file: bytes) -> None:
    for content in (file, csv_file(HEADER, ROWS) + file):
        reading = read_table(graded, [content])
        assert (reading.table is None) == bool(reading.findings)
