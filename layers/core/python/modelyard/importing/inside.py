"""Files that really lie in a folder, read whole.

A model's folder comes from somewhere else, and what is in it may name any file of this machine: by ``..``, by an
absolute path, by a symbolic link, or by a hard link to a file that has another name elsewhere. Each part of a path is
opened on its own, below the part before it, and without following links.
"""

import os
import stat
from pathlib import Path, PurePosixPath

from modelyard.errors import UsageError


def read_inside(folder: Path, name: str, *, limit: int) -> bytes:
    """The bytes of the file called ``name`` in ``folder``.

    Args:
        folder: An existing folder.
        name: A relative path with ``/`` between its parts.
        limit: The most bytes.

    Raises:
        UsageError: ``no_file``; ``outside_folder`` for a path or link that leaves the folder; ``file_too_large``.
    """
    descriptor = _open(folder, _parts(name), name)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _refused(f"{_shown(name)} is no plain file", "no_file", "Give a folder that MLflow wrote.")
        if found.st_nlink > 1:
            raise _refused(
                f"{_shown(name)} is a hard link: the same file has another name, perhaps outside the folder",
                "outside_folder",
                "Copy the folder (cp -r) and import the copy.",
            )
        content = file.read(limit + 1)
    if len(content) > limit:
        raise _refused(f"{_shown(name)} has more than {limit:,} bytes", "file_too_large", "Export a smaller model.")
    return content


def _parts(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise _refused(
            f"{_shown(name)} is not a path inside the folder: relative, with '/', without '..'",
            "outside_folder",
            "Import a folder whose files lie in it.",
        )
    return path.parts


def _open(folder: Path, parts: tuple[str, ...], name: str) -> int:
    """A descriptor of the file; it is not opened to wait for a writer, as a named pipe would."""
    inner = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    part = parts[0]
    try:
        for part in parts[:-1]:
            below = os.open(part, inner | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        part = parts[-1]
        return os.open(part, inner | os.O_NONBLOCK, dir_fd=at)
    except FileNotFoundError as missing:
        raise _refused(
            f"{_shown(name)} is not there", "no_file", "Give a folder that MLflow wrote, with all its files."
        ) from missing
    except OSError as failed:
        if _is_link(at, part):
            raise _refused(
                f"{_shown(name)} leads through a symbolic link",
                "outside_folder",
                "Copy the folder with the files themselves (cp -rL) and import the copy.",
            ) from failed
        raise _refused(
            f"{_shown(name)} cannot be read: {failed.strerror}", "no_file", "Check the folder and its permissions."
        ) from failed
    finally:
        os.close(at)


def _is_link(folder: int, part: str) -> bool:
    """Whether that is why it could not be opened; for the message only."""
    try:
        return stat.S_ISLNK(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _shown(name: str) -> str:
    text = ascii(name)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _refused(message: str, code: str, next_step: str) -> UsageError:
    return UsageError(message, code=code, field="source", next_step=next_step)
