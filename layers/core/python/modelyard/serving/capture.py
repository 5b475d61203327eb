"""`Capture`: keeps a share of the requests with their answers, as JSON Lines in the artifact bucket.

::

    captures/<model>/version=<n>/date=<yyyy-mm-dd>/hour=<hh>/<mm><ss>.<microseconds>-<id>.jsonl

A line is a record: ``{"time", "model", "version", "prediction_id", "request_id", "instances", "predictions",
"latency_ms", "mode"}`` and, while a version is on trial, ``failed``, ``shadow`` and ``process`` (docs/rollout.md). Hour
and version are those of every record in a file.

The rule: a request pays for keeping two references; encoding and writing come after the answer (`Afterwards`). What
waits is bounded in count and bytes, oldest dropped first, and each loss is an event line. A file that was not written
is tried again under the same key, so trying twice writes it once.

Which requests: those whose prediction id, which is random, lies in the lowest share of all ids. So the same request is
in or out for whoever asks, and nothing random is held in a snapshot.
"""

import os
import time
from collections import deque
from typing import Any, Protocol

import msgspec

from modelyard.errors import ModelyardError
from modelyard.serving.audit import utc, write_event

BATCH_RECORDS = 100
BATCH_BYTES = 262_144
BATCH_AGE_S = 10.0
"""A file is written at so many records, bytes, or seconds after its first record, whichever is first."""

WAITING_RECORDS = 256
"""Most records that wait to be encoded; on Lambda there is one, for the worker comes after each answer."""

WAITING_BYTES = 4_194_304
"""Most bytes that wait for S3, should it not take them; one record more drops the oldest."""

RETRY_S = 5.0
"""Between two attempts to write."""

_BLANKS = bytes.maketrans(b"\r\n", b"  ")

SHARES = 16**8  # of the first 8 hexadecimal digits of a prediction id


class ObjectSink(Protocol):
    """Where files go: `modelyard.aws.objects.Objects`, or a fake."""

    def put(self, key: str, content: bytes) -> object:
        """Write an object, over one of the same key."""
        ...


class _Batch:
    """The lines of a file to be: records of one version and one hour."""

    __slots__ = ("failed", "first", "key", "lines", "prefix", "size")

    def __init__(self, prefix: str, first: int) -> None:
        self.prefix = prefix
        self.first = first  # when its first record came, in nanoseconds since the epoch
        self.lines: deque[bytes] = deque()
        self.size = 0
        self.key: str | None = None  # of the file that is being written, kept when that fails
        self.failed: float | None = None  # when, by time.monotonic

    def add(self, line: bytes) -> None:
        self.lines.append(line)
        self.size += len(line)

    def drop(self) -> None:
        self.size -= len(self.lines.popleft())

    def is_full(self, age_s: float) -> bool:
        if self.failed is not None:
            return time.monotonic() - self.failed >= RETRY_S
        return (
            len(self.lines) >= BATCH_RECORDS or self.size >= BATCH_BYTES or time.time_ns() - self.first >= age_s * 1e9
        )


