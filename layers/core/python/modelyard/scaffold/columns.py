"""What a column of a CSV is to a model, from its texts alone.

The rule: a column is used only where it can mean nothing else. An id, free text, a constant or a badly written number
would train a model that looks good and is not, so each is left out with the reason, and a person can put it back.
"""

import re
from collections import Counter

from modelyard.scaffold.draft import ColumnDraft
from modelyard.training.dates import SHAPE
from modelyard.training.plan import LABEL, PREDICTION, PROBABILITIES, FeatureKind
from modelyard.training.rows import NUMBER
from modelyard.training.table import MAX_CATEGORIES, MISSING_NUMBERS

MOST_CATEGORIES = 200
"""Each category becomes a column of the model; more than this is a decision for a person, up to `MAX_CATEGORIES`."""
MOSTLY = 0.8
"""Share of values from which on the others look like mistakes."""
FEW = 12
"""Different values that are read as a code, like 1, 2, 3+, whatever they are made of."""
LONG_TEXT = 40
"""Characters, on average, from which on text is sentences."""

_ID_NAME = re.compile(r"(?:^|[_\s.-])(?:id|uuid|guid|index|idx|row_?(?:number|no|num)?)$|[a-z](?:Id|ID)$|^(?:Id|ID)$")
_DATE = re.compile(SHAPE)
_DATE_AND_TIME = re.compile(SHAPE + r"[T ][0-9]{2}:.*")
_OTHER_DATE = re.compile(r"[0-9]{1,4}[/.][0-9]{1,2}[/.][0-9]{1,4}(?:[ T].*)?")
_OTHER_NUMBER = re.compile(r"[-+]?[$€£¥]?\s?[0-9][0-9.,' ]*\s?(?:%|[$€£¥])?")


def describe(name: str, texts: list[str], target: list[str]) -> ColumnDraft:
    """What one column is.

    Args:
        name: As in the header.
        texts: Its values, without blanks around them.
        target: The values of the column to predict, row by row.
    """
    filled = Counter(text for text in texts if text)
    problem = _unusable(name, texts, target, filled)
    if problem is not None:
        return ColumnDraft(name, None, problem)
    # A number may be missing as NA; for text and dates only an empty cell is missing, as for the trainer.
    valued = Counter({text: count for text, count in filled.items() if text.lower() not in MISSING_NUMBERS})
    numbers = {text: count for text, count in valued.items() if NUMBER.fullmatch(text)}
    if len(numbers) == len(valued):
        draft, present = _number(name, numbers), sum(numbers.values())
    elif all(_DATE.fullmatch(text) for text in filled):
        draft, present = ColumnDraft(name, "date", f"{min(filled)} to {max(filled)}"), filled.total()
    else:
        share = sum(numbers.values()) / valued.total()
        draft, present = _badly_written(name, filled, share) or _text(name, filled), filled.total()
    if draft.kind is None or present == len(texts):
        return draft
    return ColumnDraft(name, draft.kind, f"{draft.note}; {len(texts) - present} of {len(texts)} missing")


def _unusable(name: str, texts: list[str], target: list[str], filled: Counter[str]) -> str | None:
    """Why no kind of column fits."""
    if not name:
        return "has no name"
    if not name.isprintable():
        return "its name holds control characters"
    if name in (LABEL, PROBABILITIES, PREDICTION):
        return "is the name of a model's output; rename the column to use it"
    if all(text.lower() in MISSING_NUMBERS for text in filled):
        return f"is empty in all {len(texts)} rows"
    if len(filled) == 1:
        return f"is {shown(next(iter(filled)))} in every row that has a value"
    if _same(texts, target):
        return "equals the target: it is the answer"
    return None


def _number(name: str, numbers: dict[str, int]) -> ColumnDraft:
    values = {float(text) for text in numbers}
    rows = sum(numbers.values())
    low, high = min(values), max(values)
    whole = all(value.is_integer() for value in values)
    if low == high:
        return ColumnDraft(name, None, f"is {low:g} in every row that has a value")
    if whole and len(values) == rows > FEW and high - low == rows - 1:
        return ColumnDraft(name, None, f"counts the rows, from {low:.0f} to {high:.0f}", "number")
    if whole and _ID_NAME.search(name):
        return ColumnDraft(name, None, "is an id by its name; its size means nothing", "category")
    return ColumnDraft(name, "number", f"{low:g} to {high:g}")


def _badly_written(name: str, filled: Counter[str], share_of_numbers: float) -> ColumnDraft | None:
    """Dates and numbers in another spelling, and those among which something else stands."""

    def mostly(form: re.Pattern[str]) -> bool:
        return sum(count for text, count in filled.items() if form.fullmatch(text)) >= MOSTLY * filled.total()

    def first_without(form: re.Pattern[str]) -> str:
        return shown(next(text for text in filled if not form.fullmatch(text)))

    if mostly(_DATE_AND_TIME):
        odd = shown(next(iter(filled)))
        return ColumnDraft(name, None, f"holds dates with a time, like {odd}; write them like 2012-01-31")
    if mostly(_OTHER_DATE):
        odd = shown(next(iter(filled)))
        return ColumnDraft(name, None, f"holds dates like {odd}; write them like 2012-01-31")
    if mostly(_DATE):
        odd = first_without(_DATE)
        return ColumnDraft(name, None, f"holds dates and other text, like {odd}; empty those cells to use it")
    if len(filled) <= FEW:
        return None
    odd = first_without(NUMBER)
    if share_of_numbers >= MOSTLY:
        return ColumnDraft(name, None, f"holds numbers and other text, like {odd}; empty those cells to use it")
    if mostly(_OTHER_NUMBER):
        return ColumnDraft(name, None, f"holds numbers written like {odd}; write them like 1234.5")
    return None


def _text(name: str, filled: Counter[str]) -> ColumnDraft:
    values, different = filled.total(), len(filled)
    length = sum(len(text) * count for text, count in filled.items()) / values
    if different > values // 2 or (length > LONG_TEXT and different > FEW):
        what = "free text" if length > LONG_TEXT or any(" " in text for text in filled) else "an id"
        return ColumnDraft(name, None, f"looks like {what}: {different} different values in {values} rows", "category")
    if different > MOST_CATEGORIES:
        instead: FeatureKind | None = None if different > MAX_CATEGORIES else "category"
        return ColumnDraft(name, None, f"has {different} different values; each would be a column", instead)
    if _ID_NAME.search(name) and different > FEW:
        return ColumnDraft(name, None, f"is an id by its name, with {different} different values", "category")
    listed = ", ".join(shown(text) for text, _ in filled.most_common(3))
    return ColumnDraft(name, "category", f"{different} values: {listed}{', …' if different > 3 else ''}")


def _same(texts: list[str], target: list[str]) -> bool:
    """Whether two columns say the same, whatever the spelling of their numbers."""
    return all(
        text == other or (NUMBER.fullmatch(text) and NUMBER.fullmatch(other) and float(text) == float(other))
        for text, other in zip(texts, target, strict=True)
    )


def shown(text: str) -> str:
    """A value for a message, short, in ASCII where it could garble it."""
    quoted = repr(text) if text.isprintable() else ascii(text)
    return quoted if len(quoted) <= LONG_TEXT else f"{quoted[: LONG_TEXT - 4]}...'"
