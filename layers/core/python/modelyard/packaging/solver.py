"""Which package lies in which layer, decided before anything is installed.

Layers are shared between functions, and what lies in two layers of one function counts twice against Lambda's limit.
So a layer leaves out what another layer has at the same version, where every function that carries the one carries the
other as well. Two layers of one function that pin a package to different versions would be laid over each other file by
file, so that is refused. The rule reads locks only: equal locks, equal layers.
"""

from collections.abc import Iterable, Mapping, Sequence

from modelyard.errors import BuildError
from modelyard.packaging.locks import Pin, versions

Locks = Mapping[str, Sequence[Pin]]
"""The locks of a project's layers, by layer."""


def left_out(layer: str, locks: Locks, sets: Iterable[Sequence[str]]) -> dict[str, str]:
    """What ``layer`` leaves to other layers: the package, and the layer that brings it.

    Args:
        layer: A layer with a lock.
        locks: The locks of all layers that have one.
        sets: What every kind of function carries.
    """
    carried = [set(names) for names in sets if layer in names]
    own = versions(locks[layer])
    found: dict[str, str] = {}
    for other in sorted(set.intersection(*carried) - {layer}) if carried else ():
        if other not in locks:
            continue
        always_together = all(layer in names for names in sets if other in names)
        if always_together and layer < other:
            continue  # each could leave it to the other: the first by name keeps it
        theirs = versions(locks[other])
        for name in own:
            if own[name] == theirs.get(name):
                found.setdefault(name, other)
    return found


def check_versions(locks: Locks, sets: Iterable[Sequence[str]]) -> None:
    """Refuse two versions of one package in one function.

    Raises:
        BuildError: With the package, both layers and both versions.
    """
    for names in sets:
        pinned: dict[str, tuple[str, frozenset[str]]] = {}
        for layer in names:
            for name, wanted in versions(locks.get(layer, ())).items():
                before, others = pinned.setdefault(name, (layer, wanted))
                if others != wanted:
                    raise BuildError(
                        f"{name} is pinned to different versions in layers that one function carries: "
                        f"{', '.join(sorted(others))} in {before!r}, {', '.join(sorted(wanted))} in {layer!r}",
                        code="two_versions",
                        next_step="Compile both locks again with 'make lock': requirements/dev.txt gives both the "
                        "same versions.",
                    )
