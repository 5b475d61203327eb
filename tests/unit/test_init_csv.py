"""``modelyard init``: what a CSV file says about the model to be trained on it, and which files are refused."""

import itertools
import pickle

import pytest

from modelyard.scaffold import write_folder
from modelyard.scaffold.render import render
from modelyard.spec import load_model, parse_model, training_plan
from modelyard.training.plan import decode_plan
from modelyard.training.table import read_table
from tests.fakes.drafts import TABLE, drafted, kinds, refused
from tests.fakes.training_data import breast_cancer, csv_file, diabetes, iris


@pytest.mark.parametrize(
    ("table", "task", "metric", "candidate"),
    [
        (iris, "multiclass", "log_loss", "logistic_regression"),
        (breast_cancer, "binary", "log_loss", "logistic_regression"),
        (diabetes, "regression", "rmse", "linear_regression"),
    ],
)
def test_a_table_becomes_a_spec_that_the_trainer_accepts(table, task, metric, candidate, tmp_path):
    content, columns = table()
    draft = drafted(content)
    assert draft.training is not None
    assert (draft.task, draft.training.metric) == (task, metric)
    assert draft.training.candidates[0][0] == candidate
    assert kinds(draft) == dict.fromkeys(columns, "number")
    write_folder(draft, tmp_path / "models")
    model = load_model(tmp_path / "models" / "drafted")
    assert [file.read_bytes() for file in model.training_files()] == [content]
    assert read_table(decode_plan(training_plan(model.spec)), [content]).table is not None


def test_a_large_table_gets_smaller_grids(monkeypatch):
    monkeypatch.setattr("modelyard.scaffold.trained.LARGE_TABLE", 100)
    spec = parse_model(render(drafted(iris()[0])), file="m")
    assert spec.training is not None
    assert spec.training.timeout_s == 900
    assert [len(list(itertools.product(*candidate.grid.values()))) for candidate in spec.training.candidates] == [1] * 3


@pytest.mark.parametrize(
    ("answers", "task"),
    [
        (["yes", "no"], "binary"),
        (["0", "1"], "binary"),
        (["true", "false"], "binary"),
        (["a", "b", "c"], "multiclass"),
        (["1", "2", "3"], "multiclass"),
        (["1.5", "2.5", "3.5"], "regression"),
        ([str(n) for n in range(25)], "regression"),
    ],
)
def test_the_task_follows_from_the_targets_values(answers, task):
    rows = [[n % 7, answers[n % len(answers)]] for n in range(100)]
    assert drafted(csv_file(["size", "y"], rows)).task == task


def test_target_task_and_metric_can_be_given():
    rows = [[n % 5, n % 3, n % 7] for n in range(100)]
    draft = drafted(csv_file(["a", "b", "c"], rows), target="b", task="regression", metric="mae")
    assert draft.training is not None
    assert (draft.training.target, draft.task, draft.training.metric) == ("b", "regression", "mae")
    assert kinds(draft) == {"a": "number", "c": "number"}


def test_the_example_is_rows_of_the_file_of_different_classes():
    rows = [["", "x", "good"], *[[n % 9, "x" if n % 2 else "y", "good" if n < 30 else "bad"] for n in range(60)]]
    draft = drafted(csv_file(["size", "kind", "grade"], rows))
    assert draft.instances == [{"size": 0.0, "kind": "y"}, {"size": 3.0, "kind": "y"}]


