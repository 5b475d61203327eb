"""Commands about the registry as a whole and what is around a version: search, lineage, notes, sweep."""

import datetime as dt
import hashlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from modelyard.cli.arguments import REFERENCE, Limit, Metric, find_version, parse_bounds, parse_reference
from modelyard.cli.models import AsJson, Name
from modelyard.cli.session import Session
from modelyard.cli.show import errors, moment, out, print_json, table, who
from modelyard.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from modelyard.registry import Bounds, FoundVersion, Sweep
    from modelyard.version import Compilation, Version

MOST_SHOWN = 20
"""Files of a version, or orphans, that are listed; ``--json`` has all."""


def search(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="How the name, or a word in it, begins; default: any.")] = "",
    task: Annotated[str | None, typer.Option("--task", help="regression, binary or multiclass.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="The owner, whole; in any case.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="A tag; may be given several times.")] = None,
    metric: Metric = None,
    limit: Limit = 20,
    start: Annotated[
        str | None, typer.Option("--start", help="Where an earlier page said the next one begins.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find models by name, task, owner, tag, and by a metric of the version that is live."""
    import msgspec

    from modelyard.registry import Search
    from modelyard.version import Task

    session: Session = context.obj
    tasks = Task.__args__  # type: ignore[attr-defined]  # of a Literal
    if task is not None and task not in tasks:
        raise UsageError(f"task {ascii(task)[:40]} is not one of {', '.join(tasks)}", code="invalid_task", field="task")
    bounds = None if metric is None else parse_bounds(metric)
    wanted = Search(name=name, task=task, owner=owner, tags=tuple(tag or ()), bounds=bounds)  # type: ignore[arg-type]
    page = session.registry.search(wanted, limit=limit, start=start)
    if as_json:
        print_json(msgspec.to_builtins(page))
        return
    if not page.items:
        out.print("no model matches" + (" so far" if page.next else ""))
    else:
        shown = bounds.metric if bounds else "metric"
        table(
            "Models",
            ["model", "version", "", shown, "task", "owner", "tags"],
            [
                [
                    found.name,
                    found.version,
                    "live" if found.is_live else "not live",
                    _value(found.metrics, bounds),
                    found.task,
                    found.owner,
                    ", ".join(found.tags),
                    found.description,
                ]
                for found in page.items
            ],
        )
    if page.next:
        out.print(f"  there are more: --start '{escape(page.next)}'", soft_wrap=True)


def _value(metrics: dict[str, float], bounds: "Bounds | None") -> str:
    if bounds is not None:
        return f"{metrics[bounds.metric]:.4g}" if bounds.metric in metrics else ""
    name, value = next(iter(metrics.items()), ("", 0.0))
    return f"{name} {value:.4g}" if name else ""


def lineage(
    context: typer.Context,
    version: Annotated[str | None, typer.Argument(metavar="NAME[:VERSION]", help=REFERENCE)] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", help="The other way: versions that learnt from a file (a path, or its SHA-256)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show where a version comes from; or, with --file, which versions come from a training file."""
    import msgspec

    session: Session = context.obj
    if (version is None) == (file is None):
        raise UsageError(
            "give a version, or a file with --file",
            code="invalid_lineage",
            next_step="Run 'modelyard lineage NAME:VERSION' or 'modelyard lineage --file FILE.csv'.",
        )
    if file is not None:
        digest = _digest_of(file)
        found = _all_from(session, digest)
        if as_json:
            print_json({"sha256": digest, "versions": msgspec.to_builtins(found)})
        else:
            _show_users(file, digest, found)
        return
    reference = parse_reference(str(version))
    chain = _chain(session, find_version(session.registry, reference))
    if as_json:
        print_json([{"number": one.number, **msgspec.to_builtins(one.manifest.lineage)} for one in chain])
        return
    _show_lineage(chain)


def _digest_of(file: str) -> str:
    path = Path(file)
    if path.is_file():
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    if re.fullmatch(r"[0-9a-fA-F]{64}", file):
        return file.lower()
    raise NotFoundError(
        f"{file!r} is neither a file nor a SHA-256 (64 of 0-9 and a-f)",
        code="no_file",
        field="file",
        next_step="Give the path of the file that was uploaded, or the sha256 that 'modelyard lineage' shows.",
    )


def _all_from(session: Session, digest: str) -> "list[FoundVersion]":
    from modelyard.ports import every

    return list(every(lambda start: session.registry.versions_from(digest, limit=500, start=start)))


def _show_users(file: str, digest: str, found: "list[FoundVersion]") -> None:
    if not found:
        out.print(f"no version learnt from {escape(file)} (sha256 {digest[:12]}…)", soft_wrap=True)
        return
    table(
        f"Versions that learnt from {file}",
        ["model", "version", "made", "by"],
        [[one.model, one.number, moment(one.created_at), who(one.author), ""] for one in found],
    )


def _chain(session: Session, version: "Version") -> "list[Version]":
    """The version and the champions before it that it was compared with, at most ten."""
    chain = [version]
    while len(chain) < 10:
        parent = chain[-1].manifest.lineage.parent_version
        if parent is None or parent >= chain[-1].number:
            break
        chain.append(session.registry.version(version.manifest.model, parent))
    return chain


def _compiled(compilation: "Compilation | None") -> str | None:
    if compilation is None:
        return None
    if not compilation.forms:
        return f"no, served as it is ({compilation.refused})"
    sizes = [form.model.size + (form.weights.size if form.weights else 0) for form in compilation.forms]
    forms = [
        f"{form.requires or form.architecture}: {size / 1e6:.1f} MB"
        for form, size in zip(compilation.forms, sizes, strict=True)
    ]
    return f"{', '.join(forms)}; proven equal with onnxruntime {compilation.onnxruntime}"


def _show_lineage(chain: "list[Version]") -> None:
    version = chain[0]
    found = version.manifest.lineage
    out.print(
        f"[bold]{escape(version.manifest.model)}:{version.number}[/], {found.source}, {moment(version.created_at)}"
    )
    facts = [
        ("model file", f"sha256 {version.manifest.digest}"),
        ("made by", version.author),
        ("code", found.code_digest and f"sha256 {found.code_digest}"),
        ("dependencies", found.lock_digest and f"sha256 {found.lock_digest}"),
        ("run", found.run_id),
        ("execution", found.execution),
        ("imported from", found.imported_from),
        ("compiled", _compiled(version.manifest.compilation)),
        ("compared with", " → ".join(f"version {one.number}" for one in chain[1:]) or None),
    ]
    for title, value in facts:
        out.print(f"  {title:<14} {escape(value) if value else '[dim]not recorded[/]'}", soft_wrap=True)
    out.print(
        f"  {'learnt from':<14} {len(found.objects)} files" if found.objects else f"  {'learnt from':<14} no file"
    )
    for one in found.objects[-MOST_SHOWN:]:
        out.print(f"    s3://{escape(one.bucket)}/{escape(one.key)}  {one.rows:,} rows", soft_wrap=True)
        out.print(f"      [dim]version {escape(one.version_id)}, sha256 {one.sha256}[/]", soft_wrap=True)
    if len(found.objects) > MOST_SHOWN:
        out.print(f"    and {len(found.objects) - MOST_SHOWN} before those: --json has all")


def notes(
    context: typer.Context,
    name: Name,
    file: Annotated[
        str | None, typer.Option("--file", "-f", help="A Markdown file that replaces the notes; - reads from stdin.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take the notes away.")] = False,
    expected_revision: Annotated[
        int | None, typer.Option("--expected-revision", min=0, help="Refuse if the notes changed meanwhile.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show or write the owner's notes about a model; they stand beside the facts in its card."""
    import msgspec

    session: Session = context.obj
    if file is not None and clear:
        raise UsageError("--file and --clear say different things", code="invalid_notes", next_step="Give one of them.")
    if file is None and not clear:
        session.registry.model(name)
        found = session.registry.notes(name)
        if as_json:
            print_json(msgspec.to_builtins(found))
        elif found is None or not found.text:
            out.print(f"{escape(name)} has no notes")
            out.print(f"  next: modelyard notes {escape(name)} --file NOTES.md")
        else:
            out.print(f"[dim]revision {found.revision}, {moment(found.at)}, by {escape(who(found.by))}[/]")
            out.print(escape(found.text), soft_wrap=True)
        return
    written = session.registry.write_notes(name, _text_of(file), expected_revision=expected_revision)
    if as_json:
        print_json(msgspec.to_builtins(written))
    else:
        out.print(f"{escape(name)}: notes at revision {written.revision}; 'modelyard card {escape(name)}' shows them")


def _text_of(file: str | None) -> str:
    if file is None:
        return ""
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as broken:
        raise UsageError(f"{file} is not UTF-8 at byte {broken.start}", code="invalid_text", field="notes") from broken
    except (FileNotFoundError, IsADirectoryError) as missing:
        raise UsageError(f"{file} is not a file", code="no_file", field="file") from missing


def sweep(
    context: typer.Context,
    older_than: Annotated[int, typer.Option("--older-than", min=1, max=3650, help="Grace in days.")] = 7,
    delete: Annotated[bool, typer.Option("--delete", help="Remove what was found; without, only say it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, where the environment is protected.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find files that no version and no ledger entry names; with --delete, remove them."""
    import msgspec

    session: Session = context.obj
    if delete and session.settings.deletion_protection and not yes:
        raise UsageError(
            f"environment {session.name!r} is protected against deletion",
            code="confirmation_required",
            next_step="Look at 'modelyard sweep' first, then add --yes.",
        )
    found = session.registry.sweep(older_than=dt.timedelta(days=older_than), delete=delete)
    if as_json:
        print_json({**msgspec.to_builtins(found), "bytes": found.size})
        return
    _show_sweep(found, older_than)


def _show_sweep(found: "Sweep", days: int) -> None:
    what = "deleted" if found.deleted else "would be deleted"
    for orphan in found.orphans[:MOST_SHOWN]:
        out.print(f"  {escape(orphan.key)}  [dim]{orphan.size:,} bytes, {moment(orphan.modified)}[/]", soft_wrap=True)
    if len(found.orphans) > MOST_SHOWN:
        out.print(f"  and {len(found.orphans) - MOST_SHOWN} more: --json has all")
    for upload in found.unfinished[:MOST_SHOWN]:
        out.print(
            f"  {escape(upload.key)}  [dim]upload begun {moment(upload.modified)}, never finished[/]", soft_wrap=True
        )
    out.print(
        f"{found.examined:,} files are older than {days} days, {found.named:,} of them named by the registry; "
        f"{len(found.orphans):,} files ({found.size:,} bytes) and {len(found.unfinished):,} unfinished uploads {what}"
    )
    if not found.deleted and (found.orphans or found.unfinished):
        errors.print("  [dim]next:[/] modelyard sweep --delete")
