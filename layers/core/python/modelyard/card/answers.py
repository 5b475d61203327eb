"""What a version answers and from what, in words: from its signature and, where there is one, its contract."""

from collections.abc import Mapping
from typing import Any

from modelyard.card.blocks import Block, Paragraph, Table
from modelyard.card.words import NOT_RECORDED, Text, code, count, figure, listing, quiet, say, strong
from modelyard.version import Dtype, Manifest, Signature, TensorSpec

MOST_INPUTS = 60
MOST_NAMES = 20
"""Classes or categories in a sentence."""

_ONE: dict[Dtype, str] = {"string": "text", "bool": "yes or no (true, false)"}
_MANY: dict[Dtype, str] = {"string": "texts", "bool": "yes or no (true, false)"}


def blocks(manifest: Manifest) -> tuple[Block, ...]:
    """The section about it."""
    found: list[Block] = [Paragraph(_answer(manifest))]
    if has_own_code(manifest):
        found.append(
            Paragraph(
                say(
                    "Code of the model's own stands between a caller and what is listed here. It may ask for other "
                    "inputs and answer in another form; which, is {} with the version.",
                    NOT_RECORDED,
                )
            )
        )
    inputs = manifest.signature.inputs
    described = any(seen_in(manifest, tensor.name) for tensor in inputs)
    rows = []
    for tensor in inputs[:MOST_INPUTS]:
        row: tuple[Text, ...] = (say("{}", code(tensor.name)), say("{}", kind_of(tensor)))
        seen = say("{}", seen_in(manifest, tensor.name) or quiet(NOT_RECORDED))
        rows.append((*row, seen) if described else row)
    head = ("It is given", "as", "seen while it learnt") if described else ("It is given", "as")
    found.append(Table(head, tuple(rows)))
    if len(inputs) > MOST_INPUTS:
        found.append(Paragraph(say("And {}.", count(len(inputs) - MOST_INPUTS, "more input")), quiet=True))
    return tuple(found)


def _answer(manifest: Manifest) -> Text:
    classes = classes_of(manifest.signature)
    if manifest.task == "regression":
        return say("For each case that it is asked about, it answers with {}.", strong("a number"))
    if classes is None:
        what = "which of two classes it is" if manifest.task == "binary" else "which of several classes it is"
        said = "For each case that it is asked about, it answers {}. What the classes are called is {}."
        return say(said, strong(what), NOT_RECORDED)
    return say(
        "For each case that it is asked about, it answers how probable each of {} is: {}.",
        count(len(classes), "class", "classes"),
        named(classes),
    )


def named(names: tuple[str, ...]) -> Text:
    """Names as an enumeration, cut where it gets long."""
    shown = [say("{}", strong(name)) for name in names[:MOST_NAMES]]
    if len(names) > MOST_NAMES:
        shown.append(say("{} more", f"{len(names) - MOST_NAMES:,}"))
    return listing(shown)


def classes_of(signature: Signature) -> tuple[str, ...] | None:
    """The classes that an output names; None when none does."""
    return next((output.classes for output in signature.outputs if output.classes), None)


def has_own_code(manifest: Manifest) -> bool:
    """Whether code of the model's own stands around it: what is brought has a code digest for nothing else."""
    return manifest.lineage.source == "brought" and manifest.lineage.code_digest is not None


def kind_of(tensor: TensorSpec) -> str:
    """What one row gives for an input, in words.

    Example:
        >>> kind_of(TensorSpec("pixels", "float32", (None, 8, 8)))
        '8 x 8 numbers'
    """
    floats, sizes = tensor.dtype.startswith("float"), tensor.shape[1:]
    if sizes in ((), (1,)):
        one = _ONE.get(tensor.dtype, "a number" if floats else "a whole number")
        return f"{one}, which may be missing" if floats and sizes else one
    many = _MANY.get(tensor.dtype, "numbers" if floats else "whole numbers")
    if len(sizes) == 1:
        return f"a list of {many}, of any length" if sizes[0] is None else f"a list of {sizes[0]:,} {many}"
    return f"{' x '.join('any' if size is None else str(size) for size in sizes)} {many}"


# -- contract -----------------------------------------------------------------------------------------------------


def seen_in(manifest: Manifest, column: str) -> str:
    """What the contract says about the values of a column, in words; empty when it says nothing."""
    seen = column_of(manifest.contract, column)
    low, high = (_bound(seen, *names) for names in (("minimum", "min"), ("maximum", "max")))
    parts = [f"{low} to {high}"] if low and high else [f"from {low} on"] if low else [f"up to {high}"] if high else []
    categories = categories_of(seen)
    if categories:
        more = f" and {len(categories) - MOST_NAMES:,} more" if len(categories) > MOST_NAMES else ""
        parts.append(f"{', '.join(categories[:MOST_NAMES])}{more}")
    nulls = seen.get("null_rate")
    if isinstance(nulls, int | float) and nulls > 0:
        parts.append(f"missing in {100 * nulls:.2g} % of the rows")
    return "; ".join(parts)


def column_of(contract: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    """What a contract says about a column; empty when it says nothing."""
    columns = (contract or {}).get("columns")
    if isinstance(columns, list):
        columns = {found.get("name"): found for found in columns if isinstance(found, dict)}
    found = columns.get(name) if isinstance(columns, dict) else None
    return found if isinstance(found, dict) else {}


def categories_of(column: Mapping[str, Any]) -> tuple[str, ...]:
    """The categories that a column had, whether they were only listed or counted too."""
    found = column.get("categories")
    return tuple(str(name) for name in found) if isinstance(found, dict | list) else ()


def _bound(column: Mapping[str, Any], *names: str) -> str:
    value = next((column[name] for name in names if column.get(name) is not None), None)
    return figure(value) if isinstance(value, int | float) else str(value) if isinstance(value, str) else ""
