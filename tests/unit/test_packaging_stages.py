"""The stages of a layer's build: install, prune, compile, zip."""

import asyncio
import importlib.metadata
import marshal
import os
import stat
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from modelyard.packaging.archive import write_archive
from modelyard.packaging.bytecode import compile_tree, find_interpreter
from modelyard.packaging.install import install_command, install_failure, installer_environment
from modelyard.packaging.process import run_program
from modelyard.packaging.pruning import RULES, Rule, prune, pruned
from modelyard.packaging.sources import layer_source
from modelyard.packaging.targets import BuildTarget

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
ARM = BuildTarget("3.13", "arm64")
PROJECT = Path(__file__).parents[2]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


# --- the installer


def test_pips_index_counts_for_uv_unless_uv_has_its_own() -> None:
    pip = {"PIP_INDEX_URL": "https://a.example/simple", "PIP_EXTRA_INDEX_URL": "https://b.example/simple"}

    settings = installer_environment(pip)
    assert settings["UV_DEFAULT_INDEX"] == "https://a.example/simple"
    assert settings["UV_INDEX"] == "https://b.example/simple"

    own = {**pip, "UV_INDEX_URL": "https://c.example/simple", "UV_INDEX": "https://d.example/simple"}
    settings = installer_environment(own)
    assert "UV_DEFAULT_INDEX" not in settings
    assert settings["UV_INDEX"] == "https://d.example/simple"


def test_wheels_are_for_the_target_with_hashes_and_nothing_is_built(tmp_path: Path) -> None:
    command = install_command(tmp_path, ARM)

    assert {"--require-hashes", "--no-deps", "--no-compile-bytecode"} <= set(command)
    assert command[command.index("--only-binary") + 1] == ":all:"
    assert command[command.index("--python-platform") + 1] == "aarch64-manylinux_2_28"
    assert command[command.index("--python-version") + 1] == "3.13"
    assert "--python-platform" not in install_command(tmp_path, BuildTarget(HERE, "local"))


@pytest.mark.parametrize(
    ("said", "helps"),
    [
        ("error: Failed to fetch: https://x\n cause: dns error", "connection"),
        ("cause: Hash mismatch for `numpy`", "index serves other files"),
        ("x has no wheels with a matching platform tag", "endpoint.architecture"),
        ("No space left on device", "disk space"),
    ],
)
def test_a_failed_install_says_what_helps(said: str, helps: str) -> None:
    error = install_failure(Path("/p/layers/serving/requirements.txt"), ARM, said)

    assert "layers/serving/requirements.txt" in error.message
    assert said.splitlines()[0] in error.message
    assert helps in str(error.next_step)


def test_an_interrupted_program_ends_at_once(tmp_path: Path) -> None:
    def stop() -> None:
        raise InterruptedError

    started = time.monotonic()
    with pytest.raises(InterruptedError):
        run_program(["/bin/sleep", "60"], env={}, folder=tmp_path, deadline_s=60, checkpoint=stop)

    assert time.monotonic() - started < 10


def test_a_program_that_starts_slowly_reads_all_that_it_is_given(tmp_path: Path) -> None:
    given = "a line\n" * 100_000

    ended = run_program(["/bin/sh", "-c", "sleep 0.3; wc -c"], env={}, folder=tmp_path, deadline_s=10, given=given)

    assert ended.output.strip() == str(len(given))


def test_a_program_that_hangs_is_ended_at_its_deadline(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="not done after"):
        run_program(["/bin/sleep", "60"], env={}, folder=tmp_path, deadline_s=0.2)


# --- pruning


