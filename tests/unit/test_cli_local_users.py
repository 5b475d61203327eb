"""Users of the local AWS and the files with their keys."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.cli.local_users import keys_of_user, read_keys


class Iam:
    """As much of IAM as is asked."""

    def __init__(self) -> None:
        self.keys: dict[str, list[str]] = {}
        self.made = 0

    def list_users(self) -> dict[str, Any]:
        return {"Users": [{"UserName": name} for name in self.keys]}

    def create_user(self, *, UserName: str) -> None:  # noqa: N803 - boto3's names
        assert UserName not in self.keys
        self.keys[UserName] = []

    def list_access_keys(self, *, UserName: str) -> dict[str, Any]:  # noqa: N803
        return {"AccessKeyMetadata": [{"AccessKeyId": key} for key in self.keys[UserName]]}

    def delete_access_key(self, *, UserName: str, AccessKeyId: str) -> None:  # noqa: N803
        self.keys[UserName].remove(AccessKeyId)

    def create_access_key(self, *, UserName: str) -> dict[str, Any]:  # noqa: N803
        self.made += 1
        self.keys[UserName].append(f"key-{self.made}")
        return {"AccessKey": {"AccessKeyId": f"key-{self.made}", "SecretAccessKey": f"secret-{self.made}"}}


@pytest.fixture
def iam() -> Iam:
    return Iam()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "keys.json"


def test_a_user_and_its_keys_are_made_once_and_nobody_else_may_read_them(iam: Iam, path: Path) -> None:
    assert keys_of_user(iam, "server", path) == ("key-1", "secret-1")
    assert keys_of_user(iam, "server", path) == ("key-1", "secret-1") == read_keys(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert iam.keys == {"server": ["key-1"]}


@pytest.mark.parametrize("text", [None, "", "{", "[]", "null", '{"access_key": "key-1"}'])
def test_keys_whose_secret_is_lost_are_deleted(iam: Iam, path: Path, text: str | None) -> None:
    keys_of_user(iam, "server", path)
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert read_keys(path) is None
    assert keys_of_user(iam, "server", path) == ("key-2", "secret-2")
    assert iam.keys == {"server": ["key-2"]}


def test_keys_of_a_state_that_was_forgotten_are_no_use(iam: Iam, path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"access_key": "key-0", "secret_key": "secret-0"}))
    assert keys_of_user(iam, "developer", path) == ("key-1", "secret-1")
