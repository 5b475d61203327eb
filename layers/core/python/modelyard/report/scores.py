"""How good the challenger is: every metric of every side on the same rows, and slice by slice."""

from modelyard.evaluation.slices import FEWEST_ROWS
from modelyard.metrics import METRICS
from modelyard.pages.markup import Column, grid, inline, paragraph
from modelyard.pages.scale import Scale, is_drawable
from modelyard.pages.words import capital, count, cut, figure, meaning, quiet, say, strong, title
from modelyard.report import gate
from modelyard.report.document import Document, Side, Slice
from modelyard.report.marks import axis, drawing, key, point, span

MOST_METRICS = 20
MOST_SLICES = 60
FAR = 3.0
"""So many times as far away as the others lie apart, the baseline is left off their picture."""
SHORT: dict[Side, str] = {"challenger": "this run", "champion": "champion", "baseline": "no learning"}


def metrics(document: Document) -> str:
    """The section of all metrics."""
    measured = document.metrics.get("challenger") or {}
    if not measured:
        return ""
    sides: list[Side] = [side for side in SHORT if document.metrics.get(side)]
    order = sorted(measured, key=lambda name: (name != document.metric, name not in METRICS))[:MOST_METRICS]
    columns = [Column("Measure"), *(Column(_head(document, side)) for side in sides)]
    columns.append(Column("Beside each other", "pic"))
    rows = []
    for name in order:
        direction = ""
        if name in METRICS:
            direction = f" {'lower' if METRICS[name].lower_is_better else 'higher'} is better"
        decides = ", decides" if name == document.metric else ""
        shown = strong(title(name)) if decides else cut(title(name), 80)
        rows.append(
            [
                inline(say("{}{}", shown, quiet(f"{direction}{decides}"))),
                *(_value(document, side, name) for side in sides),
                _picture(document, sides, name),
            ]
        )
    value = document.score("challenger", document.metric)
    told = paragraph(say("{}", meaning(document.metric, value))) if is_drawable(value) and document.metric else ""
    names: list[tuple[Side, str]] = [(side, _head(document, side).lower()) for side in sides]
    intervals = "Below a value: where it lies on other rows of the same kind, 95 times of 100."
    explained = paragraph(say("{}", intervals), is_quiet=True) if any(document.intervals.values()) else ""
    return f"{told}{key(*names)}{grid(columns, rows, kind='wide drawn measures')}{explained}"


def _head(document: Document, side: Side) -> str:
    if side == "champion":
        return "Champion" if document.champion is None else f"Version {document.champion}, champion"
    return "This run" if side == "challenger" else "Without learning"


def _value(document: Document, side: Side, metric: str) -> str:
    value = say("{}", figure(document.score(side, metric)))
    low, high = (document.intervals.get(side) or {}).get(metric, (None, None))
    if low is not None and high is not None:
        value += say(" {}", quiet(f"{figure(low)} to {figure(high)}"))
    return inline(value)


def _picture(document: Document, sides: list[Side], metric: str) -> str:
    """All sides on one scale; a baseline that is far off would press the others into one point, and is left out."""
    bounds = {side: (document.intervals.get(side) or {}).get(metric, (None, None)) for side in sides}
    values = {side: document.score(side, metric) for side in sides}
    near = [found for side in sides if side != "baseline" for found in (values[side], *bounds[side])]
    drawn = [found for found in near if is_drawable(found)]
    if not drawn:
        return ""
    low, high, simple = min(drawn), max(drawn), values.get("baseline")
    off = is_drawable(simple) and max(low - simple, simple - high) > FAR * (high - low) > 0
    scale = Scale.over(drawn if off else [*drawn, simple])
    if scale is None:
        return ""
    places = {"challenger": "30%", "champion": "70%", "baseline": "50%"}
    content = "" if off else point(scale, simple, "baseline")
    for side in sides:
        if side != "baseline":
            content += span(scale, *bounds[side], side, y=places[side])
            content += point(scale, values[side], side, y=places[side])
    told = ", ".join(f"{SHORT[side]} {figure(values[side])}" for side in sides)
    beyond = " (without learning: off the picture)" if off else ""
    return drawing(content, title=f"{cut(title(metric), 60)}: {told}{beyond}", kind="line")


def slices(document: Document) -> str:
    """The section of slices."""
    if not document.slices:
        return ""
    limit = document.asked_number("evaluation", "max_slice_loss")
    compared = any(found.improvement is not None for found in document.slices)
    shown = _shown(document.slices)
    scale = Scale.over(
        [
            *(found for one in shown for found in (one.improvement, one.low, one.high)),
            *((0.0, None if limit is None else -limit) if compared else ()),
            *(() if compared else (one.challenger for one in shown)),
        ]
    )
    if scale is None:
        return ""
    name = document.measure
    head = f"Improvement of {name}" if compared else capital(name)
    columns = [
        Column("Slice"), Column("Rows", "num"), Column(head, "pic", axis(scale)), Column("This run", "num"),
        *([Column("Champion", "num")] if compared else []),
        *([Column("Holds", "holds")] if compared and limit is not None else []),
    ]  # fmt: skip
    rows = [_slice(one, scale, limit, compared=compared) for one in shown]
    told = say("Each line is the rows with one value of one column. ")
    if compared:
        told += say("Right of the line at 0 this run is better than the champion there, left of it worse. ")
    if limit is not None and compared:
        told += say("No slice may lose more than {}, which is the dashed line.", strong(figure(limit)))
    more = ""
    if len(document.slices) > len(shown):
        left = count(len(document.slices) - len(shown), "slice")
        more = paragraph(say("And {} that hold or are not told apart; --json has all.", left), is_quiet=True)
    return f"{paragraph(told)}{grid(columns, rows, kind='wide drawn')}{more}"


def _shown(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    """All of a few; of many those that do not hold first, each in its place."""
    if len(slices) <= MOST_SLICES:
        return slices
    order = sorted(range(len(slices)), key=lambda place: (slices[place].passed is not False, place))
    return tuple(slices[place] for place in sorted(order[:MOST_SLICES]))


def _slice(one: Slice, scale: Scale, limit: float | None, *, compared: bool) -> list[str]:
    named = say("{} {}", quiet(cut(one.column, 60)), cut(one.value, 80))
    said = f"{cut(one.column, 60)} {cut(one.value, 80)}: {figure(one.improvement if compared else one.challenger)}"
    if one.low is not None and one.high is not None:
        said += f", {figure(one.low)} to {figure(one.high)}"
    below = None if limit is None or not compared else -limit
    picture = (
        gate.row(scale, (one.improvement, one.low, one.high), below, said)
        if compared
        else drawing(point(scale, one.challenger, "challenger"), title=said, kind="line")
    )
    return [
        inline(named),
        "" if one.rows is None else f"{one.rows:,}",
        picture,
        figure(one.challenger),
        *([figure(one.champion)] if compared else []),
        *([_holds(one)] if compared and limit is not None else []),
    ]


def _holds(one: Slice) -> str:
    if one.judged is False:
        return f"<small>not judged: {count(one.rows or 0, 'row')}, {FEWEST_ROWS} are needed</small>"
    if one.passed is None:
        return ""
    return '<b class="yes">✓ yes</b>' if one.passed else '<b class="no">✗ no</b>'
