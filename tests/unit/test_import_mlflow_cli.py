"""``modelyard import mlflow``: from a folder to the next version, and how it ends when it cannot."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.cli import importing, main
from modelyard.cli.session import Session
from tests.fakes.mlflow_folders import RUN, FakeMlflow, write_model
from tests.fakes.registries import Yard

PROJECT = Path(__file__).parents[2]
MODELS = sorted(spec.parent.name for spec in PROJECT.glob("models/*/model.toml"))  # a clone may have others of its own
FIXTURES = PROJECT / "tests" / "fixtures" / "mlflow"


@pytest.fixture
def yard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Yard:
    """A registry in memory behind the command line, in the project's folder."""
    made = Yard()
    monkeypatch.chdir(PROJECT)
    monkeypatch.setenv("MODELYARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MODELYARD_ENV", raising=False)
    monkeypatch.setattr(Session, "registry", property(lambda _: made.registry()))
    return made


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main.main(list(arguments))
    code = ended.value.code
    return code if isinstance(code, int) else 0 if code is None else 1


def test_a_folder_becomes_the_next_version_and_twice_is_the_same_one(
    yard: Yard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = (FIXTURES / "3.17.2").rglob("MLmodel")
    options = ("--name", "digits", "--promote", "--reason", "moving over", "--json")
    assert run("import", "mlflow", str(file.parent), *options) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["version"], answer["created"], answer["promoted"]) == (1, True, True)
    assert answer["metrics"] == {"accuracy": 0.5, "rmse": 1.25, "val/f1 score": 0.75}
    assert answer["params"] == {"alpha": "0.1", "kind": "ridge"}
    version = yard.registry().version("digits", 1)
    assert version.manifest.task == "multiclass"  # of the project's spec
    assert version.manifest.lineage.imported_from == answer["imported_from"]
    assert version.manifest.lineage.run_id is None  # that is a run of Modelyard
    assert version.manifest.lineage.code_digest is not None
    assert yard.registry().history("digits").items[0].reason == "moving over"
    assert run("import", "mlflow", str(file), "--name", "digits") == 0
    assert "was registered before, as version 1" in capsys.readouterr().out


def test_the_model_of_a_uri_is_named_by_it(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = FakeMlflow(write_model(tmp_path / "there"), metrics={"rmse": 0.5, "bad": float("nan")})
    monkeypatch.setattr("modelyard.importing.tracking._import", lambda: fake)
    assert run("import", "mlflow", "models:/digits/7") == 0
    shown = capsys.readouterr()
    assert f"digits: registered version 1 from mlflow 3.17.2 run {RUN}" in " ".join(shown.out.split())
    assert "note: metric 'bad' was left out" in shown.err
    assert yard.registry().version("digits", 1).manifest.note == "imported from models:/digits/7"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("runs:/0123/deep/iris", "iris"),
        ("models:/iris/3", "iris"),
        ("models:/iris@champion", "iris"),
        ("models:/m-76f4", "m-76f4"),
        ("some/iris/", "iris"),
        ("./iris", "iris"),
    ],
)
def test_the_name_is_that_of_the_source(source: str, name: str) -> None:
    assert importing._named_by(source) == name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--name", "digits"], "'nowhere' is no folder"),
        (["models", "--name", "digits"], "'models' has no file MLmodel"),
        (["s3://bucket/model", "--name", "digits"], "Give a folder, runs:/RUN_ID/PATH or models:/NAME/VERSION"),
        (["runs:/", "--name", "Digits"], "--name"),
        (["models:/iris/1"], f"there are {', '.join(MODELS)}"),
        (["models:/iris/1"], "modelyard init FILE.onnx --name iris"),
        (["x", "--name", "../digits"], "is not a model name"),
    ],
)
def test_what_cannot_be_is_refused_before_any_call(
    yard: Yard, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("import", "mlflow", *arguments) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert said in shown
    assert "Traceback" not in shown


def test_the_folder_above_a_model_says_where_it_is(
    yard: Yard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "model")
    assert run("import", "mlflow", str(tmp_path), "--name", "digits") == 2
    assert f"Did you mean '{tmp_path}/model'?" in " ".join(capsys.readouterr().err.split())


def test_a_reason_is_asked_for_before_anything_is_read(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(importing, "_read", nothing)
    assert run("--env", "prod", "import", "mlflow", "x", "--name", "digits", "--promote") == 2
    assert "--reason" in capsys.readouterr().err


def test_a_refused_model_leaves_nothing_in_the_registry(
    yard: Yard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_model(tmp_path / "model", b"\x80\x04\x95")
    assert run("import", "mlflow", str(folder), "--name", "digits", "--promote") == 2
    assert "only ONNX is executed" in " ".join(capsys.readouterr().err.split())
    assert yard.registry().models().items == ()


def test_the_group_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", "--help") == 0
    assert "mlflow" in capsys.readouterr().out
    assert run("import", "mlflow", "-h") == 0
    assert "MLmodel" in capsys.readouterr().out
