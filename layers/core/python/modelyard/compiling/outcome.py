"""What comes of a compilation. No numpy here: the registry stores it wherever it runs."""

from typing import Any

import msgspec

SO_FAR = "so_far.json"
"""The answer of the child process as it would be if nothing more came of it; in its folder."""


class Step(msgspec.Struct, frozen=True):
    """What one step did: ``kept``, ``dropped`` (not equal, does not pay) or ``skipped`` (does not apply), and why."""

    name: str
    outcome: str
    note: str


class CompiledForm(msgspec.Struct, frozen=True):
    """One form of a model that answers like the uploaded file, to the bit.

    Attributes:
        architecture: ``any``, or the machine whose processor may load it, see `modelyard.compiling.loading`.
        model: The ONNX file.
        weights: What it keeps outside itself, under the name ``weights.bin``; None where it keeps everything.
        steps: What was done.
        measured: Milliseconds of a processor to create a session and to run, raw and compiled. For people to read.
        requires: The library that it cannot be loaded without, see `modelyard.compiling.kernel`; empty: none.
    """

    architecture: str
    model: bytes
    weights: bytes | None
    steps: tuple[Step, ...]
    measured: dict[str, float]
    requires: str = ""


class CompiledModel(msgspec.Struct, frozen=True):
    """The forms of a model, the portable one first where there is one.

    Attributes:
        onnxruntime: The version that made them, and the only one that they are proven for.
        forms: At least one.
        checked: On what they were proven equal: how many ``samples`` and ``rows``, which ``values``, on how many
            ``threads``.
    """

    onnxruntime: str
    forms: tuple[CompiledForm, ...]
    checked: dict[str, Any]


class CompilationRefused(msgspec.Struct, frozen=True, tag_field="outcome", tag="refused"):
    """Why a model is served as it was uploaded.

    Attributes:
        code: ``kept_as_it_is`` (nothing helps), ``not_provable``, ``timeout``, ``memory``, ``crashed``, ``not_onnx``,
            ``external_data``, ``failed``.
        reason: In words.
    """

    code: str
    reason: str