@pytest.mark.parametrize(
    ("layer", "path"),
    [
        ("serving", "bin/f2py"),
        ("serving", ".lock"),
        ("serving", "numpy/_core/tests/test_umath.py"),
        ("serving", "numpy/__init__.pyi"),
        ("serving", "numpy/_core/include/numpy/arrayobject.h"),
        ("serving", "numpy-2.5.5.dist-info/RECORD"),
        ("serving", "numpy-2.5.5.dist-info/licenses/LICENSE.txt"),
        ("serving", "onnxruntime/capi/libonnxruntime.so.1.31.1"),
        ("serving", "onnxruntime/capi/libonnxruntime.1.31.1.dylib"),
        ("serving", "onnxruntime/transformers/optimizer.py"),
        ("lean", "onnxruntime/capi/onnxruntime_pybind11_state.so"),
        ("lean", "onnxruntime/capi/libonnxruntime_providers_shared.so"),
        ("lean", "onnxruntime/__init__.py"),
        ("lean", "onnxruntime-1.31.1.dist-info/METADATA"),
        ("api", "pydantic/v1/main.py"),
        ("api", "aws_lambda_powertools/event_handler/api_gateway.py"),
        ("api", "aws_lambda_powertools/utilities/parser/parser.py"),
        ("training", "onnx/backend/test/data/node/test_abs/model.onnx"),
        ("training", "sklearn/datasets/data/iris.csv"),
        ("training", "scipy/signal/__init__.py"),
        ("api", "aws_lambda_powertools/event_handler/openapi/swagger_ui/swagger-ui-bundle.min.js"),
        ("notebook", "debugpy/server/api.py"),
        ("notebook", "jedi/__init__.py"),
        ("notebook", "prompt_toolkit/application/application.py"),
        ("notebook", "pygments/lexers/lisp.py"),
        ("notebook", "tornado/test/web_test.py"),
    ],
)
def test_what_no_function_reads_goes(layer: str, path: str) -> None:
    assert list(pruned(layer, [path])) == [path]


@pytest.mark.parametrize(
    ("layer", "path"),
    [
        ("serving", "numpy/__init__.py"),
        ("training", "numpy/f2py/__init__.py"),
        ("serving", "numpy/testing/__init__.py"),
        ("serving", "numpy-2.5.5.dist-info/METADATA"),
        ("serving", "onnxruntime/capi/onnxruntime_pybind11_state.so"),
        ("serving", "onnxruntime/capi/libonnxruntime_providers_shared.so"),
        ("training", "google/protobuf/message.py"),
        ("training", "onnx/backend/base.py"),
        ("training", "sklearn/utils/_testing.py"),
        ("api", "opentelemetry_api-1.45.2.dist-info/entry_points.txt"),
        ("api", "starlette/routing.py"),
        ("api", "aws_lambda_powertools/utilities/jmespath_utils/__init__.py"),
        ("api", "aws_lambda_powertools/logging/logger.py"),
        ("lean", "onnxruntime/capi/libonnxruntime.so.1.31.1"),
        ("lean", "onnxruntime/capi/libonnxruntime.1.31.1.dylib"),
        ("notebook", "pygments/lexers/python.py"),
        ("notebook", "pygments/lexers/_mapping.py"),
        ("notebook", "IPython/testing/skipdoctest.py"),
        ("notebook", "pexpect/__init__.py"),
        ("notebook", "papermill-2.7.0.dist-info/entry_points.txt"),
        ("api", "prompt_toolkit/__init__.py"),
    ],
)
def test_what_some_function_reads_stays(layer: str, path: str) -> None:
    assert not pruned(layer, [path])


def test_a_rule_for_one_layer_leaves_the_others_alone() -> None:
    rules = [Rule("an engine", "why", ("*/engine.so",), layers=("serving",))]

    assert pruned("serving", ["x/engine.so"], rules) == {"x/engine.so": rules[0]}
    assert pruned("lean", ["x/engine.so"], rules) == {}


def test_every_pruning_rule_says_why_and_names_something() -> None:
    assert all(rule.saves and rule.reason and rule.patterns for rule in RULES)
    assert {name for rule in RULES for name in rule.layers} <= {"lean", "serving", "training", "notebook", "api"}


def test_pruning_removes_files_and_the_folders_that_they_leave_empty(tmp_path: Path) -> None:
    write(tmp_path, {"a/tests/sub/test_x.py": "12345", "a/x.py": ""})

    freed = prune("api", tmp_path)

    assert freed == {"tests": 5}
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["a", "a/x.py"]


def test_a_module_that_only_documents_becomes_an_empty_one_and_the_installers_cache_is_not_touched(
    tmp_path: Path,
) -> None:
    cached = write(tmp_path, {"cache/_add_newdocs.py": "add_newdoc('x', 'y')\n"}) / "cache/_add_newdocs.py"
    tree = tmp_path / "tree"
    (tree / "numpy/_core").mkdir(parents=True)
    (tree / "numpy/_core/_add_newdocs.py").hardlink_to(cached)

    freed = prune("serving", tree)

    assert (tree / "numpy/_core/_add_newdocs.py").read_bytes() == b""
    assert freed == {"documentation": len("add_newdoc('x', 'y')\n")}
    assert cached.read_text() == "add_newdoc('x', 'y')\n"


