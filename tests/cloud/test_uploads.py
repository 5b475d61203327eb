"""The data bucket's adapter against S3 of a local AWS of its own: versions, delete markers, unversioned objects."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.aws.uploads import Uploads
from modelyard.local.emulator import LocalAws
from tests.cloud.conftest import PROJECT, REGION, ROOT, free_port

pytest.register_assert_rewrite("tests.contract_uploads")

from tests.contract_uploads import UploadStoreContract, fresh  # noqa: E402 - after the rewriting of its assertions

PYTHON = PROJECT / ".modelyard" / "ministack" / "bin" / "python"


class S3Bucket:
    """A bucket and the adapter over it."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.name = client, name
        self.store = Uploads(client, name)

    def put(self, key: str, content: bytes) -> str:
        return str(self.client.put_object(Bucket=self.name, Key=key, Body=content)["VersionId"])

    def delete(self, key: str) -> str:
        return str(self.client.delete_object(Bucket=self.name, Key=key)["VersionId"])

    def delete_version(self, key: str, version_id: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key, VersionId=version_id)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import boto3

    local_aws = LocalAws(home=tmp_path_factory.mktemp("aws"), port=free_port(), python=PYTHON)
    local_aws.start()
    try:
        yield boto3.client("s3", region_name=REGION, endpoint_url=local_aws.endpoint, **ROOT)
    finally:
        local_aws.forget()


@pytest.fixture(scope="module")
def bucket(client: Any) -> S3Bucket:
    client.create_bucket(Bucket="versioned", CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    return S3Bucket(client, "versioned")


@pytest.fixture(scope="module")
def plain(client: Any) -> S3Bucket:
    client.create_bucket(Bucket="plain", CreateBucketConfiguration={"LocationConstraint": REGION})
    return S3Bucket(client, "plain")


class TestUploads(UploadStoreContract):
    """The adapter over a versioned bucket."""

    def test_a_file_is_uploaded_with_its_checksum(self, bucket: S3Bucket, tmp_path: Path) -> None:
        content = b"date,weather\n" * 100_000
        file, key, sent = tmp_path / "a b+c.csv", fresh("a b+c.csv"), list[int]()
        file.write_bytes(content)
        version = bucket.store.put(key, file, sha256=hashlib.sha256(content).hexdigest(), progress=sent.append)
        assert bucket.store.get(key, version) == content
        assert sum(sent) == len(content), "what is read twice counts once"


def test_an_unversioned_object_is_named_by_its_bytes(plain: S3Bucket) -> None:
    key = fresh()
    plain.client.put_object(Bucket="plain", Key=key, Body=b"one")
    facts = plain.store.head(key)
    assert facts is not None
    assert facts.version_id == f"null:{facts.etag}"
    assert plain.store.versions(key) == (facts.version_id,)
    assert plain.store.get(key, facts.version_id) == b"one"
    assert plain.store.head(key, facts.version_id) == facts
    plain.client.put_object(Bucket="plain", Key=key, Body=b"two")
    assert plain.store.get(key, facts.version_id) is None, "other bytes are another upload"
    assert plain.store.head(key, facts.version_id) is None
