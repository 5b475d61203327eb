"""onnxruntime's C API by ctypes: the functions that the lean engine calls, and what a call that fails raises.

The API is a table of function pointers. Its rule, which onnxruntime keeps by compile-time checks: a position never
changes and new functions are appended, so a table that was asked for by an old version number serves for ever
(https://onnxruntime.ai/docs/api/c/struct_ort_api.html). `API_VERSION` is the first that has everything below; a library
that is older answers with nothing, which is checked here, at load.

To load the library and have it register its operators takes 13 ms without the GIL. An endpoint begins with it, before
it imports ``typing`` and what needs that; so this module does without.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p

from modelyard.errors import ModelyardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

API_VERSION = 16
"""Of onnxruntime 1.16, the first with ``GetResizedStringTensorElementBuffer`` and everything else in `_FUNCTIONS`."""

ERRORS_ONLY, FATAL_ONLY = 3, 4
"""Severities of onnxruntime's log."""

_DEVICE_ALLOCATOR, _DEFAULT_MEMORY = 0, 0
_CODES = (
    "OK", "FAIL", "INVALID_ARGUMENT", "NO_SUCHFILE", "NO_MODEL", "ENGINE_ERROR", "RUNTIME_EXCEPTION",
    "INVALID_PROTOBUF", "MODEL_LOADED", "NOT_IMPLEMENTED", "INVALID_GRAPH", "EP_FAIL",
)  # fmt: skip

_P, _PP, _SIZE = c_void_p, POINTER(c_void_p), c_size_t
_INT_OUT, _SIZE_OUT, _SHAPE = POINTER(c_int), POINTER(c_size_t), POINTER(c_int64)

# Name -> position in the table, and the types of the arguments. Each of these returns a status: NULL is success.
_FUNCTIONS: dict[str, tuple[int, tuple[Any, ...]]] = {
    "CreateEnv": (3, (c_int, c_char_p, _PP)),
    "CreateSession": (7, (_P, c_char_p, _P, _PP)),
    "CreateSessionFromArray": (8, (_P, _P, _SIZE, _P, _PP)),
    "Run": (9, (_P, _P, _P, _PP, _SIZE, _P, _SIZE, _PP)),
    "CreateSessionOptions": (10, (_PP,)),
    "SetSessionLogSeverityLevel": (22, (_P, c_int)),
    "SetIntraOpNumThreads": (24, (_P, c_int)),
    "SetInterOpNumThreads": (25, (_P, c_int)),
    "SessionGetInputCount": (30, (_P, _SIZE_OUT)),
    "SessionGetOutputCount": (31, (_P, _SIZE_OUT)),
    "SessionGetInputTypeInfo": (33, (_P, _SIZE, _PP)),
    "SessionGetOutputTypeInfo": (34, (_P, _SIZE, _PP)),
    "SessionGetInputName": (36, (_P, _SIZE, _P, _PP)),
    "SessionGetOutputName": (37, (_P, _SIZE, _P, _PP)),
    "CreateRunOptions": (39, (_PP,)),
    "RunOptionsSetRunLogSeverityLevel": (41, (_P, c_int)),
    "RunOptionsSetTerminate": (46, (_P,)),
    "CreateTensorAsOrtValue": (48, (_P, _P, _SIZE, c_int, _PP)),
    "CreateTensorWithDataAsOrtValue": (49, (_P, _P, _SIZE, _P, _SIZE, c_int, _PP)),
    "GetTensorMutableData": (51, (_P, _PP)),
    "FillStringTensor": (52, (_P, _P, _SIZE)),
    "GetStringTensorDataLength": (53, (_P, _SIZE_OUT)),
    "GetStringTensorContent": (54, (_P, _P, _SIZE, _P, _SIZE)),
    "CastTypeInfoToTensorInfo": (55, (_P, _PP)),
    "GetOnnxTypeFromTypeInfo": (56, (_P, _INT_OUT)),
    "GetTensorElementType": (60, (_P, _INT_OUT)),
    "GetDimensionsCount": (61, (_P, _SIZE_OUT)),
    "GetDimensions": (62, (_P, _SHAPE, _SIZE)),
    "GetTensorTypeAndShape": (65, (_P, _PP)),
    "GetValueType": (67, (_P, _INT_OUT)),
    "CreateCpuMemoryInfo": (69, (c_int, c_int, _PP)),
    "AllocatorFree": (76, (_P, _P)),
    "GetAllocatorWithDefaultOptions": (78, (_PP,)),
    "GetValue": (80, (_P, c_int, _P, _PP)),
    "GetValueCount": (81, (_P, _SIZE_OUT)),
    "CastTypeInfoToSequenceTypeInfo": (104, (_P, _PP)),
    "CastTypeInfoToMapTypeInfo": (103, (_P, _PP)),
    "GetMapKeyType": (105, (_P, _INT_OUT)),
    "GetMapValueType": (106, (_P, _PP)),
    "GetSequenceElementType": (107, (_P, _PP)),
    "SessionGetModelMetadata": (111, (_P, _PP)),
    "ModelMetadataLookupCustomMetadataMap": (116, (_P, _P, c_char_p, _PP)),
    "AddSessionConfigEntry": (130, (_P, c_char_p, c_char_p)),
    "RegisterCustomOpsLibrary_V2": (228, (_P, c_char_p)),
    "GetResizedStringTensorElementBuffer": (252, (_P, _SIZE, _SIZE, _PP)),
}

