"""How pages say things: times, people, numbers, and what a metric means to somebody who never heard of it.

All text in a page is a `Text`: spans with a kind, so that each format escapes by its own rules, and what came from
outside can never become markup. Marks that garble a line are replaced here, once.
"""

import math
from typing import Literal, NamedTuple

from modelyard.metrics import METRICS
from modelyard.names import legible
from modelyard.times import parse_stamp

NOT_RECORDED = "not recorded"
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Span(NamedTuple):
    """A piece of text; ``code`` is a name that is typed exactly so, ``strong`` is what a glance should find."""

    text: str
    kind: Literal["plain", "code", "strong", "quiet"] = "plain"


Text = tuple[Span, ...]


def code(text: object) -> Span:
    """A name, a digest, a path."""
    return Span(str(text), "code")


def strong(text: object) -> Span:
    """What matters most in its sentence."""
    return Span(str(text), "strong")


def quiet(text: object) -> Span:
    """What explains the rest."""
    return Span(str(text), "quiet")


def say(pattern: str, *parts: object) -> Text:
    """A sentence with its parts put in at each ``{}``, in order; parts may be spans or whole texts.

    Example:
        >>> say("Version {} is live.", strong(3))
        (Span(text='Version ', kind='plain'), Span(text='3', kind='strong'), Span(text=' is live.', kind='plain'))
    """
    pieces = pattern.split("{}")
    if len(pieces) != len(parts) + 1:
        raise ValueError(f"{len(parts)} parts for {len(pieces) - 1} places in {pattern!r}")
    spans: list[Span] = []
    for piece, part in zip(pieces, (*parts, ""), strict=True):
        spans.append(Span(piece))
        if isinstance(part, Span):
            spans.append(part)
        elif isinstance(part, tuple):
            spans.extend(part)
        else:
            spans.append(Span(str(part)))
    return tuple(Span(one_line(span.text), span.kind) for span in spans if span.text)


def one_line(text: str) -> str:
    """Text from outside on one line, without marks that garble it; blanks at its ends are kept.

    Half a surrogate pair, which JSON can carry and UTF-8 cannot, becomes a question mark.
    """
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(legible(whole).replace("\t", " ").split("\n"))


def cut(text: object, most: int) -> str:
    """Text of at most ``most`` characters; of a longer one the beginning, and how long it is.

    Example:
        >>> cut("aye-aye" * 2000, 7)
        'aye-aye… (14,000 characters)'
    """
    whole = str(text)
    return whole if len(whole) <= most else f"{whole[:most]}… ({len(whole):,} characters)"


def listing(parts: list[Text], *, last: str = "and") -> Text:
    """Texts as an enumeration: a, b and c."""
    spans: list[Span] = []
    for place, part in enumerate(parts):
        if place:
            spans.append(Span(f" {last} " if place == len(parts) - 1 else ", "))
        spans.extend(part)
    return tuple(spans)


def day(stamp: str) -> str:
    """A stored time as a day.

    Example:
        >>> day("2026-11-21T10:00:00.000000Z")
        '21 November 2026'
    """
    moment = parse_stamp(stamp)
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def when(stamp: str) -> str:
    """A stored time to the minute."""
    return f"{day(stamp)}, {stamp[11:16]} UTC"


def person(actor: str) -> str:
    """An IAM identity in the words of a sentence: a name, or what kind of program it was."""
    name = actor.rsplit("/", 1)[-1]
    if ":assumed-role/" in actor and "-Retraini" in name:
        return "the retraining workflow"
    return "the root user of the account" if actor.startswith("arn:") and actor.endswith(":root") else name


def figure(value: float | None) -> str:
    """A number to four digits, or to all of those before the point.

    Example:
        >>> figure(0.51234), figure(1234567.8), figure(None)
        ('0.5123', '1,234,568', 'not recorded')
    """
    if value is None or not math.isfinite(value):
        return NOT_RECORDED
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{float(digits):g} \u00d7 10{str(int(power)).translate(_RAISED)}"
    return f"{value:,.0f}" if size >= 9999.5 else f"{value:,.4g}"


def percent(share: float | None) -> str:
    """A share in percent, without rounding what is not nothing to nothing, nor what is not all to all.

    Example:
        >>> percent(0.123), percent(0.0004), percent(0.9997), percent(1.0), percent(0.0)
        ('12 %', 'under 0.1 %', 'over 99.9 %', '100 %', '0 %')
    """
    if share is None or not abs(share) < 1e6:
        return NOT_RECORDED
    if 0 < share < 0.001:
        return "under 0.1 %"
    if 0.999 < share < 1:
        return "over 99.9 %"
    return f"{100 * share:.1f} %" if 0 < share < 0.0995 or 0.9905 < share < 1 else f"{100 * share:.0f} %"


