"""Where captured requests and labels are read from: the artifact bucket, or a folder of downloaded files.

Both give the names of files and their bytes, and are read and never written.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from modelyard.errors import UsageError
from modelyard.ports import ArtifactStore
from modelyard.replay.period import Period

FEEDBACK = "feedback"
SUFFIX = ".jsonl"


class Source(Protocol):
    """Files of JSON Lines."""

    def captures(self) -> list[str]:
        """Names of the files with captured requests."""
        ...

    def labels(self) -> list[str]:
        """Names of the files with labels."""
        ...

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where it has gone since it was listed."""
        ...


class BucketSource:
    """The artifact bucket of an environment; see ``docs/rollout.md`` for the keys.

    Args:
        artifacts: The bucket.
        model: Name of the model.
        versions: Those that may have answered.
        period: When they did.
        now: The time; labels may come until then.
    """

    def __init__(
        self, artifacts: ArtifactStore, *, model: str, versions: Iterable[int], period: Period, now: dt.datetime
    ) -> None:
        self._artifacts = artifacts
        self._model = model
        self._versions = sorted(set(versions))
        self._period = period
        self._now = now

    def captures(self) -> list[str]:
        """Those of the hours of the period."""
        found = []
        for version in self._versions:
            for day in self._period.days(self._now):
                prefix = f"captures/{self._model}/version={version}/date={day}/"
                found += [name for name in self._listed(prefix) if self._period.touches(_hour(name, prefix, day))]
        return found

    def labels(self) -> list[str]:
        """Those that came since the period began; a label may be late."""
        days = self._period.days(self._now, late=True)
        return [name for day in days for name in self._listed(f"{FEEDBACK}/{self._model}/date={day}/")]

    def read(self, name: str) -> bytes | None:
        """The bytes of an object."""
        there = self._artifacts.get(name)
        return None if there is None else there.body

    def _listed(self, prefix: str) -> Iterator[str]:
        return (line.key for line in self._artifacts.listing(prefix))


def _hour(name: str, prefix: str, day: str) -> str:
    return f"{day}T{name.removeprefix(prefix).removeprefix('hour=')[:2]}"


class FolderSource:
    """A folder with files as they were downloaded, however they are arranged.

    Args:
        folder: Where they are. Files below a folder ``feedback`` hold labels.

    Raises:
        UsageError: With code ``no_captures`` where there are none.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder", code="no_captures", field="captures", next_step=_DOWNLOAD)
        self._folder = folder
        self._names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob(f"*{SUFFIX}"))
        if not self.captures():
            raise UsageError(
                f"{folder} holds no {SUFFIX} file with captured requests",
                code="no_captures",
                field="captures",
                next_step=_DOWNLOAD,
            )

    def captures(self) -> list[str]:
        """All but those with labels."""
        return [name for name in self._names if not self._is_feedback(name)]

    def labels(self) -> list[str]:
        """Those below a folder ``feedback``."""
        return [name for name in self._names if self._is_feedback(name)]

    def read(self, name: str) -> bytes | None:
        """The bytes of a file."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def _is_feedback(self, name: str) -> bool:
        return FEEDBACK in name.split("/")[:-1]


_DOWNLOAD = "Download some: aws s3 sync s3://BUCKET/captures/NAME FOLDER/captures, and feedback/NAME beside it."
