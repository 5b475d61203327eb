"""Scales of pictures: where a value stands, and what the marks are called."""

import pytest

from modelyard.pages.scale import Scale, anchor, ticks
from modelyard.pages.words import cut, duration, figure, percent, sentence


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ((0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ((0.0, 0.0002), ["0.00000", "0.00005", "0.00010", "0.00015", "0.00020"]),
        ((0, 5000), ["0", "1,000", "2,000", "3,000", "4,000", "5,000"]),
        ((0, 42_000), ["0k", "10k", "20k", "30k", "40k"]),
        ((-2.1e6, 1.9e6), ["-2M", "-1M", "0M", "1M"]),
        ((1_000_000, 1_000_003), ["1,000,000", "1,000,001", "1,000,002", "1,000,003"]),
        ((-1e-7, 2e-7), ["-1 \u00d7 10⁻⁷", "0", "1 \u00d7 10⁻⁷", "2 \u00d7 10⁻⁷"]),
        ((3, 3), ["2.8", "2.9", "3.0", "3.1", "3.2"]),
        ((None, float("nan"), 2, 1e300, 4), ["2.0", "2.5", "3.0", "3.5", "4.0"]),
    ],
    ids=str,
)
def test_marks_are_round_and_told_in_one_short_unit(values: tuple[float | None, ...], labels: list[str]) -> None:
    scale = Scale.over(values)
    assert scale is not None
    assert scale.labels() == labels


@pytest.mark.parametrize("values", [(), (None,), (float("inf"),), (1e200, -1e308)], ids=str)
def test_where_nothing_can_be_drawn_there_is_no_scale(values: tuple[float | None, ...]) -> None:
    assert Scale.over(values) is None


@pytest.mark.parametrize(
    "values", [(5e-324, 0), (1e99, -1e99), (1e16, 1e16 + 2), (0.1, 0.1 + 1e-16), (-1e-310, 1e-310)], ids=str
)
def test_values_that_a_computer_hardly_tells_apart_have_a_scale(values: tuple[float, ...]) -> None:
    scale = Scale.over(values)
    assert scale is not None
    assert all(0 <= scale.place(value) <= 100 for value in (*values, *scale.marks))
    assert len(scale.labels()) == len(scale.marks) > 1


def test_what_is_off_the_scale_stands_at_its_end_and_text_stays_inside() -> None:
    scale = Scale.over([0, 10], margin=3)
    assert scale is not None
    assert [scale.place(value) for value in (-99, 0, 5, 10, 1e9)] == [3, 3, 50, 97, 97]
    assert (scale.at(5), scale.up(10)) == ("50%", "3%")
    assert [anchor(place) for place in (3, 50, 97)] == ["s", "m", "e"]


def test_ticks_enclose() -> None:
    assert ticks(0.71, 0.93) == [0.7, 0.8, 0.9, 1.0]


def test_numbers_are_written_for_people() -> None:
    assert [figure(value) for value in (0.0, 12345.6, 9999.4, -0.00001, 1e20, float("nan"))] == [
        "0", "12,346", "9,999", "-1 \u00d7 10⁻⁵", "1 \u00d7 10²⁰", "not recorded",
    ]  # fmt: skip
    assert [percent(value) for value in (0.0, 0.0001, 0.031, 0.5, 0.995, 0.9999, 1.0, None)] == [
        "0 %", "under 0.1 %", "3.1 %", "50 %", "99.5 %", "over 99.9 %", "100 %", "not recorded",
    ]  # fmt: skip
    assert [duration(value) for value in (0.004, 59.4, 59.6, 3599.6, 90_000, -1, None)] == [
        "0.004 s", "59 s", "1 min 0 s", "1 h 0 min", "25 h 0 min", "not recorded", "not recorded",
    ]  # fmt: skip


def test_a_sentence_begins_with_a_capital_letter_unless_a_name_begins_it() -> None:
    for said, expected in (
        ("the file is empty", "The file is empty."),
        ("log_loss 2 against 3", "log_loss 2 against 3."),
        ("accuracy, 0.5!", "accuracy, 0.5!"),
        ("2012.csv is empty.", "2012.csv is empty."),
        ("", "."),
    ):
        assert sentence(said) == expected
    assert cut("aye" * 5, 3) == "aye… (15 characters)"
