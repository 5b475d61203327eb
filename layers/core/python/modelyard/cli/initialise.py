"""``modelyard init``: a file becomes the folder of a model. Nothing here talks to AWS or to a network."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from modelyard.cli.session import Session
from modelyard.cli.show import Step, out, table
from modelyard.errors import UsageError
from modelyard.spec import Task
from modelyard.spec_retraining import Metric

if TYPE_CHECKING:
    from modelyard.scaffold import Draft

LONGEST_LIST = 60
_EXPORT = "Export the model to ONNX (scikit-learn: skl2onnx; PyTorch: torch.onnx.export) and give that file."
_OTHER_FORMATS = {
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".pt", ".pth", ".h5", ".keras", ".safetensors", ".json"), _EXPORT),
    **dict.fromkeys((".xlsx", ".xls", ".parquet", ".tsv", ".txt", ".gz", ".zip"), "Save the table as CSV."),
}


def init(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A CSV to train on, or a finished ONNX file.", show_default=False)],
    name: Annotated[str | None, typer.Option("--name", help="The model's name; default: made of the file's.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="CSV: the column to predict; default: the last.")
    ] = None,
    task: Annotated[
        Task | None, typer.Option("--task", help="What kind of answer; default: by the target or the outputs.")
    ] = None,
    metric: Annotated[
        Metric | None, typer.Option("--metric", help="CSV: what decides between versions; default: by the task.")
    ] = None,
) -> None:
    """Make the folder of a new model from a CSV or an ONNX file."""
    from modelyard.admission import LARGEST_ARTIFACT, admit
    from modelyard.scaffold import LARGEST_CSV, check_free, from_csv, from_onnx, model_name, write_folder

    session: Session = context.obj
    shown = _check_file(source, {".csv": LARGEST_CSV, ".onnx": LARGEST_ARTIFACT})
    trained = source.suffix.lower() == ".csv"
    if not trained and (target is not None or metric is not None):
        option = "--target" if target is not None else "--metric"
        raise UsageError(f"{option} is for a CSV; an ONNX file is not trained here", next_step="Leave it out.")
    models = session.project / "models"
    chosen = model_name(name, source.stem)
    check_free(models, chosen)  # before the work; looked at again when it is written
    content = source.read_bytes()
    if trained:
        with Step(f"Read {escape(shown)}") as step:
            draft = from_csv(content, source=shown, name=chosen, target=target, task=task, metric=metric)
            step.outcome = f"{draft.training.rows:,} rows" if draft.training else ""
    else:
        with Step(f"Try {escape(shown)}") as step:
            signature = admit(content)
            step.outcome = "loads and answers"
        draft = from_onnx(content, source=shown, name=chosen, signature=signature, task=task)
    files = write_folder(draft, models)
    _show(draft, [path.relative_to(session.project).as_posix() for path in files])


def _check_file(source: Path, largest: dict[str, int]) -> str:
    """The file's name for people, when it is a file of a known kind that is not too large."""
    shown, kind = _readable(source.name), source.suffix.lower()
    problem, code, next_step = None, "no_file", "Give the path of a file."
    if not source.is_file():
        what = "is a folder" if source.is_dir() else "is not a file" if source.exists() else "is not there"
        problem = f"{_readable(str(source))} {what}"
    elif kind not in largest:
        problem, code = f"{shown!r} is no .csv and no .onnx file", "wrong_file"
        next_step = _OTHER_FORMATS.get(kind, "Give a CSV to train on, or a finished ONNX file.")
    elif (size := source.stat().st_size) > largest[kind]:
        problem, code = f"{shown} has {size:,} bytes; at most {largest[kind]:,} are read", "file_too_large"
        next_step = "Start from a part of the rows, and add the rest later with 'modelyard upload'."
        if kind == ".onnx":
            next_step = "Export a smaller model: quantised, or with fewer trees."
    if problem is not None:
        raise UsageError(problem, code=code, field="source", next_step=next_step)
    return shown


def _readable(text: str) -> str:
    """A path as text: it may hold bytes that are none."""
    return text.encode("utf-8", "replace").decode()


def _show(draft: "Draft", files: list[str]) -> None:
    training = draft.training
    if training is not None:
        rows = [[column.name or "(no name)", column.kind or "left out", column.note] for column in training.columns]
        rows.sort(key=lambda row: row[1] == "left out")
        rows.insert(0, [training.target, "target", training.target_note])
        table("Columns", ["column", "used as"], rows[:LONGEST_LIST])
        if len(rows) > LONGEST_LIST:
            out.print(f"  and {len(rows) - LONGEST_LIST} more: models/{draft.name}/model.toml has them all")
        for remark in training.remarks:
            out.print(f"  note: {escape(remark)}", soft_wrap=True)
        out.print()
    out.print(f"task     [bold]{draft.task}[/] ({escape(draft.task_note)})", soft_wrap=True)
    if training is not None:
        out.print(f"metric   [bold]{training.metric}[/]")
    elif draft.instances:
        out.print("example  made up from the signature: put a real request into example.json")
    out.print("wrote    " + escape(", ".join(files)), soft_wrap=True)
    out.print("next     [bold]make up[/], after a look at model.toml")
