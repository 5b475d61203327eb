"""The search index as plain items: where a model, a version or a training file is found. Pure.

    FIND#<facets>          =<name>                        all, within any combination of task, owner and one tag
    FIND#<facets>          <word of the name>#<name>      by the beginning of a word
    FIND#<facets>&metric=m <number as text>#<name>        by the metric m of the version that the model stands with
    VERSIONS#<name>&metric=m <number as text>#<version>   versions of one model by a metric
    FILE#<sha256>          <name>#<version>               versions that were trained on a file

Each question that can be asked has a partition of its own, sorted by what it asks for, so an answer costs what it
returns and not what it looks past. All of it is derived from models, deployments and versions and may be made again.
"""

import hashlib
import itertools
import struct
from collections.abc import Iterator
from urllib.parse import quote

import msgspec

from modelyard.deployment import Deployment
from modelyard.ports import Item
from modelyard.registry import keys
from modelyard.registry.records import Found, FoundVersion, ModelRecord
from modelyard.version import Version

MOST_METRICS = 16
"""Of a version; those first by name are found by their value."""

WHOLE = "="
"""Before a whole name: a listing of all reads one entry of each model, and none that only a word leads to."""

LONGEST_METRIC = 200
"""Characters of a metric's name that a search takes; a version may have longer ones, which are not found by."""

LONGEST_PART = 40
"""Characters of a value in a partition key as they are; of a longer one its digest. A key holds 2 KB, and the record
of all keys of a model (see ``Finder.index``) 400 KB."""

MOST_WORDS = 4
"""Of a name; a search by name finds what begins one of its last words, or the whole."""


def facets(
    *, task: str | None = None, owner: str | None = None, tag: str | None = None, metric: str | None = None
) -> str:
    """The partition that holds exactly the models with these."""
    given = {"task": task, "owner": owner.casefold() if owner else None, "tag": tag, "metric": metric}
    return keys.FIND + "&".join(f"{name}={_part(value)}" for name, value in given.items() if value is not None)


def versions_by(model: str, metric: str) -> str:
    """The partition that holds the versions of ``model`` by this metric."""
    return f"{keys.VERSIONS}{model}&metric={_part(metric)}"


def trained_on(sha256: str) -> str:
    """The partition that holds the versions trained on the file with this digest."""
    return f"{keys.FILE}{sha256}"


def sortable(value: float) -> str:
    """``value`` as text whose order is the order of the numbers.

    The bits of an IEEE 754 number sort like an integer once the sign is turned: all bits of a negative number, the
    first of a positive one.

    >>> sorted([sortable(-1.5), sortable(-0.1), sortable(0.0), sortable(1e300), sortable(2.0)]) == [
    ...     sortable(-1.5), sortable(-0.1), sortable(0.0), sortable(2.0), sortable(1e300)]
    True
    """
    (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))  # -0.0 + 0.0 is 0.0
    turned = bits ^ 0xFFFFFFFFFFFFFFFF if bits >> 63 else bits | 1 << 63
    return f"{turned:016x}"


def entries_of_model(
    record: ModelRecord, deployment: Deployment | None, version: Version
) -> dict[tuple[str, str], Item]:
    """The entries under which a search finds a model; ``version`` is its champion, or its newest where none is live."""
    metrics = _indexed(version)
    found = Found(
        name=record.name,
        task=record.task,
        description=record.description,
        owner=record.owner,
        tags=record.tags,
        created_at=record.created_at,
        versions=record.versions,
        version=version.number,
        is_live=deployment is not None,
        metrics=metrics,
    )
    combinations = itertools.product((None, record.task), (None, record.owner or None), (None, *record.tags))
    items: dict[tuple[str, str], Item] = {}
    for task, owner, tag in dict.fromkeys(combinations):
        pk = facets(task=task, owner=owner, tag=tag)
        for sk in (f"{WHOLE}{record.name}", *[f"{word}#{record.name}" for word in words(record.name)]):
            items[pk, sk] = keys.item(pk, sk, found)
        for metric, value in metrics.items():
            pk = facets(task=task, owner=owner, tag=tag, metric=metric)
            sk = f"{sortable(value)}#{record.name}"
            items[pk, sk] = keys.item(pk, sk, found)
    return items


def entries_of_version(version: Version) -> Iterator[Item]:
    """The entries of a version, which never change: by its metrics, and by the files that it was trained on."""
    manifest = version.manifest
    line = FoundVersion(
        model=manifest.model, number=version.number, author=version.author, created_at=version.created_at
    )
    for metric, value in _indexed(version).items():
        found = msgspec.structs.replace(line, value=value)
        yield keys.item(versions_by(manifest.model, metric), f"{sortable(value)}#{version.number:08d}", found)
    for sha256 in dict.fromkeys(trained.sha256 for trained in manifest.lineage.objects):
        yield keys.item(trained_on(sha256), f"{manifest.model}#{version.number:08d}", line)


def _indexed(version: Version) -> dict[str, float]:
    named = sorted(item for item in version.manifest.metrics.items() if len(item[0]) <= LONGEST_METRIC)
    return dict(named[:MOST_METRICS])


def _part(value: str) -> str:
    """``value`` for a key: quoted, so that no value looks like two, and short."""
    quoted = quote(value, safe="")
    return quoted if len(quoted) <= LONGEST_PART else f"#{hashlib.sha256(value.encode()).hexdigest()[:32]}"


def words(name: str) -> list[str]:
    """The name, and what follows each ``_`` in it: the places where somebody begins to type.

    >>> words("seattle_weather")
    ['seattle_weather', 'weather']
    """
    parts = name.split("_")
    tails = ["_".join(parts[place:]) for place in range(1, len(parts))]
    return list(dict.fromkeys([name, *[tail for tail in tails if tail][-(MOST_WORDS - 1) :]]))