# Name -> position; they take one pointer, which may be NULL, and return nothing.
_RELEASES = {
    "ReleaseStatus": 93,
    "ReleaseMemoryInfo": 94,
    "ReleaseSession": 95,
    "ReleaseValue": 96,
    "ReleaseRunOptions": 97,
    "ReleaseTypeInfo": 98,
    "ReleaseTensorTypeAndShapeInfo": 99,
    "ReleaseSessionOptions": 100,
    "ReleaseModelMetadata": 118,
}
_IDENTITY = (
    b'\x08\x07:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01b\x0f'
    b"\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
"""The smallest model there is: y = x, float32 [1]. A test makes it again."""

_GET_ERROR_CODE, _GET_ERROR_MESSAGE = 1, 2

_RETURNS_STATUS = {arguments: ctypes.CFUNCTYPE(c_void_p, *arguments) for _, arguments in _FUNCTIONS.values()}
_RETURNS_NOTHING = ctypes.CFUNCTYPE(None, c_void_p)


class OrtError(Exception):
    """onnxruntime refused; the message begins with its code, like the ``onnxruntime`` package's own errors."""


class _ApiBase(ctypes.Structure):
    _fields_ = (
        ("GetApi", ctypes.CFUNCTYPE(c_void_p, ctypes.c_uint32)),
        ("GetVersionString", ctypes.CFUNCTYPE(c_char_p)),
    )


class CApi:
    """The functions of one loaded library, as attributes with their C names.

    Those that return a status are called through `check`: ``api.check(api.Run(...))``.

    Attributes:
        version: Of the library, like ``1.31.1``.
    """

    def __init__(self, library: str) -> None:
        try:
            loaded = ctypes.CDLL(library)
            base_of = loaded.OrtGetApiBase
        except (OSError, AttributeError) as error:
            raise _unusable(f"{library} does not load: {error}") from error
        base_of.restype = POINTER(_ApiBase)
        base = base_of().contents
        self.version = base.GetVersionString().decode()
        table = base.GetApi(API_VERSION)
        if not table:
            raise _unusable(f"{library} is onnxruntime {self.version}, which has no C API of version {API_VERSION}")
        places = ctypes.cast(table, POINTER(c_void_p))
        for name, (place, arguments) in _FUNCTIONS.items():
            setattr(self, name, _RETURNS_STATUS[arguments](places[place]))
        for name, place in _RELEASES.items():
            setattr(self, name, _RETURNS_NOTHING(places[place]))
        self._code = ctypes.CFUNCTYPE(c_int, c_void_p)(places[_GET_ERROR_CODE])
        self._message = ctypes.CFUNCTYPE(c_char_p, c_void_p)(places[_GET_ERROR_MESSAGE])

    def __getattr__(self, name: str) -> Any:  # for the type checker: the functions are set above
        raise AttributeError(name)

    def check(self, status: int | None) -> None:
        """Return when a call succeeded.

        Raises:
            OrtError: With onnxruntime's message; the status is released.
        """
        if status:
            raise self.error(status)

    def error(self, status: int) -> OrtError:
        """What a status says; the status is released."""
        code, message = self._code(status), self._message(status) or b""
        self.ReleaseStatus(status)
        name = _CODES[code] if 0 <= code < len(_CODES) else str(code)
        return OrtError(f"[ONNXRuntimeError] : {code} : {name} : {message.decode('utf-8', 'replace')}")

    def pointer(self, function: Any, *arguments: Any) -> int:
        """Call a function whose last argument is where a pointer goes, and return the pointer."""
        found = c_void_p()
        self.check(function(*arguments, byref(found)))
        return found.value or 0

    def size(self, function: Any, *arguments: Any) -> int:
        """The same for a size."""
        found = c_size_t()
        self.check(function(*arguments, byref(found)))
        return found.value

    def number(self, function: Any, *arguments: Any) -> int:
        """The same for an enumeration."""
        found = c_int()
        self.check(function(*arguments, byref(found)))
        return found.value


class Runtime:
    """One loaded library: its functions, and the objects that every session shares.

    They live as long as the process. onnxruntime allows one environment, and it is shared by all sessions.
    """

    _only: Runtime | None = None
    _lock = _thread.allocate_lock()

    def __init__(self, library: str) -> None:
        self.api = api = CApi(library)
        self.environment = api.pointer(api.CreateEnv, ERRORS_ONLY, b"modelyard")
        self.memory = api.pointer(api.CreateCpuMemoryInfo, _DEVICE_ALLOCATOR, _DEFAULT_MEMORY)
        self.allocator = api.pointer(api.GetAllocatorWithDefaultOptions)
        self.quiet = api.pointer(api.CreateRunOptions)  # for a run that is repeated, and reported, if it fails
        api.check(api.RunOptionsSetRunLogSeverityLevel(self.quiet, FATAL_ONLY))
        # The first session of a process registers every operator's implementations, which takes longer than the rest of
        # a small one. So that is over, too, when the model arrives.
        options = api.pointer(api.CreateSessionOptions)
        api.check(api.SetIntraOpNumThreads(options, 1))
        api.ReleaseSession(
            api.pointer(api.CreateSessionFromArray, self.environment, _IDENTITY, len(_IDENTITY), options)
        )
        api.ReleaseSessionOptions(options)

    @classmethod
    def get(cls) -> Runtime:
        """The process's own, loaded by the first call.

        Raises:
            ModelyardError: With code ``engine_unavailable``.
        """
        with cls._lock:
            if cls._only is None:
                try:
                    cls._only = cls(find_library())
                except OrtError as error:
                    raise _unusable(str(error)) from error
            return cls._only


def find_library() -> str:
    """The path of ``libonnxruntime.so`` of the installed wheel, found without importing the package.

    Raises:
        ModelyardError: With code ``engine_unavailable``.
    """
    for folder in sys.path:
        capi = os.path.join(folder or ".", "onnxruntime", "capi")  # noqa: PTH118 - pathlib costs 4 ms at a cold start
        try:
            names = os.listdir(capi)  # noqa: PTH208
        except OSError:
            continue
        for name in names:
            if name.startswith("libonnxruntime.") and (".so" in name or name.endswith(".dylib")):
                return os.path.join(capi, name)  # noqa: PTH118
    raise _unusable("no folder on sys.path has onnxruntime/capi/libonnxruntime.so")


def _unusable(problem: str) -> ModelyardError:
    return ModelyardError(
        f"the lean engine does not start: {problem}",
        code="engine_unavailable",
        next_step="Build the layers again with 'modelyard build', or set [endpoint] engine = \"standard\".",
    )
