"""The order in which an endpoint starts: what can go on by itself begins before what needs Python.

::

    main      settings ─► import the S3 client ─► import the rest ──────► wait ─► ready
    engine        └─► load the library, register its operators ──────┐
    pointer                                   └─► pointer ─► model ─► session

The other two threads spend their time outside Python. So on two cores, or while S3 is waited for, they cost nothing; on
one they cost what they cost in any order. Each import stands where it does for that reason, and before the engine's
thread there is none that is slow.
"""

from __future__ import annotations

import _thread
import gc
import os
import sys

from modelyard.pointer_key import pointer_key
from modelyard.serving.settings import EndpointSettings

GARBAGE = 20_000
"""New objects between two looks for garbage. A batch of 100 makes 300, and none of them is garbage that needs looking
for; at Python's 700 a look would come every other request."""

SWITCH_S = 0.0002
"""How long a thread that loads a new version keeps Python from one that answers; in Python's own 5 ms many requests are
answered."""

_LATER = ("_json_schema", "inspect", "msgpack", "structs", "toml", "yaml")
_SCHEMAS = ("schema", "schema_components")

FLUSH_S = 5.0
"""Longest wait for work that must not go into a snapshot."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from modelyard.predictor.c_api import Runtime
    from modelyard.serving.afterwards import Afterwards
    from modelyard.serving.capture import Capture, ObjectSink
    from modelyard.serving.endpoint import Endpoint
    from modelyard.serving.feedback import Feedback
    from modelyard.serving.follow import PointerFollower
    from modelyard.serving.on_trial import OnTrial


def start(environ: Mapping[str, str], *, make: Callable[..., Endpoint] | None = None) -> Endpoint:
    """The endpoint that a function's environment describes, with its live version loaded if there is one.

    Args:
        environ: The process environment.
        make: Makes the endpoint of its parts, in place of `Endpoint` itself; what it imports is imported meanwhile.

    Raises:
        UsageError: When the environment is incomplete.
    """
    settings = EndpointSettings.read(environ)
    gc.disable()  # what is imported stays, so looking for garbage in it finds none
    if settings.engine == "lean":
        from modelyard.predictor import c_api

        _thread.start_new_thread(_load_library, (c_api.Runtime,))
    else:
        # numpy's BLAS starts a thread for each processor that it sees and waits for it, which takes 40 ms where they
        # are busy; it gets what the function's memory pays for.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(settings.threads))
    from modelyard.aws.objects import FirstGet, open_bucket

    objects = open_bucket(settings.artifact_bucket, environ)
    first = FirstGet(objects, pointer_key(settings.model))
    import_msgspec(bare=settings.engine == "lean" and settings.code is None and make is None)
    from modelyard.serving.follow import PointerFollower
    from modelyard.serving.loading import Loader

    loader = Loader(settings)
    follower = PointerFollower(first, settings.model, refresh_s=settings.refresh_s, load=loader)
    follower.start()
    loader.prepare()
    from modelyard.serving.afterwards import Afterwards
    from modelyard.serving.endpoint import START_PATIENCE_S

    afterwards = Afterwards.start(environ)
    endpoint = assemble(settings, environ, objects, follower, afterwards, make=make)
    if afterwards.holds:  # the environment is frozen between requests, so look while it is kept awake
        afterwards.attend(follower)
    if settings.snap_start:
        from modelyard.serving.snapstart import register_hooks

        register_hooks(
            before_snapshot=[endpoint.prime, lambda: afterwards.flush(FLUSH_S), objects.reconnect],
            after_restore=[objects.reconnect, follower.check_now],  # new credentials first
        )
    follower.wait(START_PATIENCE_S)
    quicken()
    return endpoint


def import_msgspec(*, bare: bool = False) -> None:
    """Import ``msgspec``, but not its parts for other formats than JSON and for describing types: 3 ms of a start.

    Each is imported when somebody asks for it, by its name or as an attribute. Should ``msgspec`` itself ever want more
    of them, the next import of it is one without this.

    Args:
        bare: Also without ``decimal``, so that it reads and writes no such number, and without the C half of ``uuid``:
            2 ms. For a process that runs no code but ours, which has neither.
    """
    if "msgspec" in sys.modules:
        return
    import_uuid(bare=bare)
    stand_ins = {f"msgspec.{name}": type(sys)(name) for name in _LATER}
    if bare and "decimal" not in sys.modules:
        stand_ins["decimal"] = type(sys)("decimal")
        stand_ins["decimal"].Decimal = type("Decimal", (), {})  # type: ignore[attr-defined]
    for name in _SCHEMAS:
        setattr(stand_ins["msgspec._json_schema"], name, _later(name))
    sys.modules.update(stand_ins)
    try:
        import msgspec
    except ImportError:
        return
    finally:
        for name in stand_ins:
            del sys.modules[name]

    def imported(name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"module 'msgspec' has no attribute {name!r}")
        __import__(f"msgspec.{name}")
        return sys.modules[f"msgspec.{name}"]

    for name in _LATER:
        vars(msgspec).pop(name, None)
    msgspec.__getattr__ = imported  # type: ignore[method-assign,assignment,unused-ignore]


def _later(name: str) -> Callable[..., Any]:
    """A function of ``msgspec.json`` that is imported when it is called."""

    def call(*args: Any, **options: Any) -> Any:
        from msgspec import _json_schema

        return getattr(_json_schema, name)(*args, **options)

    return call


def import_uuid(*, bare: bool = False) -> None:
    """Import ``uuid`` for msgspec, but not ``platform`` with it, nor the system's library for UUIDs if ``bare``.

    Of that, ``uuid`` asks for the system's name while it is imported, and never again; the regular expressions that
    ``platform`` compiles for itself take 2 ms of a start. Whoever wants ``platform`` later imports the real one. Should
    ``uuid`` ever want more, msgspec's own import of it is one without this.
    """
    if "uuid" in sys.modules or "platform" in sys.modules:
        return
    stand_in: Any = type(sys)("platform")
    stand_in.system = lambda: os.uname().sysname
    sys.modules["platform"] = stand_in
    if bare and "_uuid" not in sys.modules:
        modules: dict[str, Any] = sys.modules
        modules["_uuid"] = None  # as good as not there
    try:
        import uuid  # noqa: F401 - for msgspec
    except AttributeError:  # then it is not in sys.modules either
        pass
    finally:
        del sys.modules["platform"]
        if sys.modules.get("_uuid", "") is None:
            del sys.modules["_uuid"]


def assemble(
    settings: EndpointSettings,
    environ: Mapping[str, str],
    objects: ObjectSink,
    follower: PointerFollower,
    afterwards: Afterwards,
    *,
    make: Callable[..., Endpoint] | None = None,
) -> Endpoint:
    """The endpoint of these parts, with what it makes only when it needs it.

    Args:
        settings: The environment's.
        environ: The same, for what is read later.
        objects: The artifact bucket.
        follower: Knows the live version.
        afterwards: Does what comes after an answer.
        make: As for `start`.
    """
    from modelyard.serving.endpoint import Endpoint

    capture = None
    if settings.capture > 0:
        capture = _capture(settings, objects, environ)
        afterwards.attend(capture)

    def make_on_trial() -> OnTrial:
        from modelyard.serving.on_trial import OnTrial
        from modelyard.serving.trial_settings import TrialSettings

        kept = capture
        if kept is None:  # a share of 0: what is kept is kept for the trial
            kept = _capture(settings, objects, environ)
            afterwards.attend(kept)
        return OnTrial(kept, afterwards, TrialSettings.read(environ), model=settings.model)

    def make_feedback() -> Feedback:
        from modelyard.serving.feedback import SHARE_OF_TIMEOUT, Feedback
        from modelyard.serving.trial_settings import TrialSettings

        wait_s = SHARE_OF_TIMEOUT * TrialSettings.read(environ).timeout_s
        return Feedback(objects, model=settings.model, wait_s=wait_s)

    return (make or Endpoint)(
        follower,
        model=settings.model,
        afterwards=afterwards,
        capture=capture,
        make_on_trial=make_on_trial,
        make_feedback=make_feedback,
    )


def quicken() -> None:
    """Set Python itself for a process that answers requests, when everything is imported."""
    gc.freeze()  # and no request pays for looking through it
    gc.set_threshold(GARBAGE)
    sys.setswitchinterval(SWITCH_S)
    gc.enable()


def _capture(settings: EndpointSettings, objects: ObjectSink, environ: Mapping[str, str]) -> Capture:
    from modelyard.serving.capture import Capture
    from modelyard.serving.trial_settings import redacted_inputs

    return Capture(objects, model=settings.model, share=settings.capture, redact=redacted_inputs(environ))


def _load_library(runtime: type[Runtime]) -> None:
    from modelyard.errors import ModelyardError

    try:
        runtime.get()
    except ModelyardError:
        return  # whoever loads a model meets it again, and reports it
