"""The routes about rollouts: where one stands, start one, step in."""

from contextlib import suppress
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Path

from modelyard.control import answers, bodies
from modelyard.control.openapi import problems
from modelyard.control.services import NO_QUERY, AsCaller, ModelName, Provided
from modelyard.errors import ModelyardError, NotFoundError
from modelyard.registry import Registry
from modelyard.rollout.telling import told, verdict_document
from modelyard.times import utc_now

router = APIRouter(dependencies=NO_QUERY, tags=["Roll out"], redirect_slashes=False)

Act = Literal["pause", "resume", "abort", "approve", "reject"]
REASON = "`reason_required`: this environment wants a reason. `invalid_request`: see `field`."


@router.get(
    "/models/{name}/rollout",
    operation_id="show_rollout",
    summary="Show a rollout",
    responses=problems({404: "`not_found`: there is no such model. `no_rollout`: it has had none."}),
)
def show_rollout(name: ModelName, registry: AsCaller) -> answers.Rollout:
    """The present rollout or the last one: its step, who answers what, the verdict with its numbers, the time left."""
    return _shown(registry, name)


@router.post(
    "/models/{name}/rollout",
    operation_id="start_rollout",
    summary="Begin a rollout",
    status_code=202,
    responses=problems(
        {
            400: REASON,
            404: "`not_found`: there is no such model or version.",
            409: "`rollout_running`: a model has one at a time; the detail says which. `trial_running`: a version was "
            "put on trial by hand. `already_live`. `no_champion`: nothing is live to compare with.",
        }
    ),
)
def start_rollout(
    name: ModelName, asked: bodies.RolloutBody, registry: AsCaller, services: Provided
) -> answers.Rollout:
    """Let a version meet traffic in the steps of the model's spec, each ended by a verdict.

    The workflow begins within seconds; until then the status is `starting`. It needs `rollout.mode = "gradual"` in the
    spec. The same request again, until it has begun, has it begin.
    """
    services.check_reason(asked.reason)
    rollout = registry.start_rollout(name, asked.version, rollout_id=asked.rollout_id, reason=asked.reason)
    if not rollout.execution:
        services.signals.begin(rollout)
    return _shown(registry, name)


@router.post(
    "/models/{name}/rollout/{act}",
    operation_id="step_into_rollout",
    summary="Pause, resume, abort, approve or reject a rollout",
    responses=problems(
        {
            400: REASON,
            404: "`not_found`: there is no such model, or no such act. `no_rollout`: it has had none.",
            409: "`rollout_ended`: the detail says how. `already_paused`. `not_paused`. `not_asked`: it does not wait "
            "for a person yet. `already_answered`. `already_live`: it has come to its end.",
        }
    ),
)
def step_into_rollout(
    name: ModelName,
    act: Annotated[Act, Path(description="What to do.", examples=["pause"])],
    registry: AsCaller,
    services: Provided,
    asked: Annotated[bodies.ActBody | None, Body()] = None,
) -> answers.Rollout:
    """Step into a rollout that goes on.

    `pause`: it stays at the present step; a bad verdict still takes the traffic back. `resume`: it goes on. `abort`:
    the champion gets all the traffic again, now. `approve`, `reject`: the answer where a person is asked.

    IAM can allow one of them without the others: each has a path of its own.
    """
    asked = asked or bodies.ActBody()
    services.check_reason(asked.reason)
    acts = {
        "pause": registry.pause_rollout,
        "resume": registry.resume_rollout,
        "abort": registry.abort_rollout,
        "approve": registry.approve_rollout,
        "reject": registry.reject_rollout,
    }
    rollout = acts[act](name, reason=asked.reason)
    if act in ("approve", "reject") and rollout.approval is not None and rollout.approval.token:
        with suppress(ModelyardError):  # the answer is written down, and read at the next look
            services.signals.answer(rollout.approval.token)
    return _shown(registry, name)


def _shown(registry: Registry, name: str) -> answers.Rollout:
    try:
        rollout = registry.latest_rollout(name)
    except NotFoundError as none:
        if none.code == "no_rollout":
            none.next_step = f"POST /models/{name}/rollout with a version."
        raise
    document = verdict_document(registry.artifacts, rollout)
    return answers.Rollout.model_validate(told(rollout, registry.deployment(name), utc_now(), document))
