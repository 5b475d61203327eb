"""First stage: which layers are needed, and for which Python on which platform.

A compiled wheel serves one minor version of Python on one platform, so every pair that an environment asks for is a
target of its own. Environments that agree share it. Only what some function uses is planned: a project without a
trained model never downloads scikit-learn.
"""

import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from modelyard.environments import Environment
from modelyard.spec import Engine, Model

Architecture = Literal["arm64", "x86_64"]
EndpointKind = Literal["predict", "app", "invoke"]
FunctionKind = Literal[EndpointKind, "train", "api", "workflow"]

SHARED_ARCHITECTURE: Architecture = "arm64"
"""Of every cloud function but endpoints: Graviton is a fifth cheaper and nothing of theirs needs x86."""

KINDS: dict[str, FunctionKind] = {
    "predict": "predict",
    "app": "app",
    "invoke": "invoke",
    "retraining_train": "train",
    "api": "api",
}
"""The kind of each file in ``functions/``; ``workflow`` of every other."""

LAYERS: dict[FunctionKind, tuple[str, ...]] = {
    "train": ("core", "training"),
    "api": ("core", "api", "serving"),
    "workflow": ("core", "serving"),
    "invoke": ("core", "lean"),
}
"""What each kind of function carries, but for endpoints and models with training code of their own."""

NOTEBOOK_LAYERS = ("core", "notebook", "training")
"""What the training of a model with a notebook carries; besides, as with any training code, that code's layer."""

PREDICT_LAYERS: dict[Engine, tuple[str, ...]] = {"lean": ("core", "lean"), "standard": ("core", "serving")}
"""What an endpoint carries for each engine; besides, the model's own layer where it has code."""

APP_LAYERS: dict[Engine, tuple[str, ...]] = {"lean": ("core", "api", "lean"), "standard": ("core", "api", "serving")}
"""The same for an endpoint with an app of the model's own, which needs what the control plane needs."""

SETS: tuple[tuple[str, ...], ...] = tuple(
    dict.fromkeys((*LAYERS.values(), NOTEBOOK_LAYERS, *PREDICT_LAYERS.values(), *APP_LAYERS.values()))
)
"""Every combination of layers that some function carries, a model's own apart."""

_WHEEL_PLATFORMS: dict[Architecture, str] = {
    "arm64": "aarch64-manylinux_2_28",
    "x86_64": "x86_64-manylinux_2_28",
}
"""uv's names. Lambda's Python 3.12 and 3.13 run on Amazon Linux 2023 (glibc 2.34), so manylinux_2_28 wheels load."""


@dataclass(frozen=True, order=True)
class BuildTarget:
    """A minor version of Python on a platform; ``local`` is this machine's platform."""

    python: str
    platform: Architecture | Literal["local"]

    @property
    def name(self) -> str:
        """The folder under ``build/layers``, like ``python3.13-arm64``."""
        return f"python{self.python}-{self.platform}"

    @property
    def is_local(self) -> bool:
        """Whether the layers run under the local AWS, as processes of this machine."""
        return self.platform == "local"

    @property
    def wheel_platform(self) -> str | None:
        """The platform as uv calls it; None: that of the interpreter that runs this."""
        return None if self.platform == "local" else _WHEEL_PLATFORMS[self.platform]

    @property
    def identity(self) -> str:
        """What a layer depends on: the name, and for ``local`` which platform this machine is."""
        return f"{self.name}/{sys.platform}/{platform.machine()}" if self.is_local else self.name


def target_of(environment: Environment, architecture: Architecture = SHARED_ARCHITECTURE) -> BuildTarget:
    """The target of a function of that architecture; the local AWS runs every function on the host's own."""
    return BuildTarget(environment.python_version, "local" if environment.is_local else architecture)


def model_layer(model: str) -> str:
    """The layer with a model's own code. Model names have no ``-``, so it collides with no other layer."""
    return f"model-{model}"


def training_layer(model: str) -> str:
    """The layer with what trains a model in place of the trainer; its endpoint does not carry it."""
    return f"training-{model}"


def owner_of(layer: str) -> str | None:
    """The model that wrote a layer itself; None for the layers of all models."""
    kind, dash, model = layer.partition("-")
    return model if dash and kind in ("model", "training") else None


def function_asset(file: str) -> str:
    """What the code of ``functions/<file>.py`` is built as; no layer is called so."""
    return f"function-{file}"


