"""What the registry stores beside versions and deployments: models, runs, training files."""

from typing import Any, Literal

import msgspec

from modelyard.version import Task, Version

Status = Literal["running", "duplicate", "rejected", "failed", "registered", "promoted"]

WEIGHT: dict[str, int] = {"running": 0, "duplicate": 1, "rejected": 1, "failed": 1, "registered": 2, "promoted": 3}
"""A run's status only gains weight: an event that is delivered late or twice cannot make it unfinished again, and a
failure after the promotion (of the step that tells people, say) does not hide that the version is live."""


class CatalogueLine(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a listing shows it."""

    name: str
    task: Task
    description: str = ""
    owner: str = ""
    created_at: str


class ModelRecord(CatalogueLine, frozen=True, kw_only=True):
    """A model; ``versions`` counts its versions and is the number of the newest."""

    versions: int


class Registered(msgspec.Struct, frozen=True):
    """The outcome of a registration; ``created`` is false when the same manifest was registered before."""

    version: Version
    created: bool


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One retraining run; ``object`` is the upload that started it, ``version`` what came of it."""

    model: str
    run_id: str
    status: Status
    reason: str = ""
    started_at: str
    ended_at: str | None = None
    object: dict[str, Any] | None = None
    version: int | None = None


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
