"""The parent's side of a compilation: start the child, keep the clock, look at what comes back.

The rule: nothing that a model does while it is compiled can harm, and nothing that goes wrong here keeps a version from
being registered. So every failure is a `CompilationRefused` with a reason that is recorded, never an exception; the raw
file serves, or the forms that were proven until then. And a compiled form may ask for its own weights and for no other
file.
"""

import io
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from modelyard import confined
from modelyard.compiling.loading import WEIGHTS
from modelyard.compiling.outcome import SO_FAR, CompilationRefused, CompiledForm, CompiledModel, Step
from modelyard.external_data import MalformedError, external_files

DEADLINE_S = 60.0
"""For the child. Every form serves faster than the raw file, so a compilation that is cut short is a loss, no harm."""

_LARGEST_GROWTH = 64 << 20
"""Bytes that a form may have beyond twice those of the file."""


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
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _write_sample(folder, sample or [])
            answer = _run_child(artifact, folder, deadline_s, memory)
            cut_short: tuple[Step, ...] = ()
            if isinstance(answer, CompilationRefused):
                so_far = _so_far(folder)
                if so_far is None:
                    return answer
                cut_short = (Step("other forms", "skipped", answer.reason),)
                answer = so_far
            described = sorted(answer.forms, key=lambda form: (form.order, form.number))
            forms = tuple(_form(folder, form, cut_short) for form in described)
    except OSError as failed:
        return CompilationRefused("failed", f"no room, or no process, to compile in: {failed}")
    if not all(_keeps_to_itself(form) for form in forms):
        return CompilationRefused("failed", "a compiled form asks for a file that is not its own")
    if not forms:
        return CompilationRefused("kept_as_it_is", _nothing_helps(answer))
    return CompiledModel(answer.onnxruntime, forms, answer.checked)


class _Described(msgspec.Struct):
    number: int
    order: int
    architecture: str
    weights: bool
    steps: tuple[Step, ...]
    measured: dict[str, float]
    requires: str = ""


class _Answer(msgspec.Struct, tag_field="outcome", tag="compiled"):
    """What the child says; a hostile model may have had its hands in it."""

    onnxruntime: str
    forms: list[_Described]
    checked: dict[str, Any]
    steps: list[Step]
    slower: list[dict[str, float]]


def _nothing_helps(answer: _Answer) -> str:
    if answer.slower:
        return f"a session took longer to create, or to run, than the raw file's: {answer.slower[0]}"
    tried = [f"{step.name}: {step.note}" for step in answer.steps]
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


def _run_child(artifact: bytes, folder: Path, deadline_s: float, memory_mb: int) -> _Answer | CompilationRefused:
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
    except subprocess.TimeoutExpired:
        return CompilationRefused("timeout", f"it took more than {deadline_s:g} s")
    if not said:
        ended = signal.Signals(-status).name if status < 0 else f"status {status}"
        return CompilationRefused("crashed", f"the process that compiles ended with {ended}")
    try:
        return msgspec.json.decode(said, type=_Answer | CompilationRefused)
    except msgspec.DecodeError as wrong:
        return CompilationRefused("crashed", f"the process that compiles did not finish its answer: {wrong}")


def _so_far(folder: Path) -> _Answer | None:
    """What a child that was ended, or ended itself, had come to."""
    try:
        return msgspec.json.decode(_content(folder / SO_FAR), type=_Answer)
    except (OSError, msgspec.DecodeError):
        return None


def _form(folder: Path, described: _Described, cut_short: tuple[Step, ...]) -> CompiledForm:
    return CompiledForm(
        described.architecture,
        _content(folder / f"{described.number}.onnx"),
        _content(folder / f"{described.number}.{WEIGHTS}") if described.weights else None,
        (*described.steps, *cut_short),
        described.measured,
        described.requires,
    )


def _content(path: Path) -> bytes:
    if path.is_symlink():
        raise OSError(f"{path.name} is a link")
    return path.read_bytes()


def _keeps_to_itself(form: CompiledForm) -> bool:
    """Whether the only file that it asks for is its own weights, and no byte beyond their end."""
    size = 0 if form.weights is None else len(form.weights)
    try:
        outside = external_files(form.model)
    except MalformedError:
        return False
    return all(name == WEIGHTS and 0 < end <= size for name, end in outside)
