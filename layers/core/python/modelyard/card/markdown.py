r"""A card as Markdown (CommonMark with GitHub's tables).

The rule: what came from the registry stays text. Every character that could be markup in its place is escaped, so a
description ``[here](javascript:…)`` or ``# Title`` reads as just that. The owner's notes alone are Markdown already:
they stand in a quotation, which no heading, list or open fence of theirs can leave.
"""

import re

from modelyard.card.blocks import Block, Bullets, Course, Hundred, Owners, Pairs, Paragraph, Section, Table
from modelyard.card.content import Card
from modelyard.names import legible
from modelyard.pages.words import Span, Text, figure, say, title

_ALWAYS = re.compile(r"[\\`*\[\]<|~$]|&(?=[#a-zA-Z])")
_LONE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_FIRST = re.compile(r"^\s*(?:\d{1,9})?(?=[#>+=.)-])")
"""Up to a character that makes a heading, a quotation or a list of what begins a line."""


def to_markdown(card: Card) -> str:
    """The card as text that ends with a line feed."""
    head = [f"# {inline(say('{}', card.model))}, version {card.version}", f"**{card.state.capitalize()}**"]
    if card.about:
        head.append(inline(card.about, starts=True))
    foot = f"*As the registry had it on {card.at}.*"
    return "\n\n".join([*head, _block(card.glance), *map(_section, card.sections), foot]) + "\n"


def _section(section: Section) -> str:
    shown = [_block(block) for block in section.blocks]
    return "\n\n".join([f"## {section.title}", *filter(None, shown)])


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return inline(text, starts=True)
        case Bullets(items):
            return "\n".join(f"- {inline(item, starts=True)}" for item in items)
        case Pairs(rows):
            return "\n".join(f"- {name}: {inline(text)}" for name, text in rows)
        case Table(head, rows):
            return _table(head, rows)
        case Course():
            return _course(block)
        case Owners(markdown, by, at):
            said = inline(say("Written by {} on {}. These are the owner's words, not the registry's.", by, at))
            quoted = "\n".join(f"> {line}".rstrip() for line in legible(markdown).split("\n"))
            return f"{said}\n\n{quoted}"
        case Hundred():
            return ""  # the sentence below says it


def _course(course: Course) -> str:
    def mark(is_live: bool, is_this: bool) -> str:
        return ", ".join(name for name, holds in (("live", is_live), ("this card", is_this)) if holds)

    rows = tuple(
        (say("{}", str(point.version)), say("{}", figure(point.value)), say("{}", mark(point.live, point.this)))
        for point in course.points
    )
    if course.rival is not None:
        here = next((str(point.version) for point in course.points if point.this), "this")
        told = f"on the rows of version {here}"
        rows = (*rows, (say("{}", str(course.rival[0])), say("{}", figure(course.rival[1])), say("{}", told)))
    better = " (lower is better)" if course.lower_is_better else ""
    return _table(("Version", f"{title(course.metric)}{better}", ""), rows)


def _table(head: tuple[str, ...], rows: tuple[tuple[Text, ...], ...]) -> str:
    lines = [" | ".join(inline(say("{}", name)) for name in head), " | ".join("---" for _ in head)]
    lines += [" | ".join(inline(cell, in_table=True) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def inline(text: Text, *, starts: bool = False, in_table: bool = False) -> str:
    """Text as inline Markdown; ``starts`` where it begins a line, whose first character may be markup too."""
    whole = "".join(_span(span, in_table=in_table) for span in text).strip()
    return _FIRST.sub(r"\g<0>\\", whole, count=1) if starts else whole


def _span(span: Span, *, in_table: bool) -> str:
    match span.kind:
        case "code":
            return _code(span.text, in_table=in_table)
        case "strong":
            # Blanks inside the marks would leave them as asterisks.
            inner = span.text.strip()
            return f"**{_escaped(inner)}**" if inner else ""
    return _escaped(span.text)


def _code(text: str, *, in_table: bool) -> str:
    """A code span: the fence is longer than any run of backticks in it."""
    if in_table:
        text = text.replace("|", "\\|")  # tables are split before code is looked for
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text.strip() else ""


def _escaped(text: str) -> str:
    return _LONE_UNDERSCORE.sub(r"\\_", _ALWAYS.sub(r"\\\g<0>", text))
