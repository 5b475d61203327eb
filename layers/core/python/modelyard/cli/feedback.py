"""The command ``feedback``: send the true labels of earlier predictions."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.markup import escape

from modelyard.cli.label_file import label_of, read_label_file
from modelyard.cli.models import AsJson, Name, refusal
from modelyard.cli.session import Session
from modelyard.cli.show import Step, errors, out, print_json
from modelyard.errors import ModelyardError, UsageError
from modelyard.labels import Label, read_label

if TYPE_CHECKING:
    from modelyard.aws.clients import Clients
    from modelyard.aws.signed import Answer

BATCH = 2_000
"""Labels in one call: of the longest some megabytes, which a request may have."""
BUSY = (429, 503)
ATTEMPTS = 4
PAUSE_S = 2.0
"""Between two attempts, where the answer does not say how long to wait."""
MOST_WARNINGS = 10


def feedback(
    context: typer.Context,
    name: Name,
    file: Annotated[
        Path | None, typer.Argument(help="A .csv or .jsonl file with prediction_id, label and, if need be, row.")
    ] = None,
    prediction_id: Annotated[str | None, typer.Option("--id", help="The prediction_id of one answer.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="What was true of it.")] = None,
    row: Annotated[int, typer.Option("--row", min=0, help="Which row of that request, from 0.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Send the true labels of earlier predictions; a rollout's verdict is judged by them."""
    session: Session = context.obj
    if (file is None) == (prediction_id is None) or (prediction_id is None) != (label is None):
        raise UsageError(
            "give either a FILE, or --id and --label",
            code="unclear_feedback",
            next_step=f"Write 'modelyard feedback {name} labels.csv', or 'modelyard feedback {name} --id ID --label "
            "VALUE'.",
        )
    numbers = session.model(name).spec.model.task == "regression"
    if file is not None:
        labels, lines = read_label_file(file, numbers=numbers)
        places = [f"{file.name} line {line}" for line in lines]
    else:
        value = label_of(str(label), numbers=numbers)
        labels, places = [read_label({"prediction_id": prediction_id, "label": value, "row": row})], ["--label"]
    warnings = _send(session, name, labels, places)
    if as_json:
        print_json({"model": name, "accepted": len(labels), "warnings": warnings})
        return
    out.print(f"{escape(name)}: [bold]{len(labels):,}[/] {'label' if len(labels) == 1 else 'labels'} accepted")
    for warning in warnings[:MOST_WARNINGS]:
        errors.print(f"[yellow]warning:[/] {escape(warning['place'])}: {escape(warning['detail'])}", soft_wrap=True)
    if len(warnings) > MOST_WARNINGS:
        errors.print(f"[yellow]warning:[/] and {len(warnings) - MOST_WARNINGS} more like it")


def _send(session: Session, name: str, labels: list[Label], places: list[str]) -> list[dict[str, Any]]:
    """Send them in batches; the warnings of all, each with its place."""
    url, clients = session.feedback_url(name), session.clients
    warnings: list[dict[str, Any]] = []
    with Step(f"Send labels of {name}") as step:
        for start in range(0, len(labels), BATCH):
            step.doing(f"{start:,} of {len(labels):,}")
            answer = _answered(clients, url, labels[start : start + BATCH])
            if answer.status != 200:
                raise _refused(answer, start, places)
            found = answer.body.get("warnings", ())
            warnings += ({"place": places[start + warning["row"]], **warning} for warning in found)
        step.outcome = f"{len(labels):,}"
    return warnings


def _answered(clients: "Clients", url: str, batch: list[Label]) -> "Answer":
    """The answer to a batch, asked for again while the endpoint is busy: a label that is sent twice counts once."""
    from modelyard.aws import signed

    body = {"labels": msgspec.to_builtins(batch)}
    answer = signed.ask(clients, url, body)
    for _ in range(ATTEMPTS - 1):
        if answer.status not in BUSY:
            break
        asked = answer.headers.get("retry-after", "")
        time.sleep(float(asked) if asked.isdigit() else PAUSE_S)
        answer = signed.ask(clients, url, body)
    return answer


def _refused(answer: "Answer", accepted: int, places: list[str]) -> ModelyardError:
    """What an endpoint said of a batch, with the place in the file, and what became of the labels before it."""
    error = refusal(answer.status, answer.body)
    row = answer.body.get("row") if isinstance(answer.body, dict) else None
    if isinstance(row, int) and accepted + row < len(places):
        error.message += f" ({places[accepted + row]})"
    if accepted:
        error.message += f"; {accepted:,} of {len(places):,} labels were accepted before"
        error.next_step = f"{error.next_step or ''} A label that is sent twice counts once.".strip()
    return error
