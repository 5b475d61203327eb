"""The two ports of the registry: records (DynamoDB) and artifacts (S3).

Each has two implementations, the adapter in ``modelyard.aws`` and the fake of the tests, and one contract suite that
both pass. Every write says what it expects to find; a write that finds something else changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from modelyard.errors import ConflictError

Item = dict[str, Any]
"""A record: JSON values under text keys, with ``pk`` and ``sk``. Numbers come back equal, ``1.0`` perhaps as ``1``."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a listing; ``next`` starts the page after it and is None on the last."""

    items: tuple[T, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """Write ``item`` whole, if what is there now is as expected.

    ``absent``: no item has its key. ``equals``: the item with its key has these values. Neither: whatever is there.
    """

    item: Item
    absent: bool = False
    equals: Mapping[str, str | int] = field(default_factory=dict)


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
        """Items whose sort key begins with ``prefix``, in the order of their sort keys.

        Args:
            pk: The partition key.
            prefix: What the sort keys begin with.
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

    def transact(self, puts: Sequence[Put]) -> None:
        """Write all items or none; at most 100, no key twice.

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
    """What a store says about an object without sending it; ``sha256`` in hex, None when it was never given one."""

    size: int
    etag: str
    sha256: str | None


class ArtifactStore(Protocol):
    """Objects under text keys; no write replaces an object unseen."""

    def get(self, key: str) -> StoredObject | None:
        """The object, or None."""
        ...

    def head(self, key: str) -> ObjectFacts | None:
        """What is known about the object, or None."""
        ...

    def put_if_absent(self, key: str, body: bytes, *, content_type: str, sha256: str | None = None) -> bool:
        """Write a new object; False when the key is taken. The store checks and keeps ``sha256`` (hex) when given.

        Raises:
            ModelyardError: When the bytes do not have that checksum; nothing is written.
        """
        ...

    def put_if_match(self, key: str, body: bytes, *, etag: str, content_type: str) -> bool:
        """Replace the object that has this ``etag``; False when it has another one or is gone."""
        ...
