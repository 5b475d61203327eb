"""What a row says: its canonical form, by which it is recognised wherever it comes again.

A row's *content* is every named column with a value, in the order of the names, numbers in one spelling (``5``, ``5.0``
and ``5e0`` are one content). Duplicates are rows of one content; a frozen row is recognised by its content without the
target (`modelyard.training.freezing`).
"""

import json
import re
from collections.abc import Iterable

NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
"""A number as a training file may write it; stricter than `float`, which also takes ``1_000``, ``nan`` and ``٣``."""


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def content(row: Iterable[tuple[str, str]]) -> bytes:
    """The canonical form of a row: equal bytes for rows that say the same.

    Args:
        row: Pairs of column name and text. Columns without a name (a data frame's index) and empty cells do not count.
    """
    cells = sorted((name, _canonical(text)) for name, text in row if name and text)
    return _ENCODER.encode(cells).encode("utf-8")


def _canonical(text: str) -> str:
    if not NUMBER.fullmatch(text):
        return text
    return repr(float(text) + 0.0)  # adding zero turns -0.0 into 0.0
