"""The fakes keep the contract that the adapters keep."""

import datetime as dt
from collections.abc import Callable

import pytest

pytest.register_assert_rewrite("tests.contract_records", "tests.contract_artifacts", "tests.contract_registry")

from modelyard.ports import UnfinishedUpload  # noqa: E402
from tests.contract_artifacts import ArtifactStoreContract  # noqa: E402
from tests.contract_records import RecordStoreContract  # noqa: E402
from tests.contract_registry import RegistryContract  # noqa: E402
from tests.fakes.stores import InMemoryArtifactStore, InMemoryRecordStore  # noqa: E402


@pytest.fixture
def records() -> InMemoryRecordStore:
    return InMemoryRecordStore()


@pytest.fixture
def artifacts() -> InMemoryArtifactStore:
    return InMemoryArtifactStore()


@pytest.fixture
def begin_upload(artifacts: InMemoryArtifactStore) -> Callable[[str], None]:
    def begin(key: str) -> None:
        artifacts.uploads[key] = UnfinishedUpload(key, key, dt.datetime.now(dt.UTC))

    return begin


class TestInMemoryRecordStore(RecordStoreContract):
    pass


class TestInMemoryArtifactStore(ArtifactStoreContract):
    pass


class TestRegistryOverTheFakes(RegistryContract):
    pass