def duration(seconds: float | None) -> str:
    """How long something took.

    Example:
        >>> duration(0.25), duration(48.4), duration(252), duration(7500)
        ('0.25 s', '48 s', '4 min 12 s', '2 h 5 min')
    """
    if seconds is None or not 0 <= seconds < 1e10:
        return NOT_RECORDED
    if round(seconds) < 60:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number of things.

    Example:
        >>> count(1, "row"), count(1200, "row"), count(2, "class", "classes")
        ('1 row', '1,200 rows', '2 classes')
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def of_hundred(share: float) -> str:
    """A share as a number out of 100, without rounding what is not all to all.

    Example:
        >>> of_hundred(0.826), of_hundred(0.998), of_hundred(1.0), of_hundred(0.001)
        ('about 83 of 100', 'more than 99 of 100', 'all of them', 'fewer than 1 of 100')
    """
    if share >= 1:
        return "all of them"
    if share <= 0:
        return "none of them"
    rounded = round(100 * share)
    return {0: "fewer than 1 of 100", 100: "more than 99 of 100"}.get(rounded, f"about {rounded} of 100")


def likely_range(share: float, rows: int) -> tuple[float, float]:
    """Between which shares the true one likely lies, when ``share`` of ``rows`` rows were right; 95 % of the time.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22, 1927.
    """
    z = 1.959964
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(0.0, middle - half), min(1.0, middle + half)


TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1_macro": "F1, averaged over the classes",
    "log_loss": "log loss",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
}


def title(metric: str) -> str:
    """A metric's name in words; names that are not ours stay as they are."""
    return TITLES.get(metric, metric)


def estimator(kind: str) -> str:
    """A kind of candidate in words."""
    return {"lightgbm": "LightGBM", "baseline": "no learning"}.get(kind, kind.replace("_", " "))


def capital(text: str) -> str:
    """Text with a capital letter."""
    return f"{text[:1].upper()}{text[1:]}"


def sentence(text: str) -> str:
    """What a program wrote as a sentence: a capital letter, unless a name begins it, and a full stop.

    Example:
        >>> sentence("the file is empty"), sentence("rmse 2 against 3")
        ('The file is empty.', 'rmse 2 against 3.')
    """
    whole = text.strip()
    first = whole.split(" ", 1)[0].strip(",:;")
    is_name = first in METRICS or not first.isalpha()
    return (whole if is_name else capital(whole)) + ("" if whole.endswith((".", "!", "?")) else ".")


def meaning(metric: str, value: float) -> str:
    """What a value of a metric means, as a sentence; which way is better is said where it is not plain."""
    match metric:
        case "accuracy":
            return f"Of 100 rows it had not seen, {of_hundred(value).replace(' of 100', '')} were answered right."
        case "balanced_accuracy":
            return (
                f"The same with every class counting alike, however rare: {of_hundred(value)} of a class were answered "
                "right, on average."
            )
        case "f1_macro":
            return (
                "How well each class is found without being seen where it is not, averaged over the classes: 1 would "
                "be without fault, 0 is never right."
            )
        case "log_loss":
            chance = math.exp(-max(value, 0.0))
            said = f"{100 * chance:.0f} %" if chance >= 0.01 else "less than 1 %"
            return (
                f"What turned out to be true had been given a probability of {said}, on average (the geometric mean). "
                "Lower is better; 0 would be certain and right every time."
            )
        case "mae":
            return (
                f"Its answers were off by {figure(value)} on average, in the unit of what it predicts. Lower is better."
            )
        case "rmse":
            return (
                f"Its answers were off by {figure(value)}, where large misses count for more. Lower is better; the "
                "unit is that of what it predicts."
            )
        case "r2" if value < 0:
            return "It did worse than always answering with the average."
        case "r2":
            return (
                f"It explains {100 * value:.0f} % of how the true values differ from their average; 100 % would be "
                "without fault."
            )
    return "A number that came with the model; what it measures is not recorded."


def is_better(metric: str, value: float, other: float) -> bool | None:
    """Whether ``value`` is better than ``other``; None where they are equal or nobody can say."""
    if metric not in METRICS or value == other:
        return None
    return METRICS[metric].improvement(value, other) > 0
