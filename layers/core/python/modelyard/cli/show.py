"""How the command line shows things: two consoles, tables, steps that take a while."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def print_json(document: Any) -> None:
    """One JSON document on stdout, for programs."""
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on stdout; values are shown as they are, not as markup."""
    drawn = Table(
        title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*[escape("" if value is None else str(value)) for value in row])
    out.print(drawn)


class Step:
    """A long step: a spinner with what it is doing right now, then one line with its outcome and seconds.

    Without a terminal only the line is printed, so that logs stay readable.

    Example:
        >>> with Step("Deploy") as step:
        ...     step.doing("bucket")
        ...     step.outcome = "5 stacks"
    """

    def __init__(self, title: str) -> None:
        self.title, self.outcome = title, ""
        self._status = errors.status(f"{title} …") if errors.is_terminal else None
        self._began = time.monotonic()

    def doing(self, what: str) -> None:
        """Show what the step is doing right now."""
        if self._status is not None:
            self._status.update(f"{self.title} … [dim]{escape(what[:100])}[/]")

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._status is not None:
            self._status.stop()
        if kind is not None:
            errors.print(f"[red]✗[/] {self.title}")
            return
        seconds = time.monotonic() - self._began
        outcome = f"  {escape(self.outcome)}" if self.outcome else ""
        errors.print(f"[green]✓[/] {self.title:<28}{seconds:6.1f} s{outcome}", soft_wrap=True)
