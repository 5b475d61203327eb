"""Commands that look and change nothing: status, logs, doctor."""

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from modelyard import stack_names
from modelyard.cli.hosted import check_endpoint
from modelyard.cli.place import show_placement
from modelyard.cli.release import check_override
from modelyard.cli.rollout import check_rollout
from modelyard.cli.servers import SERVER, check_servers, server_lines, serves_here
from modelyard.cli.session import Session
from modelyard.cli.show import moment, out, print_json, table, who
from modelyard.errors import ConflictError, ModelyardError, NotFoundError, UsageError

if TYPE_CHECKING:
    from modelyard.registry import Registry

PLATFORM = re.compile(r"(START|END|REPORT) RequestId: |(INIT|RESTORE)_(START|REPORT) |(EXTENSION|LOGS|TELEMETRY)\t")
"""How the lines begin that Lambda itself writes, around those of a function."""


def status(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False
) -> None:
    """Show every model: what is live, since when, by whom, and its endpoint."""
    session: Session = context.obj
    rows = [_model_row(session, model.name) for model in session.models]
    if as_json:
        print_json(rows)
        return
    table(
        f"{session.name} ({session.settings.account}, {session.settings.region})",
        ["model", "live", "newest", "since (UTC)", "by", "last entry"],
        [list(row.values()) for row in rows],
    )


def _model_row(session: Session, name: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(("model", "live", "newest", "since", "by", "last", "url"))
    row["model"] = name
    stack = stack_names.endpoint_stack(session.name, name)
    if not session.is_deployed(stack):
        return {**row, "live": "not deployed"}
    row["url"] = session.predict_url(name)
    deployment = session.registry.deployment(name)
    with suppress(NotFoundError):  # deployed, and nothing registered yet
        newest = session.registry.versions(name, limit=1).items
        row["newest"] = newest[0].number if newest else None
        entries = session.registry.history(name, limit=1).items
        row["last"] = entries[0].kind.replace("_", " ") if entries else None
    if deployment is not None:
        row.update(live=deployment.champion, since=moment(deployment.changed_at), by=who(deployment.changed_by))
    return row


def logs(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The model's name; or 'control', 'upkeep' for what all share.")],
    step: Annotated[
        str | None,
        typer.Option("--step", help="predict, or a step: claim, validate, train, …, rolloutjudge, …; or all."),
    ] = None,
    since_minutes: Annotated[int, typer.Option("--since", min=1, help="Minutes to look back.")] = 60,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10000, help="At most this many lines, the newest.")
    ] = 200,
    platform: Annotated[
        bool, typer.Option("--platform", help="Show Lambda's own lines too: INIT_START, START, END, REPORT.")
    ] = False,
) -> None:
    """Show what a model's functions logged, oldest first."""
    from modelyard.aws.failures import aws_errors

    session: Session = context.obj
    groups = _log_groups(session, name)
    served_here = serves_here(session, name)
    steps = [*groups, *([SERVER] if served_here else [])]
    step = step or next((usual for usual in (SERVER, "predict") if usual in steps), "all")
    if step not in (*steps, "all"):
        raise UsageError(f"{name} has no step {step!r}; there are {', '.join(steps)} and all", code="unknown_step")
    wanted = {title: group for title, group in groups.items() if step in (title, "all")}
    client = session.clients.client("logs")
    start = int((time.time() - since_minutes * 60) * 1000)
    lines: list[tuple[int, str, str]] = []
    if served_here and step in (SERVER, "all"):
        lines += [(at, SERVER, text) for at, text in server_lines(session, name, since_ms=start)]
    for title, group in wanted.items():
        with aws_errors(f"read the logs of {name}"):
            found = newest_events(client, group, start, limit, platform=platform)
            lines += [(event["timestamp"], title, event["message"].rstrip()) for event in found]
    # By time alone: the lines of one millisecond stay as they came, a traceback's too.
    for milliseconds, title, message in sorted(lines, key=lambda line: line[0])[-limit:]:
        clock = time.strftime("%H:%M:%S", time.localtime(milliseconds / 1000))
        out.print(f"[dim]{clock} {title}[/] {escape(message)}", soft_wrap=True)
    if not lines:
        out.print(f"no lines of {escape(step)} in the last {since_minutes} minutes")
        wider = f"--since {since_minutes * 24}" if step == "all" or len(steps) == 1 else "--step all"
        out.print(f"  next: modelyard logs {escape(name)} {wider}")


def newest_events(client: Any, group: str, start: int, limit: int, *, platform: bool) -> list[dict[str, Any]]:
    """The last ``limit`` lines since ``start``, in milliseconds, oldest first.

    CloudWatch gives the oldest first, so it is asked for the last minute, then for ever longer times before it: of a
    busy endpoint few lines are read, of a quiet one all in a few calls.
    """
    found: list[dict[str, Any]] = []
    begin, width, until = int(time.time() * 1000), 60_000, None
    while begin > start and len(found) < limit:
        begin = max(start, begin - width)
        times = {"startTime": begin} if until is None else {"startTime": begin, "endTime": until}
        found = [*deque(_events(client, group, times, platform=platform), maxlen=limit), *found][-limit:]
        until, width = begin - 1, 4 * width  # both ends are inside
    return found


