"""What a row says: equal bytes for rows that say the same, and other bytes for all others."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.training.rows import NUMBER, content


def test_equal_numbers_have_one_content_and_equal_texts_another() -> None:
    assert content([("a", "5.0"), ("b", "x")]) == content([("b", "x"), ("a", "5e0"), ("c", ""), ("", "7")])
    assert content([("a", "-0")]) == content([("a", "0.0")])
    assert content([("a", "5"), ("b", "x")]) != content([("a", "x"), ("b", "5")])
    assert content([("a", "b"), ("c", "d")]) != content([("a", 'b"],["c","d')])


def test_the_content_of_a_known_row_never_changes() -> None:
    """Frozen rows are recognised by it: this test fails when its form changes."""
    row = [("date", "2012-01-02"), ("precipitation", "10.9"), ("wind", "4.50"), ("weather", "rain"), ("ort", "Köln")]
    assert content(row) == (
        '[["date","2012-01-02"],["ort","Köln"],["precipitation","10.9"],["weather","rain"],["wind","4.5"]]'.encode()
    )


@pytest.mark.parametrize("text", ["5", "5.0", "+5", "5.", "05", "5e0", "50e-1", "0.5E+1"])
def test_every_spelling_of_a_number_is_that_number(text: str) -> None:
    assert content([("a", text)]) == content([("a", "5")])


@pytest.mark.parametrize("text", ["1_000", "nan", "inf", "٣", "0x10", "1 000", "5 %", "2012-01-01", "1e", "."])
def test_what_only_looks_like_a_number_is_text(text: str) -> None:
    assert not NUMBER.fullmatch(text)
    assert json.loads(content([("a", text)])) == [["a", text]]


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=8), max_size=5), st.randoms())
def test_the_order_of_the_columns_says_nothing(cells: dict[str, str], random: object) -> None:
    shuffled = list(cells.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert content(shuffled) == content(cells.items())


@given(st.dictionaries(st.sampled_from("abc"), st.text(max_size=4), max_size=3))
def test_rows_of_other_words_have_another_content(cells: dict[str, str]) -> None:
    said = {name: text for name, text in cells.items() if text}
    for name, text in said.items():
        if not NUMBER.fullmatch(text):
            assert content((said | {name: f"{text}!"}).items()) != content(said.items())
