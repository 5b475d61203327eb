"""What a new version breaks for those who call the live one: a pure function of two manifests.

It breaks a caller what makes a request of yesterday fail (an input that is gone, new or of another kind, a value that
is no longer allowed), or an answer of today unexpected (an output or a class that is gone, another form). A class that
is new, a wider range, other bytes and better metrics do not.

Of values only that counts as promised which the live contract says from what was seen or set. A version without a
sample promised nothing about them, so the first contract of a model is no break. Limits around a single value are a
guess; there, what must stay allowed is that value.
"""

from collections.abc import Iterator
from typing import Any, Literal, cast

from modelyard.contract.document import MODES, NUMBERS, Contract, Field, Limit, parse
from modelyard.contract.signatures import Break, listed, show_range, signature_breaks, tensor_breaks
from modelyard.errors import UsageError
from modelyard.version import Dtype, Manifest, TensorSpec


def breaking(live: Manifest, new: Manifest) -> tuple[Break, ...]:
    """What ``new`` breaks for callers of ``live``.

    A contract that this release cannot read, or none, promises what the signature says.
    """
    contracts = [_contract(manifest) for manifest in (live, new)]
    values = value_breaks(contracts[0], contracts[1]) if contracts[0] and contracts[1] else ()
    return (*signature_breaks(live.signature, new.signature), *values)


def _contract(manifest: Manifest) -> Contract | None:
    try:
        return None if manifest.contract is None else parse(manifest.contract)
    except UsageError:
        return None


def breaks(live: Contract, new: Contract) -> tuple[Break, ...]:
    """What one contract breaks for those who keep another: fields first, then values."""
    return (*tensor_breaks("input", _inputs(live), _inputs(new)), *value_breaks(live, new))


def _inputs(contract: Contract) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, cast("Dtype", found.dtype), found.shape) for name, found in contract.fields.items())


def value_breaks(live: Contract, new: Contract) -> tuple[Break, ...]:
    """What is no longer allowed for the inputs that both have, field by field."""
    found: list[Break] = []
    for name, before in live.fields.items():
        after = new.fields.get(name)
        if after is None or after.dtype != before.dtype or after.elements != before.elements:
            continue  # gone or of another kind, which is said of the signature
        if after.mode != "warn":  # whoever is only warned is answered as before
            found.extend(_narrowed(name, before, after))
            found.extend(_dropped(name, before, after, sampled=live.rows > 0))
        if before.nulls and not after.nulls:
            said = f"input {name!r} may be missing no more"
            found.append(Break(field=name, kind="nulls_refused", before=True, after=False, sentence=said))
        if MODES.index(after.mode) > MODES.index(before.mode) and _restricts(after):
            said = f"input {name!r} has mode {after.mode!r} for a value outside, and had {before.mode!r}"
            found.append(Break(field=name, kind="stricter_mode", before=before.mode, after=after.mode, sentence=said))
    return tuple(found)


def _restricts(field: Field) -> bool:
    """Whether there is a value that a field does not allow."""
    return not (field.minimum is None and field.maximum is None and field.categories is None)


def _narrowed(name: str, live: Field, new: Field) -> Iterator[Break]:
    if live.dtype not in NUMBERS:
        return
    count = live.elements or 1
    promised = [[_promised(live, element, end) for element in range(count)] for end in (0, 1)]
    allowed = [[_element(limit, element) for element in range(count)] for limit in (new.minimum, new.maximum)]
    narrower = [
        element
        for element in range(count)
        if _above(allowed[0][element], promised[0][element]) or _above(promised[1][element], allowed[1][element])
    ]
    if not narrower:
        return
    shown = [
        f"{_at(element, live)}{show_range(allowed[0][element], allowed[1][element])}, and were "
        f"{show_range(_element(live.minimum, element), _element(live.maximum, element))}"
        for element in narrower[:3]
    ]
    more = f"; and {len(narrower) - 3} more elements" if len(narrower) > 3 else ""
    said = f"allowed values of input {name!r} are {'; '.join(shown)}{more}"
    yield Break(
        field=name,
        kind="narrowed",
        before=_plain(live.minimum, live.maximum),
        after=_plain(new.minimum, new.maximum),
        sentence=said,
    )


def _promised(field: Field, element: int, end: Literal[0, 1]) -> int | float | None:
    """One end of what must stay allowed, None where nothing was said: the limit or, of a single value, that value."""
    limit = _element((field.minimum, field.maximum)[end], element)
    if field.seen is None:
        return limit
    low, high = (_element(seen, element) for seen in field.seen)
    return high if low == high and limit is not None else limit


def _element(limit: Limit | None, element: int) -> int | float | None:
    return limit[element] if isinstance(limit, tuple) else limit


def _above(one: int | float | None, two: int | float | None) -> bool:
    return one is not None and two is not None and one > two


def _at(element: int, field: Field) -> str:
    return "" if field.elements is None else f"[{element}] "


def _plain(low: Limit | None, high: Limit | None) -> list[Any]:
    return [list(limit) if isinstance(limit, tuple) else limit for limit in (low, high)]


def _dropped(name: str, live: Field, new: Field, *, sampled: bool) -> Iterator[Break]:
    if new.categories is None:
        return
    if live.categories is None:
        if sampled and live.null_rate != 1:  # free text was seen, not nothing
            said = f"input {name!r} takes {listed([*new.categories])} only, and took any text"
            yield Break(field=name, kind="dropped_category", after=[*new.categories], sentence=said)
        return
    gone = [category for category in live.categories if category not in new.categories]
    if gone:
        said = f"{'category' if len(gone) == 1 else 'categories'} {listed(gone)} of input {name!r} gone"
        yield Break(
            field=name, kind="dropped_category", before=[*live.categories], after=[*new.categories], sentence=said
        )
