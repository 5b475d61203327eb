"""Reading the registry. Every read sees the last write; every listing is paged or says that it is whole."""

import datetime as dt
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from modelyard.deployment import Deployment, LedgerEntry
from modelyard.errors import NotFoundError, UsageError
from modelyard.names import check_id, check_name, check_text, check_unicode
from modelyard.patience import attempts
from modelyard.ports import ArtifactStore, Item, Page, RecordStore
from modelyard.registry import keys
from modelyard.registry.records import CatalogueLine, DatasetFile, ModelRecord, Run
from modelyard.times import as_stamp, stamp, utc_now
from modelyard.version import Version

S = TypeVar("S", bound=msgspec.Struct)
PAGE = 50
LONGEST_PAGE = 500
HIGHEST_VERSION = 99_999_999


class Reader:
    """The registry's queries, and what all its verbs share.

    Args:
        records: Where the truth is.
        artifacts: Where the bytes are.
        actor: Who acts; every record that is written says so.
        clock: The present time, aware of its zone.
        new_id: Makes an id that no other call makes.
        sleep: How retries wait.
        deadline_s: How long a verb competes with other writers before it gives up.
    """

    def __init__(
        self,
        records: RecordStore,
        artifacts: ArtifactStore,
        *,
        actor: str,
        clock: Callable[[], dt.datetime] = utc_now,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        sleep: Callable[[float], None] = time.sleep,
        deadline_s: float = 60.0,
    ) -> None:
        self.records = records
        self.artifacts = artifacts
        self.actor = check_text(actor, field="actor", limit=256)
        self._clock = clock
        self._new_id = new_id
        self._sleep = sleep
        self._deadline_s = deadline_s

    # -- queries --------------------------------------------------------------------------------------------------

    def model(self, name: str) -> ModelRecord:
        """The model called ``name``.

        Raises:
            NotFoundError: When nothing was registered under that name.
        """
        record = self._read(keys.partition(check_name(name)), keys.MODEL, ModelRecord)
        if record is None:
            raise NotFoundError(
                f"model {name!r} is not in the registry",
                field="model",
                next_step=f"Run 'modelyard status' to see what is, 'modelyard runs {name}' for trainings that made no "
                "version, or register its first version.",
            )
        return record

    def models(self, *, limit: int = PAGE, start: str | None = None) -> Page[CatalogueLine]:
        """The models by name."""
        return self._list(keys.CATALOGUE, "", CatalogueLine, limit=limit, start=start)

    def version(self, model: str, number: int) -> Version:
        """One version.

        Raises:
            NotFoundError: When the model or the version does not exist.
        """
        check_number(number)
        found = self._read(keys.partition(check_name(model)), keys.version(number), Version)
        if found is None:
            there = self.model(model).versions
            raise NotFoundError(
                f"model {model!r} has no version {number}; it has 1 to {there}",
                field="version",
                next_step=f"Run 'modelyard versions {model}'.",
            )
        return found

    def versions(self, model: str, *, limit: int = PAGE, start: str | None = None) -> Page[Version]:
        """The versions, newest first.

        Raises:
            NotFoundError: When the model does not exist.
        """
        return self._list_of_model(model, keys.VERSION, Version, limit=limit, start=start)

    def deployment(self, model: str) -> Deployment | None:
        """What is live, or None when nothing is."""
        return self._read(keys.partition(check_name(model)), keys.DEPLOYMENT, Deployment)

    def deployment_at(self, model: str, when: dt.datetime | str) -> Deployment | None:
        """What was live at ``when`` (aware, or ISO 8601 with an offset); None before the first promotion."""
        found = self.records.query(
            keys.partition(check_name(model)),
            prefix=keys.DEPLOYED,
            until=keys.DEPLOYED + as_stamp(when),
            reverse=True,
            limit=1,
        )
        return msgspec.convert(found.items[0], Deployment) if found.items else None

    def history(self, model: str, *, limit: int = PAGE, start: str | None = None) -> Page[LedgerEntry]:
        """The ledger, newest first.

        Raises:
            NotFoundError: When the model does not exist and nothing was ever tried for it.
        """
        return self._list_of_model(model, keys.LEDGER, LedgerEntry, limit=limit, start=start)

    def run(self, model: str, run_id: str) -> Run:
        """One retraining run.

        Raises:
            NotFoundError: When it was not recorded.
        """
        found = self._find_run(check_name(model), check_id(run_id, field="run_id"))
        if found is None:
            raise NotFoundError(
                f"model {model!r} has no run {run_id!r}", field="run_id", next_step=f"Run 'modelyard runs {model}'."
            )
        return found

    def runs(self, model: str, *, limit: int = PAGE, start: str | None = None) -> Page[Run]:
        """The retraining runs by id, highest first: newest first where ids begin with the time."""
        pk = keys.partition(check_name(model))
        return self._list(pk, keys.RUN, Run, limit=limit, start=start, reverse=True)

    def dataset_files(self, model: str, *, until: dt.datetime | str | None = None) -> tuple[DatasetFile, ...]:
        """All accepted training files in the order of acceptance, or those accepted up to ``until``."""
        found = self.records.query(
            keys.partition(check_name(model)),
            prefix=keys.DATASET,
            until=None if until is None else f"{keys.DATASET}{as_stamp(until, field='until')}#~",
        )
        return tuple(msgspec.convert(item, DatasetFile) for item in found.items)

    # -- shared by the verbs --------------------------------------------------------------------------------------

    def _now(self) -> str:
        return stamp(self._clock())

    def _attempts(self) -> Iterator[int]:
        return attempts(self._deadline_s, sleep=self._sleep)

    def _read(self, pk: str, sk: str, kind: type[S]) -> S | None:
        return as_record(self.records.get(pk, sk), kind)

    def _find_run(self, model: str, run_id: str) -> Run | None:
        return self._read(keys.partition(model), keys.RUN + run_id, Run)

    def _list(
        self, pk: str, prefix: str, kind: type[S], *, limit: int, start: str | None, reverse: bool = False
    ) -> Page[S]:
        """One page; a cursor is the sort key without its prefix, so a caller can never leave the listing with it."""
        check_limit(limit)
        after = None if check_start(start) is None else f"{prefix}{start}"
        page = self.records.query(pk, prefix=prefix, reverse=reverse, limit=limit, start=after)
        items = tuple(msgspec.convert(item, kind) for item in page.items)
        return Page(items, None if page.next is None else page.next.removeprefix(prefix))

    def _list_of_model(self, model: str, prefix: str, kind: type[S], *, limit: int, start: str | None) -> Page[S]:
        pk = keys.partition(check_name(model))
        page = self._list(pk, prefix, kind, limit=limit, start=start, reverse=True)
        if not page.items and start is None:
            self.model(model)  # raises when there is no such model; without versions it may still have a history
            page = self._list(pk, prefix, kind, limit=limit, start=start, reverse=True)  # it was made meanwhile
        return page


def as_record(item: Item | None, kind: type[S]) -> S | None:
    """What ``item`` holds; None where there is none."""
    return None if item is None else msgspec.convert(item, kind)


def check_limit(limit: int) -> None:
    """Return when ``limit`` can be the length of a page.

    Raises:
        UsageError: With code ``invalid_limit``.
    """
    if isinstance(limit, bool) or not 1 <= limit <= LONGEST_PAGE:
        raise UsageError(f"limit {limit} is not between 1 and {LONGEST_PAGE}", code="invalid_limit", field="limit")


def check_start(start: str | None) -> str | None:
    """``start``, when it can be a cursor.

    Raises:
        UsageError: With code ``invalid_start`` when it is empty, ``invalid_text`` when it is not text.
    """
    if start is not None and not check_unicode(start, field="start", limit=500):
        raise UsageError("start is empty; leave it out for the first page", code="invalid_start", field="start")
    return start


def check_number(number: Any) -> None:
    """Return when ``number`` can be a version's number.

    Raises:
        UsageError: With code ``invalid_version``.
    """
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= HIGHEST_VERSION:
        raise UsageError(
            f"version {ascii(number)[:40]} is not a version number: a whole number from 1 on",
            code="invalid_version",
            field="version",
        )
