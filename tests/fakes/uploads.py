"""The data bucket in memory: versioned, with delete markers, and versions may be deleted for good, as in S3."""

import hashlib
import itertools
import threading
from collections.abc import Callable

from modelyard.aws.uploads import UploadFacts


class InMemoryUploads:
    """An ``UploadStore``; keys are text as S3 stores it, never encoded.

    Attributes:
        bucket: The bucket's name.
        reads: Keys and versions in the order in which their bytes were asked for.
        before_read: Called with the key before each read of bytes, so that a test can change the bucket in between.
    """

    def __init__(self, bucket: str = "data-bucket") -> None:
        self.bucket = bucket
        self.reads: list[tuple[str, str]] = []
        self.before_read: Callable[[str], None] = lambda key: None
        # The versions of a key, oldest first; None is a delete marker.
        self._versions: dict[str, list[tuple[str, bytes | None]]] = {}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def put(self, key: str, content: bytes) -> str:
        """Upload; the new version's id."""
        return self._add(key, bytes(content))

    def delete(self, key: str) -> str:
        """What ``rm`` does: a delete marker becomes the newest version. Its id."""
        return self._add(key, None)

    def delete_version(self, key: str, version_id: str) -> None:
        """Remove one version for good."""
        with self._lock:
            self._versions[key] = [version for version in self._versions[key] if version[0] != version_id]

    def versions(self, key: str) -> tuple[str, ...]:
        """The ids of a key's versions, newest first, without delete markers."""
        with self._lock:
            known = self._versions.get(key, [])
            return tuple(version_id for version_id, content in reversed(known) if content is not None)

    def head(self, key: str, version_id: str | None = None) -> UploadFacts | None:
        """The version, or the newest; None when there is none or it is a delete marker."""
        with self._lock:
            known = self._versions.get(key, [])
            found = [version for version in known if version[0] == version_id] if version_id else known[-1:]
        if not found or found[0][1] is None:
            return None
        name, content = found[0]
        return UploadFacts(name, hashlib.md5(content, usedforsecurity=False).hexdigest(), len(content))

    def get(self, key: str, version_id: str) -> bytes | None:
        """The version's bytes; None when it is gone or a delete marker."""
        self.before_read(key)
        with self._lock:
            self.reads.append((key, version_id))
            return dict(self._versions.get(key, [])).get(version_id)

    def _add(self, key: str, content: bytes | None) -> str:
        with self._lock:
            version_id = f"v{next(self._ids):04d}"
            self._versions.setdefault(key, []).append((version_id, content))
            return version_id
