"""What of ours is compiled, as this machine's compiler makes it; what takes it is skipped where there is none."""

from functools import cache
from pathlib import Path

import pytest

from modelyard.compiling.kernel import FOREST, ROWS
from modelyard.packaging.native import build_here

PROJECT = Path(__file__).parents[2]


@cache
def forest_kernel() -> str:
    """The path of the kernel for forests, which `modelyard.compiling.kernel` finds from now on."""
    return _built(FOREST)


@cache
def row_reader() -> str:
    """The path of the reader of large requests."""
    return _built(ROWS)


def _built(name: str) -> str:
    native = build_here(PROJECT)
    if native.problem:
        pytest.skip(native.problem)
    return next(str(path) for path in native.paths if path.stem == name)
