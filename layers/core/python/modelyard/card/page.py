"""A card as one HTML file: no script, nothing fetched, light and dark, for a phone, a desk and paper.

The rule: everything from outside is escaped where it is put in, and a policy in the page forbids what must not happen
even so.
"""

from html import escape
from importlib.resources import files

from modelyard.card import picture
from modelyard.card.blocks import Block, Bullets, Course, Hundred, Owners, Pairs, Paragraph, Section, Table
from modelyard.card.content import Card
from modelyard.card.notes import notes_html
from modelyard.card.words import Span, Text, title
from modelyard.metrics import METRICS

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_TAGS = {"code": "code", "strong": "strong", "quiet": "small"}


def to_html(card: Card) -> str:
    """The whole page."""
    style = files("modelyard.card").joinpath("page.css").read_text("utf-8")
    name = f"{escape(card.model)}, version {card.version}"
    tone = "live" if card.state == "live" else "trial" if "trial" in card.state else "off"
    about = f'<p class="about">{_inline(card.about)}</p>' if card.about else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="content-security-policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">'
        f"<title>{name}: model card</title><style>{style}</style></head><body>"
        f'<header><p class="kind">Model card</p><h1>{_breaking(card.model)}</h1>'
        f'<p class="which">Version {card.version} <b class="{tone}">{escape(card.state)}</b></p>{about}'
        f"{_block(card.glance)}</header>"
        f"<main>{''.join(_section(section) for section in card.sections)}</main>"
        f"<footer><p>As the registry had it on {escape(card.at)}.</p></footer></body></html>\n"
    )


def _section(section: Section) -> str:
    return f"<section><h2>{escape(section.title)}</h2>{''.join(_block(block) for block in section.blocks)}</section>"


def _block(block: Block) -> str:
    match block:
        case Paragraph(text, quiet):
            return f'<p class="quiet">{_inline(text)}</p>' if quiet else f"<p>{_inline(text)}</p>"
        case Bullets(items):
            return f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>"
        case Pairs(rows):
            pairs = "".join(f"<div><dt>{escape(name)}</dt><dd>{_inline(text)}</dd></div>" for name, text in rows)
            return f"<dl>{pairs}</dl>"
        case Table(head, rows):
            return _table(head, rows)
        case Hundred():
            return picture.hundred(block)
        case Course(metric, lower_is_better, _, _):
            better = "lower is better" if lower_is_better else "higher is better"
            said = f"{escape(title(metric))}, {better}" if metric in METRICS else escape(metric)
            return f"<figure><figcaption>{said}</figcaption>{picture.course(block)}</figure>"
        case Owners(markdown, by, at):
            return (
                f'<div class="owners"><p class="quiet">Written by {escape(by)} on {escape(at)}. These are the '
                f"owner's words, not the registry's.</p>{notes_html(markdown)}</div>"
            )


def _table(head: tuple[str, ...], rows: tuple[tuple[Text, ...], ...]) -> str:
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join(
        f"<tr>{''.join(_cell(name, cell) for name, cell in zip(head, row, strict=True))}</tr>" for row in rows
    )
    kind = ' class="wide"' if len(head) > 2 else ""
    return f"<table{kind}><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table>"


def _cell(name: str, text: Text) -> str:
    return f'<td data-name="{escape(name)}"><span>{_inline(text)}</span></td>'


def _inline(text: Text) -> str:
    return "".join(_span(span) for span in text)


def _span(span: Span) -> str:
    tag = _TAGS.get(span.kind)
    shown = _breaking(span.text) if span.kind == "code" else escape(span.text)
    return f"<{tag}>{shown}</{tag}>" if tag else shown


def _breaking(text: str) -> str:
    """Text that may break after an underscore or a slash, before it breaks anywhere."""
    return escape(text).replace("_", "_<wbr>").replace("/", "/<wbr>")
