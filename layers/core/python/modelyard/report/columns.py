"""What the values of each column are like, in the rows that were learnt from against the frozen ones."""

import itertools
import math

from modelyard.pages.markup import breaking, inline, paragraph, plain
from modelyard.pages.scale import is_drawable
from modelyard.pages.words import Text, count, cut, figure, percent, quiet, say, strong
from modelyard.report.document import Document, Histogram, Profile
from modelyard.report.marks import drawing

MOST_COLUMNS = 60
MOST_VALUES = 6
LONGEST_NAME = 60
LONGEST_VALUE = 40
HEIGHT = 40
MUCH_MISSING = 0.2


def html(document: Document) -> str:
    """The section: the target first, then the columns as the document has them."""
    if not document.profile:
        return ""
    target = document.asked("training", "target")
    order = sorted(document.profile, key=lambda name: name != target)
    shown = "".join(_column(name, document.profile[name], name == target) for name in order[:MOST_COLUMNS])
    told = paragraph(say("Filled: the rows that were learnt from. Outlined, or the upright line: the frozen rows."))
    more = ""
    if len(order) > MOST_COLUMNS:
        left = count(len(order) - MOST_COLUMNS, "column")
        more = paragraph(say("And {} more; --json has all.", left), is_quiet=True)
    return f'{told}<div class="columns">{shown}</div>{more}'


def _column(name: str, profile: Profile, is_target: bool) -> str:
    badge = " <b>target</b>" if is_target else ""
    picture = ""
    if profile.histogram is not None:
        picture = _histogram(name, profile.histogram)
    elif profile.top:
        picture = _top(profile)
    ends = ""
    if profile.minimum is not None and profile.maximum is not None:
        low, high = profile.minimum, profile.maximum
        if picture and profile.histogram is not None:  # which reaches over both sets
            low, high = profile.histogram.edges[0] or 0.0, profile.histogram.edges[-1] or 0.0
        ends = f'<p class="ends"><span>{figure(low)}</span><span>{figure(high)}</span></p>'
    shown = breaking(cut(name, LONGEST_NAME))
    return (
        f'<article><h3>{shown}{badge}</h3><p class="quiet">{inline(_facts(profile))}</p>{picture}{ends}'
        f"{_middle(profile)}</article>"
    )


def _facts(profile: Profile) -> Text:
    said = say("{}", cut(profile.kind, 20))
    if profile.distinct is not None:
        said += say(", {}", count(profile.distinct, "value"))
    if profile.missing:
        missing = f"{percent(profile.missing)} missing"
        said += say(", {}", strong(missing) if profile.missing > MUCH_MISSING else missing)
    return said


def _middle(profile: Profile) -> str:
    if profile.mean is None or profile.median is None:
        return ""
    return paragraph(say("mean {}, median {}", figure(profile.mean), figure(profile.median)), is_quiet=True)


def _histogram(name: str, found: Histogram) -> str:
    """Both sets as steps, each with an area of one, so that sets of different sizes compare."""
    edges = [edge for edge in found.edges if is_drawable(edge)]
    if len(edges) < 2 or len(edges) != len(found.edges) or any(b <= a for a, b in itertools.pairwise(edges)):
        return ""
    sets = [_densities(edges, counts) for counts in (found.training, found.evaluation)]
    highest = max((value for one in sets for value in one), default=0.0)
    if not highest > 0 or not math.isfinite(highest):
        return ""
    low, width = edges[0], edges[-1] - edges[0]
    xs = [f"{100 * (edge - low) / width:.4g}" for edge in edges]
    content = ""
    for kind, densities in zip(("t", "v"), sets, strict=True):
        if not densities:
            continue
        steps = "".join(
            f"V{HEIGHT - HEIGHT * value / highest:.3g}H{x}" for value, x in zip(densities, xs[1:], strict=True)
        )
        content += f'<path class="{kind}" d="M0 {HEIGHT}{steps}V{HEIGHT}"/>'
    told = f"How often values of {cut(name, LONGEST_NAME)} lie where, {figure(low)} to {figure(edges[-1])}"
    return drawing(content, title=told, kind="histogram", view=f"0 0 100 {HEIGHT}")


def _densities(edges: list[float], counts: tuple[float | None, ...]) -> list[float]:
    """Shares by width; nothing where the counts do not fit the edges."""
    numbers = [max(0.0, number) if is_drawable(number) else 0.0 for number in counts]
    whole = sum(numbers)
    if len(numbers) != len(edges) - 1 or not whole:
        return []
    return [number / whole / (b - a) for number, (a, b) in zip(numbers, itertools.pairwise(edges), strict=True)]


def _top(profile: Profile) -> str:
    """The most frequent values; of a date the months, in their order."""
    shown = profile.top if profile.kind == "date" else profile.top[:MOST_VALUES]
    if profile.kind == "date":
        shown = tuple(sorted(shown, key=lambda found: str(found[0])))
    highest = max((share for _, *shares in shown for share in shares if is_drawable(share)), default=0.0)
    lines = "".join(_value(str(value), training, evaluation, highest or 1.0) for value, training, evaluation in shown)
    left = len(profile.top) - len(shown)
    if profile.distinct is not None and profile.kind != "date":  # of a date the months are shown, not the values
        left = max(left, profile.distinct - len(shown))
    more = f"<li>{inline(say('{}', quiet(f'and {left:,} more')))}</li>" if left > 0 else ""
    return f'<ul class="top">{lines}{more}</ul>'


def _value(value: str, training: float | None, evaluation: float | None, highest: float) -> str:
    learnt, frozen = (share if is_drawable(share) and share > 0 else 0.0 for share in (training, evaluation))
    content = f'<rect class="t" width="{100 * learnt / highest:.3g}%" height="100%"/>'
    if evaluation is not None:
        x = f"{100 * frozen / highest:.3g}%"
        content += f'<line class="v" x1="{x}" x2="{x}" y2="100%"/>'
    name = cut(value, LONGEST_VALUE) if value.strip() else "(empty)"
    told = f"{name}: {percent(training)} of the rows learnt from, {percent(evaluation)} of the frozen rows"
    picture = drawing(content, title=told, kind="share")
    return f"<li><span>{plain(name)}</span>{picture}<small>{percent(training)}</small></li>"