class Capture:
    """A duty of `Afterwards`. `keep` may be called from several threads at once.

    Args:
        objects: The artifact bucket.
        model: Name of the model.
        share: Of the requests, from 0 to 1.
        redact: Inputs whose values are kept as null.
    """

    __slots__ = ("_age_s", "_batches", "_dropped", "_model", "_objects", "_redact", "_waiting", "share")

    def __init__(
        self,
        objects: ObjectSink,
        *,
        model: str,
        share: float,
        age_s: float = BATCH_AGE_S,
        redact: frozenset[str] = frozenset(),
    ) -> None:
        self._objects = objects
        self._model = model
        self.share = share
        self._age_s = age_s
        self._redact = redact
        self._waiting: deque[tuple[Any, ...]] = deque(maxlen=WAITING_RECORDS)
        self._batches: dict[str, _Batch] = {}  # only the worker comes here
        self._dropped = 0

    def takes(self, prediction_id: str, share: float | None = None) -> bool:
        """Whether the request with this id is one to keep, of its own share or of another one."""
        return int(prediction_id[:8], 16) < int((self.share if share is None else share) * SHARES)

    def keep(
        self,
        *,
        version: int,
        prediction_id: str,
        request_id: str,
        instances: Any,
        predictions: Any,
        latency_ms: float,
        mode: str = "live",
        came: int | None = None,
        **more: Any,
    ) -> None:
        """Keep one request; of what it refers to, nothing may be changed afterwards.

        Args:
            version: That answered.
            prediction_id: As the caller got it.
            request_id: As in the audit line.
            instances: What was asked: anything msgspec encodes, the text of it as `msgspec.Raw`, or what makes it.
            predictions: What was answered, likewise.
            latency_ms: The engine's time for all rows.
            mode: ``live``, ``shadow`` or ``canary``.
            came: When it was answered, in nanoseconds since the epoch; now.
            more: Further parts of the record, or what makes them; None is left out.
        """
        waiting = self._waiting
        if len(waiting) == waiting.maxlen:
            self._dropped += 1
        came = time.time_ns() if came is None else came
        waiting.append((came, version, prediction_id, request_id, instances, predictions, latency_ms, mode, more))

    # -- a duty -------------------------------------------------------------------------------------------------------

    def due(self) -> bool:
        """Whether there is a record to encode, or a file to write."""
        return bool(self._waiting) or any(batch.is_full(self._age_s) for batch in list(self._batches.values()))

    def run(self) -> None:
        """Encode what waits, and write the files for which it is time.

        Raises:
            ModelyardError: When S3 does not take one; it is kept, and tried again after `RETRY_S`.
        """
        self._encode()
        self._write([batch for batch in self._batches.values() if batch.is_full(self._age_s)])

    def finish(self) -> None:
        """Write everything now.

        Raises:
            ModelyardError: When S3 does not take it.
        """
        self._encode()
        self._write(list(self._batches.values()))

    # -- inside; only the worker comes here ---------------------------------------------------------------------------

    def _encode(self) -> None:
        while self._waiting:
            record = self._waiting.popleft()
            try:
                line = self._line(record)
            except Exception as error:  # noqa: BLE001 - one record that is not JSON may not take the others with it
                write_event("capture_not_encoded", level="warning", prediction_id=record[2], message=ascii(error)[:300])
                continue
            self._batch_of(record[1], record[0]).add(line)
            self._drop_what_is_too_much()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            write_event("capture_dropped", level="warning", model=self._model, dropped=dropped)

    def _batch_of(self, version: int, came: int) -> _Batch:
        prefix = capture_prefix(self._model, version, came)
        batch = self._batches.get(prefix)
        if batch is None:
            batch = self._batches[prefix] = _Batch(prefix, came)
        return batch

    def _drop_what_is_too_much(self) -> None:
        batches = self._batches
        while sum(batch.size for batch in batches.values()) > WAITING_BYTES:
            if sum(len(batch.lines) for batch in batches.values()) == 1:
                return  # larger than all room, and kept alone
            oldest = min(batches.values(), key=lambda batch: batch.first)
            oldest.drop()
            self._dropped += 1
            if not oldest.lines:
                del batches[oldest.prefix]

    def _line(self, record: tuple[Any, ...]) -> bytes:
        came, version, prediction_id, request_id, instances, predictions, latency_ms, mode, more = record
        if callable(instances):
            instances = instances()
        if self._redact:
            instances = redacted(instances, self._redact)
            more = {**more, "redacted": sorted(self._redact)}
        line = msgspec.json.encode(
            {
                "time": utc(came),
                "model": self._model,
                "version": version,
                "prediction_id": prediction_id,
                "request_id": request_id,
                "instances": instances,
                "predictions": predictions() if callable(predictions) else predictions,
                "latency_ms": round(latency_ms, 3),
                "mode": mode,
                **{name: part() if callable(part) else part for name, part in more.items() if part is not None},
            }
        )
        if b"\n" in line or b"\r" in line:  # in the text of a request, between values: JSON escapes those within
            line = line.translate(_BLANKS)
        return line + b"\n"

    def _write(self, batches: list[_Batch]) -> None:
        failure: ModelyardError | None = None
        for batch in batches:
            try:
                self._write_one(batch)
            except ModelyardError as error:  # the others are tried all the same
                failure = error
        if failure is not None:
            raise failure

    def _write_one(self, batch: _Batch) -> None:
        if batch.key is None:
            batch.key = capture_key(batch.prefix, batch.first)
        try:
            self._objects.put(batch.key, b"".join(batch.lines))
        except ModelyardError:
            batch.failed = time.monotonic()
            raise
        del self._batches[batch.prefix]


def redacted(instances: Any, names: frozenset[str]) -> Any:
    """Instances with null for the values of some inputs; an instance that names no inputs is null as a whole."""
    plain = msgspec.json.decode(instances) if isinstance(instances, msgspec.Raw) else msgspec.to_builtins(instances)
    return [
        {name: None if name in names else value for name, value in instance.items()}
        if isinstance(instance, dict)
        else None
        for instance in plain
    ]


def capture_prefix(model: str, version: int, came: int) -> str:
    """Where records of a version lie that came at ``came``, in nanoseconds since the epoch."""
    return hour_prefix(f"captures/{model}/version={version}/", came)


def hour_prefix(prefix: str, came: int) -> str:
    """The folder of an hour below ``prefix``: that of ``came``, in nanoseconds since the epoch."""
    date, _, clock = utc(came).partition("T")
    return f"{prefix}date={date}/hour={clock[:2]}/"


def capture_key(prefix: str, came: int) -> str:
    """The key of a new file whose first record came at ``came``."""
    clock = utc(came).partition("T")[2]
    return f"{prefix}{clock[3:5]}{clock[6:-1]}-{os.urandom(8).hex()}.jsonl"
