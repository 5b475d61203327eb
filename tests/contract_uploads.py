"""What both data buckets must do: the fake of the unit tests and the adapter against (local) AWS.

A test module subclasses the suite and gives it the fixture ``bucket``, a versioned bucket to write to and to read from.
Nothing is cleaned up: every test works under a key of its own.
"""

import hashlib
import uuid
from typing import Protocol

import pytest

from modelyard.retraining.workbench import UploadStore


class Bucket(Protocol):
    """The store under test, and the ways in which its owner changes it."""

    @property
    def store(self) -> UploadStore: ...

    def put(self, key: str, content: bytes) -> str: ...

    def delete(self, key: str) -> str: ...

    def delete_version(self, key: str, version_id: str) -> None: ...


def fresh(name: str = "file.csv") -> str:
    """A key that no other test has."""
    return f"m/{uuid.uuid4().hex}/{name}"


class UploadStoreContract:
    """Suite for an ``UploadStore`` over a versioned bucket; needs the fixture ``bucket``."""

    def test_what_was_never_there_is_gone(self, bucket: Bucket) -> None:
        key = fresh()
        assert bucket.store.head(key) is None
        assert bucket.store.get(key, bucket.put(fresh(), b"x")) is None

    @pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", bytes(range(256)) * 4096], ids=["empty", "short", "1 MiB"])
    def test_a_file_comes_back_with_its_facts(self, bucket: Bucket, content: bytes) -> None:
        key = fresh()
        version = bucket.put(key, content)
        facts = bucket.store.head(key)
        assert facts is not None
        assert (facts.version_id, facts.size) == (version, len(content))
        assert facts.etag == hashlib.md5(content, usedforsecurity=False).hexdigest()
        assert bucket.store.head(key, version) == facts
        assert bucket.store.get(key, version) == content

    @pytest.mark.parametrize("name", ["a b+c%20d.csv", "käse ☔.csv", "x'y\"z&=?#.csv", "a//b/../c.csv"])
    def test_a_key_is_taken_as_it_is(self, bucket: Bucket, name: str) -> None:
        key = fresh(name)
        version = bucket.put(key, b"here")
        facts = bucket.store.head(key)
        assert facts is not None
        assert facts.version_id == version
        assert bucket.store.get(key, version) == b"here"

    def test_every_version_stays(self, bucket: Bucket) -> None:
        key = fresh()
        versions = [bucket.put(key, content) for content in (b"one", b"two", b"two")]
        assert len(set(versions)) == 3
        assert [bucket.store.get(key, version) for version in versions] == [b"one", b"two", b"two"]
        newest = bucket.store.head(key)
        assert newest is not None
        assert newest.version_id == versions[2]

    def test_a_delete_marker_hides_the_file_and_keeps_its_versions(self, bucket: Bucket) -> None:
        key = fresh()
        version = bucket.put(key, b"one")
        marker = bucket.delete(key)
        assert bucket.store.head(key) is None
        assert bucket.store.head(key, marker) is None
        assert bucket.store.get(key, marker) is None
        assert bucket.store.get(key, version) == b"one"

    def test_a_version_that_was_deleted_is_gone_for_good(self, bucket: Bucket) -> None:
        key = fresh()
        first, second = bucket.put(key, b"one"), bucket.put(key, b"two")
        bucket.delete_version(key, second)
        assert bucket.store.get(key, second) is None
        assert bucket.store.head(key, second) is None
        newest = bucket.store.head(key)
        assert newest is not None
        assert newest.version_id == first

    def test_versions_are_listed_newest_first_without_delete_markers(self, bucket: Bucket) -> None:
        key = fresh()
        assert bucket.store.versions(key) == ()
        first, second = bucket.put(key, b"one"), bucket.put(key, b"two")
        bucket.delete(key)
        third = bucket.put(key, b"two")
        bucket.delete(key)
        assert bucket.store.versions(key) == (third, second, first)
        bucket.delete_version(key, second)
        assert bucket.store.versions(key) == (third, first)

    @pytest.mark.parametrize("name", ["a b+c%20d.csv", "käse ☔.csv", "x'y\"z&=?#.csv", "a//b/../c.csv"])
    def test_versions_are_those_of_exactly_this_key(self, bucket: Bucket, name: str) -> None:
        key = fresh(name)
        version = bucket.put(key, b"here")
        for other in (f"{key}.bak", f"{key}/more", key[:-1], f"{key}{key}"):
            bucket.put(other, b"there")
        assert bucket.store.versions(key) == (version,)
