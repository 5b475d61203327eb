"""Registering a version: bytes, then their proof, then one transaction.

    put if absent ──► verify size and checksum ──► version + counter + identity + ledger (+ catalogue), all or nothing

In this order a crash at any point leaves at most bytes that no record names and that may be deleted, and never a
record without its bytes. The counter is compare-and-set inside the transaction, so numbers are dense: a writer that
loses takes the next number, for as long as it takes.
"""

import hashlib
from typing import Any, get_args

import msgspec

from modelyard.canonical import canonical_json, check_json
from modelyard.deployment import LedgerEntry
from modelyard.errors import AWSError, ConflictError, UsageError
from modelyard.names import LONGEST_NOTE, check_id, check_name, check_text
from modelyard.ports import ConditionFailedError, Put
from modelyard.registry import keys
from modelyard.registry.reading import HIGHEST_VERSION, Reader, check_number
from modelyard.registry.records import CatalogueLine, ModelRecord, Registered
from modelyard.version import Lineage, Manifest, Signature, Task, Version, artifact_key

LARGEST_MANIFEST = 256 * 1024
"""A database item holds 400 KB, and a manifest counts somewhat more there than as JSON."""


class Publisher(Reader):
    """The registry's way in for versions."""

    def register(
        self,
        model: str,
        artifact: bytes,
        *,
        task: Task,
        signature: Signature,
        contract: dict[str, Any] | None = None,
        metrics: dict[str, float] | None = None,
        evaluation: str | None = None,
        lineage: Lineage | None = None,
        note: str = "",
        description: str | None = None,
        owner: str | None = None,
        number: int | None = None,
    ) -> Registered:
        """Make a version of ``artifact`` (admitted bytes, see ``modelyard.admission``), or find the one there is.

        Args:
            model: The model's name; its first version creates it.
            artifact: The ONNX file.
            task: What kind of answer the model gives.
            signature: What goes in and comes out.
            contract: What its training data looked like.
            metrics: Finite numbers by name.
            evaluation: Key of the evaluation report in the artifact bucket.
            lineage: Where it comes from; default: brought by a person.
            note: One sentence for people.
            description: The model's description; None keeps the one there is.
            owner: The model's owner; None keeps the one there is.
            number: The number that the caller expects; None takes the next.

        Raises:
            UsageError: When a value cannot be stored; nothing is written.
            ConflictError: When ``number`` is taken by another manifest or is not the next one, or when other writers
                kept winning until the deadline.
        """
        manifest = _manifest(
            model, artifact, task=task, signature=signature, contract=contract, metrics=metrics or {},
            evaluation=evaluation, lineage=lineage or Lineage(), note=note,
        )  # fmt: skip
        if description is not None:
            check_text(description, field="description")
        if owner is not None:
            check_text(owner, field="owner", lines=False)
        if number is not None:
            check_number(number)
        self._store(manifest, artifact)
        return self._record(manifest, description=description, owner=owner, expected=number)

    def _store(self, manifest: Manifest, artifact: bytes) -> None:
        """Make sure that the bytes are there, whoever put them; the proof is the store's own checksum."""
        facts = self.artifacts.head(manifest.key)
        if facts is None:
            self.artifacts.put_if_absent(
                manifest.key, artifact, sha256=manifest.digest, content_type="application/octet-stream"
            )
            facts = self.artifacts.head(manifest.key)
        stored = None if facts is None else facts.sha256
        if facts is not None and facts.size == manifest.size and stored is None:
            found = self.artifacts.get(manifest.key)  # a store that keeps no checksum: read the bytes back
            stored = None if found is None else hashlib.sha256(found.body).hexdigest()
        if facts is None or facts.size != manifest.size or stored != manifest.digest:
            state = "is missing after it was written" if facts is None else f"holds other bytes ({facts.size} of them)"
            raise AWSError(
                f"artifact {manifest.key} {state}; expected {manifest.size} bytes with that SHA-256",
                code="artifact_damaged",
                next_step="Restore the object from an earlier S3 version, then register again.",
            )

    def _record(
        self, manifest: Manifest, *, description: str | None, owner: str | None, expected: int | None
    ) -> Registered:
        pk = keys.partition(manifest.model)
        identity_sk = keys.IDENTITY + manifest.identity
        operation = check_id(self._new_id(), field="operation")
        for _ in self._attempts():
            identity = self.records.get(pk, identity_sk)
            if identity is not None:
                version = self.version(manifest.model, identity["number"])
                _check_expected(expected, version.number, manifest.model)
                # The operation is our own when the transaction was applied but its answer was lost.
                return Registered(version, created=identity["operation"] == operation)
            before = self._read(pk, keys.MODEL, ModelRecord)
            number = 1 if before is None else before.versions + 1
            _check_expected(expected, number, manifest.model)
            version = Version(number=number, manifest=manifest, author=self.actor, created_at=self._now())
            try:
                self.records.transact(_puts(version, before, operation, description=description, owner=owner))
            except ConditionFailedError:
                continue  # another writer took the number, or registered the very same
            return Registered(version, created=True)
        raise ConflictError(
            f"model {manifest.model!r} was written by others for {self._deadline_s:.0f} s without a pause; "
            "the version was not registered",
            code="contended",
            next_step="Run the command again: the bytes are stored already, and repeating it is safe.",
        )


