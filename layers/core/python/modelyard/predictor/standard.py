"""The standard engine: an onnxruntime session.

The rule: a session is loaded from bytes whose digest is known, never from a path, and runs on as many threads as the
function's memory pays for. Lambda gives 1 vCPU for each 1,769 MB; more threads than that only wait for each other.
"""

from typing import Any

import onnxruntime

from modelyard.errors import AdmissionError, ModelError
from modelyard.predictor.signature import signature_of

MB_PER_VCPU = 1769
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""

_ERRORS_ONLY = 3


def threads_for(memory_mb: int) -> int:
    """How many threads a function of ``memory_mb`` MB has processors for; at least 1."""
    return max(1, round(memory_mb / MB_PER_VCPU))


class StandardEngine:
    """One loaded model. Safe to run from several threads at once."""

    __slots__ = ("_outputs", "session")

    def __init__(self, model: bytes, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _ERRORS_ONLY
        try:
            # Without enable_fallback=0 onnxruntime prints "EP Error" to stdout and tries the same provider again.
            self.session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:
            raise AdmissionError(
                f"onnxruntime {onnxruntime.__version__} does not load the model: {str(error)[:300]}",
                code="not_loadable",
                next_step="Check the file with onnx.checker and its opset against this onnxruntime.",
            ) from error
        self._outputs: list[str] = [node.name for node in self.session.get_outputs()]

    def signature(self) -> dict[str, Any]:
        """What the model takes and gives, in JSON form."""
        return signature_of(self.session)

    def run(self, feeds: dict[str, Any]) -> list[Any]:
        """Run the model on arrays by input name; the outputs in the order of the signature.

        Raises:
            ModelError: When the model raises; the cause is chained.
        """
        try:
            outputs: list[Any] = self.session.run(self._outputs, feeds)
        except Exception as error:
            raise ModelError(
                "the model raised while it predicted",
                next_step="Look for the request id in the function's log: it holds the cause.",
            ) from error
        return outputs
