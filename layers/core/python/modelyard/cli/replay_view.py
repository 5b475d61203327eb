"""How a replay looks in a terminal: what was read, what was left out, and the verdict as a rollout shows it."""

from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from modelyard.cli.rollout_view import checks, facts
from modelyard.cli.show import moment

COLOURS = {"promote": "green", "abort": "red", "continue": "yellow"}
MOST_REASONS = 3


def view(told: dict[str, Any]) -> RenderableType:
    """All of it."""
    return Group(_title(told), Text(), _facts(told), Text(), checks(told["verdict"]["checks"], sides=False))


def _title(told: dict[str, Any]) -> Text:
    decision = told["decision"]
    cause = f" ({told['cause']})" if told["cause"] else ""
    return Text.from_markup(
        f"[bold]{escape(told['model'])}[/]: [bold]{escape(told['candidate']['name'])}[/] beside "
        f"{escape(told['champion']['name'])}, replayed  [{COLOURS[decision]}]{decision}{escape(cause)}[/]"
    )


def _facts(told: dict[str, Any]) -> Table:
    grid, add = facts()
    read, replayed = told["read"], told["replayed"]
    if read["first"] is not None:
        add("captured", f"{moment(read['first'])} to {moment(read['last'])} UTC")
    add("requests", _requests(read, replayed))
    add("answered by", ", ".join(f"version {version}: {count:,}" for version, count in read["versions"].items()))
    add("labels", f"{read['labels']:,} rows" if read["labels"] else "none")
    for name, counted in (
        ("left out", replayed["left_out"]),
        ("noted", replayed["noted"]),
        ("not read", _not_read(read) | told["verdict"]["samples"]["bad"]),
    ):
        for said, count in counted.items():
            add(name, f"{count:,}: {said}")
    if replayed["compared"]:
        add("as captured", f"{replayed['same']:,} of {replayed['compared']:,} answers of the champion came again")
    for remark in told["remarks"]:
        add("note", remark)
    for number, reason in enumerate(_reasons(told)):
        add("" if number else "because", reason)
    return grid


def _requests(read: dict[str, Any], replayed: dict[str, Any]) -> str:
    chosen = f"{read['chosen']:,}"
    if read["requests"] > read["chosen"]:
        chosen += f" of {read['requests']:,}"
    return f"{replayed['requests']:,} replayed, {chosen} chosen ({read['rows']:,} rows) from {read['files']:,} files"


def _not_read(read: dict[str, Any]) -> dict[str, int]:
    found = {
        "files beyond those that one replay reads": read["files_left"],
        "files that vanished": read["files_vanished"],
    }
    return {**{said: count for said, count in found.items() if count}, **read["bad"]}


def _reasons(told: dict[str, Any]) -> list[str]:
    """What decided it; where all is well the table says so."""
    reasons = [] if told["decision"] == "promote" else list(told["reasons"])
    return [
        *reasons[:MOST_REASONS],
        *([f"and {len(reasons) - MOST_REASONS} more"] if len(reasons) > MOST_REASONS else []),
    ]