def _manifest(model: str, artifact: bytes, **parts: Any) -> Manifest:
    """The checked manifest of these parts."""
    check_name(model)
    if parts["task"] not in get_args(Task):
        raise UsageError(
            f"task {ascii(parts['task'])[:40]} is not one of {', '.join(get_args(Task))}",
            code="invalid_task",
            field="task",
        )
    if not artifact:
        raise UsageError("the artifact has 0 bytes", code="empty_artifact", field="artifact")
    check_text(parts["note"], field="note", limit=LONGEST_NOTE)
    digest = hashlib.sha256(artifact).hexdigest()
    plain = msgspec.to_builtins({"model": model, "digest": digest, "key": artifact_key(digest), **parts})
    for field, value in plain.items():
        check_json(value, field=field)
    try:
        manifest = msgspec.convert({**plain, "size": len(artifact)}, Manifest)
    except msgspec.ValidationError as wrong:
        raise UsageError(f"the manifest is not valid: {wrong}", code="invalid_manifest") from wrong
    size = len(canonical_json(plain))
    if size > LARGEST_MANIFEST:
        raise UsageError(
            f"the manifest has {size:,} bytes of JSON, {len(canonical_json(manifest.contract)):,} of them the "
            f"contract; at most {LARGEST_MANIFEST:,} are stored",
            code="manifest_too_large",
            next_step="Shorten the contract: list fewer categories, or leave out free-text columns.",
        )
    return manifest


def _check_expected(expected: int | None, number: int, model: str) -> None:
    if expected is None or expected == number:
        return
    if expected < number:
        raise ConflictError(
            f"version {expected} of model {model!r} exists and is another one; a version never changes",
            code="version_exists",
            field="version",
            next_step=f"Register without a number; this would be or is version {number}.",
        )
    raise ConflictError(
        f"version {expected} of model {model!r} cannot be next: numbers have no gaps, and this is version {number}",
        code="version_gap",
        field="version",
        next_step="Register without a number.",
    )


def _puts(
    version: Version, before: ModelRecord | None, operation: str, *, description: str | None, owner: str | None
) -> list[Put]:
    """The one transaction that makes ``version`` visible."""
    manifest, number, now = version.manifest, version.number, version.created_at
    if number > HIGHEST_VERSION:
        raise ConflictError(f"model {manifest.model!r} has {HIGHEST_VERSION} versions, the most a model can have")
    pk = keys.partition(manifest.model)
    line = CatalogueLine(
        name=manifest.model,
        task=manifest.task,
        description=description if description is not None else (before.description if before else ""),
        owner=owner if owner is not None else (before.owner if before else ""),
        created_at=before.created_at if before else now,
    )
    record = ModelRecord(versions=number, **msgspec.structs.asdict(line))
    entry = LedgerEntry(
        model=manifest.model,
        at=now,
        operation=operation,
        kind="registered",
        actor=version.author,
        reason=manifest.note,
        version=number,
        run_id=manifest.lineage.run_id,
    )
    puts = [
        Put(keys.item(pk, keys.version(number), version), absent=True),
        Put(keys.item(pk, keys.MODEL, record), absent=before is None, equals=_counter(before)),
        Put(
            keys.item(pk, keys.IDENTITY + manifest.identity, {"number": number, "operation": operation}),
            absent=True,
        ),
        Put(keys.item(pk, keys.ledger(now, operation), entry), absent=True),
    ]
    if before is None or msgspec.structs.replace(record, versions=before.versions) != before:
        puts.append(Put(keys.item(keys.CATALOGUE, manifest.model, line)))
    return puts


def _counter(before: ModelRecord | None) -> dict[str, str | int]:
    return {} if before is None else {"versions": before.versions}
