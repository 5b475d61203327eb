"""Before anything becomes visible: are these bytes a model that we would run?

    size ──► known other formats, by content ──► a child process tries it (``modelyard.trial``) ──► signature

The name of a file says nothing; a pickle called ``model.onnx`` is a pickle. Nothing is loaded in this process: a graph
may loop for ever or ask for 32 GiB, so a child with a memory limit does it, and is killed when the deadline has passed.
"""

import json
import pickletools
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from modelyard import confined
from modelyard.errors import AdmissionError, ModelyardError
from modelyard.version import Signature

LARGEST_ARTIFACT = 512 * 1024 * 1024
DEADLINE_S = 7.0
"""For the child alone: with the start of the command around it, an answer comes within 10 s."""

LEAST_MEMORY_MB, TIMES_IN_MEMORY = 1024, 4
"""Address space of a child, beside how often the file may lie in it."""


def _starts(*prefixes: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(prefixes)


def _text(*words: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(words)


def _at_4(mark: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[4:8] == mark


_GLOBAL = re.compile(rb"c[^\W\d][\w.]*\r?\n[^\W\d][\w.]*\r?\n")
"""A pickle that begins with an import: the name of a module, and one in it."""


def _is_text_pickle(head: bytes) -> bool:
    """Protocols 0 and 1 have no magic number: whether the first operations read as a pickle's."""
    if head[:1] not in (b"(", b"]", b"}", b")", b"c"):
        return False
    if head[:1] == b"c" and _GLOBAL.match(head) is None:  # a line of text, like a CSV's header "customer,age"
        return False
    try:
        operations = pickletools.genops(head)  # reads, never executes
        return all(next(operations, None) is not None for _ in range(3))
    except ValueError:
        return False


_EXPORT = "Export the model to ONNX (scikit-learn: skl2onnx; PyTorch: torch.onnx.export) and register that file."
_UNPACK = "Unpack it and register the .onnx file inside."
_FORMATS: tuple[tuple[str, Callable[[bytes], bool], str], ...] = (
    ("a pickle (pickle, joblib, cloudpickle), which runs code when it is loaded", _starts(*(b"\x80" + bytes([v]) for v in range(6))), _EXPORT),  # noqa: E501
    ("a NumPy array file (NPY)", _starts(b"\x93NUMPY"), _EXPORT),
    ("a zip archive (NPZ, PyTorch .pt, Keras .keras)", _starts(b"PK\x03\x04", b"PK\x05\x06"), f"{_UNPACK} {_EXPORT}"),
    ("compressed with gzip", _starts(b"\x1f\x8b"), _UNPACK),
    ("compressed (zlib, bzip2, xz, lz4 or zstd; joblib does that)", _starts(b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"BZh", b"\xfd7zXZ\x00", b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd"), f"{_UNPACK} {_EXPORT}"),  # noqa: E501
    ("an HDF5 file (Keras .h5)", _starts(b"\x89HDF\r\n\x1a\n"), _EXPORT),
    ("onnxruntime's own ORT format", _at_4(b"ORTM"), "Register the ONNX file that it was made from."),
    ("a TensorFlow Lite model", _at_4(b"TFL3"), _EXPORT),
    ("a Git LFS pointer, not the file itself", _text(b"version https://git-lfs"), "Run 'git lfs pull' first."),
    ("an HTML page, perhaps of a failed download", _text(b"<!doctype html", b"<html"), "Download the file again."),
    ("an XML document", _text(b"<"), "Download the file again."),
    ("a JSON document", _text(b"{", b'["', b"[{", b"[["), _EXPORT),
    ("a text pickle, which runs code when it is loaded", _is_text_pickle, _EXPORT),
)  # fmt: skip


def admit(
    artifact: bytes,
    *,
    deadline_s: float = DEADLINE_S,
    memory_mb: int | None = None,
    max_bytes: int = LARGEST_ARTIFACT,
) -> Signature:
    """The signature of a model that loads and answers within the limits.

    Args:
        artifact: The whole file.
        deadline_s: Wall time that the child has, from its start.
        memory_mb: Address space that the child has; None: 1 GB and four times the file, within a function's memory.
        max_bytes: The largest file.

    Raises:
        AdmissionError: When these bytes are not a model that we would run. Codes: ``empty_artifact``,
            ``artifact_too_large``, ``not_onnx``, ``external_data``, ``not_loadable``, ``unsupported_signature``,
            ``invalid_signature`` (of the class names), ``trial_failed``, ``trial_timeout``, ``trial_memory``,
            ``trial_crashed``.
        ModelyardError: With code ``trial_unavailable`` when the child process itself does not work.
    """
    _check_content(artifact, max_bytes)
    memory = memory_mb
    if memory is None:
        memory = confined.memory_mb(len(artifact), least=LEAST_MEMORY_MB, factor=TIMES_IN_MEMORY)
    answer = _try_in_child(artifact, deadline_s, memory)
    if "refused" in answer:
        refused = answer["refused"]
        raise AdmissionError(refused.pop("message"), **refused)
    if "broken" in answer:
        raise _unavailable(answer["broken"])
    return msgspec.convert(answer["signature"], Signature)


def check_size(size: int, *, max_bytes: int = LARGEST_ARTIFACT) -> None:
    """Return when a file of this size may be read and tried.

    Raises:
        AdmissionError: With code ``artifact_too_large``.
    """
    if size > max_bytes:
        raise AdmissionError(
            f"the artifact has {size:,} bytes; at most {max_bytes:,} are accepted",
            code="artifact_too_large",
            field="artifact",
            next_step="Make the model smaller, for example with float16 weights or fewer trees.",
            status=413,
        )


def _check_content(artifact: bytes, max_bytes: int) -> None:
    if not artifact:
        raise AdmissionError(
            "the artifact has 0 bytes", code="empty_artifact", field="artifact", next_step="Check the path of the file."
        )
    check_size(len(artifact), max_bytes=max_bytes)
    head = bytes(artifact[:4096])
    for name, matches, next_step in _FORMATS:
        if matches(head):
            raise AdmissionError(
                f"the artifact is {name}; only ONNX is executed", code="not_onnx", field="artifact", next_step=next_step
            )


def _try_in_child(artifact: bytes, deadline_s: float, memory_mb: int) -> dict[str, Any]:
    # Twice the wall time: the limit on CPU is for a child whose parent is gone.
    limits = [str(memory_mb << 20), str(int(2 * deadline_s) + 1)]
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryFile() as said:
        try:
            status, answer = confined.run_confined(
                "modelyard.trial", limits, artifact, folder=Path(empty), deadline_s=deadline_s, said=said
            )
        except OSError as failed:
            raise _unavailable(str(failed)) from failed
        except subprocess.TimeoutExpired as late:
            raise AdmissionError(
                f"the model did not load and answer one row within {deadline_s:g} s",
                code="trial_timeout",
                field="artifact",
                next_step="Check the graph for a Loop that does not end, and its constants for huge shapes.",
            ) from late
        said.seek(max(0, said.tell() - 500))
        return _understood(status, answer, said.read())


def _understood(status: int, answer: bytes, said: bytes) -> dict[str, Any]:
    try:
        document = json.loads(answer)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    if status < 0:  # ended by a signal: the engine crashed on this model, or the system took it for its memory
        raise AdmissionError(
            f"the model ended the process that tried it ({signal.Signals(-status).name})",
            code="trial_crashed",
            field="artifact",
            next_step="Run it with onnxruntime's CPU provider on your machine to see where.",
        )
    last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
    raise _unavailable(f"it ended with status {status} and said {''.join(last)!r}")


def _unavailable(problem: str) -> ModelyardError:
    return ModelyardError(
        f"the process that tries a model does not work: {problem}",
        code="trial_unavailable",
        next_step="Check that onnxruntime can be imported there; nothing is wrong with the model.",
    )
