"""Weights that lie beside the graph go into it: a version is one file.

``mlflow.onnx.save_model`` writes external data unless it is told not to. Only files of the model's own folder are read,
and no more bytes than an artifact may have, however often tensors name the same ones.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from modelyard.admission import LARGEST_ARTIFACT
from modelyard.errors import AdmissionError, ModelyardError, UsageError
from modelyard.external_data import MalformedError, has_external_data
from modelyard.importing.inside import read_inside

_TENSOR = "onnx.TensorProto"
# Saving moves the weights out of the object that is saved, so a second folder of the same object has none.
_SAVE_AGAIN = "Load the model from its file (onnx.load) and save that once with mlflow.onnx.save_model, then import it."


def whole_model(folder: Path, name: str) -> bytes:
    """The ONNX file ``name`` of ``folder``, with all its weights; as it is, when they are in it already.

    Raises:
        UsageError: When a file is missing, too large or not in the folder.
        AdmissionError: When weights are not where the graph says, or are too large in all.
    """
    content = read_inside(folder, name, limit=LARGEST_ARTIFACT)
    try:
        if not has_external_data(content):
            return content
    except MalformedError:
        return content  # admission says what it is
    return _folded(content, folder, PurePosixPath(name).parent)


def _folded(content: bytes, folder: Path, below: PurePosixPath) -> bytes:
    try:
        from onnx import ModelProto
    except ImportError as missing:
        raise ModelyardError(
            "the model keeps its weights in a file beside it; the package 'onnx' puts them together and is missing",
            code="onnx_missing",
            next_step="Run 'make setup', or save the model with save_as_external_data=False.",
        ) from missing
    try:
        model = ModelProto.FromString(content)
    except Exception as broken:  # protobuf's errors differ between its implementations
        raise _refused(
            f"the artifact is not an ONNX file, or a damaged one ({type(broken).__name__})", "not_onnx"
        ) from broken
    files = _Files(folder, below)
    size = len(content)
    for tensor in _tensors(model):
        if tensor.data_location == tensor.DEFAULT and not tensor.external_data:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        weights = files.part(entries, tensor.name)
        size += len(weights)
        if size > LARGEST_ARTIFACT:
            raise _refused(f"the model has more than {LARGEST_ARTIFACT:,} bytes with its weights", "artifact_too_large")
        tensor.raw_data = weights
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    folded: bytes = model.SerializeToString(deterministic=True)
    return folded


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor below ``message``, wherever ONNX allows one: graphs, their branches, functions, attributes."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in (value,) if hasattr(value, "ListFields") else value:
            if field.message_type.full_name == _TENSOR:
                yield part
            else:
                yield from _tensors(part)


class _Files:
    """The files that tensors name, each read once."""

    def __init__(self, folder: Path, below: PurePosixPath) -> None:
        self._folder, self._below = folder, below
        self._contents: dict[str, bytes] = {}
        self._left = LARGEST_ARTIFACT

    def part(self, entries: dict[str, str], tensor: str) -> bytes:
        """What a tensor's ``location``, ``offset`` and ``length`` stand for."""
        if "location" not in entries:
            raise _refused(f"tensor {_shown(tensor)} names no file for its weights", "external_data")
        content = self._content(entries["location"])
        begin = _count(entries.get("offset", "0"), tensor)
        end = begin + _count(entries["length"], tensor) if "length" in entries else len(content)
        if not begin <= end <= len(content):
            raise _refused(
                f"tensor {_shown(tensor)} has its weights at bytes {begin} to {end} of a file with {len(content)}",
                "external_data",
            )
        return content[begin:end]

    def _content(self, location: str) -> bytes:
        if location not in self._contents:
            name = location if location.startswith("/") else (self._below / location).as_posix()
            try:
                self._contents[location] = read_inside(self._folder, name, limit=self._left)
            except UsageError as failed:
                raise AdmissionError(
                    f"the model keeps weights in another file: {failed.message}",
                    code="external_data",
                    field="artifact",
                    next_step=_SAVE_AGAIN if failed.code == "no_file" else failed.next_step,
                ) from failed
            self._left -= len(self._contents[location])
        return self._contents[location]


def _count(text: str, tensor: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise _refused(f"tensor {_shown(tensor)} has the offset or length {_shown(text)}", "external_data")
    return int(text)


def _shown(text: str) -> str:
    return ascii(text[:60])


def _refused(message: str, code: str) -> AdmissionError:
    return AdmissionError(message, code=code, field="artifact", next_step=_SAVE_AGAIN)
