"""An MLmodel that anybody may have written: each ends in one clear error, soon, and nothing of it is executed."""

import os
import time
from pathlib import Path

import pytest
import yaml

from modelyard.errors import AdmissionError, ModelyardError, UsageError
from modelyard.importing import Recorded, read_folder
from modelyard.importing.inside import read_inside
from modelyard.importing.mlmodel import read_mlmodel
from modelyard.importing.plain_yaml import LARGEST_FILE, MOST_VALUES, read_yaml
from tests.fakes.mlflow_folders import FLAVORS, mlmodel, write_model

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


def read(folder: Path) -> None:
    read_folder(folder, recorded=lambda _: Recorded())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "holds no keys"),
        (b"just text", "holds no keys"),
        (b"- flavors", "holds no keys"),
        (b"\xff\xfef\0l\0", "not UTF-8 at byte 0"),
        (b"flavors: \x1b[2J", "special characters are not allowed (character 9)"),
        (b"flavors: {", "line 1"),
        (b"flavors: onnx", "flavors is a str; it must hold keys"),
        (b"flavors: [onnx]", "flavors is a list; it must hold keys"),
        (b"flavors: {onnx: model.onnx}", "onnx is a str; it must hold keys"),
        (b"flavors: {onnx: {data: [model.onnx]}}", "data is a list; it must be text"),
        (b"flavors: {onnx: {}}", "names no file under 'data'"),
        (b"flavors: {onnx: {data: null}}", "names no file under 'data'"),
        (b"flavors: {onnx: {data: m}}\nrun_id: {a: b}", "run_id is a dict; it must be text"),
        (b"flavors: {onnx: {data: m}}\nrun_id: ../../etc", "run_id '../../etc' is not an id"),
        (b"flavors: {onnx: {data: m}}\nsignature: [x]", "signature is a list; it must hold keys"),
        (b"flavors: {onnx: {data: m}}\nsignature: {inputs: [x]}", "inputs is a list; it must be JSON as text"),
        (b"flavors: !!python/object/apply:os.system ['touch x']", "a tag; values are maps, lists and text (line 1)"),
        (b"flavors: !!binary aGVsbG8=", "a tag"),
        (b"a: 1\n---\nb: 2", "line 2"),
        (b"a: &a [*a]", "not the YAML that MLflow writes"),
        (b"a: *nowhere", "undefined alias"),
        (b"{[a]: b}", "unhashable"),
        (BOMB.encode(), f"more than {MOST_VALUES:,} values once its aliases are followed (line "),
        (MERGES.encode(), f"more than {MOST_VALUES:,} values once its aliases are followed (line "),
        (b"[" * 100_000, "nested too deep"),
        (b"? " * 100_000, "nested too deep"),
        (b"a" * (LARGEST_FILE + 1), f"at most {LARGEST_FILE:,} are read"),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else None,
)
def test_an_mlmodel_that_is_none_is_one_clear_error(content: bytes, problem: str) -> None:
    began = time.monotonic()
    with pytest.raises(UsageError) as refused:
        read_mlmodel(content)
    assert problem in refused.value.message
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 400
    assert time.monotonic() - began < 10


def test_values_stay_text_and_aliases_that_pyyaml_writes_are_followed() -> None:
    shared = {"a": [1, 2]}
    content = yaml.safe_dump({"run_id": "0123", "x": shared, "y": shared, "n": None, "d": 20.0, "e": "1e5"})
    assert "*id001" in content
    found = read_yaml(content.encode(), name="MLmodel")
    assert found == {
        "run_id": "0123", "x": {"a": ["1", "2"]}, "y": {"a": ["1", "2"]}, "n": "null", "d": "20.0", "e": "1e5",
    }  # fmt: skip


def test_a_wide_signature_is_read() -> None:
    columns = ", ".join(f'{{"name": "column {place}", "type": "double", "required": true}}' for place in range(10_000))
    content = yaml.safe_dump(mlmodel(signature={"inputs": f"[{columns}]"})).encode()
    assert len(content) < LARGEST_FILE
    assert len(read_mlmodel(content).declared.inputs or ()) == 10_000


@pytest.mark.parametrize("data", ["../../etc/passwd", "/etc/passwd", "a/../../x", "..", ".", "..\\x"])
def test_a_model_file_outside_the_folder_is_refused(tmp_path: Path, data: str) -> None:
    folder = write_model(tmp_path / "model", flavors={"onnx": {**FLAVORS["onnx"], "data": data}})
    with pytest.raises(UsageError) as refused:
        read(folder)
    assert refused.value.code == "outside_folder"
    assert "root:" not in refused.value.message


@pytest.mark.parametrize("file", ["model.onnx", "MLmodel"])
def test_links_out_of_the_folder_are_refused(tmp_path: Path, file: str) -> None:
    elsewhere = write_model(tmp_path / "elsewhere")
    folder = write_model(tmp_path / "model")
    for link, word in ((Path.symlink_to, "symbolic link"), (Path.hardlink_to, "hard link")):
        (folder / file).unlink()
        link(folder / file, elsewhere / file)
        with pytest.raises(UsageError, match=word) as refused:
            read(folder)
        assert refused.value.code == "outside_folder"
        assert "Copy the folder" in (refused.value.next_step or "")


def test_a_pipe_does_not_make_an_import_wait(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.onnx").unlink()
    os.mkfifo(folder / "model.onnx")
    with pytest.raises(UsageError, match="no plain file"):
        read(folder)


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 11)
    with pytest.raises(UsageError, match="more than 10 bytes") as refused:
        read_inside(tmp_path, "big", limit=10)
    assert refused.value.code == "file_too_large"
    assert read_inside(tmp_path, "./big", limit=11) == b"x" * 11


def test_a_pickle_that_calls_itself_onnx_is_refused_by_its_content(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", b"\x80\x04\x95cos\nsystem\n(S'touch x'\ntR.")
    with pytest.raises(AdmissionError) as refused:
        read(folder)
    assert refused.value.code == "not_onnx"


def test_a_folder_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises((ModelyardError, OSError)):
        read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="'MLmodel' is not there"):
        read(tmp_path / "empty")
