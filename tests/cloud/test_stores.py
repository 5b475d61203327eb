"""The adapters keep the same contract against the deployed table and bucket as the fakes do in the unit tests."""

from collections.abc import Callable

import pytest

from modelyard.aws.bucket import S3Artifacts
from modelyard.aws.table import DynamoDBRecords
from modelyard.ports import ArtifactStore, RecordStore
from tests.cloud.conftest import System

pytest.register_assert_rewrite("tests.contract_records", "tests.contract_artifacts", "tests.contract_registry")

from tests.contract_artifacts import ArtifactStoreContract  # noqa: E402 - after the rewriting of its assertions
from tests.contract_records import RecordStoreContract  # noqa: E402
from tests.contract_registry import RegistryContract  # noqa: E402


@pytest.fixture(scope="module")
def records(system: System) -> RecordStore:
    return DynamoDBRecords(system.client("dynamodb"), system.outputs("Registry")["RegistryTable"])


@pytest.fixture(scope="module")
def artifacts(system: System) -> ArtifactStore:
    return S3Artifacts(system.client("s3"), system.outputs("Registry")["ArtifactBucket"])


@pytest.fixture
def begin_upload(system: System) -> Callable[[str], None]:
    bucket = system.outputs("Registry")["ArtifactBucket"]

    def begin(key: str) -> None:
        system.client("s3").create_multipart_upload(Bucket=bucket, Key=key)

    return begin


class TestDynamoDBRecords(RecordStoreContract):
    """The table."""


class TestS3Artifacts(ArtifactStoreContract):
    """The artifact bucket."""


class TestRegistryOnAws(RegistryContract):
    """The registry's verbs over both."""
