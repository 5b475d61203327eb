"""The registry's verbs as a user calls them, each in a situation: what the fault harness runs, disturbs and repeats."""

import contextlib
import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelyard.ports import UnfinishedUpload
from modelyard.registry import Registry
from modelyard.version import artifact_key
from tests.fakes.broken_stores import Death
from tests.fakes.registries import SIGNATURE

Act = Callable[[Registry, str], Any]
LATER = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Verb:
    """One verb in one situation.

    Args:
        name: The verb and the situation.
        act: The call.
        before: What happened before it, undisturbed.
        already: Codes of the conflicts that say "it is done" to somebody who runs the same command again.
    """

    name: str
    act: Act
    before: Act = lambda _registry, _model: None
    already: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return self.name


def body(model: str, number: int) -> bytes:
    """The bytes of a model's version: no other model has them."""
    return f"{model} {number}".encode()


def register(registry: Registry, model: str, version: int, **parts: Any) -> Any:
    """Register the bytes of this version."""
    settings: dict[str, Any] = {"task": "binary", "signature": SIGNATURE, "note": f"version {version}"} | parts
    return registry.register(model, body(model, version), **settings)


def versions(count: int, *live: int) -> Act:
    """``count`` versions, of which these became live in turn."""

    def act(registry: Registry, model: str) -> None:
        for number in range(1, count + 1):
            register(registry, model, number)
        for number in live:
            registry.promote(model, number, reason=f"v{number}")

    return act


def _large(registry: Registry, model: str) -> Any:
    parts = registry.artifacts.part_bytes
    return registry.register(
        model, body(model, 1).ljust(2 * parts + 7, b"."), task="binary", signature=SIGNATURE, note="large"
    )


def publish_in_parts(registry: Registry, model: str) -> Any:
    """Register an artifact of three parts."""
    artifact = body(model, 1).ljust(2 * registry.artifacts.part_bytes + 7, b".")
    return registry.register(model, artifact, task="binary", signature=SIGNATURE, note="large")


def on_trial(registry: Registry, model: str) -> None:
    """Version 1 is live and version 2 answers some of the requests."""
    versions(2, 1)(registry, model)
    registry.start_canary(model, 2, split=10)


def left_over(registry: Registry, model: str) -> None:
    """A version, the bytes of a publication that ended too early, and half of those of another one."""
    versions(1, 1)(registry, model)
    orphan(registry, body(model, 2))
    key = artifact_key(hashlib.sha256(body(model, 3)).hexdigest())
    store: Any = registry.artifacts  # preparation happens in memory, whatever the verb runs on
    store.uploads[model] = UnfinishedUpload(key, model, store.clock())


def orphan(registry: Registry, artifact: bytes) -> None:
    """Put bytes there that no version names."""
    digest = hashlib.sha256(artifact).hexdigest()
    registry.artifacts.put_if_absent(
        artifact_key(digest), artifact, sha256=digest, content_type="application/octet-stream"
    )


def half_swept(registry: Registry, model: str) -> None:
    """A sweep has condemned the bytes of version 2 and died before it deleted them."""
    versions(1, 1)(registry, model)
    orphan(registry, body(model, 2))
    dying: Any = _DiesBeforeItDeletes(registry.artifacts)
    with contextlib.suppress(Death):
        sweep(Registry(registry.records, dying, actor="sweeper"), model)


class _DiesBeforeItDeletes:
    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def delete(self, key: str, *, version_id: str) -> None:
        raise Death


def sweep(registry: Registry, _model: str, *, delete: bool = True) -> Any:
    """A sweep long after everything that was written so far, so that it spares nothing for being young."""
    later = type(registry)(registry.records, registry.artifacts, actor=registry.actor, clock=lambda: LATER)
    return later.sweep(older_than=dt.timedelta(days=1), delete=delete)


def _done(*codes: str) -> frozenset[str]:
    return frozenset(codes)


PUBLISH = [
    Verb("publish: the first version", lambda r, m: register(r, m, 1, description="Rain or not", owner="ana")),
    Verb("publish: the same again", lambda r, m: register(r, m, 1), versions(2, 1)),
    Verb("publish: the next version, by its number", lambda r, m: register(r, m, 2, number=2), versions(1)),
    Verb("publish: bytes that a sweep has condemned", lambda r, m: register(r, m, 2), half_swept),
    Verb("publish: in parts", publish_in_parts),
]
PROMOTE = [
    Verb("promote: the first", lambda r, m: r.promote(m, 1, reason="go"), versions(1), _done("already_live")),
    Verb("promote: the next", lambda r, m: r.promote(m, 2, reason="go"), versions(2, 1), _done("already_live")),
    Verb("promote: with an operation", lambda r, m: r.promote(m, 2, operation="release-2"), versions(2, 1)),
    Verb(
        "promote: from a revision",
        lambda r, m: r.promote(m, 2, expected_revision=1),
        versions(2, 1),
        _done("revision_changed"),
    ),
]
ROLLBACK = [
    Verb("roll back: with an operation", lambda r, m: r.rollback(m, operation="undo-3"), versions(3, 1, 2, 3)),
    Verb("roll back: to a version", lambda r, m: r.rollback(m, to=1), versions(3, 1, 2, 3), _done("already_live")),
    Verb(
        "roll back: from a revision",
        lambda r, m: r.rollback(m, expected_revision=3),
        versions(3, 1, 2, 3),
        _done("revision_changed"),
    ),
]
TRIAL = [
    Verb("trial: start a shadow", lambda r, m: r.start_shadow(m, 2), versions(2, 1), _done("already_on_trial")),
    Verb("trial: start a canary", lambda r, m: r.start_canary(m, 2, split=5, operation="c-1"), versions(2, 1)),
    Verb("trial: change the split", lambda r, m: r.start_canary(m, 2, split=50), on_trial, _done("already_on_trial")),
    Verb(
        "trial: split among several",
        lambda r, m: r.start_split(m, {2: 5, 3: 2.5}),
        versions(3, 1),
        _done("already_on_trial"),
    ),
    Verb("trial: end it", lambda r, m: r.end_trial(m), on_trial, _done("no_trial")),
    Verb("trial: promote the challenger", lambda r, m: r.promote(m, 2), on_trial, _done("already_live")),
]
SWEEP = [
    Verb("sweep: bytes and parts", sweep, left_over),
    Verb("sweep: after one that died", sweep, half_swept),
]
RELEASE = [
    Verb(
        "release: pass an alarm, with an operation",
        lambda r, m: r.override_release(m, ["ErrorRate"], reason="the fix", operation="fix-1"),
        versions(1, 1),
    ),
]
VERBS = [*PUBLISH, *PROMOTE, *ROLLBACK, *TRIAL, *SWEEP, *RELEASE]
