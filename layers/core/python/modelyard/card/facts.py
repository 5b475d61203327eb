"""First stage: everything that the registry knows about one version, read with a bounded number of calls."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from modelyard.deployment import Deployment, LedgerEntry
from modelyard.registry import ModelRecord, Notes, Registry
from modelyard.version import TrainingObject, Version

SHOWN_VERSIONS = 12
"""How many of the newest versions the picture shows."""
LEDGER_PAGE = 200
MOST_LEDGER_PAGES = 10
"""The ledger is read back to the version's registration, and no further than this."""


class Interval(msgspec.Struct, frozen=True):
    """Where an improvement lies; None for what is no number."""

    low: float | None
    high: float | None
    level: float = 0.95


class Rows(msgspec.Struct, frozen=True):
    """Where the rows of the training files went."""

    read: int
    duplicates: int
    training: int
    evaluation: int


class Tried(msgspec.Struct, frozen=True):
    """A line of the leaderboard, as far as a card tells of it."""

    candidate: str


class Trained(msgspec.Struct, frozen=True):
    """What the training step wrote down."""

    candidate: str = ""
    settings: dict[str, float | int | bool | str] = {}
    rows: Rows | None = None
    objects: tuple[TrainingObject, ...] = ()
    remarks: tuple[str, ...] = ()
    leaderboard: tuple[Tried, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """The document of a run, as far as a card reads it; what is not JSON's is None there.

    Where the rows went, the files and the remarks stand beside the training; in older documents inside it, and here.
    """

    metric: str
    metrics: dict[str, dict[str, float | None] | None]
    rows: int
    champion: int | None = None
    interval: Interval | None = None
    training: Trained = Trained()
    row_counts: Rows | None = None
    files: tuple[TrainingObject, ...] = ()
    remarks: tuple[str, ...] = ()

    def score(self, side: Literal["challenger", "champion", "baseline"], metric: str) -> float | None:
        """A metric of one of the three that were measured on the same rows."""
        return (self.metrics.get(side) or {}).get(metric)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a card is made of.

    Attributes:
        model: The model's record.
        version: The version that the card is about.
        before: The champion that it was compared with, or else the version before it.
        recent: The newest versions and, with them, this one and the champion; by number.
        report: Its evaluation report.
        report_problem: Why there is no report although the version names one.
        deployment: What is live at the moment.
        entries: The ledger's lines about the version, oldest first.
        entries_complete: Whether those are all; a ledger may have grown too long since to be read for a card.
        accepted: When each training file was accepted, by its SHA-256.
        notes: The owner's notes.
        at: The time of which all this is true.
    """

    model: ModelRecord
    version: Version
    before: Version | None
    recent: tuple[Version, ...]
    report: Report | None
    report_problem: Literal["", "gone", "unreadable"]
    deployment: Deployment | None
    entries: tuple[LedgerEntry, ...]
    entries_complete: bool
    accepted: dict[str, str]
    notes: Notes | None
    at: str


def gather(registry: Registry, version: Version, *, at: str) -> Facts:
    """Read what a card needs.

    Args:
        registry: Where the version is.
        version: What the card is about.
        at: The present time, as a stamp.
    """
    name, number = version.manifest.model, version.number
    deployment = registry.deployment(name)
    known = {found.number: found for found in registry.versions(name, limit=SHOWN_VERSIONS).items}
    known[number] = version
    if deployment is not None and deployment.champion not in known:
        known[deployment.champion] = registry.version(name, deployment.champion)
    earlier = version.manifest.lineage.parent_version or number - 1
    before = known.get(earlier) or (registry.version(name, earlier) if earlier else None)
    entries, complete = _entries(registry, version)
    report, problem = read_report(registry, version)
    return Facts(
        model=registry.model(name),
        version=version,
        before=before,
        recent=tuple(known[found] for found in sorted(known)),
        report=report,
        report_problem=problem,
        deployment=deployment,
        entries=entries,
        entries_complete=complete,
        accepted=_accepted(registry, version),
        notes=registry.notes(name),
        at=at,
    )


def read_report(registry: Registry, version: Version) -> tuple[Report | None, Literal["", "gone", "unreadable"]]:
    """The evaluation report of a version, or why there is none although the version names one."""
    key = version.manifest.evaluation
    if key is None:
        return None, ""
    found = registry.artifacts.get(key)
    if found is None:
        return None, "gone"
    try:
        report = msgspec.json.decode(found.body, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a report of another release, or of another tool
        return None, "unreadable"
    trained = report.training
    trained = msgspec.structs.replace(
        trained,
        rows=report.row_counts or trained.rows,
        objects=report.files or trained.objects,
        remarks=(*report.remarks, *trained.remarks),
    )
    return msgspec.structs.replace(report, training=trained), ""


def _accepted(registry: Registry, version: Version) -> dict[str, str]:
    if not version.manifest.lineage.objects:
        return {}
    files = registry.dataset_files(version.manifest.model, until=version.created_at)
    return {file.sha256: file.at for file in files}


def _entries(registry: Registry, version: Version) -> tuple[tuple[LedgerEntry, ...], bool]:
    """The ledger's lines about a version, oldest first, and whether all of the ledger since then was read."""
    found: list[LedgerEntry] = []
    complete = False
    for entry in _ledger(registry, version.manifest.model):
        if entry is None or entry.at < version.created_at:
            complete = True
            break
        if _is_about(entry, version.number):
            found.append(entry)
    return tuple(reversed(found)), complete


def _ledger(registry: Registry, model: str) -> Iterator[LedgerEntry | None]:
    """Lines, newest first; None after the last, nothing after the last that a card reads."""
    start = None
    for _ in range(MOST_LEDGER_PAGES):
        page = registry.history(model, limit=LEDGER_PAGE, start=start)
        yield from page.items
        start = page.next
        if start is None:
            yield None
            return


def _is_about(entry: LedgerEntry, number: int) -> bool:
    left = entry.previous == number and entry.kind in {"promoted", "rolled_back"}
    beside = entry.kind == "split_started" and str(number) in (entry.details.get("shares") or {})
    return entry.version == number or left or beside
