"""The command about a model's data set: which files it has, which rows judge, and how to change the latter."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from modelyard.cli.models import AsJson, Name
from modelyard.cli.session import Session
from modelyard.cli.show import moment, out, print_json, table, who
from modelyard.errors import UsageError


def dataset(
    context: typer.Context,
    name: Name,
    refresh: Annotated[
        bool,
        typer.Option("--refresh-evaluation", help="Freeze other evaluation rows at the next training; needs --reason."),
    ] = False,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why, for the ledger.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the files that a model learns from, and the frozen rows that judge its versions."""
    session: Session = context.obj
    if reason and not refresh:
        raise UsageError(
            "a reason is for --refresh-evaluation", code="invalid_option", next_step="Leave it out, or add the option."
        )
    if refresh:
        request = session.registry.request_refresh(name, reason=reason)
        out.print(
            f"{escape(name)}: the next training freezes evaluation set {request.replaces + 1} in place of "
            f"{request.replaces}: {escape(request.reason)}",
            soft_wrap=True,
        )
        out.print(f"  [dim]next:[/] modelyard train {escape(name)}")
        return
    _show(session, name, as_json=as_json)


def _show(session: Session, name: str, *, as_json: bool) -> None:
    import msgspec

    registry = session.registry
    registry.model(name)
    files, sets = registry.dataset_files(name), registry.evaluation_sets(name)
    replaced = _replaced(session, files)
    request = registry.refresh_request(name)
    if as_json:
        listed = [{**msgspec.to_builtins(file), "replaced": file.sha256 in replaced} for file in files]
        print_json(
            {
                "model": name,
                "files": listed,
                "evaluation_sets": msgspec.to_builtins(sets),
                "refresh_requested": msgspec.to_builtins(request),
            }
        )
        return
    if not files:
        out.print(f"{escape(name)} has no training files yet")
        out.print(f"  [dim]next:[/] modelyard upload {escape(name)} FILE.csv")
        return
    table(
        f"Training files of {name}",
        ["accepted (UTC)", "rows", "bytes", "SHA-256", ""],
        [
            [
                moment(file.at),
                f"{file.rows:,}",
                f"{file.size:,}",
                file.sha256[:12],
                "replaced" if file.sha256 in replaced else "",
                file.key,
            ]
            for file in files
        ],
    )
    table(
        "Frozen evaluation sets",
        ["set", "rows", "frozen (UTC)", "by", "SHA-256", ""],
        [
            [
                found.number,
                f"{found.rows:,}",
                moment(found.at),
                who(found.by),
                found.sha256[:12],
                "in force" if found is sets[-1] else "",
                found.rule + (f"; {found.reason}" if found.reason else ""),
            ]
            for found in sets
        ],
    )
    if request is not None:
        out.print(
            f"  {escape(who(request.by))} asked for another at {moment(request.at)}: {escape(request.reason)}",
            soft_wrap=True,
        )


def _replaced(session: Session, files: Any) -> set[str]:
    """Digests of files that a newer one of the same name replaced."""
    from modelyard.retraining.dataset import newest

    _, left = newest(session.uploads, files)
    return {found.file.sha256 for found in left if found.file is not None}
