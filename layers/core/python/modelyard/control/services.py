"""What the routes work with, and how a route gets it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from fastapi import Depends, Path, Query, Request
from pydantic import BeforeValidator

from modelyard.control import bodies, queries
from modelyard.control.call import call_of
from modelyard.control.uploads import Admit, UploadSigner
from modelyard.errors import CredentialsError, RequestError, UsageError
from modelyard.names import NAME_PATTERN, check_name
from modelyard.registry import Registry, Rollout
from modelyard.registry.reading import HIGHEST_VERSION


class RolloutSignals(Protocol):
    """How the control plane reaches a model's rollout workflow."""

    def begin(self, rollout: Rollout) -> None:
        """Have an execution begin that was claimed."""
        ...

    def answer(self, token: str) -> None:
        """Let the execution that waits with this token go on; one that waits no more has gone on."""
        ...


class NoSignals:
    """Where there is no bus."""

    def begin(self, rollout: Rollout) -> None:
        """Refuse.

        Raises:
            UsageError: With code ``no_rollouts``.
        """
        raise UsageError(
            f"this control plane can begin no rollout of {rollout.model!r}: it was made without an event bus",
            code="no_rollouts",
            next_step="Deploy the Api stack again; it sets MODELYARD_EVENT_BUS.",
        )

    def answer(self, token: str) -> None:
        """Do nothing: the workflow reads the answer at its next look."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the app was made with.

    Attributes:
        registry_for: The registry as this IAM ARN acts on it.
        uploads: Signs uploads.
        admit: Refuses bytes that are not a model which Modelyard would run.
        require_reason: Whether a change of what is live must say why.
        signals: Reach rollout workflows.
    """

    registry_for: Callable[[str], Registry]
    uploads: UploadSigner
    admit: Admit
    require_reason: bool
    signals: RolloutSignals = field(default_factory=NoSignals)

    def check_reason(self, reason: str) -> None:
        """Return when ``reason`` is enough here.

        Raises:
            UsageError: With code ``reason_required``.
        """
        if self.require_reason and not reason:
            raise UsageError(
                "this environment wants a reason for every change of what is live, and there is none",
                code="reason_required",
                field="reason",
                next_step="Send 'reason' with one sentence that people will understand in a year.",
            )


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _registry(request: Request) -> Registry:
    caller = call_of(request.scope).caller
    if caller is None:  # the frame lets nobody through without; this keeps it true whatever wraps the app
        raise CredentialsError("nobody is known to be calling", code="unknown_caller")
    services: Services = request.app.state.services
    return services.registry_for(caller)


async def _model_name(
    name: Annotated[str, Path(description=f"A model's name: `{NAME_PATTERN.pattern}`.", examples=["seattle_weather"])],
) -> str:
    return check_name(name)


async def _no_query(_query: Annotated[queries.Query, Query()]) -> None:
    """Refuse every query parameter: one that is ignored, like ``at``, would give a wrong answer."""


async def _each_once(request: Request) -> None:
    """Refuse a query parameter that is given twice where one counts: it is not known which was meant."""
    counts = Counter(key for key, _ in request.query_params.multi_items() if key not in queries.REPEATED)
    for key, times in counts.items():
        if times > 1:
            field = ascii(key)[1:-1][:60]
            raise RequestError(f"{field} is given {times} times; it is taken once", field=field)


NO_QUERY = [Depends(_no_query)]
EACH_ONCE = [Depends(_each_once)]
Provided = Annotated[Services, Depends(_services)]
AsCaller = Annotated[Registry, Depends(_registry)]
ModelName = Annotated[str, Depends(_model_name)]
FileDigest = Annotated[bodies.Sha256, Path()]
VersionNumber = Annotated[
    int,
    BeforeValidator(queries.whole_number),
    Path(ge=1, le=HIGHEST_VERSION, description="A version's number.", examples=[2]),
]
