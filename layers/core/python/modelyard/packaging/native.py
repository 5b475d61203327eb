"""Our own operations for onnxruntime, compiled from ``layers/native``: for the layers, and for this machine.

The rule: without a compiler everything works, only slower to start. So whatever goes wrong here is a reason in words,
never an error, and a layer without the library is a whole layer.

`ziglang`, where it is installed, compiles for every platform that functions run on; otherwise the machine's own C
compiler does for its own platform. What was compiled is kept below ``build/native`` by a digest of everything that
decides its bytes. glibc 2.28 is what onnxruntime's own wheels are made for: so the exponential is the same function.
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

from modelyard.compiling.kernel import FOLDER, FOREST
from modelyard.packaging.process import Checkpoint, run_program, unchecked

LAYERS = ("lean", "serving")
"""Layers that bring it: those with onnxruntime, but for training."""

INSIDE = f"{FOLDER}/{FOREST}.so"
"""Where it lies in them."""

SOURCE = "layers/native/forest.c"

FLAGS = (
    *("-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-s"),
    *("-ffp-contract=off", "-fno-fast-math"),  # each operation rounds once, on every processor
    "-Wl,-z,nodelete",  # sessions share its operations, so it stays when the first of them is gone
)

_GLIBC = "2.28"
_MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}
_KEPT = ("HOME", "PATH", "TMPDIR")
_DEADLINE_S = 300.0
_NO_COMPILER = "no C compiler"


@dataclass(frozen=True)
class Kernel:
    """The compiled library, or why there is none.

    Attributes:
        path: The file; None: ``problem`` says why.
        digest: SHA-256 of its bytes.
    """

    path: Path | None = None
    digest: str | None = None
    problem: str = ""


def machine_of(platform_name: str) -> str:
    """The processor of a build target, as Linux calls it; ``local`` is this machine's."""
    return _MACHINES.get(platform_name, platform.machine())


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


def build_kernel(
    project: Path, machine: str, *, environ: Mapping[str, str] = os.environ, checkpoint: Checkpoint = unchecked
) -> Kernel:
    """The library for a processor, compiled unless it was before.

    Args:
        project: The folder with ``layers``.
        machine: As Linux calls it, such as ``aarch64``.
        environ: The process environment.
        checkpoint: Called again and again; whatever it raises ends the work.
    """
    source = project / SOURCE
    command = compiler(machine, environ)
    if command is None:
        return Kernel(problem=f"{_NO_COMPILER} for {machine}")
    try:
        folder = project / "build" / "native" / f"{machine}-{_recipe(source, command)[:16]}"
        path = folder / f"{FOREST}.so"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as scratch:
                problem = _compile(command, source, Path(scratch), environ, checkpoint)
                if problem:
                    return Kernel(problem=problem)
                (Path(scratch) / path.name).replace(path)
        return Kernel(path, hashlib.sha256(path.read_bytes()).hexdigest())
    except OSError as failed:
        return Kernel(problem=f"{failed}")


def build_here(project: Path, *, environ: Mapping[str, str] = os.environ) -> Kernel:
    """The library for this machine, where `modelyard.compiling.kernel` finds it."""
    machine = platform.machine()
    kernel = build_kernel(project, machine, environ=environ)
    if kernel.path is not None:
        place = project / "build" / "native" / machine / kernel.path.name
        try:
            if not place.is_file() or place.read_bytes() != kernel.path.read_bytes():
                place.parent.mkdir(exist_ok=True)
                draft = place.with_name(f".{place.name}.{os.getpid()}")
                shutil.copyfile(kernel.path, draft)
                draft.replace(place)  # a session may have the old one mapped: that file must not change
        except OSError as failed:
            return Kernel(problem=f"{failed}")
    return kernel


def _recipe(source: Path, command: tuple[str, ...]) -> str:
    version = importlib.metadata.version("ziglang") if "ziglang" in command else ""
    parts = (hashlib.sha256(source.read_bytes()).hexdigest(), *FLAGS, *command[1:], Path(command[0]).name, version)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _compile(
    command: tuple[str, ...], source: Path, scratch: Path, environ: Mapping[str, str], checkpoint: Checkpoint
) -> str:
    """Compile into ``scratch``; what went wrong, or nothing."""
    kept = {name: environ[name] for name in _KEPT if name in environ}
    # Copied, so that no path of this machine is among the bytes.
    shutil.copyfile(source, scratch / source.name)
    try:
        outcome = run_program(
            [*command, *FLAGS, source.name, "-o", f"{FOREST}.so", "-lm"],
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
