"""The two pictures of a card, as SVG that needs no script and has its sizes from where it stands.

Lengths across are percentages and text has no view box around it, so letters are as large on a phone as on a desk.
Colours are the page's: everything has a class. Each picture has its meaning as its label, and none says more than the
text beside it, so nothing is lost on somebody who cannot see it.
"""

import itertools
from html import escape

from modelyard.card.blocks import Course, Hundred, Point
from modelyard.pages.scale import ticks
from modelyard.pages.words import figure, title

TOP, BOTTOM, HEIGHT = 34, 160, 228
LEFT, RIGHT = 18.0, 91.0
COLUMNS, ROWS, PITCH = 20, 5, 20


def hundred(dots: Hundred) -> str:
    """A hundred dots, row by row, of which some are filled."""
    circles = "".join(
        f'<circle class="{"full" if place < dots.filled else "empty"}" r="6.5" '
        f'cx="{PITCH * (place % COLUMNS) + PITCH / 2:g}" cy="{PITCH * (place // COLUMNS) + PITCH / 2:g}"/>'
        for place in range(COLUMNS * ROWS)
    )
    size = f"{COLUMNS * PITCH} {ROWS * PITCH}"
    return f'<svg class="hundred" viewBox="0 0 {size}" role="img" aria-label="{escape(dots.label)}">{circles}</svg>'


def course(points: Course) -> str:
    """The values of a metric, version by version, with the live one and this one marked."""
    values = [point.value for point in points.points]
    shown = values if points.rival is None else [*values, points.rival[1]]
    marks = ticks(min(shown), max(shown))
    low, high = marks[0], marks[-1]
    digits = max(len(f"{mark:g}".partition(".")[2]) for mark in marks)

    def across(place: int) -> str:
        return f"{LEFT + (RIGHT - LEFT) * place / (len(values) - 1):.2f}%"

    def down(value: float) -> str:
        return f"{BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low):.1f}"

    grid = "".join(
        f'<line class="grid" x1="0" x2="100%" y1="{down(mark)}" y2="{down(mark)}"/>'
        f'<text class="tick" x="0" y="{float(down(mark)) - 4:.1f}">{mark:,.{digits}f}</text>'
        for mark in marks
    )
    lines = "".join(
        f'<line class="course" x1="{across(place)}" y1="{down(one)}" x2="{across(place + 1)}" y2="{down(two)}"/>'
        for place, (one, two) in enumerate(itertools.pairwise(values))
    )
    dots = "".join(
        _dot(point, across(place), down(point.value), below=_is_below(point, points))
        for place, point in enumerate(points.points)
    )
    this = next((place for place, point in enumerate(points.points) if point.this), None)
    rival = ""
    if points.rival is not None and this is not None:
        rival = _rival(
            points.rival, across(this), down(points.rival[1]), down(values[this]), left=2 * this >= len(values)
        )
    return (
        f'<svg class="plot" width="100%" height="{HEIGHT}" role="img" aria-label="{escape(label(points))}">'
        f"{grid}{lines}{rival}{dots}</svg>"
    )


def _is_below(point: Point, course: Course) -> bool:
    """Whether the value stands below its dot: this one's does where its rival is above, the live one's always."""
    return point.value < course.rival[1] if point.this and course.rival is not None else not point.this


def _dot(point: Point, x: str, y: str, *, below: bool) -> str:
    kind = "live" if point.live else "other"
    ring = f'<circle class="ring" cx="{x}" cy="{y}" r="10"/>' if point.this else ""
    value = ""
    if point.this or point.live:
        place = float(y) + (26 if below else -16)
        value = f'<text class="value" x="{x}" y="{place:.1f}">{escape(figure(point.value))}</text>'
    role = "this, live" if point.this and point.live else "this" if point.this else "live" if point.live else ""
    said = f'<text class="role" x="{x}" y="{HEIGHT - 6}">{role}</text>' if role else ""
    number = f'<text class="number" x="{x}" y="{HEIGHT - 24}">{point.version}</text>'
    radius = "6" if point.live else "4.5"
    return f'{ring}<circle class="{kind}" cx="{x}" cy="{y}" r="{radius}"/>{value}{number}{said}'


def _rival(rival: tuple[int, float], x: str, y: str, other: str, *, left: bool) -> str:
    """The version before on the rows of this one, on the same line from top to bottom; its name on the freer side."""
    side = 'class="rival to-left" dx="-11"' if left else 'class="rival" dx="11"'
    return (
        f'<line class="rival" x1="{x}" x2="{x}" y1="{y}" y2="{other}"/><circle class="rival" cx="{x}" cy="{y}" r="5"/>'
        f'<text {side} x="{x}" y="{float(y) + 4:.1f}">version {rival[0]}: {escape(figure(rival[1]))}</text>'
    )


def label(course: Course) -> str:
    """The picture in words."""
    told = []
    for point in course.points:
        marks = "".join(name for name, holds in ((", live", point.live), (", this card", point.this)) if holds)
        told.append(f"version {point.version} {figure(point.value)}{marks}")
    if course.rival is not None:
        told.append(f"version {course.rival[0]} on the rows of this card {figure(course.rival[1])}")
    return f"{title(course.metric)} of the last versions: {'; '.join(told)}"
