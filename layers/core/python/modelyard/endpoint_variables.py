"""What an endpoint is told by its environment variables, from its spec: a function, a container, a local process alike.

The rule: one place says it, and `modelyard.serving.settings`, `modelyard.serving.trial_settings` and
`modelyard.server` read it. What only a deployment knows (the bucket) is added where it is known. Variables that would
say what the reader takes anyway are left out.
"""

import json
from collections.abc import Sequence

from modelyard.errors import SpecError
from modelyard.spec import EndpointSection, Model, ModelSpec
from modelyard.spec_rollout import RolloutSection
from modelyard.spec_server import Kind, ServerSection

LONGEST_VALUE = 1024
"""Bytes of a variable's value that SageMaker takes
(https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ContainerDefinition.html)."""

_DEFAULTS = ServerSection()


def model_variables(model: Model) -> dict[str, str]:
    """What is said about one model, whatever answers for it."""
    spec = model.spec
    code, capture = spec.model.code, spec.monitoring.capture
    return {
        "MODELYARD_MODEL": model.name,
        "MODELYARD_REFRESH_S": str(spec.endpoint.refresh_s),
        "MODELYARD_ENGINE": spec.engine,
        **({} if code is None else {"MODELYARD_CODE": code}),
        **({} if capture == 0 else {"MODELYARD_CAPTURE": str(capture)}),
        **_trial_variables(spec),
    }


def server_variables(models: Sequence[Model], kind: Kind) -> dict[str, str]:
    """What is said about the server that answers for one model, or for several with the same ``endpoint.host``.

    Raises:
        SpecError: When a value is longer than SageMaker takes.
    """
    (first, *others) = models
    server = first.spec.server
    about = (
        {f"MODELYARD_MODEL_{number}": _packed(model) for number, model in enumerate(models, start=1)}
        if others or first.spec.endpoint.host is not None
        else model_variables(first)
    )
    said = {
        **about,
        **{name: value for name, value in _settings(server, kind).items() if value != _settings(_DEFAULTS)[name]},
    }
    for name, value in said.items():
        if len(value.encode()) > LONGEST_VALUE:
            raise SpecError(
                f"{name} of {', '.join(model.name for model in models)} would have {len(value.encode())} bytes; "
                f"SageMaker takes {LONGEST_VALUE}",
                next_step="Shorten monitoring.redact, the one list among them.",
            )
    return said


def _settings(server: ServerSection, kind: Kind = "realtime") -> dict[str, str]:
    return {
        "MODELYARD_SERVER_WORKERS": str(server.workers),
        "MODELYARD_THREADS": str(server.threads),
        "MODELYARD_MAX_BATCH": str(server.max_batch),
        "MODELYARD_MAX_WAIT_MS": f"{server.max_wait_ms:g}",
        "MODELYARD_QUEUE": str(server.queue),
        "MODELYARD_MEMORY_MB": str(server.models_mb),
        "MODELYARD_MAX_BODY_MB": str(server.body_mb(kind)),
        "MODELYARD_PROVIDERS": ",".join(server.providers),
    }


def _packed(model: Model) -> str:
    return json.dumps(model_variables(model), separators=(",", ":"))


def _trial_variables(spec: ModelSpec) -> dict[str, str]:
    """What ``modelyard.serving.trial_settings`` reads, as far as it differs from what that takes without being told."""
    rollout, defaults = spec.rollout, RolloutSection()
    told = {
        "MODELYARD_ROUTING": (rollout.routing, defaults.routing),
        "MODELYARD_TRIAL_CAPTURE": (rollout.capture, defaults.capture),
        "MODELYARD_SHADOW_BUDGET_MS": (rollout.shadow_budget_ms, defaults.shadow_budget_ms),
        "MODELYARD_SHADOW_BUDGET_MB": (rollout.shadow_budget_mb, defaults.shadow_budget_mb),
        "MODELYARD_TIMEOUT_S": (spec.timeout_s, EndpointSection().timeout_s),
    }
    variables = {name: str(value) for name, (value, default) in told.items() if value != default}
    redact = spec.monitoring.redact
    return {**variables, **({"MODELYARD_REDACT": json.dumps(redact)} if redact else {})}
