"""Our own operations are compiled where a compiler is; where none is, everything is there but they."""

import importlib.metadata
import json
import os
import platform
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

from modelyard.compiling import kernel
from modelyard.packaging import find_layer
from modelyard.packaging.elf import machine_of as machine_in
from modelyard.packaging.native import FLAGS, INSIDE, SOURCES, build_here, build_native, compiler
from tests.fakes.native import PROJECT, forest_kernel
from tests.fakes.projects import LOCAL, Project

HOST = platform.machine()
SOURCE = SOURCES[kernel.FOREST]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A small project with the source, and a compiler that is a machine's own."""
    forest_kernel()
    made = Project(tmp_path)
    for source in SOURCES.values():
        made.write(source, (PROJECT / source).read_text())
    return made


@pytest.fixture(autouse=True)
def _no_compiler_for_every_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version

    def without_zig(name: str) -> str:
        if name == "ziglang":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_zig)


def without_compiler(project: Project) -> None:
    """A PATH with what a build runs, and no compiler."""
    folder = project.root.parent / "bin"
    folder.mkdir()
    for name in ("uv", "python3"):
        found = shutil.which(name)
        if found is not None:
            (folder / name).symlink_to(found)
    project.environ["PATH"] = str(folder)


def libraries_in(layer) -> list[str]:
    return sorted(name for name in zipfile.ZipFile(layer.path).namelist() if name.startswith(f"python/{INSIDE}/"))


def test_it_is_compiled_once_and_the_same_bytes_each_time(project: Project, tmp_path: Path) -> None:
    first = build_native(project.root, HOST, environ=project.environ)
    assert [path.name for path in first.paths] == [f"{name}.so" for name in SOURCES]
    assert {machine_in(path) for path in first.paths} == {{"aarch64": "arm64"}.get(HOST, HOST)}
    written = [path.stat().st_mtime_ns for path in first.paths]
    assert build_native(project.root, HOST, environ=project.environ) == first
    assert [path.stat().st_mtime_ns for path in first.paths] == written
    other = tmp_path / "elsewhere"
    for source in SOURCES.values():
        (other / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project.root / source, other / source)
    assert build_native(other, HOST, environ=project.environ).digest == first.digest


def test_a_changed_source_is_compiled_anew_and_what_a_session_has_mapped_stays(project: Project) -> None:
    first = build_here(project.root, environ=project.environ)
    place = project.root / "build" / "native" / HOST / f"{kernel.FOREST}.so"
    before = place.stat()
    project.write(SOURCE, (PROJECT / SOURCE).read_text().replace("packed forest: %s", "a packed forest: %s"))
    second = build_here(project.root, environ=project.environ)
    assert first.digest != second.digest
    assert place.stat().st_ino != before.st_ino


@pytest.mark.parametrize("left", [0, 5000])
def test_a_library_that_was_cut_short_is_compiled_anew(project: Project, left: int) -> None:
    first = build_here(project.root, environ=project.environ)
    for path in first.paths:
        path.write_bytes(path.read_bytes()[:left])
    assert build_here(project.root, environ=project.environ) == first
    here = [project.root / "build" / "native" / HOST / path.name for path in first.paths]
    assert [path.read_bytes() for path in here] == [path.read_bytes() for path in first.paths]
    assert min(path.stat().st_size for path in here) > left


def test_for_another_processor_it_takes_ziglang(monkeypatch: pytest.MonkeyPatch) -> None:
    other = "aarch64" if HOST == "x86_64" else "x86_64"
    assert compiler(other) is None
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.17.1")
    assert compiler(other)[-2:] == ("-target", f"{other}-linux-gnu.2.28")


def test_on_another_system_than_linux_there_is_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert "Linux" in build_here(project.root, environ=project.environ).problem
    assert compiler(HOST) is None


def test_what_does_not_compile_is_a_reason_and_no_error(project: Project, tmp_path: Path) -> None:
    project.write(SOURCE, "this is no C\n")
    assert build_native(project.root, HOST, environ=project.environ).problem.startswith("forest.c does not compile: ")
    broken = tmp_path / "cc"
    broken.write_text("no program")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    assert "does not run" in build_native(project.root, HOST, environ={"PATH": str(tmp_path)}).problem
    assert build_native(project.root, HOST, environ={"PATH": ""}).problem == f"no C compiler for {HOST}"


def test_the_servers_image_compiles_the_same_with_the_same_flags(tmp_path: Path) -> None:
    dockerfile = (PROJECT / "layers/server/Dockerfile").read_text()
    stage = dockerfile[dockerfile.index(" AS native") :].partition("\nRUN ")[2].partition("\n\n")[0]
    assert " ".join(FLAGS) in stage
    assert f"COPY --from=native /native /opt/modelyard/python/{INSIDE}\n" in dockerfile
    forest_kernel()  # skipped without a compiler
    script = stage.replace("\\\n", "").replace("/src", str(PROJECT / "layers/native")).replace("/native &&", "$OUT &&")
    script = script.replace("mkdir $OUT", "true").replace('"/native/', '"$OUT/')
    environ = {"PATH": os.environ["PATH"], "OUT": str(tmp_path)}
    subprocess.run(["sh", "-ec", script], env=environ, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.so" for name in SOURCES)


def test_a_layer_has_it_once_there_is_a_compiler_and_says_so_while_there_is_none(project: Project) -> None:
    compilers = project.environ["PATH"]
    without_compiler(project)
    layer = project.build("local")[LOCAL]["serving"]
    assert layer.native is None
    assert f"no C compiler for {HOST}" in project.said
    assert not libraries_in(layer)
    assert project.build("local")[LOCAL]["serving"] == layer
    assert len(project.said.splitlines()) == 1, "what was said once is not said at every synth"

    project.environ["PATH"] = compilers
    layer = project.build("local")[LOCAL]["serving"]
    assert "no C compiler" not in project.said
    assert "1 built" in project.said
    assert libraries_in(layer) == sorted(f"python/{INSIDE}/{name}.so" for name in SOURCES)
    assert layer.native == build_native(project.root, HOST, environ=project.environ).digest

    without = {**project.environ}
    project.environ["PATH"] = str(project.root.parent / "bin")
    assert project.build("local")[LOCAL]["serving"] == layer, "what was built stays"
    project.environ = without
    assert find_layer(project.root, _local(project), "serving") == layer
    project.write(SOURCE, (PROJECT / SOURCE).read_text() + "/* changed */\n")
    assert project.build("local")[LOCAL]["serving"].inputs != layer.inputs


def _local(project: Project):
    from modelyard.environments import load_environments

    return load_environments(project.root)["local"]


def test_a_manifest_of_an_earlier_release_is_read_as_a_layer_without_it(project: Project) -> None:
    project.build("local")
    path = project.folder("api") / "manifest.json"
    document = json.loads(path.read_text())
    del document["native"]
    path.write_text(json.dumps(document))
    assert project.build("local")[LOCAL]["api"].native is None
    assert "0 built" in project.said
