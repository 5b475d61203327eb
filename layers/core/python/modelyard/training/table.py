"""From training files to typed columns, or findings in words.

The rule: a file is accepted whole or refused whole, with all findings at once, each with the column, the first lines
and what was expected. What can be repaired without guessing (rows that come again, columns the model does not use) is
done and said in a remark. Runs without scikit-learn, because an upload is checked before anything is trained
(`check_upload`).

Labels stay text: the class ``1`` of a file is answered as ``"1"``, so no label changes its spelling on the way through
a number. Only a regression's target is a number. Numbers stay in double precision here; the pipeline and the ONNX graph
round them to float32 in their first step, so both see the same values.
"""

import datetime as dt
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelyard.errors import UsageError
from modelyard.training.misplaced import answers_among, changed_places, says_the_same
from modelyard.training.plan import FeatureKind, Plan
from modelyard.training.records import SHOWN, Records, read_records
from modelyard.training.rows import NUMBER, content

Column = NDArray[Any]

MAX_CATEGORIES = 1_000
"""Most distinct values of a category: each becomes a column of the model. More is an id or free text."""
MISSING_NUMBERS = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Spellings of a missing number, in lower case. A category or a label is missing only when empty: NA is Namibia too."""
_DATE_LENGTH = len("2012-01-31")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?")


@dataclass(frozen=True, slots=True)
class Table:
    """Checked rows, column by column.

    Attributes:
        columns: One array per feature, in the plan's order. Numbers are float64 with NaN where missing; the others are
            text, empty where missing.
        target: Text for classes, float64 for regression; of no length where the rows were read without it.
        others: Text of the columns that rows are split or sliced by and the model does not see.
        files: Which file each row comes from, as an index of ``headers``.
        headers: The names of each file's columns.
        rows: The cells of each row, as its file has them.
    """

    columns: dict[str, Column]
    target: Column
    others: dict[str, Column]
    files: NDArray[np.int64]
    headers: tuple[tuple[str, ...], ...]
    rows: list[list[str]]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, kept: NDArray[np.bool_]) -> "Table":
        """Some of the rows."""
        return Table(
            columns={name: column[kept] for name, column in self.columns.items()},
            target=self.target[kept] if len(self.target) else self.target,
            others={name: column[kept] for name, column in self.others.items()},
            files=self.files[kept],
            headers=self.headers,
            rows=[self.rows[at] for at in np.flatnonzero(kept).tolist()],
        )

    def others_or_features(self, name: str) -> Column:
        """A column, whether the model sees it or not."""
        return self.others[name] if name in self.others else self.columns[name]

    def matrix(self) -> Column:
        """The features as scikit-learn takes them: float64 if all are numbers, else objects."""
        columns = list(self.columns.values())
        if all(column.dtype != object for column in columns):
            return np.column_stack(columns)
        matrix = np.empty((len(self), len(columns)), dtype=object)
        for at, column in enumerate(columns):
            matrix[:, at] = column
        return matrix

    def instances(self) -> list[dict[str, Any]]:
        """The rows as a request would give them: ``None`` for a missing number."""
        columns = [[None if value != value else value for value in column.tolist()] for column in self.columns.values()]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*columns, strict=True)]


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading files.

    Attributes:
        table: The rows; None when there are findings.
        findings: What is wrong; empty when all is well.
        remarks: What was repaired or looks odd, and does not stop a run.
        rows: How many rows each file holds, duplicates included.
    """

    table: Table | None
    findings: tuple[str, ...]
    remarks: tuple[str, ...]
    rows: tuple[int, ...]


class UploadCheck(msgspec.Struct, frozen=True):
    """The answer of the workflow's validate step."""

    valid: bool
    findings: tuple[str, ...]
    remarks: tuple[str, ...]
    rows: int
    sha256: str


