"""A file of labels: CSV or JSON Lines, read whole and checked before the first of them is sent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from modelyard.errors import UsageError
from modelyard.labels import Label, Value, read_label, repeated
from modelyard.predictor.reader import refuse_surplus_keys
from modelyard.training.records import read_records

SHOWN = 10
"""Findings of a file that are told."""
REQUIRED = ("prediction_id", "label")
COLUMNS = (*REQUIRED, "row")

Line = tuple[int, Any]
"""Where an entry begins in its file, and the entry, or the error that it is."""


def read_label_file(file: Path, *, numbers: bool) -> tuple[list[Label], list[int]]:
    """The labels of a file, and on which line each begins.

    Args:
        file: ``.csv`` with a header, or ``.jsonl``.
        numbers: Whether the labels in a CSV file are numbers; otherwise they are the text that they are.

    Raises:
        UsageError: With what is wrong, by line.
    """
    if not file.is_file():
        raise UsageError(f"{file} is not a file", code="no_file", next_step="Give the path of a .csv or .jsonl file.")
    readers = {".csv": lambda content: _csv(content, file.name, numbers), ".jsonl": _json_lines}
    if file.suffix not in readers:
        raise UsageError(
            f"{file.name} is neither a .csv nor a .jsonl file",
            code="unknown_format",
            next_step="Give a CSV file with the columns prediction_id and label, or JSON Lines with these keys.",
        )
    lines: list[int] = []
    labels: list[Label] = []
    findings: list[str] = []
    for line, entry in readers[file.suffix](file.read_bytes()):
        try:
            if isinstance(entry, UsageError):
                raise entry
            labels.append(read_label(entry))
            lines.append(line)
        except UsageError as error:
            findings.append(f"{file.name} line {line}: {error.message}" if line else error.message)
    twice = repeated(labels)
    if twice is not None:
        first, second = (lines[place] for place in twice)
        findings.append(f"{file.name} line {second}: the same row of the same prediction as line {first}")
    if not findings and not labels:
        findings.append(f"{file.name} has no labels")
    if findings:
        more = f"\n  and {len(findings) - SHOWN:,} more" if len(findings) > SHOWN else ""
        raise UsageError(
            "no label was sent:\n  " + "\n  ".join(findings[:SHOWN]) + more,
            code="invalid_data",
            next_step="Correct the file and run the command again.",
        )
    return labels, lines


def label_of(text: str, *, numbers: bool) -> Value:
    """The label that a text is; where labels are numbers, one that is none stays the text, for the endpoint to refuse.

    A class is the text even where it looks like a number: classes are compared by their names, and ``1.0`` is another
    name than ``1``.
    """
    if not numbers:
        return text
    try:
        return msgspec.json.decode(text, type=int | float)
    except (msgspec.DecodeError, UnicodeError):
        return text


def _csv(content: bytes, name: str, numbers: bool) -> Iterator[Line]:
    records = read_records(content, name=name, expected=REQUIRED)
    unknown = [column for column in records.header if column not in COLUMNS]
    findings = [*records.findings, *(f"{name}: column {column[:80]!r} is no part of a label" for column in unknown)]
    if findings:
        yield from ((0, UsageError(finding)) for finding in findings)
        return
    for line, cells in zip(records.lines, records.rows, strict=True):
        entry: dict[str, Any] = dict(zip(records.header, cells, strict=True))
        entry["label"] = label_of(entry["label"], numbers=numbers)
        if "row" in entry:
            entry["row"] = label_of(entry["row"], numbers=True)
        yield line, entry


def _json_lines(content: bytes) -> Iterator[Line]:
    for number, text in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if text.strip():
            yield number, _entry(text)


def _entry(text: bytes) -> Any:
    try:
        entry = msgspec.json.decode(text)
        if isinstance(entry, dict):
            refuse_surplus_keys(text, len(entry) + sum(len(part) for part in entry.values() if isinstance(part, dict)))
    except UsageError as error:
        return error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return UsageError(f"it is not JSON: {error}")
    return entry
