"""What the model looks at, and whether it is fit to be served; and what one file changed."""

from typing import Any

from modelyard.pages.markup import Column, grid, inline, pairs, paragraph, table
from modelyard.pages.scale import Scale
from modelyard.pages.words import Text, capital, code, count, cut, figure, quiet, say, sentence, strong, title
from modelyard.report import gate
from modelyard.report.document import Document, Importance, Parity
from modelyard.report.marks import axis, drawing, rule, span

MOST_FEATURES = 30
MOST_ROWS = 10
LONGEST_NAME = 60


def importance(document: Document) -> str:
    """The section of what it looks at."""
    found = [one for one in document.importance if one.loss is not None]
    if not found:
        return ""
    shown = found[:MOST_FEATURES]
    scale = Scale.over([part for one in shown for part in (one.loss, one.low, one.high, 0.0)])
    if scale is None:
        return ""
    name = document.measure
    columns = [Column("Column"), Column(f"Loss of {name}", "pic", axis(scale)), Column("Loss", "num")]
    rows = [_feature(one, scale) for one in shown]
    told = paragraph(
        say(
            "By how much {} gets worse when the values of one column are shuffled among the frozen rows. Near 0, the "
            "model hardly looks at the column. Columns that say the same stand in for each other.",
            name,
        ),
        is_quiet=True,
    )
    more = ""
    if len(found) > MOST_FEATURES:
        left = count(len(found) - MOST_FEATURES, "column")
        more = paragraph(say("And {} that matter less; --json has all.", left), is_quiet=True)
    return f"{told}{grid(columns, rows, kind='wide drawn')}{more}"


def _feature(one: Importance, scale: Scale) -> list[str]:
    loss = one.loss or 0.0
    left, right = sorted((scale.place(0.0), scale.place(loss)))
    bar = f'<rect class="bar" x="{left:g}%" width="{right - left:.4g}%" y="25%" height="50%"/>'
    reach = span(scale, one.low, one.high, "champion")
    name = cut(one.feature, LONGEST_NAME)
    said = f"{name}: {figure(one.loss)}"
    spread: tuple[Any, ...] = ()
    if one.low is not None and one.high is not None:
        spread = say(" {}", quiet(f"{figure(one.low)} to {figure(one.high)}"))
        said += f", {figure(one.low)} to {figure(one.high)}"
    picture = drawing(rule(scale, 0.0, "zero") + bar + reach, title=said, kind="line")
    return [inline(say("{}", code(name))), picture, inline((*say("{}", figure(one.loss)), *spread))]


def html(document: Document) -> str:
    """The section of fitness for service."""
    rows: list[tuple[str, Text]] = []
    gap = document.gap
    if gap is not None and gap.gap is not None:
        rows.append(
            (
                f"{capital(document.measure)} on rows it learnt from",
                say("{}, against {} on the frozen rows: a gap of {}{}", figure(gap.training), figure(gap.evaluation),
                    strong(figure(gap.gap)), quiet(_limit(document, "max_gap"))),
            )
        )  # fmt: skip
    if document.latency_ms is not None:
        champion = document.champion_latency_ms
        beside = f"; the champion in {figure(champion)} ms" if champion is not None else ""
        said = say("{}{}{}", strong(f"{figure(document.latency_ms)} ms"), beside,
                   quiet(_limit(document, "max_latency_ms", " ms")))  # fmt: skip
        rows.append(("One row is answered in", said))
    if document.size_mb is not None:
        limit = quiet(_limit(document, "max_size_mb", " MB"))
        rows.append(("The ONNX file has", say("{}{}", strong(f"{figure(document.size_mb)} MB"), limit)))
    parity = document.parity
    if parity is not None and parity.largest is not None:
        rows.append(("It answers as the framework did", _parity(parity)))
    if not rows:
        return ""
    return f"{pairs(rows)}{'' if parity is None else _worst(parity)}"


def _limit(document: Document, key: str, unit: str = "") -> str:
    limit = document.asked_number("evaluation", key)
    return "" if limit is None else f" (at most {figure(limit)}{unit} allowed)"


def _parity(parity: Parity) -> Text:
    kept = "yes" if parity.passed else "no"
    rows = "" if parity.rows is None else f" over {count(parity.rows, 'row')}"
    said = say("{}: the largest difference{} is {}", strong(kept), rows, figure(parity.largest))
    return (*said, *say(", allowed is {}", figure(parity.tolerance))) if parity.tolerance is not None else said


def _worst(parity: Parity) -> str:
    if not parity.worst:
        return ""
    rows = [
        (
            say("{}", "" if one.row is None else f"{one.row:,}"),
            say("{}", figure(one.difference)),
            say("{}", code(_answer(one.expected))),
            say("{}", code(_answer(one.answered))),
        )
        for one in parity.worst[:MOST_ROWS]
    ]
    shown = table(("Row", "Difference", "Framework", "ONNX"), rows)
    is_open = "" if parity.passed else " open"
    return f"<details{is_open}><summary>The rows that differ most</summary>{shown}</details>"


def _answer(answer: Any) -> str:
    """An answer of any form on a line."""
    match answer:
        case bool() | None:
            return cut(answer, 20)
        case int() | float():
            return f"{answer:.7g}" if abs(answer) < 1e300 else cut(answer, 40)
        case {"label": label, "probabilities": dict(shares)}:
            best = sorted(((str(name), share) for name, share in shares.items() if isinstance(share, int | float)),
                          key=lambda pair: -pair[1])[:3]  # fmt: skip
            return f"{cut(label, 40)} ({', '.join(f'{cut(name, 30)} {share:.5f}' for name, share in best)})"
    return cut(answer, 120)


# -- what one file changed ----------------------------------------------------------------------------------------


def ablation(document: Document) -> str:
    """The section of what one file changed."""
    found = document.ablation
    if found is None:
        return ""
    said = paragraph(say("{}", sentence(cut(found.said, 1000)))) if found.said else ""
    name = paragraph(say("The same training without {} and with it.", code(cut(found.file.rsplit("/", 1)[-1], 200))))
    order = sorted({*found.without, *found.with_}, key=lambda metric: metric != document.metric)[:20]
    rows = [
        (say("{}", cut(title(metric), 80)), say("{}", figure(found.without.get(metric))),
         say("{}", strong(figure(found.with_.get(metric)))))
        for metric in order
    ]  # fmt: skip
    numbers = table(("Measure", "Without the file", "With it"), rows) if rows else ""
    return f"{name}{said}{gate.improvement(found.improvement, found.interval, None)}{numbers}"
