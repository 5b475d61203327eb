"""The owner's notes as HTML that cannot do anything: no HTML of their own, no scripts, nothing fetched.

markdown-it-py is imported when there are notes: the endpoint has none of it. Without it they are shown as written.
"""

from html import escape
from typing import Any
from urllib.parse import urlsplit

LINKS = frozenset({"http", "https", "mailto"})
REL = "noopener noreferrer nofollow"
DEEPEST = 20
"""Nesting of lists and quotes that is followed; what lies deeper is left out."""


def notes_html(markdown: str) -> str:
    """Notes as HTML."""
    try:
        from markdown_it import MarkdownIt
    except ImportError:
        return f'<p class="written">{escape(markdown)}</p>'
    reader = MarkdownIt("commonmark", {"html": False, "maxNesting": DEEPEST})
    reader.enable("table")
    reader.add_render_rule("image", _link_to_image)
    reader.validateLink = may_follow  # type: ignore[method-assign]
    tokens = reader.parse(markdown)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"  # below the card's own headings
        for inner in token.children or ():
            if inner.type == "link_open":
                inner.attrSet("rel", REL)
    return str(reader.renderer.render(tokens, reader.options, {}))


def _link_to_image(_renderer: Any, tokens: Any, place: int, _options: Any, _env: Any) -> str:
    """A picture would be fetched from elsewhere; a link to it is not."""
    address, said = str(tokens[place].attrs["src"]), tokens[place].content or "picture"
    return f'<a href="{escape(address)}" rel="{REL}">{escape(said)}</a>'


def may_follow(url: str) -> bool:
    """Whether a link in notes may be one: whole addresses of pages and of people, and nothing that runs."""
    try:
        return urlsplit(url.strip()).scheme.lower() in LINKS
    except ValueError:
        return False
