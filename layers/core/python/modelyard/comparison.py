"""Two versions side by side: what differs, and which of it breaks those who call the model.

A pure function of two manifests. What breaks callers is decided in ``modelyard.contract.breaking``, by the rule that a
registration is refused by; here it stands beside the difference that it comes from.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from modelyard.contract.breaking import breaking
from modelyard.contract.signatures import Break, Kind, Role, described, renamed
from modelyard.metrics import METRICS
from modelyard.version import Lineage, Manifest, OutputSpec, TensorSpec, Version

Change = Literal["added", "removed", "renamed", "changed"]
Said = tuple[Role, str, Kind]


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
    broken = breaking(one, two)
    signature = tuple(_signature(one, two, broken))
    return Comparison(
        a=_side(a),
        b=_side(b),
        same_bytes=one.digest == two.digest,
        breaking=tuple(found.sentence for found in broken),
        signature=signature,
        contract=tuple(_contract(one, two, broken)),
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


def _signature(a: Manifest, b: Manifest, broken: Sequence[Break]) -> Iterator[Difference]:
    said = {(found.role, found.field, found.kind): found.sentence for found in broken}
    if a.task != b.task:
        yield Difference(what="task", change="changed", a=a.task, b=b.task)
    yield from _tensors("input", a.signature.inputs, b.signature.inputs, said)
    yield from _tensors("output", a.signature.outputs, b.signature.outputs, said)
    form = next((found for found in broken if found.kind == "answer_form"), None)
    if form is not None:
        what = "form of an answer"
        yield Difference(what=what, change="changed", a=form.before, b=form.after, breaks=form.sentence)


def _tensors(
    role: Role, a: tuple[TensorSpec, ...], b: tuple[TensorSpec, ...], said: Mapping[Said, str]
) -> Iterator[Difference]:
    before, after = {tensor.name: tensor for tensor in a}, {tensor.name: tensor for tensor in b}
    others = renamed(a, b)
    for name, tensor in before.items():
        what = f"{role} {name}"
        if name in after:
            yield from _tensor(role, tensor, after[name], said)
        elif name in others:
            breaks = said[role, name, "renamed"]
            yield Difference(what=what, change="renamed", a=name, b=others[name], breaks=breaks)
        else:
            yield Difference(what=what, change="removed", a=described(tensor), breaks=said[role, name, "removed"])
    for name, tensor in after.items():
        if name not in before and name not in others.values():
            breaks = said.get((role, name, "added"), "")
            yield Difference(what=f"{role} {name}", change="added", b=described(tensor), breaks=breaks)


def _tensor(role: Role, a: TensorSpec, b: TensorSpec, said: Mapping[Said, str]) -> Iterator[Difference]:
    def changed(aspect: str, one: Any, two: Any, kind: Kind) -> Difference:
        breaks = said.get((role, a.name, kind), "")
        return Difference(what=f"{role} {a.name}: {aspect}", change="changed", a=one, b=two, breaks=breaks)

    if a.dtype != b.dtype:
        yield changed("dtype", a.dtype, b.dtype, "retyped")
    if a.shape != b.shape:
        yield changed("shape", list(a.shape), list(b.shape), "reshaped")
    if isinstance(a, OutputSpec) and isinstance(b, OutputSpec) and a.classes != b.classes:
        yield changed("classes", _list(a.classes), _list(b.classes), "dropped_class")


def _list(classes: tuple[str, ...] | None) -> list[str] | None:
    return None if classes is None else list(classes)


# -- contract, metrics, lineage -----------------------------------------------------------------------------------


_ASPECTS: dict[str, Kind] = {
    "minimum": "narrowed",
    "maximum": "narrowed",
    "categories": "dropped_category",
    "nulls": "nulls_refused",
    "mode": "stricter_mode",
}
"""What a break of a contract is said beside."""
_OF_THE_SIGNATURE = frozenset({"dtype", "shape"})
"""Told of the signature already."""


def _contract(a: Manifest, b: Manifest, broken: Sequence[Break]) -> Iterator[Difference]:
    if a.contract is None or b.contract is None:
        if a.contract is not b.contract:
            yield Difference(
                what="contract", change="added" if a.contract is None else "removed", a=a.contract, b=b.contract
            )
        return
    said = {(found.field, found.kind): found.sentence for found in broken}
    one, two = dict(a.contract), dict(b.contract)
    fields = [found if isinstance(found, dict) else {} for found in (one.pop("fields", {}), two.pop("fields", {}))]
    for name in {**fields[0], **fields[1]}:
        for difference in _field(name, fields[0], fields[1]):
            aspect = difference.what.rpartition(": ")[2]
            kind = _ASPECTS.get(aspect)
            # Once for each break: a range that is narrower on both sides is one.
            breaks = said.pop((name, kind), "") if kind is not None else ""
            yield msgspec.structs.replace(difference, breaks=breaks)
    for name in {**one, **two}:
        yield from _nested(name, one, two, name)


def _field(name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    """What differs about one input, aspect by aspect; a whole field only where one side does not have it."""
    what = f"field {name}"
    one, two = a.get(name), b.get(name)
    if not isinstance(one, dict) or not isinstance(two, dict):
        yield from _nested(what, a, b, name)
        return
    for aspect in {**one, **two}:
        if aspect not in _OF_THE_SIGNATURE and one.get(aspect) != two.get(aspect):
            change: Change = "added" if aspect not in one else "removed" if aspect not in two else "changed"
            yield Difference(what=f"{what}: {aspect}", change=change, a=one.get(aspect), b=two.get(aspect))


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
