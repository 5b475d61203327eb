"""What both implementations of `ArtifactStore` must do: the fake of the unit tests and the adapter against (local) AWS.

A test module subclasses the suite and gives it its fixtures. Nothing is cleaned up: every test works under names of its
own.
"""

import datetime as dt
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelyard.errors import ModelyardError
from modelyard.ports import (
    ArtifactStore,
    UnfinishedUpload,
    parts_sha256,
)
from tests.contract_records import fresh

PART = 5 * 1024 * 1024
"""The smallest part that S3 takes."""


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
