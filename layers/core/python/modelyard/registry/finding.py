"""Searching the catalogue, and keeping the index that it searches.

The index (``modelyard.registry.index``) is made from the records after they were written, by whoever calls ``index``:
in AWS the function on the stream of the table, within seconds. A search may be a moment behind; it decides nothing.
"""

import msgspec

from modelyard.canonical import digest_of
from modelyard.errors import ConflictError, UsageError
from modelyard.names import check_name, check_text, tag_problem
from modelyard.ports import MOST_WRITES, ConditionFailedError, Delete, Item, Page, Put, Write
from modelyard.registry import keys
from modelyard.registry.index import (
    LONGEST_METRIC,
    WHOLE,
    entries_of_model,
    entries_of_version,
    facets,
    sortable,
    trained_on,
    versions_by,
    words,
)
from modelyard.registry.reading import PAGE, Reader, check_limit, check_start
from modelyard.registry.records import Found, FoundVersion, ModelRecord
from modelyard.version import Task

MOST_READS = 10
"""Pages that one search reads at most; a rare combination of filters is answered with what there is and a cursor."""


STRETCH = 500
"""Versions that are indexed before the index says so."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """A metric between two values, both included; at least one of them."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for; everything given has to hold.

    ``name`` begins the model's name or one of the words in it; ``owner`` is whole, in any case; ``bounds`` are about
    the champion, or the newest version where nothing is live. Task, owner, one tag and either a name or a metric are
    looked up together; a second tag, or a name beside a metric, is compared while reading.
    """

    name: str = ""
    task: Task | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    bounds: Bounds | None = None


class _Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """What the index holds of a model: its entries' keys, their digest, and up to which version."""

    change: int
    entries: tuple[tuple[str, str], ...]
    digest: str
    versions: int


class Finder(Reader):
    """The registry's verbs for searching."""

    def search(self, search: Search, *, limit: int = PAGE, start: str | None = None) -> Page[Found]:
        """Models, by name; with bounds on a metric by its value, best matching end first (see ``versions_where``).

        Raises:
            UsageError: When something asked for cannot be.
        """
        check_limit(limit)
        tag = _check(search)
        metric = None if search.bounds is None else search.bounds.metric
        pk = facets(task=search.task, owner=search.owner or None, tag=tag, metric=metric)
        prefix = "" if search.bounds else search.name or WHOLE
        found: list[Found] = []
        for _ in range(MOST_READS):
            page = self._look(pk, search.bounds, prefix=prefix, limit=limit, start=start)
            for item in page.items:
                start = item["sk"]
                model = msgspec.convert(item, Found)
                if _is_first(start, model, search) and _matches(model, search):
                    found.append(model)
                    if len(found) == limit:
                        is_last = page.next is None and item is page.items[-1]
                        return Page(tuple(found), None if is_last else start)
            if page.next is None:
                return Page(tuple(found))
        return Page(tuple(found), start)

    def versions_where(
        self, model: str, bounds: Bounds, *, limit: int = PAGE, start: str | None = None
    ) -> Page[FoundVersion]:
        """Versions of a model by a metric: from the highest down with ``at_least``, else from the lowest up."""
        check_limit(limit)
        _check_bounds(bounds)
        page = self._look(versions_by(check_name(model), bounds.metric), bounds, prefix="", limit=limit, start=start)
        return Page(tuple(msgspec.convert(item, FoundVersion) for item in page.items), page.next)

    def versions_from(self, sha256: str, *, limit: int = PAGE, start: str | None = None) -> Page[FoundVersion]:
        """Versions of any model that were trained on the file with this SHA-256 (hex), by model and number."""
        check_limit(limit)
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise UsageError(
                f"{ascii(sha256)[:80]} is not a SHA-256: 64 of 0-9 and a-f", code="invalid_digest", field="sha256"
            )
        page = self.records.query(trained_on(sha256), prefix="", limit=limit, start=check_start(start))
        return Page(tuple(msgspec.convert(item, FoundVersion) for item in page.items), page.next)

    def index(self, model: str) -> int:
        """Bring the index up to the records of a model; safe to call at any time, from anywhere. Returns its writes.

        Each transaction also moves the index's own record one step on, so of two that work at the same time one starts
        again, and neither can leave an entry behind that the other has removed.
        """
        check_name(model)
        written = 0
        for _ in self._attempts():
            try:
                while True:
                    more, is_done = self._index_stretch(model)
                    written += more
                    if is_done:
                        return written
            except ConditionFailedError:
                continue
        raise ConflictError(
            f"the search index of model {model!r} was written by others for {self._deadline_s:.0f} s without a pause",
            code="contended",
            next_step="Try again; repeating it is safe.",
        )

    def _index_stretch(self, model: str) -> tuple[int, bool]:
        """Index the next versions and the model itself: how many writes, and whether that was all.

        A model with very many versions is indexed in stretches, each of which stays when a later one is cut off.
        """
        home = keys.index_partition(model)
        before = self._read(home, keys.INDEXED, _Indexed)
        record = self._read(keys.partition(model), keys.MODEL, ModelRecord)
        if record is None:
            return 0, True
        deployment = self.deployment(model)
        shown = record.versions if deployment is None else deployment.champion
        wanted = entries_of_model(record, deployment, self.version(model, shown))
        digest = digest_of([digest_of(sorted(wanted)), wanted[min(wanted)]])
        first = 1 if before is None else before.versions + 1
        if before is not None and before.digest == digest and first > record.versions:
            return 0, True
        last = min(record.versions, first + STRETCH - 1)
        is_done = last == record.versions
        written = self._index_versions(model, range(first, last + 1))
        return written + self._move(home, before, wanted, digest if is_done else "", last), is_done

    def _index_versions(self, model: str, numbers: range) -> int:
        writes = [Put(item) for number in numbers for item in entries_of_version(self.version(model, number))]
        for start in range(0, len(writes), MOST_WRITES):
            self.records.transact(writes[start : start + MOST_WRITES])
        return len(writes)

    def _move(
        self, home: str, before: _Indexed | None, wanted: dict[tuple[str, str], Item], digest: str, versions: int
    ) -> int:
        """Put what is wanted, delete what is not, and say so, in as many transactions as it takes."""
        there = set(before.entries) if before else set()
        writes: list[Write] = [Delete(*key) for key in sorted(there - wanted.keys())]
        writes += [Put(item) for item in wanted.values()]
        room = MOST_WRITES - 1
        steps = [writes[start : start + room] for start in range(0, len(writes), room)]
        for place, step in enumerate(steps, 1):
            is_last = place == len(steps)
            after = _Indexed(
                change=(before.change if before else 0) + 1,
                # Until the last step, everything that may be there: whoever goes on after a crash removes it.
                entries=tuple(sorted(wanted if is_last else there | wanted.keys())),
                digest=digest if is_last else "",
                versions=versions if is_last else before.versions if before else 0,
            )
            expected: dict[str, str | int] = {} if before is None else {"change": before.change}
            said = Put(keys.item(home, keys.INDEXED, after), absent=before is None, equals=expected)
            self.records.transact([*step, said])
            before = after
        return len(writes)

    def _look(self, pk: str, bounds: Bounds | None, *, prefix: str, limit: int, start: str | None) -> Page[Item]:
        since = None if bounds is None or bounds.at_least is None else sortable(bounds.at_least)
        until = None if bounds is None or bounds.at_most is None else sortable(bounds.at_most) + "~"  # after "#"
        outside = start is not None and (
            not start.startswith(prefix) or start < (since or start) or start > (until or start)
        )
        if check_start(start) is not None and outside:  # DynamoDB refuses a cursor outside of what is asked for
            raise UsageError(
                f"start {ascii(start)[:80]} is not from a page of this search",
                code="invalid_start",
                field="start",
                next_step="Leave it out for the first page; keep the filters from page to page.",
            )
        if bounds is None:
            return self.records.query(pk, prefix=prefix, limit=limit, start=start)
        return self.records.query(
            pk,
            prefix="",
            since=since,
            until=until,
            reverse=bounds.at_least is not None,
            limit=limit,
            start=start,
        )


