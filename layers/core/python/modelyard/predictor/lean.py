"""The lean engine: onnxruntime through its C API, without numpy and without the ``onnxruntime`` package.

Half of what ``import onnxruntime`` costs is numpy, and most of the rest is the package's own Python; the engine itself
loads in 2 ms. So a model without Python code of its own answers its first request in less time than that import takes.
The standard engine is the fallback and the measure: a table of tests runs both and compares bit for bit.

The rule: a large input goes to onnxruntime where it lies; for small ones see slot.py. An output is copied once, out of
memory that belongs to onnxruntime and is released before `run` returns: a view that outlived it would read freed
memory.
"""

import ctypes
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from ctypes import byref, c_char, c_char_p, c_int64, c_void_p, string_at
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, Any

from modelyard.errors import AdmissionError
from modelyard.predictor.array import ITEM_BYTES, Array
from modelyard.predictor.c_api import ERRORS_ONLY, OrtError, Runtime
from modelyard.predictor.failures import not_loadable, raised
from modelyard.predictor.signature import CLASSES_KEY, signature_of
from modelyard.predictor.slot import Make, Slot, fits

if TYPE_CHECKING:
    from modelyard.predictor.stopping import LeanStop

_TENSOR, _SEQUENCE, _MAP = 1, 2, 3
_STRING = 8

MOST_SLOTS = 8
"""Shapes of small batches whose `Slot` is used again."""

MOST_AXES = 32
"""More than any operator gives a tensor in practice; a tensor with more is an error."""

_MARK = -(2**63)  # -1 is a size that may vary
_MARKS = struct.pack(f"={MOST_AXES + 1}q", *[_MARK] * (MOST_AXES + 1))
_Sizes = c_int64 * (MOST_AXES + 1)

# ONNX's numbers of element types, by the names that the ``onnxruntime`` package uses in a type.
_ELEMENT_TYPES = {
    1: "float", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "double", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
}  # fmt: skip
_DTYPES = {**_ELEMENT_TYPES, 1: "float32", 11: "float64"}
_NUMBERS = {name: number for number, name in _DTYPES.items()}


