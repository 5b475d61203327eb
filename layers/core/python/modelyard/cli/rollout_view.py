"""How a rollout looks in a terminal: its steps, who answers, what the verdict says, and what is left of the time."""

from collections.abc import Callable
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from modelyard.cli.show import moment, who
from modelyard.evaluation.words import number

MARKS = {"done": "[green]✓[/]", "now": "[bold cyan]▶[/]", "ahead": "[dim]·[/]", "ended": "[red]✗[/]"}
STATES = {
    "within": "[green]within[/]",
    "beyond": "[red]beyond[/]",
    "unclear": "[yellow]unclear[/]",
    "waiting": "[dim]waiting[/]",
}
SIDES = {"pairs": ", shadow", "arms": ", canary"}
COLOURS = {"promoted": "green", "running": "cyan", "starting": "cyan", "waiting": "yellow", "paused": "yellow"}
BAR = 30
"""Characters of a bar that stands for all requests."""
LATE_S = 900
"""A look that is so late does not come any more: it takes 5 minutes at most, and is tried three times."""
LONGEST_SAID, LONGEST_NAME = 300, 48


def line(told: dict[str, Any]) -> str:
    """Where it stands, in one line without colours: for logs."""
    step, verdict = told["step"], told["verdict"]
    if told["outcome"] is not None:
        return f"{told['model']}: version {told['version']} {told['outcome']}: {told['end']['reason']}"
    where = "begins" if step is None else f"step {step['number']} of {step['of']}, {_name(step)}"
    said = (
        "" if verdict is None else f", {verdict['counted']:,} requests: {verdict['waits_for'] or verdict['decision']}"
    )
    return f"{told['model']}: version {told['version']} {told['status']}, {where}{said}"


def view(told: dict[str, Any]) -> RenderableType:
    """All of it."""
    parts: list[RenderableType] = [_title(told)]
    if told["status"] == "starting" and not told["steps"]:
        said = (
            f"its workflow has not begun yet; 'modelyard rollout start {told['model']} {told['version']}' asks again, "
            f"'modelyard rollout abort {told['model']}' gives it up"
        )
        parts.append(Text(f"  {said}", style="dim"))
    if told["steps"]:
        parts.append(Text.from_markup("  " + "   ".join(_step(step) for step in told["steps"])))
    parts += [Text(), *_traffic(told)]
    known = _facts(told)
    if known.row_count:
        parts += [Text(), known]
    if told["verdict"] is not None and told["verdict"]["checks"]:
        parts += [Text(), checks(told["verdict"]["checks"])]
    return Group(*parts)


def _title(told: dict[str, Any]) -> Text:
    colour = COLOURS.get(told["status"], "red")
    return Text.from_markup(
        f"[bold]{escape(told['model'])}[/]: version [bold]{told['version']}[/] beside {told['champion']}  "
        f"[{colour}]{told['status']}[/]"
    )


def _name(step: dict[str, Any]) -> str:
    return {"shadow": "shadow", "live": "champion"}.get(step["mode"], f"{step['share']} %")


def _step(step: dict[str, Any]) -> str:
    name = _name(step)
    shown = f"[bold]{name}[/]" if step["state"] == "now" else f"[dim]{name}[/]" if step["state"] == "ahead" else name
    return f"{MARKS[step['state']]} {shown}"


def _traffic(told: dict[str, Any]) -> list[Text]:
    lines = []
    for version, share in told["traffic"].items():
        filled = round(share / 100 * BAR)
        if share > 0:
            filled = max(1, filled)
        colour = "cyan" if int(version) == told["version"] else "blue"
        unseen = "  unseen, beside it" if share == 0 else ""
        lines.append(
            Text.from_markup(
                f"  version {version:<4} [{colour}]{'█' * filled}[/][dim]{'░' * (BAR - filled)}[/] {share:>5} %{unseen}"
            )
        )
    return lines


def facts() -> tuple[Table, Callable[[str, str], None]]:
    """A list of names and what is said of each, and what adds to it."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")

    def add(name: str, said: str) -> None:
        grid.add_row(f"  {name}", escape(said[:LONGEST_SAID]))

    return grid, add


def _facts(told: dict[str, Any]) -> Table:
    grid, add = facts()
    step, verdict, paused, approval, end = (told[key] for key in ("step", "verdict", "paused", "approval", "end"))
    if step is not None:
        left = (
            f"{step['minutes_left']:.1f} of {step['minutes']:g} minutes left"
            if step["minutes_left"]
            else "time is over"
        )
        add("step", f"{step['number']} of {step['of']}: {_name(step)} since {moment(step['since'])}, {left}")
    if verdict is not None:
        cause = f" ({verdict['cause']})" if verdict["cause"] else ""
        add("verdict", f"{verdict['decision']}{cause} on {verdict['counted']:,} requests of this step")
        if verdict["waits_for"] and told["outcome"] is None:
            add("waits for", verdict["waits_for"])
        if told["outcome"] is None:
            add("next look", _next_look(told["model"], verdict["next_look_s"]))
    if paused is not None:
        add("paused", f"by {who(paused['by'])} at {moment(paused['at'])}{_because(paused)}")
    if approval is not None and told["outcome"] is None:
        answered = approval["answered"]
        if answered is None:
            add("asks", f"since {moment(approval['asked_at'])}: modelyard approve {told['model']}, or reject")
        else:
            add(approval["answer"], f"by {who(answered['by'])}{_because(answered)}")
    if told["hours_left"] is not None:
        add("time left", f"{told['hours_left']:.1f} hours, then it ends undecided")
    if end is not None:
        cause = f" ({told['cause']})" if told["cause"] not in (None, told["outcome"]) else ""
        add("ended", f"{moment(end['at'])} by {who(end['by'])}: {told['outcome']}{cause}")
        add("reason", end["reason"] or "no reason was given")
    return grid


def _next_look(model: str, seconds: int) -> str:
    if seconds > 0:
        return f"in {seconds} s"
    if seconds > -LATE_S:
        return "due"
    return f"late by {-seconds // 60} minutes: its workflow may be gone; 'modelyard rollout abort {model}' ends it"


def _because(said: dict[str, Any]) -> str:
    return f": {said['reason']}" if said["reason"] else ""


def checks(found: list[dict[str, Any]], *, sides: bool = True) -> RenderableType:
    """A verdict's checks of the whole, and of the slices those that are not as they should be.

    Args:
        found: The checks.
        sides: Whether it is said in which mode the requests came, where there may be two.
    """
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    grid.add_column("check")  # the only one that wraps: a number that is cut is none
    for name in ("measured", "interval", "limit", "requests"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("is", no_wrap=True)
    for check in found:
        if check["state"] == "off" or (check["column"] is not None and check["state"] not in ("beyond", "unclear")):
            continue
        name = check["name"].replace("_", " ") + (SIDES.get(check["side"], "") if sides else "")
        if check["column"] is not None:
            name = f"{name}, {check['column']} = {check['value']}"[:LONGEST_NAME]
        state = "[dim]overruled[/]" if check["overruled"] else STATES[check["state"]]
        grid.add_row(
            escape(name), _number(check["statistic"]), _interval(check), _number(check["limit"]),
            f"{check['samples']:,}", state,
        )  # fmt: skip
    return Padding(grid, (0, 0, 0, 2))


def _interval(check: dict[str, Any]) -> str:
    if check["low"] is None and check["high"] is None:
        return ""
    return f"{_number(check['low'])} to {_number(check['high']) or '∞'}"


def _number(value: float | None) -> str:
    return "" if value is None else number(value)
