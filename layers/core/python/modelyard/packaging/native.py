"""What of ours is compiled, from ``layers/native``: a kernel for forests, a reader of large requests.

For the layers, and for this machine. The rule: without a compiler everything works, only slower. So whatever goes wrong
here is a reason in words, never an error, and a layer without the libraries is a whole layer.

`ziglang`, where it is installed, compiles for every platform that functions run on; otherwise the machine's own C
compiler does for its own platform. What was compiled is kept below ``build/native`` by a digest of everything that
decides its bytes, beside a digest of these: a file that is no longer that is compiled anew. glibc 2.28 is what
onnxruntime's own wheels are made for: so the exponential is the same function.
"""

import hashlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.compiling.kernel import FOLDER, FOREST, ROWS
from modelyard.packaging.process import Checkpoint, run_program, unchecked

LAYERS = ("lean", "serving")
"""Layers that bring the libraries: those with onnxruntime, but for training."""

SOURCES = {FOREST: "layers/native/forest.c", ROWS: "layers/native/rows.c"}
"""Of each library."""

INSIDE = FOLDER
"""The folder in which they lie in a layer."""

FLAGS = (
    *("-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-s"),
    *("-ffp-contract=off", "-fno-fast-math"),  # each operation rounds once, on every processor
    "-Wl,-z,nodelete",  # sessions share operations, so a library stays when the first of them is gone
)

_GLIBC = "2.28"
_MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}
_KEPT = ("HOME", "PATH", "TMPDIR")
_DEADLINE_S = 300.0
_NO_COMPILER = "no C compiler"


@dataclass(frozen=True)
class Native:
    """The compiled libraries, or why there are none.

    Attributes:
        paths: The files; empty: ``problem`` says why.
        digest: SHA-256 of their bytes, one after the other.
    """

    paths: tuple[Path, ...] = ()
    digest: str | None = None
    problem: str = ""


def machine_of(platform_name: str) -> str:
    """The processor of a build target, as Linux calls it; ``local`` is this machine's. Nothing where it is no Linux."""
    own = platform.machine() if sys.platform == "linux" else ""
    return _MACHINES.get(platform_name, own)


def compiler(machine: str, environ: Mapping[str, str] = os.environ) -> tuple[str, ...] | None:
    """What compiles for Linux on that processor; None where nothing here does."""
    try:
        importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        pass
    else:
        return (sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-gnu.{_GLIBC}")
    if sys.platform != "linux" or machine != platform.machine():
        return None
    found = (shutil.which(name, path=environ.get("PATH")) for name in ("cc", "gcc", "clang"))
    own = next((path for path in found if path is not None), None)
    return None if own is None else (own,)


def build_native(
    project: Path, machine: str, *, environ: Mapping[str, str] = os.environ, checkpoint: Checkpoint = unchecked
) -> Native:
    """The libraries for a processor, compiled unless they were before.

    Args:
        project: The folder with ``layers``.
        machine: As `machine_of` says, such as ``aarch64``.
        environ: The process environment.
        checkpoint: Called again and again; whatever it raises ends the work.
    """
    if not machine:
        return Native(problem="what is compiled of ours runs on Linux alone")
    command = compiler(machine, environ)
    if command is None:
        return Native(problem=f"{_NO_COMPILER} for {machine}")
    paths, digest = [], hashlib.sha256()
    try:
        for name, inside in SOURCES.items():
            source = project / inside
            folder = project / "build" / "native" / f"{machine}-{_recipe(source, command)[:16]}"
            path = folder / f"{name}.so"
            if not _is_whole(path):
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as scratch:
                    problem = _compile(command, source, path.name, Path(scratch), environ, checkpoint)
                    if problem:
                        return Native(problem=problem)
                    (Path(scratch) / path.name).replace(path)
                    _sum_of(path).write_text(hashlib.sha256(path.read_bytes()).hexdigest())
            paths.append(path)
            digest.update(path.read_bytes())
    except OSError as failed:
        return Native(problem=f"{failed}")
    return Native(tuple(paths), digest.hexdigest())


def build_here(project: Path, *, environ: Mapping[str, str] = os.environ) -> Native:
    """The libraries for this machine, where `modelyard.compiling.kernel` finds them."""
    machine = machine_of("local")
    native = build_native(project, machine, environ=environ)
    try:
        for path in native.paths:
            place = project / "build" / "native" / machine / path.name
            if not place.is_file() or place.read_bytes() != path.read_bytes():
                place.parent.mkdir(exist_ok=True)
                draft = place.with_name(f".{place.name}.{os.getpid()}")
                shutil.copyfile(path, draft)
                draft.replace(place)  # a session may have the old one mapped: that file must not change
    except OSError as failed:
        return Native(problem=f"{failed}")
    return native


def _is_whole(path: Path) -> bool:
    """Whether a library is there as it was compiled; one that was cut short would end the process that loads it."""
    if not path.is_file() or not _sum_of(path).is_file():
        return False
    return _sum_of(path).read_text(errors="replace") == hashlib.sha256(path.read_bytes()).hexdigest()


def _sum_of(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _recipe(source: Path, command: tuple[str, ...]) -> str:
    version = importlib.metadata.version("ziglang") if "ziglang" in command else ""
    parts = (hashlib.sha256(source.read_bytes()).hexdigest(), *FLAGS, *command[1:], Path(command[0]).name, version)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _compile(
    command: tuple[str, ...],
    source: Path,
    name: str,
    scratch: Path,
    environ: Mapping[str, str],
    checkpoint: Checkpoint,
) -> str:
    """Compile into ``scratch``; what went wrong, or nothing."""
    kept = {name: environ[name] for name in _KEPT if name in environ}
    # Copied, so that no path of this machine is among the bytes.
    shutil.copyfile(source, scratch / source.name)
    try:
        outcome = run_program(
            [*command, *FLAGS, source.name, "-o", name, "-lm"],
            env=kept | {"LC_ALL": "C", "SOURCE_DATE_EPOCH": "0", "ZIG_GLOBAL_CACHE_DIR": str(scratch / "cache")},
            folder=scratch,
            deadline_s=_DEADLINE_S,
            checkpoint=checkpoint,
        )
    except (OSError, TimeoutError) as failed:
        return f"{Path(command[0]).name} does not run: {failed}"
    if outcome.status:
        first = next((line for line in outcome.output.splitlines() if "error" in line), outcome.output[:200])
        return f"{source.name} does not compile: {first.strip()}"
    return ""
