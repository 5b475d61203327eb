"""``modelyard build``: the layers, before synth. ``cdk.json`` runs it, so that ``cdk deploy`` is all a user types."""

from typing import Annotated

import typer

from modelyard.cli.session import Session
from modelyard.cli.show import out


def build(
    context: typer.Context,
    report: Annotated[
        bool, typer.Option("--report", help="Say what each function and each layer holds, and what was left out.")
    ] = False,
) -> None:
    """Build the layers and functions that changed: for the environment that is named, else for all."""
    from modelyard.packaging import build as build_layers
    from modelyard.packaging.report import report as report_of

    session: Session = context.obj
    named = context.meta["env"]
    built = build_layers(session.project, None if named is None else [named])
    if report:
        for line in report_of(built.fits, built.locks):
            out.print(line, soft_wrap=True, markup=False)
