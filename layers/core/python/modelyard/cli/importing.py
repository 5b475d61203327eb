"""``modelyard import``: a model from another registry, as the next version of a model of this project."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from modelyard.cli.bring import code_digest, compiler_with_progress, contract_of
from modelyard.cli.models import AcceptBreaking, AsJson, Reason, check_reason, promote_registered, show_promotion
from modelyard.cli.session import Session
from modelyard.cli.show import Step, errors, out, print_json
from modelyard.errors import NotFoundError, UsageError
from modelyard.spec import Model

if TYPE_CHECKING:
    from modelyard.importing import Imported
    from modelyard.registry import Registered

app = typer.Typer(help="Bring a model from another registry.", no_args_is_help=True)
_FILE = "MLmodel"


@app.callback()
def options() -> None:
    """Bring a model from another registry."""


@app.command()
def mlflow(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="A folder with an MLmodel, or runs:/RUN_ID/PATH, models:/NAME/VERSION.",
            metavar="PATH|runs:/…|models:/…",
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Whose version it becomes; default: made of the source's name.")
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make it the champion as well.")] = False,
    reason: Reason = "",
    accept_breaking: AcceptBreaking = None,
    as_json: AsJson = False,
) -> None:
    """Register the ONNX file of an MLflow model, with its metrics and parameters, as the next version."""
    session: Session = context.obj
    model = _model(session, source, name)
    if promote:
        check_reason(session, reason)
    imported = _read(source)
    registered = _register(session, model, imported, source, accept_breaking)
    version = registered.version
    promoted = promote and promote_registered(
        session, model.name, version.number, reason=reason or "imported with --promote"
    )
    if as_json:
        lineage = version.manifest.lineage
        print_json(
            {
                "model": model.name,
                "version": version.number,
                "created": registered.created,
                "promoted": promoted,
                "metrics": version.manifest.metrics,
                "params": lineage.params,
                "imported_from": lineage.imported_from,
                "remarks": imported.remarks,
            }
        )
        return
    _show(model.name, registered, imported)
    show_promotion(session, model.name, version.number, promote=promote, promoted=promoted)


def _model(session: Session, source: str, name: str | None) -> Model:
    from modelyard.scaffold.naming import model_name

    chosen = model_name(name, _named_by(source))
    try:
        return session.model(chosen)
    except NotFoundError as unknown:
        raise NotFoundError(
            unknown.message,
            code=unknown.code,
            field="name",
            next_step=f"Choose one of them with --name, or make it first: modelyard init FILE.onnx --name {chosen}",
        ) from unknown


def _named_by(source: str) -> str:
    """The part of a source that names the model, as far as there is one: not a version, and no folder of MLflow's."""
    parts = [part for part in source.split("/") if part not in ("", ".", "..")]
    if source.startswith("models:/") and len(parts) > 1:
        return parts[1].partition("@")[0]
    return parts[-1] if parts else Path.cwd().name


def _read(source: str) -> "Imported":
    from modelyard.importing import SCHEMES, Tracking, read_folder, recorded_beside

    if not source.startswith(SCHEMES):
        folder = _folder(source)
        with Step("Try the model") as step:
            imported = read_folder(folder, recorded=lambda model: recorded_beside(folder, model))
            step.outcome = "loads and answers"
        return imported
    tracking = Tracking()
    with tempfile.TemporaryDirectory(prefix="modelyard-") as temporary:
        with Step("Download the model"):
            folder = tracking.download(source, Path(temporary))
        with Step("Try the model") as step:
            imported = read_folder(folder, recorded=tracking.recorded)
            step.outcome = "loads and answers"
    return imported


def _folder(source: str) -> Path:
    folder = Path(source)
    if folder.name == _FILE and folder.is_file():
        folder = folder.parent
    if (folder / _FILE).exists():
        return folder
    below = sorted(path.parent for path in folder.glob(f"*/{_FILE}"))[:3] if folder.is_dir() else []
    if "://" in source or source.startswith(("runs:", "models:")):
        problem, step = f"{source!a} is no folder", "Give a folder, runs:/RUN_ID/PATH or models:/NAME/VERSION."
    elif not folder.is_dir():
        problem, step = f"{source!a} is no folder", "Give the folder that holds the file MLmodel."
    else:
        problem = f"{source!a} has no file {_FILE}, so it is no MLflow model"
        step = f"Did you mean {str(below[0])!a}?" if below else "Give the folder that holds it."
    raise UsageError(problem, code="no_mlmodel", field="source", next_step=step)


def _register(
    session: Session, model: Model, imported: "Imported", source: str, accept_breaking: str | None
) -> "Registered":
    from modelyard.version import Lineage

    spec = model.spec.model
    is_uri = source.startswith(("runs:/", "models:/"))
    return session.registry.register(
        model.name,
        imported.content,
        task=spec.task,
        signature=imported.signature,
        contract=contract_of(model, imported.signature),
        accept_breaking=accept_breaking,
        metrics=imported.metrics,
        compiler=compiler_with_progress(source, session.project),
        lineage=Lineage(code_digest=code_digest(model), imported_from=imported.imported_from, params=imported.params),
        note=f"imported from {source if is_uri else imported.imported_from}",
        description=spec.description,
        owner=spec.owner,
        tags=spec.tags,
    )


def _show(name: str, registered: "Registered", imported: "Imported") -> None:
    version = registered.version
    for remark in imported.remarks:
        errors.print(f"[yellow]note:[/] {escape(remark)}", soft_wrap=True)
    if registered.created:
        out.print(f"{escape(name)}: registered version [bold]{version.number}[/] from {imported.imported_from}")
        out.print(f"  {len(imported.metrics)} metrics, {len(imported.params)} parameters")
    else:
        out.print(
            f"{escape(name)}: was registered before, as version [bold]{version.number}[/], "
            "which keeps the metrics and parameters it has"
        )
