"""An exported folder answers as the endpoint does, without Modelyard and AWS, and is there whole or not at all."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest

from modelyard.admission import admit
from modelyard.card import card_of, gather
from modelyard.cli.bring import register_artifact
from modelyard.errors import AWSError, ConflictError, ModelyardError, UsageError
from modelyard.exporting import predict, writing
from modelyard.exporting.code import imports, read_own_code
from modelyard.exporting.folder import Content, check_bytes, folder_files
from modelyard.exporting.writing import check_target, write_folder
from modelyard.predictor.code import ModelCode
from modelyard.predictor.predictor import Predictor
from modelyard.spec import load_model
from modelyard.version import Version
from tests.fakes.described import AT
from tests.fakes.onnx_models import classifier, echo, logarithm, row_sum
from tests.fakes.registries import Yard, register
from tests.fakes.training_data import weather, weather_plan
from tests.fakes.workbench import Bench

PROJECT = Path(__file__).parents[2]
DIGITS = PROJECT / "models" / "digits"


def exported(folder: Path, registry: Any, version: Version, **parts: Any) -> Path:
    """The folder of a version."""
    settings: dict[str, Any] = {"example": None, "code": None, "remarks": (), "requirements": ("numpy",)} | parts
    body = registry.artifacts.get(version.manifest.key).body
    card = card_of(gather(registry, version, at=AT))
    write_folder(folder, folder_files(Content(version=version, model=body, card=card, **settings)))
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to import from with onnxruntime and numpy in it, and nothing else."""
    folder = tmp_path_factory.mktemp("packages")
    for package in (np, onnxruntime):
        home = Path(str(package.__file__)).parent
        (folder / home.name).symlink_to(home)
        libraries = home.with_name(f"{home.name}.libs")
        if libraries.is_dir():
            (folder / libraries.name).symlink_to(libraries)
    return folder


def ask(folder: Path, bare: Path, instances: Any = None) -> tuple[int, Any, str]:
    """What predict.py says in a Python that has onnxruntime and numpy only: exit code, predictions, stderr."""
    # -S: no site-packages, so no installed modelyard; -I: no folder of ours either.
    start = f"import runpy, sys; sys.path.append({str(bare)!r}); runpy.run_path('predict.py', run_name='__main__')"
    arguments = [sys.executable, "-I", "-S", "-c", start]
    if instances is not None:
        arguments.append("-")
    told = None if instances is None else instances if isinstance(instances, str) else json.dumps(instances)
    done = subprocess.run(arguments, cwd=folder, input=told, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)["predictions"] if done.stdout else None, done.stderr


def test_the_childs_python_cannot_import_modelyard(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "predict.py").write_text("import numpy, onnxruntime, modelyard")
    code, _, stderr = ask(tmp_path, bare)
    assert code == 1
    assert stderr.strip().endswith("ModuleNotFoundError: No module named 'modelyard'")


SQUARE = [[1, 2], [3, 4]]
EVERYTHING = echo(
    ("a", "float32", [None, 1]), ("b", "int64", [None]), ("c", "string", [None, 1]), ("d", "bool", [None, 1]),
    ("e", "float64", [None, 2, 2]), ("f", "string", [None, None]), ("g", "uint8", [None, 3]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "instances"),
    [
        (row_sum(2.5), [{"x": [1, 2.25]}, {"x": [-1e-3, 0.1]}]),
        (row_sum(), [[1, 2], [3, 4]]),
        (row_sum(), [[1, 2], {"x": [3, 4]}]),
        (classifier(), [{"logits": [0.1, 2.0, -1.0]}]),
        (classifier(width=None), [{"logits": [0.1, 2.0, -1.0]}]),
        (
            EVERYTHING,
            [
                {
                    "a": 0.1,
                    "b": 2**53 + 1,
                    "c": "é",
                    "d": True,
                    "e": SQUARE,
                    "f": ["x", "y"],
                    "g": [0, 9, 255],
                },
                {"a": [7], "b": -1, "c": "", "d": [False], "e": [[0.5, 0], [1e300, 0]], "f": ["", "z"], "g": [1, 2, 3]},
            ],
        ),
    ],
    ids=["rows", "bare values", "both", "classes", "classes of free width", "every kind of input"],
)
def test_a_plain_model_answers_as_the_endpoint_does(
    tmp_path: Path, bare: Path, yard: Yard, model: bytes, instances: list[Any]
) -> None:
    version = register(yard.registry(), "plain", model, signature=admit(model), task="multiclass")
    folder = exported(tmp_path / "out", yard.registry(), version)
    expected = Predictor.load(model).predict(instances)
    assert ask(folder, bare, {"instances": instances}) == (0, json.loads(json.dumps(expected)), "")
    assert ask(folder, bare, instances)[1] == json.loads(json.dumps(expected))


