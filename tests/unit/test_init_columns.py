"""``modelyard init``: which columns of a CSV a model learns from, and why not the others."""

import pytest

from modelyard.scaffold.columns import describe
from tests.fakes.drafts import drafted, kinds
from tests.fakes.training_data import csv_file

TWENTY = range(20)


@pytest.mark.parametrize(
    ("name", "texts", "kind", "note"),
    [
        ("size", [f"{n}.5" for n in TWENTY], "number", "0.5 to 19.5"),
        ("size", [f"{n % 7}" for n in TWENTY], "number", "0 to 6"),
        ("size", [f"{n}e3" if n else "NA" for n in TWENTY], "number", "1000 to 19000; 1 of 20 missing"),
        ("day", [f"2024-01-{n + 1:02}" for n in TWENTY], "date", "2024-01-01 to 2024-01-20"),
        ("day", ["", *[f"2024-01-{n + 1:02}" for n in range(19)]], "date", "2024-01-01 to 2024-01-19; 1 of 20 missing"),
        ("city", ["Oslo", "Rome"] * 10, "category", "2 values: 'Oslo', 'Rome'"),
        ("answer", ["yes", "None"] * 10, "category", "2 values: 'yes', 'None'"),
        ("code", ["1", "2", "3+", "2"] * 5, "category", "3 values: '2', '1', '3+'"),
        ("row", [f"{n + 1}" for n in TWENTY], None, "counts the rows, from 1 to 20"),
        ("customer_id", [f"{n * 37 % 101}" for n in TWENTY], None, "is an id by its name; its size means nothing"),
        ("customerId", [f"{n * 37 % 101}" for n in TWENTY], None, "is an id by its name; its size means nothing"),
        ("email", [f"{n}@example.com" for n in TWENTY], None, "looks like an id: 20 different values in 20 rows"),
        ("text", [f"some words {n}" for n in TWENTY], None, "looks like free text: 20 different values in 20 rows"),
        ("empty", [""] * 20, None, "is empty in all 20 rows"),
        ("empty", ["NA", ""] * 10, None, "is empty in all 20 rows"),
        ("same", ["x", ""] * 10, None, "is 'x' in every row that has a value"),
        ("same", ["3", "3.0"] * 10, None, "is 3 in every row that has a value"),
        ("", [f"{n}" for n in TWENTY], None, "has no name"),
        ("a\nb", [f"{n % 7}" for n in TWENTY], None, "its name holds control characters"),
        ("label", ["a", "b"] * 10, None, "is the name of a model's output; rename the column to use it"),
        ("price", [f"1,{n}" for n in TWENTY], None, "holds numbers written like '1,0'; write them like 1234.5"),
        ("price", [f"{n} €" for n in TWENTY], None, "holds numbers written like '0 €'; write them like 1234.5"),
        (
            "size",
            [*map(str, range(19)), "?"],
            None,
            "holds numbers and other text, like '?'; empty those cells to use it",
        ),
        ("when", [f"{n + 1}/3/2024" for n in TWENTY], None, "holds dates like '1/3/2024'; write them like 2012-01-31"),
        (
            "when",
            [f"2024-01-{n + 1:02}T10:00:00Z" for n in TWENTY],
            None,
            "holds dates with a time, like '2024-01-01T10:00:00Z'; write them like 2012-01-31",
        ),
        (
            "when",
            [*[f"2024-01-{n + 1:02}" for n in range(19)], "NA"],
            None,
            "holds dates and other text, like 'NA'; empty those cells to use it",
        ),
    ],
)
def test_a_column_is_used_only_where_it_can_mean_nothing_else(name, texts, kind, note):
    found = describe(name, texts, ["x", "y"] * 10)
    assert (found.kind, found.note) == (kind, note)


def test_a_category_with_many_values_is_left_to_a_person():
    texts = [f"t{n % 250}" for n in range(2000)]
    found = describe("town", texts, ["x"] * 2000)
    assert (found.kind, found.instead) == (None, "category")
    found = describe("town", [f"t{n % 1100}" for n in range(4400)], ["x"] * 4400)
    assert (found.kind, found.instead) == (None, None)


def test_a_column_that_says_what_the_target_says_is_left_out():
    draft = drafted(csv_file(["a", "b", "c"], [[f"{n}.0", n % 7, n] for n in range(3, 99, 2)]))
    assert kinds(draft) == {"a": None, "b": "number"}
