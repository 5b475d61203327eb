"""``modelyard init`` as it is typed: from a file to a folder that the rest of the project accepts, or why not."""

import pickle
from pathlib import Path

import pytest

from modelyard.cli.main import main
from modelyard.spec import load_model
from tests.fakes import onnx_models
from tests.fakes.drafts import TABLE

ENVIRONMENTS = '[local]\naccount = "000000000000"\nregion = "eu-west-1"\nport = 4599\n'


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
