"""What ``endpoint.target``, ``endpoint.host`` and ``[server]`` have to keep beyond the types of their keys.

Like `modelyard.spec_rules` they read the raw document and say nothing about a value of a wrong type.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

from modelyard.instances import has_gpu
from modelyard.spec_server import BODY_MB, KINDS, SERVERLESS_CONCURRENCY, SERVERLESS_MOST, Kind, ServerSection
from modelyard.toml import Problem, value_at

if TYPE_CHECKING:
    from modelyard.spec import Model

_DEFAULTS = ServerSection()
_OF_LAMBDA = {
    "memory_mb": "[server] has instance or memory_mb",
    "architecture": "the instance decides it, and serverless is x86_64",
    "snap_start": "a container has no snapshot",
}
"""Keys of ``[endpoint]`` that only the function of a Lambda endpoint has, and what to do instead."""
_INSTANCES: tuple[Kind, ...] = ("realtime", "async")
_SERVERLESS: tuple[Kind, ...] = ("serverless",)
_ONLY: dict[str, tuple[Kind, ...]] = {
    "instance": _INSTANCES,
    "min_instances": _INSTANCES,
    "max_instances": _INSTANCES,
    "invocations_per_instance": ("realtime",),
    "backlog_per_instance": ("async",),
    "memory_mb": _SERVERLESS,
    "max_concurrency": ("serverless", "async"),
    "provisioned_concurrency": _SERVERLESS,
    "timeout_s": ("async",),
}
"""Keys of ``[server]`` that not every target has."""


def disagreements(document: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong between the keys of a document about its target."""
    target: Any = value_at(document, "endpoint", "target")
    if target is None or target == "lambda":
        if value_at(document, "endpoint", "host") is not None:
            yield "endpoint.host", "is for models on SageMaker; each Lambda endpoint is a function of its own"
        if "server" in document:
            yield "server", "is for models on SageMaker; set endpoint.target = 'sagemaker-realtime' or leave it out"
        return
    kind = next((kind for name, kind in KINDS.items() if name == target), None)
    if kind is None:
        return
    yield from _not_on_sagemaker(document, str(target))
    if kind == "async" and value_at(document, "endpoint", "host") is not None:
        yield "endpoint.host", f"is not for {target!r}: a whole endpoint has one place for its answers"
    server = value_at(document, "server")
    if not isinstance(server, dict):
        server = {}
    for key, kinds in _ONLY.items():
        if key in server and kind not in kinds:
            yield f"server.{key}", f"is for {' and '.join(f'sagemaker-{name}' for name in kinds)}, not for {target!r}"
    if kind == "serverless":
        yield from _wrong_serverless(server)
    else:
        yield from _wrong_instances(server, kind)
    if value_at(document, "endpoint", "engine") == "lean" and _asks_for_gpu(server):
        yield "endpoint.engine", "is 'lean' beside server.providers with 'cuda'; only 'standard' runs on a GPU"
    body = server.get("max_body_mb")
    if _is_whole(body) and body > BODY_MB[kind]:
        yield "server.max_body_mb", f"{body} is above what SageMaker lets in for {target!r}: {BODY_MB[kind]} MB"


def _not_on_sagemaker(document: dict[str, Any], target: str) -> Iterator[Problem]:
    if value_at(document, "model", "app") is not None:
        yield (
            "endpoint.target",
            f"is {target!r} beside model.app; an app needs its own routes, and SageMaker passes on one: 'lambda' only",
        )
    for key, instead in _OF_LAMBDA.items():
        if value_at(document, "endpoint", key) is not None:
            yield f"endpoint.{key}", f"is for target = 'lambda'; {instead}"


def _wrong_serverless(server: dict[str, Any]) -> Iterator[Problem]:
    most, warm = server.get("max_concurrency", SERVERLESS_CONCURRENCY), server.get("provisioned_concurrency")
    if _is_whole(most) and most > SERVERLESS_MOST:
        yield "server.max_concurrency", f"{most} is above what a serverless endpoint may have: {SERVERLESS_MOST}"
    if _is_whole(most) and _is_whole(warm) and warm > most:
        yield "server.provisioned_concurrency", f"{warm} is above server.max_concurrency, {most}"
    if _asks_for_gpu(server):
        yield "server.providers", "'cuda' needs a GPU, and a serverless endpoint has none; use 'sagemaker-realtime'"


def _wrong_instances(server: dict[str, Any], kind: Kind) -> Iterator[Problem]:
    least, most = server.get("min_instances"), server.get("max_instances", _DEFAULTS.max_instances)
    if kind == "realtime" and _is_whole(least) and least == 0:
        yield "server.min_instances", "0 is for sagemaker-async, whose requests wait; a realtime endpoint has 1 or more"
    if _is_whole(least) and _is_whole(most) and least > most:
        yield "server.min_instances", f"{least} is above server.max_instances, {most}"
    instance = server.get("instance", _DEFAULTS.instance)
    if isinstance(instance, str) and _asks_for_gpu(server) and not has_gpu(instance):
        why = f"and {instance!r} has none that CUDA 13 knows"
        yield "server.providers", f"'cuda' needs a GPU, {why}; set server.instance to one like 'ml.g5.xlarge'"


def _asks_for_gpu(server: dict[str, Any]) -> bool:
    providers = server.get("providers")
    return isinstance(providers, list) and "cuda" in providers


def different_hosts(models: Iterable["Model"]) -> Iterator[Problem]:
    """Models that share a server by ``endpoint.host`` and do not ask for the same one; under each model's name."""
    first: dict[str, Model] = {}
    for model in models:
        host = model.spec.endpoint.host
        if host is None:
            continue
        other = first.setdefault(host, model)
        if model.spec.endpoint.target != other.spec.endpoint.target:
            yield (
                model.name,
                f"endpoint.target: {model.spec.endpoint.target!r} differs from {other.spec.endpoint.target!r} of "
                f"models/{other.name}, which has the same host {host!r}",
            )
        elif model.spec.server != other.spec.server:
            yield model.name, f"server: differs from that of models/{other.name}, which has the same host {host!r}"


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