class LeanEngine:
    """One loaded model. Safe to run from several threads at once.

    Args:
        model: The bytes of an ONNX file, or a buffer of them, or the name of a file that nobody else can write to.
        threads: For one run.
        options: Session options by onnxruntime's names, like the folder of external weights.
        kernel: The path of a library with operations of our own; without it the model would not load.

    Raises:
        AdmissionError: When onnxruntime does not load the model (code ``not_loadable``).
    """

    __slots__ = (
        "_api", "_fixed", "_found", "_outputs", "_runtime", "_session", "_slots", "_takes", "_tensor", "_values",
        "_wanted",
    )  # fmt: skip

    def __init__(
        self,
        model: bytes | str,
        *,
        threads: int = 1,
        options: dict[str, str] | None = None,
        kernel: str | None = None,
    ) -> None:
        self._session: int = 0
        self._runtime = runtime = Runtime.get()
        self._tensor = _tensor_maker(runtime)
        self._api = api = runtime.api
        settings = api.pointer(api.CreateSessionOptions)
        try:
            api.check(api.SetIntraOpNumThreads(settings, threads))
            api.check(api.SetInterOpNumThreads(settings, 1))
            api.check(api.SetSessionLogSeverityLevel(settings, ERRORS_ONLY))
            for key, value in (options or {}).items():
                api.check(api.AddSessionConfigEntry(settings, key.encode(), value.encode()))
            if kernel is not None:
                api.check(api.RegisterCustomOpsLibrary_V2(settings, os.fsencode(kernel)))
            if isinstance(model, str):
                self._session = api.pointer(api.CreateSession, runtime.environment, os.fsencode(model), settings)
            else:
                place, size = (model, len(model)) if type(model) is bytes else _address(model)
                self._session = api.pointer(api.CreateSessionFromArray, runtime.environment, place, size, settings)
        except OrtError as error:
            raise not_loadable(api.version, error) from error
        finally:
            api.ReleaseSessionOptions(settings)
        inputs = self._names("SessionGetInputCount", "SessionGetInputName")
        outputs = self._names("SessionGetOutputCount", "SessionGetOutputName")
        self._takes = (c_char_p * len(inputs))(*inputs)
        self._outputs = (c_char_p * len(outputs))(*outputs)
        # Types made once: ctypes forgets an array type that nobody holds, and making one again costs 20 us.
        self._values, self._found = c_void_p * len(inputs), c_void_p * len(outputs)
        self._slots: dict[tuple[Any, ...], Slot] = {}
        # Whether equal shapes in mean equal shapes out, as far as was seen. An output that is an input is not written.
        self._fixed = set(outputs).isdisjoint(inputs)
        # The outputs' dtypes, so that no value is asked what it is; None is the sequence of a ZipMap.
        self._wanted = [self._output_dtype(place) for place in range(len(outputs))]

    def __del__(self) -> None:
        # Whoever still runs the model holds this object, so the session is not in use.
        if self._session:
            self._api.ReleaseSession(self._session)
            self._session = 0

    def signature(self) -> dict[str, Any]:
        """What the model takes and gives, in JSON form.

        Raises:
            AdmissionError: As `modelyard.predictor.signature.signature_of` does.
        """
        try:
            return signature_of(self)
        except OrtError as error:
            raise AdmissionError(f"the model's ends cannot be read: {error}", code="unsupported_signature") from error

    def stop(self) -> "LeanStop":
        """What ends a run of this engine from another thread."""
        from modelyard.predictor.stopping import LeanStop  # only for a version that is on trial

        return LeanStop(self._api)

    def run(self, arrays: Sequence[Array], stop: "LeanStop | None" = None) -> list[Any]:
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
        shapes: Any = getattr(arrays, "key", None) or tuple([array.shape for array in arrays])  # `key`: of a block
        slot = self._slots.pop(shapes, None)  # so no other thread has it meanwhile
        try:
            if slot is not None:
                slot.fill(arrays)
            elif fits(arrays):
                slot = Slot(self._values(), arrays, self._tensor, self._api.ReleaseValue)
        except (ValueError, OrtError):
            slot = None  # arrays of another dtype or size than the model's, which onnxruntime refuses below
        options = None if stop is None else stop.options
        if slot is None:
            return self._run_in_place(arrays, options)
        outputs = self._run_slot(slot, options)
        if len(self._slots) >= MOST_SLOTS:
            with suppress(KeyError, RuntimeError, StopIteration):  # another thread was faster
                del self._slots[next(iter(self._slots))]  # the one that was used longest ago
        self._slots[shapes] = slot
        return outputs

    def _run_slot(self, slot: Slot, options: int | None) -> list[Any]:
        if slot.outputs is not None and self._fixed:
            status = self._call(slot.inputs, slot.outputs, options or self._runtime.quiet)
            if not status:
                return slot.results()
            self._api.error(status)
            outputs = self._run(
                slot.inputs, options
            )  # raises, if it was not the outputs' shapes; so what fails runs twice
            self._fixed = False  # they depend on more than the inputs' shapes
            return outputs
        outputs = self._run(slot.inputs, options)
        if self._fixed and fits(outputs):
            slot.expect(self._found(), outputs)
        return outputs

    def _run_in_place(self, arrays: Sequence[Array], options: int | None) -> list[Any]:
        """Run over the arrays' own memory."""
        values = self._values()
        try:
            for place, array in enumerate(arrays):
                values[place] = self._value(array)
            return self._run(values, options)
        except OrtError as error:
            raise raised() from error
        finally:
            for value in values:
                self._api.ReleaseValue(value)

    def _run(self, values: Any, options: int | None) -> list[Any]:
        found = self._found()
        try:
            status = self._call(values, found, options)
            if status:
                raise self._api.error(status)
            return [
                self._rows(value) if dtype is None else self._array(value, dtype)
                for value, dtype in zip(found, self._wanted, strict=True)
            ]
        except (OrtError, UnicodeDecodeError) as error:  # the latter for a text that is no UTF-8
            raise raised() from error
        finally:
            for value in found:
                self._api.ReleaseValue(value)

    def _call(self, values: Any, found: Any, options: int | None) -> int | None:
        """The run itself, during which the GIL is free; a status where it failed."""
        status: int | None = self._api.Run(
            self._session, options, self._takes, values, len(values), self._outputs, len(found), found
        )
        return status

    # -- values in ----------------------------------------------------------------------------------------------------

    def _value(self, array: Array) -> int:
        """An OrtValue over the array's own memory; the array has to outlive it."""
        if array.dtype != "string":
            return self._tensor(array, *_address(array.buffer))
        api, shape = self._api, array.shape
        sizes = struct.pack(f"={len(shape)}q", *shape)
        value = c_void_p()
        api.check(api.CreateTensorAsOrtValue(self._runtime.allocator, sizes, len(shape), _STRING, byref(value)))
        try:
            self._fill(value, array.buffer)
        except BaseException:
            api.ReleaseValue(value)
            raise
        return value.value or 0

    def _fill(self, value: c_void_p, strings: list[str]) -> None:
        api = self._api
        encoded = [text.encode() for text in strings]
        if not encoded:
            return
        if not any(b"\0" in text for text in encoded):
            joined = b"\0".join((*encoded, b""))  # one buffer of C strings, and where in it each begins
            base = ctypes.cast(c_char_p(joined), c_void_p).value or 0
            starts = accumulate((len(text) + 1 for text in encoded[:-1]), initial=base)
            api.check(api.FillStringTensor(value, struct.pack(f"={len(encoded)}Q", *starts), len(encoded)))
            return
        for place, text in enumerate(encoded):  # that call takes C strings, which end at the first NUL
            buffer = api.pointer(api.GetResizedStringTensorElementBuffer, value, place, len(text))
            ctypes.memmove(buffer, text, len(text))

    # -- values out ---------------------------------------------------------------------------------------------------

    def _array(self, value: int, dtype: str | None = None) -> Array:
        api = self._api
        about = c_void_p()
        api.check(api.GetTensorTypeAndShape(value, byref(about)))
        if dtype is None:
            dtype = _DTYPES.get(api.number(api.GetTensorElementType, about), "unknown")
        shape = self._shape(about)
        api.ReleaseTensorTypeAndShapeInfo(about)
        count = prod(shape)
        if dtype == "string":
            return Array(dtype, shape, self._strings(value, count))
        place = c_void_p()
        api.check(api.GetTensorMutableData(value, byref(place)))
        size = count * ITEM_BYTES[dtype]
        return Array(dtype, shape, string_at(place, size) if size else b"")

    def _shape(self, about: Any) -> tuple[int, ...]:
        """The sizes that onnxruntime writes over a row of marks, which end where the axes end: one call, not two."""
        sizes = _Sizes.from_buffer_copy(_MARKS)
        self._api.check(self._api.GetDimensions(about, sizes, MOST_AXES + 1))
        found = sizes[:]
        if found[MOST_AXES] != _MARK:
            raise OrtError(f"a tensor has more than {MOST_AXES} axes")
        return tuple(found[: found.index(_MARK)])

    def _strings(self, value: int, count: int) -> list[str]:
        api = self._api
        if not count:
            return []
        length = api.size(api.GetStringTensorDataLength, value)
        text, places = bytearray(length + 1), bytearray(8 * count)
        api.check(
            api.GetStringTensorContent(
                value, byref(c_char.from_buffer(text)), length, byref(c_char.from_buffer(places)), count
            )
        )
        starts = struct.unpack(f"={count}Q", places)
        return [text[start:end].decode() for start, end in zip(starts, (*starts[1:], length))]  # noqa: B905

    def _rows(self, value: int) -> list[dict[str, Any]]:
        """The value of a ZipMap: a sequence with a map for each row."""
        api, allocator = self._api, self._runtime.allocator
        rows = []
        for row in range(api.size(api.GetValueCount, value)):
            held = api.pointer(api.GetValue, value, row, allocator)
            try:
                parts = []
                for part in (0, 1):  # keys, values
                    inner = api.pointer(api.GetValue, held, part, allocator)
                    try:
                        parts.append(self._array(inner).elements())
                    finally:
                        api.ReleaseValue(inner)
                rows.append({str(key): number for key, number in zip(*parts, strict=True)})
            finally:
                api.ReleaseValue(held)
        return rows

    # -- what `signature_of` asks for ---------------------------------------------------------------------------------

    def get_inputs(self) -> list["Node"]:
        """As a session of the ``onnxruntime`` package has it."""
        return [Node(name, *self._about("SessionGetInputTypeInfo", at)) for at, name in enumerate(self._takes)]

    def get_outputs(self) -> list["Node"]:
        """As a session of the ``onnxruntime`` package has it."""
        return [Node(name, *self._about("SessionGetOutputTypeInfo", at)) for at, name in enumerate(self._outputs)]

    def get_modelmeta(self) -> "Metadata":
        """As a session of the ``onnxruntime`` package has it, with the one key that is read."""
        api, allocator = self._api, self._runtime.allocator
        metadata = api.pointer(api.SessionGetModelMetadata, self._session)
        try:
            text = api.pointer(api.ModelMetadataLookupCustomMetadataMap, metadata, allocator, CLASSES_KEY.encode())
        finally:
            api.ReleaseModelMetadata(metadata)
        return Metadata({CLASSES_KEY: self._taken(text).decode()} if text else {})

    def _names(self, count: str, name: str) -> list[bytes]:
        api, allocator = self._api, self._runtime.allocator
        return [
            self._taken(api.pointer(getattr(api, name), self._session, place, allocator))
            for place in range(api.size(getattr(api, count), self._session))
        ]

    def _taken(self, text: int) -> bytes:
        """A text that onnxruntime allocated for us."""
        found = string_at(text)
        self._api.check(self._api.AllocatorFree(self._runtime.allocator, text))
        return found

    def _output_dtype(self, output: int) -> str | None:
        api = self._api
        about = api.pointer(api.SessionGetOutputTypeInfo, self._session, output)
        try:
            if api.number(api.GetOnnxTypeFromTypeInfo, about) != _TENSOR:
                return None
            tensor = api.pointer(api.CastTypeInfoToTensorInfo, about)
            return _DTYPES.get(api.number(api.GetTensorElementType, tensor), "unknown")
        finally:
            api.ReleaseTypeInfo(about)

    def _about(self, function: str, place: int) -> tuple[str, list[int | None]]:
        api = self._api
        about = api.pointer(getattr(api, function), self._session, place)
        try:
            return self._described(about)
        finally:
            api.ReleaseTypeInfo(about)

    def _described(self, about: int) -> tuple[str, list[int | None]]:
        """A type as the ``onnxruntime`` package writes it, and a tensor's shape."""
        api = self._api
        kind = api.number(api.GetOnnxTypeFromTypeInfo, about)
        if kind == _TENSOR:
            tensor = api.pointer(api.CastTypeInfoToTensorInfo, about)  # belongs to `about`, as do the others below
            element = _ELEMENT_TYPES.get(api.number(api.GetTensorElementType, tensor), "unknown")
            return f"tensor({element})", [size if size >= 0 else None for size in self._shape(tensor)]
        if kind == _SEQUENCE:
            inner = api.pointer(api.GetSequenceElementType, api.pointer(api.CastTypeInfoToSequenceTypeInfo, about))
            try:
                return f"seq({self._described(inner)[0]})", []
            finally:
                api.ReleaseTypeInfo(inner)
        if kind == _MAP:
            mapping = api.pointer(api.CastTypeInfoToMapTypeInfo, about)
            key = _ELEMENT_TYPES.get(api.number(api.GetMapKeyType, mapping), "unknown")
            inner = api.pointer(api.GetMapValueType, mapping)
            try:
                return f"map({key},{self._described(inner)[0]})", []
            finally:
                api.ReleaseTypeInfo(inner)
        return f"a type with ONNX's number {kind}", []


