"""How much the steps say: a workflow's state holds 256 KiB, the registry 1,000 characters of reason.

The rule: whatever is said about data is cut here before it leaves a step. Step Functions ends a run whose state is too
large with an error that no Catch sees, so the run would end without a record. What is cut is cut visibly; the whole is
in the working files of the run and in its report.
"""

from collections.abc import Iterable

LONGEST_REASON = 900
"""Characters of a reason; the ledger takes 1,000 for a promotion."""
LONGEST_ERROR = 2_000
"""Characters of an error's message; Step Functions cuts a cause at 32 KiB, in the middle of its JSON."""
LONGEST_LINE = 300
MOST_LINES = 20
LONGEST_NAME = 80
LISTED_BYTES = 128 * 1024
"""JSON of the training files on a version's lineage; the registry takes 256 KiB for a whole manifest."""
MOST_SCORES = 5


def short(text: str, limit: int = LONGEST_REASON) -> str:
    r"""``text`` on one line, valid Unicode, at most ``limit`` characters; an ellipsis says that it was cut.

    Example:
        >>> short("a finding\nand another", 13)
        'a finding; a…'
    """
    line = "; ".join(part.strip() for part in text.splitlines() if part.strip())
    line = line.encode("utf-8", "replace").decode("utf-8")  # an error of another program may quote half a character
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def listed(lines: Iterable[str]) -> list[str]:
    """The first lines, each short, and how many more there are."""
    found = list(lines)
    shown = [short(line, LONGEST_LINE) for line in found[:MOST_LINES]]
    return [*shown, f"and {len(found) - MOST_LINES:,} more"] if len(found) > MOST_LINES else shown


def file_name(key: str) -> str:
    """What a file is called in findings: the last part of its key."""
    return short(key.rstrip("/").rsplit("/", 1)[-1], LONGEST_NAME)
