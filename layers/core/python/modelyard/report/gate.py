"""The gate: what it asked, what it found, and where the improvement lies."""

from modelyard.pages.markup import bullets, inline, paragraph, plain
from modelyard.pages.scale import Scale, anchor, is_drawable
from modelyard.pages.words import Text, count, cut, figure, percent, quiet, say, sentence, strong
from modelyard.report.document import Check, Document, Interval
from modelyard.report.marks import drawing, point, rule, span

NAMES = {
    "parity": "Same answers as the framework",
    "improvement": "Improvement",
    "slices": "Slices",
    "gap": "Training against evaluation",
    "latency": "Latency",
    "size": "Size",
    "breaking": "Callers",
}
MOST_CHECKS = 20
MOST_BREAKS = 30


def html(document: Document) -> str:
    """The section."""
    picture = ""
    if document.interval is not None or document.improvement is not None:
        least = document.asked_number("evaluation", "min_improvement")
        picture = improvement(document.improvement, document.interval, least) + paragraph(_sentence(document))
    checks = "".join(map(_check, document.checks[:MOST_CHECKS]))
    listed = f'<ul class="checks">{checks}</ul>' if checks else ""
    breaks = ""
    if document.breaks:
        shown = [say("{}", cut(found, 500)) for found in document.breaks[:MOST_BREAKS]]
        if len(document.breaks) > MOST_BREAKS:
            shown.append(say("And {} more.", f"{len(document.breaks) - MOST_BREAKS:,}"))
        breaks = f"<h3>What it would break for callers</h3>{bullets(shown)}"
    return f"{listed}{picture}{breaks}"


def _check(check: Check) -> str:
    mark, word = ("✓", "passed") if check.passed else ("✗", "not passed")
    if check.passed is None:
        mark, word = "-", "not looked at"
    name = NAMES.get(check.name, cut(check.name, 60))
    return (
        f'<li class="{"yes" if check.passed else "no"}"><b class="tick" aria-hidden="true">{mark}</b>'
        f'<strong>{inline(say("{}", name))} <span class="unseen">{word}</span></strong> '
        f"<span>{inline(say('{}', sentence(cut(check.said, 1000))))}</span></li>"
    )


def _sentence(document: Document) -> Text:
    """The picture in words; which side is better, and what was asked for."""
    name, found = document.measure, document.improvement
    rows = "the same frozen rows" if document.rows is None else f"the same {count(document.rows, 'frozen row')}"
    if found is None:
        said = say("On {}, against {}: the improvement of {} is no number.", rows, document.opponent, name)
    elif found == 0:
        said = say("On {}, {} is {} that of {}.", rows, name, strong("the same as"), document.opponent)
    else:
        way = "better" if found > 0 else "worse"
        said = say("On {}, {} is {} than that of {}.", rows, name, strong(f"{way} by {figure(abs(found))}"),
                   document.opponent)  # fmt: skip
    interval = document.interval
    if interval is not None and interval.low is not None and interval.high is not None:
        drawn = f" ({count(interval.resamples, 'resample')})" if interval.resamples else ""
        which = f"The {percent(interval.level)} interval" if interval.level else "Its interval"
        said += say(" {} is {} to {}{}.", which, figure(interval.low), figure(interval.high), quiet(drawn))
    least, confidence = (document.asked_number("evaluation", key) for key in ("min_improvement", "confidence"))
    if least is not None:
        sure = f", with a confidence of {percent(confidence)}" if confidence else ""
        wanted = f"at least {figure(least)}" if least else "any improvement"
        said += say(" Asked for: {}{}.", wanted, sure)
    return said


def improvement(value: float | None, interval: Interval | None, least: float | None) -> str:
    """Where an improvement lies, against nothing and against what was asked for."""
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    scale = Scale.over([value, low, high, least, 0.0], most=6, margin=4)
    if scale is None or not any(map(is_drawable, (value, low, high))):
        return ""
    parts = ['<rect class="worse" x="0" y="26" width="', scale.at(0.0), '" height="70"/>']
    if is_drawable(least):
        x = scale.place(least)
        wanted = f"asked for: {figure(least)}" if least else "asked for: any"
        side = "e" if x > 50 else "s"
        parts += [
            f'<line class="asked" x1="{x:g}%" x2="{x:g}%" y1="20" y2="96"/>',
            f'<text class="asked {side}" x="{x:g}%" y="14">{plain(wanted)}</text>',
        ]
    parts.append(f'<line class="zero" x1="{scale.at(0.0)}" x2="{scale.at(0.0)}" y1="26" y2="96"/>')
    parts.append(scale.text(y="114"))
    parts += [span(scale, low, high, "challenger", y="70"), point(scale, value, "challenger", y="70")]
    if is_drawable(value):
        x = scale.place(value)
        parts.append(f'<text class="value {anchor(x)}" x="{x:g}%" y="52">{plain(figure(value))}</text>')
    parts.append('<text class="s" x="0" y="136">← worse</text><text class="e" x="100%" y="136">better →</text>')
    about = f"{figure(value)}, from {figure(low)} to {figure(high)}; asked for {figure(least)}"
    return drawing("".join(parts), title="The improvement and its interval", about=about, kind="plot improvement")


def row(scale: Scale, found: tuple[float | None, float | None, float | None], limit: float | None, said: str) -> str:
    """An improvement and the ends of its interval in a line of a table, beside nothing and the limit."""
    value, low, high = found
    marks = rule(scale, 0.0, "zero") + rule(scale, limit, "asked")
    reach = span(scale, low, high, "challenger")
    return drawing(marks + reach + point(scale, value, "challenger"), title=said, kind="line")
