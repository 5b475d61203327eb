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
from modelyard.spec import Model

Architecture = Literal["arm64", "x86_64"]
FunctionKind = Literal["predict", "train", "api", "workflow"]

SHARED_ARCHITECTURE: Architecture = "arm64"
"""Of every cloud function but ``predict``: Graviton is a fifth cheaper and nothing of theirs needs x86."""

LAYERS: dict[FunctionKind, tuple[str, ...]] = {
    "predict": ("core", "serving"),
    "train": ("core", "training"),
    "api": ("core", "api", "serving"),
    "workflow": ("core", "serving"),
}
"""What each kind of function carries; ``predict`` also the model's own layer. ``workflow``: every other function."""

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


def layers_of(function: FunctionKind, model: Model | None = None) -> tuple[str, ...]:
    """Names of the layers of a function, in the order in which Lambda lays them over each other."""
    own = (model_layer(model.name),) if function == "predict" and model is not None and model.code_folder else ()
    return LAYERS[function] + own


def architecture_of(function: FunctionKind, model: Model | None = None) -> Architecture:
    """Where a function runs in the cloud: ``predict`` as its model says, every other on one architecture."""
    if function == "predict" and model is not None:
        return model.spec.endpoint.architecture
    return SHARED_ARCHITECTURE


@dataclass(frozen=True)
class FunctionSet:
    """The layers that one function has to carry together, on one target."""

    title: str
    target: BuildTarget
    layers: tuple[str, ...]


def function_sets(environment: Environment, models: Iterable[Model]) -> list[FunctionSet]:
    """Every distinct set of layers that an environment's functions carry."""
    kinds: list[tuple[FunctionKind, Model | None]] = [("api", None), ("workflow", None)]
    for model in models:
        kinds.append(("predict", model))
        if model.spec.training is not None and ("train", None) not in kinds:
            kinds.append(("train", None))
    return [
        FunctionSet(
            title=function if model is None else f"{function} of {model.name}",
            target=target_of(environment, architecture_of(function, model)),
            layers=layers_of(function, model),
        )
        for function, model in kinds
    ]


def plan(sets: Iterable[FunctionSet]) -> dict[BuildTarget, tuple[str, ...]]:
    """Layers to build per target, each once, sorted so that equal projects give equal plans."""
    wanted: dict[BuildTarget, set[str]] = {}
    for function_set in sets:
        wanted.setdefault(function_set.target, set()).update(function_set.layers)
    return {target: tuple(sorted(wanted[target])) for target in sorted(wanted)}
