"""What a build came to, for people: one line for each function, and the whole table within 80 columns."""

from collections.abc import Iterable, Sequence

from modelyard.packaging.fit import LAYER_LIMIT, UNZIPPED_LIMIT, Fit, drops, megabytes
from modelyard.packaging.manifest import LayerManifest
from modelyard.packaging.solver import Locks

_SHOWN = 8
_LONGEST = 28
"""Characters of a name in a table: two of them, bytes and share fit into 80 columns."""


def summary(fits: Iterable[Fit]) -> list[str]:
    """One line for each set of layers: its size against Lambda's limit."""
    rows = [
        (_cut(fit.title), fit.target, megabytes(fit.unzipped_bytes), f"{fit.unzipped_bytes / UNZIPPED_LIMIT:4.0%}")
        for fit in dict.fromkeys(fits)
    ]
    return [f"{line} of {megabytes(UNZIPPED_LIMIT)}" for line in _aligned(rows, right=(2, 3))]


def report(fits: Sequence[Fit], locks: Locks) -> list[str]:
    """Every function, its heaviest packages, what lies in each layer and what was left out of it."""
    lines: list[str] = []
    fits = list(dict.fromkeys(fits))
    for fit in fits:
        lines += [*_function(fit, locks), ""]
    layers = {(layer.target, layer.name): layer for fit in fits for layer in fit.layers}
    for _, layer in sorted(layers.items()):
        lines += [*_layer(layer), ""]
    return lines[:-1]


def _function(fit: Fit, locks: Locks) -> list[str]:
    verdict = f"fits, {megabytes(-fit.excess)} free" if fit.excess <= 0 else f"{megabytes(fit.excess)} too many"
    lines = [
        f"{fit.title} ({fit.target})",
        f"  {fit.unzipped_bytes:,} of {UNZIPPED_LIMIT:,} bytes, {verdict}; {len(fit.layers)} of {LAYER_LIMIT} layers:",
        f"  {', '.join(layer.name for layer in fit.layers)}",
    ]
    rows = [
        (f"  {_cut(package)}", _cut(layer), f"{size:,}", f"{size / fit.unzipped_bytes:.0%}")
        for size, package, layer in fit.heaviest
    ]
    own = fit.function
    if own is not None:
        rows.append((f"  {own.name}", "", f"{own.unzipped_bytes:,}", f"{own.unzipped_bytes / fit.unzipped_bytes:.0%}"))
    lines += _aligned(_shortened(rows), right=(2, 3))
    largest = next(iter(drops(fit, locks)), None)
    if largest is not None:
        lines.append(f"  Largest requirement: {largest.package} with what only it needs, {megabytes(largest.freed)}")
    return lines


def _shortened(rows: Sequence[tuple[str, ...]]) -> Sequence[tuple[str, ...]]:
    """The heaviest, and the function's own code at the end."""
    return rows if len(rows) <= _SHOWN + 1 else [*rows[:_SHOWN], rows[-1]]


def _layer(layer: LayerManifest) -> list[str]:
    bytecode = f"bytecode of {layer.bytecode}" if layer.bytecode else "no bytecode"
    lines = [
        f"layer {layer.name} ({layer.target})",
        f"  {layer.unzipped_bytes:,} bytes in {layer.files:,} files, zipped {layer.zip_bytes:,}, {bytecode}",
    ]
    if layer.pruned:
        lines.append(f"  Left out of its wheels, {megabytes(sum(size for _, size in layer.pruned))}:")
        lines += _aligned([(f"    {kind}", f"{size:,}") for kind, size in layer.pruned], right=(1,))
    if layer.left_out:
        lines.append("  Left to other layers of the same functions:")
        lines += _aligned([(f"    {name}", f"in {other}") for name, other in layer.left_out], right=())
    return lines


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _aligned(rows: Sequence[Sequence[str]], *, right: Sequence[int]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:>{width}}" if number in right else f"{cell:<{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
