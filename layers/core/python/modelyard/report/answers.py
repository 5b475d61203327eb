"""What the answers are like: probabilities against what happened, classes against classes, numbers against numbers."""

from collections.abc import Iterable, Sequence

from modelyard.pages.markup import Column, grid, inline, paragraph, plain
from modelyard.pages.scale import Scale, is_drawable
from modelyard.pages.words import Text, count, cut, figure, percent, say, strong
from modelyard.report.document import Bin, Calibration, Confusion, Document, Residuals, Side
from modelyard.report.marks import drawing, key, point

MOST_CLASSES = 31
"""The document has 30 and the rest as "other"."""
FEW_CLASSES = 6
"""So many fit into half of a page."""
MOST_BINS = 20
MOST_MISTAKES = 5
MOST_POINTS = 400
BARS = 15
LEVELS = 8
LONGEST_CLASS = 40
LONG_CLASS = 9
"""Longer names stand upright above their columns."""
INSIDE = 'x="15%" y="3%" width="83%" height="87%"'
"""Where a square plot has its points; the rest is for labels."""


def html(document: Document) -> str:
    """The section; probabilities and classes beside each other where both are small."""
    probabilities, classes = _calibration(document, document.calibration), _confusion(document, document.confusion)
    both = f"{probabilities}{classes}"
    if probabilities and classes and len(document.confusion.classes if document.confusion else ()) <= FEW_CLASSES:
        both = f'<div class="beside">{both}</div>'
    return f"{both}{_residuals(document, document.residuals)}"


def _sides(document: Document, *, both: bool) -> str:
    named: list[tuple[Side, str]] = [("challenger", "this run")]
    if both:
        named.append(("champion", "champion" if document.champion is None else f"version {document.champion}"))
    return key(*named)


def square(across: Scale, down: Scale, inside: str, *, title: str, about: str, x: str, y: str) -> str:
    """A plot as high as wide, with a line from corner to corner where both scales are one.

    Args:
        across: From left to right.
        down: From bottom to top.
        inside: SVG of the points.
        title: What it shows.
        about: The same in a sentence with numbers.
        x: What the scale across measures.
        y: What the other measures.
    """
    grid_ = "".join(
        f'<line class="grid" x1="{across.at(mark)}" x2="{across.at(mark)}" y2="100%"/>' for mark in across.marks
    ) + "".join(f'<line class="grid" x2="100%" y1="{down.up(mark)}" y2="{down.up(mark)}"/>' for mark in down.marks)
    same = '<line class="zero" x1="0" y1="100%" x2="100%" y2="0"/>' if across == down else ""
    names = across.text(y="100%", dy=18) + "".join(
        f'<text class="e" x="0" dx="-7" dy="4" y="{down.up(mark)}">{label}</text>'
        for mark, label in zip(down.marks, down.labels(), strict=True)
    )
    content = f"<svg {INSIDE}>{grid_}{same}{inside}{names}</svg>"
    plot = drawing(content, title=title, about=about, kind="plot square")
    return f'<p class="y">↑ {plain(y)}</p>{plot}<p class="x">{plain(x)} →</p>'


def _dots(pairs: Iterable[tuple[float, float]], across: Scale, down: Scale, side: Side) -> str:
    kind = {"challenger": "cd", "champion": "pd"}.get(side, "pd")
    return "".join(f'<circle class="{kind}" cx="{across.at(x)}" cy="{down.up(y)}" r="3"/>' for x, y in pairs)


# -- probabilities ------------------------------------------------------------------------------------------------


