"""Last stage: the sections in their order, under the verdict, as one file."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from modelyard.metrics import METRICS
from modelyard.pages.markup import breaking, inline, pairs, paragraph, plain, whole
from modelyard.pages.words import Text, capital, count, cut, figure, say, sentence, strong, when
from modelyard.report import answers, columns, gate, onwards, origin, rows, scores, service, tried
from modelyard.report.document import Document, read
from modelyard.report.verdict import verdict_of

LONGEST_REASON = 1000

SECTIONS: tuple[tuple[str, str, Callable[[Document], str]], ...] = (
    ("findings", "What was wrong with the data", rows.findings),
    ("next", "What to do next", onwards.html),
    ("gate", "The gate", gate.html),
    ("metrics", "How good it is", scores.metrics),
    ("slices", "Where it is better, and where worse", scores.slices),
    ("rows", "What it learnt from", rows.html),
    ("file", "What one file changed", service.ablation),
    ("tried", "What was tried", tried.html),
    ("answers", "What its answers are like", answers.html),
    ("importance", "What it looks at", service.importance),
    ("service", "Fit for service", service.html),
    ("columns", "The columns", columns.html),
    ("origin", "Where it comes from", origin.html),
)
_MARKS = {"live": "✓", "trial": "✗", "off": "✗"}


def page(document: Mapping[str, Any]) -> str:
    """The report of a run as one HTML file.

    Args:
        document: The evaluation document as it is stored. Whoever shows it later may add ``version``, the number that
            the run's version got, and ``verdict``: promoted, registered, rejected, refused or failed.
    """
    found = read(document)
    style = files("modelyard.report").joinpath("page.css").read_text("utf-8")
    named = cut(found.model, 80) or "a model"
    made = [(key, _heading(key, heading, found), build(found)) for key, heading, build in SECTIONS]
    shown = [(key, heading, html) for key, heading, html in made if html]
    links = "".join(f'<li><a href="#{key}">{heading}</a></li>' for key, heading, _ in shown)
    body = "".join(f'<section id="{key}"><h2>{heading}</h2>{html}</section>' for key, heading, html in shown)
    return whole(
        f"{named}: report of a retraining run",
        f'{_header(found, named)}<nav aria-label="Contents"><ul>{links}</ul></nav><main>{body}</main>{_footer(found)}',
        style=style,
    )


def _heading(key: str, heading: str, document: Document) -> str:
    """What a section is called. Where nothing was learnt there is at most the file that the run was started by."""
    return "The file" if key == "rows" and document.row_counts is None and not document.metrics else heading


def _header(document: Document, named: str) -> str:
    verdict = verdict_of(document)
    told = say("{}", sentence(cut(document.reason, LONGEST_REASON))) if document.reason else ()
    reason = f'<p class="about">{inline(told)}</p>' if told else ""
    at = f"<span>{plain(_at(document.created_at))}</span>" if document.created_at else ""
    mark = f'<span aria-hidden="true">{_MARKS[verdict.tone]} </span>'
    return (
        f'<header><p class="kind">Retraining report</p><h1>{breaking(named)}</h1>'
        f'<p class="which"><b class="{verdict.tone}">{mark}{verdict.word}</b>{at}</p>{reason}'
        f"{paragraph(say('{}', verdict.follows))}{pairs(_glance(document))}</header>"
    )


def _at(stamp: str) -> str:
    """A stored time to the minute; what is none as it is written."""
    try:
        return when(stamp)
    except (ValueError, TypeError, IndexError):
        return cut(stamp, 40)


def _glance(document: Document) -> list[tuple[str, Text]]:
    lines = [
        (_measure(document), _decided(document)),
        ("Measured on", _measured(document)),
        ("Learnt from", _learnt(document)),
        ("Model", say("{}", tried.kind_of(document.training.candidate)) if document.training else ()),
        ("Started by", _started(document)),
        ("Ended at", say("{}", onwards.step_of(document)) if document.step else ()),
        ("Run", say("{}", cut(document.run_id, 128))),
    ]
    return [(name, text) for name, text in lines if text]


def _measure(document: Document) -> str:
    name = capital(document.measure)
    if document.metric not in METRICS:
        return name
    way = "lower" if METRICS[document.metric].lower_is_better else "higher"
    return f"{name}, {way} is better"


def _decided(document: Document) -> Text:
    """The metric that decides, against what it was measured against."""
    value = document.score("challenger", document.metric)
    if value is None:
        return ()
    other = document.score(document.opposing, document.metric)
    against = "" if other is None else f" against {figure(other)} of {document.opponent}"
    return say("{}{}", strong(figure(value)), against)


def _measured(document: Document) -> Text:
    frozen = document.evaluation_set
    number = document.rows if document.rows is not None or frozen is None else frozen.rows
    if number is None:
        return ()
    which = "" if frozen is None or frozen.number is None else f" of evaluation set {frozen.number}"
    return say("{}{}", count(number, "frozen row"), which)


def _learnt(document: Document) -> Text:
    counts = document.row_counts
    if counts is None or counts.training is None:
        return ()
    among = f" of {count(len(document.files), 'file')}" if document.files else ""
    return say("{}{}", count(counts.training, "row"), among)


def _started(document: Document) -> Text:
    trigger = document.trigger
    said = "" if trigger is None else cut(trigger.said or trigger.kind, 300)
    return say("{}", said) if said else ()


def _footer(document: Document) -> str:
    said = ""
    if document.unreadable:
        names = ", ".join(document.unreadable)
        said = paragraph(say("Not shown, because this release cannot read it: {}.", names))
    return f"<footer><p>Made from the evaluation document of the run.</p>{said}</footer>"