def _check(search: Search) -> str | None:
    """Refuse what cannot be looked for; the tag that is looked up, if any."""
    if search.name and not set(search.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_"):
        raise UsageError(
            f"{ascii(search.name)[:80]} begins no model's name: those are of a-z, 0-9 and '_'",
            code="invalid_name",
            field="name",
        )
    check_text(search.owner or "", field="owner", lines=False)
    for tag in search.tags:
        problem = tag_problem(tag)
        if problem is not None:
            raise UsageError(problem, code="invalid_tag", field="tag")
    if search.bounds is not None:
        _check_bounds(search.bounds)
    return search.tags[0] if search.tags else None


def _check_bounds(bounds: Bounds) -> None:
    check_text(bounds.metric, field="metric", limit=LONGEST_METRIC, lines=False)
    given = [value for value in (bounds.at_least, bounds.at_most) if value is not None]
    if not bounds.metric or not given or any(value != value for value in given):
        raise UsageError(
            "a search by a metric needs its name and a number that it is at least, or at most",
            code="invalid_bounds",
            field="metric",
        )
    if len(given) > 1 and given[0] > given[1]:  # DynamoDB takes no range that ends before it begins
        raise UsageError(
            f"nothing is at least {given[0]} and at most {given[1]}", code="invalid_bounds", field="metric"
        )


def _is_first(sort_key: str, model: Found, search: Search) -> bool:
    """Whether this is the one entry that counts of those that a model has, so that no page shows it again."""
    if search.bounds is not None or not search.name:
        return True
    first = min(word for word in words(model.name) if word.startswith(search.name))
    return sort_key == f"{first}#{model.name}"


def _matches(model: Found, search: Search) -> bool:
    """Whether the filters hold that were not looked up."""
    return set(search.tags) <= set(model.tags) and any(word.startswith(search.name) for word in words(model.name))