def test_a_row_with_a_missing_number_has_null_in_the_example():
    rows = [[n % 9 if n % 2 else "", "" if n % 2 else "ab"[n % 4 // 2], n % 4 // 2] for n in range(60)]
    draft = drafted(csv_file(["size", "kind", "grade"], rows))
    assert draft.instances[0] in ({"size": None, "kind": "a"}, {"size": 1.0, "kind": ""})


def test_the_least_improvement_of_an_error_is_in_the_targets_unit():
    draft = drafted(csv_file(["x", "y"], [[n % 50, n * 1000] for n in range(100)]))
    assert draft.training is not None
    assert draft.training.min_improvement == 300.0


def answers(*texts: str, feature: str | None = None, first: str | None = None) -> bytes:
    """50 rows of a column ``a`` and these texts over and over as target ``b``."""
    rows = [[feature or n % 7, texts[n % len(texts)]] for n in range(50)]
    return csv_file(["a", "b"], [[first or rows[0][0], rows[0][1]], *rows[1:]])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file.csv: is empty; expected a header and rows"),
        (b"a,b\n", "file.csv: has a header and no rows; expected at least 1"),
        (b"a;b\n1,5;2\n", "file.csv: the values are separated by ';'; expected commas"),
        (b"a\tb\n1\t2\n", "file.csv: the values are separated by '\\t'; expected commas"),
        (b"a\n1\n2\n", "file.csv: has one column only"),
        (b"a,b\n1,2\n1\n", "file.csv: 1 rows do not have 2 values (line 3 has 1)"),
        (b"a,a,b\n1,2,3\n", "file.csv: column 'a' is there 2 times; expected once"),
        (b"PK\x03\x04", "file.csv: is a zip or Excel file; expected CSV text"),
        ("a,b\nä,1\n".encode("latin-1"), "file.csv: not UTF-8 (byte 0xe4 on line 2); save the file as UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "file.csv: is UTF-16; save the file as UTF-8"),
        (b'a,b\n"1,2\n', "file.csv: line 2 is not CSV"),
        (pickle.dumps([1, 2.0]), "file.csv: holds a NUL byte"),
        (b"5.1,3.5,a\n4.9,3.0,b\n", "file.csv: its first line looks like values ('5.1', '3.5', 'a')"),
        (answers("x"), "target 'b' has one value only; there is nothing to learn"),
        (answers(""), "target 'b' has no value at all; there is nothing to learn"),
        (answers(*[f"text {n}" for n in range(50)]), "target 'b' holds 50 different texts in 50 rows"),
        (answers(*["x", "y"] * 24, "x", ""), "is the target and has no value in 1 row"),
        (answers("x", "y", feature="z"), "no column is left to learn from: 'a' is 'z' in every row"),
        (
            csv_file(["a", "b"], [[1, "x"], [2, "y"]]),
            "2 rows are too few to be divided: 0 would be frozen for evaluation and 2 left",
        ),
        (answers("x", "y", feature="2024-02-31", first="2024-01-01"), "line 3: '2024-02-31'"),
    ],
)
def test_a_file_that_cannot_be_learned_from_is_refused_in_words(content, said):
    assert said in refused(content).message


def test_options_that_do_not_fit_are_refused():
    assert "column 'grad' is missing; the header has 'size', 'grade'" in refused(TABLE, target="grad").message
    assert "metric 'rmse' does not fit task 'binary'" in refused(TABLE, metric="rmse").message
    assert "cannot be read" in refused(TABLE, task="regression").message
    three = csv_file(["a", "b"], [[n % 7, "xyz"[n % 3]] for n in range(50)])
    assert "a binary task has two" in refused(three, task="binary").message


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
def test_byte_order_mark_and_line_ends_change_nothing(mark, ends):
    draft = drafted(mark + TABLE.replace(b"\n", ends))
    assert kinds(draft) == {"size": "number"}
    assert draft.content.startswith(mark)


def test_names_that_toml_and_comments_cannot_hold_bare_come_through():
    names = ["a b", 'say "hi"', "a.b", "größe", "# no comment", "back\\slash", "kind", "x = 1", "[endpoint]"]
    rows = [
        [*[(n * at) % 7 for at in range(1, len(names) + 1)], "line\nbreak" if n % 2 else "plain"] for n in range(80)
    ]
    draft = drafted(csv_file([*names, "the\ttarget"], rows))
    spec = parse_model(render(draft), file="m")
    assert spec.training is not None
    assert list(spec.training.features) == [name for name, kind in kinds(draft).items() if kind]
    assert set(spec.training.features) > {"a b", 'say "hi"', "größe", "[endpoint]"}
    assert spec.training.target == "the\ttarget"


def test_columns_that_are_left_out_stay_in_the_file_with_the_reason():
    rows = [[n, f"u{n}@x.org", "x", n % 7, "yn"[n % 2]] for n in range(60)]
    text = render(drafted(csv_file(["", "email", "same\nhere", "size", "churned"], rows)))
    assert '# email = { kind = "category" }  # looks like an id: 60 different values in 60 rows\n' in text
    assert "# (no name)" in text
    assert "# same here" in text
    assert list(parse_model(text, file="m").training.features) == ["size"]  # type: ignore[union-attr]
    put_back = text.replace("# email =", "email =")
    assert list(parse_model(put_back, file="m").training.features) == ["size", "email"]  # type: ignore[union-attr]
