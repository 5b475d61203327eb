"""The child process of admission: limits itself, loads the model, runs it once, says what it saw.

    limit memory, CPU and files ──► refuse external data ──► load from bytes ──► signature ──► one inference ──► answer

It runs as ``python -m modelyard.trial`` with the model on standard input, because loading alone may run part of a graph
and a graph may loop for ever or ask for all memory; the parent (``modelyard.admission``) keeps the clock. The answer is
one JSON object on what was standard output at the start. From then on standard output is standard error, since
onnxruntime prints what it likes.
"""

import json
import math
import os
import re
import sys
from typing import Any

from modelyard.errors import AdmissionError
from modelyard.external_data import MalformedError, has_external_data

# Number and text that fill the inputs of the trial, in the order of trying; the first that the model takes will do.
# Not 0 first: an integer division by it ends the process. Text is a number or a date, which models parse.
FILLS: tuple[tuple[int, str], ...] = ((1, "0"), (0, "2000-01-01"), (1, ""))
_LARGEST_OUTPUT = 1 << 20  # bytes this process may write into a file


def limit(memory_bytes: int, cpu_s: int, *, largest_file: int = _LARGEST_OUTPUT) -> None:
    """Bind this process, before it sees the model.

    macOS accepts a limit on the address space and does not enforce it: there, a model that asks for too much is stopped
    by the parent's deadline, or by the system.
    """
    import resource

    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),  # ends a loop even if the parent was killed
        (resource.RLIMIT_FSIZE, largest_file),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (most, most))
        except (OSError, ValueError):
            continue  # a system that refuses a limit still has the others and the deadline


def examine(model: bytes, *, memory_bytes: int) -> dict[str, Any]:
    """The signature, in its JSON form, of a model that loads and answers.

    Raises:
        AdmissionError: When it does not.
        ImportError: When this process has no onnxruntime.
    """
    try:
        external = has_external_data(model)
    except MalformedError as malformed:
        raise AdmissionError(
            f"the artifact is not an ONNX file, or a damaged one: {malformed}",
            code="not_onnx",
            field="artifact",
            next_step="Export the model to ONNX again, and compare the file's size with the original's.",
        ) from malformed
    if external:
        raise AdmissionError(
            "the model keeps weights in another file (external data); a version is one file",
            code="external_data",
            field="artifact",
            next_step="Save it whole: onnx.save(onnx.load('model.onnx'), 'whole.onnx').",
        )
    import onnxruntime

    from modelyard.compiling.zipmap import zipmap_classes
    from modelyard.predictor.signature import signature_of

    session = _session(onnxruntime, model)
    try:
        document = signature_of(session, zipmap_classes(model))
    except (UnicodeDecodeError, MalformedError) as garbled:
        raise AdmissionError(
            f"a name or the metadata in the model is not UTF-8: {readable(garbled)}", code="not_onnx", field="artifact"
        ) from garbled
    _check_batch_axis(document["inputs"])
    _infer(session, document, memory_bytes)
    return document


def _check_batch_axis(inputs: list[dict[str, Any]]) -> None:
    missing = [tensor["name"] for tensor in inputs if not tensor["shape"]]
    if missing or not inputs:
        raise AdmissionError(
            f"input {missing[0]!r} has no axes; axis 0 must be the batch" if missing else "the model has no inputs",
            code="unsupported_signature",
            field=missing[0] if missing else "artifact",
            next_step="Export the model with inputs of shape [batch, ...].",
        )