def _events(client: Any, group: str, times: dict[str, int], *, platform: bool) -> Iterator[dict[str, Any]]:
    pages = client.get_paginator("filter_log_events").paginate(logGroupName=group, **times)
    for page in pages:
        for event in page["events"]:
            if platform or PLATFORM.match(event["message"]) is None:
                yield event


def _log_groups(session: Session, name: str) -> dict[str, str]:
    """Log groups by step, from the outputs of the stacks."""
    shared = {"control": stack_names.api_stack, "upkeep": stack_names.upkeep_stack}
    if name in shared:
        stacks = [shared[name](session.name)]
    else:
        model = session.model(name)
        stacks = [stack_names.endpoint_stack(session.name, name)]
        host = model.spec.endpoint.host
        if host is not None and not session.settings.is_local:
            stacks.append(stack_names.host_stack(session.name, host))
        if model.spec.training is not None:
            stacks.append(stack_names.retraining_stack(session.name, name))
        if model.spec.rollout.mode == "gradual":
            stacks.append(stack_names.rollout_stack(session.name, name))
    prefix = stack_names.LOGS
    return {
        key.removeprefix(prefix).lower(): value
        for stack in stacks
        for key, value in session.outputs(stack).items()
        if key.startswith(prefix)
    }


def doctor(
    context: typer.Context,
    table_restored: Annotated[
        bool,
        typer.Option("--table-restored", help="The table came from a backup: publish it, also over newer pointers."),
    ] = False,
) -> None:
    """Check, from the ground up, that this environment can work; say what to do where it cannot."""
    session: Session = context.obj
    checks: list[tuple[str, Callable[[], str]]] = [
        ("project", lambda: str(session.project)),
        ("environment", lambda: f"{session.name}: {session.settings.account}, {session.settings.region}"),
        ("models", lambda: ", ".join(model.name for model in session.models) or "none yet: 'modelyard init'"),
        ("credentials", lambda: session.actor),
        ("registry stack", lambda: session.outputs(stack_names.registry_stack(session.name))[stack_names.TABLE]),
        ("upkeep stack", lambda: session.outputs(stack_names.upkeep_stack(session.name))[stack_names.REPORT_FUNCTION]),
        ("API stack", lambda: session.api_url()),
    ]
    if session.settings.is_local:
        checks.append(("model server", lambda: check_servers(session)))
    failed: ModelyardError | None = None
    for title, check in checks:
        failed = _run_check(title, check)
        if failed is not None:
            break
    else:
        for model in session.models:
            failed = _run_check(model.name, partial(_check_model, session, model.name, table_restored)) or failed
            show_placement(session, model)
    if failed is not None:
        raise failed
    out.print("[green]everything is in order[/]")


def _run_check(title: str, check: Callable[[], str]) -> ModelyardError | None:
    try:
        out.print(f"[green]✓[/] {title:<16} {escape(check())}", soft_wrap=True)
    except ModelyardError as error:
        out.print(f"[red]✗[/] {title:<16} {escape(error.message)}", soft_wrap=True)
        return error
    return None


def _check_model(session: Session, name: str, even_back: bool) -> str:
    """The pointer that the endpoint reads, and the search index, agree with the table; mended where they do not.

    A rollout has somebody who judges it, an override of alarms is one that the ledger knows, and an endpoint on
    SageMaker runs the configuration that it was last given.
    """
    url = session.predict_url(name)
    check_override(session, name)
    check_rollout(session, name)
    check_endpoint(session, name)
    deployment = session.registry.deployment(name)
    if deployment is None:
        return f"deployed, nothing live yet ({url})"
    check_pointer(session.registry, name, deployment.revision, even_back=even_back)
    session.registry.index(name)
    return f"version {deployment.champion} live (revision {deployment.revision})"


def check_pointer(registry: "Registry", name: str, revision: int, *, even_back: bool = False) -> None:
    """Publish the pointer where it is behind.

    Raises:
        ConflictError: With code ``pointer_ahead``: the table was restored or replaced, and no writer would notice.
    """
    from modelyard.pointer import pointer_revision
    from modelyard.pointer_key import pointer_key

    registry.publish_pointer(name, even_back=even_back)
    key = pointer_key(name)
    found = registry.artifacts.get(key)
    ahead = 0 if found is None else pointer_revision(found.body)
    newest = registry.deployment(name)
    if newest is not None and ahead > max(revision, newest.revision):
        raise ConflictError(
            f"{key} is at revision {ahead} and the table at {newest.revision}: the table was restored from a backup or "
            "replaced, and endpoints follow the pointer",
            code="pointer_ahead",
            next_step="If the table is right, run 'modelyard doctor --table-restored'.",
        )
