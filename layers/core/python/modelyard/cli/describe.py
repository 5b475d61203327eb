"""Commands that describe versions: two beside each other, and one in plain words."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from modelyard.cli.arguments import REFERENCE, find_version, parse_reference, parse_two
from modelyard.cli.output import check_output, write_whole
from modelyard.cli.session import Session
from modelyard.cli.show import errors, moment, out, print_json, who
from modelyard.names import legible

if TYPE_CHECKING:
    from modelyard.comparison import Comparison, Difference, MetricPair, Side, Together
    from modelyard.registry import Registry
    from modelyard.version import Version

MOST_LINES = 40
"""Differences of one kind that are shown; ``--json`` has all."""
MOST_NAMES = 12

Row = tuple[str, str, str, str]
"""What, on one side, on the other, and how that is to be read: a style of rich."""


def diff(
    context: typer.Context,
    versions: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME A B", help="Two versions: NAME A B, or NAME:A OTHER:B; NAME alone is its champion."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show two versions beside each other: what differs, what is better, and what would break callers."""
    import msgspec

    from modelyard.comparison import compare

    session: Session = context.obj
    wanted = parse_two(versions)
    one, two = (find_version(session.registry, reference) for reference in wanted)
    comparison = compare(one, two, together=_together(session.registry, one, two))
    if as_json:
        print_json(msgspec.to_builtins(comparison))
        return
    live = {name: session.registry.deployment(name) for name in {one.manifest.model, two.manifest.model}}
    champions = {(name, found.champion) for name, found in live.items() if found is not None}
    _show(comparison, champions)


def _together(registry: "Registry", one: "Version", two: "Version") -> "Together | None":
    """Metrics on the same rows, when one of the two was evaluated against the other."""
    from modelyard.card.facts import read_report
    from modelyard.comparison import same_rows

    if one.manifest.model != two.manifest.model:
        return None
    for newer, older in ((two, one), (one, two)):
        report, _ = read_report(registry, newer)
        if report is not None and report.champion == older.number:
            sides = {older.number: report.metrics.get("champion"), newer.number: report.metrics.get("challenger")}
            left, right = (sides[version.number] for version in (one, two))
            if left and right:
                return same_rows(left, right, rows=report.rows)
    return None


def _show(comparison: "Comparison", champions: set[tuple[str, int]]) -> None:
    a, b = comparison.a, comparison.b
    across = a.model != b.model
    heads = [_head(side, across, (side.model, side.version) in champions) for side in (a, b)]
    for problem in comparison.breaking:
        out.print(f"[bold red]breaks callers:[/] {escape(_line(problem))}", soft_wrap=True)
    if comparison.breaking:
        out.print()
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    shown.add_column("" if across else a.model, no_wrap=False, max_width=34, style="dim")
    for head in heads:
        shown.add_column(head, overflow="fold", max_width=72)
    for title, remark, rows in _sections(comparison):
        if title:
            shown.add_row(Text(title, style="bold not dim"), Text(remark, style="dim"))
        for what, left, right, style in rows:
            shown.add_row(Text(f" {what}"), Text(left), Text(right, style=style))
    out.print(shown)


def _head(side: "Side", across: bool, live: bool) -> str:
    name = f"{side.model}, version {side.version}" if across else f"version {side.version}"
    return f"{name} (live)" if live else name


def _sections(comparison: "Comparison") -> Iterator[tuple[str, str, Iterable[Row]]]:
    a, b = comparison.a, comparison.b
    yield (
        "",
        "",
        [
            ("made", moment(a.created_at), moment(b.created_at), ""),
            ("by", legible(who(a.author)), legible(who(b.author)), ""),
            ("size", f"{a.size:,} bytes", f"{b.size:,} bytes", ""),
            ("sha256", f"{a.digest[:12]}…", "the same" if comparison.same_bytes else f"{b.digest[:12]}…", ""),
            ("note", _line(a.note), _line(b.note), ""),
        ],
    )
    together = comparison.together
    if together is not None:
        yield "Metrics", f"on the same {together.rows:,} rows", [_metric(pair) for pair in together.metrics]
    title = "Metrics" if together is None else "Metrics, registered"
    rows = "each on rows of its own" if a.evaluation and b.evaluation else "on rows not recorded"
    pairs = [_metric(pair, told=together is None) for pair in comparison.metrics]
    yield title, rows if pairs else "neither has any", pairs
    for title, differences in (
        ("Signature", comparison.signature),
        ("Contract", comparison.contract),
        ("Lineage", comparison.lineage),
    ):
        same = "neither has one" if title == "Contract" and not (a.has_contract or b.has_contract) else "no difference"
        yield title, "" if differences else same, list(_differences(differences))


def _metric(pair: "MetricPair", *, told: bool = True) -> Row:
    """A metric of both; ``told`` says by how much they differ, which of different rows is better left unsaid."""
    left, right = ("not recorded" if value is None else f"{value:.4g}" for value in (pair.a, pair.b))
    if not pair.difference or not told:
        return legible(pair.name), left, right, ""
    verdict = "" if pair.better is None else " better" if pair.better else " worse"
    style = "" if pair.better is None else "green" if pair.better else "yellow"
    return legible(pair.name), left, f"{right}  ({pair.difference:+.4g}{verdict})", style


