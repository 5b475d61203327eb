"""From the bytes of a training file to rows of text, or what is wrong with them in words.

The rule: nothing is guessed. A file is UTF-8 with commas, one header and rows of the header's length; what else it
looks like is named, with the line, so that its owner knows what to change. Tolerated, because no reader could mean
anything else by it: a byte order mark, any line ends, quoted newlines, blank lines, blanks around a value.
"""

import csv
import io
import re
from dataclasses import dataclass, field

_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_BINARY = {b"PK\x03\x04": "a zip or Excel file", b"PAR1": "a Parquet file", b"\x1f\x8b": "a gzip file"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
SHOWN = 3
"""How many examples a finding gives."""


@dataclass(frozen=True, slots=True)
class Records:
    """The rows of one file.

    Attributes:
        name: The file's name in findings.
        header: The columns' names; empty when the file could not be read.
        rows: One list of texts per row, as long as the header.
        lines: The line on which each row begins, from 1.
        findings: What is wrong with the file.
    """

    name: str
    header: tuple[str, ...] = ()
    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    findings: tuple[str, ...] = ()


def read_records(content: bytes, *, name: str, expected: tuple[str, ...], skip_empty: bool = True) -> Records:
    """Read one file.

    Args:
        content: The file's bytes.
        name: The file's name, for findings.
        expected: Columns that the header must have.
        skip_empty: Whether a line of commas only is as blank as a blank line; false for rows that we wrote ourselves.
    """
    problem = _not_text(content)
    if problem:
        return Records(name, findings=(f"{name}: {problem}",))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        return Records(
            name, findings=(f"{name}: not UTF-8 (byte 0x{byte:02x} on line {line}); save the file as UTF-8",)
        )
    return _parse(text, name, expected, skip_empty=skip_empty)


def _not_text(content: bytes) -> str | None:
    if not content.strip():
        return "is empty; expected a header and rows"
    if content.startswith(_UTF16):
        return "is UTF-16; save the file as UTF-8"
    for magic, what in _BINARY.items():
        if content.startswith(magic):
            return f"is {what}; expected CSV text"
    if b"\x00" in content:
        return f"holds a NUL byte at offset {content.index(0)}; expected CSV text"
    return None


def _parse(text: str, name: str, expected: tuple[str, ...], *, skip_empty: bool) -> Records:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: tuple[str, ...] = ()
    rows: list[list[str]] = []
    lines: list[int] = []
    ragged: list[tuple[int, int]] = []
    begins = 1
    try:
        for raw in reader:
            row = [cell.strip() for cell in raw]
            if not header:
                if any(row):
                    header = tuple(row)
                    problems = _header_problems(header, expected)
                    if problems:
                        return Records(name, findings=tuple(f"{name}: {problem}" for problem in problems))
            elif len(row) == len(header):
                if any(row) or not skip_empty:
                    rows.append(row)
                    lines.append(begins)
            elif any(row):
                ragged.append((begins, len(row)))
            begins = reader.line_num + 1
    except csv.Error as error:
        return Records(name, findings=(f"{name}: line {begins} is not CSV: {error}; check its quotes",))
    findings: list[str] = []
    if ragged:
        shown = ", ".join(f"line {line} has {count}" for line, count in ragged[:SHOWN])
        findings.append(f"{name}: {len(ragged)} rows do not have {len(header)} values ({shown}{_more(len(ragged))})")
    elif not rows:
        findings.append(f"{name}: has a header and no rows; expected at least 1")
    return Records(name, header, rows, lines, tuple(findings))


def _header_problems(header: tuple[str, ...], expected: tuple[str, ...]) -> list[str]:
    doubled = sorted({column for column in header if column and header.count(column) > 1})
    problems = [f"column {column!r} is there {header.count(column)} times; expected once" for column in doubled]
    missing = [column for column in expected if column not in header]
    if not missing:
        return problems
    if len(header) == 1 or len(missing) == len(expected):
        for delimiter, what in _DELIMITERS.items():
            cells = [cell.strip().strip('"') for cell in ",".join(header).split(delimiter)]
            if len(cells) > 1 and any(column in cells for column in expected):
                return [f"the values are separated by {what}; expected commas"]
    for column in missing:
        alike = next((found for found in header if _plain(found) == _plain(column)), None)
        hint = f"did you mean {alike!r}?" if alike else f"the header has {_listed(header)}"
        problems.append(f"column {column!r} is missing; {hint}")
    return problems


def _plain(column: str) -> str:
    return re.sub(r"[^a-z0-9]", "", column.lower())


def _listed(header: tuple[str, ...]) -> str:
    return ", ".join(repr(column[:40]) for column in header[:12]) + (", …" if len(header) > 12 else "")


def _more(count: int) -> str:
    return f" and {count - SHOWN} more" if count > SHOWN else ""
