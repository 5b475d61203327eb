"""From a version that the pointer names to a predictor: which engine, and which form of the model.

What a request never needs is imported here late: the lean engine needs no numpy, and only a model with code of its own
needs that code's machinery.
"""

import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from modelyard.compiling.loading import ANY, WEIGHTS, WEIGHTS_FOLDER, machine
from modelyard.contract.document import parse as parse_contract
from modelyard.errors import ModelyardError
from modelyard.predictor.predictor import Predictor
from modelyard.serving.audit import write_event
from modelyard.serving.fetching import Fetch
from modelyard.serving.pointer import Deployed, File, Form
from modelyard.serving.settings import EndpointSettings

if TYPE_CHECKING:
    from modelyard.predictor.code import ModelCode

NICENESS = 5
"""Of a thread that loads beside requests on the only processor: it gets a quarter of it while they want it as well."""

GENTLE_BYTES_PER_S = 50 << 20
"""What it fetches, checks and loads in a second then."""

ROOM = 2.0
"""What a version on trial takes beside the others, in sizes of its file: the session, and the bytes it is made of."""

SPARE_MB = 32
"""Of the function's memory, for requests."""

LARGE = 8 << 20
"""Bytes of a model from which on it is not held in one buffer while requests are answered."""


_IMPORTING = threading.Lock()


