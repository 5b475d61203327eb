"""Builds the layers of a project, or finds those that were built.

The rule: a layer is rebuilt only when its inputs changed, and a build that ends early, by an error, Ctrl-C or a kill,
leaves every finished layer usable and no half of one. Two layers are built at a time, each by one process at a time,
which keeps a machine with two cores busy and one with more responsive.
"""

import fcntl
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from modelyard.environments import Environment, choose_environment, load_environments
from modelyard.errors import BuildError
from modelyard.packaging.assembly import Assembly
from modelyard.packaging.bytecode import Interpreter, find_interpreter
from modelyard.packaging.fit import Fit, check_fit, fit_of
from modelyard.packaging.imports import can_run, check_imports
from modelyard.packaging.manifest import LayerManifest, layer_folder, read_manifest
from modelyard.packaging.native import Native, build_here, build_native, machine_of
from modelyard.packaging.progress import BuildProgress
from modelyard.packaging.report import summary
from modelyard.packaging.solver import Locks
from modelyard.packaging.sources import LayerSource, function_files, layer_source, read_locks
from modelyard.packaging.targets import (
    SHARED_ARCHITECTURE,
    Architecture,
    BuildTarget,
    FunctionSet,
    function_sets,
    owner_of,
    plan,
    target_of,
)
from modelyard.spec import load_models

Layers = dict[str, dict[str, LayerManifest]]
"""Built layers and functions by target and name."""

ENVIRONMENT_VARIABLE = "MODELYARD_ENV"

_WORKERS = 2
_BUILD = "Run 'modelyard build'."


@dataclass(frozen=True)
class Built:
    """What a build came to.

    Attributes:
        layers: The manifests of layers and functions by target (like ``python3.13-arm64``) and name.
        fits: What each kind of function carries, in every environment that was built.
        locks: The locks of the layers.
    """

    layers: Layers
    fits: tuple[Fit, ...]
    locks: Locks


def build(
    project: Path,
    environments: Sequence[str] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    console: Console | None = None,
) -> Built:
    """Build the functions of some environments and every layer that they carry; check that each set fits and imports.

    Args:
        project: The folder with ``environments.toml``, ``models`` and ``layers``.
        environments: Their names; default the one in ``MODELYARD_ENV``, else all of ``environments.toml``.
        environ: The process environment: ``MODELYARD_ENV``, package index, PATH.
        console: Where progress goes; default stderr.

    Raises:
        SpecError: When a model or ``environments.toml`` has findings.
        UsageError: When an environment is not there.
        BuildError: When a layer does not install, compile, fit or hold what its functions import.
    """
    known = load_environments(project)
    models = load_models(project / "models")
    if environments is None:
        named = environ.get(ENVIRONMENT_VARIABLE)
        environments = [named] if named else list(known)
    files = function_files(project)
    sets = [
        function_set
        for name in environments
        for function_set in function_sets(choose_environment(known, name), models, files)
    ]
    with BuildProgress(console or _console()) as progress, _disk_errors():
        with _exclusive(project / "build" / "layers", progress):
            run = _Build(project=project, environ=environ, progress=progress)
            build_here(project, environ=environ)  # for models that are registered from this machine
            layers = run.build_all(plan(sets))
            built = Built(
                layers=layers,
                fits=tuple(fit_of(function_set, layers[function_set.target.name]) for function_set in sets),
                locks=read_locks(project),
            )
            for fit in built.fits:
                check_fit(fit, built.locks)
                _check_model_code(fit.layers)
            run.try_imports(sets, layers)
        if run.built:
            progress.show(summary(built.fits))
        progress.finished(built=run.built, kept=run.kept)
    return built


