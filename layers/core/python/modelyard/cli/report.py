"""``modelyard report``: the page that a retraining run wrote, of a version or of a run that made none.

The page lies beside the run's document in the artifact bucket. Where it does not, because the run is from before there
were pages or broke off before its last step, it is made here from the document, by the same code.
"""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args

import typer
from rich.markup import escape

from modelyard.cli.arguments import REFERENCE, Reference, find_version, parse_reference
from modelyard.cli.output import check_output, write_whole
from modelyard.cli.session import Session
from modelyard.cli.show import out, print_json
from modelyard.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from modelyard.deployment import LedgerEntry
    from modelyard.registry import Registry, Run
    from modelyard.version import Version


class Found(NamedTuple):
    """A document and whose it is."""

    key: str
    whose: str
    name: str
    version: int | None
    status: str | None


def report(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help=f"{REFERENCE}.")],
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN_ID", help="A run, also one that made no version.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the page into this file; default: below .modelyard.")
    ] = None,
    is_opened: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Show it in the browser; default: where there is a terminal."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's document for programs.")] = False,
) -> None:
    """Show the report of a retraining run: its data, candidates, metrics, and why the gate let it pass or not."""
    session: Session = context.obj
    wanted = parse_reference(reference)
    if run is not None and wanted.number is not None:
        raise UsageError(
            f"{reference} is a version and --run {run!a} a run",
            code="invalid_reference",
            next_step=f"Run 'modelyard report {wanted.model} --run RUN_ID', or leave --run out.",
        )
    if as_json and output is not None:
        raise UsageError(
            "--json prints the document and --output writes the page",
            code="invalid_output",
            next_step="Give one of them.",
        )
    if output is not None:
        check_output(output)
    found = _of_version(session.registry, wanted) if run is None else _of_run(session.registry, wanted.model, run)
    if as_json:
        print_json(_document(session.registry, found))
        return
    text = _page(session.registry, found)
    if output is None:
        output = session.home / "reports" / wanted.model / f"{found.name}.html"
        output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output, text)
    out.print(f"the report of {escape(found.whose)} is in {escape(str(output))}", soft_wrap=True)
    if (out.is_terminal if is_opened is None else is_opened) and not webbrowser.open(output.resolve().as_uri()):
        out.print("  no browser was found: open that file yourself")


def _of_version(registry: "Registry", wanted: Reference) -> Found:
    version = find_version(registry, wanted)
    number, run_id = version.number, version.manifest.lineage.run_id
    whose = f"{wanted.model} version {number}"
    if version.manifest.evaluation is None:
        raise NotFoundError(
            f"{whose} has no report: it {_came(version)}",
            code="no_report",
            next_step=f"Run 'modelyard card {wanted.model}:{number}' for what is known of it.",
        )
    known = None if run_id is None else _run(registry, wanted.model, run_id)
    status = None if known is None else known.status
    return Found(version.manifest.evaluation, whose, f"version-{number}", number, status)


def _came(version: "Version") -> str:
    return "was brought as a file" if version.manifest.lineage.source == "brought" else "was registered without one"


def _of_run(registry: "Registry", model: str, run_id: str) -> Found:
    known = registry.run(model, run_id)
    whose = f"run {run_id} of {model}"
    key: Any = known.report
    if not key and known.version is not None:
        key = registry.version(model, known.version).manifest.evaluation
    if not key:
        entry = _entry(registry, known)
        key = entry.details.get("report") if entry is not None else None
    if not isinstance(key, str):
        ended = "is not at its end" if known.status == "running" else f"is {known.status}"
        reason = f": {known.reason}" if known.reason else ""
        raise NotFoundError(
            f"{whose} has no report; it {ended}{reason}",
            code="no_report",
            next_step=f"Run 'modelyard runs {model}' to see the runs.",
        )
    return Found(key, whose, run_id.replace(":", "-"), known.version, known.status)


def _run(registry: "Registry", model: str, run_id: str) -> "Run | None":
    try:
        return registry.run(model, run_id)
    except NotFoundError:
        return None  # a version of another registry's run


def _entry(registry: "Registry", run: "Run") -> "LedgerEntry | None":
    """The line of the ledger that says why a run made no version; the ledger is read back to the run's start."""
    from modelyard.ports import every

    for entry in every(lambda start: registry.history(run.model, limit=200, start=start)):
        if entry.run_id == run.run_id and entry.details.get("report"):
            return entry
        if entry.at < run.started_at:
            return None
    return None


def _document(registry: "Registry", found: Found) -> dict[str, Any]:
    import msgspec

    stored = registry.artifacts.get(found.key)
    if stored is None:
        raise NotFoundError(
            f"the report of {found.whose} is not in the artifact bucket any more ({found.key})",
            code="no_report",
            next_step="Look at the bucket's older object versions, or train again.",
        )
    try:
        return msgspec.json.decode(stored.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as broken:
        raise NotFoundError(
            f"the report of {found.whose} cannot be read: {broken} ({found.key})",
            code="no_report",
            next_step="Look at the bucket's older object versions, or train again.",
        ) from broken


def _page(registry: "Registry", found: Found) -> str:
    """The page as it is stored, or else made from the document."""
    from modelyard.report import Verdict, page, page_key

    stored = registry.artifacts.get(page_key(found.key))
    if stored is not None:
        return stored.body.decode("utf-8", "replace")
    document = _document(registry, found)
    if found.version is not None:
        document |= {"version": found.version}
    if found.status in get_args(Verdict):
        document |= {"verdict": found.status}
    return page(document)