class Loader:
    """Makes predictors for one function's settings."""

    __slots__ = ("_in_use", "_last", "_settings", "_written")

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings
        self._written: list[str] = []  # files of weights, of the versions that were loaded
        self._last: str | None = None  # of them, that of the version that was loaded last
        self._in_use: list[str] = []  # of them, those that a session is being made of: two versions may load at a time

    def prepare(self) -> None:
        """Import what loading needs, so that it is there when the bytes arrive; who comes meanwhile waits for that.

        Two threads of which one imports numpy, and the other onnxruntime, whose C part asks for a module inside numpy,
        wait for each other. Python ends that by giving one of them half a numpy: "import numpy failed".
        """
        with _IMPORTING:
            if self._settings.engine == "lean":
                from modelyard.predictor import lean  # noqa: F401
            else:
                import numpy  # noqa: F401, ICN001 - all of it, before anybody asks for a part

                from modelyard.predictor import standard  # noqa: F401

    def __call__(self, deployed: Deployed, fetch: Fetch) -> Predictor:
        """The predictor for a version: its best compiled form, or else the artifact of record.

        A form that does not load is reported and left; the version it belongs to is none the worse for it.

        Raises:
            ModelyardError: When the artifact or the model's own code does not load.
        """
        if fetch.beside:
            self._refuse_without_room(deployed)
        if not fetch.in_haste and self._has_time(deployed):
            _give_way()
        self._forget_weights()
        for form in self._fitting(deployed):
            folder = None if form.weights is None else _folder_of(form.weights)
            if folder is not None:
                self._in_use.append(folder)
            try:
                options = self._weights_option(form, fetch)
                predictor = self._predictor(deployed, form.model, fetch, options, self._whole_kernel(form))
                self._last = folder
                return predictor
            except (ModelyardError, OSError) as error:
                write_event(
                    "form_not_loaded",
                    level="warning",
                    version=deployed.version,
                    architecture=form.architecture,
                    digest=form.model.digest,
                    message=str(error),
                )
            finally:
                if folder is not None:
                    self._in_use.remove(folder)
        predictor = self._predictor(deployed, deployed.file, fetch)
        self._last = None
        return predictor

    def _refuse_without_room(self, deployed: Deployed) -> None:
        """Leave a version on trial out where the function's memory would not hold it: Lambda ends what takes more.

        Raises:
            ModelyardError: With code ``no_room``.
        """
        from modelyard.serving.memory import resident_mb

        used_mb, size_mb = resident_mb(), deployed.file.size / 1_048_576
        if used_mb is None or not self._settings.one_by_one:  # elsewhere the memory is not the function's alone
            return
        needed_mb = used_mb + ROOM * size_mb + SPARE_MB
        if needed_mb > self._settings.memory_mb:
            raise ModelyardError(
                f"version {deployed.version} has {size_mb:.1f} MB; beside what is loaded it would take some "
                f"{needed_mb:.0f} MB of the function's {self._settings.memory_mb}",
                code="no_room",
                next_step="Raise endpoint.memory_mb in model.toml and deploy.",
            )

    def _has_time(self, deployed: Deployed) -> bool:
        """Whether a load that gives way is over before ``refresh_s`` is, when requests would wait for it."""
        settings = self._settings
        # Several requests at a time would starve it. And niceness stays with a thread and with those that it starts:
        # not with the engine's own, then.
        alone = settings.one_by_one and settings.threads == 1
        return alone and deployed.file.size <= GENTLE_BYTES_PER_S * settings.refresh_s / 2

    def _predictor(
        self,
        deployed: Deployed,
        file: File,
        fetch: Fetch,
        options: dict[str, str] | None = None,
        kernel: str | None = None,
    ) -> Predictor:
        descriptor = None if fetch.in_haste or file.size < LARGE else _file_in_memory()
        if descriptor is None:
            return self._made(deployed, fetch(file), options, kernel)
        try:
            fetch.into(file, descriptor)
            return self._made(deployed, _path_of(descriptor), options, kernel)
        finally:
            os.close(descriptor)

    def _made(
        self, deployed: Deployed, model: bytes | str, options: dict[str, str] | None, kernel: str | None
    ) -> Predictor:
        settings = self._settings
        self.prepare()  # another thread does, and it may be at it still
        return Predictor.load(
            model,
            signature=deployed.signature,
            contract=None if deployed.contract is None else parse_contract(deployed.contract),
            code=self._code(),
            engine=settings.engine,
            threads=settings.threads,
            options=options,
            kernel=kernel,
            providers=settings.providers,
        )

    def _fitting(self, deployed: Deployed) -> list[Form]:
        """The forms that may run here: first what our own kernel runs, then the machine's own."""
        if not deployed.forms or deployed.onnxruntime != self._engine_version():
            return []
        here = machine()
        fitting = [
            form
            for form in deployed.forms
            if form.architecture in (ANY, here) and (not form.requires or self._kernel(form) is not None)
        ]
        return sorted(fitting, key=lambda form: (not form.requires, form.architecture == ANY))

    def _kernel(self, form: Form) -> str | None:
        """The library that a form asks for, where it is here and may run on as many threads as runs have."""
        if not form.requires:
            return None
        from modelyard.compiling import kernel

        return kernel.find(form.requires, self._settings.threads)

    def _whole_kernel(self, form: Form) -> str | None:
        """The same to be loaded.

        Raises:
            OSError: When the library was cut off.
        """
        found = self._kernel(form)
        if found is None:
            return None
        from modelyard.compiling.kernel import whole

        return whole(found)

    def _engine_version(self) -> str:
        if self._settings.engine == "lean":
            from modelyard.predictor.c_api import Runtime

            version: str = Runtime.get().api.version
            return version
        self.prepare()
        import onnxruntime

        return str(onnxruntime.__version__)

    def _weights_option(self, form: Form, fetch: Fetch) -> dict[str, str] | None:
        """The session option with the folder of the form's weights, which are there when this returns.

        onnxruntime maps the file, so it must never change: it gets its name when it is whole. The digest names the
        folder, so versions that share weights share the file.
        """
        if form.weights is None:
            return None
        folder = _folder_of(form.weights)
        path = f"{folder}/{WEIGHTS}"
        if not os.path.exists(path):  # noqa: PTH110 - pathlib is one import more at cold start
            os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
            part = f"{path}.{os.getpid()}.{threading.get_ident()}"
            try:
                with open(part, "wb", buffering=0) as file:  # noqa: PTH123
                    fetch.into(form.weights, file.fileno())
                os.replace(part, path)  # noqa: PTH105
            except (ModelyardError, OSError):
                with suppress(OSError):
                    os.unlink(part)  # noqa: PTH108
                raise
            self._written.append(folder)
        return {WEIGHTS_FOLDER: folder}

    def _forget_weights(self) -> None:
        """Remove the weights of earlier versions, as far as this process wrote them: /tmp holds 512 MB.

        Not of the last one, though it is about to be replaced. A session has its file mapped, and a file whose name is
        gone goes with the last session: of 90 MB that takes 10 ms, with Python's lock held in the standard engine.
        """
        for folder in [folder for folder in self._written if folder not in (self._last, *self._in_use)]:
            with suppress(ValueError):  # another load has done so meanwhile
                self._written.remove(folder)
            with suppress(OSError):
                os.unlink(f"{folder}/{WEIGHTS}")  # noqa: PTH108
                os.rmdir(folder)  # noqa: PTH106

    def _code(self) -> "ModelCode | None":
        if self._settings.code is None:
            return None
        from modelyard.predictor.code import ModelCode

        return ModelCode.load(self._settings.code)


def _folder_of(weights: File) -> str:
    """Where Lambda lets a function write, a folder of our own in it."""
    return f"{os.environ.get('TMPDIR') or '/tmp'}/modelyard-{weights.digest}"  # noqa: S108 - the digest is checked


def _file_in_memory() -> int | None:
    """A file that nobody else can open; None where the system has none, or gives it no name."""
    try:
        descriptor = os.memfd_create("model")
    except (AttributeError, OSError):
        return None
    if os.path.exists(_path_of(descriptor)):  # noqa: PTH110
        return descriptor
    os.close(descriptor)
    return None


def _path_of(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _give_way() -> None:
    """Let this thread have less of the processors than those that answer: they would halve each other.

    With two processors (Lambda shows two to functions of 1 vCPU and less) only what nothing else wants: one is idle
    while a request runs, and whoever has a part in a request gets the other at once, where an ordinary thread may keep
    it for 4 ms. On one processor the load would never end so, and has a share.

    For good, since only root may take it back. Linux counts this by thread, others by process.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            if len(os.sched_getaffinity(0)) > 1:
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            else:
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
