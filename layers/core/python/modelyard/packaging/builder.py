"""Builds the layers of a project, or finds those that were built.

The rule: a layer is rebuilt only when its inputs changed, and a build that ends early, by an error, Ctrl-C or a kill,
leaves every finished layer usable and no half of one. Two layers are built at a time, each by one process at a time,
which keeps a machine with two cores busy and one with more responsive.
"""

import fcntl
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from modelyard.environments import Environment, choose_environment, load_environments
from modelyard.errors import BuildError
from modelyard.packaging.archive import write_archive
from modelyard.packaging.bytecode import LAYER_ROOT, Interpreter, compile_tree, find_interpreter
from modelyard.packaging.fit import check_fit
from modelyard.packaging.install import install
from modelyard.packaging.manifest import (
    LayerManifest,
    commit,
    describe_layer,
    layer_folder,
    read_manifest,
    read_owners,
)
from modelyard.packaging.progress import BuildProgress
from modelyard.packaging.pruning import prune
from modelyard.packaging.sources import LayerSource, layer_source
from modelyard.packaging.targets import (
    SHARED_ARCHITECTURE,
    Architecture,
    BuildTarget,
    FunctionSet,
    function_sets,
    model_layer,
    plan,
    target_of,
)
from modelyard.spec import load_models

Layers = dict[str, dict[str, LayerManifest]]
"""Built layers by target and layer name."""

ENVIRONMENT_VARIABLE = "MODELYARD_ENV"
LOCAL_LEVEL = 1
CLOUD_LEVEL = 6
"""Compression. The local AWS keeps every layer in memory and writes it, as base64, into its state: against stored,
level 1 costs 3 s once per build and saves 7 s in each deploy, stop and start (310 MB of layers: 120 MB instead of 325
kept). To the cloud a layer goes over a network, so there the smaller file is worth the time."""

_SCRATCH = ".building-"
_WORKERS = 2
_BUILD = "Run 'modelyard build'."


def build(
    project: Path,
    environments: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    console: Console | None = None,
) -> Layers:
    """Build every layer that the functions of some environments carry, and check that each function's set fits.

    Args:
        project: The folder with ``environments.toml``, ``models`` and ``layers``.
        environments: Their names; default the one in ``MODELYARD_ENV``, else all of ``environments.toml``.
        environ: The process environment: ``MODELYARD_ENV``, package index, PATH.
        console: Where progress goes; default stderr.

    Returns:
        The manifests by target (like ``python3.13-arm64``) and layer name.

    Raises:
        SpecError: When a model or ``environments.toml`` has findings.
        UsageError: When an environment is not there.
        BuildError: When a layer does not install, compile or fit.
    """
    known = load_environments(project)
    models = load_models(project / "models")
    if environments is None:
        named = environ.get(ENVIRONMENT_VARIABLE)
        environments = [named] if named else list(known)
    sets = [
        function_set for name in environments for function_set in function_sets(choose_environment(known, name), models)
    ]
    with BuildProgress(console or _console()) as progress, _disk_errors():
        with _exclusive(project / "build" / "layers", progress):
            run = _Build(project=project, environ=environ, progress=progress)
            layers = run.build_all(plan(sets))
        _check_sets(project, sets, layers)
        progress.finished(built=run.built, kept=run.kept)
    return layers


def find_layer(
    project: Path, environment: Environment, layer: str, *, architecture: Architecture = SHARED_ARCHITECTURE
) -> LayerManifest:
    """The built layer for functions of an environment; reads files only.

    Args:
        project: The project's folder.
        environment: Where the function will run.
        layer: ``core``, ``serving``, ``training``, ``api`` or ``model_layer(name)``.
        architecture: Of the function, in the cloud; the local environment has one.

    Raises:
        BuildError: When it was not built, or its inputs have changed since.
    """
    target = target_of(environment, architecture)
    inputs = layer_source(project, layer).inputs(target)
    found = read_manifest(layer_folder(project, target.name, layer))
    if found is None:
        raise BuildError(f"layer {layer!r} is not built for {target.name}", code="layer_missing", next_step=_BUILD)
    if found.inputs != inputs:
        raise BuildError(
            f"layer {layer!r} for {target.name} is older than what it is made of", code="layer_stale", next_step=_BUILD
        )
    return found


def _console() -> Console:
    # The CDK CLI sets FORCE_COLOR for its children, also where nobody looks; a spinner in a log is noise.
    return Console(stderr=True, force_terminal=sys.stderr.isatty())


