"""A card as one HTML file; what every page has in common is in `modelyard.pages.markup`."""

from html import escape
from importlib.resources import files

from modelyard.card import picture
from modelyard.card.blocks import Block, Bullets, Course, Hundred, Owners, Pairs, Paragraph, Section, Table
from modelyard.card.content import Card
from modelyard.card.notes import notes_html
from modelyard.metrics import METRICS
from modelyard.pages.markup import breaking, bullets, inline, pairs, paragraph, table, whole
from modelyard.pages.words import title


def to_html(card: Card) -> str:
    """The whole page."""
    style = files("modelyard.card").joinpath("page.css").read_text("utf-8")
    tone = "live" if card.state == "live" else "trial" if "trial" in card.state else "off"
    about = f'<p class="about">{inline(card.about)}</p>' if card.about else ""
    body = (
        f'<header><p class="kind">Model card</p><h1>{breaking(card.model)}</h1>'
        f'<p class="which">Version {card.version} <b class="{tone}">{escape(card.state)}</b></p>{about}'
        f"{_block(card.glance)}</header>"
        f"<main>{''.join(_section(section) for section in card.sections)}</main>"
        f"<footer><p>As the registry had it on {escape(card.at)}.</p></footer>"
    )
    return whole(f"{card.model}, version {card.version}: model card", body, style=style)


def _section(section: Section) -> str:
    return f"<section><h2>{escape(section.title)}</h2>{''.join(_block(block) for block in section.blocks)}</section>"


def _block(block: Block) -> str:
    match block:
        case Paragraph(text, quiet):
            return paragraph(text, is_quiet=quiet)
        case Bullets(items):
            return bullets(items)
        case Pairs(rows):
            return pairs(rows)
        case Table(head, rows):
            return table(head, rows)
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
