"""How good a version is, what the numbers mean, and how it compares with the version before it.

The rule: the evaluation report is the better witness, because it measured both versions and the baseline on the same
rows. Without it the versions' own metrics stand side by side, and it is said that the rows may have been others.
"""

from typing import Literal

from modelyard.card.blocks import Block, Bullets, Course, Hundred, Paragraph, Point, Table
from modelyard.card.facts import Facts
from modelyard.comparison import compare
from modelyard.metrics import METRICS
from modelyard.pages.words import (
    NOT_RECORDED,
    Text,
    count,
    figure,
    is_better,
    likely_range,
    meaning,
    of_hundred,
    quiet,
    say,
    strong,
    title,
)
from modelyard.tasks import METRICS as OF_TASK

_PLAIN = ("accuracy", "mae", "r2")
"""Metrics that mean something to everybody, the plainest first."""

Side = Literal["challenger", "champion", "baseline"]


def deciding_metric(facts: Facts) -> str | None:
    """The metric that decided about the version, or the plainest where that is not recorded; None without any."""
    if facts.report is not None and facts.report.metric in facts.version.manifest.metrics:
        return facts.report.metric
    return plainest_metric(facts)


def plainest_metric(facts: Facts) -> str | None:
    """The metric that a sentence can explain best."""
    metrics = facts.version.manifest.metrics
    order = (*_PLAIN, *OF_TASK[facts.version.manifest.task], *metrics)
    return next((name for name in order if name in metrics), None)


def in_short(facts: Facts) -> Text:
    """One line for a glance."""
    metrics, name = facts.version.manifest.metrics, plainest_metric(facts)
    if name is None:
        return say("{}", NOT_RECORDED)
    if name == "accuracy":
        return say("{} answered right", strong(of_hundred(metrics[name])))
    return say("{} {}", title(name), strong(figure(metrics[name])))


def blocks(facts: Facts) -> tuple[Block, ...]:
    """The section about it."""
    metrics, report = facts.version.manifest.metrics, facts.report
    plain, deciding = plainest_metric(facts), deciding_metric(facts)
    if plain is None or deciding is None:
        return (Paragraph(say("Its quality is {}: it came without a measure.", NOT_RECORDED)),)
    found: list[Block] = []
    if plain == "accuracy":
        found.append(_hundred(metrics[plain]))
    found.append(Paragraph((*say("{} ", strong(meaning(plain, metrics[plain]))), *_how_sure(facts, plain))))
    if report is None:
        rows = f"On which rows it was measured, and on how many, is {NOT_RECORDED}."
    else:
        rows = (
            f"It was measured on {count(report.rows, 'row')} that no version learnt from, with the very file that "
            "answers callers."
        )
    found.append(Paragraph(say("{}", rows)))
    if plain == "accuracy":
        baseline = None if report is None else report.score("baseline", plain)
        if baseline is not None:
            said = "Without learning, by always giving the most frequent answer, {} would have been right."
            found.append(Paragraph(say(said, of_hundred(baseline))))
    if deciding != plain:
        said = "Whether a new version goes live is decided by another measure, {}. {}"
        found.append(Paragraph(say(said, strong(title(deciding)), meaning(deciding, metrics[deciding]))))
    found.append(_table(facts))
    return tuple(found)


def _hundred(share: float) -> Hundred:
    filled = min(99, max(1, round(100 * share))) if 0 < share < 1 else round(100 * share)
    return Hundred(filled, f"{of_hundred(share)} answered right")


def _how_sure(facts: Facts, metric: str) -> Text:
    rows = facts.report.rows if facts.report else 0
    if metric != "accuracy" or not rows:
        return ()
    share = facts.version.manifest.metrics[metric]
    low, high = (round(100 * bound) for bound in likely_range(share, rows))
    said = "({} of {} rows. On other rows of the same kind, between {} and {} of 100 are likely.)"
    return say(said, f"{round(share * rows):,}", f"{rows:,}", str(low), str(high))


def _table(facts: Facts) -> Table:
    """Every metric, of every side that was measured on the same rows."""
    metrics, report = facts.version.manifest.metrics, facts.report
    sides: list[tuple[str, Side]] = []
    if report is not None:
        if report.metrics.get("champion"):
            sides.append((f"version {report.champion}" if report.champion else "the champion then", "champion"))
        if report.metrics.get("baseline"):
            sides.append(("without learning", "baseline"))
    order = [name for name in METRICS if name in metrics] + sorted(set(metrics) - set(METRICS))
    rows = []
    for name in order:
        others = [report.score(side, name) if report else None for _, side in sides]
        arrow = "" if name not in METRICS else " (lower is better)" if METRICS[name].lower_is_better else ""
        rows.append(
            (
                say("{}{}", title(name), quiet(arrow)),
                say("{}", strong(figure(metrics[name]))),
                *(say("{}", figure(other)) for other in others),
            )
        )
    return Table(("Measure", "this version", *(name for name, _ in sides)), tuple(rows))


