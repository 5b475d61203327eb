"""What an endpoint may read and write in the artifact bucket, be it a function, a container or a local process.

The rule: one place says it. Stacks grant it to a role, ``modelyard up`` to the user that the local server is.
"""

from collections.abc import Iterable

from modelyard import async_keys
from modelyard.pointer_key import pointer_key
from modelyard.spec import Model


def read_keys(models: Iterable[Model]) -> list[str]:
    """Keys that the endpoint of these models reads: pointers, model files, requests that are answered later."""
    models = list(models)
    return [
        *(pointer_key(model.name) for model in models),
        "artifacts/sha256/*",
        *(async_keys.input_key(model.name, "*") for model in models if model.spec.kind == "async"),
    ]


def written_keys(models: Iterable[Model]) -> list[str]:
    """Keys that it writes: labels; captures, if only of versions on trial; answers that come later."""
    return [key for model in models for key in _written(model)]


def _written(model: Model) -> list[str]:
    name, kept = model.name, max(model.spec.monitoring.capture, model.spec.rollout.capture)
    keys = [f"{folder}/{name}/*" for folder in (("feedback", "captures") if kept > 0 else ("feedback",))]
    if model.spec.kind == "async":
        keys += [f"{prefix(name)}*" for prefix in (async_keys.output_prefix, async_keys.failure_prefix)]
    return keys
