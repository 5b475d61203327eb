"""What another signature breaks for callers: inputs, outputs, classes, and the form of an answer. Pure.

Here because it needs no contract: versions of earlier releases have none.
"""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from modelyard.version import OutputSpec, Signature, TensorSpec

Role = Literal["input", "output"]
Kind = Literal[
    "removed", "renamed", "added", "retyped", "reshaped",
    "narrowed", "dropped_category", "nulls_refused", "stricter_mode",
    "dropped_class", "answer_form",
]  # fmt: skip
Shape = tuple[int | None, ...]

MOST_NAMES = 12
"""Categories, classes or elements that a sentence names."""


class Break(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """One thing that a caller of the live version stumbles over.

    Attributes:
        field: The input's or output's name; empty for the form of an answer.
        role: Which of the two it is.
        kind: What happened to it.
        before: How it is in the live version, as plain JSON.
        after: How it would be.
        sentence: The same in words.
    """

    field: str
    role: Role = "input"
    kind: Kind
    before: Any = None
    after: Any = None
    sentence: str


def signature_breaks(live: Signature, new: Signature) -> tuple[Break, ...]:
    """What another signature breaks: inputs, outputs, and the form of an answer."""
    return (
        *tensor_breaks("input", live.inputs, new.inputs),
        *tensor_breaks("output", live.outputs, new.outputs),
        *_form(live, new),
    )


def _form(live: Signature, new: Signature) -> Iterator[Break]:
    """One output is answered as its bare value, several as an object."""
    counts = len(live.outputs), len(new.outputs)
    if counts[0] != counts[1] and 1 in counts:
        one, two = ("a bare value" if count == 1 else "an object" for count in counts)
        said = f"an answer was {one} and is {two}, by the number of outputs"
        yield Break(field="", role="output", kind="answer_form", before=one, after=two, sentence=said)


def tensor_breaks(role: Role, live: tuple[TensorSpec, ...], new: tuple[TensorSpec, ...]) -> Iterator[Break]:
    """What other inputs or outputs break, tensor by tensor."""
    before, after = {tensor.name: tensor for tensor in live}, {tensor.name: tensor for tensor in new}
    others = renamed(live, new)
    for name, tensor in before.items():
        if name in after:
            yield from _tensor(role, tensor, after[name])
        elif name in others:
            said = f"{role} {name!r} is gone; {others[name]!r} stands in its place"
            yield Break(field=name, role=role, kind="renamed", before=name, after=others[name], sentence=said)
        else:
            said = f"{role} {name!r} is gone"
            yield Break(field=name, role=role, kind="removed", before=described(tensor), sentence=said)
    for name, tensor in after.items():
        if role == "input" and name not in before and name not in others.values():
            said = f"input {name!r} is new: requests without it are refused"
            yield Break(field=name, kind="added", after=described(tensor), sentence=said)


def renamed(live: tuple[TensorSpec, ...], new: tuple[TensorSpec, ...]) -> dict[str, str]:
    """Names that changed while place, dtype and shape stayed; nothing of it where their number is another."""
    if len(live) != len(new):
        return {}
    old, now = {tensor.name for tensor in live}, {tensor.name for tensor in new}
    return {
        one.name: two.name
        for one, two in zip(live, new, strict=True)
        if one.name not in now and two.name not in old and (one.dtype, one.shape) == (two.dtype, two.shape)
    }


def described(tensor: TensorSpec) -> dict[str, Any]:
    """A tensor as plain JSON, without its name."""
    plain: dict[str, Any] = msgspec.to_builtins(tensor)
    del plain["name"]
    return plain


def _tensor(role: Role, live: TensorSpec, new: TensorSpec) -> Iterator[Break]:
    name = live.name
    if live.dtype != new.dtype:
        said = f"{role} {name!r} is {new.dtype}, and was {live.dtype}"
        yield Break(field=name, role=role, kind="retyped", before=live.dtype, after=new.dtype, sentence=said)
    fits = _takes_more(live.shape, new.shape) if role == "input" else _row(live) == _row(new)
    if live.shape != new.shape and not fits:
        shapes = list(live.shape), list(new.shape)
        said = f"{role} {name!r} has shape {show_shape(new.shape)}, and had {show_shape(live.shape)}"
        yield Break(field=name, role=role, kind="reshaped", before=shapes[0], after=shapes[1], sentence=said)
    if isinstance(live, OutputSpec) and isinstance(new, OutputSpec) and live.classes != new.classes:
        yield from _classes(name, live.classes, new.classes)


def _takes_more(live: Shape, new: Shape) -> bool:
    """Whether an input of the new shape takes all that the live one took: sizes only became free.

    A column, ``[n, 1]``, is asked for as a bare value and not as a list, so it is no such case.
    """
    free = len(live) == len(new) and all(two in (None, one) for one, two in zip(live, new, strict=True))
    return free and not (len(live) == 2 and live[1] == 1 and new[1] is None)


def _row(output: TensorSpec) -> Shape:
    """The shape of one answer; along its last axis classes are told apart by their names."""
    named = isinstance(output, OutputSpec) and output.classes is not None
    return output.shape[1:-1] if named else output.shape[1:]


def _classes(name: str, live: tuple[str, ...] | None, new: tuple[str, ...] | None) -> Iterator[Break]:
    if live is None or new is None:
        said = f"output {name!r} {'names its classes now' if live is None else 'names its classes no more'}"
    else:
        gone = [label for label in live if label not in new]
        if not gone:
            return
        said = f"{'class' if len(gone) == 1 else 'classes'} {listed(gone)} of output {name!r} gone"
    sides = [None if side is None else list(side) for side in (live, new)]
    yield Break(field=name, role="output", kind="dropped_class", before=sides[0], after=sides[1], sentence=said)


def show_shape(shape: Shape) -> str:
    """A shape as a person writes it; a size that may vary is ``n``.

    Example:
        >>> show_shape((None, 8, 8))
        '[n, 8, 8]'
    """
    return f"[{', '.join('n' if size is None else str(size) for size in shape)}]"


def listed(names: list[str]) -> str:
    """Names in a sentence, cut where there are many."""
    shown = ", ".join(repr(name[:80]) for name in names[:MOST_NAMES])
    return f"{shown} and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else shown


def show_range(low: int | float | None, high: int | float | None) -> str:
    """A range in a sentence; None is an end without a limit."""
    if low is None and high is None:
        return "any"
    if low is None or high is None:
        return f"up to {show_number(high)}" if low is None else f"from {show_number(low)} on"
    return f"{show_number(low)} to {show_number(high)}"


def show_number(value: int | float | None) -> str:
    """A number with nine digits at most; a whole one with all."""
    return str(value) if isinstance(value, int) else f"{value:.9g}"
