"""What the judge has read of the captures, kept between two looks: a cursor, and the records that it keeps.

Records and labels lie in the artifact bucket, by hour; an endpoint writes a file some seconds after the first record in
it. A look lists the hours since the look before, an hour back for files that came late, reads what it has not read,
and keeps the records in one working file, ``observed/<model>/<rollout>.json.z``, which is replaced by compare-and-set.
A look that dies before that has read nothing; one that dies after it reads nothing twice.

The rule of thinning: whether a record is kept depends on its prediction id, which is random, and on how many came
before it, never on what it says; and what is kept stays. So an interval that holds at every look holds for what was
kept. Of each phase the first rows are all kept; then every further half of that room at half the rate of the half
before it. Ten million rows leave some ten times the room.
"""

import datetime as dt
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from modelyard.errors import AWSError
from modelyard.ports import ArtifactStore
from modelyard.rollout.answers import CODES
from modelyard.rollout.observations import Observations
from modelyard.rollout.record import Rollout
from modelyard.rollout.slicing import Frozen
from modelyard.times import parse_stamp, stamp

MOST_ROWS = 50_000
"""Rows that the phases of a rollout keep at full rate, together."""
MOST_OBJECTS = 500
"""Files that one look reads; of more, those whose keys hash lowest. Of labels as many, and the others at the next."""
MOST_LABELS = 200_000
"""That are kept; of more, those of kept records, and then the newest."""
LATE = dt.timedelta(hours=1)
"""How late a file may come and still be read."""
HOUR = dt.timedelta(hours=1)
GIVEN_UP = frozenset({"not_loaded", "no_room", "time_budget", "memory_budget"})
"""What an endpoint says once when it gives a challenger up."""


class Label(msgspec.Struct, frozen=True, array_like=True):
    """What was true of one row."""

    time: str
    prediction_id: str
    row: int
    label: bool | int | float | str


class Given(msgspec.Struct, frozen=True):
    """An endpoint gave the challenger up."""

    cause: str
    message: str


class Observed(msgspec.Struct, kw_only=True):
    """The working file.

    Attributes:
        attempt: Of the rollout; another one begins anew.
        until: Up to when hours were listed.
        known: Files that were read, by their hour, as far back as hours are listed again.
        records: The kept records, as they were captured.
        rows: Kept rows of each phase.
        requests: Requests of each phase that the challenger was asked, kept or not.
        skipped: Files that no look read, because there were too many.
        unreadable: Lines that are no record.
        labels: The newest label of each row.
        frozen: What the first verdict froze.
        given: That an endpoint gave the challenger up; the first that said so.
    """

    attempt: int
    until: str = ""
    known: dict[str, list[str]] = {}
    records: list[msgspec.Raw] = []
    rows: dict[str, int] = {}
    requests: dict[str, int] = {}
    skipped: int = 0
    unreadable: int = 0
    labels: list[Label] = []
    frozen: Frozen | None = None
    given: Given | None = None


class _Line(msgspec.Struct):
    """As much of a captured record as is needed to keep it or not."""

    time: str
    prediction_id: str
    version: int
    instances: list[msgspec.Raw] = []
    shadow: dict[str, Any] | None = None
    failed: dict[str, Any] | None = None


class _Answer(msgspec.Struct):
    """A label as it is captured; see ``docs/rollout.md``."""

    prediction_id: str
    label: bool | int | float | str
    time: str = ""
    row: int = 0


def observe(artifacts: ArtifactStore, rollout: Rollout, now: dt.datetime) -> tuple[Observed, str | None]:
    """Read what has come since the last look; with the tag of the working file that `keep` is to replace."""
    found, etag = _read(artifacts, working_key(rollout), rollout)
    new: dict[str, list[str]] = {}
    for hour in _hours(rollout, found, now):
        known = set(found.known.get(hour, ()))
        new[hour] = [line.key for line in artifacts.listing(hour) if _name(line.key) not in known]
    captures = [name for hour, names in new.items() if hour.startswith("captures/") for name in names]
    labels = sorted(name for hour, names in new.items() if hour.startswith("feedback/") for name in names)
    left = frozenset(labels[MOST_OBJECTS:])
    chosen = sorted(captures, key=point)[:MOST_OBJECTS]
    found.skipped += len(captures) - len(chosen)
    for name in sorted(chosen, key=lambda key: (key.partition("/date=")[2], key)):
        _take(found, rollout, _lines(artifacts, name))
    _label(found, labels[:MOST_OBJECTS], artifacts)
    read = {hour: [_name(name) for name in names if name not in left] for hour, names in new.items()}
    found.known = {hour: [*found.known.get(hour, ()), *names] for hour, names in read.items()}
    if not left:
        found.until = stamp(now)
    return found, etag


def observations(rollout: Rollout, observed: Observed) -> Observations:
    """What was kept, as the verdict takes it."""
    of_classes = rollout.plan is not None and rollout.plan.policy.of_classes
    made = Observations(champion=rollout.champion, challenger=rollout.version, of_classes=of_classes)
    made.add(bytes(record) for record in observed.records)
    return made.add_labels(msgspec.structs.asdict(label) for label in observed.labels)