def _calibration(document: Document, found: Calibration | None) -> str:
    if found is None:
        return ""
    sides: list[tuple[Side, list[Bin]]] = [
        ("champion", _binned(found.champion or ())), ("challenger", _binned(found.challenger)),
    ]  # fmt: skip
    bins = [one for _, binned in sides for one in binned]
    scale = Scale.over([0.0, 1.0, *(part for one in bins for part in (one.predicted, one.observed))], margin=0)
    if not bins or scale is None:
        return ""
    inside = ""
    for side, binned in sides:
        for one in binned:
            if is_drawable(one.observed):
                inside += point(scale, one.predicted, side, y=scale.up(one.observed))
    challenger = sides[1][1]
    gaps = [(abs(one.predicted - one.observed), one.rows or 0) for one in challenger
            if is_drawable(one.predicted) and is_drawable(one.observed)]  # fmt: skip
    rows = sum(number for _, number in gaps)
    off = sum(gap * number for gap, number in gaps) / rows if rows else None
    plot = square(
        scale, scale, inside, title="Calibration: how often answers of a probability were right",
        about="; ".join(f"at {percent(one.predicted)} right in {percent(one.observed)}" for one in challenger),
        x="probability that was given", y="share that was right",
    )  # fmt: skip
    said = say("A dot on the line from corner to corner was as often right as it said.")
    if off is not None:
        said += say(" On average this run is off by {}.", strong(percent(off)))
    columns = [Column("Probability given"), Column("Was right", "num"), Column("Rows", "num")]
    lines = [
        [percent(one.predicted), percent(one.observed), "" if one.rows is None else f"{one.rows:,}"]
        for one in challenger
    ]
    numbers = f"<details><summary>The numbers of this run</summary>{grid(columns, lines)}</details>"
    return (
        f"<figure><h3>Are its probabilities right?</h3>{_sides(document, both=bool(sides[0][1]))}{plot}"
        f"{paragraph(said)}{numbers}</figure>"
    )


def _binned(bins: Sequence[Bin]) -> list[Bin]:
    return list(bins[:MOST_BINS])


# -- classes ------------------------------------------------------------------------------------------------------


def _confusion(document: Document, found: Confusion | None) -> str:
    if found is None or not found.classes or not found.challenger:
        return ""
    classes = [cut(name, LONGEST_CLASS) if str(name).strip() else "(empty)" for name in found.classes[:MOST_CLASSES]]
    mistakes = _mistakes(classes, found.challenger)
    frequent = ""
    if mistakes:
        lines = "".join(f"<li>{inline(line)}</li>" for line in mistakes)
        frequent = f"<p>Most often mistaken:</p><ul>{lines}</ul>"
    told = (
        "Each line is what was true, each column what was answered. Framed: right. The stronger the shade, the more of "
        "the line's rows."
    )
    own = _heat("Confusion of this run", classes, found.challenger)
    other = ""
    if found.champion:
        number = "the champion" if document.champion is None else f"version {document.champion}"
        table = _heat(f"Confusion of {number}", classes, found.champion)
        other = f"<details><summary>The same of {number}</summary>{table}</details>"
    below = f'<p class="quiet">{told}</p>{frequent}{other}'
    return f'<div class="confusion"><h3>Which classes it mistakes</h3>{own}{below}</div>'


def _cell(matrix: Sequence[Sequence[int | None]], row: int, column: int) -> int:
    return (matrix[row][column] or 0) if row < len(matrix) and column < len(matrix[row]) else 0


def _mistakes(classes: Sequence[str], matrix: Sequence[Sequence[int | None]]) -> list[Text]:
    size = range(len(classes))
    wrong = [(_cell(matrix, row, column), row, column) for row in size for column in size if row != column]
    return [
        say("{} answered as {}: {}", strong(classes[row]), strong(classes[column]), count(number, "row"))
        for number, row, column in sorted(wrong, key=lambda found: -found[0])[:MOST_MISTAKES]
        if number
    ]


