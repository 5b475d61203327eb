"""Which rows no version ever trains on.

The rule: a row's side depends on the row alone, not on the file it came in, its place there, the rows around it, the
run, or the model's choice of columns. So the same rows are held out for every version, and a champion is never compared
on rows that it was fitted to. A random split of each run's rows would break that with the second upload.

A row's *content* is every named column with a value, in the order of the names, numbers in one spelling (``5``, ``5.0``
and ``5e0`` are one content). Its side is decided without the target, so a row whose label is corrected stays where it
was. Two things move rows: another ``holdout`` share (raising it only adds rows), and an export with one more column
that is filled.
"""

import hashlib
import json
import re
from collections.abc import Iterable

NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
"""A number as a training file may write it; stricter than `float`, which also takes ``1_000``, ``nan`` and ``٣``."""


def content(row: Iterable[tuple[str, str]]) -> bytes:
    """The canonical form of a row: equal bytes for rows that say the same.

    Args:
        row: Pairs of column name and text. Columns without a name (a data frame's index) and empty cells do not count.
    """
    cells = sorted((name, _canonical(text)) for name, text in row if name and text)
    return json.dumps(cells, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def held_out(row: Iterable[tuple[str, str]], *, target: str, share: float) -> bool:
    """Whether a row belongs to the evaluation side.

    Args:
        row: Pairs of column name and text, as for `content`.
        target: The column that does not count.
        share: The share of rows to hold out; between 0 and 1.
    """
    digest = hashlib.sha256(content((name, text) for name, text in row if name != target)).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _canonical(text: str) -> str:
    if not NUMBER.fullmatch(text):
        return text
    return repr(float(text) + 0.0)  # adding zero turns -0.0 into 0.0
