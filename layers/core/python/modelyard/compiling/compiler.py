"""The parent's side of a compilation: start the child, keep the clock, look at what comes back.

The rule: nothing that a model does while it is compiled can harm, and nothing that goes wrong here keeps a version from
being registered. So every failure is a `CompilationRefused` with a reason that is recorded, never an exception; the raw
file serves. And a compiled form may ask for its own weights and for no other file.
"""

import io
import json
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from modelyard import confined
from modelyard.compiling.loading import WEIGHTS
from modelyard.compiling.onnx_file import INITIALIZER, OnnxFile
from modelyard.external_data import MalformedError, has_external_data

DEADLINE_S = 60.0
"""For the child. Every form serves faster than the raw file, so a compilation that is cut short is a loss, no harm."""

_LARGEST_GROWTH = 64 << 20
"""Bytes that a form may have beyond twice those of the file."""


class Step(msgspec.Struct, frozen=True):
    """What one step did: ``kept``, ``dropped`` (not equal, does not pay) or ``skipped`` (does not apply), and why."""

    name: str
    outcome: str
    note: str


class CompiledForm(msgspec.Struct, frozen=True):
    """One form of a model that answers like the uploaded file, to the bit.

    Attributes:
        architecture: ``any``, or the machine whose processor may load it, see `modelyard.compiling.machine`.
        model: The ONNX file.
        weights: What it keeps outside itself, under the name ``weights.bin``; None where it keeps everything.
        steps: What was done.
        measured: Milliseconds to create a session and to run, raw and compiled. Noisy: for people to read.
    """

    architecture: str
    model: bytes
    weights: bytes | None
    steps: tuple[Step, ...]
    measured: dict[str, float]


class CompiledModel(msgspec.Struct, frozen=True):
    """The forms of a model, the portable one first.

    Attributes:
        onnxruntime: The version that made them, and the only one that they are proven for.
        forms: At least one.
        checked: On what they were proven equal: how many ``samples`` and ``rows``, which ``values``, on how many
            ``threads``.
    """

    onnxruntime: str
    forms: tuple[CompiledForm, ...]
    checked: dict[str, Any]


class CompilationRefused(msgspec.Struct, frozen=True):
    """Why a model is served as it was uploaded.

    Attributes:
        code: ``kept_as_it_is`` (nothing helps), ``not_provable``, ``timeout``, ``memory``, ``crashed``, ``not_onnx``,
            ``external_data``, ``failed``.
        reason: In words.
    """

    code: str
    reason: str


def compile_model(
    artifact: bytes,
    *,
    sample: list[dict[str, Any]] | None = None,
    deadline_s: float = DEADLINE_S,
    memory_mb: int | None = None,
) -> CompiledModel | CompilationRefused:
    """Compile a model that was admitted.

    Args:
        artifact: The uploaded file.
        sample: Inputs to prove it equal on: numpy arrays by input name, text as object arrays of str. None draws some.
        deadline_s: Wall time that the child has, from its start.
        memory_mb: Address space that the child has; None: 2 GB and eight times the file, within a function's memory.
    """
    memory = confined.memory_mb(len(artifact), least=2048, factor=8) if memory_mb is None else memory_mb
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_sample(folder, sample or [])
        answer = _run_child(artifact, folder, deadline_s, memory)
        if isinstance(answer, CompilationRefused):
            return answer
        if "refused" in answer:
            return CompilationRefused(answer.get("code", "failed"), answer["refused"])
        forms = tuple(_form(folder, described) for described in answer["forms"])
    strange = next((form for form in forms if not _keeps_to_itself(form)), None)
    if strange is not None:
        return CompilationRefused("failed", "a compiled form asks for a file that is not its own")
    if not forms:
        return CompilationRefused("kept_as_it_is", _nothing_helps(answer))
    return CompiledModel(answer["onnxruntime"], forms, answer["checked"])


def _nothing_helps(answer: dict[str, Any]) -> str:
    if answer["slower"]:
        times = answer["slower"][0]
        return f"a run took {times['compiled_run_ms']} ms instead of {times['raw_run_ms']}"
    tried = [f"{step['name']}: {step['note']}" for step in answer["steps"]]
    return "; ".join(tried) or "it is small and loads quickly as it is"


def _write_sample(folder: Path, sample: list[dict[str, Any]]) -> None:
    if not sample:
        return
    import numpy as np

    (folder / "sample").mkdir()
    for number, feeds in enumerate(sample):
        arrays = {
            f"{at}": array.astype(str) if array.dtype == object else array for at, array in enumerate(feeds.values())
        }
        content = io.BytesIO()
        np.savez(content, names=np.array(list(feeds)), **arrays)
        (folder / "sample" / f"{number:04}.npz").write_bytes(content.getvalue())


def _run_child(artifact: bytes, folder: Path, deadline_s: float, memory_mb: int) -> dict[str, Any] | CompilationRefused:
    # Twice the wall time: the limit on CPU is for a child whose parent is gone.
    limits = [memory_mb << 20, int(2 * deadline_s) + 1, deadline_s, 2 * len(artifact) + _LARGEST_GROWTH]
    try:
        status, said = confined.run_confined(
            "modelyard.compiling.child",
            [str(most) for most in limits],
            artifact,
            folder=folder,
            deadline_s=deadline_s,
        )
    except OSError as failed:
        return CompilationRefused("failed", f"the process that compiles does not start: {failed}")
    except subprocess.TimeoutExpired:
        return CompilationRefused("timeout", f"it took more than {deadline_s:g} s")
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError:
        ended = signal.Signals(-status).name if status < 0 else f"status {status}"
        return CompilationRefused("crashed", f"the process that compiles ended with {ended}")
    return answer


def _form(folder: Path, described: dict[str, Any]) -> CompiledForm:
    weights = described["weights"]
    return CompiledForm(
        described["architecture"],
        (folder / described["model"]).read_bytes(),
        None if weights is None else (folder / weights).read_bytes(),
        tuple(Step(**step) for step in described["steps"]),
        described["measured"],
    )


def _keeps_to_itself(form: CompiledForm) -> bool:
    """Whether the only file that it asks for is its own weights, and no byte beyond their end."""
    try:
        file = OnnxFile(form.model)
        size = 0 if form.weights is None else len(form.weights)
        outside = file.external_files()
        file.graph = [(kind, raw) for kind, raw in file.graph if kind != INITIALIZER]
        inside_only = not has_external_data(file.to_bytes())
    except (MalformedError, ValueError):
        return False
    return inside_only and all(name == WEIGHTS and 0 < end <= size for name, end in outside)
