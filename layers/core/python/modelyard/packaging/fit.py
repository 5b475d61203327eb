"""Last stage: does a function with its layers fit into Lambda, and if not, what would help?

AWS answers only when the stack is half deployed, so it is asked here, before anything is uploaded. Bytes are those of
the files as they are unpacked, which is what Lambda counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from modelyard.errors import BuildError
from modelyard.packaging.locks import only_for
from modelyard.packaging.manifest import LayerManifest
from modelyard.packaging.solver import Locks
from modelyard.packaging.targets import FunctionSet, function_asset, owner_of

UNZIPPED_LIMIT = 262_144_000
"""Bytes of a function and all its layers together (Lambda quota, 250 MiB)."""

LAYER_LIMIT = 5
"""Layers of one function (Lambda quota)."""

_SHOWN = 10


@dataclass(frozen=True)
class Fit:
    """What one function carries.

    Attributes:
        title: Whose it is.
        target: For which Python and platform.
        layers: All that it carries.
        function: The largest of the functions with this set; None: no code of its own yet.
    """

    title: str
    target: str
    layers: tuple[LayerManifest, ...]
    function: LayerManifest | None = None

    @property
    def unzipped_bytes(self) -> int:
        """What counts against the limit."""
        own = self.function.unzipped_bytes if self.function is not None else 0
        return own + sum(layer.unzipped_bytes for layer in self.layers)

    @property
    def excess(self) -> int:
        """Bytes over the limit; negative: how many are free."""
        return self.unzipped_bytes - UNZIPPED_LIMIT

    @property
    def heaviest(self) -> list[tuple[int, str, str]]:
        """Bytes, package and layer, the heaviest first."""
        return sorted(
            ((size, package, layer.name) for layer in self.layers for package, size in layer.packages), reverse=True
        )


def fit_of(function_set: FunctionSet, built: Mapping[str, LayerManifest]) -> Fit:
    """What a set of the plan came to; ``built`` are the layers and functions of its target."""
    functions = [built[function_asset(file)] for file in function_set.files]
    return Fit(
        title=function_set.title,
        target=function_set.target.name,
        layers=tuple(built[name] for name in function_set.layers),
        function=max(functions, key=lambda function: function.unzipped_bytes, default=None),
    )


def check_fit(fit: Fit, locks: Locks) -> None:
    """Check that a function can carry its layers.

    Raises:
        BuildError: With the heaviest packages and what to do about them.
    """
    title = f"{fit.title} ({fit.target})"
    if len(fit.layers) > LAYER_LIMIT:
        raise BuildError(
            f"{title} has {len(fit.layers)} layers ({', '.join(layer.name for layer in fit.layers)}); "
            f"Lambda allows {LAYER_LIMIT}",
            code="too_many_layers",
            next_step=f"Merge two of them: one requirements.in may hold what both need, or move code into the model's "
            f"own layer, until there are {LAYER_LIMIT}.",
        )
    if fit.excess <= 0:
        return
    heaviest = fit.heaviest[:_SHOWN]
    width = max((len(package) for _, package, _ in heaviest), default=0)
    table = [f"  {package:<{width}}  {megabytes(size):>9}  in {layer}" for size, package, layer in heaviest]
    raise BuildError(
        f"{title} takes {megabytes(fit.unzipped_bytes)} unzipped, {megabytes(fit.excess)} more than the "
        f"{megabytes(UNZIPPED_LIMIT)} ({UNZIPPED_LIMIT:,} bytes) that Lambda allows for a function and its layers. "
        "The heaviest packages:\n" + "\n".join(table),
        code="too_large",
        next_step=_advice(fit, locks),
    )


@dataclass(frozen=True)
class Drop:
    """A line of a layer's ``requirements.in``, and what its removal frees."""

    layer: str
    package: str
    others: int
    """Packages that nothing else needs and that go with it."""
    freed: int


def drops(fit: Fit, locks: Locks) -> list[Drop]:
    """What every direct requirement of the set's layers would free, the most first."""
    found: list[Drop] = []
    for layer in fit.layers:
        pins, sizes = locks.get(layer.name, ()), dict(layer.packages)
        for name in sorted({pin.name for pin in pins if pin.is_direct}):
            gone = only_for(name, pins) & sizes.keys()
            found.append(Drop(layer.name, name, len(gone - {name}), sum(sizes[package] for package in gone)))
    return sorted(found, key=lambda drop: (-drop.freed, drop.layer, drop.package))


def _advice(fit: Fit, locks: Locks) -> str:
    heaviest = max(fit.layers, key=lambda layer: layer.unzipped_bytes, default=None)
    owner = None if heaviest is None else owner_of(heaviest.name)
    if owner is not None:
        return f"Make models/{owner}/python smaller by {megabytes(fit.excess)}, then run 'modelyard build' again."
    possible = drops(fit, locks)
    enough = [drop for drop in possible if drop.freed >= fit.excess]
    if enough:
        best = min(enough, key=lambda drop: drop.freed)
        first = f"Drop {best.package} from layers/{best.layer}/requirements.in and run 'make lock': {_worth(best)}."
    elif possible:
        first = (
            f"No single package is enough; dropping {possible[0].package} from layers/{possible[0].layer}/"
            f"requirements.in comes closest: {_worth(possible[0])}."
        )
    else:
        first = "Drop a package of layers/*/requirements.in and run 'make lock'."
    return (
        f"{first} If a function needs it, split: give what needs it a function and a layer of its own, as training "
        "has. Else a container image (10 GB) holds an endpoint: endpoint.target = 'sagemaker-realtime'."
    )


def _worth(drop: Drop) -> str:
    others = {0: "", 1: ", with 1 package that only it needs"}.get(
        drop.others, f", with {drop.others} packages that only it needs"
    )
    return f"that frees {megabytes(drop.freed)}{others}"


def megabytes(size: int) -> str:
    """A size for people, in millions of bytes."""
    return f"{size / 1e6:.1f} MB"
