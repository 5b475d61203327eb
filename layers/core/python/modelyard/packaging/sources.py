"""Second stage: what a layer or a function is made of, as one digest.

The rule: equal digest, equal layer. It covers the lock's entries or the sources, the target, and the builder's own code
with the pruning table, so nobody has to remember to raise a version number. It never covers where things lie or
which package index serves them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from modelyard.errors import BuildError
from modelyard.packaging import native
from modelyard.packaging.locks import Pin, read_lock
from modelyard.packaging.solver import check_versions, left_out
from modelyard.packaging.targets import SETS, BuildTarget, function_asset, model_layer, owner_of, training_layer
from modelyard.spec import load_model
from modelyard.training.notebook import FOLDER as NOTEBOOKS

NOT_IN_LAMBDA = ("cli", "exporting", "importing", "local", "packaging", "placement", "replay", "scaffold", "server")
"""Folders of the library that no function has a use for: the developer's machine runs them, or a container."""

FILES_NOT_IN_LAMBDA = (
    *(
        "__main__.py",
        "endpoint_keys.py",
        "endpoint_state.py",
        "endpoint_variables.py",
        "environments.py",
        "instances.py",
    ),
    *("plain_secrets.py", "spec.py", "spec_retraining.py", "spec_retraining_rules.py", "spec_rollout.py"),
    *("spec_rollout_rules.py", "spec_rules.py", "spec_section.py", "spec_server.py", "spec_server_rules.py", "toml.py"),
)
"""The same of modules beside them: what a project declares is read before it is deployed."""

_BUILDER_MODULES = (
    *("archive", "assembly", "bytecode", "elf", "install", "linking", "locks", "manifest", "native", "process"),
    *("pruning", "solver", "sources", "targets", "without_docstrings"),
)
"""Modules whose change may change the bytes of a layer."""


@dataclass(frozen=True)
class LayerSource:
    """Where a layer or a function comes from: a lock for third-party packages, or files of this project."""

    name: str
    lock: Path | None = None
    pins: tuple[Pin, ...] = ()
    """Those entries of the lock that this layer brings."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """The others, and the layer that brings them."""
    files: tuple[tuple[str, Path], ...] = ()
    """Path inside the layer and the file, sorted; empty for a layer with a lock."""
    compiled: tuple[Path, ...] = ()
    """The C sources whose libraries it brings, where there is a compiler (`modelyard.packaging.native`)."""

    @property
    def is_own_code(self) -> bool:
        """Whether the project wrote it, so that a file that does not compile is an error."""
        return self.lock is None

    @property
    def keeps_docstrings(self) -> bool:
        """Whether its bytecode has docstrings; the packages of a lean endpoint and of the API do without."""
        return self.name not in ("lean", "api")

    @property
    def is_function(self) -> bool:
        """Whether it is a function's code and not a layer."""
        return self.name.startswith(function_asset(""))

    @property
    def title(self) -> str:
        """What messages call it."""
        return (
            f"functions/{self.name.removeprefix(function_asset(''))}.py" if self.is_function else f"layer {self.name!r}"
        )

    @property
    def prefix(self) -> str:
        """Where the files lie in the zip: Lambda puts ``/opt/python`` on ``sys.path``."""
        return "" if self.is_function else "python/"

    @property
    def root(self) -> str:
        """Where Lambda puts the files."""
        return "/var/task" if self.is_function else "/opt/python"

    def inputs(self, target: BuildTarget) -> str:
        """SHA-256 over everything that decides the bytes."""
        content: object = sorted(pin.text for pin in self.pins) if self.lock is not None else self._content()
        # Which compiler there is, is no input: synth takes what was built, and a build adds the library once it can.
        source = list(map(_digest, self.compiled))
        document = json.dumps([_builder_digest(), self.name, target.identity, content, *source])
        return hashlib.sha256(document.encode()).hexdigest()

    @property
    def files_digest(self) -> str:
        """SHA-256 over the files and their names alone: the same for every Python and platform."""
        return hashlib.sha256(json.dumps(self._content()).encode()).hexdigest()

    def _content(self) -> list[tuple[str, str]]:
        return [(path, _digest(file)) for path, file in self.files]


