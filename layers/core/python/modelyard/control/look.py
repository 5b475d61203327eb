"""The routes that look and change nothing."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query

from modelyard.control import answers, queries
from modelyard.control.openapi import problems
from modelyard.control.services import EACH_ONCE, NO_QUERY, AsCaller, FileDigest, ModelName, VersionNumber
from modelyard.errors import NotFoundError
from modelyard.ports import Page
from modelyard.registry import CatalogueLine, Found, Registry, keys
from modelyard.times import as_stamp

router = APIRouter(tags=["Look"], dependencies=EACH_ONCE, redirect_slashes=False)

UNKNOWN_MODEL = "`not_found`: no version of this model was ever registered."
INVALID_BOUNDS = "`invalid_bounds`: a metric goes with a number. `invalid_request`: see `field`."


@router.get(
    "/models",
    operation_id="list_models",
    summary="List or search the models",
    responses=problems({400: INVALID_BOUNDS}),
)
def list_models(registry: AsCaller, query: Annotated[queries.SearchQuery, Query()]) -> answers.Models:
    """Models by name, page by page; or those for which everything that is given holds.

    A metric is that of the champion, or of the newest version where nothing is live, and puts the models in its order.
    A search reads an index that may be a few seconds behind. Its pages may be shorter than `limit` while there are
    more: go on with `next` until it is null, with the same filters.
    """
    search = query.search()
    page: Page[CatalogueLine] | Page[Found]
    if search is None:
        page = registry.models(limit=query.limit, start=query.start)
    else:
        page = registry.search(search, limit=query.limit, start=query.start)
    return answers.Models.model_validate(msgspec.to_builtins(page))


@router.get(
    "/models/{name}",
    operation_id="show_model",
    summary="Show a model",
    dependencies=NO_QUERY,
    responses=problems({404: UNKNOWN_MODEL}),
)
def show_model(registry: AsCaller, name: ModelName) -> answers.Model:
    """A model, what is live of it, and what that version takes, gives and allows."""
    record, deployment = registry.model(name), registry.deployment(name)
    live = None if deployment is None else answers.Version.of(registry.version(name, deployment.champion))
    shown = None if deployment is None else answers.Deployment.of(deployment)
    return answers.Model.model_validate({**msgspec.to_builtins(record), "deployment": shown, "live": live})


@router.get(
    "/models/{name}/versions",
    operation_id="list_versions",
    summary="List the versions",
    responses=problems({400: INVALID_BOUNDS, 404: UNKNOWN_MODEL}),
)
def list_versions(
    registry: AsCaller, name: ModelName, query: Annotated[queries.MetricQuery, Query()]
) -> answers.Versions:
    """Versions in short, newest first, page by page; or those between two values of a metric, in its order.

    What a metric finds comes from an index that may be a few seconds behind.
    """
    bounds = query.bounds()
    if bounds is None:
        page = registry.versions(name, limit=query.limit, start=query.start)
        return answers.Versions(items=[answers.VersionLine.of(version) for version in page.items], next=page.next)
    found = registry.versions_where(name, bounds, limit=query.limit, start=query.start)
    if not found.items:
        registry.model(name)  # raises when there is no such model
    # The index knows a version's number and little more. A line is the same whatever it was found by, so it is read.
    items = [answers.VersionLine.of(registry.version(name, line.number)) for line in found.items]
    return answers.Versions(items=items, next=found.next)


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
    registry: AsCaller, name: ModelName, query: Annotated[queries.HistoryQuery, Query()]
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
def list_runs(registry: AsCaller, name: ModelName, query: Annotated[queries.PageQuery, Query()]) -> answers.Runs:
    """Runs by id, highest first; newest first where ids begin with the time."""
    page = registry.runs(name, limit=query.limit, start=query.start)
    if not page.items:
        registry.model(name)  # raises when there is no such model
    return answers.Runs.model_validate(msgspec.to_builtins(page))


@router.get(
    "/models/{name}/notes",
    operation_id="show_notes",
    summary="Show the owner's notes",
    dependencies=NO_QUERY,
    responses=problems({404: UNKNOWN_MODEL}),
)
def show_notes(registry: AsCaller, name: ModelName) -> answers.Notes:
    """What the owner says about a model, in Markdown. Revision 0: nobody has written anything yet."""
    notes = registry.notes(name)
    if notes is None:
        registry.model(name)  # raises when there is no such model
    return answers.Notes.of(name, notes)


@router.get(
    "/files/{sha256}/versions",
    operation_id="list_versions_of_file",
    summary="List the versions that were trained on a file",
)
def list_versions_of_file(
    registry: AsCaller, sha256: FileDigest, query: Annotated[queries.PageQuery, Query()]
) -> answers.FileVersions:
    """Versions of any model, by model and number, page by page. The index may be a few seconds behind."""
    page = registry.versions_from(sha256, limit=query.limit, start=query.start)
    return answers.FileVersions(items=[answers.FileVersion.of(found) for found in page.items], next=page.next)


def _nothing_live(registry: Registry, name: str) -> NotFoundError:
    there = registry.model(name).versions  # raises when there is no such model
    return NotFoundError(
        f"no version of model {name!r} is live; it has {there}",
        code="nothing_live",
        field="model",
        next_step=f"POST /models/{name}/promote with a version.",
    )
