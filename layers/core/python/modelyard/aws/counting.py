"""How far an upload is: a body that reports what botocore has read of it."""

from collections.abc import Callable
from typing import Any


class Counted:
    """A file that reports how far it was read; what is read again, after a lost connection, counts once."""

    def __init__(self, file: Any, progress: Callable[[int], None]) -> None:
        self._file, self._progress, self._reported = file, progress, 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        content: bytes = self._file.read(size)
        self._report()
        return content

    def seek(self, *place: int) -> int:
        """Go to a place; botocore goes back to send again."""
        found: int = self._file.seek(*place)
        self._report()
        return found

    def _report(self) -> None:
        at = self._file.tell()
        if at != self._reported:
            self._progress(at - self._reported)
            self._reported = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
