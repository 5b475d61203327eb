"""From what is said to one HTML file: no script, nothing fetched, light and dark, for a phone, a desk and paper.

The rule: everything from outside is escaped where it is put in, and a policy in the page forbids what must not happen
even so. A function here that takes `Text` escapes it; one that takes ``html`` is given what was escaped.
"""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import NamedTuple

from modelyard.pages.words import Span, Text, one_line

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_TAGS = {"code": "code", "strong": "strong", "quiet": "small"}


def whole(title: str, body: str, *, style: str = "") -> str:
    """The file.

    Args:
        title: For the browser's tab; text.
        body: html.
        style: Rules of this page, after those of every page.
    """
    shared = files("modelyard.pages").joinpath("page.css").read_text("utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="content-security-policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">'
        f"<title>{plain(title)}</title><style>{shared}{style}</style></head><body>{body}</body></html>\n"
    )


def paragraph(text: Text, *, is_quiet: bool = False) -> str:
    """One or a few sentences."""
    return f'<p class="quiet">{inline(text)}</p>' if is_quiet else f"<p>{inline(text)}</p>"


def bullets(items: Sequence[Text]) -> str:
    """Sentences that do not depend on each other."""
    return f"<ul>{''.join(f'<li>{inline(item)}</li>' for item in items)}</ul>"


def pairs(rows: Sequence[tuple[str, Text]]) -> str:
    """Values under their names."""
    shown = "".join(f"<div><dt>{plain(name)}</dt><dd>{inline(text)}</dd></div>" for name, text in rows)
    return f"<dl>{shown}</dl>"


def table(head: Sequence[str], rows: Sequence[Sequence[Text]]) -> str:
    """Rows of text under headings; a heading may be empty."""
    columns = [Column(name) for name in head]
    return grid(columns, [[inline(cell) for cell in row] for row in rows], kind="wide" if len(head) > 2 else "")


class Column(NamedTuple):
    """A column of a table: its name, what kind of cells it has for the style, and html below its name."""

    name: str
    kind: str = ""
    below: str = ""


def grid(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, kind: str = "") -> str:
    """Rows of html under headings. The first cell names its row; ``wide`` folds each row where the page is narrow."""
    names = "".join(f'<th scope="col"{_of(column.kind)}>{plain(column.name)}{column.below}</th>' for column in columns)
    lines = "".join(f"<tr>{''.join(map(_cell, range(len(columns)), columns, row))}</tr>" for row in rows)
    return f"<table{_of(kind)}><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table>"


def _of(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _cell(place: int, column: Column, html: str) -> str:
    if place == 0:
        return f'<th scope="row">{html}</th>'
    if column.kind == "pic":
        return f'<td class="pic">{html}</td>'
    return f'<td{_of(column.kind)} data-name="{plain(column.name)}"><span>{html}</span></td>'


def inline(text: Text) -> str:
    """Text in a line."""
    return "".join(_span(span) for span in text)


def _span(span: Span) -> str:
    tag = _TAGS.get(span.kind)
    shown = breaking(span.text) if span.kind == "code" else plain(span.text)
    return f"<{tag}>{shown}</{tag}>" if tag else shown


def plain(text: str) -> str:
    """Text on a line, as html: what garbles a line is replaced, what could be markup escaped."""
    return escape(one_line(text))


def breaking(text: str) -> str:
    """Text that may break after an underscore or a slash, before it breaks anywhere."""
    return plain(text).replace("_", "_<wbr>").replace("/", "/<wbr>")
