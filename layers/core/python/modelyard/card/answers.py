"""What a version answers and from what, in words: from its signature and, where there is one, its contract."""

from collections.abc import Mapping

from modelyard.card.blocks import Block, Paragraph, Table
from modelyard.contract.document import Field, Limit, parse
from modelyard.errors import UsageError
from modelyard.pages.words import NOT_RECORDED, Text, code, count, figure, listing, quiet, say, strong
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
    fields = fields_of(manifest)
    rows = []
    for tensor in inputs[:MOST_INPUTS]:
        row: tuple[Text, ...] = (say("{}", code(tensor.name)), say("{}", kind_of(tensor)))
        field = fields.get(tensor.name)
        said = () if field is None else (say("{}", seen_in(field) or quiet(NOT_RECORDED)), say("{}", taken(field)))
        rows.append((*row, *said) if fields else row)
    head = ("It is given", "as", "seen in its data", "and takes") if fields else ("It is given", "as")
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


def fields_of(manifest: Manifest) -> dict[str, Field]:
    """What the contract says about each input; empty when there is none, or one that this release does not know."""
    try:
        return {} if manifest.contract is None else parse(manifest.contract).fields
    except UsageError:
        return {}


def seen_in(field: Field) -> str:
    """What the values of an input were like, in words; empty when none were looked at."""
    parts = []
    if field.seen is not None:
        low, high = (_all_of(limit) for limit in field.seen)
        parts.append(figure(low[0]) if low == high and len(low) == 1 else f"{figure(min(low))} to {figure(max(high))}")
    if field.categories is not None:
        shown = [f"{name} ({_percent(share)})" for name, share in by_share(field.categories)]
        more = f" and {len(shown) - MOST_NAMES:,} more" if len(shown) > MOST_NAMES else ""
        parts.append(f"{', '.join(shown[:MOST_NAMES])}{more}")
    elif field.dtype == "string" and field.null_rate is not None and field.null_rate < 1:
        parts.append("many different texts")
    if field.null_rate:
        parts.append(f"missing in {_percent(field.null_rate)} of the rows")
    return "; ".join(parts)


def taken(field: Field) -> str:
    """Which values of an input are answered, and what becomes of others."""
    others = {"reject": "others are refused", "clip": "others are moved there", "warn": "others with a warning"}
    if field.categories is not None:
        what = f"{'these' if len(field.categories) > 1 else 'this'} only"
    elif field.minimum is None and field.maximum is None:
        return "any" if field.dtype != "string" or field.nulls else "any, but not missing"
    else:
        lows, highs = (_all_of(limit) for limit in (field.minimum, field.maximum))
        parts = [figure(min(lows)) if lows else "", figure(max(highs)) if highs else ""]
        what = " to ".join(parts) if all(parts) else f"from {parts[0]} on" if parts[0] else f"up to {parts[1]}"
        if isinstance(field.minimum, tuple) or isinstance(field.maximum, tuple):
            what += ", each element its own range"
    return f"{what}; {others[field.mode]}"


def by_share(categories: Mapping[str, float]) -> list[tuple[str, float]]:
    """Categories, the most frequent first: a database does not keep their order."""
    return sorted(categories.items(), key=lambda item: (-item[1], item[0]))


def _all_of(limit: Limit | None) -> tuple[int | float, ...]:
    return () if limit is None else limit if isinstance(limit, tuple) else (limit,)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"
