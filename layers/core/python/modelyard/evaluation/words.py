"""How the gate writes numbers and quotes values in its sentences."""

from modelyard.names import legible

LONGEST = 60
"""Characters of a value of the data in a sentence or in a list; free text may be a novel."""


def number(value: float | None) -> str:
    """Four significant digits."""
    return "not a number" if value is None else f"{value + 0.0:.4g}"


def quoted(value: str) -> str:
    """A value of the data on one line, cut, without marks that garble a line."""
    line = " ".join(legible(value.encode("utf-8", "replace").decode("utf-8")).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