def endpoint_of(model: Model) -> EndpointKind:
    """Which function a model's endpoint is, or the way in to it; also the name of its file in ``functions/``."""
    if model.spec.kind is not None:
        return "invoke"
    return "predict" if model.spec.model.app is None else "app"


def layers_of(function: FunctionKind, model: Model | None = None) -> tuple[str, ...]:
    """Names of the layers of a function. Their order means nothing: CDK sorts them, and no two hold the same module."""
    if function == "train" and model is not None and model.training_entry is not None:
        return (*(LAYERS["train"] if model.notebook is None else NOTEBOOK_LAYERS), training_layer(model.name))
    if function != "predict" and function != "app":
        return LAYERS[function]
    if model is None:
        raise ValueError("what an endpoint carries depends on its model")
    own = (model_layer(model.name),) if model.code_folder is not None else ()
    return (PREDICT_LAYERS if function == "predict" else APP_LAYERS)[model.spec.engine] + own


def training_libraries(model: Model | None = None) -> tuple[str, ...]:
    """The third-party layers of what trains a model: with its code they decide what comes of equal rows."""
    return tuple(layer for layer in layers_of("train", model) if layer != "core" and owner_of(layer) is None)


def architecture_of(function: FunctionKind, model: Model | None = None) -> Architecture:
    """Where a function runs in the cloud: an endpoint as its model says, every other on one architecture."""
    if function in ("predict", "app") and model is not None:
        return model.spec.endpoint.architecture
    return SHARED_ARCHITECTURE


@dataclass(frozen=True)
class FunctionSet:
    """The layers that one function, or several of one kind, have to carry together, on one target."""

    title: str
    target: BuildTarget
    layers: tuple[str, ...]
    files: tuple[str, ...] = ()
    """Names of the functions, without ``.py``."""
    modules: tuple[str, ...] = ()
    """What they import late, by their settings: the engine, a model's own package, its app (``module:attribute``), the
    function that trains it (``from module import name``)."""


def function_sets(environment: Environment, models: Iterable[Model], files: Iterable[str] = ()) -> list[FunctionSet]:
    """Every distinct set of layers that an environment's functions carry.

    Args:
        environment: Where they run.
        models: The project's models.
        files: The files in ``functions/``, without ``.py``.
    """
    files = sorted(files)
    kinds: list[tuple[FunctionKind, Model | None]] = [("api", None), ("workflow", None)]
    for model in models:
        kinds.append((endpoint_of(model), model))
        if model.training_entry is not None:
            kinds.append(("train", model))
        elif model.spec.training is not None and ("train", None) not in kinds:
            kinds.append(("train", None))
    return [
        FunctionSet(
            title=function if model is None else f"{function} of {model.name}",
            target=target_of(environment, architecture_of(function, model)),
            layers=layers_of(function, model),
            files=tuple(file for file in files if KINDS.get(file, "workflow") == function),
            modules=late_imports(function, model) if model is not None else (),
        )
        for function, model in kinds
    ]


def late_imports(function: FunctionKind, model: Model) -> tuple[str, ...]:
    """What a function of one model imports once it knows its settings."""
    if function == "train":
        return _training_imports(model)
    if function == "invoke":
        return ("modelyard.way_in.entrance", *(("modelyard.way_in.later",) if model.spec.kind == "async" else ()))
    code, app = model.spec.model.code, model.spec.model.app
    return (
        f"modelyard.predictor.{model.spec.engine}",
        *(() if code is None else ("modelyard.predictor.code", code)),
        *(() if app is None else ("modelyard.serving.asgi.endpoint", app)),
    )


def _training_imports(model: Model) -> tuple[str, ...]:
    if model.notebook is not None:
        return ("modelyard.training.notebook", "papermill.cli", "ipykernel.kernelapp", "ipykernel.zmqshell")
    module, _, name = (model.training_entry or "").partition(":")
    return (f"from {module} import {name}",)


def plan(sets: Iterable[FunctionSet]) -> dict[BuildTarget, tuple[str, ...]]:
    """Layers and functions to build per target, each once, sorted so that equal projects give equal plans."""
    wanted: dict[BuildTarget, set[str]] = {}
    for function_set in sets:
        parts = wanted.setdefault(function_set.target, set())
        parts.update(function_set.layers, map(function_asset, function_set.files))
    return {target: tuple(sorted(wanted[target])) for target in sorted(wanted)}
