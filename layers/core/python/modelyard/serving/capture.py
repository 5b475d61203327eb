"""`Capture`: keeps a share of the requests with their answers, as JSON Lines in the artifact bucket.

::

    captures/<model>/<yyyy>/<mm>/<dd>/<hhmmss>.<microseconds>-<id>.jsonl

A line is ``{"time", "model", "version", "prediction_id", "request_id", "instances", "predictions", "latency_ms"}``. The
day is that of the first record in a file.

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

WAITING_RECORDS = 64
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


class Capture:
    """A duty of `Afterwards`. `keep` may be called from several threads at once.

    Args:
        objects: The artifact bucket.
        model: Name of the model.
        share: Of the requests, from 0 to 1.
    """

    __slots__ = (
        "_age_s",
        "_below",
        "_dropped",
        "_failed",
        "_first",
        "_key",
        "_lines",
        "_model",
        "_objects",
        "_size",
        "_waiting",
    )

    def __init__(self, objects: ObjectSink, *, model: str, share: float, age_s: float = BATCH_AGE_S) -> None:
        self._objects = objects
        self._model = model
        self._below = int(share * SHARES)
        self._age_s = age_s
        self._waiting: deque[tuple[Any, ...]] = deque(maxlen=WAITING_RECORDS)
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._first = 0  # when the oldest record came, in nanoseconds since the epoch
        self._key: str | None = None  # of the file that is being written, kept when that fails
        self._failed: float | None = None  # when, by time.monotonic
        self._dropped = 0

    def takes(self, prediction_id: str) -> bool:
        """Whether the request with this id is one to keep."""
        return int(prediction_id[:8], 16) < self._below

    def keep(
        self,
        *,
        version: int,
        prediction_id: str,
        request_id: str,
        instances: Any,
        predictions: Any,
        latency_ms: float,
    ) -> None:
        """Keep one request; of what it refers to, nothing may be changed afterwards.

        Args:
            version: That answered.
            prediction_id: As the caller got it.
            request_id: As in the audit line.
            instances: What was asked: anything msgspec encodes, or the text of it as `msgspec.Raw`.
            predictions: What was answered, likewise.
            latency_ms: From event to response.
        """
        waiting = self._waiting
        if len(waiting) == waiting.maxlen:
            self._dropped += 1
        waiting.append((time.time_ns(), version, prediction_id, request_id, instances, predictions, latency_ms))

    # -- a duty -------------------------------------------------------------------------------------------------------

    def due(self) -> bool:
        """Whether there is a record to encode, or a file to write."""
        return bool(self._waiting) or self._full()

    def run(self) -> None:
        """Encode what waits, and write a file when it is time.

        Raises:
            ModelyardError: When S3 does not take it; it is kept, and tried again after `RETRY_S`.
        """
        self._encode()
        if self._full():
            self._write()

    def finish(self) -> None:
        """Write everything now.

        Raises:
            ModelyardError: When S3 does not take it.
        """
        self._encode()
        if self._lines:
            self._write()

    # -- inside; only the worker comes here ---------------------------------------------------------------------------

    def _full(self) -> bool:
        if not self._lines:
            return False
        if self._failed is not None:
            return time.monotonic() - self._failed >= RETRY_S
        return (
            len(self._lines) >= BATCH_RECORDS
            or self._size >= BATCH_BYTES
            or time.time_ns() - self._first >= self._age_s * 1e9
        )

    def _encode(self) -> None:
        while self._waiting:
            record = self._waiting.popleft()
            try:
                line = self._line(record)
            except Exception as error:  # noqa: BLE001 - one record that is not JSON may not take the others with it
                write_event("capture_not_encoded", level="warning", prediction_id=record[2], message=ascii(error)[:300])
                continue
            if not self._lines:
                self._first = record[0]
            self._lines.append(line)
            self._size += len(line)
            while self._size > WAITING_BYTES and len(self._lines) > 1:
                self._size -= len(self._lines.popleft())
                self._dropped += 1
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            write_event("capture_dropped", level="warning", model=self._model, dropped=dropped)

    def _line(self, record: tuple[Any, ...]) -> bytes:
        came, version, prediction_id, request_id, instances, predictions, latency_ms = record
        line = msgspec.json.encode(
            {
                "time": utc(came),
                "model": self._model,
                "version": version,
                "prediction_id": prediction_id,
                "request_id": request_id,
                "instances": instances,
                "predictions": predictions,
                "latency_ms": round(latency_ms, 3),
            }
        )
        if b"\n" in line or b"\r" in line:  # in the text of a request, between values: JSON escapes those within
            line = line.translate(_BLANKS)
        return line + b"\n"

    def _write(self) -> None:
        if self._key is None:
            self._key = capture_key(self._model, self._first)
        lines = len(self._lines)
        try:
            self._objects.put(self._key, b"".join(self._lines))
        except ModelyardError:
            self._failed = time.monotonic()
            raise
        for _ in range(lines):
            self._lines.popleft()
        self._size = sum(map(len, self._lines))
        self._key = self._failed = None


def capture_key(model: str, came: int) -> str:
    """The key of a new file whose first record came at ``came``, in nanoseconds since the epoch."""
    date, _, clock = utc(came).partition("T")
    return f"captures/{model}/{date.replace('-', '/')}/{clock.replace(':', '')[:-1]}-{os.urandom(8).hex()}.jsonl"