class Metadata:
    """The model's metadata."""

    __slots__ = ("custom_metadata_map",)

    def __init__(self, custom_metadata_map: dict[str, str]) -> None:
        self.custom_metadata_map = custom_metadata_map


class Node:
    """One input or output, described like the ``onnxruntime`` package does."""

    __slots__ = ("name", "shape", "type")

    def __init__(self, name: bytes, onnx_type: str, shape: list[int | None]) -> None:
        self.name = name.decode()
        self.type = onnx_type
        self.shape = shape


def _tensor_maker(runtime: Runtime) -> Make:
    """What makes a value over memory that holds an array's elements. It holds no engine, as slots hold it."""
    create, check, memory = runtime.api.CreateTensorWithDataAsOrtValue, runtime.api.check, runtime.memory

    def make(array: Array, place: int, size: int) -> int:
        shape = array.shape
        sizes = struct.pack(f"={len(shape)}q", *shape)
        value = c_void_p()
        check(create(memory, place, size, sizes, len(shape), _NUMBERS[array.dtype], byref(value)))
        return value.value or 0

    return make


class _PyBuffer(ctypes.Structure):
    # Py_buffer, stable since Python 3.11 (https://docs.python.org/3/c-api/buffer.html); only the first fields are read.
    _fields_ = (
        ("buf", c_void_p), ("obj", ctypes.py_object), ("len", ctypes.c_ssize_t), ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int), ("ndim", ctypes.c_int), ("format", c_char_p), ("shape", c_void_p),
        ("strides", c_void_p), ("suboffsets", c_void_p), ("internal", c_void_p),
    )  # fmt: skip


def _address(buffer: Any) -> tuple[int, int]:
    """Where a contiguous buffer lies, and how many bytes it has; also of one that may not be written."""
    view = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(buffer), byref(view), 0)  # raises by itself
    place, size = view.buf or 0, view.len
    ctypes.pythonapi.PyBuffer_Release(byref(view))  # the caller holds the object, so it stays where it is
    return place, size
