"""What both implementations of each port must do: the fakes of the unit tests and the adapters against (local) AWS.

A test module subclasses a suite and gives it the fixtures ``records`` and ``artifacts``. Nothing is cleaned up: every
test works under names of its own.
"""

import datetime as dt
import hashlib
import json
import math
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard.errors import ConflictError, ModelyardError
from modelyard.pointer import pointer_key
from modelyard.ports import (
    ArtifactStore,
    ConditionFailedError,
    Delete,
    Put,
    RecordStore,
    UnfinishedUpload,
    parts_sha256,
)
from modelyard.registry import Registry
from modelyard.version import OutputSpec, Signature, TensorSpec

SIGNATURE = Signature((TensorSpec("x", "float32", (None, 3)),), (OutputSpec("y", "float32", (None, 2), ("no", "yes")),))


PART = 5 * 1024 * 1024
"""The smallest part that S3 takes."""


def fresh(prefix: str = "m") -> str:
    """A name that no other test has."""
    return f"{prefix}_{uuid.uuid4().hex[:12]}"


def put(pk: str, sk: str, *, absent: bool = False, equals: dict[str, Any] | None = None, **values: Any) -> Put:
    return Put({"pk": pk, "sk": sk, **values}, absent=absent, equals=equals or {})


class RecordStoreContract:
    """Suite for a ``RecordStore``; needs the fixture ``records``."""

    def test_an_absent_item_reads_as_none(self, records: RecordStore) -> None:
        assert records.get(fresh(), "nothing") is None

    @pytest.mark.parametrize(
        "value",
        [
            None, True, False, "", "text", "\u202eright to left\x00", 0, -1, 2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63),
            0.1, 1.0, -2.5, 1e-7, 1 / 3, 1e22, 1e23, 1.2345678901234567e18, 2.0**63, 123456789.12345678,
            1.7976931348623157e308, 5e-324, -1e300, 1e125, 1e126, 1e-130, 1e-128, math.pi * 1e-100,
            [], {}, [1, [2.5, ["three"]]], {"a": {"b": [None, {"name": 1.5}]}, "status": "x", "#:$ ü": 0},
        ],
        ids=repr,
    )  # fmt: skip
    def test_a_value_comes_back_equal(self, records: RecordStore, value: Any) -> None:
        pk = fresh()
        records.put(put(pk, "value", value=value))
        found = records.get(pk, "value")
        assert found == {"pk": pk, "sk": "value", "value": value}
        assert found is not None
        assert isinstance(found["value"], bool) is isinstance(value, bool)

    @pytest.mark.parametrize(
        "value", [math.nan, math.inf, -math.inf, 2**64, -(2**63) - 1, b"bytes", {1: 2}, {"": 2}, {1}]
    )
    def test_a_value_that_would_not_come_back_equal_is_refused(self, records: RecordStore, value: Any) -> None:
        pk = fresh()
        with pytest.raises(ValueError, match="stored"):
            records.put(put(pk, "value", value=value))
        assert records.get(pk, "value") is None

    def test_a_put_that_expects_nothing_there_writes_once(self, records: RecordStore) -> None:
        pk = fresh()
        records.put(put(pk, "a", absent=True, writer=1))
        with pytest.raises(ConditionFailedError) as refused:
            records.put(put(pk, "a", absent=True, writer=2))
        assert refused.value.positions == (0,)
        assert (records.get(pk, "a") or {})["writer"] == 1

    def test_a_put_that_expects_values_needs_all_of_them(self, records: RecordStore) -> None:
        pk = fresh()
        with pytest.raises(ConditionFailedError):
            records.put(put(pk, "a", equals={"revision": 1}))
        records.put(put(pk, "a", revision=1, status="running"))
        with pytest.raises(ConditionFailedError):
            records.put(put(pk, "a", equals={"revision": 1, "status": "done"}, revision=2))
        records.put(put(pk, "a", equals={"revision": 1, "status": "running"}, revision=2))
        assert records.get(pk, "a") == {"pk": pk, "sk": "a", "revision": 2}

    def test_a_put_without_expectation_replaces_the_whole_item(self, records: RecordStore) -> None:
        pk = fresh()
        records.put(put(pk, "a", old=1))
        records.put(put(pk, "a", new=2))
        assert records.get(pk, "a") == {"pk": pk, "sk": "a", "new": 2}

    def test_a_transaction_writes_all_items(self, records: RecordStore) -> None:
        pk, other = fresh(), fresh()
        records.transact([put(pk, "a", absent=True, n=1), put(other, "b", n=2), put(pk, "c", n=3)])
        assert [item["n"] for item in records.query(pk, prefix="").items] == [1, 3]
        assert (records.get(other, "b") or {})["n"] == 2

    def test_a_refused_transaction_writes_nothing_and_says_which_conditions_failed(self, records: RecordStore) -> None:
        pk = fresh()
        records.put(put(pk, "taken", revision=3))
        with pytest.raises(ConditionFailedError) as refused:
            records.transact(
                [
                    put(pk, "new", absent=True),
                    put(pk, "taken", absent=True),
                    put(pk, "free"),
                    put(pk, "missing", equals={"revision": 1}),
                ]
            )
        assert refused.value.positions == (1, 3)
        assert [item["sk"] for item in records.query(pk, prefix="").items] == ["taken"]

    def test_a_query_sees_one_prefix_in_order(self, records: RecordStore) -> None:
        pk = fresh()
        for sk in ("B#2", "A#1", "B#10", "B#1", "C#1", "B"):
            records.put(put(pk, sk))
        keys = [item["sk"] for item in records.query(pk, prefix="B#").items]
        assert keys == ["B#1", "B#10", "B#2"]
        assert [item["sk"] for item in records.query(pk, prefix="B#", reverse=True).items] == keys[::-1]
        assert records.query(pk, prefix="D#").items == ()

    def test_a_query_ends_at_until_which_it_includes(self, records: RecordStore) -> None:
        pk = fresh()
        for sk in ("A#9", "B#1", "B#2", "B#3", "C#1"):
            records.put(put(pk, sk))
        assert [item["sk"] for item in records.query(pk, prefix="B#", until="B#2").items] == ["B#1", "B#2"]
        newest = records.query(pk, prefix="B#", until="B#25", reverse=True, limit=1)
        assert [item["sk"] for item in newest.items] == ["B#2"]
        assert records.query(pk, prefix="B#", until="B#0", reverse=True, limit=1).items == ()

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
    def test_pages_are_whole_and_the_last_one_says_so(self, records: RecordStore, limit: int, reverse: bool) -> None:
        pk = fresh()
        keys = [f"V#{number}" for number in range(6)]
        for sk in ("U#1", *keys, "W#1"):
            records.put(put(pk, sk))
        pages, start = [], None
        while True:
            page = records.query(pk, prefix="V#", limit=limit, start=start, reverse=reverse)
            pages.append([item["sk"] for item in page.items])
            start = page.next
            if start is None:
                break
        expected = keys[::-1] if reverse else keys
        assert pages == [expected[at : at + limit] for at in range(0, 6, limit)]

    def test_a_long_listing_without_limit_is_whole(self, records: RecordStore) -> None:
        pk = fresh()
        text = "x" * 100_000  # DynamoDB answers a query in pages of 1 MB
        for number in range(15):
            records.put(put(pk, f"V#{number:02d}", text=text))
        assert len(records.query(pk, prefix="V#").items) == 15
        page = records.query(pk, prefix="V#", limit=14)
        assert (len(page.items), page.next) == (14, "V#13")

    @pytest.mark.parametrize("reverse", [False, True])
    def test_a_query_begins_at_since_which_it_includes(self, records: RecordStore, reverse: bool) -> None:
        pk = fresh()
        for sk in ("A#9", "B#1", "B#2", "B#3", "B#4", "C#1"):
            records.put(put(pk, sk))

        def found(**parts: Any) -> list[str]:
            keys: list[str] = [item["sk"] for item in records.query(pk, reverse=reverse, **parts).items]
            return keys[::-1] if reverse else keys

        assert found(prefix="B#", since="B#2") == ["B#2", "B#3", "B#4"]
        assert found(prefix="B#", since="B#15", until="B#3") == ["B#2", "B#3"]
        assert found(prefix="B#", since="B#3", until="B#3") == ["B#3"]
        assert found(prefix="", since="B#4") == ["B#4", "C#1"]
        assert found(prefix="", since="A", until="B#1") == ["A#9", "B#1"]
        assert found(prefix="", until="B#1") == ["A#9", "B#1"]
        assert found(prefix="B#", since="B#5") == []
        assert found(prefix="B#", since="B#3", until="B#2") == []

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("limit", [1, 2, 3, 4])
    def test_pages_between_two_keys_are_whole(self, records: RecordStore, limit: int, reverse: bool) -> None:
        pk = fresh()
        for number in range(6):
            records.put(put(pk, f"V#{number}"))
        found, start = [], None
        while True:
            page = records.query(pk, prefix="", since="V#1", until="V#4", limit=limit, start=start, reverse=reverse)
            found += [item["sk"] for item in page.items]
            start = page.next
            if start is None:
                break
        expected = ["V#1", "V#2", "V#3", "V#4"]
        assert found == (expected[::-1] if reverse else expected)

    def test_a_transaction_removes_and_writes_at_once(self, records: RecordStore) -> None:
        pk, other = fresh(), fresh()
        for sk in ("a", "b", "c"):
            records.put(put(pk, sk))
        records.transact([Delete(pk, "a"), put(pk, "d", absent=True), Delete(other, "never there"), Delete(pk, "c")])
        assert [item["sk"] for item in records.query(pk, prefix="").items] == ["b", "d"]
        assert records.get(pk, "a") is None
        records.put(put(pk, "a", absent=True, again=1))
        assert (records.get(pk, "a") or {})["again"] == 1

    def test_a_refused_transaction_removes_nothing(self, records: RecordStore) -> None:
        pk = fresh()
        records.put(put(pk, "a"))
        with pytest.raises(ConditionFailedError) as refused:
            records.transact([Delete(pk, "a"), put(pk, "b"), put(pk, "c", equals={"revision": 1})])
        assert refused.value.positions == (2,)
        assert [item["sk"] for item in records.query(pk, prefix="").items] == ["a"]

    def test_a_transaction_of_the_most_items_goes_through_whole(self, records: RecordStore) -> None:
        pk = fresh()
        records.transact([put(pk, f"a#{number:02d}") for number in range(100)])
        records.transact([Delete(pk, f"a#{number:02d}") for number in range(99)] + [put(pk, "b")])  # type: ignore[operator]
        assert [item["sk"] for item in records.query(pk, prefix="").items] == ["a#99", "b"]

    def test_of_many_writers_with_one_expectation_one_wins(self, records: RecordStore) -> None:
        pk = fresh()
        records.put(put(pk, "d", revision=0))

        def write(writer: int) -> int | None:
            try:
                records.transact(
                    [
                        put(pk, "d", equals={"revision": 0}, revision=1, writer=writer),
                        put(pk, f"log#{writer}", absent=True),
                    ]
                )
            except ConditionFailedError as lost:
                assert lost.positions == (0,)  # noqa: PT017 - the loop is under test, not the error
                return None
            return writer

        with ThreadPoolExecutor(8) as pool:
            winners = [writer for writer in pool.map(write, range(8)) if writer is not None]
        assert winners == [(records.get(pk, "d") or {})["writer"]]
        assert [item["sk"] for item in records.query(pk, prefix="log#").items] == [f"log#{winners[0]}"]


