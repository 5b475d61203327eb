"""Removing what no record names: bytes of publications that never finished, and their half-sent parts.

    list old objects ──► read every name in every record ──► condemn what is left ──► delete that very object version

A sweep races with publishers that find the orphan and are about to name it. So each object has one mark in the table:
a publisher's transaction names it, a sweep condemns it, and whoever comes second sees that and turns back. What a sweep
deletes is the object version that it condemned, so that bytes which a publisher put there anew are out of its reach,
however late the deletion arrives. A sweep that dies leaves condemned marks; the next one goes on with them.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from modelyard.errors import UsageError
from modelyard.ports import ConditionFailedError, ObjectLine, Put, every
from modelyard.registry import keys
from modelyard.registry.reading import LONGEST_PAGE, Reader
from modelyard.registry.records import Mark, Orphan, Sweep
from modelyard.report_key import notebook_key, page_key
from modelyard.times import stamp

REPORTS = "reports/"
PREFIXES = ("artifacts/", REPORTS)
"""Where versions, ledger entries and runs name objects. Working files, below other prefixes, expire by themselves."""

LEAST_GRACE = dt.timedelta(days=1)
"""A publication under way is younger, and so is a report that a run is about to name: workflows end within an hour."""

MOST_GRACE = dt.timedelta(days=36_500)
"""Beyond the calendar there is nothing to compare with."""


class Sweeper(Reader):
    """The registry's verb for cleaning up."""

    def sweep(self, *, older_than: dt.timedelta, delete: bool = False) -> Sweep:
        """Find, and with ``delete`` remove, objects and unfinished uploads that nothing names.

        Args:
            older_than: Grace: younger objects are left alone; at least one day.
            delete: Remove them; without, nothing is written anywhere.

        Raises:
            UsageError: ``invalid_grace``; ``not_versioned`` when the bucket keeps no versions, since nothing could be
                deleted there safely.
        """
        if older_than < LEAST_GRACE:
            raise UsageError(
                f"a grace of {older_than} is too short; at least {LEAST_GRACE.days} day is needed, for what is being "
                "published right now",
                code="invalid_grace",
                field="older_than",
            )
        if older_than > MOST_GRACE:
            raise UsageError(
                f"a grace of {older_than} is too long; at most {MOST_GRACE.days:,} days",
                code="invalid_grace",
                field="older_than",
            )
        now = self._clock()
        cutoff = now - older_than
        old = [line for prefix in PREFIXES for line in self.artifacts.listing(prefix) if line.modified < cutoff]
        named = self._named({_model_of(line.key) for line in old if line.key.startswith(REPORTS)} - {""})
        orphans = [line for line in old if line.key not in named]
        uploads = [
            upload for prefix in PREFIXES for upload in self.artifacts.unfinished(prefix) if upload.begun < cutoff
        ]
        if delete:
            orphans = [line for line in orphans if self._remove(line, cutoff)]
            for upload in uploads:
                self.artifacts.abandon(upload)
        return Sweep(
            at=stamp(now),
            by=self.actor,
            older_than_s=int(older_than.total_seconds()),
            deleted=delete,
            examined=len(old),
            named=len(old) - len(orphans),
            orphans=tuple(Orphan(key=line.key, size=line.size, modified=stamp(line.modified)) for line in orphans),
            unfinished=tuple(Orphan(key=found.key, size=0, modified=stamp(found.begun)) for found in uploads),
        )

    def _remove(self, line: ObjectLine, cutoff: dt.datetime) -> bool:
        """Remove an object with all its old versions; False when it is gone, or a version names it meanwhile."""
        if not self._remove_current(line):
            return False
        # Deleting the newest version of an object uncovers the one before it, which a dead sweep may have condemned.
        uncovered = (found for found in self.artifacts.listing(line.key) if found.key == line.key)
        if any(found.modified < cutoff for found in uncovered):
            self._remove(line, cutoff)
        return True

    def _remove_current(self, line: ObjectLine) -> bool:
        facts = self.artifacts.head(line.key)
        if facts is None:
            return False
        if facts.version_id is None:
            raise UsageError(
                f"the artifact bucket keeps no versions of objects ({line.key} has none), so nothing in it can be "
                "deleted without a race",
                code="not_versioned",
                next_step="Turn versioning of the bucket on, as the registry stack does.",
            )
        pk = keys.object_partition(line.key)
        mark = self._read(pk, keys.OBJECT, Mark)
        if mark is not None and mark.state == "named":
            return False
        condemned = Mark(state="condemned", version_id=facts.version_id, at=self._now(), by=self.actor)
        try:
            self.records.put(
                Put(
                    keys.item(pk, keys.OBJECT, condemned),
                    absent=mark is None,
                    equals={} if mark is None else {"state": mark.state, "version_id": mark.version_id},
                )
            )
        except ConditionFailedError:
            found = self._read(pk, keys.OBJECT, Mark)  # ours, if only the answer was lost
            if found is None or (found.state, found.version_id) != ("condemned", facts.version_id):
                return False
        self.artifacts.delete(line.key, version_id=facts.version_id)
        return True

    def _named(self, also: set[str]) -> set[str]:
        """Every key that any version, ledger entry or run mentions anywhere, read from the records themselves.

        ``also`` are models that may have a ledger and no version: their first runs were rejected.
        """
        named: set[str] = set()
        for model in sorted(
            {line.name for line in every(lambda start: self.models(limit=LONGEST_PAGE, start=start))} | also
        ):
            for prefix in (keys.VERSION, keys.LEDGER, keys.RUN):
                start: str | None = None
                while True:
                    page = self.records.query(keys.partition(model), prefix=prefix, limit=LONGEST_PAGE, start=start)
                    for item in page.items:
                        found = [text for text in _texts(item) if text.startswith(PREFIXES)]
                        named.update(found)
                        for report in (text for text in found if text.startswith(REPORTS)):
                            named |= {page_key(report), notebook_key(report)}
                    start = page.next
                    if start is None:
                        break
        return named


def _model_of(key: str) -> str:
    """The model in ``reports/<model>/…``."""
    return key.removeprefix(REPORTS).partition("/")[0]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _texts(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _texts(entry)
