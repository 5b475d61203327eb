"""A whole build, offline: the wheels come from a folder that the test fills."""

import fcntl
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from modelyard.environments import load_environments
from modelyard.errors import BuildError, UsageError
from modelyard.packaging import LayerManifest, find_layer, function_asset
from modelyard.packaging.builder import Layers
from tests.fakes.projects import HERE, LOCAL, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def names(layer: LayerManifest) -> list[str]:
    with zipfile.ZipFile(layer.path) as archive:
        return archive.namelist()


def test_a_build_makes_every_layer_pruned_and_compiled(project: Project) -> None:
    layers = project.build("local")[LOCAL]

    assert list(layers) == ["api", "core", "function-predict", "model-brought", "serving"]
    cached = f"python/engine/__pycache__/__init__.{sys.implementation.cache_tag}.pyc"
    assert names(layers["serving"]) == ["python/engine-1.0.dist-info/METADATA", "python/engine/__init__.py", cached]
    assert layers["serving"].packages[0][0] == "engine"
    assert layers["serving"].bytecode == ".".join(map(str, sys.version_info[:3]))
    assert layers["model-brought"].modules == ("brought_model",)


def test_an_unchanged_project_is_not_built_again_and_says_one_line(project: Project) -> None:
    first = project.build("local")
    times = [layer.path.stat().st_mtime_ns for layer in first[LOCAL].values()]

    second = project.build("local")

    assert second == first
    assert [layer.path.stat().st_mtime_ns for layer in second[LOCAL].values()] == times
    assert project.said.startswith("Layers and functions: 0 built, 5 up to date")
    assert len(project.said.splitlines()) == 1


def test_an_unchanged_lock_gives_the_same_digest_when_it_is_built_anew(project: Project, tmp_path: Path) -> None:
    first = project.build("local")[LOCAL]
    elsewhere = Project(tmp_path / "elsewhere")

    second = elsewhere.build("local")[LOCAL]

    assert {name: layer.digest for name, layer in first.items()} == {
        name: layer.digest for name, layer in second.items()
    }
    assert first["serving"].path.read_bytes() == second["serving"].path.read_bytes()


def test_only_the_layer_whose_inputs_changed_is_built_again(project: Project) -> None:
    before = project.build("local")[LOCAL]
    project.write("models/brought/python/brought_model/__init__.py", "def preprocess(x):\n    return 2 * x\n")

    after = project.build("local")[LOCAL]

    assert project.said.splitlines()[-1].startswith("Layers and functions: 1 built, 4 up to date")
    assert [name for name in after if after[name] != before[name]] == ["model-brought"]


def test_the_environment_comes_from_the_variable_or_all_are_built(project: Project) -> None:
    project.environ["MODELYARD_ENV"] = "local"
    assert list(project.build()) == [LOCAL]

    del project.environ["MODELYARD_ENV"]
    assert len(project.build()) == 2


def test_an_unknown_environment_is_answered_with_those_there_are(project: Project) -> None:
    with pytest.raises(UsageError, match="local, dev"):
        project.build("prod")


def test_synth_finds_what_was_built(project: Project) -> None:
    built = project.build("local")[LOCAL]
    local = load_environments(project.root)["local"]

    assert find_layer(project.root, local, "core", architecture="x86_64") == built["core"]


def test_a_layer_that_was_not_built_is_answered_with_the_command(project: Project) -> None:
    dev = load_environments(project.root)["dev"]

    with pytest.raises(BuildError, match=r"'serving' is not built for python3\.1[23]-arm64") as caught:
        find_layer(project.root, dev, "serving")

    assert caught.value.code == "layer_missing"
    assert caught.value.next_step == "Run 'modelyard build'."


def test_a_layer_older_than_its_lock_is_answered_with_the_command(project: Project) -> None:
    project.build("local")
    project.lock("serving", "engine", {"engine/__init__.py": "x = 2\n"})

    with pytest.raises(BuildError, match="older than what it is made of") as caught:
        find_layer(project.root, load_environments(project.root)["local"], "serving")

    assert caught.value.code == "layer_stale"
    assert caught.value.next_step == "Run 'modelyard build'."


def test_a_wheel_that_is_not_the_locked_one_is_refused(project: Project) -> None:
    lock = project.root / "layers/serving/requirements.txt"
    lock.write_text(lock.read_text()[:-10] + "000000000\n")

    with pytest.raises(BuildError, match=r"layers/serving/requirements\.txt does not install") as caught:
        project.build("local")

    assert "ash mismatch" in caught.value.message
    assert not list(project.folder("serving").glob("*"))


def test_a_model_that_does_not_compile_is_named_by_its_file(project: Project) -> None:
    project.write("models/brought/python/brought_model/extra.py", "def x(:\n")

    with pytest.raises(BuildError, match=r"'brought_model/extra\.py'") as caught:
        project.build("local")

    assert "SyntaxError" in caught.value.message
    assert str(project.root) not in caught.value.message