def working_key(rollout: Rollout) -> str:
    """Where the working file of a rollout lies."""
    return f"observed/{rollout.model}/{rollout.rollout_id}.json.z"


def keep(artifacts: ArtifactStore, rollout: Rollout, observed: Observed, etag: str | None) -> None:
    """Replace the working file.

    Raises:
        AWSError: With code ``contended`` when another look of the same rollout was first; try again.
    """
    key, body = working_key(rollout), zlib.compress(msgspec.json.encode(observed), 1)
    kind = "application/octet-stream"
    if etag is None:
        written = artifacts.put_if_absent(key, body, content_type=kind)
    else:
        written = artifacts.put_if_match(key, body, etag=etag, content_type=kind)
    if not written:
        raise AWSError(
            f"{key} was written by another look of the same rollout",
            code="contended",
            next_step="Try again; repeating it is safe.",
        )


def _read(artifacts: ArtifactStore, key: str, rollout: Rollout) -> tuple[Observed, str | None]:
    there = artifacts.get(key)
    if there is None:
        return Observed(attempt=rollout.attempt), None
    try:
        found = msgspec.json.decode(zlib.decompress(there.body), type=Observed)
    except (zlib.error, msgspec.DecodeError):
        return Observed(attempt=rollout.attempt), there.etag  # damaged, so all is read again
    return (found if found.attempt == rollout.attempt else Observed(attempt=rollout.attempt)), there.etag


def _hours(rollout: Rollout, observed: Observed, now: dt.datetime) -> Iterator[str]:
    """The prefixes of all hours since the last look."""
    start = parse_stamp(rollout.started_at)
    if observed.until:
        start = parse_stamp(observed.until) - LATE
    hour = start.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
    while hour <= now:
        place = f"date={hour:%Y-%m-%d}/hour={hour:%H}/"
        for version in (rollout.champion, rollout.version):
            yield f"captures/{rollout.model}/version={version}/{place}"
        yield f"feedback/{rollout.model}/{place}"
        hour += HOUR


def _name(key: str) -> str:
    return key.rsplit("/", 1)[-1]


def point(text: str) -> int:
    """A number of 64 bits that says nothing of the text: of many, those with the lowest are a fair choice."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _lines(artifacts: ArtifactStore, key: str) -> list[bytes]:
    there = artifacts.get(key)
    return [] if there is None else [line for line in there.body.split(b"\n") if line.strip()]


def _take(observed: Observed, rollout: Rollout, lines: Iterable[bytes]) -> None:
    phase = str(rollout.phase)
    for text in lines:
        try:
            line = msgspec.json.decode(text, type=_Line)
        except (msgspec.DecodeError, RecursionError):
            observed.unreadable += 1
            continue
        if line.time < rollout.started_at:
            continue  # from before the rollout: the same hour holds it
        for part in (line.shadow, line.failed):
            if observed.given is None and part is not None and part.get("version") == rollout.version:
                observed.given = _given(part)
        if line.version not in (rollout.champion, rollout.version):
            continue
        asked = line.version == rollout.version or line.shadow is not None or line.failed is not None
        observed.requests[phase] = observed.requests.get(phase, 0) + int(asked)
        halvings = _halvings(rollout, observed.rows.get(phase, 0))
        if point(line.prediction_id) >> (64 - halvings) == 0:
            observed.rows[phase] = observed.rows.get(phase, 0) + max(1, len(line.instances))
            observed.records.append(msgspec.Raw(text))


def _given(part: Mapping[str, Any]) -> Given | None:
    code = part.get("code")
    return Given(CODES[code], str(part.get("message") or "")[:300]) if code in GIVEN_UP else None


def _halvings(rollout: Rollout, rows: int) -> int:
    """How often the share of records that is kept has been halved, by the rows kept in this phase."""
    least = 0 if rollout.plan is None else 2 * rollout.plan.policy.min_samples
    room = max(least, MOST_ROWS // max(1, len(rollout.phases)))
    return 0 if rows < room else min(60, 1 + (rows - room) // max(1, room // 2))


def _label(observed: Observed, names: Iterable[str], artifacts: ArtifactStore) -> None:
    newest = {(label.prediction_id, label.row): label for label in observed.labels}
    for name in names:
        for text in _lines(artifacts, name):
            try:
                found = msgspec.json.decode(text, type=_Answer)
            except (msgspec.DecodeError, RecursionError):
                observed.unreadable += 1
                continue
            old = newest.get((found.prediction_id, found.row))
            if old is None or old.time < found.time:
                newest[found.prediction_id, found.row] = Label(found.time, found.prediction_id, found.row, found.label)
        if len(newest) > 2 * MOST_LABELS:
            newest = _most_useful(newest, observed)
    observed.labels = list(_most_useful(newest, observed).values())


def _most_useful(labels: dict[tuple[str, int], Label], observed: Observed) -> dict[tuple[str, int], Label]:
    """As many as are kept: labels of predictions from before the rollout may not push out those of its own."""
    if len(labels) <= MOST_LABELS:
        return labels
    kept = {msgspec.json.decode(record, type=_Line).prediction_id for record in observed.records}
    order = sorted(labels.values(), key=lambda label: (label.prediction_id in kept, label.time), reverse=True)
    return {(label.prediction_id, label.row): label for label in order[:MOST_LABELS]}
