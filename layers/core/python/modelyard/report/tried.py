"""What was tried: every candidate by cross-validation, why the best one won, and what was left untried."""

from typing import Any

from modelyard.metrics import METRICS
from modelyard.pages.markup import Column, bullets, grid, inline, paragraph
from modelyard.pages.scale import Scale, is_drawable
from modelyard.pages.words import (
    Text,
    capital,
    count,
    cut,
    duration,
    estimator,
    figure,
    quiet,
    say,
    sentence,
    strong,
)
from modelyard.report.document import Document, Trial
from modelyard.report.marks import axis, drawing, point, span

BASELINE = "baseline"
MOST_SHOWN = 15
"""Lines that are seen at once; the others unfold."""
MOST_TRIALS = 120
MOST_SETTINGS = 20
MOST_LINES = 30
WHERE = {"lambda": "on Lambda", "sagemaker": "on SageMaker Training", "local": "on this machine"}


def html(document: Document) -> str:
    """The section."""
    training = document.training
    if training is None or not (training.leaderboard or training.candidate):
        return ""
    scored = [trial for trial in training.leaderboard if is_drawable(trial.mean)]
    failed = [trial for trial in training.leaderboard if not is_drawable(trial.mean)]
    parts = [paragraph(_winner(document, len(training.leaderboard)))]
    if training.why:
        parts.append(paragraph(say("{}", sentence(cut(training.why, 1000)))))
    parts += [paragraph(_took(document)), _board(document, scored)]
    if failed:
        parts.append(f"<h3>Not tried, or without a number</h3>{bullets(_failures(failed))}")
    if training.remarks and training.rows is None:
        shown = [say("{}", sentence(cut(line, 500))) for line in training.remarks[:MOST_LINES]]
        if len(training.remarks) > MOST_LINES:
            shown.append(say("And {} more; --json has all.", f"{len(training.remarks) - MOST_LINES:,}"))
        parts.append(f"<h3>What the training noticed</h3>{bullets(shown)}")
    return "".join(parts)


def kind_of(candidate: str) -> str:
    """A candidate's kind in words."""
    return cut(estimator(candidate), 80)


def settings_of(settings: dict[str, Any]) -> str:
    """Settings in a line."""
    shown = [f"{cut(name, 40)} {_value(value)}" for name, value in list(settings.items())[:MOST_SETTINGS]]
    more = f" and {len(settings) - MOST_SETTINGS:,} more" if len(settings) > MOST_SETTINGS else ""
    return f"{', '.join(shown)}{more}"


def _value(value: Any) -> str:
    """A setting; the digits of what was drawn at random tell nobody anything."""
    if isinstance(value, bool) or not isinstance(value, float):
        return "yes" if value is True else "no" if value is False else cut(value, 60)
    return figure(value)


def _winner(document: Document, tried: int) -> Text:
    training = document.training
    if training is None or not training.candidate:
        return say("{} were tried.", count(tried, "candidate"))
    settings = settings_of(training.settings)
    chosen = f" ({settings})" if settings else ""
    among = sum(trial.candidate != BASELINE for trial in training.leaderboard)
    best = f", the best of {among:,} that were tried" if among > 1 else ""
    return say("{}{}{}.", strong(capital(kind_of(training.candidate))), quiet(chosen) if chosen else "", best)


def _took(document: Document) -> Text:
    training = document.training
    if training is None:
        return ()
    place = f" {WHERE.get(training.where, cut(training.where, 60))}" if training.where else ""
    if training.why_there:
        place = ""  # it is said with the reason
    said = () if training.seconds is None else say("The training took {}{}.", duration(training.seconds), place)
    return (*said, *say(" {}", sentence(cut(training.why_there, 500)))) if training.why_there else said


