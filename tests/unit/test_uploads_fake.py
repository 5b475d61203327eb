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

    def test_versions_are_listed_newest_first(self, bucket: Fake) -> None:
        ids = [bucket.put("m/a", b"1"), bucket.put("m/a", b"2"), bucket.delete("m/a")]
        assert bucket.versions("m/a") == ids[::-1]
        assert bucket.versions("m/b") == []
