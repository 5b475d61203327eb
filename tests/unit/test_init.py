"""``modelyard init``: from a file to a model's folder that the rest of the project accepts."""

import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from modelyard.cli.main import main
from modelyard.errors import ConflictError, UsageError
from modelyard.predictor.predictor import Predictor
from modelyard.scaffold import Draft, check_free, folder, from_csv, from_onnx, model_name, write_folder
from modelyard.scaffold.brought import LARGEST_EXAMPLE, task_of
from modelyard.scaffold.columns import describe
from modelyard.scaffold.render import render
from modelyard.spec import Model, load_model, parse_model, training_plan
from modelyard.training.plan import decode_plan
from modelyard.training.table import read_table
from modelyard.version import OutputSpec, Signature, TensorSpec
from tests.fakes import onnx_models
from tests.fakes.training_data import breast_cancer, csv_file, diabetes, iris

ENVIRONMENTS = '[local]\naccount = "000000000000"\nregion = "eu-west-1"\nport = 4599\n'
TABLE = csv_file(["size", "grade"], [[number, "good" if number % 3 else "bad"] for number in range(0, 60, 2)])


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    (tmp_path / "environments.toml").write_text(ENVIRONMENTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["init", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def drafted(content: bytes, **options: Any) -> Draft:
    return from_csv(content, source="file.csv", name="drafted", **options)


def refused(content: bytes, **options: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        drafted(content, **options)
    assert caught.value.next_step
    return caught.value


def kinds(draft: Draft) -> dict[str, str | None]:
    assert draft.training is not None
    return {column.name: column.kind for column in draft.training.columns}


# -- a model's name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("iris", "iris"),
        ("Customers (final) 2024", "customers_final_2024"),
        ("2012", "model_2012"),
        ("Größe", "grosse"),
        ("a__b--c", "a_b_c"),
        ("_x_", "x"),
        ("x" * 300, "x" * 48),
        ("y" * 47 + "-z", "y" * 47),
    ],
)
def test_a_files_name_becomes_a_models_name(file, name):
    assert model_name(None, file) == name


@pytest.mark.parametrize("file", ["", "日本", "...", "\udcff"])
def test_a_file_whose_name_says_nothing_needs_a_name(file):
    with pytest.raises(UsageError, match="nothing that a model's name can be made of") as caught:
        model_name(None, file)
    assert "--name" in str(caught.value.next_step)


@pytest.mark.parametrize("name", ["../x", "a/b", "a\x00", "\u202eabc", "a" * 49, "Iris", "", "a-b"])
def test_a_name_that_was_given_is_taken_as_it_is_or_refused(name):
    assert model_name("given", "file") == "given"
    with pytest.raises(UsageError, match="is not a model name") as caught:
        model_name(name, "file")
    assert caught.value.exit_code == 2


def test_a_name_with_capitals_is_answered_with_one_that_works():
    with pytest.raises(UsageError) as caught:
        model_name("My-Model", "file")
    assert caught.value.next_step == "Give another with --name, like my_model."


# -- columns ----------------------------------------------------------------------------------------------------------

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


# -- a CSV ------------------------------------------------------------------------------------------------------------


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
        (csv_file(["a", "b"], [[1, "x"], [2, "y"]]), "too few rows that differ: "),
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


# -- an ONNX file -----------------------------------------------------------------------------------------------------


def onnx_draft(content: bytes, **options: Any) -> Draft:
    signature = Predictor.load(content).signature
    inputs = tuple(TensorSpec(tensor.name, tensor.dtype, tensor.shape) for tensor in signature.inputs)  # type: ignore[arg-type]
    outputs = tuple(
        OutputSpec(tensor.name, tensor.dtype, tensor.shape, tensor.classes)  # type: ignore[arg-type]
        for tensor in signature.outputs
    )
    return from_onnx(content, source="m.onnx", name="drafted", signature=Signature(inputs, outputs), **options)


@pytest.mark.parametrize(
    "content",
    [
        onnx_models.classifier(),
        onnx_models.row_sum(),
        onnx_models.echo(("name", "string", [None, 1]), ("pixels", "uint8", [None, 2, 3]), ("new", "bool", [None])),
        onnx_models.echo(("x", "float16", [3, 2])),
        onnx_models.echo(("x", "int64", ["batch", "length"])),
    ],
)
def test_the_made_up_example_is_answered(content, tmp_path):
    draft = onnx_draft(content, task="regression")
    write_folder(draft, tmp_path / "models")
    model: Model = load_model(tmp_path / "models" / "drafted")
    assert model.spec.model.artifact == "m.onnx"
    assert (model.folder / "m.onnx").read_bytes() == content
    instances = json.loads((model.folder / "example.json").read_text())["instances"]
    assert len(Predictor.load(content).predict(instances)) == len(instances)
    assert "made up" in (model.folder / "model.toml").read_text()


def test_an_example_that_nobody_could_read_is_left_out(tmp_path):
    content = onnx_models.echo(("x", "float32", [None, LARGEST_EXAMPLE + 1]))
    write_folder(onnx_draft(content, task="regression"), tmp_path)
    assert load_model(tmp_path / "drafted").spec.model.example is None
    assert not (tmp_path / "drafted" / "example.json").exists()


def outputs(*described: tuple[str, str, list[int | None], list[str] | None]) -> Signature:
    return Signature(
        (TensorSpec("x", "float32", (None, 2)),),
        tuple(
            OutputSpec(name, dtype, tuple(shape), tuple(classes) if classes else None)  # type: ignore[arg-type]
            for name, dtype, shape, classes in described
        ),
    )


@pytest.mark.parametrize(
    ("signature", "task"),
    [
        (outputs(("p", "float32", [None, 3], ["a", "b", "c"])), "multiclass"),
        (outputs(("p", "float32", [None, 2], ["a", "b"])), "binary"),
        (outputs(("label", "int64", [None], None), ("p", "float32", [None, 2], None)), "binary"),
        (outputs(("label", "string", [None], None), ("p", "float32", [None, 5], None)), "multiclass"),
        (outputs(("label", "int64", [None], None)), None),
        (outputs(("label", "int64", [None], None), ("p", "float32", [None, None], None)), None),
        (outputs(("y", "float32", [None, 1], None)), None),
        (outputs(("y", "float32", [None, 10], None)), None),
    ],
)
def test_outputs_tell_the_task_or_leave_it_open(signature, task):
    assert task_of(signature) == task


def test_a_task_that_outputs_leave_open_is_asked_for():
    with pytest.raises(UsageError, match=r"its outputs \(y float32 \[n, 1\]\) do not tell") as caught:
        onnx_draft(onnx_models.row_sum())
    assert caught.value.next_step == "Say it: --task regression, --task binary or --task multiclass."
    assert onnx_draft(onnx_models.row_sum(), task="binary").task == "binary"


# -- the folder -------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_there_in_any_case_is_left_alone(tmp_path):
    (tmp_path / "Drafted").mkdir()
    for attempt in (lambda: check_free(tmp_path, "drafted"), lambda: write_folder(drafted(TABLE), tmp_path)):
        with pytest.raises(ConflictError, match="models/Drafted is there already") as caught:
            attempt()
        assert caught.value.exit_code == 4
    assert [path.name for path in tmp_path.iterdir()] == ["Drafted"]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("step", ["load_model", "render_example", "check_free"])
def test_what_ends_it_in_the_middle_leaves_nothing(tmp_path, monkeypatch, step, end):
    def ends(*_: object) -> None:
        raise end

    monkeypatch.setattr(folder, step, ends)
    with pytest.raises(type(end)):
        write_folder(drafted(TABLE), tmp_path / "models")
    assert not list(tmp_path.glob("models/*"))


def test_of_two_at_once_one_wins_and_the_other_is_told(tmp_path, monkeypatch):
    def somebody_else(models: Path, name: str) -> None:
        (models / name).mkdir()
        (models / name / "model.toml").write_text("theirs")

    monkeypatch.setattr(folder, "check_free", somebody_else)
    with pytest.raises(ConflictError, match="models/drafted is there already"):
        write_folder(drafted(TABLE), tmp_path)
    assert (tmp_path / "drafted" / "model.toml").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["drafted"]


# -- the command ------------------------------------------------------------------------------------------------------


def test_a_csv_becomes_a_folder_and_the_next_command_is_named(project, capsys):
    (project / "Grades 2024.csv").write_bytes(TABLE)
    assert run("Grades 2024.csv") == 0
    said = capsys.readouterr().out
    assert sorted(path.relative_to(project).as_posix() for path in (project / "models").rglob("*.*")) == [
        "models/grades_2024/data/Grades_2024.csv",
        "models/grades_2024/example.json",
        "models/grades_2024/model.toml",
    ]
    assert "binary" in said
    assert "models/grades_2024/model.toml" in said
    assert "make up" in said
    assert run("Grades 2024.csv") == 4


def test_it_works_from_a_folder_below_the_project(project, monkeypatch):
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    Path("t.csv").write_bytes(TABLE)
    assert run("t.csv", "--name", "graded", "--target", "grade", "--metric", "accuracy", "--task", "binary") == 0
    assert load_model(project / "models" / "graded").spec.evaluation.metric == "accuracy"  # type: ignore[union-attr]


def test_an_onnx_file_is_tried_and_becomes_a_folder(project, capsys):
    (project / "sky.onnx").write_bytes(onnx_models.classifier())
    assert run("sky.onnx") == 0
    model = load_model(project / "models" / "sky")
    assert model.spec.model.task == "multiclass"
    assert "made up" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "0 bytes"),
        (pickle.dumps({"a": 1}), "pickle"),
        (b"PK\x03\x04rest", "zip"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"a,b\n1,2\n", "not an ONNX file"),
        (onnx_models.classifier()[:60], "not"),
    ],
)
def test_other_bytes_with_the_name_of_a_model_are_refused_by_content(project, capsys, content, said):
    (project / "m.onnx").write_bytes(content)
    assert run("m.onnx", "--task", "regression") == 2
    message = capsys.readouterr().err
    assert said in message
    assert "next:" in message
    assert not (project / "models").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.csv"], "none.csv is not there"),
        (["."], ". is a folder"),
        (["/dev/null"], "/dev/null is not a file"),
        (["m.pkl"], "Export the model to ONNX"),
        (["m.xlsx"], "Save the table as CSV"),
        (["m.bin"], "Give a CSV to train on, or a finished ONNX file"),
        (["t.csv", "--name", "../x"], "is not a model name"),
        (["t.csv", "--target", "sise"], "column 'sise' is missing"),
        (["m.onnx", "--target", "x"], "--target is for a CSV"),
        (["m.onnx", "--metric", "mae"], "--metric is for a CSV"),
        (["[bold].csv"], "[bold].csv: is empty"),
        (["t.csv", "--task", "ranking"], "ranking"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_is_refused_with_2_and_the_next_step(project, capsys, arguments, said):
    for name in ("m.pkl", "m.xlsx", "m.bin", "m.onnx", "[bold].csv"):
        (project / name).write_bytes(b"")
    (project / "t.csv").write_bytes(TABLE)
    assert run(*arguments) == 2
    assert said in capsys.readouterr().err
    assert not (project / "models").exists()


def test_a_file_that_is_too_large_is_refused_before_it_is_read(project, capsys):
    for name in ("large.csv", "large.onnx"):
        with (project / name).open("wb") as file:
            file.truncate(2**40)  # sparse
        assert run(name) == 2
        assert "1,099,511,627,776 bytes" in capsys.readouterr().err


def test_a_name_that_is_not_text_is_survived(project, capsys):
    (project / "t\udcff\x1b[31m.csv").write_bytes(TABLE)
    assert run("t\udcff\x1b[31m.csv") == 0
    assert load_model(project / "models" / "t_31m").name == "t_31m"


def test_outside_a_project_it_says_where_to_go(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_bytes(TABLE)
    assert run("t.csv") == 2
    assert "no environments.toml in" in capsys.readouterr().err