# -- against the version before -----------------------------------------------------------------------------------


def against_before(facts: Facts) -> tuple[Block, ...]:
    """The section about it."""
    if facts.before is None:
        return (Paragraph(say("There is none: this is the first version.")),)
    found = [_measured_together(facts) or _measured_apart(facts)]
    comparison = compare(facts.before, facts.version)
    if comparison.breaking:
        found.append(Paragraph(say("{} Whoever calls the model has to change with it:", strong("Not compatible."))))
        return (*found, Bullets(tuple(say("{}", problem) for problem in comparison.breaking)))
    same = (
        "It takes the same inputs and gives the same outputs."
        if not comparison.signature
        else ("What it takes and gives has changed, in a way that breaks no caller.")
    )
    if comparison.same_bytes:
        same += " Its file is the same, byte for byte."
    return (*found, Paragraph(say("{}", same)))


def _measured_together(facts: Facts) -> Paragraph | None:
    """From the report, where the version before answered the same rows."""
    report, before, name = facts.report, facts.before, deciding_metric(facts)
    if report is None or before is None or name is None or report.champion != before.number:
        return None
    one, two = report.score("champion", name), report.score("challenger", name)
    if one is None or two is None:
        return None
    said = say(
        "On the same {}, version {} reached {} {} and this one {}: {}.",
        count(report.rows, "row"), str(before.number), title(name), figure(one), strong(figure(two)),
        _verdict(name, two, one),
    )  # fmt: skip
    plain = plainest_metric(facts)
    if plain == "accuracy" != name:
        pair = report.score("champion", plain), report.score("challenger", plain)
        if None not in pair:
            right = [f"{round((share or 0) * report.rows):,}" for share in pair]
            said += say(" Answered right were {} and {} of them.", *right)
    return Paragraph(said + _says_chance(facts))


def _says_chance(facts: Facts) -> Text:
    interval = facts.report.interval if facts.report else None
    if interval is None or interval.low is None or interval.high is None:
        return ()
    if interval.low <= 0 <= interval.high:
        return say(" The difference is so small, for so many rows, that chance may explain it.")
    return say(" With so many rows, chance alone hardly explains the difference.")


def _measured_apart(facts: Facts) -> Paragraph:
    """From the manifests alone: the rows may have been others."""
    name, before = deciding_metric(facts), facts.before
    other = None if name is None or before is None else before.manifest.metrics.get(name)
    if name is None or other is None or before is None:
        return Paragraph(say("How it compares is {}: there is no measure that both have.", NOT_RECORDED))
    value = facts.version.manifest.metrics[name]
    said = "Version {} has {} {}, and this one {}: {}. Whether both were measured on the same rows is {}."
    verdict = _verdict(name, value, other)
    parts = (str(before.number), title(name), figure(other), strong(figure(value)), verdict, NOT_RECORDED)
    return Paragraph(say(said, *parts))


def _verdict(metric: str, value: float, other: float) -> str:
    better = is_better(metric, value, other)
    if better is None:
        return "no different" if value == other else "which is better is not known"
    lower = METRICS[metric].lower_is_better
    return f"{'better' if better else 'worse'} by {figure(abs(value - other))}{' (lower is better)' if lower else ''}"


# -- over the versions --------------------------------------------------------------------------------------------


def course(facts: Facts) -> tuple[Block, ...]:
    """The deciding metric of the last versions; nothing where there is no course to show."""
    name = deciding_metric(facts)
    if name is None:
        return ()
    measured = [version for version in facts.recent if name in version.manifest.metrics]
    if len(measured) < 2:
        return ()
    live = facts.deployment.champion if facts.deployment else 0
    points = tuple(
        Point(
            version=version.number,
            value=version.manifest.metrics[name],
            live=version.number == live,
            this=version.number == facts.version.number,
        )
        for version in measured
    )
    lower = name in METRICS and METRICS[name].lower_is_better
    rows = f"On which rows each version was measured is {NOT_RECORDED}, so their values may not compare."
    if all(version.manifest.evaluation for version in measured):
        rows = "Each version was measured on the rows that were held back in its time, so their values compare roughly."
    rival = _rival(facts, name) if any(point.this for point in points) else None
    if rival is not None:
        rows += f" The mark beside this one is version {rival[0]} on the very rows of this one."
    return (Course(name, lower, points, rival), Paragraph(say("{}", rows), quiet=True))


def _rival(facts: Facts, metric: str) -> tuple[int, float] | None:
    """The version before on the rows of this one."""
    value = None if facts.report is None else facts.report.score("champion", metric)
    if facts.report is None or facts.report.champion is None or value is None:
        return None
    return facts.report.champion, value
