"""Drafts of models as ``modelyard init`` makes them of a CSV file."""

from typing import Any

import pytest

from modelyard.errors import UsageError
from modelyard.scaffold import Draft, from_csv
from tests.fakes.training_data import csv_file

TABLE = csv_file(["size", "grade"], [[number, "good" if number % 3 else "bad"] for number in range(0, 60, 2)])


def drafted(content: bytes, **options: Any) -> Draft:
    """The draft of a model to be trained on a CSV file."""
    return from_csv(content, source="file.csv", name="drafted", **options)


def refused(content: bytes, **options: Any) -> UsageError:
    """Why there is no draft of it."""
    with pytest.raises(UsageError) as caught:
        drafted(content, **options)
    assert caught.value.next_step
    return caught.value


def kinds(draft: Draft) -> dict[str, str | None]:
    """What each column is used as; ``None``: it is left out."""
    assert draft.training is not None
    return {column.name: column.kind for column in draft.training.columns}