def check_upload(
    plan: Plan,
    upload: bytes,
    *,
    name: str = "upload",
    earlier: Sequence[bytes] = (),
    names: Sequence[str] = (),
    minimum_rows: int = 1,
) -> UploadCheck:
    """Check one uploaded file before anything is trained on it.

    Args:
        plan: The model's plan.
        upload: The new file's bytes.
        name: The new file's name, for findings.
        earlier: Files accepted before: what needs all rows (one class only, a leak) is judged on them together.
        names: Names of the earlier files.
        minimum_rows: What the file must have at least, duplicates included.
    """
    shown = [*(names or [f"earlier file {number}" for number in range(1, len(earlier) + 1)]), name]
    reading = read_table(plan, [*earlier, upload], names=shown)
    findings, rows = reading.findings, reading.rows[-1]
    if 0 < rows < minimum_rows:
        findings = (*findings, f"{name}: has {rows} rows; expected at least {minimum_rows}")
    return UploadCheck(not findings, findings, reading.remarks, rows, hashlib.sha256(upload).hexdigest())


def findings_of_file(plan: Plan, file: bytes, *, name: str) -> tuple[str, ...]:
    """What is wrong with a file by itself, whatever other files hold."""
    records = read_records(file, name=name, expected=plan.columns)
    findings = list(records.findings)
    if records.rows:
        columns = _typed_columns(plan, records, findings)
        if not findings:
            features = {feature: columns[feature] for feature in plan.training.features}
            found = answers_among(features, columns[plan.training.target])
            findings += [f"{name}: {finding}" for finding in found]
    return tuple(findings)


def columns_of_file(plan: Plan, file: bytes, *, name: str) -> tuple[dict[str, Column], list[int]]:
    """The features of one file that has no findings, and the line on which each row begins."""
    records = read_records(file, name=name, expected=plan.columns)
    columns = _typed_columns(plan, records, [])
    return {feature: columns[feature] for feature in plan.training.features}, records.lines


def read_table(plan: Plan, files: Sequence[bytes], *, names: Sequence[str] = ()) -> Reading:
    """Read training files into one table.

    Args:
        plan: Which columns there must be, and of which kind.
        files: The bytes of each file, oldest first: of rows that several files have, the first file's are kept.
        names: The files' names for findings; by default ``file 1``, ``file 2``, …
    """
    shown = names or [f"file {number}" for number in range(1, len(files) + 1)]
    files_read = [read_records(file, name=name, expected=plan.columns) for file, name in zip(files, shown, strict=True)]
    findings: list[str] = [finding for records in files_read for finding in records.findings]
    remarks: list[str] = []
    if not files:
        findings.append("there is no training file; expected at least one")
    parts: list[dict[str, Column]] = []
    for records in files_read:
        if records.rows:
            parts.append(_typed_columns(plan, records, findings))
            _remark_ignored(plan, records, remarks)
    rows = tuple(len(records.rows) for records in files_read)
    if not findings:
        table = _joined(plan, files_read, parts, remarks)
        findings.extend(_problems_together(plan, table, remarks))
        numbers = {name: column for name, column in table.columns.items() if column.dtype != object}
        findings.extend(changed_places(numbers, table.files, shown))
        if not findings:
            return Reading(table, (), tuple(remarks), rows)
    return Reading(None, tuple(findings), tuple(remarks), rows)


def _typed_columns(
    plan: Plan, records: Records, findings: list[str], *, target: bool = True, checked: bool = False
) -> dict[str, Column]:
    """Every column of the plan in one file; what does not fit goes to ``findings``.

    Of rows that were checked before, a part may well be without any value of a column.
    """
    kinds: dict[str, FeatureKind | Literal["time", "group"]] = dict.fromkeys(plan.columns, "category")
    if plan.evaluation.split.column is not None and plan.evaluation.split.by != "stratified":
        kinds[plan.evaluation.split.column] = plan.evaluation.split.by
    kinds |= {name: feature.kind for name, feature in plan.training.features.items()}
    kinds[plan.training.target] = "category" if plan.classification else "number"
    if not target:
        del kinds[plan.training.target]
    columns: dict[str, Column] = {}
    for name, kind in kinds.items():
        at = records.header.index(name)
        texts = [row[at] for row in records.rows]
        read, expected = _KINDS[kind]
        values, refused = read(texts)
        where = f"{records.name}: column {name!r}"
        if refused:
            findings.append(f"{where}: {_examples(refused, texts, records.lines)}; expected {expected}")
        missing = [row for row, value in enumerate(values) if value in ("", None)]
        if len(missing) == len(values) and name in (*plan.training.features, plan.training.target) and not checked:
            findings.append(f"{where} is empty in all {len(values)} rows; expected values")
        elif name == plan.training.target and missing:
            lines = _lines(missing, records.lines)
            findings.append(f"{where} is the target and has no value in {_count(missing, 'row')} ({lines})")
        columns[name] = np.array(values, dtype=np.float64 if kind == "number" else object)
    return columns


