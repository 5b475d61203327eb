"""The routes that look and change nothing."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query

from modelyard.control import answers, bodies
from modelyard.control.openapi import problems
from modelyard.control.services import NO_QUERY, AsCaller, ModelName, VersionNumber
from modelyard.errors import NotFoundError
from modelyard.registry import Registry, keys
from modelyard.times import as_stamp

router = APIRouter(tags=["Look"], redirect_slashes=False)

UNKNOWN_MODEL = "`not_found`: no version of this model was ever registered."


@router.get("/models", operation_id="list_models", summary="List the models")
def list_models(registry: AsCaller, query: Annotated[bodies.PageQuery, Query()]) -> answers.Models:
    """Models by name, page by page."""
    page = registry.models(limit=query.limit, start=query.start)
    return answers.Models.model_validate(msgspec.to_builtins(page))


@router.get(
    "/models/{name}",
    operation_id="show_model",
    summary="Show a model",
    dependencies=NO_QUERY,
    responses=problems({404: UNKNOWN_MODEL}),
)
def show_model(registry: AsCaller, name: ModelName) -> answers.Model:
    """A model and what is live of it."""
    record, deployment = registry.model(name), registry.deployment(name)
    live = None if deployment is None else msgspec.to_builtins(deployment)
    return answers.Model.model_validate({**msgspec.to_builtins(record), "deployment": live})


@router.get(
    "/models/{name}/versions",
    operation_id="list_versions",
    summary="List the versions",
    responses=problems({404: UNKNOWN_MODEL}),
)
def list_versions(registry: AsCaller, name: ModelName, query: Annotated[bodies.PageQuery, Query()]) -> answers.Versions:
    """Versions in short, newest first, page by page."""
    page = registry.versions(name, limit=query.limit, start=query.start)
    return answers.Versions(items=[answers.VersionLine.of(version) for version in page.items], next=page.next)


@router.get(
    "/models/{name}/versions/{number}",
    operation_id="show_version",
    summary="Show a version",
    dependencies=NO_QUERY,
    responses=problems({404: "`not_found`: there is no such model or version."}),
)
def show_version(registry: AsCaller, name: ModelName, number: VersionNumber) -> answers.Version:
    """Everything that is known about a version: signature, contract, metrics, lineage."""
    return answers.Version.of(registry.version(name, number))


@router.get(
    "/models/{name}/deployment",
    operation_id="show_deployment",
    summary="Show what is live",
    dependencies=NO_QUERY,
    responses=problems({404: "`not_found`: there is no such model. `nothing_live`: it has no live version."}),
)
def show_deployment(registry: AsCaller, name: ModelName) -> answers.Deployment:
    """What is live now, since when, by whom and why. For an earlier time ask the history with `at`."""
    deployment = registry.deployment(name)
    if deployment is None:
        raise _nothing_live(registry, name)
    return answers.Deployment.of(deployment)


@router.get(
    "/models/{name}/history",
    operation_id="show_history",
    summary="Show the ledger",
    responses=problems({404: UNKNOWN_MODEL}),
)
def show_history(
    registry: AsCaller, name: ModelName, query: Annotated[bodies.HistoryQuery, Query()]
) -> answers.History:
    """Who changed what, when and why, newest first.

    With `at` the ledger as it was then, and what was live then.
    """
    at, start, deployment = None, query.start, None
    if query.at is not None:
        at = as_stamp(query.at, field="at")
        found = registry.deployment_at(name, at)
        deployment = None if found is None else answers.Deployment.of(found)
        # Entries are read backwards from here: "~" sorts after every operation's id.
        start = start or keys.ledger(at, "~").removeprefix(keys.LEDGER)
    page = registry.history(name, limit=query.limit, start=start)
    if not page.items:
        registry.model(name)  # raises when there is no such model
    items = [answers.LedgerEntry.model_validate(msgspec.to_builtins(entry)) for entry in page.items]
    return answers.History(items=items, next=page.next, at=at, deployment=deployment)


@router.get(
    "/models/{name}/runs",
    operation_id="list_runs",
    summary="List the retraining runs",
    responses=problems({404: UNKNOWN_MODEL}),
)
def list_runs(registry: AsCaller, name: ModelName, query: Annotated[bodies.PageQuery, Query()]) -> answers.Runs:
    """Runs by id, highest first; newest first where ids begin with the time."""
    page = registry.runs(name, limit=query.limit, start=query.start)
    if not page.items:
        registry.model(name)  # raises when there is no such model
    return answers.Runs.model_validate(msgspec.to_builtins(page))


def _nothing_live(registry: Registry, name: str) -> NotFoundError:
    there = registry.model(name).versions  # raises when there is no such model
    return NotFoundError(
        f"no version of model {name!r} is live; it has {there}",
        code="nothing_live",
        field="model",
        next_step=f"POST /models/{name}/promote with a version.",
    )
