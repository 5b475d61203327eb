"""Compiled forms of a version on their way into the registry: what the manifest says of them, and their bytes."""

import hashlib
from collections.abc import Callable

import msgspec

from modelyard.compiling.loading import WEIGHTS
from modelyard.compiling.outcome import CompilationRefused, CompiledModel
from modelyard.version import Compilation, CompiledForm, CompilerStep, StoredFile, artifact_key

Compiled = CompiledModel | CompilationRefused
Compiler = Callable[[bytes], Compiled]
"""What compiles an artifact, like `modelyard.compiling.compiler.compile_model`."""
Contents = dict[str, tuple[StoredFile, bytes]]
"""Files and their bytes, by key."""


def described(compiled: Compiled) -> tuple[Compilation, Contents]:
    """What the manifest says of a compilation, and the files that have to be stored for it."""
    if isinstance(compiled, CompilationRefused):
        return Compilation(refused=f"{compiled.code}: {compiled.reason}"), {}
    contents: Contents = {}

    def stored(content: bytes, name: str) -> StoredFile:
        digest = hashlib.sha256(content).hexdigest()
        file = StoredFile(artifact_key(digest, name), digest, len(content))
        contents[file.key] = (file, content)
        return file

    forms = tuple(
        CompiledForm(
            architecture=form.architecture,
            model=stored(form.model, "model.onnx"),
            weights=None if form.weights is None else stored(form.weights, WEIGHTS),
            steps=tuple(CompilerStep(*msgspec.structs.astuple(step)) for step in form.steps),
            measured=form.measured,
            requires=form.requires,
        )
        for form in compiled.forms
    )
    return Compilation(onnxruntime=compiled.onnxruntime, forms=forms, checked=compiled.checked), contents
