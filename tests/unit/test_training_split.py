"""Which rows are held out: the same ones, whatever happens around them."""

import csv
import io

import pytest

from modelyard.training.split import content, held_out
from modelyard.training.table import Table, read_table
from tests.fakes.training_data import weather, weather_plan


def sides(table: Table) -> dict[str, bool]:
    return dict(zip(table.columns["date"].tolist(), table.evaluation.tolist(), strict=True))


def read(files: list[bytes], **changes: object) -> dict[str, bool]:
    table = read_table(weather_plan(**changes), files).table
    assert table is not None
    return sides(table)


def test_a_row_keeps_its_side_when_more_files_arrive() -> None:
    before, after = read(weather(2012)), read(weather(2012, 2013, 2014, 2015))
    assert len(after) == 1_461
    assert {day: after[day] for day in before} == before


def test_a_row_keeps_its_side_in_another_order_another_file_and_another_spelling() -> None:
    before = read(weather(2012, 2013))
    lines = b"".join(weather(2012, 2013)).decode().splitlines()
    header = lines[0]
    rows = [line for line in lines if line != header]
    rows.sort(key=lambda line: line[::-1])
    reordered = io.StringIO()
    writer = csv.DictWriter(reordered, ["weather", "wind", "temp_min", "temp_max", "precipitation", "date"])
    writer.writeheader()
    for row in csv.DictReader([header, *rows]):
        writer.writerow({**row, "wind": f"{float(row['wind']):.3f}", "temp_min": f"{float(row['temp_min']):+.3e}"})
    assert read([reordered.getvalue().encode()]) == before


def test_a_row_keeps_its_side_when_its_label_is_corrected() -> None:
    assert read([weather(2012)[0].replace(b"rain", b"fog")]) == read(weather(2012))


def test_rows_that_were_held_out_stay_held_out_when_they_are_uploaded_again() -> None:
    before = read(weather(2012))
    header, *lines = weather(2012)[0].decode().splitlines()
    again = "\n".join([header, *(line for line in lines if before[line[:10]])]).encode()
    assert read([*weather(2012), again]) == before
    assert all(read([again]).values())


def test_a_row_keeps_its_side_when_the_model_looks_at_fewer_columns() -> None:
    assert read(weather(2012), features={"date": "date", "wind": "number"}) == read(weather(2012))


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_about_the_asked_share_is_held_out(share: float) -> None:
    found = read(weather(2012, 2013, 2014, 2015), holdout=share)
    assert sum(found.values()) / len(found) == pytest.approx(share, abs=0.03)


def test_a_larger_share_only_adds_rows() -> None:
    smaller, larger = read(weather(2012), holdout=0.2), read(weather(2012), holdout=0.3)
    assert all(larger[day] for day, held in smaller.items() if held)


def test_equal_numbers_have_one_content_and_equal_texts_another() -> None:
    assert content([("a", "5.0"), ("b", "x")]) == content([("b", "x"), ("a", "5e0"), ("c", ""), ("", "7")])
    assert content([("a", "-0")]) == content([("a", "0.0")])
    assert content([("a", "5"), ("b", "x")]) != content([("a", "x"), ("b", "5")])
    assert content([("a", "b"), ("c", "d")]) != content([("a", 'b"],["c","d')])


def test_the_side_of_a_known_row_never_changes() -> None:
    """The split is a promise to every version that was registered: this test fails when its form changes."""
    row = [("date", "2012-01-02"), ("precipitation", "10.9"), ("wind", "4.5"), ("weather", "rain")]
    assert content(row) == b'[["date","2012-01-02"],["precipitation","10.9"],["weather","rain"],["wind","4.5"]]'
    assert not held_out(row, target="weather", share=0.2)
    (day,) = [day for day, held in read(weather(2012)).items() if held][:1]
    assert day == "2012-01-08"
