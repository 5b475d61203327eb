"""The kernel for forests as this machine's compiler makes it; what takes it is skipped where there is none."""

from functools import cache
from pathlib import Path

import pytest

from modelyard.packaging.native import build_here

PROJECT = Path(__file__).parents[2]


@cache
def forest_kernel() -> str:
    """The path of the library, which `modelyard.compiling.kernel` finds from now on."""
    kernel = build_here(PROJECT)
    if kernel.path is None:
        pytest.skip(kernel.problem)
    return str(kernel.path)
