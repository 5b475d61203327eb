"""``modelyard replay``: captured requests through a candidate on this machine, and the verdict of a rollout on it.

Exit codes, for CI: 0 promote, 1 abort, 6 continue (too few requests to say), 2 to 5 as of every command.
"""

import datetime as dt
import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from modelyard.cli.models import AsJson, Name
from modelyard.cli.output import check_output, write_whole
from modelyard.cli.session import Session
from modelyard.cli.show import Step, out, print_json
from modelyard.errors import NotFoundError
from modelyard.times import utc_now

if TYPE_CHECKING:
    from modelyard.cli.replay_sides import Asks, Sides
    from modelyard.replay.asking import Replayed
    from modelyard.replay.captured import Captured
    from modelyard.replay.period import Period
    from modelyard.replay.sources import Source
    from modelyard.rollout.policy import Policy
    from modelyard.spec import Model

EXITS: Final[dict[str, int]] = {"promote": 0, "abort": 1, "continue": 6}
SINCE = "7d"
LIMIT = 5_000


def replay(
    context: typer.Context,
    name: Name,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="The candidate; default: the newest version.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="An ONNX file in its place, which needs no registration.")
    ] = None,
    against: Annotated[
        int | None, typer.Option("--against", min=1, help="The champion; default: the version that is live.")
    ] = None,
    against_model: Annotated[Path | None, typer.Option("--against-model", help="An ONNX file in its place.")] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Take the champion's answers as captured, and do not ask it here.")
    ] = False,
    since: Annotated[
        str | None, typer.Option("--since", help=f"A time, or how long ago: 30m, 12h, 7d, 2w. Default: {SINCE}.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Likewise; default: now.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=50_000, help="Most requests.")] = LIMIT,
    captures: Annotated[
        Path | None, typer.Option("--captures", help="A folder of downloaded captures, in place of the bucket.")
    ] = None,
    as_json: AsJson = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the JSON here as well.")] = None,
) -> None:
    """Send captured traffic through a candidate here, beside the champion; exit 0 promote, 1 abort, 6 continue."""
    from modelyard.cli.replay_sides import Asks
    from modelyard.replay.period import parse_period

    session: Session = context.obj
    asks = Asks(name, version, model, against, against_model, recorded)
    if output is not None:
        check_output(output)
    now = utc_now()
    period = parse_period(SINCE if since is None and captures is None else since, until, now)
    told = _replayed(session, asks, period, now, limit=limit, captures=captures)
    if output is not None:
        write_whole(output, json.dumps(told, indent=2) + "\n")
    if as_json:
        print_json(told)
    else:
        from modelyard.cli.replay_view import view

        out.print(view(told))
    raise typer.Exit(EXITS[told["decision"]])


def _replayed(
    session: Session, asks: "Asks", period: "Period", now: dt.datetime, *, limit: int, captures: Path | None
) -> dict[str, Any]:
    from modelyard.cli.replay_sides import find_sides
    from modelyard.replay.captured import read_captured
    from modelyard.replay.judging import document, judge

    model = session.model(asks.name)
    policy = _policy(model)
    with tempfile.TemporaryDirectory(prefix="modelyard-replay-") as folder:
        with Step("Get the versions") as step:
            sides = find_sides(session, model, asks, Path(folder))
            step.outcome = f"{sides.candidate_side.name} beside {sides.champion_side.name}"
        with Step("Read what was captured") as step:
            source = _source(session, asks.name, sides, period, now, captures)
            captured = read_captured(source, model=asks.name, period=period, limit=limit, doing=step.doing)
            step.outcome = f"{len(captured.records):,} requests, {len(captured.labels):,} labels"
        if not captured.records:
            raise _nothing(captured, model, period)
        with Step("Replay it") as step:
            replayed = _asked(sides, captured, float(model.spec.endpoint.timeout_s), step.doing)
            step.outcome = f"{len(replayed.records):,} requests"
    with Step("Judge it") as step:
        found = judge(captured, replayed, policy)
        step.outcome = found.decision
    return document(
        found,
        model=asks.name,
        candidate=sides.candidate_side,
        champion=sides.champion_side,
        period=period,
        captured=captured,
        replayed=replayed,
        policy=policy,
        remarks=sides.remarks,
    )


def _asked(sides: "Sides", captured: "Captured", deadline_s: float, doing: Callable[[str], None]) -> "Replayed":
    """Ask both versions, each in a process of its own."""
    from modelyard.replay.asking import replay as ask_both
    from modelyard.replay.process import Process

    of = f"of {len(captured.records):,} requests"
    with ExitStack() as running:
        candidate = running.enter_context(Process(sides.candidate, deadline_s=deadline_s))
        champion = None
        if sides.champion is not None:
            champion = running.enter_context(Process(sides.champion, deadline_s=deadline_s))
        return ask_both(
            captured.records,
            champion=champion,
            candidate=candidate,
            version=sides.champion_side.version,
            progress=lambda done: doing(f"{done:,} {of}"),
        )


def _policy(model: "Model") -> "Policy":
    from modelyard.rollout.plan import decode_plan
    from modelyard.spec_rollout import rollout_plan

    return decode_plan(rollout_plan(model.spec)).policy


def _source(
    session: Session, name: str, sides: "Sides", period: "Period", now: dt.datetime, captures: Path | None
) -> "Source":
    from modelyard.replay.sources import BucketSource, FolderSource

    if captures is not None:
        return FolderSource(captures)
    versions = _that_answered(session, name, period)
    if sides.champion_side.version is not None:
        versions.add(sides.champion_side.version)
    return BucketSource(session.registry.artifacts, model=name, versions=versions, period=period, now=now)


def _that_answered(session: Session, name: str, period: "Period") -> set[int]:
    """Versions that may have answered in a period: those at its begin, and those that the ledger names since."""
    from modelyard.ports import every

    found = set()
    before = session.registry.deployment_at(name, period.since)
    if before is not None:
        found |= {before.champion, *before.challengers}
    for entry in every(lambda start: session.registry.history(name, limit=100, start=start)):
        if entry.at < period.since:
            break
        found |= {number for number in (entry.version, entry.previous) if number is not None}
        found |= {int(number) for number in entry.details.get("shares", {})}
    return found


def _nothing(captured: "Captured", model: "Model", period: "Period") -> NotFoundError:
    since = f" since {period.since}" if period.since else ""
    until = f" until {period.until}" if period.until else ""
    lines = f" ({sum(captured.bad.values()):,} lines could not be used)" if captured.bad else ""
    earlier = "Name another --since or --until." if until else "Name an earlier --since."
    if not until and not model.spec.monitoring.capture:
        spec = f"models/{model.name}/model.toml"
        earlier = f"Set capture = 0.1 in [monitoring] of {spec} and deploy, or name an earlier --since."
    return NotFoundError(
        f"no captured request of {model.name!r} was found{since}{until}, in {captured.files:,} files{lines}",
        code="no_captures",
        field="since",
        next_step=earlier,
    )
