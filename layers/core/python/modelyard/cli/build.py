"""``modelyard build``: the layers, before synth. ``cdk.json`` runs it, so that ``cdk deploy`` is all a user types."""

import typer

from modelyard.cli.session import Session


def build(context: typer.Context) -> None:
    """Build the layers that changed: for the environment that is named, else for all."""
    from modelyard.packaging import build as build_layers

    session: Session = context.obj
    named = context.meta["env"]
    build_layers(session.project, None if named is None else [named])
