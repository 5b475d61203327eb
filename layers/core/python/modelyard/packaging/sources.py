"""Second stage: what a layer is made of, as one digest.

The rule: equal digest, equal layer. It covers the lock file or the sources, the target, and the builder's own code
with the pruning table, so nobody has to remember to raise a version number. It never covers where things lie or
which package index serves them.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modelyard.errors import BuildError
from modelyard.packaging.targets import BuildTarget, model_layer

NOT_IN_LAMBDA = ("cli", "exporting", "importing", "local", "packaging", "scaffold")
"""Folders of the library that only the developer's machine runs."""

_BUILDER_MODULES = ("archive", "bytecode", "builder", "install", "manifest", "process", "pruning", "sources", "targets")
"""Modules whose change may change the bytes of a layer."""


@dataclass(frozen=True)
class LayerSource:
    """Where a layer comes from: a lock file for third-party packages, or files of this project."""

    name: str
    lock: Path | None
    files: tuple[tuple[str, Path], ...]
    """Path inside the layer's ``python/`` and the file, sorted; empty for a layer with a lock."""

    @property
    def is_own_code(self) -> bool:
        """Whether the project wrote it, so that a file that does not compile is an error."""
        return self.lock is None

    def inputs(self, target: BuildTarget) -> str:
        """SHA-256 over everything that decides the layer's bytes."""
        if self.lock is not None:
            content: object = _digest(self.lock)
        else:
            content = [(path, _digest(file)) for path, file in self.files]
        document = json.dumps([_builder_digest(), self.name, target.identity, content])
        return hashlib.sha256(document.encode()).hexdigest()


def layer_source(project: Path, name: str) -> LayerSource:
    """The source of the layer called ``name``.

    Raises:
        BuildError: When the folder or the lock file is missing.
    """
    if name == "core":
        return _own_code(name, project / "layers" / "core" / "python", exclude=NOT_IN_LAMBDA, package="modelyard")
    if name.startswith(model_layer("")):
        return _own_code(name, project / "models" / name.removeprefix(model_layer("")) / "python")
    lock = project / "layers" / name / "requirements.txt"
    if not lock.is_file():
        raise BuildError(
            f"layer {name!r}: layers/{name}/requirements.txt is not there",
            next_step=f"Compile it from layers/{name}/requirements.in with 'uv pip compile --universal "
            "--generate-hashes', or take it from version control.",
        )
    return LayerSource(name=name, lock=lock, files=())


def _own_code(name: str, folder: Path, *, exclude: tuple[str, ...] = (), package: str = "") -> LayerSource:
    root = folder / package
    if not root.is_dir():
        raise BuildError(
            f"layer {name!r}: the folder {'/'.join(root.parts[-4:])} is not there",
            next_step="Run the command in the project's folder.",
        )
    files: list[tuple[str, Path]] = []
    for file in root.rglob("*"):
        inside = file.relative_to(root)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
        if hidden or inside.parts[0] in exclude or file.suffix == ".pyc" or not file.is_file():
            continue
        files.append((file.relative_to(folder).as_posix(), file))
    return LayerSource(name=name, lock=None, files=tuple(sorted(files)))


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def _builder_digest() -> str:
    folder = Path(__file__).parent
    return hashlib.sha256("".join(_digest(folder / f"{name}.py") for name in _BUILDER_MODULES).encode()).hexdigest()
