"""Everything wrong that somebody may register, through the command line: refused, said, invisible, and then done right.

The entries of "Register a model" in the list of bad inputs, and the tests that cover them. Those without a file are
here, and each of them ends with the right input, which works.

====================================  ================================================================================
0 bytes, truncated                    test_a_file_that_is_no_model_leaves_nothing_behind; test_admission
pickle, joblib, NPY with objects,     test_a_file_that_is_no_model_leaves_nothing_behind; test_admission (every protocol
zip, HTML, renamed to .onnx           and every format); test_import_mlflow_hostile
invalid UTF-8 inside                  test_a_file_that_is_no_model_leaves_nothing_behind; test_admission
unknown opset, custom op              test_a_file_that_is_no_model_leaves_nothing_behind; test_admission
external data: .., absolute,          test_external_data_is_refused_whatever_it_names; test_external_data (every place
symlink, hard link, unlisted          of the format); test_admission; test_import_mlflow_hostile
Loop that never ends, 32 GiB          test_a_hostile_model_is_refused_within_10_s; test_admission (the child is killed,
Constant                              its memory is limited)
over quota                            test_a_file_over_the_limit_is_refused_before_it_is_read; test_admission
wrong checksum                        test_bytes_that_were_damaged_in_the_store_are_not_registered;
                                      test_registry_publishing (changed on the way); test_control_uploads
names: ../x, a/b, NUL, right-to-left  test_a_name_that_is_none_is_refused_before_the_file_is_read; test_spec;
256 characters, case twins            test_registry_publishing; test_control_bad_inputs
reserved words                        test_reserved_words_are_names_like_any; test_registry_publishing
the same bytes twice                  test_the_same_bytes_again_are_the_same_version; test_registry_publishing
other bytes for a version that        test_other_bytes_become_another_version_and_the_first_keeps_its_own;
exists                                test_registry_publishing (409 by number)
connection cut in the middle          test_a_cut_at_any_call_is_said_and_repeating_finishes_it; test_registry_faults;
                                      test_aws_uploads (between the parts of an upload)
64 clients at once                    test_registry_publishing (many writers); test_registry_histories
====================================  ================================================================================
"""

import bz2
import io
import pickle
import sys
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from modelyard.admission import DEADLINE_S, LARGEST_ARTIFACT, admit
from tests.fakes import hostile_models as models
from tests.fakes.broken_stores import Outage
from tests.fakes.command_line import CommandLine, child
from tests.fakes.hostile_models import model
from tests.fakes.invariants import Shelf
from tests.fakes.onnx_models import row_sum

NOTHING = {"records": {}, "objects": {}}


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A project with the model ``sums``, and an empty registry."""
    return CommandLine(tmp_path / "project", monkeypatch, capsys)


def refused_then_right(line: CommandLine, file: str, *said: str) -> str:
    """A file is refused and leaves nothing; the model's own file is then version 1. Returns the cause."""
    cause = line.run("register", "sums", file, "--promote").refused(2, *said)
    assert line.everything() == NOTHING
    assert "sums: registered version 1" in line.run("register", "sums").done()
    assert [version.number for version in line.registry().versions("sums").items] == [1]
    return cause


# -- what is in the file ------------------------------------------------------------------------------------------


def _zip(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("model.onnx", content)
    return buffer.getvalue()


def _objects() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"w": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


NO_MODELS: dict[str, tuple[bytes, str]] = {
    "0 bytes": (b"", "0 bytes"),
    "truncated": (row_sum()[:-7], "not"),
    "pickle": (pickle.dumps({"weights": [1.0]}), "pickle"),
    "joblib": (zlib.compress(pickle.dumps({"weights": [1.0]})), "joblib"),
    "joblib, bzip2": (bz2.compress(pickle.dumps({"weights": [1.0]})), "compressed"),
    "NPY with objects": (_objects(), "NumPy"),
    "zip": (_zip(row_sum()), "zip"),
    "HTML": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "HTML"),
    "invalid UTF-8 inside": (models.harmless().replace(b"\x01y", b"\x01\xff"), "not UTF-8"),
    "unknown opset": (model([helper.make_node("Abs", ["x"], ["y"])], opset=99).SerializeToString(), "99"),
    "custom operator": (model([helper.make_node("Foo", ["x"], ["y"], domain="my")]).SerializeToString(), "my"),
}