def test_of_a_packages_metadata_the_headers_stay_and_the_installers_cache_is_not_touched(tmp_path: Path) -> None:
    headers, page = "Metadata-Version: 2.4\nName: x\nVersion: 1.0\nRequires-Dist: y\n", "\n# The page on PyPI\n\nlong\n"
    cached = write(tmp_path, {"cache/METADATA": headers + page}) / "cache/METADATA"
    tree = tmp_path / "tree"
    (tree / "x-1.0.dist-info").mkdir(parents=True)
    (tree / "x-1.0.dist-info/METADATA").hardlink_to(cached)

    freed = prune("api", tree)

    assert (tree / "x-1.0.dist-info/METADATA").read_text() == headers
    assert importlib.metadata.Distribution.at(tree / "x-1.0.dist-info").version == "1.0"
    assert freed == {"metadata": len(page)}
    assert cached.read_text() == headers + page


# --- bytecode


def test_bytecode_is_unchecked_names_lambdas_path_and_is_the_same_each_time(tmp_path: Path) -> None:
    interpreter = find_interpreter(HERE)
    assert interpreter is not None
    source = "def f(x):\n    return x in {'a', 'b', 'c', 'd'}\n"
    trees = [write(tmp_path / name, {"pkg/__init__.py": source, "pkg/more.py": "y = 'a'\n"}) for name in ("one", "two")]

    outcomes = [compile_tree(tree, interpreter, root="/opt/python") for tree in trees]
    one, two = ([path.read_bytes() for path in sorted(tree.rglob("*.pyc"))] for tree in trees)

    assert all(outcome.complete for outcome in outcomes)
    assert one == two
    assert len(one) == 2
    assert all(int.from_bytes(content[4:8], "little") == 0b01 for content in one)
    assert b"/opt/python/pkg/__init__.py" in one[0]
    assert str(tmp_path).encode() not in one[0]


def test_without_docstrings_code_does_the_same_at_the_same_lines(tmp_path: Path) -> None:
    interpreter = find_interpreter(HERE)
    assert interpreter is not None
    module = '''"""About."""

from __future__ import annotations

"""No docstring."""

class C:
    """About."""

    def only(self): "About."

    async def two(self):
        """About."""
        """And more."""
        assert False, "kept"


def fails() -> Unknown:
    """About."""
    raise ValueError("line 20")
'''
    write(tmp_path, {"undocumented.py": module})

    outcome = compile_tree(tmp_path, interpreter, root="/opt/python", docstrings=False)
    (bytecode,) = tmp_path.rglob("*.pyc")
    space: dict[str, Any] = {"__name__": "undocumented"}
    exec(marshal.loads(bytecode.read_bytes()[16:]), space)  # noqa: S102, S302 - compiled above

    assert outcome.complete
    documented = [space["C"], space["C"].only, space["C"].two, space["fails"]]
    assert "__doc__" not in space
    assert [found.__doc__ for found in documented] == [None] * 4
    assert b"About" not in bytecode.read_bytes()
    assert space["C"]().only() is None
    with pytest.raises(AssertionError, match="kept"):
        asyncio.run(space["C"]().two())
    with pytest.raises(ValueError, match="line 20") as caught:
        space["fails"]()
    assert caught.tb.tb_next.tb_lineno == 20
    assert caught.tb.tb_next.tb_frame.f_code.co_filename == "/opt/python/undocumented.py"


def test_only_packages_whose_docstrings_nobody_reads_lose_them() -> None:
    names = ("core", "lean", "serving", "training", "api")
    kept = {name: layer_source(PROJECT, name).keeps_docstrings for name in names}
    assert kept == {"core": True, "lean": False, "serving": True, "training": True, "api": False}