def test_a_model_with_code_of_its_own_answers_as_the_endpoint_does(
    tmp_path: Path, bare: Path, yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Session:
        registry = yard.registry()
        project = tmp_path

    model = load_model(DIGITS)
    version = register_artifact(Session, model).version  # type: ignore[arg-type]
    code = read_own_code("digits_model", DIGITS / "python")
    example = (DIGITS / "example.json").read_bytes()
    folder = exported(tmp_path / "out", yard.registry(), version, code=code, example=example)
    monkeypatch.syspath_prepend(str(DIGITS / "python"))
    predictor = Predictor.load((DIGITS / "digits.onnx").read_bytes(), code=ModelCode.load("digits_model"))
    expected = predictor.predict(json.loads(example)["instances"])
    assert ask(folder, bare) == (0, expected, "")
    assert not list(folder.rglob("__pycache__"))
    wrong = ask(folder, bare, [{"pixels": [[17] * 8] * 8}])
    assert wrong[0] == 1
    assert "predict.py: 'pixels' of instance 0 is 17 at row 0, column 0; it must be 0 to 16" in wrong[2]
    # What the code imports of the library came along, and no more of it.
    assert sorted(path.name for path in (folder / "python" / "modelyard").rglob("*.py")) == [
        "__init__.py", "__init__.py", "array.py", "arrays.py", "encode.py", "errors.py", "signature.py",
    ]  # fmt: skip


def test_a_trained_model_answers_by_the_names_of_its_columns(tmp_path: Path, bare: Path) -> None:
    bench = Bench(weather_plan())
    bench.run(bench.upload(weather(2012)[0]), "run-1")
    version = bench.registry.version("tested", 1)
    folder = exported(tmp_path / "out", bench.registry, version)
    day: dict[str, Any] = {"date": "2012-07-04", "precipitation": 0, "temp_max": 24.4, "temp_min": 13, "wind": 2.5}
    instances = [day, day | {"wind": None, "date": "", "temp_min": [3.5]}]
    model = bench.registry.artifacts.get(version.manifest.key)
    assert model is not None
    assert ask(folder, bare, instances) == (0, Predictor.load(model.body).predict(instances), "")
    code, _, stderr = ask(folder, bare, [{**day, "humidity": 1}])
    assert (code, "instance 0 must be an object with exactly 'date', 'precipitation'" in stderr) == (1, True)


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        (row_sum(), []),
        (row_sum(), [{"y": [1, 2]}]),
        (row_sum(), [[1, 2, 3]]),
        (row_sum(), [[1, "2"]]),
        (row_sum(), [[1, True]]),
        (row_sum(), [[1, None]]),
        (row_sum(), [[1, 2], [1]]),
        (row_sum(), "[[1, NaN]]"),
        (row_sum(), "[[1, 1e400]]"),
        (row_sum(), [[1, 1e39]]),
        (row_sum(), "not JSON"),
        (row_sum(), {"rows": [[1, 2]]}),
        (EVERYTHING, [{"a": 1, "b": 1.5, "c": "", "d": True, "e": SQUARE, "f": [""], "g": [1, 2, 3]}]),
        (EVERYTHING, [{"a": 1, "b": 1, "c": 5, "d": True, "e": SQUARE, "f": [""], "g": [1, 2, 3]}]),
        (EVERYTHING, [{"a": 1, "b": 1, "c": "", "d": 1, "e": SQUARE, "f": [""], "g": [1, 2, 3]}]),
        (EVERYTHING, [{"a": 1, "b": 1, "c": "", "d": True, "e": SQUARE, "f": [""], "g": [1, 2, 256]}]),
        (logarithm(), [[0.0]]),
    ],
    ids=str,
)
def test_what_the_endpoint_refuses_the_script_refuses(
    tmp_path: Path,
    yard: Yard,
    model: bytes,
    asked: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    version = register(yard.registry(), "plain", model, signature=admit(model), task="multiclass")
    folder = exported(tmp_path / "out", yard.registry(), version)
    (tmp_path / "asked.json").write_text(asked if isinstance(asked, str) else json.dumps(asked))
    monkeypatch.setattr(predict, "HERE", folder)  # in this process, which is faster: the file is the same
    monkeypatch.setattr(sys, "argv", ["predict.py", str(tmp_path / "asked.json")])
    assert predict.main() == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err.startswith("predict.py: "), shown.err.count("\n")) == ("", True, 1)
    if isinstance(asked, list):
        with pytest.raises(ModelyardError):
            Predictor.load(model).predict(asked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("[[1, NaN]]", "NaN is not JSON"),
        ("{}", 'give a list of instances, or {"instances": [...]}'),
        ("[[1, 2, 3]]", "input 'x' takes float32 of shape ['n', 2]"),
        ("[[1, true]]", "input 'x' takes float32 of shape ['n', 2]"),
        ("[[1, 1e39]]", "input 'x' has a number that float32 cannot hold"),
    ],
)
def test_the_script_says_what_is_wrong(
    tmp_path: Path,
    yard: Yard,
    version: Version,
    asked: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = exported(tmp_path / "out", yard.registry(), version, example=asked.encode())
    monkeypatch.setattr(predict, "HERE", folder)
    monkeypatch.setattr(sys, "argv", ["predict.py"])
    assert predict.main() == 1
    assert capsys.readouterr().err == f"predict.py: {said}\n"


# -- the folder ---------------------------------------------------------------------------------------------------


@pytest.fixture
def version(yard: Yard) -> Version:
    return register(yard.registry(), "plain", row_sum(), signature=admit(row_sum()), task="regression")


def test_every_file_is_in_the_checksums(tmp_path: Path, yard: Yard, version: Version) -> None:
    example = b'{"instances": [[1, 2]]}'
    folder = exported(tmp_path / "out", yard.registry(), version, example=example, remarks=["Something is missing."])
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "README.md", "SHA256SUMS", "card.html", "card.md", "example.json", "manifest.json", "model.onnx", "predict.py",
    ]  # fmt: skip
    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sums == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names if name != "SHA256SUMS"
    }
    if shutil.which("sha256sum"):
        checked = subprocess.run(
            ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, check=False
        )
        assert checked.returncode == 0
    assert (folder / "model.onnx").read_bytes() == row_sum()
    assert msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Version) == version
    readme = (folder / "README.md").read_text()
    assert "**Note:** Something is missing." in readme
    assert 'python -m pip install "numpy"' in readme
    for name in names:
        assert f"`{name}`" in readme or name == "README.md"
    assert list(tmp_path.iterdir()) == [folder]


