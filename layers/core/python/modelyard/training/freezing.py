"""Which rows are frozen for evaluation, and how they are kept out of every training.

The rule: the rows are chosen once, from what is there at the first training, and then no version trains on them. They
are stored as rows, not as a recipe: whatever files come, go or are corrected later, every version is measured on the
same rows with the same answers. Another choice is a new, numbered set, and somebody's decision.

A row is recognised by what it says, without the target: every column that both it and the frozen row have, numbers in
one spelling. So a row stays frozen when it comes again in another file, in another order, with a corrected label, or in
an export with more or fewer columns. Rows that differ in the target only are one row here: they stay on one side. Where
whole groups are frozen, so is what comes later of a group.
"""

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.errors import UsageError
from modelyard.training.plan import Plan
from modelyard.training.records import Records
from modelyard.training.rows import content
from modelyard.training.table import Table

Mask = NDArray[np.bool_]

PARTS_OF_A_NUMBER = 10
"""Into how many parts of equal count a number is cut for a stratified choice: the target of a regression."""


@dataclass(frozen=True, slots=True)
class FrozenRows:
    """The rows that are frozen, as text, with every named column that their files had.

    Attributes:
        header: Every named column of every file.
        rows: The cells of each row; empty where its file had no such column.
        absent: The columns that the file of each row did not have.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    absent: tuple[frozenset[str], ...]

    @classmethod
    def of(cls, table: Table) -> "FrozenRows":
        """The rows of a table."""
        return cls._of(table.headers, zip(table.files.tolist(), table.rows, strict=True))

    @classmethod
    def of_files(cls, files: Sequence[Records]) -> "FrozenRows":
        """All rows of some files."""
        return cls._of(
            [file.header for file in files], ((at, row) for at, file in enumerate(files) for row in file.rows)
        )

    @classmethod
    def _of(cls, headers: Sequence[tuple[str, ...]], found: Iterable[tuple[int, list[str]]]) -> "FrozenRows":
        header = tuple(dict.fromkeys(name for names in headers for name in names if name))
        lacking = [frozenset(header) - frozenset(names) for names in headers]
        rows: list[tuple[str, ...]] = []
        absent: list[frozenset[str]] = []
        for file, row in found:
            cells = dict(zip(headers[file], row, strict=True))
            rows.append(tuple(cells.get(name, "") for name in header))
            absent.append(lacking[file])
        return cls(header, tuple(rows), tuple(absent))

    def to_csv(self) -> bytes:
        """The form in which they are stored. Where a file lacked a column, a column without a name says so."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
        if not any(self.absent):
            writer.writerow(self.header)
            writer.writerows(self.rows)
            return text.getvalue().encode("utf-8")
        writer.writerow(("", *self.header))
        for row, absent in zip(self.rows, self.absent, strict=True):
            writer.writerow((json.dumps(sorted(absent), ensure_ascii=False) if absent else "", *row))
        return text.getvalue().encode("utf-8")

    @classmethod
    def from_csv(cls, document: bytes) -> "FrozenRows":
        """Read what `to_csv` wrote."""
        header, *rows = csv.reader(io.StringIO(document.decode("utf-8"), newline=""), strict=True)
        if header[0]:
            return cls(tuple(header), tuple(map(tuple, rows)), (frozenset(),) * len(rows))
        absent = tuple(frozenset(json.loads(row[0])) if row[0] else frozenset() for row in rows)
        return cls(tuple(header[1:]), tuple(tuple(row[1:]) for row in rows), absent)


def are_frozen(plan: Plan, table: Table, frozen: FrozenRows) -> Mask:
    """Which rows of a table no version may train on."""
    found = are_among(plan, table, frozen)
    column = plan.evaluation.split.column
    if plan.evaluation.split.by == "group" and column in frozen.header:
        at = frozen.header.index(column)
        groups = {content([(column, row[at])]) for row in frozen.rows}
        names = [header.index(column) for header in table.headers]
        for place, (file, row) in enumerate(zip(table.files.tolist(), table.rows, strict=True)):
            found[place] |= content([(column, row[names[file]])]) in groups
    return found


def are_among(plan: Plan, table: Table, rows: FrozenRows) -> Mask:
    """Which rows of a table say the same as one of ``rows``, in every column but the target that both have."""
    # Rows of files with the same columns are compared by the same columns.
    kinds: dict[frozenset[str], list[tuple[str, ...]]] = defaultdict(list)
    for row, absent in zip(rows.rows, rows.absent, strict=True):
        kinds[absent].append(row)
    known: dict[tuple[str, ...], list[tuple[frozenset[str], set[bytes]]]] = {}
    for header in set(table.headers):
        known[header] = []
        for absent, alike in kinds.items():
            shared = frozenset(header) & frozenset(rows.header) - absent - {plan.training.target}
            known[header].append((shared, {_identity(rows.header, row, shared) for row in alike}))
    return np.array(
        [
            any(_identity(header, row, shared) in identities for shared, identities in known[header])
            for header, row in (
                (table.headers[file], row) for file, row in zip(table.files.tolist(), table.rows, strict=True)
            )
        ],
        dtype=np.bool_,
    )


def _identity(header: Sequence[str], row: Sequence[str], names: frozenset[str]) -> bytes:
    cells = ((name, text) for name, text in zip(header, row, strict=True) if name in names)
    return hashlib.sha256(content(cells)).digest()[:16]