def test_a_file_that_does_not_compile_is_reported_and_the_others_are_compiled(tmp_path: Path) -> None:
    interpreter = find_interpreter(HERE)
    assert interpreter is not None
    write(tmp_path, {"bad.py": "def x(:\n", "good.py": "y = 1\n"})

    outcome = compile_tree(tmp_path, interpreter, root="/opt/python")

    assert not outcome.complete
    assert "SyntaxError" in outcome.output
    assert [path.name.split(".")[0] for path in tmp_path.rglob("*.pyc")] == ["good"]


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def nowhere(tmp_path: Path, *folders: Path) -> dict[str, str]:
    path = os.pathsep.join(str(folder) for folder in folders)
    return {"PATH": path, "HOME": str(tmp_path), "UV_PYTHON_INSTALL_DIR": str(tmp_path / "none")}


def test_the_running_python_compiles_for_its_own_version(tmp_path: Path) -> None:
    found = find_interpreter(HERE, environ=nowhere(tmp_path), home=tmp_path)

    assert found is not None
    assert found.executable == sys.executable
    assert found.version.startswith(f"{HERE}.")


def test_a_shim_that_refuses_to_run_is_passed_over(tmp_path: Path) -> None:
    script(tmp_path / "shims/python3.99", "echo 'version not installed' >&2; exit 127")
    real = script(tmp_path / "bin/python3.99", "echo cpython final 3.99 3.99.1")
    environ = nowhere(tmp_path, tmp_path / "shims", tmp_path / "bin")

    found = find_interpreter("3.99", environ=environ, home=tmp_path)

    assert found is not None
    assert (found.executable, found.version) == (str(real), "3.99.1")


def test_a_version_managers_python_is_found_although_path_does_not_name_it(tmp_path: Path) -> None:
    script(tmp_path / ".pyenv/versions/3.99.4/bin/python3.99", "echo cpython final 3.99 3.99.4")

    found = find_interpreter("3.99", environ=nowhere(tmp_path), home=tmp_path)

    assert found is not None
    assert found.version == "3.99.4"


@pytest.mark.parametrize(
    "answer", ["cpython final 3.11 3.11.2", "pypy final 3.99 3.99.1", "cpython candidate 3.99 3.99.0", "", "nonsense"]
)
def test_another_python_is_not_taken_for_the_right_one(tmp_path: Path, answer: str) -> None:
    script(tmp_path / "bin/python3.99", f"echo {answer}")

    assert find_interpreter("3.99", environ=nowhere(tmp_path, tmp_path / "bin"), home=tmp_path) is None


# --- the zip


def test_equal_trees_give_equal_zips_whatever_their_times_modes_and_order(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"b/x.py": "x", "a.py": "a" * 1000})
    two = write(tmp_path / "two", {"a.py": "a" * 1000, "b/x.py": "x"})
    os.utime(two / "a.py", (1, 1))
    (two / "a.py").chmod(0o700)

    archives = [write_archive(tree, tmp_path / f"{tree.name}.zip", level=6) for tree in (one, two)]

    assert archives[0] == archives[1]
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_the_digest_is_of_the_content_and_not_of_the_compression(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", {"a.py": "a" * 5000})

    stored, small = (write_archive(tree, tmp_path / f"{level}.zip", level=level) for level in (0, 6))

    assert stored.digest == small.digest
    assert small.zip_bytes < stored.unzipped_bytes == 5000 < stored.zip_bytes


def test_the_level_decides_how_small_the_zip_is(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", {"a.py": " ".join(str(number * number) for number in range(20_000))})

    fast, small = (write_archive(tree, tmp_path / f"{level}.zip", level=level).zip_bytes for level in (1, 9))

    assert small < fast


def test_moving_a_byte_from_one_file_to_the_next_changes_the_digest(tmp_path: Path) -> None:
    one = write_archive(write(tmp_path / "one", {"a": "xy", "b": "z"}), tmp_path / "1.zip", level=0)
    two = write_archive(write(tmp_path / "two", {"a": "x", "b": "yz"}), tmp_path / "2.zip", level=0)

    assert one.digest != two.digest


def test_everything_lies_under_python_and_lambda_may_read_it(tmp_path: Path) -> None:
    tree = write(tmp_path / "tree", {"pkg/__init__.py": ""})
    (tree / "pkg/__init__.py").chmod(0o600)
    write_archive(tree, tmp_path / "layer.zip", level=1, prefix="python/")

    with zipfile.ZipFile(tmp_path / "layer.zip") as archive:
        (entry,) = archive.infolist()

    assert entry.filename == "python/pkg/__init__.py"
    assert stat.S_IMODE(entry.external_attr >> 16) == 0o644