def test_bytes_that_are_not_the_versions_are_refused(version: Version) -> None:
    assert check_bytes(version, row_sum()) == row_sum()
    for body in (None, b"", row_sum()[:-1] + b"x", row_sum() + b"x"):
        with pytest.raises(AWSError, match=r"expected|has [\d,]+ bytes with SHA-256") as refused:
            check_bytes(version, body)
        assert refused.value.code == "artifact_damaged"


def test_an_export_replaces_an_earlier_one(tmp_path: Path, yard: Yard, version: Version) -> None:
    folder = exported(tmp_path / "out", yard.registry(), version, example=b"[[1, 2]]")
    (folder / "python" / "__pycache__").mkdir(parents=True)
    (folder / "python" / "__pycache__" / "x.pyc").write_bytes(b"")
    exported(folder, yard.registry(), version)
    assert not (folder / "example.json").exists()
    assert not (folder / "python").exists()
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("change", ["another file", "changed", "a link", "only a file", "no model", "garbled sums"])
def test_a_folder_that_holds_anything_else_stays_as_it_is(
    tmp_path: Path, yard: Yard, version: Version, change: str
) -> None:
    folder = exported(tmp_path / "out", yard.registry(), version)
    match change:
        case "another file":
            (folder / "python").mkdir()
            (folder / "python" / "mine.py").write_text("")
        case "changed":
            (folder / "predict.py").write_text("# mine")
        case "a link":
            (folder / "card.md").rename(tmp_path / "card.md")
            (folder / "card.md").symlink_to(tmp_path / "card.md")
        case "only a file":
            shutil.rmtree(folder)
            folder.mkdir()
            (folder / "thesis.txt").write_text("x")
        case "no model":
            (folder / "SHA256SUMS").write_text("")
        case "garbled sums":
            (folder / "SHA256SUMS").write_bytes(b"\xff\xfe")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConflictError, match="was not written by an export") as refused:
        exported(folder, yard.registry(), version)
    assert refused.value.code == "folder_taken"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_must_be_one_that_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConflictError, match="it is not a folder"):
        check_target(tmp_path / "file")
    with pytest.raises(UsageError, match="none is not a folder"):
        check_target(tmp_path / "none" / "out")
    monkeypatch.chdir(tmp_path)
    for target in (tmp_path, tmp_path.parent):
        with pytest.raises(UsageError, match="is the folder that you are in"):
            check_target(target)
    (tmp_path / "empty").mkdir()
    check_target(tmp_path / "empty")
    check_target(tmp_path / "absent")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "ctrl-c"])