def _numbers(texts: list[str]) -> tuple[list[Any], list[int]]:
    largest = float(np.finfo(np.float32).max)
    values: list[Any] = []
    refused: list[int] = []
    for row, text in enumerate(texts):
        value: float | None = None
        if NUMBER.fullmatch(text):
            value = float(text)
            if abs(value) > largest:
                refused.append(row)
        elif text.lower() not in MISSING_NUMBERS:
            refused.append(row)
            value = 0.0
        values.append(value)
    return values, refused


def _categories(texts: list[str]) -> tuple[list[Any], list[int]]:
    return list(texts), []


def _dates(texts: list[str]) -> tuple[list[Any], list[int]]:
    return list(texts), [row for row, text in enumerate(texts) if text and not _is_date(text)]


def _is_date(text: str) -> bool:
    if len(text) != _DATE_LENGTH or not text.isascii():
        return False
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _times(texts: list[str]) -> tuple[list[Any], list[int]]:
    return list(texts), [row for row, text in enumerate(texts) if not _TIME.match(text)]


def _group(texts: list[str]) -> tuple[list[Any], list[int]]:
    return list(texts), [row for row, text in enumerate(texts) if not text]


_KINDS: dict[str, tuple[Callable[[list[str]], tuple[list[Any], list[int]]], str]] = {
    "number": (_numbers, "numbers such as 4.7, of at most 3.4e38; empty where missing"),
    "category": (_categories, "text"),
    "date": (_dates, "dates such as 2012-01-31; empty where missing"),
    "text": (_categories, "text"),
    "time": (_times, "dates or times that sort as text, such as 2012-01-31 or 2012-01-31T06:00:00Z"),
    "group": (_group, "a name in every row: rows of one group stay together"),
}


def _remark_ignored(plan: Plan, records: Records, remarks: list[str]) -> None:
    ignored = [column or "(no name)" for column in records.header if column not in plan.columns]
    if ignored:
        remarks.append(f"{records.name}: not used by the model: {', '.join(ignored)}")


def _joined(plan: Plan, files: list[Records], parts: list[dict[str, Column]], remarks: list[str]) -> Table:
    """All files in one table, each row as often as the file has it that has it most often.

    Rows that say the same within one file are cases of their own: dropping them would change how frequent each answer
    is. Between files they are the same case once more, as in an export that begins where the last one began.
    """
    most: dict[bytes, int] = {}
    kept: list[bool] = []
    for records in files:
        here: Counter[bytes] = Counter()
        for row in records.rows:
            digest = hashlib.sha256(content(zip(records.header, row, strict=True))).digest()
            here[digest] += 1
            kept.append(here[digest] > most.get(digest, 0))
        most.update((digest, max(count, most.get(digest, 0))) for digest, count in here.items())
        again = len(records.rows) - len(here)
        if again:
            remarks.append(
                f"{records.name}: {again} of {len(records.rows)} rows say the same as an earlier row of the file in "
                "every column: kept, as cases of their own"
            )
    dropped = len(kept) - sum(kept)
    if dropped:
        remarks.append(
            f"{dropped} of {len(kept)} rows are in an earlier file already, the same in every column: dropped"
        )
    return _table(plan, files, parts).take(np.array(kept))


