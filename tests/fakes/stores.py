"""The registry's two ports in memory, with the conditions and the number rules of the real ones, safe under threads."""

import decimal
import hashlib
import threading
from bisect import insort
from collections.abc import Sequence
from typing import Any

from modelyard.aws.attributes import from_attributes, to_attributes
from modelyard.errors import AWSError
from modelyard.ports import ConditionFailedError, Item, ObjectFacts, Page, Put, StoredObject


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

    def query(
        self,
        pk: str,
        *,
        prefix: str,
        until: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
        start: str | None = None,
    ) -> Page[Item]:
        with self._lock:
            found = [sk for sk in self._order.get(pk, []) if sk.startswith(prefix) and (until is None or sk <= until)]
            if reverse:
                found.reverse()
            if start is not None:
                found = [sk for sk in found if (sk < start if reverse else sk > start)]
            chosen = found if limit is None else found[:limit]
            items = tuple(from_attributes(self._items[pk][sk]) for sk in chosen)
        return Page(items, chosen[-1] if len(chosen) < len(found) else None)

    def put(self, put: Put) -> None:
        self.transact([put])

    def transact(self, puts: Sequence[Put]) -> None:
        addresses = [(put.item["pk"], put.item["sk"]) for put in puts]
        if len(set(addresses)) != len(puts) or len(puts) > 100:
            raise AWSError("a transaction names each item once, and at most 100")
        encoded = [_as_kept(to_attributes(put.item)) for put in puts]
        with self._lock:
            failed = [place for place, put in enumerate(puts) if not self._expected(put)]
            if failed:
                raise ConditionFailedError(failed)
            for (pk, sk), item in zip(addresses, encoded, strict=True):
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
    """An ``ArtifactStore``."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._checksums: dict[str, str] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> StoredObject | None:
        with self._lock:
            body = self.objects.get(key)
        return None if body is None else StoredObject(body, _etag(body))

    def head(self, key: str) -> ObjectFacts | None:
        with self._lock:
            body, checksum = self.objects.get(key), self._checksums.get(key)
        return None if body is None else ObjectFacts(len(body), _etag(body), checksum)

    def put_if_absent(self, key: str, body: bytes, *, content_type: str, sha256: str | None = None) -> bool:
        if sha256 is not None and hashlib.sha256(body).hexdigest() != sha256:
            raise AWSError(f"{key} was not written: other bytes than the checksum says", code="checksum_mismatch")
        with self._lock:
            if key in self.objects:
                return False
            self.objects[key] = bytes(body)
            if sha256 is not None:
                self._checksums[key] = sha256
            return True

    def put_if_match(self, key: str, body: bytes, *, etag: str, content_type: str) -> bool:
        with self._lock:
            there = self.objects.get(key)
            if there is None or _etag(there) != etag:
                return False
            self.objects[key] = bytes(body)
            self._checksums.pop(key, None)
            return True


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