def training_code_digest(project: Path, model: str) -> str:
    """SHA-256 of the code that trains a model in place of the trainer, its notebook included."""
    return layer_source(project, training_layer(model)).files_digest


def layer_source(project: Path, name: str) -> LayerSource:
    """The source of the layer or function called ``name``.

    Raises:
        BuildError: When a folder, a file or a lock is missing, or two locks disagree.
    """
    if name.startswith(function_asset("")):
        file = project / "functions" / f"{name.removeprefix(function_asset(''))}.py"
        if not file.is_file():
            raise BuildError(
                f"functions/{file.name} is not there", next_step="Run the command in the project's folder."
            )
        return LayerSource(name=name, files=((file.name, file),))
    if name == "core":
        return _own_code(
            name,
            project / "layers" / "core" / "python",
            exclude=(*NOT_IN_LAMBDA, *FILES_NOT_IN_LAMBDA),
            package="modelyard",
        )
    owner = owner_of(name)
    if owner is not None:
        folder = project / "models" / owner
        return _own_code(name, folder / "python") if name == model_layer(owner) else _training_code(name, folder)
    locks = read_locks(project)
    if name not in locks:
        raise BuildError(
            f"layer {name!r}: layers/{name}/requirements.txt is not there",
            next_step=f"Compile it from layers/{name}/requirements.in with 'uv pip compile --universal "
            "--generate-hashes', or take it from version control.",
        )
    check_versions(locks, (names for names in SETS if name in names))
    others = left_out(name, locks, SETS)
    pins = tuple(pin for pin in locks[name] if pin.name not in others)
    compiled = tuple(project / source for source in native.SOURCES.values()) if name in native.LAYERS else ()
    compiled = compiled if all(map(Path.is_file, compiled)) else ()
    return LayerSource(name=name, lock=_lock(project, name), pins=pins, left_out=others, compiled=compiled)


def read_locks(project: Path) -> dict[str, tuple[Pin, ...]]:
    """The locks of all layers that have one."""
    names = sorted({name for names in SETS for name in names if _lock(project, name).is_file()})
    return {name: read_lock(_lock(project, name)) for name in names}


def function_files(project: Path) -> list[str]:
    """The names of the functions, without ``.py``."""
    return sorted(path.stem for path in (project / "functions").glob("*.py"))


def _lock(project: Path, layer: str) -> Path:
    return project / "layers" / layer / "requirements.txt"


def _own_code(name: str, folder: Path, *, exclude: tuple[str, ...] = (), package: str = "") -> LayerSource:
    root = folder / package
    if not root.is_dir():
        raise BuildError(
            f"layer {name!r}: the folder {'/'.join(root.parts[-4:])} is not there",
            next_step="Run the command in the project's folder.",
        )
    return LayerSource(name=name, files=tuple(sorted(_files(folder, root, exclude))))


def _training_code(name: str, folder: Path) -> LayerSource:
    """What trains a model in place of the trainer: ``python/``, and a notebook where `notebook.find` looks for it."""
    notebook = load_model(folder).notebook
    files = _files(folder / "python", folder / "python", ())
    if notebook is not None:
        files.append((f"{NOTEBOOKS}/{notebook}", folder / notebook))
    return LayerSource(name=name, files=tuple(sorted(files)))


def _files(folder: Path, root: Path, exclude: tuple[str, ...]) -> list[tuple[str, Path]]:
    """The files below ``root``, each with its path inside ``folder``; none where there is no such folder."""
    files: list[tuple[str, Path]] = []
    for file in root.rglob("*"):
        inside = file.relative_to(root)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
        if hidden or inside.parts[0] in exclude or file.suffix == ".pyc" or not file.is_file():
            continue
        files.append((file.relative_to(folder).as_posix(), file))
    return files


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def _builder_digest() -> str:
    folder = Path(__file__).parent
    return hashlib.sha256("".join(_digest(folder / f"{name}.py") for name in _BUILDER_MODULES).encode()).hexdigest()