@dataclass
class _Build:
    """One run over all targets; ``stop`` ends the threads at their next checkpoint."""

    project: Path
    environ: Mapping[str, str]
    progress: BuildProgress
    stop: threading.Event = field(default_factory=threading.Event)
    interpreters: dict[str, Interpreter | None] = field(default_factory=dict)
    built: int = 0
    kept: int = 0

    def build_all(self, wanted: Mapping[BuildTarget, Sequence[str]]) -> Layers:
        layers: Layers = {target.name: {} for target in wanted}
        missing: list[tuple[BuildTarget, LayerSource]] = []
        for target, names in wanted.items():
            for name in names:
                source = layer_source(self.project, name)
                present = read_manifest(layer_folder(self.project, target.name, name))
                if present is None or not self._is_current(present, source, target):
                    missing.append((target, source))
                else:
                    layers[target.name][name] = present
        self.kept, self.built = sum(map(len, layers.values())), len(missing)
        for target, _ in missing:
            self._interpreter(target)
        # The largest first: whatever is begun last is short.
        missing.sort(key=lambda job: (job[1].is_own_code, job[1].name != "training"))
        for manifest in self._in_threads(missing):
            layers[manifest.target][manifest.name] = manifest
        return {target: dict(sorted(found.items())) for target, found in layers.items()}

    def _is_current(self, present: LayerManifest, source: LayerSource, target: BuildTarget) -> bool:
        if present.inputs != source.inputs(target):
            return False
        # Built while no interpreter was at hand: worth another look each time.
        return present.bytecode is not None or self._interpreter(target) is None

    def _interpreter(self, target: BuildTarget) -> Interpreter | None:
        if target.python not in self.interpreters:
            self.interpreters[target.python] = find_interpreter(target.python, environ=self.environ)
            if self.interpreters[target.python] is None:
                self.progress.without_bytecode(target.python)
        return self.interpreters[target.python]

    def _in_threads(self, jobs: Iterable[tuple[BuildTarget, LayerSource]]) -> list[LayerManifest]:
        with ThreadPoolExecutor(max_workers=_WORKERS) as pool:
            futures: list[Future[LayerManifest]] = [pool.submit(self._build_one, *job) for job in jobs]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            except BaseException:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        return [future.result() for future in futures]

    def _build_one(self, target: BuildTarget, source: LayerSource) -> LayerManifest:
        folder = layer_folder(self.project, target.name, source.name)
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch:
            manifest = self._build_in(Path(scratch), folder, target, source)
        self.progress.built(manifest)
        return manifest

    def _build_in(self, scratch: Path, folder: Path, target: BuildTarget, source: LayerSource) -> LayerManifest:
        tree = scratch / "python"
        tree.mkdir()
        inputs = source.inputs(target)
        self._stage(target, source, "install")
        if source.lock is not None:
            install(source.lock, tree, target, environ=self.environ, checkpoint=self._checkpoint)
        for inside, file in source.files:
            (tree / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, tree / inside)
        owners = read_owners(tree)
        if source.lock is not None:
            self._stage(target, source, "prune")
            prune(source.name, tree)
        self._stage(target, source, "compile")
        interpreter = self._interpreter(target)
        if interpreter is not None:
            outcome = compile_tree(tree, interpreter, checkpoint=self._checkpoint)
            # Packages ship templates and code for other versions; what a wheel holds beyond use is not our error.
            if source.is_own_code and not outcome.complete:
                said = outcome.output.replace(f"{tree}/", "").replace(f"{LAYER_ROOT}/", "")
                raise BuildError(
                    f"layer {source.name!r} does not compile for Python {target.python}:\n{said}",
                    next_step="Correct the file, then run 'modelyard build' again.",
                )
        self._stage(target, source, "zip")
        draft = scratch / "layer.zip"
        archive = write_archive(
            tree, draft, level=LOCAL_LEVEL if target.is_local else CLOUD_LEVEL, checkpoint=self._checkpoint
        )
        manifest = describe_layer(
            name=source.name,
            target=target.name,
            inputs=inputs,
            bytecode=interpreter.version if interpreter else None,
            archive=archive,
            owners=owners,
            path=draft,
        )
        return commit(folder, manifest)

    def _stage(self, target: BuildTarget, source: LayerSource, stage: str) -> None:
        self._checkpoint()
        self.progress.stage(target.name, source.name, stage)

    def _checkpoint(self) -> None:
        if self.stop.is_set():
            raise BuildError("stopped, because another layer failed or the build was interrupted", next_step=_BUILD)


def _check_sets(project: Path, sets: Iterable[FunctionSet], layers: Layers) -> None:
    function_bytes = sum(file.stat().st_size for file in (project / "functions").glob("**/*.py"))
    for function_set in sets:
        carried = [layers[function_set.target.name][name] for name in function_set.layers]
        check_fit(carried, function_bytes, title=f"{function_set.title} ({function_set.target.name})")
        _check_model_code(carried)


def _check_model_code(carried: Sequence[LayerManifest]) -> None:
    """Lambda lays the model's layer over the others, so a module of the same name would replace theirs."""
    for own in carried:
        if not own.name.startswith(model_layer("")):
            continue
        for other in carried:
            taken = sorted(set(own.modules) & set(other.modules)) if other is not own else []
            if taken:
                raise BuildError(
                    f"models/{own.name.removeprefix(model_layer(''))}/python/{taken[0]} has the name of a module in "
                    f"layer {other.name!r} and would replace it",
                    code="module_taken",
                    next_step=f"Rename it; {own.name.removeprefix(model_layer(''))}_model is free.",
                )


@contextmanager
def _exclusive(folder: Path, progress: BuildProgress) -> Iterator[None]:
    """One build at a time in a project; the lock goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _disk_errors() -> Iterator[None]:
    """A full or read-only disk is the user's to mend, so it is said without a traceback."""
    try:
        yield
    except OSError as error:
        raise BuildError(
            f"the build cannot go on: {error.strerror or error}: {error.filename or 'build/layers'}",
            code="disk",
            next_step="Check that the project's folder is readable, build/ writable and the disk not full, then run "
            "'modelyard build' again.",
        ) from error
