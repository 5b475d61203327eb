"""The fakes keep the contract that the adapters keep."""

import pytest

pytest.register_assert_rewrite("tests.contract_stores")

from tests.contract_stores import ArtifactStoreContract, RecordStoreContract, RegistryContract  # noqa: E402
from tests.fakes.stores import InMemoryArtifactStore, InMemoryRecordStore  # noqa: E402


@pytest.fixture
def records() -> InMemoryRecordStore:
    return InMemoryRecordStore()


@pytest.fixture
def artifacts() -> InMemoryArtifactStore:
    return InMemoryArtifactStore()


class TestInMemoryRecordStore(RecordStoreContract):
    pass


class TestInMemoryArtifactStore(ArtifactStoreContract):
    pass


class TestRegistryOverTheFakes(RegistryContract):
    pass
