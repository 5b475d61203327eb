"""Sixth stage: a tree of files becomes a zip file, equal trees equal bytes.

Times, permissions and the order of names are fixed, because a new asset hash means a new layer version and a new
version of every function that carries it. The digest is taken over names and contents and not over the zip file,
so two machines whose zlib compresses differently still agree.
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from modelyard.packaging.process import Checkpoint, unchecked

_EARLIEST = (1980, 1, 1, 0, 0, 0)
_READABLE_FILE = 0o100644 << 16
_UNIX = 3


@dataclass(frozen=True)
class Archive:
    """What was written: SHA-256 over names and contents, and sizes in bytes."""

    digest: str
    files: tuple[tuple[str, int], ...]
    zip_bytes: int

    @property
    def unzipped_bytes(self) -> int:
        """What counts against Lambda's limit."""
        return sum(size for _, size in self.files)


def write_archive(
    tree: Path, path: Path, *, level: int, prefix: str = "", checkpoint: Checkpoint = unchecked
) -> Archive:
    """Zip every file under ``tree``.

    Args:
        tree: The folder whose content is zipped.
        path: The zip file to write.
        level: zlib's compression level; 0 stores.
        prefix: The folder inside the zip file, like ``python/``.
        checkpoint: Called before every file; whatever it raises ends the work.
    """
    digest = hashlib.sha256()
    files: list[tuple[str, int]] = []
    method = zipfile.ZIP_DEFLATED if level else zipfile.ZIP_STORED
    names = sorted(file.relative_to(tree).as_posix() for file in tree.rglob("*") if file.is_file())
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            checkpoint()
            content = (tree / name).read_bytes()
            entry = zipfile.ZipInfo(f"{prefix}{name}", _EARLIEST)
            entry.compress_type = method
            entry.create_system = _UNIX
            entry.external_attr = _READABLE_FILE
            archive.writestr(entry, content, compresslevel=level or None)
            digest.update(f"{entry.filename}\0{len(content)}\0".encode())
            digest.update(content)
            files.append((name, len(content)))
    return Archive(digest.hexdigest(), tuple(files), path.stat().st_size)
