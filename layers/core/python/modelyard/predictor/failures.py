"""How an engine fails, said by both alike."""

from modelyard.errors import AdmissionError, ModelError


def not_loadable(onnxruntime: str, cause: Exception) -> AdmissionError:
    """The error for a file of which this version of onnxruntime makes no session."""
    return AdmissionError(
        f"onnxruntime {onnxruntime} does not load the model: {str(cause)[:300]}",
        code="not_loadable",
        next_step="Check the file with onnx.checker and its opset against this onnxruntime.",
    )


def raised() -> ModelError:
    """The error for a run that failed; the cause is for the log and not for the caller."""
    return ModelError(
        "the model raised while it predicted",
        next_step="Look for the request id in the function's log: it holds the cause.",
    )
