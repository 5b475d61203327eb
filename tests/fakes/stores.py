"""The registry's two ports in memory, with the conditions and the number rules of the real ones, safe under threads."""

import dataclasses
import datetime as dt
import decimal
import hashlib
import threading
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from modelyard.aws.attributes import from_attributes, to_attributes
from modelyard.errors import AWSError
from modelyard.ports import (
    MOST_READS,
    MOST_WRITES,
    ConditionFailedError,
    Delete,
    Item,
    ObjectFacts,
    ObjectLine,
    Page,
    Put,
    StoredObject,
    UnfinishedUpload,
    Write,
    no_progress,
    parts_sha256,
)


class InMemoryRecordStore:
    """A ``RecordStore``: items are kept as DynamoDB keeps them, so what comes back is what DynamoDB would give."""

    def __init__(self) -> None:
        self._items: dict[str, dict[str, dict[str, Any]]] = {}
        self._order: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    def get(self, pk: str, sk: str) -> Item | None:
        with self._lock:
            found = self._items.get(pk, {}).get(sk)
        return None if found is None else from_attributes(found)

    def get_many(self, addresses: Sequence[tuple[str, str]]) -> tuple[Item | None, ...]:
        if len(set(addresses)) != len(addresses) or not 1 <= len(addresses) <= MOST_READS:
            raise AWSError("a transaction reads each item once, and 1 to 100")
        with self._lock:
            found = [self._items.get(pk, {}).get(sk) for pk, sk in addresses]
        return tuple(None if item is None else from_attributes(item) for item in found)

    def query(
        self,
        pk: str,
        *,
        prefix: str,
        since: str | None = None,
        until: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        start: str | None = None,
    ) -> Page[Item]:
        with self._lock:
            found = [
                sk
                for sk in self._order.get(pk, [])
                if sk.startswith(prefix) and (since is None or sk >= since) and (until is None or sk <= until)
            ]
            if reverse:
                found.reverse()
            if start is not None:
                found = [sk for sk in found if (sk < start if reverse else sk > start)]
            chosen = found if limit is None else found[:limit]
            items = tuple(from_attributes(self._items[pk][sk]) for sk in chosen)
        return Page(items, chosen[-1] if len(chosen) < len(found) else None)

    def put(self, put: Put) -> None:
        self.transact([put])

    def transact(self, writes: Sequence[Write]) -> None:
        addresses = [(w.pk, w.sk) if isinstance(w, Delete) else (w.item["pk"], w.item["sk"]) for w in writes]
        if len(set(addresses)) != len(writes) or len(writes) > MOST_WRITES:
            raise AWSError("a transaction names each item once, and at most 100")
        encoded = [None if isinstance(w, Delete) else _as_kept(to_attributes(w.item)) for w in writes]
        with self._lock:
            failed = [place for place, w in enumerate(writes) if isinstance(w, Put) and not self._expected(w)]
            if failed:
                raise ConditionFailedError(failed)
            for (pk, sk), item in zip(addresses, encoded, strict=True):
                if item is None:
                    if self._items.get(pk, {}).pop(sk, None) is not None:
                        self._order[pk].remove(sk)
                    continue
                if sk not in self._items.setdefault(pk, {}):
                    insort(self._order.setdefault(pk, []), sk)
                self._items[pk][sk] = item

    def _expected(self, put: Put) -> bool:
        there = self._items.get(put.item["pk"], {}).get(put.item["sk"])
        if put.absent:
            return there is None
        if put.equals:
            return there is not None and all(from_attributes(there).get(k) == v for k, v in put.equals.items())
        return True


class InMemoryArtifactStore:
    """An ``ArtifactStore`` in a bucket with versions; ``clock`` says when objects were written."""

    def __init__(
        self, *, clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC), part_bytes: int = 8 * 1024 * 1024
    ) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, UnfinishedUpload] = {}
        self.clock, self.part_bytes = clock, part_bytes
        self._kept: dict[str, tuple[ObjectFacts, dt.datetime]] = {}
        self._lock = threading.Lock()
        self._written = 0

    def get(self, key: str) -> StoredObject | None:
        with self._lock:
            body = self.objects.get(key)
        return None if body is None else StoredObject(body, _etag(body))

    def head(self, key: str) -> ObjectFacts | None:
        with self._lock:
            body = self.objects.get(key)
            if body is None:
                return None
            if key not in self._kept:  # a test put the bytes there itself
                self._keep(key, body, None)
            # A test may have changed the bytes behind the store's back; the checksum is that of what was written.
            return dataclasses.replace(self._kept[key][0], size=len(body), etag=_etag(body))

    def put_if_absent(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str,
        sha256: str | None = None,
        progress: Callable[[int], None] = no_progress,
    ) -> bool:
        self._check(key, body, sha256)
        with self._lock:
            if key in self.objects:
                return False
            self._keep(key, body, sha256)
        progress(len(body))
        return True

    def put_if_match(self, key: str, body: bytes, *, etag: str, content_type: str, sha256: str | None = None) -> bool:
        self._check(key, body, sha256)
        with self._lock:
            there = self.objects.get(key)
            if there is None or _etag(there) != etag:
                return False
            self._keep(key, body, sha256)
            return True

    def listing(self, prefix: str) -> Iterator[ObjectLine]:
        with self._lock:
            found = [
                ObjectLine(key, len(body), self._kept[key][1] if key in self._kept else self.clock())
                for key, body in sorted(self.objects.items())
                if key.startswith(prefix)
            ]
        yield from found

    def delete(self, key: str, *, version_id: str) -> None:
        with self._lock:
            if key in self._kept and self._kept[key][0].version_id == version_id:
                del self._kept[key]
                self.objects.pop(key, None)

    def unfinished(self, prefix: str) -> Iterator[UnfinishedUpload]:
        with self._lock:
            found = [upload for upload in self.uploads.values() if upload.key.startswith(prefix)]
        yield from found

    def abandon(self, upload: UnfinishedUpload) -> None:
        with self._lock:
            self.uploads.pop(upload.upload_id, None)

    def _check(self, key: str, body: bytes, sha256: str | None) -> None:
        if sha256 is not None and hashlib.sha256(body).hexdigest() != sha256:
            raise AWSError(f"{key} was not written: other bytes than the checksum says", code="checksum_mismatch")

    def _keep(self, key: str, body: bytes, sha256: str | None) -> None:
        self._written += 1
        in_parts = sha256 is not None and len(body) > self.part_bytes
        facts = ObjectFacts(
            size=len(body),
            etag=_etag(body),
            sha256=None if in_parts else sha256,
            parts_sha256=parts_sha256(body, self.part_bytes) if in_parts else None,
            version_id=f"v{self._written}",
        )
        self.objects[key], self._kept[key] = bytes(body), (facts, self.clock())


def _as_kept(value: Any) -> Any:
    """Attributes with their numbers as DynamoDB answers them: 38 digits, no exponent, no trailing zeros."""
    if isinstance(value, list):
        return [_as_kept(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["N"]:
        number = decimal.Context(prec=38).create_decimal(value["N"])
        return {"N": format(number.normalize() if number else abs(number), "f")}
    return {key: _as_kept(entry) for key, entry in value.items()}


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