def _differences(differences: "tuple[Difference, ...]") -> Iterator[Row]:
    for found in differences[:MOST_LINES]:
        left, right = _beside(found)
        yield _what(found.what), left, right, "red" if found.breaks else ""
    if len(differences) > MOST_LINES:
        yield "", f"and {len(differences) - MOST_LINES:,} more", "see --json", "dim"


def _what(what: str) -> str:
    if what.startswith("file "):  # a key has the model's name in front
        return legible(what.rsplit("/", 1)[-1])
    return legible(what.replace("_", " ") if what.isidentifier() else what)


def _beside(found: "Difference") -> tuple[str, str]:
    if found.what == "contract":
        return _whole(found.a), _whole(found.b)
    if found.what.startswith("field "):
        return _promised(found.a), _promised(found.b)
    if isinstance(found.a, list) and isinstance(found.b, list) and not found.what.endswith(": shape"):
        gone, new = ([str(item) for item in one if item not in two] for one, two in _both_ways(found.a, found.b))
        order = "in another order" if not gone and not new else ""
        return _names(found.a, "gone: ", gone), order or _names(found.b, "new: ", new)
    return _value(found.a), _value(found.b)


def _whole(contract: Any) -> str:
    """A contract that the other side has none beside, in a few words; ``card`` tells all of it."""
    match contract:
        case {"fields": dict(fields), "rows": int(rows)}:
            inputs = "1 input" if len(fields) == 1 else f"{len(fields):,} inputs"
            return f"{inputs}, from {rows:,} rows" if rows else f"{inputs}, from no sample"
    return _value(contract)


def _promised(value: Any) -> str:
    """What a contract says about an input: limits of many elements as one pair, categories by their shares."""
    match value:
        case [[*lows], [*highs]]:
            return f"{_value(min(lows))} to {_value(max(highs))}, {len(lows)} elements"
        case [(int() | float()) as low, (int() | float()) as high]:
            return f"{_value(low)} to {_value(high)}"
        case [*limits] if limits:
            return f"{_value(min(limits))} to {_value(max(limits))}, {len(limits)} elements"
        case dict() if value and all(isinstance(share, float | int) for share in value.values()):
            return _line(_shares(value))
    return _value(value)


def _shares(categories: dict[str, float]) -> str:
    from modelyard.card.answers import by_share

    order = by_share(categories)
    more = f" and {len(order) - MOST_NAMES:,} more" if len(order) > MOST_NAMES else ""
    return ", ".join(f"{name} {100 * share:.2g} %" for name, share in order[:MOST_NAMES]) + more


def _both_ways(a: list[Any], b: list[Any]) -> tuple[tuple[list[Any], list[Any]], ...]:
    return (a, b), (b, a)


def _names(whole: list[Any], said: str, names: list[str]) -> str:
    if not names:
        return f"{len(whole)}"
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return _line(f"{len(whole)}, {said}{', '.join(names[:MOST_NAMES])}{more}")


def _value(value: Any) -> str:
    """A value of either side on one line."""
    from modelyard.contract.signatures import show_shape

    match value:
        case None:
            return "none"
        case {"dtype": dtype, "shape": shape}:
            return f"{dtype} {show_shape(tuple(shape))}"
        case {"rows": rows, "sha256": str(digest)}:
            return f"{rows:,} rows, sha256 {digest[:12]}…"
        case list() if all(size is None or isinstance(size, int) for size in value):
            return show_shape(tuple(value))
        case list():
            return _line(", ".join(_value(inner) for inner in value))
        case float():
            return f"{value:.6g}"
        case dict():
            return _line(", ".join(f"{key} {_value(inner)}" for key, inner in value.items()))
        case str() if len(value) == 64 and set(value) <= set("0123456789abcdef"):
            return f"{value[:12]}…"
        case str():
            return _line(value.rsplit(":", 1)[-1] if value.startswith("arn:") else value)
    return _line(str(value))


def _line(text: str) -> str:
    """Text on one line, cut where it gets long."""
    line = " ".join(legible(text).split())
    return line if len(line) <= 300 else f"{line[:299]}…"


def card(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help=f"{REFERENCE}.")],
    as_html: Annotated[bool, typer.Option("--html", help="One HTML file instead of Markdown.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write into this file; with .html it is HTML.")
    ] = None,
) -> None:
    """Print a version's model card: what it answers, how good it is, where it comes from, its limits."""
    from modelyard.card import card_of, gather, to_html, to_markdown
    from modelyard.times import stamp, utc_now

    session: Session = context.obj
    wanted = parse_reference(reference)
    if output is not None:
        check_output(output)
    version = find_version(session.registry, wanted)
    found = card_of(gather(session.registry, version, at=stamp(utc_now())))
    as_html = as_html or (output is not None and output.suffix.lower() in {".html", ".htm"})
    text = to_html(found) if as_html else to_markdown(found)
    if output is not None:
        write_whole(output, text)
        errors.print(
            f"the card of {escape(found.model)} version {found.version} is in {escape(str(output))}", soft_wrap=True
        )
    elif as_html or not out.is_terminal:
        sys.stdout.write(text)
    else:
        from rich.markdown import Markdown

        out.print(Markdown(text, hyperlinks=False))
