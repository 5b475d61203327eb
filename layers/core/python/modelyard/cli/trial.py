"""The command ``trial``: let a version answer unseen, or a share of the requests; change the share; end it."""

from typing import Annotated, Any

import typer

from modelyard.cli.models import (
    AsJson,
    ExpectedRevision,
    Name,
    Operation,
    Reason,
    check_reason,
    repeatable,
    show_deployment,
)
from modelyard.cli.session import Session
from modelyard.errors import UsageError


def trial(
    context: typer.Context,
    name: Name,
    version: Annotated[int | None, typer.Argument(min=1, help="The version's number.")] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="It answers as well, and nobody is shown its answers.")
    ] = False,
    share: Annotated[
        list[str] | None,
        typer.Option("--share", metavar="PERCENT|VERSION=PERCENT", help="Its share of the requests; may be repeated."),
    ] = None,
    end: Annotated[bool, typer.Option("--end", help="Take everything off that is on trial.")] = False,
    reason: Reason = "",
    expected_revision: ExpectedRevision = None,
    operation: Operation = None,
    as_json: AsJson = False,
) -> None:
    """Let versions answer beside the champion, unseen or a share of the requests; or end that."""
    session: Session = context.obj
    if [shadow, bool(share), end].count(True) != 1:
        raise _unclear("say one of --shadow, --share and --end")
    shares = parse_shares(share or [], version)
    if (shadow and version is None) or (end and version is not None):
        raise _unclear("--shadow needs a VERSION" if shadow else "--end takes no VERSION: all that is on trial ends")
    check_reason(session, reason)
    with repeatable(operation) as identified:
        registry = session.registry
        change: dict[str, Any] = {
            "reason": reason,
            "expected_revision": expected_revision,
            "operation": identified,
        }
        if end:
            deployment = registry.end_trial(name, **change)
        elif version is not None and shadow:
            deployment = registry.start_shadow(name, version, **change)
        else:
            deployment = registry.start_shares(name, shares, **change)
    show_deployment(session, deployment, as_json)


def parse_shares(texts: list[str], version: int | None) -> dict[int, float]:
    """The shares in percent by version: ``5`` beside a version, or ``3=10`` and ``4=2.5`` without one.

    Raises:
        UsageError: With code ``unclear_trial`` or ``invalid_split``.

    Example:
        >>> parse_shares(["5"], 3), parse_shares(["3=10", "4=2.5"], None)
        ({3: 5}, {3: 10, 4: 2.5})
    """
    shares: dict[int, float] = {}
    for text in texts:
        number, equals, percent = text.rpartition("=")
        if bool(equals) == (version is not None) or (equals and not (number.isascii() and number.isdigit())):
            raise _unclear(
                f"--share {ascii(text)[:40]} is neither PERCENT beside a VERSION nor VERSION=PERCENT without one"
            )
        named = int(number) if equals else version
        if named is None or named in shares:
            raise _unclear(f"--share names version {named} twice")
        shares[named] = _percent(percent)
    return shares


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < 100:
        raise UsageError(
            f"--share {ascii(text)[:40]} is not a share of requests: percent from 0.01 to 99.99, at most two decimals",
            code="invalid_split",
            next_step="Promote a version that shall answer every request; --end takes one off.",
        )
    return int(value) if value.is_integer() else value


def _unclear(problem: str) -> UsageError:
    return UsageError(
        problem,
        code="unclear_trial",
        next_step="Write 'modelyard trial NAME VERSION --shadow', 'modelyard trial NAME VERSION --share 5', "
        "'modelyard trial NAME --share 3=10 --share 4=10' or 'modelyard trial NAME --end'.",
    )
