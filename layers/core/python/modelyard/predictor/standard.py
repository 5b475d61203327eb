"""The standard engine: an onnxruntime session.

The rule: a session is loaded from bytes whose digest is known, never from a path that anybody else can write to. For a
model with Python code of its own, which brings numpy anyway, and the measure that the lean engine is held against.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import onnxruntime

from modelyard.predictor.array import Array
from modelyard.predictor.arrays import all_to_numpy, from_numpy
from modelyard.predictor.failures import not_loadable, raised
from modelyard.predictor.signature import signature_of

if TYPE_CHECKING:
    from modelyard.predictor.stopping import StandardStop

_ERRORS_ONLY = 3
_LOOKS, _LOOK_S = 2000, 0.001
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

_begun = 0  # runs of this process


class StandardEngine:
    """One loaded model. Safe to run from several threads at once.

    Args:
        model: The bytes of an ONNX file, or a buffer of them, or the name of a file that nobody else can write to.
        threads: For one run.
        options: Session options by onnxruntime's names, like the folder of external weights.
        kernel: The path of a library with operations of our own; without it the model would not load.
        providers: What runs it, the first that takes an operator; ``cuda`` needs onnxruntime-gpu.

    Raises:
        AdmissionError: When onnxruntime does not load the model (code ``not_loadable``).
    """

    __slots__ = ("_inputs", "_outputs", "_run", "session")

    def __init__(
        self,
        model: bytes | str,
        *,
        threads: int = 1,
        options: dict[str, str] | None = None,
        kernel: str | None = None,
        providers: tuple[str, ...] = ("cpu",),
    ) -> None:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        settings.log_severity_level = _ERRORS_ONLY
        for key, value in (options or {}).items():
            settings.add_session_config_entry(key, value)
        try:
            if kernel is not None:
                settings.register_custom_ops_library(kernel)
            # Without enable_fallback=0 onnxruntime prints "EP Error" to stdout and tries the same provider again.
            self.session = onnxruntime.InferenceSession(
                model if isinstance(model, str) else bytes(model),
                settings,
                providers=[_PROVIDERS[name] for name in providers],
                enable_fallback=0,
            )
        except Exception as error:
            raise not_loadable(onnxruntime.__version__, error) from error
        # Without what its own ``run`` looks at first, names and owners of inputs, all known here: 10 us of 30 inputs.
        self._run = getattr(self.session, "_sess", self.session).run
        self._inputs: list[str] = [node.name for node in self.session.get_inputs()]
        self._outputs: list[str] = [node.name for node in self.session.get_outputs()]

    def signature(self) -> dict[str, Any]:
        """What the model takes and gives, in JSON form."""
        return signature_of(self.session)

    def stop(self) -> "StandardStop":
        """What ends a run of this engine from another thread."""
        from modelyard.predictor.stopping import StandardStop  # only for a version that is on trial

        return StandardStop(onnxruntime.RunOptions())

    def run(self, arrays: Sequence[Array], stop: "StandardStop | None" = None) -> list[Any]:
        """Run the model once.

        Args:
            arrays: One for each input, in the order of the signature.
            stop: What may end it, for this run alone.

        Returns:
            The outputs in the order of the signature: an `Array`, or of a ZipMap the list of its rows, each
            ``{class: number}``.

        Raises:
            ModelError: When the model raises; the cause is chained.
        """
        global _begun
        feeds = dict(zip(self._inputs, all_to_numpy(arrays), strict=True))
        _begun += 1
        try:
            options = None if stop is None else stop.options
            outputs: list[Any] = self._run(self._outputs, feeds, options)
        except Exception as error:
            raise raised() from error
        return [_rows(output) if isinstance(output, list) else from_numpy(output) for output in outputs]


def await_run() -> None:
    """Wait until a run has just begun, in any session; for two seconds where nobody asks.

    Now is the moment to let go of a session: onnxruntime's Python package frees it with Python's lock held, 5 ms for
    60 MB. A run computes without the lock, and most of them end after that.
    """
    for _ in range(_LOOKS):  # and not for a time: that passes while Lambda has frozen the process
        begun = _begun
        time.sleep(_LOOK_S)
        if _begun != begun:
            return


def _rows(maps: list[dict[Any, Any]]) -> list[dict[str, Any]]:
    return [{str(key): number for key, number in row.items()} for row in maps]
