"""What the pictures of a report are drawn with: SVG that needs no script and takes its width from where it stands.

Lengths across are percentages and text has no view box around it, so letters are as large on a phone as on a desk.
Colours are the page's: everything has a class. Each side has a form of its own besides its colour: the challenger is a
filled dot, the champion an open diamond, the baseline a dashed line.
"""

from modelyard.pages.markup import plain
from modelyard.pages.scale import Scale, is_drawable
from modelyard.report.document import Side


def drawing(content: str, *, title: str, kind: str, about: str = "", view: str = "") -> str:
    """A picture with its meaning in words.

    Args:
        content: SVG.
        title: What it is, or shows.
        kind: Its class.
        about: What it shows, where the title does not say it all.
        view: The view box of a picture without text, which is stretched to its place.
    """
    box = f' viewBox="{view}" preserveAspectRatio="none"' if view else ""
    more = f"<desc>{plain(about)}</desc>" if about else ""
    return f'<svg class="{kind}" role="img"{box}><title>{plain(title)}</title>{more}{content}</svg>'


def point(scale: Scale, value: float | None, side: Side, *, y: str = "50%") -> str:
    """One value of one side."""
    if not is_drawable(value):
        return ""
    x = scale.at(value)
    if side == "challenger":
        return f'<circle class="c" cx="{x}" cy="{y}" r="5"/>'
    if side == "champion":
        return f'<svg class="o" x="{x}" y="{y}"><path class="p" d="M0-6 6 0 0 6-6 0z"/></svg>'
    return rule(scale, value, "b")


def span(scale: Scale, low: float | None, high: float | None, side: Side, *, y: str = "50%") -> str:
    """From one value to another."""
    if not (is_drawable(low) and is_drawable(high)):
        return ""
    kind = "cs" if side == "challenger" else "ps"
    return f'<line class="{kind}" x1="{scale.at(low)}" x2="{scale.at(high)}" y1="{y}" y2="{y}"/>'


def rule(scale: Scale, value: float | None, kind: str) -> str:
    """A line from top to bottom."""
    if not is_drawable(value):
        return ""
    return f'<line class="{kind}" x1="{scale.at(value)}" x2="{scale.at(value)}" y2="100%"/>'


def axis(scale: Scale) -> str:
    """The marks of a scale, for the head of a column of pictures below each other."""
    return f'<svg class="axis" aria-hidden="true">{scale.text(y="13")}</svg>'


def key(*sides: tuple[Side, str]) -> str:
    """Which mark is whose, as html."""
    middle = Scale(-1.0, 1.0)
    shown = "".join(
        f'<li><svg class="mark" aria-hidden="true">{point(middle, 0.0, side)}</svg>{plain(name)}</li>'
        for side, name in sides
    )
    return f'<ul class="key">{shown}</ul>'
