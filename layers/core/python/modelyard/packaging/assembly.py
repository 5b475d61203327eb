"""How one layer or function is made: install or copy, prune, check the processor, compile, zip, commit.

Each stage works in a folder of its own beside the finished layers, so a build that ends early leaves no half of one.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.errors import BuildError
from modelyard.packaging.archive import write_archive
from modelyard.packaging.bytecode import Compilation, Interpreter, compile_tree
from modelyard.packaging.elf import is_compiled, machine_of
from modelyard.packaging.install import install
from modelyard.packaging.linking import link
from modelyard.packaging.manifest import LayerManifest, commit, describe_layer, layer_folder, read_owners
from modelyard.packaging.native import INSIDE, Native
from modelyard.packaging.process import Checkpoint
from modelyard.packaging.pruning import prune
from modelyard.packaging.sources import LayerSource
from modelyard.packaging.targets import BuildTarget

LOCAL_LEVEL = 1
CLOUD_LEVEL = 6
"""Compression. The local AWS keeps every layer in memory and writes it, as base64, into its state: against stored,
level 1 costs 3 s once per build and saves 7 s in each deploy, stop and start (310 MB of layers: 120 MB instead of 325
kept). To the cloud a layer goes over a network, so there the smaller file is worth the time."""

_SCRATCH = ".building-"


@dataclass(frozen=True)
class Assembly:
    """One layer or function to be made.

    Attributes:
        project: The project's folder.
        target: For which Python and platform.
        source: What it is made of.
        interpreter: Who compiles it; None where no Python of that version is at hand.
        environ: The process environment, for the installer.
        checkpoint: Called again and again; whatever it raises ends the work.
        stage: Called with the name of each stage.
        native: What of ours is compiled, for a layer that brings it.
    """

    project: Path
    target: BuildTarget
    source: LayerSource
    interpreter: Interpreter | None
    environ: Mapping[str, str]
    checkpoint: Checkpoint
    stage: Callable[[str], None]
    native: Native

    def make(self) -> LayerManifest:
        """Make it and put it where synth finds it.

        Raises:
            BuildError: When it does not install, does not compile or is for another processor.
        """
        folder = layer_folder(self.project, self.target.name, self.source.name)
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder) as scratch:
            return self._make_in(Path(scratch), folder)

    def _make_in(self, scratch: Path, folder: Path) -> LayerManifest:
        tree, source, target = scratch / "tree", self.source, self.target
        tree.mkdir()
        inputs = source.inputs(target)
        self.stage("install")
        if source.lock is not None:
            install(source.lock, source.pins, tree, target, environ=self.environ, checkpoint=self.checkpoint)
        for inside, file in source.files:
            (tree / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, tree / inside)
        for path in self.native.paths:
            (tree / INSIDE).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, tree / INSIDE / path.name)
        owners = read_owners(tree)
        self.stage("prune")
        pruned = prune(source.name, tree) if source.lock is not None else {}
        check_processor(tree, source, target)
        self.stage("compile")
        self._compile(tree)
        self.stage("zip")
        draft = scratch / "layer.zip"
        level = LOCAL_LEVEL if target.is_local else CLOUD_LEVEL
        archive = write_archive(tree, draft, level=level, prefix=source.prefix, checkpoint=self.checkpoint)
        manifest = describe_layer(
            name=source.name,
            target=target.name,
            inputs=inputs,
            bytecode=self.interpreter.version if self.interpreter else None,
            archive=archive,
            owners=owners,
            pruned=pruned,
            left_out=source.left_out,
            path=draft,
            native=self.native.digest,
        )
        return commit(folder, manifest)

    def _compile(self, tree: Path) -> None:
        if self.interpreter is None:
            return
        if self.source.name == "core" and self._compiled(tree, self.interpreter, docstrings=False).complete:
            link(tree)
        outcome = self._compiled(tree, self.interpreter, docstrings=self.source.keeps_docstrings)
        # Packages ship templates and code for other versions; what a wheel holds beyond use is not our error.
        if self.source.is_own_code and not outcome.complete:
            said = outcome.output.replace(f"{tree}/", "").replace(f"{self.source.root}/", "")
            raise BuildError(
                f"{self.source.title} does not compile for Python {self.target.python}:\n{said}",
                next_step="Correct the file, then run 'modelyard build' again.",
            )

    def _compiled(self, tree: Path, interpreter: Interpreter, *, docstrings: bool) -> Compilation:
        return compile_tree(tree, interpreter, root=self.source.root, docstrings=docstrings, checkpoint=self.checkpoint)


def check_processor(tree: Path, source: LayerSource, target: BuildTarget) -> None:
    """Refuse a compiled module for another processor: it would fail at the first import, in the cloud.

    Wheels are chosen by platform; what a model's own folder holds was made on somebody's machine.

    Raises:
        BuildError: With the file, its processor and the function's.
    """
    if target.is_local:
        return
    for path in sorted(tree.rglob("*")):
        if not is_compiled(path) or not path.is_file():
            continue
        machine = machine_of(path)
        if machine != target.platform:
            raise BuildError(
                f"{source.title}: {path.relative_to(tree).as_posix()} is compiled for {machine or 'another system'}, "
                f"and the function runs on Linux, {target.platform}",
                code="wrong_processor",
                next_step=f"Put a file for manylinux {target.platform} there, or change endpoint.architecture.",
            )