def find_layer(
    project: Path, environment: Environment, layer: str, *, architecture: Architecture = SHARED_ARCHITECTURE
) -> LayerManifest:
    """The built layer, or a function's own code, for functions of an environment; reads files only.

    Args:
        project: The project's folder.
        environment: Where the function will run.
        layer: ``core``, ``lean``, ``serving``, ``training``, ``notebook``, ``api``, ``model_layer(name)``,
            ``training_layer(name)`` or ``function_asset(file)``.
        architecture: Of the function, in the cloud; the local environment has one.

    Raises:
        BuildError: When it was not built, or its inputs have changed since.
    """
    target = target_of(environment, architecture)
    source = layer_source(project, layer)
    found = read_manifest(layer_folder(project, target.name, layer))
    if found is None:
        raise BuildError(f"{source.title} is not built for {target.name}", code="layer_missing", next_step=_BUILD)
    if found.inputs != source.inputs(target):
        raise BuildError(
            f"{source.title} as built for {target.name} is older than what it is made of",
            code="layer_stale",
            next_step=_BUILD,
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
    natives: dict[str, Native] = field(default_factory=dict)
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
        without: dict[str, str] = {}
        for target, source in missing:
            self._interpreter(target)
            if source.compiled:
                without.setdefault(machine_of(target.platform) or "this system", self._native(target).problem)
        for machine, problem in without.items():
            if problem:
                self.progress.without_native(machine, problem)
        # The largest first: whatever is begun last is short.
        missing.sort(key=lambda job: (job[1].is_own_code, job[1].name != "training"))
        for manifest in self._in_threads(missing):
            layers[manifest.target][manifest.name] = manifest
        return {target: dict(sorted(found.items())) for target, found in layers.items()}

    def try_imports(self, sets: Iterable[FunctionSet], layers: Layers) -> None:
        by_target: dict[BuildTarget, list[FunctionSet]] = {}
        for function_set in dict.fromkeys(sets):
            by_target.setdefault(function_set.target, []).append(function_set)
        for target, of_target in by_target.items():
            interpreter = self._interpreter(target)
            if interpreter is not None and can_run(target, interpreter):
                folder = layer_folder(self.project, target.name, "")
                check_imports(folder, of_target, layers[target.name], interpreter, checkpoint=self._checkpoint)

    def _is_current(self, present: LayerManifest, source: LayerSource, target: BuildTarget) -> bool:
        if present.inputs != source.inputs(target):
            return False
        # Built while no interpreter, or no compiler, was at hand: worth another look each time.
        if source.compiled and present.native is None and self._native(target).paths:
            return False
        return present.bytecode is not None or self._interpreter(target) is None

    def _native(self, target: BuildTarget) -> Native:
        machine = machine_of(target.platform)
        if machine not in self.natives:
            self.natives[machine] = build_native(
                self.project, machine, environ=self.environ, checkpoint=self._checkpoint
            )
        return self.natives[machine]

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
        def stage(name: str) -> None:
            self._checkpoint()
            if not source.is_function:
                self.progress.stage(target.name, source.name, name)

        manifest = Assembly(
            project=self.project,
            target=target,
            source=source,
            interpreter=self._interpreter(target),
            environ=self.environ,
            checkpoint=self._checkpoint,
            stage=stage,
            native=Native() if not source.compiled else self._native(target),
        ).make()
        if not source.is_function:
            self.progress.built(manifest)
        return manifest

    def _checkpoint(self) -> None:
        if self.stop.is_set():
            raise BuildError("stopped, because another layer failed or the build was interrupted", next_step=_BUILD)


def _check_model_code(carried: Sequence[LayerManifest]) -> None:
    """Lambda lays layers over each other, so of two modules with the same name one would replace the other."""
    for own in carried:
        owner = owner_of(own.name)
        if owner is None:
            continue
        for other in carried:
            taken = sorted(set(own.modules) & set(other.modules)) if other is not own else []
            if taken:
                raise BuildError(
                    f"models/{owner}/python/{taken[0]} has the name of a module in layer {other.name!r} and would "
                    "replace it",
                    code="module_taken",
                    next_step=f"Rename it; {owner}_model is free.",
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