class ArtifactStoreContract:
    """Suite for an ``ArtifactStore``; needs the fixtures ``artifacts`` and ``begin_upload``, which begins one."""

    def test_an_absent_object_reads_as_none(self, artifacts: ArtifactStore) -> None:
        key = f"contract/{fresh()}"
        assert artifacts.get(key) is None
        assert artifacts.head(key) is None

    @pytest.mark.parametrize("body", [b"", b"abc", bytes(range(256)) * 4096], ids=["empty", "short", "1 MiB"])
    def test_an_object_comes_back_with_its_facts(self, artifacts: ArtifactStore, body: bytes) -> None:
        key, digest = f"contract/{fresh()}", hashlib.sha256(body).hexdigest()
        assert artifacts.put_if_absent(key, body, sha256=digest, content_type="application/octet-stream")
        found, facts = artifacts.get(key), artifacts.head(key)
        assert found is not None
        assert facts is not None
        assert found.body == body
        assert (facts.size, facts.sha256, facts.etag) == (len(body), digest, found.etag)

    def test_a_taken_key_keeps_its_first_object(self, artifacts: ArtifactStore) -> None:
        key = f"contract/{fresh()}"
        assert artifacts.put_if_absent(key, b"first", content_type="text/plain")
        assert not artifacts.put_if_absent(key, b"second", content_type="text/plain")
        assert not artifacts.put_if_absent(key, b"first", content_type="text/plain")
        assert (artifacts.get(key) or pytest.fail("gone")).body == b"first"

    def test_bytes_with_another_checksum_are_refused(self, artifacts: ArtifactStore) -> None:
        key = f"contract/{fresh()}"
        with pytest.raises(ModelyardError) as refused:
            artifacts.put_if_absent(key, b"abc", sha256="00" * 32, content_type="text/plain")
        assert refused.value.code == "checksum_mismatch"
        assert artifacts.head(key) is None

    def test_a_replacement_needs_the_tag_of_what_is_there(self, artifacts: ArtifactStore) -> None:
        key = f"contract/{fresh()}"
        assert not artifacts.put_if_match(key, b"new", etag='"0123456789abcdef0123456789abcdef"', content_type="text/x")
        assert artifacts.get(key) is None
        artifacts.put_if_absent(key, b"one", content_type="text/plain")
        first = artifacts.get(key) or pytest.fail("gone")
        assert artifacts.put_if_match(key, b"two", etag=first.etag, content_type="text/plain")
        assert not artifacts.put_if_match(key, b"three", etag=first.etag, content_type="text/plain")
        second = artifacts.get(key) or pytest.fail("gone")
        assert (second.body, second.etag != first.etag) == (b"two", True)

    def test_of_many_writers_of_a_new_key_one_wins(self, artifacts: ArtifactStore) -> None:
        key = f"contract/{fresh()}"

        def write(writer: int) -> bool:
            return artifacts.put_if_absent(key, str(writer).encode(), content_type="text/plain")

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(write, range(8)))
        assert outcomes.count(True) == 1
        assert (artifacts.get(key) or pytest.fail("gone")).body == str(outcomes.index(True)).encode()

    @pytest.mark.parametrize("more", [0, 10], ids=["one part", "two parts"])
    def test_a_large_object_goes_in_parts_that_are_checked(
        self, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch, more: int
    ) -> None:
        monkeypatch.setattr(artifacts, "part_bytes", PART)
        key, body = f"contract/{fresh()}", bytes(range(256)) * (PART // 256) + b"x" * more
        digest, sent = hashlib.sha256(body).hexdigest(), list[int]()
        written = {"sha256": digest, "content_type": "application/octet-stream"}
        assert artifacts.put_if_absent(key, body, progress=sent.append, **written)
        assert sum(sent) == len(body)
        found, facts = artifacts.get(key), artifacts.head(key)
        assert found is not None
        assert facts is not None
        assert found.body == body
        assert (facts.size, facts.etag) == (len(body), found.etag)
        if more:
            assert (facts.sha256, facts.parts_sha256) == (None, parts_sha256(body, PART))
        else:
            assert (facts.sha256, facts.parts_sha256) == (digest, None)
        assert list(artifacts.unfinished(key)) == []

    def test_a_taken_key_keeps_its_object_from_an_upload_in_parts(
        self, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(artifacts, "part_bytes", PART)
        key, body = f"contract/{fresh()}", bytes(PART + 10)
        digest = hashlib.sha256(body).hexdigest()
        artifacts.put_if_absent(key, b"first", content_type="text/plain")
        assert not artifacts.put_if_absent(key, body, sha256=digest, content_type="text/plain")
        wrong = '"0123456789abcdef0123456789abcdef"'
        assert not artifacts.put_if_match(key, body, etag=wrong, sha256=digest, content_type="text/plain")
        first = artifacts.get(key) or pytest.fail("gone")
        assert first.body == b"first"
        assert list(artifacts.unfinished(key)) == [], "what was sent in vain is given up"
        assert artifacts.put_if_match(key, body, etag=first.etag, sha256=digest, content_type="text/plain")
        assert (artifacts.head(key) or pytest.fail("gone")).parts_sha256 == parts_sha256(body, PART)

    def test_a_small_object_reports_its_progress_too(self, artifacts: ArtifactStore) -> None:
        key, body, sent = f"contract/{fresh()}", b"x" * 100_000, list[int]()
        digest = hashlib.sha256(body).hexdigest()
        assert artifacts.put_if_absent(key, body, sha256=digest, content_type="text/plain", progress=sent.append)
        assert sum(sent) == len(body)
        assert (artifacts.get(key) or pytest.fail("gone")).body == body

    def test_a_listing_has_what_begins_with_the_prefix_in_order(self, artifacts: ArtifactStore) -> None:
        prefix = f"contract/{fresh()}/"
        sizes = {"b/2": 2, "a": 1, "b/10": 0, "c": 3, "ä": 4}
        for name, size in sizes.items():
            artifacts.put_if_absent(prefix + name, b"x" * size, content_type="text/plain")
        found = list(artifacts.listing(prefix))
        assert [(line.key.removeprefix(prefix), line.size) for line in found] == sorted(sizes.items())
        now = dt.datetime.now(dt.UTC)
        assert all(abs(now - line.modified) < dt.timedelta(hours=1) for line in found), "aware, in UTC"
        assert [line.key for line in artifacts.listing(f"{prefix}b/")] == [f"{prefix}b/10", f"{prefix}b/2"]
        assert list(artifacts.listing(f"{prefix}none")) == []

    def test_a_deleted_version_is_gone_and_may_be_deleted_again(self, artifacts: ArtifactStore) -> None:
        key = f"contract/{fresh()}"
        artifacts.put_if_absent(key, b"one", content_type="text/plain")
        version_id = (artifacts.head(key) or pytest.fail("gone")).version_id
        assert version_id
        artifacts.delete(key, version_id=version_id)
        assert artifacts.get(key) is None
        assert artifacts.head(key) is None
        assert list(artifacts.listing(key)) == []
        artifacts.delete(key, version_id=version_id)
        assert artifacts.put_if_absent(key, b"one", content_type="text/plain"), "the key is free"
        artifacts.delete(key, version_id=version_id)
        assert (artifacts.get(key) or pytest.fail("gone")).body == b"one", "equal bytes, put there since"

    def test_the_deletion_of_a_version_leaves_a_newer_one(self, artifacts: ArtifactStore) -> None:
        key = f"contract/{fresh()}"
        artifacts.put_if_absent(key, b"same", content_type="text/plain")
        first = artifacts.head(key) or pytest.fail("gone")
        assert artifacts.put_if_match(key, b"same", etag=first.etag, content_type="text/plain")
        second = artifacts.head(key) or pytest.fail("gone")
        assert second.version_id != first.version_id
        artifacts.delete(key, version_id=str(first.version_id))
        assert artifacts.head(key) == second

    def test_an_unfinished_upload_is_found_and_can_be_given_up(
        self, artifacts: ArtifactStore, begin_upload: Callable[[str], None]
    ) -> None:
        prefix = f"contract/{fresh()}/"
        for name in ("a", "b/1"):
            begin_upload(prefix + name)
        found = {upload.key: upload for upload in artifacts.unfinished(prefix)}
        assert set(found) == {f"{prefix}a", f"{prefix}b/1"}
        now = dt.datetime.now(dt.UTC)
        assert all(abs(now - upload.begun) < dt.timedelta(hours=1) for upload in found.values())
        assert [upload.key for upload in artifacts.unfinished(f"{prefix}b/")] == [f"{prefix}b/1"]
        assert artifacts.head(f"{prefix}a") is None
        artifacts.abandon(found[f"{prefix}a"])
        artifacts.abandon(found[f"{prefix}a"])
        assert [upload.key for upload in artifacts.unfinished(prefix)] == [f"{prefix}b/1"]
        artifacts.abandon(found[f"{prefix}b/1"])
        artifacts.abandon(UnfinishedUpload(f"{prefix}a", found[f"{prefix}b/1"].upload_id, now))
        assert list(artifacts.unfinished(prefix)) == []


class RegistryContract:
    """Suite for the registry over a pair of stores; needs both fixtures. Short: its rules have unit tests."""

    def test_writers_at_once_get_dense_numbers(self, records: RecordStore, artifacts: ArtifactStore) -> None:
        model, writers = fresh(), 64

        def register(writer: int) -> int:
            registry = Registry(records, artifacts, actor=f"writer {writer}")
            body = f"model of {writer}".encode()
            return registry.register(model, body, task="binary", signature=SIGNATURE).version.number

        with ThreadPoolExecutor(writers) as pool:
            numbers = list(pool.map(register, range(writers)))
        registry = Registry(records, artifacts, actor="reader")
        assert sorted(numbers) == list(range(1, writers + 1))
        assert [v.number for v in registry.versions(model, limit=100).items] == list(range(writers, 0, -1))
        assert registry.model(model).versions == writers
        assert len(registry.history(model, limit=100).items) == writers

    def test_the_same_manifest_at_once_is_one_version(self, records: RecordStore, artifacts: ArtifactStore) -> None:
        model = fresh()

        def register(writer: int) -> tuple[int, bool]:
            registry = Registry(records, artifacts, actor=f"writer {writer}")
            made = registry.register(model, b"the same", task="binary", signature=SIGNATURE)
            return made.version.number, made.created

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(register, range(8)))
        assert sorted(outcomes) == [(1, False)] * 7 + [(1, True)]

    def test_of_promotions_from_one_revision_one_wins(self, records: RecordStore, artifacts: ArtifactStore) -> None:
        model, callers = fresh(), 50
        registry = Registry(records, artifacts, actor="owner")
        for number in range(3):
            registry.register(model, f"{number}".encode(), task="binary", signature=SIGNATURE)
        registry.promote(model, 1)

        def promote(caller: int) -> str | ConflictError:
            mine = Registry(records, artifacts, actor=f"caller {caller}")
            try:
                mine.promote(model, 2 + caller % 2, expected_revision=1)
            except ConflictError as lost:
                return lost
            return mine.actor

        with ThreadPoolExecutor(callers) as pool:
            outcomes = list(pool.map(promote, range(callers)))
        (winner,) = (outcome for outcome in outcomes if isinstance(outcome, str))
        for lost in (outcome for outcome in outcomes if isinstance(outcome, ConflictError)):
            assert lost.code == "revision_changed"
            assert "at revision 2" in lost.message
            assert f"{winner} " in lost.message, "who was first is said"
        live = registry.deployment(model)
        assert live is not None
        assert (live.revision, live.changed_by) == (2, winner)
        assert [entry.revision for entry in registry.history(model).items if entry.kind == "promoted"] == [2, 1]
        pointer = json.loads((artifacts.get(pointer_key(model)) or pytest.fail("no pointer")).body)
        assert (pointer["revision"], pointer["champion"]["version"]) == (2, live.champion)

    def test_the_past_can_be_asked_and_put_live_again(self, records: RecordStore, artifacts: ArtifactStore) -> None:
        model = fresh()
        registry = Registry(records, artifacts, actor="owner")
        # Numbers that a database may round, and one that reads as an integer.
        field = {
            "dtype": "float32", "shape": [None, 3], "mode": "reject", "minimum": 1.0, "maximum": 1e300, "nulls": False,
            "null_rate": 1 / 3,
        }  # fmt: skip
        contract = {"format": 1, "rows": 3, "fields": {"x": field}}
        for number in range(2):
            registry.register(
                model,
                f"{number}".encode(),
                task="binary",
                signature=SIGNATURE,
                contract=contract,
                metrics={"accuracy": 1, "log_loss": 0.123456789012345678},
            )
        first, second = registry.promote(model, 1), registry.promote(model, 2, reason="better")
        third = registry.rollback(model, reason="it was not")
        assert (third.champion, third.revision) == (1, 3)
        assert [registry.deployment_at(model, change.changed_at) for change in (first, second, third)] == [
            first,
            second,
            third,
        ]
        version = registry.version(model, 1)
        assert version.manifest.contract == contract
        assert version.manifest.identity == registry.version(model, 1).manifest.identity
        again = registry.register(
            model, b"0", task="binary", signature=SIGNATURE, contract=contract, metrics={"accuracy": 0.5}
        )
        assert (again.version, again.created) == (version, False)

    def test_an_upload_is_claimed_once(self, records: RecordStore, artifacts: ArtifactStore) -> None:
        key = f"{fresh()}/käse +.csv"
        registry = Registry(records, artifacts, actor="workflow")
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda run: registry.claim("bucket", key, "v1", f"run-{run}"), range(8)))
        assert won.count(True) == 1
        assert registry.claim("bucket", key, "v1", f"run-{won.index(True)}"), "the same run may ask again"
        assert registry.claim("bucket", key, "v2", "run-9"), "another object version is another upload"
