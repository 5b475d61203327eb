"""Registries and stores with one mistake each. A check of histories that does not find them checks nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from modelyard.ports import Item, Put, Write
from modelyard.registry import Registry, keys
from tests.fakes.stores import InMemoryArtifactStore, InMemoryRecordStore


class TransactsWithoutConditions(InMemoryRecordStore):
    """Writes what it is told, whatever is there."""

    def transact(self, writes: Sequence[Write]) -> None:
        super().transact([replace(w, absent=False, equals={}) if isinstance(w, Put) else w for w in writes])


class ReadsWhatWas(InMemoryRecordStore):
    """Each item is read as it was before its last write now and then, as an eventually consistent read may give it."""

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[tuple[str, str], Item | None] = {}
        self._reads = 0

    def transact(self, writes: Sequence[Write]) -> None:
        puts = [write.item for write in writes if isinstance(write, Put)]
        before = {(item["pk"], item["sk"]): super(ReadsWhatWas, self).get(item["pk"], item["sk"]) for item in puts}
        super().transact(writes)
        self._before |= before

    def get(self, pk: str, sk: str) -> Item | None:
        self._reads += 1
        return self._before.get((pk, sk)) if self._reads % 7 == 0 else super().get(pk, sk)

    def get_many(self, addresses: Sequence[tuple[str, str]]) -> tuple[Item | None, ...]:
        return tuple(self.get(pk, sk) for pk, sk in addresses)


class ReplacesWithoutLooking(InMemoryArtifactStore):
    """A conditional write that takes the condition for granted."""

    def put_if_match(self, key: str, body: bytes, *, etag: str, content_type: str, sha256: str | None = None) -> bool:
        there = self.get(key)
        if there is not None:
            etag = there.etag
        return super().put_if_match(key, body, etag=etag, content_type=content_type, sha256=sha256)


class DeletesWhateverIsThere(InMemoryArtifactStore):
    """Deletes by key and not by object version."""

    def delete(self, key: str, *, version_id: str) -> None:
        facts = self.head(key)
        super().delete(key, version_id=version_id if facts is None else facts.version_id or version_id)


class WritesTheLedgerLater(Registry):
    """The ledger entry follows in a write of its own."""

    def __init__(self, records: Any, artifacts: Any, **settings: Any) -> None:
        super().__init__(_InTwo(records), artifacts, **settings)


class ForgetsOperations(Registry):
    """Does not look whether an operation was applied before."""

    def __init__(self, records: Any, artifacts: Any, **settings: Any) -> None:
        super().__init__(_Forgetful(records), artifacts, **settings)


class SweepsWithoutCondemning(Registry):
    """Deletes what no version named when it looked, and tells nobody before."""

    def __init__(self, records: Any, artifacts: Any, **settings: Any) -> None:
        super().__init__(_CondemnsNothing(records), artifacts, **settings)


class PublishesNothing(Registry):
    """Leaves the pointer to others."""

    def publish_pointer(self, model: str) -> Any:
        return None


class _Through:
    def __init__(self, records: Any) -> None:
        self._records = records

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)


class _InTwo(_Through):
    def transact(self, writes: Sequence[Write]) -> None:
        lines = [w for w in writes if isinstance(w, Put) and w.item["sk"].startswith(keys.LEDGER)]
        self._records.transact([write for write in writes if write not in lines])
        for line in lines:
            self._records.put(line)


class _CondemnsNothing(_Through):
    def put(self, put: Put) -> None:
        if put.item["sk"] != keys.OBJECT:
            self._records.put(put)


class _Forgetful(_Through):
    def get(self, pk: str, sk: str) -> Item | None:
        found: Item | None = self._records.get(pk, sk)
        return None if sk.startswith(keys.OPERATION) else found

    def transact(self, writes: Sequence[Write]) -> None:
        forgotten = [
            replace(write, absent=False)
            if isinstance(write, Put) and write.item["sk"].startswith(keys.OPERATION)
            else write
            for write in writes
        ]
        self._records.transact(forgotten)
