"""Bar charts as SVG: no library, no font but the reader's own, and a background of their own in light and in dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABELS, ROW, BAR, TOP, EDGE = 760, 270, 28, 16, 48, 16
_STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .quiet { fill: #59636e; font-size: 12px }
  .page { fill: #ffffff } .line { stroke: #d1d9e0 }
  .ours { fill: #1a7f64 } .other { fill: #8c96a1 } .second { fill: #0969da } .third { fill: #bf6a02 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .quiet { fill: #9198a1 } .page { fill: #0d1117 } .line { stroke: #3d444d }
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
