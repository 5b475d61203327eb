"""What was captured, read: the requests that are asked again, in the order of time, and the labels that came for them.

The rule: which requests are taken depends on their ids and on nothing that they say, so the same captures give the same
requests, and what holds for them holds for all. What cannot be read is counted under what is wrong with it.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import msgspec

from modelyard.labels import Label
from modelyard.replay.period import Period
from modelyard.replay.sources import Source
from modelyard.rollout.observed import point

S = TypeVar("S", bound=msgspec.Struct)
MOST_FILES = 1_000
"""Files of requests that are read; of more, those whose names hash lowest."""
MOST_LABEL_FILES = 5_000
MOST_ROWS = 50_000
MOST_BYTES = 256 << 20
"""Of the requests that are kept."""
READERS = 8
"""Files that are read at a time: a GET is mostly waiting."""


class Record(msgspec.Struct, frozen=True):
    """A captured request.

    Attributes:
        time: When it was answered.
        prediction_id: As the caller got it; labels name it.
        request_id: As in the audit line.
        version: That answered.
        instances: The text of the list.
        rows: How many there are.
        predictions: The text of what was answered.
        redacted: Inputs whose values were not kept.
    """

    time: str
    prediction_id: str
    request_id: str
    version: int
    instances: bytes
    rows: int
    predictions: bytes
    redacted: tuple[str, ...]

    @property
    def body(self) -> bytes:
        """The request, as a caller sends it."""
        return b'{"instances":' + self.instances + b"}"


@dataclass(slots=True)
class Captured:
    """What was read.

    Attributes:
        records: The requests that are asked again, in the order of time.
        labels: Lines of JSON about them.
        files: How many were read.
        files_left: How many were not, because there were too many.
        vanished: How many were gone when they were to be read.
        requests: Requests of the period that were in them.
        rows: Rows of `records`.
        versions: How many of `records` each version answered.
        bad: Lines that could not be used, by what was wrong with them.
    """

    records: list[Record] = field(default_factory=list)
    labels: list[bytes] = field(default_factory=list)
    files: int = 0
    files_left: int = 0
    vanished: int = 0
    requests: int = 0
    rows: int = 0
    versions: dict[int, int] = field(default_factory=dict)
    bad: Counter[str] = field(default_factory=Counter)


class _Line(msgspec.Struct):
    time: str
    prediction_id: str
    version: int
    instances: list[msgspec.Raw]
    model: str = ""
    request_id: str = ""
    predictions: msgspec.Raw = msgspec.Raw(b"null")
    redacted: tuple[str, ...] = ()


def read_captured(
    source: Source, *, model: str, period: Period, limit: int, doing: Callable[[str], None] = lambda _: None
) -> Captured:
    """Read what a source has.

    Args:
        source: Bucket or folder.
        model: Records of others are left out.
        period: When the requests came.
        limit: Most requests; of more, those whose ids hash lowest.
        doing: Told what is read now.
    """
    found = Captured()
    chosen = _Chosen(limit)
    beside: list[bytes] = []  # of a folder that holds both in one file
    for text in _lines(source, source.captures(), MOST_FILES, found, doing):
        line = _decoded(text, _Line)
        if line is None:
            beside.append(text)
        elif _is_meant(line, model, period, found):
            chosen.add(_record(line), found)
    found.records = chosen.records
    found.rows = sum(record.rows for record in found.records)
    found.versions = dict(sorted(Counter(record.version for record in found.records).items()))
    wanted = {record.prediction_id for record in found.records}
    for text in chain(beside, _lines(source, source.labels(), MOST_LABEL_FILES, found, doing)):
        label = _decoded(text, Label)
        if label is None:
            found.bad["an unreadable line"] += 1
        elif label.prediction_id in wanted:
            found.labels.append(text)
    return found


def _lines(
    source: Source, names: list[str], most: int, found: Captured, doing: Callable[[str], None]
) -> Iterator[bytes]:
    names = sorted(names)
    read = sorted(heapq.nsmallest(most, names, key=point))
    found.files_left += len(names) - len(read)
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(read), 4 * READERS):  # a few at a time: nobody holds a thousand files in memory
            doing(f"file {start + 1:,} of {len(read):,}")
            for content in readers.map(source.read, read[start : start + 4 * READERS]):
                if content is None:
                    found.vanished += 1
                    continue
                found.files += 1
                yield from (line for line in content.split(b"\n") if line.strip())


def _decoded(text: bytes, kind: type[S]) -> S | None:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _is_meant(line: _Line, model: str, period: Period, found: Captured) -> bool:
    if line.model not in ("", model):
        found.bad["of another model"] += 1
        return False
    if not period.holds(line.time):
        return False
    if not line.instances or not line.prediction_id:
        found.bad["a request without instances or id"] += 1
        return False
    found.requests += 1
    return True


def _record(line: _Line) -> Record:
    return Record(
        time=line.time,
        prediction_id=line.prediction_id,
        request_id=line.request_id,
        version=line.version,
        instances=b"[" + b",".join(bytes(instance) for instance in line.instances) + b"]",
        rows=len(line.instances),
        predictions=bytes(line.predictions),
        redacted=line.redacted,
    )


class _Chosen:
    """The requests whose ids hash lowest, within all bounds."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[int, str, Record]] = []
        self._ids: set[str] = set()
        self._rows = self._bytes = 0

    def add(self, record: Record, found: Captured) -> None:
        if record.prediction_id in self._ids:
            found.bad["a request that was captured twice"] += 1
            return
        self._ids.add(record.prediction_id)
        self._count(record, 1)
        heapq.heappush(self._heap, (-point(record.prediction_id), record.prediction_id, record))
        while len(self._heap) > self._limit or (
            len(self._heap) > 1 and (self._rows > MOST_ROWS or self._bytes > MOST_BYTES)
        ):
            _, identity, gone = heapq.heappop(self._heap)
            self._ids.remove(identity)
            self._count(gone, -1)

    def _count(self, record: Record, sign: int) -> None:
        self._rows += sign * record.rows
        self._bytes += sign * (len(record.instances) + len(record.predictions))

    @property
    def records(self) -> list[Record]:
        return sorted((record for _, _, record in self._heap), key=lambda one: (one.time, one.prediction_id))