def _heat(title: str, classes: Sequence[str], matrix: Sequence[Sequence[int | None]]) -> str:
    """A table of counts, shaded by each row's shares."""
    size = range(len(classes))
    names = [plain(name) for name in classes]
    head = "".join(f'<th scope="col"><span>{name}</span></th>' for name in names)
    lines = []
    for row in size:
        numbers = [_cell(matrix, row, column) for column in size]
        whole = sum(numbers)
        cells = "".join(
            f'<td class="h{_level(number, whole)}{" right" if row == column else ""}">{number:,}</td>'
            for column, number in enumerate(numbers)
        )
        right = percent(numbers[row] / whole) if whole else "none"
        lines.append(f'<tr><th scope="row">{names[row]}</th>{cells}<td>{right}</td></tr>')
    many = " many" if len(classes) > FEW_CLASSES or max(map(len, classes)) > LONG_CLASS else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{title}"><table class="heat{many}">'
        f'<thead><tr><th scope="col">true</th>{head}<th scope="col"><span>found</span></th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _level(number: int, whole: int) -> int:
    """How dark, 0 to 8: none, or one of eight steps of the root of the share, so that rare mistakes show too."""
    return 0 if not number else min(LEVELS, 1 + int(LEVELS * (number / whole) ** 0.5))


# -- numbers ------------------------------------------------------------------------------------------------------


def _residuals(document: Document, found: Residuals | None) -> str:
    if found is None:
        return ""
    own, other = (_pairs(side or ()) for side in (found.challenger, found.champion))
    scale = Scale.over([part for pair in (*own, *other) for part in pair], margin=2)
    if not own or scale is None:
        return ""
    plot = square(
        scale, scale, _dots(own, scale, scale, "challenger"), title="Answers against the truth, this run",
        about=f"{count(len(own), 'row')}; on the line from corner to corner an answer is right",
        x="truth", y="answer",
    )  # fmt: skip
    said = paragraph(
        say("{} of the frozen rows. On the line from corner to corner an answer is right.", f"{len(own):,}"),
        is_quiet=True,
    )
    return (
        f'<div class="beside"><figure><h3>Answers against the truth</h3>{plot}{said}</figure>'
        f"<figure><h3>How far off</h3>{_misses(document, own, other)}</figure></div>"
    )


def _pairs(side: Sequence[tuple[float | None, float | None]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in side[:MOST_POINTS] if is_drawable(x) and is_drawable(y)]


def _misses(document: Document, own: list[tuple[float, float]], other: list[tuple[float, float]]) -> str:
    """How often answers are off by how much, as bars and, for the champion, as an outline."""
    misses = [answer - truth for truth, answer in own]
    rival = [answer - truth for truth, answer in other]
    scale = Scale.over([*misses, *rival, 0.0], margin=0)
    if scale is None:
        return ""
    low, high = scale.low, scale.high

    def shares(values: list[float]) -> list[float]:
        counts = [0] * BARS
        for value in values:
            counts[min(BARS - 1, int(BARS * (value - low) / (high - low)))] += 1
        return [number / len(values) for number in counts] if values else []

    sets = (shares(misses), shares(rival))
    highest = max(share for one in sets for share in one)
    content = ""
    for kind, one in zip(("t", "v"), sets, strict=True):
        if one:
            steps = "".join(f"V{100 - 96 * share / highest:.3g}H{place + 1}" for place, share in enumerate(one))
            content += f'<path class="{kind}" d="M0 100{steps}V100"/>'
    bars = f'<svg viewBox="0 0 {BARS} 100" preserveAspectRatio="none" {INSIDE}>{content}</svg>'
    names = scale.text(y="100%", dy=18)
    zero = f'<line class="zero" x1="{scale.at(0.0)}" x2="{scale.at(0.0)}" y2="100%"/>'
    middle = sorted(misses)[len(misses) // 2]
    about = f"{figure(min(misses))} to {figure(max(misses))}, in the middle {figure(middle)}"
    plot = drawing(
        f"{bars}<svg {INSIDE}>{zero}{names}</svg>", title="How far answers are off", about=about, kind="plot square"
    )
    within = sorted(abs(miss) for miss in misses)
    said = say("Half of the answers are within {} of the truth, 9 of 10 within {}.",
               strong(figure(within[len(within) // 2])), figure(within[(len(within) * 9) // 10]))  # fmt: skip
    outline = ""
    if rival:
        number = "the champion" if document.champion is None else f"version {document.champion}"
        outline = paragraph(say("Filled: this run. Outlined: {}.", number), is_quiet=True)
    return f'<p class="y">↑ share of the rows</p>{plot}<p class="x">answer less truth →</p>{paragraph(said)}{outline}'
