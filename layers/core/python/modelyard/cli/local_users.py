"""IAM users of the local AWS, each with its keys in a file that only this account of the machine reads."""

import json
from pathlib import Path
from typing import Any


def keys_of_user(iam: Any, name: str, path: Path) -> tuple[str, str]:
    """Access key and secret of an IAM user; the user and the keys are made where there are none.

    Args:
        iam: A client that may make users.
        name: The user's.
        path: The file for the keys. Those of the user whose secret is not in it are lost, and deleted.
    """
    if not any(user["UserName"] == name for user in iam.list_users()["Users"]):
        iam.create_user(UserName=name)
    known = [key["AccessKeyId"] for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]]
    kept = read_keys(path)
    if kept is not None and kept[0] in known:
        return kept
    for access_key in known:
        iam.delete_access_key(UserName=name, AccessKeyId=access_key)
    made = iam.create_access_key(UserName=name)["AccessKey"]
    keys = made["AccessKeyId"], made["SecretAccessKey"]
    write_private(path, json.dumps({"access_key": keys[0], "secret_key": keys[1]}))
    return keys


def read_keys(path: Path) -> tuple[str, str] | None:
    """Access key and secret out of a file that `keys_of_user` wrote; None where it is missing or damaged."""
    try:
        keys = json.loads(path.read_text())
        return keys["access_key"], keys["secret_key"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else may read, not even while it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