def test_a_model_must_not_replace_a_module_of_another_layer(project: Project) -> None:
    project.write("models/brought/python/engine.py", "")

    with pytest.raises(BuildError, match="models/brought/python/engine has the name") as caught:
        project.build("local")

    assert caught.value.code == "module_taken"


def test_what_a_killed_build_left_is_removed_and_the_old_layer_serves_on(project: Project) -> None:
    built = project.build("local")[LOCAL]["core"]
    left = project.folder("core") / ".building-killed"
    left.mkdir()
    (left / "layer.zip").write_bytes(b"half")

    assert find_layer(project.root, load_environments(project.root)["local"], "core") == built
    project.write("layers/core/python/modelyard/__init__.py", "x = 1\n")
    project.build("local")
    assert not left.exists()


def test_a_second_build_waits_for_the_first(project: Project) -> None:
    project.build("local")
    results: list[Layers] = []
    with (project.root / "build/layers/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=lambda: results.append(project.build("local")))
        second.start()
        second.join(0.5)
        assert second.is_alive()
    second.join(30)

    assert len(results) == 1
    assert "waiting for it to end" in project.said


def test_a_missing_interpreter_costs_bytecode_and_is_made_up_for_later(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("modelyard.packaging.builder.find_interpreter", lambda *_, **__: None)
        without = project.build("local")[LOCAL]["core"]
    assert without.bytecode is None
    assert "about twice as long" in project.said
    assert f"uv python install {HERE}" in project.said

    later = project.build("local")[LOCAL]["core"]
    assert later.bytecode is not None
    assert later.files == 2 * without.files + 1, "bytecode for each, and the file of a start"


def test_a_disk_that_refuses_is_said_without_a_traceback(project: Project) -> None:
    (project.root / "build").write_text("a file where the folder should be")

    with pytest.raises(BuildError, match="the build cannot go on") as caught:
        project.build("local")

    assert caught.value.code == "disk"


# --- functions


def test_a_function_lies_at_the_top_of_its_zip_with_bytecode_that_nobody_checks(project: Project) -> None:
    built = project.build("local")[LOCAL][function_asset("predict")]
    cached = f"__pycache__/predict.{sys.implementation.cache_tag}.pyc"

    assert names(built) == [cached, "predict.py"]
    with zipfile.ZipFile(built.path) as archive:
        bytecode = archive.read(cached)
    assert int.from_bytes(bytecode[4:8], "little") == 0b01, "unchecked-hash"
    assert b"/var/task/predict.py" in bytecode


def test_every_function_is_built_for_the_targets_that_it_runs_on(project: Project) -> None:
    for file in ("api", "retraining_train", "retraining_claim"):
        project.write(f"functions/{file}.py", "")

    (layers,) = project.build("local").values()

    assert [name for name in layers if name.startswith("function-")] == [
        f"function-{file}" for file in ("api", "predict", "retraining_claim")
    ], "no model is trained here"


def test_a_changed_function_is_built_again_and_alone_and_synth_says_when_it_was_not(project: Project) -> None:
    project.build("local")
    project.write("functions/predict.py", "x = 1\n")
    local = load_environments(project.root)["local"]

    with pytest.raises(BuildError, match=r"functions/predict\.py as built for .* is older") as caught:
        find_layer(project.root, local, function_asset("predict"))
    assert (caught.value.code, caught.value.next_step) == ("layer_stale", "Run 'modelyard build'.")

    project.build("local")
    assert project.said.splitlines()[-1].startswith("Layers and functions: 1 built, 4 up to date")
    assert find_layer(project.root, local, function_asset("predict")).bytecode is not None


def test_a_function_that_is_not_there_is_said_by_its_path(project: Project) -> None:
    with pytest.raises(BuildError, match=r"functions/absent\.py is not there"):
        find_layer(project.root, load_environments(project.root)["local"], function_asset("absent"))


def test_a_function_that_does_not_compile_is_named_by_its_file(project: Project) -> None:
    project.write("functions/predict.py", "def handler(:\n")

    with pytest.raises(BuildError, match=r"functions/predict\.py does not compile") as caught:
        project.build("local")

    assert "SyntaxError" in caught.value.message
    assert str(project.root) not in caught.value.message


def test_a_layer_leaves_out_what_another_brings_and_its_wheel_is_not_asked_for(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Functions in which the one layer never stands without the other.
    monkeypatch.setattr("modelyard.packaging.sources.SETS", (("api", "core", "serving"), ("core", "serving")))
    shared = (project.root / "layers/serving/requirements.txt").read_text()
    lock = project.root / "layers/api/requirements.txt"
    lock.write_text(lock.read_text() + shared)

    layers = project.build("local")[LOCAL]

    assert layers["api"].left_out == (("engine", "serving"),)
    assert "engine" not in layers["api"].modules
    assert "engine" in layers["serving"].modules
