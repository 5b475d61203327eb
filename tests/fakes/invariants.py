"""What must hold of a registry at every moment, whatever was interrupted; read through its ports, so of any store.

Nothing lost: numbers and revisions are dense. Nothing half-published: the items of one transaction are all there, or
none is. Nothing dangling: what a record names exists, with the right bytes.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import get_args

import msgspec

from modelyard.deployment import ChangeKind, Deployment
from modelyard.pointer import encode_pointer, pointer_for, pointer_revision
from modelyard.pointer_key import pointer_key
from modelyard.ports import ArtifactStore, Item, RecordStore
from modelyard.registry import keys
from modelyard.version import Version

CHANGES = frozenset(get_args(ChangeKind))
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_MADE_UP_ID = re.compile(r"\b[0-9a-f]{32}\b")


class Shelf:
    """Everything that the stores hold about one model, as read once.

    Args:
        records: Where the records are.
        artifacts: Where the bytes are.
        model: The model's name.
    """

    def __init__(self, records: RecordStore, artifacts: ArtifactStore, model: str) -> None:
        self.model = model
        self.records, self.artifacts = records, artifacts
        self.items: dict[str, Item] = {
            item["sk"]: item for item in records.query(keys.partition(model), prefix="").items
        }
        self.versions = [msgspec.convert(item, Version) for item in self.under(keys.VERSION)]
        self.ledger = self.under(keys.LEDGER)
        self.deployed = [msgspec.convert(item, Deployment) for item in self.under(keys.DEPLOYED)]
        live = self.items.get(keys.DEPLOYMENT)
        self.deployment = None if live is None else msgspec.convert(live, Deployment)
        pointer = artifacts.get(pointer_key(model))
        self.pointer = None if pointer is None else pointer.body

    def under(self, prefix: str) -> list[Item]:
        """The items whose sort key begins with ``prefix``, in order."""
        return [item for sk, item in self.items.items() if sk.startswith(prefix)]

    def picture(self) -> list[str]:
        """The records without the times and the ids that nobody gave: equal for equal outcomes."""
        texts = (json.dumps(item, sort_keys=True) for item in self.items.values())
        return sorted(_MADE_UP_ID.sub("(id)", _TIME.sub("(time)", text)) for text in texts)

    def pointer_is_behind(self) -> bool:
        """Whether an endpoint would follow another revision than the table's."""
        published = 0 if self.pointer is None else pointer_revision(self.pointer)
        return published != (0 if self.deployment is None else self.deployment.revision)

    def violations(self) -> list[str]:
        """Every rule that does not hold, in words."""
        return [f"{self.model}: {found}" for check in (_versions, _bytes, _changes, _pointer) for found in check(self)]


def _versions(shelf: Shelf) -> Iterator[str]:
    """Each version has its number, identity, ledger entry, place in the counter and line in the catalogue."""
    numbers = [version.number for version in shelf.versions]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"version numbers are {numbers}"
    counter = shelf.items.get(keys.MODEL, {"versions": 0})["versions"]
    if counter != len(numbers):
        yield f"the counter says {counter} versions, there are {len(numbers)}"
    if numbers and shelf.records.get(keys.CATALOGUE, shelf.model) is None:
        yield "not in the catalogue"
    identities = {item["number"]: item for item in shelf.under(keys.IDENTITY)}
    registered = {entry["version"]: entry for entry in shelf.ledger if entry["kind"] == "registered"}
    if sorted(identities) != numbers or len(shelf.under(keys.IDENTITY)) != len(numbers):
        yield f"identities of {sorted(identities)}, versions {numbers}"
    if sorted(registered) != numbers or sum(entry["kind"] == "registered" for entry in shelf.ledger) != len(numbers):
        yield f"ledger entries of {sorted(registered)}, versions {numbers}"
    for version in shelf.versions:
        identity, entry = identities.get(version.number), registered.get(version.number)
        if identity is not None and identity["sk"] != keys.IDENTITY + version.manifest.identity:
            yield f"version {version.number} is not what its identity says"
        if identity and entry and identity["operation"] != entry["operation"]:
            yield f"version {version.number}: identity and ledger entry are of two operations"
        if entry and (entry["at"], entry["actor"]) != (version.created_at, version.author):
            yield f"version {version.number}: the ledger tells of another time or author"


def _bytes(shelf: Shelf) -> Iterator[str]:
    """The bytes of each version are there, are the right ones, and are marked as named."""
    for version in shelf.versions:
        manifest = version.manifest
        found = shelf.artifacts.get(manifest.key)
        if found is None:
            yield f"the bytes of version {version.number} are gone"
        elif hashlib.sha256(found.body).hexdigest() != manifest.digest or len(found.body) != manifest.size:
            yield f"version {version.number} has other bytes than its manifest says"
        if manifest.evaluation is not None and shelf.artifacts.head(manifest.evaluation) is None:
            yield f"the evaluation report of version {version.number} is gone"
        for key in filter(None, (manifest.key, manifest.evaluation)):
            mark = shelf.records.get(keys.object_partition(key), keys.OBJECT)
            if mark is None or mark["state"] != "named":
                yield f"version {version.number}: {key} is not marked as named"


def _changes(shelf: Shelf) -> Iterator[str]:
    """Each change of the deployment has ledger entry, operation and deployment as of then; the last one is live."""
    entries = [entry for entry in shelf.ledger if entry["kind"] in CHANGES]
    expected = list(range(1, len(entries) + 1))
    revisions = [entry["revision"] for entry in entries]
    if revisions != expected:
        yield f"revisions in the ledger, in the order of time, are {revisions}"
    if [then.revision for then in shelf.deployed] != expected:
        yield f"deployments as of then are of {[then.revision for then in shelf.deployed]}, changes are {len(entries)}"
    if shelf.deployment != (shelf.deployed[-1] if shelf.deployed else None):
        yield f"live is {shelf.deployment}, the last change made {shelf.deployed[-1:]}"
    operations = {item["sk"].removeprefix(keys.OPERATION): item for item in shelf.under(keys.OPERATION)}
    if sorted(operations) != sorted(entry["operation"] for entry in entries):
        yield f"operations {sorted(operations)} do not match the ledger"
    count = len(shelf.versions)
    champion = None
    for entry, then in zip(entries, shelf.deployed, strict=False):
        outcome = operations.get(entry["operation"])
        if outcome is not None and msgspec.convert(outcome["deployment"], Deployment) != then:
            yield f"operation {entry['operation']} has another outcome than revision {then.revision}"
        if (entry["at"], entry["actor"], entry["reason"]) != (then.changed_at, then.changed_by, then.reason):
            yield f"the ledger tells another story of revision {then.revision}"
        if entry["previous"] != champion:
            yield f"revision {then.revision} follows champion {champion}, the ledger says {entry['previous']}"
        champion = then.champion
        if any(number is not None and not 1 <= number <= count for number in (then.champion, then.challenger)):
            yield f"revision {then.revision} names a version that does not exist: {then}"


def _pointer(shelf: Shelf) -> Iterator[str]:
    """The pointer is what the table said at some revision, and not one that is still to come."""
    if shelf.pointer is None:
        return
    revision = pointer_revision(shelf.pointer)
    then = next((then for then in shelf.deployed if then.revision == revision), None)
    if then is None:
        yield f"the pointer has revision {revision}, which never was"
    elif encode_pointer(pointer_for(then, {version.number: version for version in shelf.versions})) != shelf.pointer:
        yield f"the pointer of revision {revision} is not what the table says"
