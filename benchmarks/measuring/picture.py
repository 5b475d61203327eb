"""Bars, times and curves as SVG: no library, the reader's own font, a background of their own in light and in dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

WIDTH, LABELS, ROW, BAR, TOP, EDGE = 760, 270, 28, 16, 48, 16
_STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .quiet { fill: #59636e; font-size: 12px }
  .page { fill: #ffffff } .line { stroke: #d1d9e0 }
  .ours { fill: #1a7f64 } .other { fill: #8c96a1 } .second { fill: #0969da } .third { fill: #bf6a02 }
  .curve { fill: none; stroke: #1a7f64; stroke-width: 2 } .mark { stroke: #bf6a02; stroke-dasharray: 4 4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .quiet { fill: #9198a1 } .page { fill: #0d1117 } .line { stroke: #3d444d }
    .curve { stroke: #3fb68b } .mark { stroke: #db8b2a }
    .ours { fill: #3fb68b } .other { fill: #6e7781 } .second { fill: #4493f8 } .third { fill: #db8b2a }
  }
"""


@dataclass
class Bar:
    """One bar that begins at 0: what it is of, how long it is, and what stands behind it."""

    label: str
    value: float
    text: str
    ours: bool = False


@dataclass
class Stretch:
    """One row of a picture of what happened when: pieces (from, to), and the colour's class."""

    label: str
    pieces: list[tuple[float, float]]
    text: str
    colour: str = "ours"


@dataclass
class Curve:
    """One line of a picture of curves: its name and its points (across, up)."""

    label: str
    points: list[tuple[float, float]]


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Bars under each other, on one scale."""
    longest = max(bar.value for bar in rows)
    room = WIDTH - LABELS - 2 * EDGE - 70
    drawn = []
    for number, bar in enumerate(rows):
        y = TOP + number * ROW
        width = max(1.0, bar.value / longest * room)
        drawn.append(_label(bar.label, y))
        drawn.append(_piece(LABELS + EDGE, y, width, "ours" if bar.ours else "other"))
        drawn.append(_text(LABELS + EDGE + width + 6, y, bar.text))
    return _page(title, drawn, height=TOP + len(rows) * ROW + EDGE)


def timeline(title: str, rows: Sequence[Stretch], *, end: float, unit: str) -> str:
    """Rows of pieces over one axis of time from 0 to ``end``."""
    room = WIDTH - LABELS - 2 * EDGE - 70
    bottom = TOP + len(rows) * ROW
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if end / size <= 8)
    drawn = []
    for tick in range(0, int(end) + 1, step):
        x = LABELS + EDGE + tick / end * room
        drawn.append(f'<line class="line" x1="{x:.1f}" y1="{TOP - 4}" x2="{x:.1f}" y2="{bottom}"/>')
        drawn.append(f'<text class="quiet" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick}</text>')
    drawn.append(f'<text class="quiet" x="{LABELS + EDGE + room + 12}" y="{bottom + 16}">{escape(unit)}</text>')
    for number, row in enumerate(rows):
        y = TOP + number * ROW
        drawn.append(_label(row.label, y))
        for began, ended in row.pieces:
            width = max(0.7, (ended - began) / end * room)
            drawn.append(_piece(LABELS + EDGE + began / end * room, y, width, row.colour))
        last = max(ended for _, ended in row.pieces)
        drawn.append(_text(LABELS + EDGE + last / end * room + 6, y, row.text))
    return _page(title, drawn, height=bottom + EDGE + 12)


def curves(
    title: str,
    lines: Sequence[Curve],
    *,
    across: str,
    up: str,
    marks: Sequence[float] = (),
    height: int = 380,
    highest: int = 100,
) -> str:
    """Lines over one pair of axes, from 0 to the largest value; each has its name at its end.

    Args:
        title: What the picture shows.
        lines: From the palest to the strongest colour.
        across: What the horizontal axis is.
        up: What the vertical axis is.
        marks: Heights at which a dashed line runs across, in percent.
        height: Of the picture.
        highest: Where the vertical axis ends, a multiple of 5.
    """
    left, right, top, bottom = 64, WIDTH - 110, 78, height - 48
    widest = max(x for line in lines for x, _ in line.points)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + x / widest * (right - left), bottom - y / highest * (bottom - top)

    drawn = [f'<text class="quiet" x="{EDGE}" y="54">{escape(up)}</text>']
    for y in range(0, highest + 1, highest // 5):
        at = place(0, y)[1]
        drawn.append(f'<line class="line" x1="{left}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>')
        drawn.append(f'<text class="quiet" x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{y}</text>')
    for mark in marks:
        at = place(0, mark)[1]
        drawn.append(f'<line class="mark" x1="{left}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>')
        drawn.append(f'<text class="quiet" x="{right - 4}" y="{at - 4:.1f}" text-anchor="end">{mark:g} %</text>')
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100) if widest / size <= 8)
    for tick in range(0, int(widest) + 1, step):
        at = place(tick, 0)[0]
        drawn.append(f'<text class="quiet" x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{tick}</text>')
    middle = (left + right) / 2
    drawn.append(f'<text class="quiet" x="{middle}" y="{bottom + 36}" text-anchor="middle">{escape(across)}</text>')
    ends = _apart([place(*line.points[-1])[1] for line in lines])
    for number, (line, end) in enumerate(zip(lines, ends, strict=True)):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line.points))
        strength = 0.35 + 0.65 * (number + 1) / len(lines)
        drawn.append(f'<polyline class="curve" opacity="{strength:.2f}" points="{path}"/>')
        drawn.append(f'<text class="quiet" x="{right + 8}" y="{end + 4:.1f}">{escape(line.label)}</text>')
    return _page(title, drawn, height=height)


def _apart(heights: list[float], room: float = 15) -> list[float]:
    """Heights for texts beside these, so that no two overlap: pushed down from the first."""
    found = list(heights)
    order = sorted(range(len(heights)), key=lambda number: heights[number])
    # Lines that end together are named from the bottom up in the order in which they were given.
    order.sort(key=lambda number: (round(heights[number] / room), -number))
    for before, number in pairwise(order):
        found[number] = max(found[number], found[before] + room)
    return found


def _page(title: str, drawn: list[str], *, height: int) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title, quote=True)}">'
    )
    page = f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>'
    heading = f'<text class="title" x="{EDGE}" y="28">{escape(title)}</text>'
    return "\n".join([head, f"<style>{_STYLE}</style>", page, heading, *drawn, "</svg>", ""])


def _label(text: str, y: int) -> str:
    return f'<text x="{LABELS + EDGE - 8}" y="{y + 13}" text-anchor="end">{escape(text)}</text>'


def _text(x: float, y: int, text: str) -> str:
    return f'<text class="quiet" x="{x:.1f}" y="{y + 13}">{escape(text)}</text>'


def _piece(x: float, y: int, width: float, colour: str) -> str:
    return f'<rect class="{colour}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>'