@pytest.mark.parametrize("there", ["nothing", "an empty folder", "an earlier export"])
def test_a_write_that_is_cut_short_anywhere_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, yard: Yard, version: Version, there: str, error: BaseException
) -> None:
    target = tmp_path / "out"
    if there == "an empty folder":
        target.mkdir()
    if there == "an earlier export":
        exported(target, yard.registry(), version)
    before = contents(tmp_path)
    files = {"a": b"1", "b/c": b"2", "SHA256SUMS": b""}
    methods = {"mkdir": Path.mkdir, "write_bytes": Path.write_bytes, "rename": Path.rename}
    for cut_at in range(1, 100):
        calls = 0
        for name, method in methods.items():

            def cut(path: Path, *args: Any, real: Any = method, at: int = cut_at, **settings: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == at:
                    raise error
                return real(path, *args, **settings)

            monkeypatch.setattr(Path, name, cut)
        try:
            write_folder(target, files)
        except type(error):
            assert contents(tmp_path) == before
        else:
            break
        finally:
            monkeypatch.undo()
    assert cut_at > len(files)
    assert sorted(contents(target)) == ["SHA256SUMS", "a", "b", "b/c"]
    assert list(tmp_path.iterdir()) == [target]


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def test_somebody_who_was_faster_keeps_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    real = writing._replace

    def late(*arguments: Any, **settings: Any) -> None:
        target.mkdir()
        (target / "theirs").write_text("x")
        monkeypatch.setattr(writing, "check_target", lambda _: None)
        monkeypatch.setattr(Path, "exists", lambda _: False)
        try:
            real(*arguments, **settings)
        finally:
            monkeypatch.undo()

    monkeypatch.setattr(writing, "_replace", late)
    with pytest.raises(ConflictError, match="was made by somebody else meanwhile"):
        write_folder(target, {"a": b"1"})
    assert (target / "theirs").read_text() == "x"
    assert list(tmp_path.iterdir()) == [target]


# -- own code -----------------------------------------------------------------------------------------------------


def test_own_code_comes_with_what_it_imports_of_the_library(tmp_path: Path) -> None:
    package = tmp_path / "own"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__pycache__" / "x.pyc").write_bytes(b"")
    (package / ".hidden").write_text("")
    (package / "table.json").write_text("{}")
    (package / "part.py").write_text("import scipy.stats\nfrom modelyard import times")
    (package / "__init__.py").write_text("from . import part\nimport json, numpy as np\nimport own.part")
    found = read_own_code("own", tmp_path)
    assert sorted(found.files) == [
        "modelyard/__init__.py", "modelyard/errors.py", "modelyard/times.py",
        "own/__init__.py", "own/part.py", "own/table.json",
    ]  # fmt: skip
    assert (found.needs, found.unnamed) == (("scipy",), ("own/table.json",))


def test_imports_are_found_wherever_they_stand() -> None:
    source = b"import a.b as c, d\ndef f():\n    from e.f import g\nfrom . import h\n"
    assert sorted(imports(source)) == ["a.b", "d", "e.f", "e.f.g"]


def test_the_script_names_the_package_only_where_there_is_one(tmp_path: Path, yard: Yard, version: Version) -> None:
    code = read_own_code("digits_model", DIGITS / "python")
    folder = exported(tmp_path / "a", yard.registry(), version)
    assert "PACKAGE: str | None = None" in (folder / "predict.py").read_text()
    folder = exported(tmp_path / "b", yard.registry(), version, code=code)
    assert 'PACKAGE: str | None = "digits_model"' in (folder / "predict.py").read_text()
    assert os.access(folder / "predict.py", os.R_OK)
