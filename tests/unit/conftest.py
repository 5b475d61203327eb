"""What several modules of this folder stand on. Imported where it is made: most tests need none of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

import modelyard  # noqa: F401 - before onnxruntime, which it keeps from calling anybody outside

if TYPE_CHECKING:
    from tests.fakes.following import Scene
    from tests.fakes.registries import Yard


@pytest.fixture
def scene() -> "Iterator[Scene]":
    from tests.fakes.following import Scene

    made = Scene()
    yield made
    made.settle()  # a check under way must not write its line into the next test


@pytest.fixture
def yard() -> "Yard":
    from tests.fakes.registries import Yard

    return Yard()
