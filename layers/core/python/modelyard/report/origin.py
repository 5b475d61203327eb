"""Where the model comes from, so that it can be made again: the plan, the files by digest, the libraries."""

from html import escape
from typing import Any

import msgspec

from modelyard.pages.markup import pairs, paragraph, plain, table
from modelyard.pages.words import NOT_RECORDED, Text, capital, code, count, cut, one_line, say
from modelyard.report.document import Document

MOST_FILES = 200
MOST_FACTS = 40
LONGEST_PLAN = 20_000


def html(document: Document) -> str:
    """The section."""
    number = "VERSION" if document.version is None else str(document.version)
    again = f"modelyard reproduce {cut(document.model, 60) or 'NAME'}:{number}"
    told = "This trains it again from the same files and compares the digests."
    if document.version is None:
        told += " 'modelyard versions' shows the number that this run's version has."
    parts = [f"<pre><code>{plain(again)}</code></pre>", paragraph(say("{}", told), is_quiet=True)]
    made = document.passed or document.verdict in {"promoted", "registered"}
    return "".join([*(parts if made else ()), _environment(document), _files(document), _plan(document)])


def _environment(document: Document) -> str:
    found = document.training.environment if document.training else {}
    if not found:
        return ""
    rows: list[tuple[str, Text]] = [("Run", say("{}", code(cut(document.run_id, 128) or NOT_RECORDED)))]
    for name, value in list(found.items())[:MOST_FACTS]:
        if name == "libraries" and isinstance(value, dict):
            for library, version in list(value.items())[:MOST_FACTS]:
                rows.append((_name(library), say("{}", code(cut(version, 80)))))
        else:
            rows.append((capital(_name(name)), say("{}", code(_value(value)))))
    return f"<details><summary>Environment</summary>{pairs(rows)}</details>"


def _name(name: Any) -> str:
    return cut(str(name).replace("_", " "), 60)


def _value(value: Any) -> str:
    return NOT_RECORDED if value is None else cut(value, 128)


def _files(document: Document) -> str:
    if not document.files:
        return ""
    rows = [
        (
            say("{}", code(f"s3://{cut(file.bucket, 80)}/{cut(file.key, 300)}")),
            say("{}", "" if file.rows is None else f"{file.rows:,}"),
            say("{}", code(cut(file.version_id, 80))),
            say("{}", code(cut(file.sha256, 80))),
        )
        for file in document.files[-MOST_FILES:]
    ]
    older = ""
    if len(document.files) > MOST_FILES:
        older = paragraph(say("And {} before those.", count(len(document.files) - MOST_FILES, "file")), is_quiet=True)
    shown = table(("File", "Rows", "Version", "sha256"), rows)
    return f"<details><summary>{count(len(document.files), 'file')} with digests</summary>{shown}{older}</details>"


def _plan(document: Document) -> str:
    if not document.plan:
        return ""
    try:
        text = msgspec.json.format(msgspec.json.encode(document.plan), indent=2).decode()
    except (msgspec.EncodeError, TypeError, ValueError, RecursionError, OverflowError):
        return ""
    lines = "\n".join(one_line(line) for line in cut(text, LONGEST_PLAN).split("\n"))
    return f"<details><summary>The plan</summary><pre><code>{escape(lines)}</code></pre></details>"