def _board(document: Document, scored: list[Trial]) -> str:
    """The leaderboard, each line with its folds."""
    if not scored:
        return ""
    shown = scored[:MOST_TRIALS]
    learning = [trial for trial in shown if trial.candidate != BASELINE] or shown
    values = [found for trial in learning for found in (trial.mean, *trial.folds)]
    scale = Scale.over(values)
    if scale is None:
        return ""
    lower = document.metric in METRICS and METRICS[document.metric].lower_is_better
    way = "" if document.metric not in METRICS else f", {'lower' if lower else 'higher'} is better"
    columns = [
        Column("Candidate"), Column(f"{capital(document.measure)}{way}", "pic", axis(scale)),
        Column("Mean", "num"), Column("Took", "num"),
    ]  # fmt: skip
    won = _won(document, shown)
    rows = [_line(trial, scale, is_winner=trial is won) for trial in shown]
    board = grid(columns, rows[:MOST_SHOWN], kind="wide drawn board")
    if len(rows) > MOST_SHOWN:
        rest = grid(columns, rows[MOST_SHOWN:], kind="wide drawn board")
        board += f"<details><summary>{count(len(rows) - MOST_SHOWN, 'more line')}</summary>{rest}</details>"
    if len(scored) > MOST_TRIALS:
        left = count(len(scored) - MOST_TRIALS, "line")
        board += paragraph(say("And {} that did no better; --json has all.", left), is_quiet=True)
    folds = max((len(trial.folds) for trial in shown), default=0)
    about = f"Small dots: the {folds} folds of cross-validation. Large dot and number: their mean" if folds else ""
    spread = ", with the standard deviation." if any(trial.std is not None for trial in shown) else "."
    return (paragraph(say("{}{}", about, spread), is_quiet=True) if about else "") + board


def _won(document: Document, shown: list[Trial]) -> Trial | None:
    training = document.training
    if training is None:
        return None
    same = (trial for trial in shown if trial.candidate == training.candidate and trial.settings == training.settings)
    return next(same, None)


def _line(trial: Trial, scale: Scale, *, is_winner: bool) -> list[str]:
    name = say("{}", strong(kind_of(trial.candidate)) if is_winner else kind_of(trial.candidate))
    mark = ' <b class="yes">✓ won</b>' if is_winner else ""
    settings = settings_of(trial.settings)
    ended = (
        f' <b class="no">✗ left early</b> {inline(say("{}", quiet(cut(trial.problem, 300))))}' if trial.problem else ""
    )
    spread = "" if trial.std is None else f" ± {figure(trial.std)}"
    inside = is_drawable(trial.mean) and scale.low <= trial.mean <= scale.high
    content = "".join(
        f'<circle class="f" cx="{scale.at(fold)}" cy="50%" r="3"/>' for fold in trial.folds[:20] if is_drawable(fold)
    )
    if trial.mean is not None and trial.std is not None:
        content = span(scale, trial.mean - trial.std, trial.mean + trial.std, "champion") + content
    content += point(scale, trial.mean, "challenger")
    title_ = f"{kind_of(trial.candidate)}: {figure(trial.mean)}{spread}"
    picture = drawing(content, title=title_, kind="line")
    if not inside:
        x, side = ("0", "s") if (trial.mean or 0) < scale.low else ("100%", "e")
        arrow = f'<text class="{side}" x="{x}" y="50%" dy="4">{"← " if side == "s" else ""}off the picture'
        picture = drawing(f"{arrow}{' →' if side == 'e' else ''}</text>", title=title_, kind="line plot")
    return [
        f"{inline(name)}{mark} {inline(say('{}', quiet(settings))) if settings else ''}{ended}",
        picture,
        inline(say("{}{}", figure(trial.mean), quiet(spread))),
        "" if trial.seconds is None else duration(trial.seconds),
    ]


def _failures(failed: list[Trial]) -> list[Text]:
    """What has no number, and why; a budget that ended leaves many lines with one reason, told together."""
    together: dict[tuple[str, str], list[Trial]] = {}
    for trial in failed:
        together.setdefault((trial.candidate, trial.problem or "no number"), []).append(trial)
    lines = []
    for (candidate, problem), trials in list(together.items())[:MOST_LINES]:
        settings = settings_of(trials[0].settings)
        chosen = f", {count(len(trials), 'setting')}" if len(trials) > 1 else f" ({settings})" if settings else ""
        lines.append(say("{}{}: {}", strong(kind_of(candidate)), quiet(chosen), cut(problem, 300)))
    if len(together) > MOST_LINES:
        lines.append(say("And {} more; --json has all.", f"{len(together) - MOST_LINES:,}"))
    return lines
