"""What was learnt from: the files, where their rows went, the frozen evaluation set, and what was noticed."""

from modelyard.pages.markup import bullets, inline, paragraph, table
from modelyard.pages.words import Text, code, count, cut, day, listing, percent, quiet, say, strong
from modelyard.report.document import Document, File, RowCounts
from modelyard.report.marks import drawing
from modelyard.times import parse_stamp

MOST_FILES = 12
MOST_LINES = 50
LONGEST = 500


def html(document: Document) -> str:
    """The section."""
    parts = [
        _went(document),
        _frozen(document),
        _files(document.files),
        _lines("Left out", document.left_out),
        _lines("What was noticed while the files were read", document.remarks),
    ]
    return "".join(parts)


def findings(document: Document) -> str:
    """The section of what was wrong with data that was refused."""
    return _bullets(document.findings)


def _went(document: Document) -> str:
    """Where the rows went, as a bar and as a sentence."""
    rows = document.row_counts
    if rows is None or rows.read is None:
        return ""
    files = f" of {count(len(document.files), 'file')}" if document.files else ""
    said = say("{}{} were read", strong(count(rows.read, "row")), files)
    parts: list[Text] = []
    if rows.duplicates:
        parts.append(say("{} came again in a later file and count once", f"{rows.duplicates:,}"))
    if rows.training is not None:
        parts.append(say("{} were learnt from", strong(f"{rows.training:,}")))
    if rows.evaluation is not None:
        parts.append(say("{} are frozen, and it was measured on those", strong(f"{rows.evaluation:,}")))
    said += (*say(": "), *listing(parts), *say(".")) if parts else say(".")
    return _bar(rows) + paragraph(said)


def _bar(rows: RowCounts) -> str:
    shares = [("l", rows.training), ("z", rows.evaluation), ("d", rows.duplicates)]
    whole = sum(number or 0 for _, number in shares)
    if not whole:
        return ""
    content, x, told = "", 0.0, []
    names = {"l": "learnt from", "z": "frozen", "d": "duplicates"}
    legend = ""
    for kind, number in shares:
        if not number:
            continue
        width = 100 * number / whole
        content += f'<rect class="{kind}" x="{x:.2f}%" width="{width:.2f}%" height="100%"/>'
        told.append(f"{names[kind]} {number:,} ({percent(number / whole)})")
        legend += (
            f'<li><svg class="mark" aria-hidden="true"><rect class="{kind}" width="100%" height="100%"/></svg>'
            f"{names[kind]} <small>{number:,} ({percent(number / whole)})</small></li>"
        )
        x += width
    bar = drawing(content, title="Where the rows went", about=", ".join(told), kind="went")
    return f'{bar}<ul class="key">{legend}</ul>'


def _frozen(document: Document) -> str:
    found = document.evaluation_set
    if found is None:
        return ""
    number = "the evaluation set" if found.number is None else f"evaluation set {found.number}"
    said = say("It was measured on {}", strong(number))
    if found.rows is not None:
        said += say(", {}", count(found.rows, "row"))
    if found.frozen_at:
        said += say(", frozen on {}", date(found.frozen_at))
    said += say(". No row of it is ever learnt from.")
    if found.rule:
        said += say(" How they were chosen: {}.", cut(found.rule, LONGEST).rstrip("."))
    if found.sha256:
        said += say(" {}", quiet("sha256 "))
        said += (code(found.sha256[:16]),)
    return paragraph(said)


def date(stamp: str) -> str:
    """A stored time as a day; what is none as it is written."""
    try:
        parse_stamp(stamp)
        return day(stamp)
    except (ValueError, TypeError):
        return cut(stamp, 40)


def _lines(title: str, lines: tuple[str, ...]) -> str:
    """Sentences that came from reading files."""
    return f"<h3>{inline(say('{}', title))}</h3>{_bullets(lines)}" if lines else ""


def _bullets(lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    shown = [say("{}", cut(line, LONGEST)) for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        shown.append(say("And {}; --json has all.", f"{len(lines) - MOST_LINES:,} more"))
    return bullets(shown)


def _files(files: tuple[File, ...]) -> str:
    if not files:
        return ""
    rows = [
        (
            say("{}", code(cut(file.key.rsplit("/", 1)[-1], 200))),
            say("{}", "" if file.rows is None else f"{file.rows:,}"),
            say("{}", code(file.sha256[:16])),
        )
        for file in files[-MOST_FILES:]
    ]
    older = ""
    if len(files) > MOST_FILES:
        older = paragraph(say("And {} before those.", count(len(files) - MOST_FILES, "file")), is_quiet=True)
    return f"<h3>Files</h3>{table(('File', 'Rows', 'sha256'), rows)}{older}"
