"""What the registry stores beside versions and deployments: models, runs, training files."""

from typing import Any, Literal

import msgspec

from modelyard.version import Task, Version

Status = Literal[
    "running", "duplicate", "superseded", "collected", "merged", "skipped", "unchanged", "rejected", "failed",
    "registered", "promoted",
]  # fmt: skip

WEIGHT: dict[str, int] = {
    "running": 0,
    **dict.fromkeys(("duplicate", "superseded", "collected", "merged", "skipped", "unchanged", "rejected"), 2),
    "failed": 1,
    "registered": 3,
    "promoted": 4,
}
"""A run's status only gains weight: an event that is delivered late or twice cannot make it unfinished again, and a
failure after the promotion (of the step that tells people, say) does not hide that the version is live. A failure
weighs less than every other end: a run that is redriven ends as it ends then."""


class CatalogueLine(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a listing shows it."""

    name: str
    task: Task
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    created_at: str


class ModelRecord(CatalogueLine, frozen=True, kw_only=True):
    """A model; ``versions`` counts its versions and is the number of the newest."""

    versions: int


class Registered(msgspec.Struct, frozen=True):
    """The outcome of a registration; ``created`` is false when the same manifest was registered before."""

    version: Version
    created: bool


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry has decided about an object in the artifact bucket.

    ``named``: a version names it, for ever. ``condemned``: a sweep is deleting its version ``version_id``, or did; who
    registers the same bytes again puts them there anew first. One item for each object, so the two cannot both win.
    """

    state: Literal["named", "condemned"]
    version_id: str = ""
    at: str
    by: str


class Notes(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's owner says about it, in Markdown; ``revision`` counts the changes."""

    model: str
    text: str
    at: str
    by: str
    revision: int


class Found(CatalogueLine, frozen=True, kw_only=True):
    """A model as a search finds it: with its champion or, where nothing is live, its newest version."""

    versions: int
    version: int
    is_live: bool
    metrics: dict[str, float] = {}


class FoundVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version as a search by a metric or by a training file finds it."""

    model: str
    number: int
    author: str
    created_at: str
    value: float | None = None


class Orphan(msgspec.Struct, frozen=True, kw_only=True):
    """An object that no record names."""

    key: str
    size: int
    modified: str


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep found, and whether it deleted that.

    ``examined`` counts the objects that were old enough to be looked at, ``named`` those of them that a record names.
    """

    at: str
    by: str
    older_than_s: int
    deleted: bool
    examined: int
    named: int
    orphans: tuple[Orphan, ...] = ()
    unfinished: tuple[Orphan, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the orphans."""
        return sum(orphan.size for orphan in self.orphans)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One retraining run; ``object`` is the upload that started it, ``version`` what came of it.

    ``trigger`` is the kind of what started it, ``into`` the run that a merged run became a part of, ``report`` the key
    of its document in the artifact bucket, ``usd`` what it cost, once its turn is over.
    """

    model: str
    run_id: str
    status: Status
    reason: str = ""
    started_at: str
    ended_at: str | None = None
    object: dict[str, Any] | None = None
    version: int | None = None
    trigger: str = ""
    into: str | None = None
    report: str | None = None
    usd: float | None = None


class DatasetFile(msgspec.Struct, frozen=True, kw_only=True):
    """A training file that was accepted, as the exact object version that was read."""

    model: str
    at: str
    bucket: str
    key: str
    version_id: str
    sha256: str
    rows: int
    size: int
    run_id: str


class FrozenSet(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen evaluation set: rows that no version trains on, as a CSV file in the artifact bucket.

    ``rule`` says in words how they were chosen, ``reason`` why there is another set than before.
    """

    model: str
    number: int
    key: str
    sha256: str
    rows: int
    rule: str
    at: str
    by: str
    run_id: str
    reason: str = ""


class RefreshRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody asked for another evaluation set than number ``replaces``."""

    model: str
    replaces: int
    at: str
    by: str
    reason: str


class Learnt(msgspec.Struct, frozen=True, kw_only=True):
    """What a training came to: asked again with the same rows, plan and champion, it would come to the same.

    ``champion`` is the version that it was compared with, ``version`` the one that it became.
    """

    digest: str
    run_id: str
    status: Status
    reason: str
    at: str
    champion: int | None = None
    version: int | None = None