def _table(plan: Plan, files: Sequence[Records], parts: Sequence[dict[str, Column]]) -> Table:
    def joined(name: str) -> Column:
        return np.concatenate([part[name] for part in parts])

    features, target = plan.training.features, plan.training.target
    return Table(
        columns={name: joined(name) for name in features},
        target=joined(target) if all(target in part for part in parts) else np.empty(0, dtype=object),
        others={name: joined(name) for name in plan.columns if name not in features and name != target},
        files=np.repeat(np.arange(len(files)), [len(records.rows) for records in files]),
        headers=tuple(records.header for records in files),
        rows=[row for records in files for row in records.rows],
    )


def table_of(plan: Plan, file: bytes, *, name: str, without_target: bool = False) -> Table:
    """Read one file that was written from checked rows: nothing is dropped.

    Raises:
        UsageError: With code ``invalid_training_data`` when it cannot be read, or lacks a column of the plan.
    """
    needed = tuple(column for column in plan.columns if not (without_target and column == plan.training.target))
    records = read_records(file, name=name, expected=needed, skip_empty=False)
    findings = list(records.findings)
    part = _typed_columns(plan, records, findings, target=not without_target, checked=True) if records.rows else {}
    if findings or not part:
        raise UsageError(
            "\n".join(findings) or f"{name}: has no rows",
            code="invalid_training_data",
            next_step="Start the run again: these files are made by it.",
        )
    return _table(plan, [records], [part])


def _problems_together(plan: Plan, table: Table, remarks: list[str]) -> Iterable[str]:
    """What only all rows together can show."""
    target = f"target {plan.training.target!r}"
    distinct = Counter(table.target.tolist())
    if plan.classification:
        yield from _problems_of_classes(plan, table, distinct, target)
    elif len(distinct) == 1:
        yield f"{target} is {next(iter(distinct))} in all {len(table)} rows; expected different values"
    for name, column in table.columns.items():
        kind = plan.training.features[name].kind
        if kind == "category" and len(set(column.tolist())) > MAX_CATEGORIES:
            yield (
                f"column {name!r} is a category with {len(set(column.tolist())):,} different values; expected at most "
                f"{MAX_CATEGORIES:,}: leave out ids and free text"
            )
        if len(table) > 1 and len(distinct) > 1:
            if says_the_same(column, table.target):
                yield f"column {name!r} equals the target in all {len(table)} rows: it is the answer; leave it out"
            elif plan.classification and kind != "date" and _determines(column, table.target, distinct):
                remarks.append(
                    f"column {name!r} has one value for each class of the target: make sure that it is known before "
                    "the answer is"
                )


def _problems_of_classes(plan: Plan, table: Table, distinct: Counter[str], target: str) -> Iterable[str]:
    names = sorted(distinct)
    listed = ", ".join(repr(name[:40]) for name in names[: SHOWN + 2]) + (", …" if len(names) > SHOWN + 2 else "")
    if len(names) == 1:
        yield f"{target} has one class only ({listed}, {len(table)} rows); expected at least two"
    elif plan.task == "binary" and len(names) != 2:
        yield f"{target} has {len(names)} classes ({listed}); a binary task has two"
    elif len(names) > max(20, len(table) // 2):
        yield (
            f"{target} has {len(names):,} classes in {len(table):,} rows ({listed}); expected classes that repeat: is "
            "this a regression?"
        )


def _determines(column: Column, target: Column, classes: Counter[str]) -> bool:
    """Whether a feature is the target under other names: as many values as classes, each with one class."""
    values = column.tolist()
    return len(set(values)) == len(classes) == len(set(zip(values, target.tolist(), strict=True)))


def _examples(rows: list[int], texts: list[str], lines: list[int]) -> str:
    shown = ", ".join(f"line {lines[row]}: {_shown(texts[row])}" for row in rows[:SHOWN])
    return f"{_count(rows, 'value')} cannot be read ({shown}{_more(rows)})"


def _lines(rows: list[int], lines: list[int]) -> str:
    return "line " + ", ".join(str(lines[row]) for row in rows[:SHOWN]) + _more(rows)


def _more(rows: list[int]) -> str:
    return f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""


def _count(rows: list[int], what: str) -> str:
    return f"{len(rows)} {what}{'' if len(rows) == 1 else 's'}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
