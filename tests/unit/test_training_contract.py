"""What a model that is trained promises: from all rows of its training files, by the kinds of the plan."""

from modelyard.contract.document import Field
from modelyard.training.contract import contract_of, remarks_on_upload
from modelyard.training.table import read_table
from tests.fakes.training_data import csv_file, plan

PLAN = plan(target="y", features={"x": "number", "day": "date", "kind": "category"}, task="regression", metric="rmse")


def fields(*rows: tuple[object, ...]) -> dict[str, Field]:
    table = read_table(PLAN, [csv_file(["x", "day", "kind", "y"], rows)]).table
    assert table is not None
    return contract_of(PLAN, table).fields


def test_a_date_is_free_text_and_a_category_has_its_categories_however_few_rows_there_are() -> None:
    found = fields((1, "2012-01-01", "a", 5), (2, "2012-01-01", "b", 3), (3, "2012-01-01", "c", 8))
    assert found["day"].categories is None
    assert found["kind"].categories == {"a": 0.3333, "b": 0.3333, "c": 0.3333}
    assert [(field.dtype, field.shape) for field in found.values()] == [
        ("float32", (None, 1)), ("string", (None, 1)), ("string", (None, 1)),
    ]  # fmt: skip


def test_empty_cells_are_missing_values_and_text_may_be_missing_only_where_there_were_some() -> None:
    found = fields(("", "2012-01-01", "a", 5), (2, "", "", 3), (4, "2012-01-02", "a", 8), ("NA", "", "a", 9))
    assert (found["x"].nulls, found["x"].null_rate, found["x"].seen) == (True, 0.5, (2.0, 4.0))
    assert (found["day"].nulls, found["day"].null_rate) == (True, 0.5)
    assert (found["kind"].nulls, found["kind"].null_rate, found["kind"].categories) == (True, 0.25, {"a": 1.0})
    assert not fields((1, "2012-01-01", "a", 5), (2, "2012-01-01", "b", 3))["kind"].nulls


def test_a_text_is_free_however_few_there_are_and_has_no_range() -> None:
    spec = plan(target="y", features={"said": "text"}, task="binary")
    rows = [["fine", "good"], ["bad", "poor"], ["", "poor"]]
    table = read_table(spec, [csv_file(["said", "y"], rows)]).table
    assert table is not None
    (found,) = contract_of(spec, table).fields.values()
    assert (found.dtype, found.shape, found.categories, found.seen) == ("string", (None, 1), None, None)
    assert (found.nulls, found.null_rate) == (True, 0.3333)


def test_an_upload_is_compared_with_what_the_live_version_promises() -> None:
    table = read_table(
        PLAN, [csv_file(["x", "day", "kind", "y"], [(at, "2012-01-01", "ab"[at % 2], at % 4) for at in range(9)])]
    )
    assert table.table is not None
    contract = contract_of(PLAN, table.table)
    odd = csv_file(
        ["x", "day", "kind", "y"], [(100, "1999-01-01", "a", 1), (200, "", "c", 2), ("", "2012-01-01", "b", 3)]
    )
    assert remarks_on_upload(PLAN, contract, odd, name="odd.csv") == [
        "odd.csv: column 'x' is 100 on line 2 and differs on 1 more; of the live version, allowed is -4 to 12",
        "odd.csv: column 'kind' is 'c' on line 3; of the live version, allowed are 'a', 'b'",
    ]
    spec = plan(target="y", features={"x": "text", "day": "date"}, task="regression", metric="rmse")
    assert remarks_on_upload(spec, contract, odd, name="odd.csv") == [], "a column that became text is another one"
