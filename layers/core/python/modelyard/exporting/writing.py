"""The last stage: the folder appears whole or not at all.

Everything is written into a hidden folder beside it; then one rename makes it visible. A full disk or Ctrl-C before
leaves nothing. A folder of an earlier export is replaced, when it holds what that export wrote and nothing else.
"""

import errno
import hashlib
import re
import secrets
import shutil
from pathlib import Path

from modelyard.errors import ConflictError, UsageError
from modelyard.exporting.folder import MANIFEST, MODEL, SCRIPT, SUMS

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def check_target(target: Path) -> None:
    """Look whether an export can be written there.

    Raises:
        UsageError: With code ``invalid_folder`` when it cannot be the name of a folder to make.
        ConflictError: With code ``folder_taken`` when something else is there, naming what.
    """
    if not target.parent.is_dir():
        raise UsageError(
            f"{target.parent} is not a folder",
            code="invalid_folder",
            next_step=f"Make it first: mkdir -p {target.parent}",
        )
    if target == Path.cwd() or target in Path.cwd().parents:
        raise UsageError(
            f"{target} is the folder that you are in; an export replaces its folder as a whole",
            code="invalid_folder",
            next_step="Name a folder below it, which the export makes.",
        )
    if not target.exists():
        return
    problem = "it is not a folder" if not target.is_dir() else _foreign(target)
    if problem is not None:
        raise ConflictError(
            f"{target} is there, and was not written by an export: {problem}",
            code="folder_taken",
            field="folder",
            next_step="Name another folder, or move that away.",
        )


def _foreign(folder: Path) -> str | None:
    """What in a folder is not from an export; None when it is empty, or as an export wrote it."""
    first = min((path.name for path in folder.iterdir()), default=None)
    if first is None:
        return None
    try:
        text = (folder / SUMS).read_text("ascii") if (folder / SUMS).is_file() else ""
    except UnicodeDecodeError:
        text = ""
    sums = {match[2]: match[1] for match in map(_LINE.fullmatch, text.splitlines()) if match}
    if not {MODEL, MANIFEST, SCRIPT} <= sums.keys():
        return f"it holds {first} and no {SUMS} of an export"
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if "__pycache__" in path.parts:
            continue  # Python's, from running predict.py
        if path.is_symlink() or (path.is_file() and name not in sums and name != SUMS):
            return f"{name} is not part of it"
        if path.is_file() and name != SUMS and hashlib.sha256(path.read_bytes()).hexdigest() != sums[name]:
            return f"{name} was changed since"
    return None


def write_folder(target: Path, files: dict[str, bytes]) -> None:
    """Write the files of an export.

    Args:
        target: The folder; an absolute path.
        files: What is in it, by path.

    Raises:
        UsageError, ConflictError: As ``check_target``.
        OSError: When the disk does.
    """
    check_target(target)
    hidden = target.parent / f".{target.name}-{secrets.token_hex(4)}"
    unfinished = hidden / "new"
    try:
        unfinished.mkdir(parents=True)
        for path, content in files.items():
            (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / path).write_bytes(content)
        _replace(target, unfinished, before=hidden / "before")
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _replace(target: Path, unfinished: Path, *, before: Path) -> None:
    """Put a folder into the place of another, which comes back when that fails."""
    if target.exists():
        check_target(target)
        target.rename(before)
    try:
        unfinished.rename(target)
    except BaseException as error:
        if before.exists():
            before.rename(target)
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise ConflictError(
                f"{target} was made by somebody else meanwhile", code="folder_taken", field="folder"
            ) from error
        raise
