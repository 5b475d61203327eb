"""What a version is: an immutable manifest with a number, an author and a time.

The registry stores it, the pointer quotes it, the CLI shows it. Nothing here reads or writes anything. All structs are
frozen, because a version that could change would not be one: a correction is the next version.
"""

from typing import Any, Literal

import msgspec

from modelyard.canonical import digest_of

Task = Literal["regression", "binary", "multiclass"]
Dtype = Literal[
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "bool", "string",
]  # fmt: skip


class TensorSpec(msgspec.Struct, frozen=True):
    """One input: its name, element type and shape; None is an axis of any length, axis 0 is the batch."""

    name: str
    dtype: Dtype
    shape: tuple[int | None, ...]


class OutputSpec(TensorSpec, frozen=True):
    """One output; ``classes`` names the entries of its last axis where the model says what they are."""

    classes: tuple[str, ...] | None = None


class Signature(msgspec.Struct, frozen=True):
    """What goes into a model and what comes out, in the model's own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[OutputSpec, ...]


class TrainingObject(msgspec.Struct, frozen=True):
    """A training file, as the exact object version that was read."""

    bucket: str
    key: str
    version_id: str
    sha256: str
    rows: int


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a version comes from.

    ``code_digest`` and ``lock_digest`` are SHA-256 of the training code and of its locked dependencies;
    ``parent_version`` is the champion that it was compared with; ``run_id`` and ``execution`` name the retraining run.
    ``imported_from`` names the run and the model in the registry that a version was imported from, ``params`` are the
    parameters of that run, as text.
    """

    source: Literal["brought", "trained"] = "brought"
    objects: tuple[TrainingObject, ...] = ()
    code_digest: str | None = None
    lock_digest: str | None = None
    parent_version: int | None = None
    run_id: str | None = None
    execution: str | None = None
    imported_from: str | None = None
    params: dict[str, str] = {}


class StoredFile(msgspec.Struct, frozen=True):
    """An object in the artifact bucket: its key, the SHA-256 of its bytes in hex, and their count."""

    key: str
    digest: str
    size: int


class CompilerStep(msgspec.Struct, frozen=True):
    """What one step of the compiler did: ``kept``, ``dropped`` or ``skipped``, and why."""

    name: str
    outcome: str
    note: str


class CompiledForm(msgspec.Struct, frozen=True, kw_only=True):
    """Another file that answers like the artifact, to the bit, and loads faster.

    ``architecture`` is ``any`` or the machine that may load it (`modelyard.compiling.loading`), ``weights`` what the
    model keeps outside itself, ``measured`` milliseconds to create a session and to run, raw and compiled, ``requires``
    the library of ours that it cannot be loaded without (`modelyard.compiling.kernel`).
    """

    architecture: str
    model: StoredFile
    weights: StoredFile | None = None
    steps: tuple[CompilerStep, ...] = ()
    measured: dict[str, float] = {}
    requires: str = ""


class Compilation(msgspec.Struct, frozen=True, kw_only=True):
    """What the compiler made of a version, and with which onnxruntime; ``refused`` says why it made nothing.

    ``checked`` tells on what the forms were proven equal: how many samples and rows, which values, how many threads.
    """

    onnxruntime: str = ""
    forms: tuple[CompiledForm, ...] = ()
    checked: dict[str, Any] = {}
    refused: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about a version before it has a number.

    ``digest`` is the SHA-256 of the artifact in hex, ``key`` where its bytes lie in the artifact bucket, ``size`` their
    count, ``evaluation`` the key of the evaluation report. ``compilation`` is None where nobody compiled.
    """

    model: str
    task: Task
    digest: str
    key: str
    size: int
    signature: Signature
    contract: dict[str, Any] | None = None
    metrics: dict[str, float] = {}
    evaluation: str | None = None
    lineage: Lineage = Lineage()
    compilation: Compilation | None = None
    note: str = ""

    @property
    def identity(self) -> str:
        """SHA-256 of what makes this version the same as another.

        The run that produced it, its metrics, its compiled forms and its note are left out: the same bytes, promise and
        origin are the same version, however often they are registered. For the same reason a model that is imported
        from a folder, and again from the server that the folder came from, is one version.
        """
        origin = {**msgspec.to_builtins(self.lineage), "run_id": None, "execution": None}
        for later in ("imported_from", "params"):  # identities of earlier releases were made without these keys
            del origin[later]
        return digest_of(
            {
                "task": self.task,
                "digest": self.digest,
                "signature": self.signature,
                "contract": self.contract,
                "lineage": origin,
            }
        )


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A registered manifest. ``number`` counts 1, 2, 3… within a model; ``created_at`` is UTC with microseconds."""

    number: int
    manifest: Manifest
    author: str
    created_at: str


def artifact_key(digest: str, name: str = "model.onnx") -> str:
    """Where the bytes with this SHA-256 lie in the artifact bucket."""
    return f"artifacts/sha256/{digest}/{name}"