@pytest.mark.parametrize("kind", NO_MODELS)
def test_a_file_that_is_no_model_leaves_nothing_behind(line: CommandLine, kind: str) -> None:
    content, said = NO_MODELS[kind]
    (line.folder / "renamed.onnx").write_bytes(content)
    refused_then_right(line, "renamed.onnx", said)


@pytest.mark.parametrize("location", ["w.bin", "../w.bin", "absolute", "soft.bin", "hard.bin", "unlisted.bin"])
def test_external_data_is_refused_whatever_it_names(line: CommandLine, location: str) -> None:
    for place in (line.folder, line.folder.parent):
        (place / "w.bin").write_bytes(np.ones(3, dtype=np.float32).tobytes())
    (line.folder / "soft.bin").symlink_to(line.folder.parent / "w.bin")
    (line.folder / "hard.bin").hardlink_to(line.folder.parent / "w.bin")
    named = str(line.folder / "w.bin") if location == "absolute" else location
    (line.folder / "m.onnx").write_bytes(models.external_initializer(named))
    refused_then_right(line, "m.onnx", "external data")


@pytest.mark.parametrize(
    "hostile",
    [
        models.endless_loop,
        pytest.param(
            models.huge_constant,
            marks=pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not limit the address space"),
        ),
    ],
)
def test_a_hostile_model_is_refused_within_10_s(line: CommandLine, hostile: Any) -> None:
    """Measured from outside, with the start of the command: the model itself has 7 s (``admission.DEADLINE_S``).

    Whoever called is alive and goes on with the right file.
    """
    assert DEADLINE_S == 7.0
    (line.folder / "m.onnx").write_bytes(hostile())
    start = time.monotonic()
    ended = child("register", "sums", "m.onnx", folder=line.folder)
    assert time.monotonic() - start < 10
    ended.refused(2, "7 s" if hostile is models.endless_loop else "memory")
    assert line.everything() == NOTHING
    line.run("register", "sums").done()


