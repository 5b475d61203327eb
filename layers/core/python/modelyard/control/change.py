"""The routes that change something. Each names its caller's IAM ARN in the ledger."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from modelyard.control import answers, bodies
from modelyard.control.openapi import problems
from modelyard.control.services import NO_QUERY, AsCaller, ModelName, Provided
from modelyard.control.uploads import UPLOAD_EXPIRES_S, register_upload, sign_upload

router = APIRouter(dependencies=NO_QUERY, redirect_slashes=False)

CHANGED = "`revision_changed`: somebody was first; the detail says who, and the present revision."
REUSED = "`operation_reused`: the id belongs to another change."
REASON = "`reason_required`: this environment wants a reason. `invalid_request`: see `field`."
BEHIND = "`pointer_behind`: it is live in the registry, and endpoints may not know yet; repeat with the same operation."


@router.post(
    "/models/{name}/uploads",
    operation_id="sign_upload",
    summary="Get a URL to upload a model file to",
    tags=["Register"],
    responses=problems({413: "`artifact_too_large`: use the command line, which takes larger files."}),
)
def create_upload(name: ModelName, asked: bodies.UploadBody, services: Provided) -> answers.Upload:
    """The first of three steps: get a URL, PUT the file there, register it as a version.

    Send the file within 15 minutes and with exactly the headers of the answer; S3 refuses other bytes than announced.
    An upload that is not registered is deleted after a day.
    """
    signed = sign_upload(services.uploads, name, sha256=asked.sha256, size=asked.size)
    return answers.Upload(method="PUT", url=signed.url, headers=signed.headers, expires_in_s=UPLOAD_EXPIRES_S)


@router.post(
    "/models/{name}/versions",
    operation_id="register_version",
    summary="Register an upload as a version",
    tags=["Register"],
    status_code=201,
    responses={
        200: {"model": answers.Registered, "description": "The same was registered before"},
        **problems(
            {
                400: "`invalid_sample`: see `field` and `row`. `invalid_request`: see `field`.",
                404: "`unknown_upload`: nothing with this SHA-256 was uploaded for this model, or it has expired.",
                409: "`contended`: others kept writing this model. Repeat it; that is safe. `breaking_contract`: "
                "callers of the live version would stumble over it; the detail lists every break.",
                413: "`artifact_too_large`.",
                422: "The bytes are not a model that Modelyard would run: `not_onnx`, `external_data`, "
                "`not_loadable`, `unsupported_signature`, `trial_failed`, `trial_timeout`, `trial_memory`, "
                "`trial_crashed`, `checksum_mismatch`.",
            }
        ),
    },
)
def register_version(
    name: ModelName,
    asked: bodies.RegisterBody,
    registry: AsCaller,
    services: Provided,
    response: Response,
) -> answers.Registered:
    """The file is tried in a process of its own, with limits on time and memory, before anything becomes visible.

    The same file with the same task, signature and lineage is the same version, however often it is registered. The
    first version creates the model. With a `sample`, the version has a contract: ranges, categories, shares of missing
    values. What would break callers of the live version is refused unless `accept_breaking` says why it may.

    Nothing that is live changes: that is `promote`, a route of its own, so that IAM can allow one without the other.
    """
    registered = register_upload(registry, name, asked, admit=services.admit)
    response.status_code = 201 if registered.created else 200
    response.headers["location"] = f"/models/{name}/versions/{registered.version.number}"
    return answers.Registered(created=registered.created, version=answers.Version.of(registered.version))


@router.put(
    "/models/{name}/notes",
    operation_id="write_notes",
    summary="Write the owner's notes",
    tags=["Describe"],
    responses=problems(
        {
            404: "`not_found`: no version of this model was ever registered.",
            409: "`revision_changed`: somebody else wrote them meanwhile; the detail says who, and the revision.",
        }
    ),
)
def write_notes(name: ModelName, asked: bodies.NotesBody, registry: AsCaller) -> answers.Notes:
    """Replace the notes about a model. The ledger keeps what was written before, when and by whom.

    Nothing that somebody else writes at the same time is overwritten. With `expected_revision` that includes what they
    wrote since you looked. The same text again changes nothing.
    """
    return answers.Notes.of(name, registry.write_notes(name, asked.text, expected_revision=asked.expected_revision))


@router.post(
    "/models/{name}/promote",
    operation_id="promote",
    summary="Put a version live",
    tags=["Go live"],
    responses=problems(
        {
            400: REASON,
            404: "`not_found`: there is no such model or version.",
            409: f"`already_live`. {CHANGED} {REUSED}",
            502: BEHIND,
        }
    ),
)
def promote(name: ModelName, asked: bodies.PromoteBody, registry: AsCaller, services: Provided) -> answers.Deployment:
    """Make a version the champion. Endpoints follow within seconds; no deploy, no failed request.

    Nothing that somebody else changed meanwhile is overwritten. With `expected_revision` that includes what they
    changed since you looked.
    """
    services.check_reason(asked.reason)
    return answers.Deployment.of(
        registry.promote(
            name,
            asked.version,
            reason=asked.reason,
            expected_revision=asked.expected_revision,
            operation=asked.operation,
        )
    )


@router.post(
    "/models/{name}/rollback",
    operation_id="rollback",
    summary="Put an earlier version live again",
    tags=["Go live"],
    responses=problems(
        {
            400: REASON,
            404: "`not_found`: there is no such model or version.",
            409: "`no_predecessor`. `not_a_predecessor`: version `to` was never live before this one. "
            f"`already_live`. {CHANGED} {REUSED}",
            502: BEHIND,
        }
    ),
)
def rollback(
    name: ModelName,
    registry: AsCaller,
    services: Provided,
    asked: Annotated[bodies.RollbackBody | None, Body()] = None,
) -> answers.Deployment:
    """Put the champion before the present one live again, or the earlier champion `to`.

    A second rollback goes one further back. So that a repeated request does not, send `operation` or
    `expected_revision`.
    """
    asked = asked or bodies.RollbackBody()
    services.check_reason(asked.reason)
    return answers.Deployment.of(
        registry.rollback(
            name,
            to=asked.to,
            reason=asked.reason,
            expected_revision=asked.expected_revision,
            operation=asked.operation,
        )
    )


TRIAL = "`already_live`. `no_champion`: nothing is live to compare with."


@router.post(
    "/models/{name}/trial",
    operation_id="start_trial",
    summary="Put versions on trial",
    tags=["Go live"],
    responses=problems(
        {
            400: f"`invalid_split`: no share of the requests, or nothing is left for the champion. {REASON}",
            404: "`not_found`: there is no such model or version.",
            409: f"`already_on_trial`: with these shares. {TRIAL} {CHANGED} {REUSED}",
            502: BEHIND,
        }
    ),
)
def start_trial(name: ModelName, asked: bodies.TrialBody, registry: AsCaller, services: Provided) -> answers.Deployment:
    """Let a version answer unseen beside the champion, or versions a share of the requests; also to change the shares.

    What was on trial and is not named here is so no more. While a version's share changes, callers change sides only
    where they must; docs/rollout.md says by what requests are routed.
    """
    services.check_reason(asked.reason)
    change: dict[str, Any] = {
        "reason": asked.reason,
        "expected_revision": asked.expected_revision,
        "operation": asked.operation,
    }
    if asked.shadow is not None:
        return answers.Deployment.of(registry.start_shadow(name, asked.shadow, **change))
    shares = {share.version: share.percent for share in asked.shares or ()}
    return answers.Deployment.of(registry.start_shares(name, shares, **change))


@router.post(
    "/models/{name}/trial/end",
    operation_id="end_trial",
    summary="End a trial",
    tags=["Go live"],
    responses=problems(
        {
            400: REASON,
            404: "`not_found`: there is no such model.",
            409: f"`no_trial`. {CHANGED} {REUSED}",
            502: BEHIND,
        }
    ),
)
def end_trial(
    name: ModelName,
    registry: AsCaller,
    services: Provided,
    asked: Annotated[bodies.EndTrialBody | None, Body()] = None,
) -> answers.Deployment:
    """Take every version off that is on trial; the champion answers everything."""
    asked = asked or bodies.EndTrialBody()
    services.check_reason(asked.reason)
    return answers.Deployment.of(
        registry.end_trial(
            name, reason=asked.reason, expected_revision=asked.expected_revision, operation=asked.operation
        )
    )
