"""The fake data bucket keeps the contract that the adapter keeps against AWS (see tests/cloud)."""

import pytest

pytest.register_assert_rewrite("tests.contract_uploads")

from tests.contract_uploads import UploadStoreContract  # noqa: E402 - after the rewriting of its assertions
from tests.fakes.uploads import InMemoryUploads  # noqa: E402


class Fake(InMemoryUploads):
    @property
    def store(self) -> InMemoryUploads:
        return self


@pytest.fixture
def bucket() -> Fake:
    return Fake()


class TestInMemoryUploads(UploadStoreContract):
    """The fake."""