def choose(plan: Plan, table: Table, *, allowed: Mask | None = None) -> Mask:
    """The rows to freeze, by the plan's rule; a function of the rows, whatever their order.

    Args:
        plan: Names the rule, its column and the share.
        table: All rows.
        allowed: Which rows may be frozen: where a live version has trained on some, only the others can judge it. The
            share is of all rows all the same.

    Raises:
        UsageError: With code ``too_few_rows`` when nothing could be frozen, or nothing would be left to train on.
    """
    target = frozenset({plan.training.target})
    identities = [
        _identity(table.headers[file], row, frozenset(table.headers[file]) - target)
        for file, row in zip(table.files.tolist(), table.rows, strict=True)
    ]
    may = np.ones(len(table), dtype=np.bool_) if allowed is None else allowed
    units = _Units.of(identities, may)
    wanted = plan.evaluation.holdout * len(table)
    chosen = _RULES[plan.evaluation.split.by](plan, table, units, wanted)
    mask = np.zeros(len(table), dtype=np.bool_)
    for unit in chosen:
        mask[unit.rows] = True
    _check(table, mask)
    return mask


@dataclass(frozen=True, slots=True)
class _Unit:
    """Rows that stay together, in an order that nobody chose: that of a hash."""

    order: bytes
    rows: list[int]

    @property
    def first(self) -> int:
        return self.rows[0]


class _Units(list[_Unit]):
    @classmethod
    def of(cls, identities: Iterable[Any], may: Mask) -> "_Units":
        """Units of equal identity, sorted by its hash; none that holds a row that may not be frozen."""
        together: dict[Any, list[int]] = defaultdict(list)
        for row, identity in enumerate(identities):
            together[identity].append(row)
        units = (
            _Unit(hashlib.sha256(identity if isinstance(identity, bytes) else str(identity).encode()).digest(), rows)
            for identity, rows in together.items()
            if may[rows].all()
        )
        return cls(sorted(units, key=lambda unit: unit.order))


def _stratified(plan: Plan, table: Table, units: _Units, wanted: float) -> list[_Unit]:
    """The same share of every class, or of every tenth of the numbers; of a class of two or more at least one."""
    strata: dict[Any, list[_Unit]] = defaultdict(list)
    if plan.classification:
        for unit in units:
            strata[table.target[unit.first]].append(unit)
    else:
        ranked = sorted(units, key=lambda unit: (float(table.target[unit.first]), unit.order))
        # Each large enough for one of it to be frozen and one to be learnt from.
        parts = max(1, min(PARTS_OF_A_NUMBER, round(wanted), len(ranked) // 2))
        for rank, unit in enumerate(ranked):
            strata[rank * parts // len(ranked)].append(unit)
        for stratum in strata.values():
            stratum.sort(key=lambda unit: unit.order)
    share = wanted / max(1, sum(len(unit.rows) for unit in units))
    return [
        unit for stratum in strata.values() for unit in _fitting(stratum, share * sum(len(u.rows) for u in stratum))
    ]


def _fitting(units: Sequence[_Unit], wanted: float) -> list[_Unit]:
    """Units in their order as long as they fit into so many rows; at least one is chosen and one is not, of several.

    A unit that is too large is passed over: rows that stay together may be most of a file.
    """
    chosen: list[_Unit] = []
    taken = 0
    for unit in units:
        if taken + len(unit.rows) <= round(wanted) and len(chosen) < len(units) - 1:
            chosen.append(unit)
            taken += len(unit.rows)
    return chosen or ([min(units, key=lambda unit: len(unit.rows))] if len(units) > 1 else [])


def _newest(plan: Plan, table: Table, units: _Units, wanted: float) -> list[_Unit]:
    """The newest rows; those of one time stay together."""
    times = table.others_or_features(str(plan.evaluation.split.column))
    ranked = sorted(units, key=lambda unit: str(times[unit.first]), reverse=True)
    chosen: list[_Unit] = []
    taken = 0
    for unit in ranked:
        is_tied = bool(chosen) and times[unit.first] == times[chosen[-1].first]
        if taken >= wanted and not is_tied:
            break
        chosen.append(unit)
        taken += len(unit.rows)
    return chosen


def _groups(plan: Plan, table: Table, units: _Units, wanted: float) -> list[_Unit]:
    """Whole groups, in the order of their names' hashes, as long as they fit into the share."""
    names = table.others_or_features(str(plan.evaluation.split.column))
    allowed = np.zeros(len(table), dtype=np.bool_)
    for unit in units:
        allowed[unit.rows] = True
    groups = _Units.of((str(name).encode() for name in names.tolist()), allowed)
    return _fitting(groups, wanted) or groups


_RULES: dict[str, Callable[[Plan, Table, _Units, float], list[_Unit]]] = {
    "stratified": _stratified,
    "time": _newest,
    "group": _groups,
}


def in_words(plan: Plan) -> str:
    """The rule, for reports and the ledger."""
    split, share = plan.evaluation.split, f"{100 * plan.evaluation.holdout:g} %"
    if split.by == "time":
        return f"the newest {share} of the rows by {split.column!r}"
    if split.by == "group":
        return f"whole groups of {split.column!r}, {share} of the rows"
    return f"{share} of every {'class' if plan.classification else f'tenth of {plan.training.target!r}'}"


def _check(table: Table, mask: Mask) -> None:
    frozen = int(mask.sum())
    if frozen and len(table) - frozen >= 2:
        return
    raise UsageError(
        f"{len(table)} rows are too few to be divided: {frozen} would be frozen for evaluation and "
        f"{len(table) - frozen} left to train on; at least 1 and 2 are needed (rows that differ in the target only, "
        "and those of one time or group, stay together)",
        code="too_few_rows",
        next_step="Upload more rows, or change evaluation.holdout or evaluation.split in model.toml.",
    )
