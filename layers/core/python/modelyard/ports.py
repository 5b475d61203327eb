"""The two ports of the registry: records (DynamoDB) and artifacts (S3).

Each has two implementations, the adapter in ``modelyard.aws`` and the fake of the tests, and one contract suite that
both pass. Every write says what it expects to find; a write that finds something else changes nothing.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from modelyard.errors import ConflictError

MOST_WRITES = 100
"""Items in one transaction."""

MOST_READS = 100
"""Items that are read at one moment."""

Item = dict[str, Any]
"""A record: JSON values under text keys, with ``pk`` and ``sk``. Numbers come back equal, ``1.0`` perhaps as ``1``."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a listing; ``next`` starts the page after it and is None on the last."""

    items: tuple[T, ...]
    next: str | None = None


def every(listing: Callable[[str | None], Page[T]]) -> Iterator[T]:
    """Everything that ``listing`` gives from a cursor on, page by page as it is asked for."""
    start: str | None = None
    while True:
        page = listing(start)
        yield from page.items
        start = page.next
        if start is None:
            return


@dataclass(frozen=True, slots=True)
class Put:
    """Write ``item`` whole, if what is there now is as expected.

    ``absent``: no item has its key. ``equals``: the item with its key has these values. Neither: whatever is there.
    """

    item: Item
    absent: bool = False
    equals: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the item with this key; one that is not there counts as removed. Only the search index is ever deleted."""

    pk: str
    sk: str


Write = Put | Delete


class ConditionFailedError(ConflictError):
    """Nothing was written, because the items at these positions are not as expected."""

    code = "condition_failed"

    def __init__(self, positions: Sequence[int]) -> None:
        super().__init__(f"the registry has changed meanwhile (conditions {', '.join(map(str, positions))})")
        self.positions = tuple(positions)


class RecordStore(Protocol):
    """Items under two text keys. Reads see every write that was answered before."""

    def get(self, pk: str, sk: str) -> Item | None:
        """The item with this key, or None."""
        ...

    def get_many(self, addresses: Sequence[tuple[str, str]]) -> tuple[Item | None, ...]:
        """The items with these keys, in their order and all as they were at one moment; None where there is none.

        A transaction is seen whole or not at all. At least one key, at most ``MOST_READS``, none twice.
        """
        ...

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
        """Items whose sort key begins with ``prefix``, in the order of their sort keys.

        Args:
            pk: The partition key.
            prefix: What the sort keys begin with.
            since: The lowest sort key, itself included; it begins with ``prefix`` too.
            until: The highest sort key, itself included; it begins with ``prefix`` too.
            reverse: Highest sort key first.
            limit: At most this many; None is all.
            start: The sort key after which to begin, in the direction of reading. A page's ``next`` is the sort key of
                its last item when more follow.
        """
        ...

    def put(self, put: Put) -> None:
        """Write one item.

        Raises:
            ConditionFailedError: When it is not as expected; nothing is written.
        """
        ...

    def transact(self, writes: Sequence[Write]) -> None:
        """Write and remove all items or none; at most ``MOST_WRITES``, no key twice.

        Raises:
            ConditionFailedError: When any is not as expected, with the positions; nothing is written.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The bytes of an object and the tag that a conditional write expects."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What a store says about an object without sending it.

    ``parts_sha256`` stands in for ``sha256`` where the object was sent in parts: the SHA-256 over the SHA-256 of its
    parts of ``part_bytes`` each, with which the store checked them. ``version_id`` names these very bytes under this
    very key, also after they were replaced by equal ones; None in a bucket without versions.
    """

    size: int
    etag: str
    sha256: str | None
    parts_sha256: str | None = None
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectLine:
    """An object in a listing."""

    key: str
    size: int
    modified: dt.datetime


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """An upload in parts that was begun and neither completed nor given up."""

    key: str
    upload_id: str
    begun: dt.datetime


def parts_sha256(body: bytes, part_bytes: int) -> str:
    """The SHA-256, in hex, over the SHA-256 of the parts of ``body``: what S3 calls a composite checksum.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    """
    view = memoryview(body)
    parts = (hashlib.sha256(view[start : start + part_bytes]).digest() for start in range(0, len(body), part_bytes))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def no_progress(_sent: int) -> None:
    """What a caller passes who does not want to know."""


class ArtifactStore(Protocol):
    """Objects under text keys; no write replaces an object unseen."""

    part_bytes: int
    """Larger objects are sent in parts of this size."""

    def get(self, key: str) -> StoredObject | None:
        """The object, or None."""
        ...

    def head(self, key: str) -> ObjectFacts | None:
        """What is known about the object, or None."""
        ...

    def put_if_absent(
        self,
        key: str,
        body: bytes,
        *,
        content_type: str,
        sha256: str | None = None,
        progress: Callable[[int], None] = no_progress,
    ) -> bool:
        """Write a new object; False when the key is taken.

        The store itself checks the bytes against ``sha256`` (hex) when given, and keeps the checksum. With it, what is
        larger than ``part_bytes`` goes in parts, each checked; ``progress`` is called with the bytes sent since the
        last call.

        Raises:
            ModelyardError: When the bytes do not have that checksum; nothing is written.
        """
        ...

    def put_if_match(self, key: str, body: bytes, *, etag: str, content_type: str, sha256: str | None = None) -> bool:
        """Replace the object that has this ``etag``; False when it has another one or is gone. Checksums as above."""
        ...

    def listing(self, prefix: str) -> Iterator[ObjectLine]:
        """Every object whose key begins with ``prefix``, in the order of keys, read page by page as it is asked for."""
        ...

    def delete(self, key: str, *, version_id: str) -> None:
        """Remove one version of an object for good; what was put there since stays. Absent counts as removed."""
        ...

    def unfinished(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """Every unfinished upload below ``prefix``."""
        ...

    def abandon(self, upload: UnfinishedUpload) -> None:
        """Give an unfinished upload up; its parts are removed. Absent counts as removed."""
        ...
