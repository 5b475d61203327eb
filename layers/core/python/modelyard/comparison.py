"""Two versions side by side: what differs, and which of it breaks those who call the model.

A pure function of two manifests. It breaks callers what makes a request of yesterday wrong (an input that is gone, new
or of another kind), or an answer of today unexpected (an output or a class that is gone, another form). A class that is
new, other bytes and better metrics do not.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from modelyard.metrics import METRICS
from modelyard.version import Lineage, Manifest, OutputSpec, TensorSpec, Version

Change = Literal["added", "removed", "renamed", "changed"]
Shape = tuple[int | None, ...]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two, as it is told apart."""

    model: str
    version: int
    task: str
    digest: str
    size: int
    author: str
    created_at: str
    note: str
    evaluation: str | None
    has_contract: bool


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in which they differ.

    ``a`` and ``b`` are its value on either side, None where it is not there; ``breaks`` says in words how it breaks
    callers, and is empty when it does not.
    """

    what: str
    change: Change
    a: Any = None
    b: Any = None
    breaks: str = ""


class MetricPair(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of both; ``difference`` is b minus a, ``better`` whether b is, None where nobody can say."""

    name: str
    a: float | None
    b: float | None
    difference: float | None = None
    better: bool | None = None


class Together(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics of both on the same rows, from the evaluation that compared them."""

    rows: int
    metrics: tuple[MetricPair, ...]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in which two versions differ, and all metrics of both.

    ``breaking`` repeats, as sentences, what breaks a caller of ``a`` who is answered by ``b``. ``metrics`` are those
    that each was registered with, perhaps of other rows; ``together`` is there where one was evaluated against the
    other.
    """

    a: Side
    b: Side
    same_bytes: bool
    breaking: tuple[str, ...]
    signature: tuple[Difference, ...]
    contract: tuple[Difference, ...]
    metrics: tuple[MetricPair, ...]
    together: Together | None
    lineage: tuple[Difference, ...]


def compare(a: Version, b: Version, *, together: Together | None = None) -> Comparison:
    """What changes for somebody who goes from ``a`` to ``b``; the two may be of different models.

    Args:
        a: One version.
        b: The other.
        together: Their metrics on the same rows, where there are such; see ``same_rows``.
    """
    one, two = a.manifest, b.manifest
    signature = tuple(_signature(one, two))
    return Comparison(
        a=_side(a),
        b=_side(b),
        same_bytes=one.digest == two.digest,
        breaking=tuple(difference.breaks for difference in signature if difference.breaks),
        signature=signature,
        contract=tuple(_contract(one.contract, two.contract)),
        metrics=_metrics(one.metrics, two.metrics),
        together=together,
        lineage=tuple(_lineage(one.lineage, two.lineage)),
    )


def same_rows(a: Mapping[str, float | None], b: Mapping[str, float | None], *, rows: int) -> Together:
    """Metrics of two versions that answered the same ``rows``; what is no number is left out."""
    one, two = ({name: value for name, value in side.items() if value is not None} for side in (a, b))
    return Together(rows=rows, metrics=_metrics(one, two))


def _side(version: Version) -> Side:
    manifest = version.manifest
    return Side(
        model=manifest.model,
        version=version.number,
        task=manifest.task,
        digest=manifest.digest,
        size=manifest.size,
        author=version.author,
        created_at=version.created_at,
        note=manifest.note,
        evaluation=manifest.evaluation,
        has_contract=manifest.contract is not None,
    )


# -- signature ----------------------------------------------------------------------------------------------------


def _signature(a: Manifest, b: Manifest) -> Iterator[Difference]:
    if a.task != b.task:
        yield Difference(what="task", change="changed", a=a.task, b=b.task)
    yield from _tensors("input", a.signature.inputs, b.signature.inputs)
    yield from _tensors("output", a.signature.outputs, b.signature.outputs)
    counts = len(a.signature.outputs), len(b.signature.outputs)
    if counts[0] != counts[1] and 1 in counts:  # one output is answered as its bare value, several as an object
        forms = ["a bare value" if count == 1 else "an object" for count in counts]
        yield Difference(
            what="form of an answer", change="changed", a=forms[0], b=forms[1],
            breaks=f"an answer was {forms[0]} and is {forms[1]}, by the number of outputs",
        )  # fmt: skip


def _tensors(role: str, a: tuple[TensorSpec, ...], b: tuple[TensorSpec, ...]) -> Iterator[Difference]:
    before, after = {tensor.name: tensor for tensor in a}, {tensor.name: tensor for tensor in b}
    renamed = _renamed(a, b)
    for name, tensor in before.items():
        what = f"{role} {name}"
        if name in after:
            yield from _tensor(what, tensor, after[name])
        elif name in renamed:
            breaks = f"{role} {name!r} is gone; {renamed[name]!r} stands in its place"
            yield Difference(what=what, change="renamed", a=name, b=renamed[name], breaks=breaks)
        else:
            yield Difference(what=what, change="removed", a=_plain(tensor), breaks=f"{role} {name!r} is gone")
    for name, tensor in after.items():
        if name not in before and name not in renamed.values():
            breaks = f"input {name!r} is new: requests without it are refused" if role == "input" else ""
            yield Difference(what=f"{role} {name}", change="added", b=_plain(tensor), breaks=breaks)


def _renamed(a: tuple[TensorSpec, ...], b: tuple[TensorSpec, ...]) -> dict[str, str]:
    """Names that changed while place, dtype and shape stayed; nothing of it where their number is another."""
    if len(a) != len(b):
        return {}
    old, new = {tensor.name for tensor in a}, {tensor.name for tensor in b}
    return {
        one.name: two.name
        for one, two in zip(a, b, strict=True)
        if one.name not in new and two.name not in old and (one.dtype, one.shape) == (two.dtype, two.shape)
    }


def _tensor(what: str, a: TensorSpec, b: TensorSpec) -> Iterator[Difference]:
    role, _, name = what.partition(" ")
    if a.dtype != b.dtype:
        breaks = f"{role} {name!r} is {b.dtype}, and was {a.dtype}"
        yield Difference(what=f"{what}: dtype", change="changed", a=a.dtype, b=b.dtype, breaks=breaks)
    if a.shape != b.shape:
        breaks = ""
        if not (_takes_more(a.shape, b.shape) if role == "input" else _row(a) == _row(b)):
            breaks = f"{role} {name!r} has shape {show_shape(b.shape)}, and had {show_shape(a.shape)}"
        yield Difference(what=f"{what}: shape", change="changed", a=list(a.shape), b=list(b.shape), breaks=breaks)
    if isinstance(a, OutputSpec) and isinstance(b, OutputSpec) and a.classes != b.classes:
        yield _classes(what, a.classes, b.classes)


def _takes_more(a: Shape, b: Shape) -> bool:
    """Whether an input of shape ``b`` takes all that one of shape ``a`` took: sizes only became free.

    A column, ``[n, 1]``, is asked for as a bare value and not as a list, so it is no such case.
    """
    free = len(a) == len(b) and all(two in (None, one) for one, two in zip(a, b, strict=True))
    return free and not (len(a) == 2 and a[1] == 1 and b[1] is None)


def _row(output: TensorSpec) -> Shape:
    """The shape of one answer; along its last axis classes are told apart by their names."""
    named = isinstance(output, OutputSpec) and output.classes is not None
    return output.shape[1:-1] if named else output.shape[1:]


def _classes(what: str, a: tuple[str, ...] | None, b: tuple[str, ...] | None) -> Difference:
    name = what.partition(" ")[2]
    breaks = ""
    if a is None or b is None:
        breaks = f"output {name!r} {'names its classes now' if a is None else 'names its classes no more'}"
    else:
        gone = [repr(label) for label in a if label not in b]
        if gone:
            breaks = f"{'class' if len(gone) == 1 else 'classes'} {', '.join(gone)} of output {name!r} gone"
    return Difference(what=f"{what}: classes", change="changed", a=_list(a), b=_list(b), breaks=breaks)


def _list(classes: tuple[str, ...] | None) -> list[str] | None:
    return None if classes is None else list(classes)


def _plain(tensor: TensorSpec) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(tensor)
    del plain["name"]
    return plain


def show_shape(shape: Shape) -> str:
    """A shape as a person writes it; a size that may vary is ``n``.

    Example:
        >>> show_shape((None, 8, 8))
        '[n, 8, 8]'
    """
    return f"[{', '.join('n' if size is None else str(size) for size in shape)}]"


# -- contract, metrics, lineage -----------------------------------------------------------------------------------


def _contract(a: dict[str, Any] | None, b: dict[str, Any] | None) -> Iterator[Difference]:
    if a is None or b is None:
        if a is not b:
            yield Difference(what="contract", change="added" if a is None else "removed", a=a, b=b)
        return
    one, two = dict(a), dict(b)
    columns = _columns(one.pop("columns", {})), _columns(two.pop("columns", {}))
    for name in {**columns[0], **columns[1]}:
        yield from _nested(f"column {name}", columns[0], columns[1], name)
    for name in {**one, **two}:
        yield from _nested(name, one, two, name)


def _columns(columns: Any) -> dict[str, Any]:
    """Columns by name, whether they stand in an object or in a list."""
    if isinstance(columns, dict):
        return columns
    named = [column for column in columns if isinstance(column, dict)] if isinstance(columns, list) else []
    return {str(column.get("name")): {key: column[key] for key in column if key != "name"} for column in named}


def _nested(what: str, a: Mapping[str, Any], b: Mapping[str, Any], key: str) -> Iterator[Difference]:
    """The differences below one key, each with the path to it."""
    if key not in a or key not in b:
        yield Difference(what=what, change="removed" if key in a else "added", a=a.get(key), b=b.get(key))
        return
    one, two = a[key], b[key]
    if isinstance(one, dict) and isinstance(two, dict):
        for inner in {**one, **two}:
            yield from _nested(f"{what}: {inner}", one, two, inner)
    elif one != two:
        yield Difference(what=what, change="changed", a=one, b=two)


def _metrics(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[MetricPair, ...]:
    return tuple(_metric(name, a, b) for name in {**a, **b})


def _metric(name: str, a: Mapping[str, float], b: Mapping[str, float]) -> MetricPair:
    one, two = a.get(name), b.get(name)
    if one is None or two is None:
        return MetricPair(name=name, a=one, b=two)
    improvement = METRICS[name].improvement(two, one) if name in METRICS else 0.0
    better = None if improvement == 0 else improvement > 0
    return MetricPair(name=name, a=one, b=two, difference=two - one, better=better)


def _lineage(a: Lineage, b: Lineage) -> Iterator[Difference]:
    before, after = {found.sha256: found for found in a.objects}, {found.sha256: found for found in b.objects}
    for digest, found in before.items():
        if digest not in after:
            yield Difference(what=f"file {found.key}", change="removed", a=msgspec.to_builtins(found))
    for digest, found in after.items():
        if digest not in before:
            yield Difference(what=f"file {found.key}", change="added", b=msgspec.to_builtins(found))
    one, two = msgspec.to_builtins(a), msgspec.to_builtins(b)
    for field in one:
        if field != "objects" and one[field] != two[field]:
            if one[field] is None or two[field] is None:
                change: Change = "added" if one[field] is None else "removed"
                yield Difference(what=field, change=change, a=one[field], b=two[field])
            else:
                yield from _nested(field, one, two, field)