def test_a_file_over_the_limit_is_refused_before_it_is_read(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    with (line.folder / "big.onnx").open("wb") as file:
        file.truncate(LARGEST_ARTIFACT + 1)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
        line.run("register", "sums", "big.onnx").refused(2, "536,870,913 bytes", "at most 536,870,912")
    refused_then_right(line, "big.onnx", "at most")


@pytest.mark.parametrize(
    ("file", "said"), [("none.onnx", "not a file"), ("models", "not a file"), ("", "not a file")], ids=ascii
)
def test_what_is_no_file_is_refused(line: CommandLine, file: str, said: str) -> None:
    refused_then_right(line, file, said)


def test_a_file_that_may_not_be_read_is_one_line(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", denied)
        line.run("register", "sums").refused(1, "Permission denied", "model.onnx")
    assert line.everything() == NOTHING
    line.run("register", "sums").done()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--note", "\x1b[2Jgone", "U+001B"),
        ("--note", "\u202edoog", "U+202E"),
        ("--note", "a\rb", "U+000D"),
        ("--note", "x" * 4001, "at most 4000"),
        ("--note", "\udcff", "not valid Unicode"),
        ("--reason", "\x1b[2Jgone", "U+001B"),
        ("--reason", "x" * 1001, "at most 1000"),
    ],
    ids=ascii,
)
def test_text_that_deceives_or_does_not_fit_is_refused(line: CommandLine, option: str, value: str, said: str) -> None:
    line.run("register", "sums", "--promote", option, value).refused(2, said)
    assert line.everything() == NOTHING
    assert line.run("register", "sums", "--promote", option, "plain").code == 0
    deployment = line.registry().deployment("sums")
    assert deployment is not None
    assert deployment.champion == 1


# -- what it is called --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../x", "../models/sums", "a/b", "sums/", ".", "a\0b", "\u202esums", "a" * 256, "Sums", "SUMS", "s\u0443ms", ""],
    ids=ascii,
)
def test_a_name_that_is_none_is_refused_before_the_file_is_read(
    line: CommandLine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("modelyard.admission.admit", lambda _: pytest.fail("the file was tried"))
        cause = line.run("register", name, str(line.folder / "models" / "sums" / "model.onnx")).refused(
            2, "is not a model name: a lower-case letter, then at most 47 of a-z, 0-9 and '_'"
        )
    assert cause.isascii()
    assert ascii(name)[:40].rstrip("'") in cause
    assert line.everything() == NOTHING
    line.run("register", "sums").done()


def test_a_name_without_a_folder_is_refused_with_those_there_are(line: CommandLine) -> None:
    line.run("register", "sum").refused(2, "'sum'", "there are sums")
    assert line.everything() == NOTHING


@pytest.mark.parametrize("name", ["class", "con", "none", "models", "status"])
def test_reserved_words_are_names_like_any(line: CommandLine, name: str) -> None:
    line.add_model(name)
    assert f"{name}: registered version 1" in line.run("register", name).done()


# -- once more ----------------------------------------------------------------------------------------------------


def test_the_same_bytes_again_are_the_same_version(line: CommandLine) -> None:
    line.run("register", "sums", "--promote").done()
    before = line.everything()
    assert "was registered before, as version 1" in line.run("register", "sums").done()
    assert "version 1 is the champion" in line.run("register", "sums", "--promote").done()
    assert line.everything() == before


def test_other_bytes_become_another_version_and_the_first_keeps_its_own(line: CommandLine) -> None:
    line.run("register", "sums").done()
    first = line.registry().version("sums", 1)
    (line.folder / "other.onnx").write_bytes(row_sum(1.0))
    assert "registered version 2" in line.run("register", "sums", "other.onnx").done()
    assert line.registry().version("sums", 1) == first
    assert line.artifacts.objects[first.manifest.key] == row_sum()


def test_bytes_that_were_damaged_in_the_store_are_not_registered(line: CommandLine) -> None:
    line.run("register", "sums").done()
    key = line.registry().version("sums", 1).manifest.key
    line.records, line.artifacts.objects[key] = type(line.records)(), row_sum() + b"x"
    line.run("register", "sums").refused(5, key, "holds other bytes")
    assert line.registry().models().items == ()
    line.artifacts.objects[key] = row_sum()
    line.run("register", "sums").done()


# -- the connection -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before it is sent", "after it was applied"])
@pytest.mark.parametrize("options", [(), ("--promote",)], ids=["register", "register --promote"])
def test_a_cut_at_any_call_is_said_and_repeating_finishes_it(
    options: tuple[str, ...],
    after: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    signature = admit(row_sum())
    monkeypatch.setattr("modelyard.admission.admit", lambda _: signature)
    counted = CommandLine(tmp_path / "counted", monkeypatch, capsys)
    counted.outage = Outage()
    counted.run("register", "sums", *options).done()
    assert len(counted.outage.calls) >= 5
    for at in range(len(counted.outage.calls)):
        line = CommandLine(tmp_path / f"project-{at}", monkeypatch, capsys)
        line.outage = Outage(at, after=after)
        line.run("register", "sums", *options).refused(5, "connection was cut")
        line.outage = None
        line.run("register", "sums", *options).done()
        shelf = Shelf(line.records, line.artifacts, "sums")
        assert shelf.violations() == []
        assert not shelf.pointer_is_behind()
        assert [version.number for version in shelf.versions] == [1]
        assert (shelf.deployment is not None) == bool(options)