def _session(onnxruntime: Any, model: bytes) -> Any:
    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # each thread's stack counts as memory
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(
            model, sess_options=options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as refused:  # onnxruntime's errors have no base class of their own
        raise _refusal("does not load", "not_loadable", refused) from refused


def _infer(session: Any, document: dict[str, Any], memory_bytes: int) -> None:
    """Run the model on one row."""
    problem: Exception | None = None
    for number, text in FILLS:
        inputs = {tensor["name"]: _filled(tensor, number, text, memory_bytes) for tensor in document["inputs"]}
        try:
            session.run(None, inputs)
            return
        except Exception as failed:  # noqa: BLE001 - as above
            problem = failed
    if problem is not None:
        raise _refusal("loads, but a trial with one row fails", "trial_failed", problem) from problem


def _filled(tensor: dict[str, Any], number: int, text: str, memory_bytes: int) -> Any:
    import numpy as np

    shape = [1 if size is None else size for size in tensor["shape"]]
    dtype = object if tensor["dtype"] == "string" else np.dtype(tensor["dtype"])
    if math.prod(shape) * np.dtype(dtype).itemsize > memory_bytes:
        raise AdmissionError(
            f"input {tensor['name']!r} has shape {tensor['shape']}: one row is larger than the {memory_bytes >> 20} MB "
            "of a trial",
            code="trial_memory",
            field=tensor["name"],
        )
    return np.full(shape, text if dtype is object else number, dtype=dtype)


def _refusal(what: str, code: str, problem: Exception) -> AdmissionError:
    said = readable(problem)
    if isinstance(problem, MemoryError) or re.search(r"allocate memory|bad_alloc|bad allocation", said):
        return AdmissionError(
            f"the model asks for more memory than a trial may have: {said}",
            code="trial_memory",
            field="artifact",
            next_step="Check the shapes in the graph; where they are right, admit the model with a higher limit.",
        )
    if type(problem).__name__ == "InvalidProtobuf":
        return AdmissionError(
            "the artifact is not an ONNX file, or a damaged one",
            code="not_onnx",
            field="artifact",
            next_step="Export the model to ONNX again, and compare the file's size with the original's.",
        )
    next_step = "Run it with onnxruntime's CPU provider on your machine; custom operators are not supported."
    if "construct locale" in said:  # scikit-learn's vectorizers export a StringNormalizer without one: en_US.UTF-8
        next_step = "Set 'locale' of the graph's StringNormalizer to 'C.UTF-8', or to 'C' where lower case is ASCII's."
    return AdmissionError(f"the model {what}: {said}", code=code, field="artifact", next_step=next_step)


def readable(problem: Exception) -> str:
    """The message on one short line, without places in onnxruntime's source and characters that garble a log."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(problem))
    text = re.sub(r"/\S*onnxruntime\S*\.(?:cc|h):\d+ ?", "", text)
    text = re.sub(r"(?:\w+\*? )?onnxruntime::[\w:<>~]+\([^()]*\)(?: const)?(?: \[with [^\]]*\])? ?", "", text)
    text = "".join(character if character.isprintable() else " " for character in text)
    text = " ".join(text.split())
    return (text if len(text) <= 400 else f"{text[:397]}...") or type(problem).__name__


def main(arguments: list[str]) -> None:
    """Answer for the model on standard input; arguments: memory in bytes, CPU seconds."""
    answer_to = os.dup(1)
    os.dup2(2, 1)
    memory_bytes, cpu_s = int(arguments[0]), int(arguments[1])
    limit(memory_bytes, cpu_s)
    answer: dict[str, Any]
    try:
        answer = {"signature": examine(sys.stdin.buffer.read(), memory_bytes=memory_bytes)}
    except AdmissionError as refused:
        answer = {
            "refused": {
                "message": refused.message,
                "code": refused.code,
                "field": refused.field,
                "next_step": refused.next_step,
            }
        }
    except MemoryError:
        answer = {
            "refused": {
                "message": f"the model needs more than the {memory_bytes >> 20} MB of a trial",
                "code": "trial_memory",
                "field": "artifact",
            }
        }
    except Exception as broken:  # noqa: BLE001 - the parent tells a broken process from a broken model by this
        answer = {"broken": f"{type(broken).__name__}: {readable(broken)}"}
    with os.fdopen(answer_to, "w", encoding="utf-8") as channel:
        json.dump(answer, channel)
    os._exit(0)  # no teardown of a session that a hostile model has used


if __name__ == "__main__":
    main(sys.argv[1:])
