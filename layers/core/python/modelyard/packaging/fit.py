"""Last stage: does a function with its layers fit into Lambda?

AWS answers only when the stack is half deployed, so it is asked here, before anything is uploaded.
"""

from collections.abc import Sequence

from modelyard.errors import BuildError
from modelyard.packaging.manifest import LayerManifest

UNZIPPED_LIMIT = 262_144_000
"""Bytes of a function and all its layers together (Lambda quota, 250 MiB)."""

LAYER_LIMIT = 5
"""Layers of one function (Lambda quota)."""

_SHOWN = 10


def check_fit(layers: Sequence[LayerManifest], function_bytes: int = 0, *, title: str = "the function") -> None:
    """Check that a function can carry these layers.

    Args:
        layers: All layers of the function.
        function_bytes: Size of the function's own code.
        title: Who needs them, for the message.

    Raises:
        BuildError: With the heaviest packages and what to do about them.
    """
    if len(layers) > LAYER_LIMIT:
        raise BuildError(
            f"{title} has {len(layers)} layers ({', '.join(layer.name for layer in layers)}); "
            f"Lambda allows {LAYER_LIMIT}",
            code="too_many_layers",
            next_step=f"Merge two of them: one requirements.in may hold what both need, or move code into the model's "
            f"own layer, until there are {LAYER_LIMIT}.",
        )
    total = function_bytes + sum(layer.unzipped_bytes for layer in layers)
    if total <= UNZIPPED_LIMIT:
        return
    heaviest = sorted(
        ((size, package, layer.name) for layer in layers for package, size in layer.packages), reverse=True
    )[:_SHOWN]
    width = max((len(package) for _, package, _ in heaviest), default=0)
    table = [f"  {package:<{width}}  {megabytes(size):>9}  in {layer}" for size, package, layer in heaviest]
    raise BuildError(
        f"{title} takes {megabytes(total)} unzipped, {megabytes(total - UNZIPPED_LIMIT)} more than the "
        f"{megabytes(UNZIPPED_LIMIT)} ({UNZIPPED_LIMIT:,} bytes) that Lambda allows for a function and its layers. "
        "The heaviest packages:\n" + "\n".join(table),
        code="too_large",
        next_step=_advice(heaviest[0][2] if heaviest else "core"),
    )


def _advice(layer: str) -> str:
    if layer.startswith("model-"):
        return f"Make models/{layer.removeprefix('model-')}/python smaller, then run 'modelyard build' again."
    return (
        f"Remove a package from layers/{layer}/requirements.in and compile the lock again, or add what no function "
        "reads to the table in modelyard/packaging/pruning.py; then run 'modelyard build' again."
    )


def megabytes(size: int) -> str:
    """A size for people, in millions of bytes."""
    return f"{size / 1e6:.1f} MB"
