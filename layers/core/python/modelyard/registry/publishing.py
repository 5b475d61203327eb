"""Registering a version: bytes, then their proof, then one transaction.

    look ──► compile ──► put if absent, S3 checks ──► look again ──► version + counter + identity + ledger + marks

The last step is all or nothing. In this order a crash at any point leaves at most bytes that no record names and that a
sweep deletes, and never a record without its bytes. The counter is compare-and-set inside the transaction, so numbers
are dense: a writer that loses looks again and takes the next number, for as long as it takes. The mark is the object's
own item: a sweep that condemned the bytes meanwhile makes the transaction fail, and they are put there again.

The first look spares work: what is refused, or there already, is neither compiled nor sent. The second one decides.

A version that would break the callers of the live one is refused, unless somebody answers for it with a reason. What is
live is seen in the same look as the counter, in the attempt that writes, and not guarded by the transaction: a
promotion in between leaves the outcome that this registration would have had just before it. That hides nothing from
anybody, because a registration never makes anything live. What the race cannot do: put a version into the registry that
was compared with nothing although something was live when the attempt began.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from modelyard.contract.breaking import breaking
from modelyard.contract.signatures import Break
from modelyard.deployment import Deployment, LedgerEntry
from modelyard.errors import AWSError, ConflictError, UsageError
from modelyard.names import check_id, check_tags, check_text
from modelyard.ports import ConditionFailedError, Item, ObjectFacts, Put, no_progress, parts_sha256
from modelyard.registry import keys
from modelyard.registry.forms import Compiler, Contents, described
from modelyard.registry.manifests import compiled_manifest, manifest_of
from modelyard.registry.promises import accepted, refusal
from modelyard.registry.reading import HIGHEST_VERSION, Reader, as_record, check_number
from modelyard.registry.records import CatalogueLine, Mark, ModelRecord, Registered
from modelyard.version import Lineage, Manifest, Signature, StoredFile, Task, Version


class _Asked(NamedTuple):
    """What a caller wants, beside the version itself."""

    operation: str
    number: int | None
    accept_breaking: str | None


class _Seen(NamedTuple):
    """What the records said at one moment."""

    model: ModelRecord | None
    identity: Item | None
    deployment: Deployment | None
    marks: dict[str, Mark | None]


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
        compiler: Compiler | None = None,
        note: str = "",
        accept_breaking: str | None = None,
        description: str | None = None,
        owner: str | None = None,
        tags: Sequence[str] | None = None,
        number: int | None = None,
        progress: Callable[[int], None] = no_progress,
    ) -> Registered:
        """Make a version of ``artifact`` (admitted bytes, see ``modelyard.admission``), or find the one there is.

        Args:
            model: The model's name; its first version creates it.
            artifact: The ONNX file.
            task: What kind of answer the model gives.
            signature: What goes in and comes out.
            contract: What its training data looked like, in the JSON form of ``modelyard.contract``.
            metrics: Finite numbers by name.
            evaluation: Key of the evaluation report in the artifact bucket.
            lineage: Where it comes from; default: brought by a person.
            compiler: Compiles the artifact, when the version is a new one; None: it is served as it is.
            note: One sentence for people.
            accept_breaking: Why it may break the callers of the live version; it goes to the ledger. None: it may not.
            description: The model's description; None keeps the one there is.
            owner: The model's owner; None keeps the one there is.
            tags: The model's tags; None keeps those there are.
            number: The number that the caller expects; None takes the next.
            progress: Called with the bytes sent since the last call; never when they are there already.

        Raises:
            UsageError: When a value cannot be stored; nothing is written.
            ConflictError: When ``number`` is taken by another manifest or is not the next one, when other writers
                kept winning until the deadline, when the evaluation report was swept away, or with code
                ``breaking_contract`` and every break when callers of the live version would stumble over it.
        """
        manifest = manifest_of(
            model, artifact, task=task, signature=signature, contract=contract, metrics=metrics or {},
            evaluation=evaluation, lineage=lineage or Lineage(), note=note,
        )  # fmt: skip
        if description is not None:
            check_text(description, field="description")
        if owner is not None:
            check_text(owner, field="owner", lines=False)
        tags = None if tags is None else check_tags(tags)
        if number is not None:
            check_number(number)
        if accept_breaking is not None and not check_text(accept_breaking, field="accept_breaking").strip():
            raise UsageError(
                "the reason to accept breaks is empty; it is what the ledger tells later readers",
                code="reason_required",
                field="accept_breaking",
                next_step="Say in a sentence why the callers are ready for it.",
            )
        told = {"description": description, "owner": owner, "tags": tags}
        return self._record(
            manifest,
            artifact,
            {key: value for key, value in told.items() if value is not None},
            compiler=compiler,
            accept_breaking=accept_breaking,
            expected=number,
            progress=progress,
        )

    def _record(
        self,
        manifest: Manifest,
        artifact: bytes,
        told: dict[str, Any],
        *,
        compiler: Compiler | None,
        accept_breaking: str | None,
        expected: int | None,
        progress: Callable[[int], None],
    ) -> Registered:
        operation = check_id(self._new_id(), field="operation")
        asked = _Asked(operation, expected, accept_breaking)
        files: Contents = {manifest.key: (StoredFile(manifest.key, manifest.digest, manifest.size), artifact)}
        compared: dict[int, tuple[Break, ...]] = {}
        # A look before anything is made or sent: what is refused, or known, costs neither compilation nor upload.
        seen = self._observe(manifest, ())
        if seen.identity is None:
            self._next(manifest, seen, asked, compared)
            if compiler is not None:
                compilation, forms = described(compiler(artifact))
                manifest, files = compiled_manifest(manifest, compilation), forms | files
        for key, (file, content) in files.items():
            self._store(manifest.model, file, content, None, progress if key == manifest.key else no_progress)
        if seen.identity is not None:
            return self._known(manifest, seen.identity, asked)
        for _ in self._attempts():
            # Looked at anew, because an upload takes its time. The bytes were there before these marks were read: of
            # what no sweep has condemned by now, none has deleted anything.
            seen = self._observe(manifest, files)
            if seen.identity is not None:
                return self._known(manifest, seen.identity, asked)
            for key, mark in seen.marks.items():
                if key in files and mark is not None and mark.state == "condemned":
                    self._store(manifest.model, *files[key], mark, no_progress)
            number, details = self._next(manifest, seen, asked, compared)
            version = Version(number=number, manifest=manifest, author=self.actor, created_at=self._now())
            puts = [*_puts(version, seen.model, operation, told, details), *_marks(version, seen.marks)]
            try:
                self.records.transact(puts)
            except ConditionFailedError:
                continue  # another writer took the number, registered the very same, or a sweep condemned the bytes
            return Registered(version, created=True)
        raise _contended(manifest.model, self._deadline_s)

    def _observe(self, manifest: Manifest, files: Iterable[str]) -> _Seen:
        """What the records say at one moment: the counter and the identities that it counts never disagree."""
        pk = keys.partition(manifest.model)
        objects = list(dict.fromkeys([*files, *([manifest.evaluation] if manifest.evaluation is not None else [])]))
        model, identity, deployment, *marks = self.records.get_many(
            [
                (pk, keys.MODEL),
                (pk, keys.IDENTITY + manifest.identity),
                (pk, keys.DEPLOYMENT),
                *((keys.object_partition(key), keys.OBJECT) for key in objects),
            ]
        )
        return _Seen(
            as_record(model, ModelRecord),
            identity,
            as_record(deployment, Deployment),
            {key: as_record(mark, Mark) for key, mark in zip(objects, marks, strict=True)},
        )

    def _known(self, manifest: Manifest, identity: Item, asked: _Asked) -> Registered:
        """The version with this identity."""
        version = self.version(manifest.model, identity["number"])
        _check_expected(asked.number, version.number, manifest.model)
        # The operation is our own when the transaction was applied but its answer was lost.
        return Registered(version, created=identity["operation"] == asked.operation)

    def _next(
        self, manifest: Manifest, seen: _Seen, asked: _Asked, compared: dict[int, tuple[Break, ...]]
    ) -> tuple[int, dict[str, Any]]:
        """The number of a new version and what the ledger says of breaks; raises when there may be no such version."""
        number = 1 if seen.model is None else seen.model.versions + 1
        _check_expected(asked.number, number, manifest.model)
        report = seen.marks.get(manifest.evaluation) if manifest.evaluation is not None else None
        if report is not None and report.state == "condemned":
            raise ConflictError(
                f"the evaluation report {manifest.evaluation} was swept away: no version named it for too long",
                code="evaluation_swept",
                field="evaluation",
                next_step="Upload the data again: it starts a new run.",
            )
        if seen.deployment is None:
            return number, {}
        live = seen.deployment.champion
        if live not in compared:  # one read for each that was live in any attempt: versions never change
            compared[live] = breaking(self.version(manifest.model, live).manifest, manifest)
        if compared[live] and asked.accept_breaking is None:
            raise refusal(manifest.model, live, compared[live])
        return number, accepted(asked.accept_breaking, live, compared[live])

    def _store(
        self, model: str, file: StoredFile, content: bytes, mark: Mark | None, progress: Callable[[int], None]
    ) -> None:
        """Make sure that the bytes are there, whoever put them; the proof is the store's own checksum."""
        written = {"sha256": file.digest, "content_type": "application/octet-stream"}
        condemned = mark.version_id if mark is not None and mark.state == "condemned" else None
        for _ in self._attempts():
            facts = self.artifacts.head(file.key)
            if facts is None:
                stored = self.artifacts.put_if_absent(file.key, content, progress=progress, **written)
            elif facts.version_id == condemned:
                # It may be deleted at any moment; the same bytes as a new object version stay.
                stored = self.artifacts.put_if_match(file.key, content, etag=facts.etag, **written)
            elif facts.size == file.size and self._holds(file, content, facts):
                return
            else:
                raise AWSError(
                    f"artifact {file.key} holds other bytes ({facts.size} of them); expected {file.size} bytes "
                    "with that SHA-256",
                    code="artifact_damaged",
                    next_step="Restore the object from an earlier S3 version, then register again.",
                )
            if stored:
                return  # the store checked them while it took them
        raise _contended(model, self._deadline_s)

    def _holds(self, file: StoredFile, content: bytes, facts: ObjectFacts) -> bool:
        """Whether the stored object is the file, by the checksum with which the store took it."""
        if facts.sha256 is not None:
            return facts.sha256 == file.digest
        if facts.parts_sha256 == parts_sha256(content, self.artifacts.part_bytes):
            return True
        found = self.artifacts.get(file.key)  # put there without a checksum, or in other parts: read the bytes back
        return found is not None and hashlib.sha256(found.body).hexdigest() == file.digest


def _marks(version: Version, marks: dict[str, Mark | None]) -> list[Put]:
    """What keeps the objects of ``version`` from every sweep."""
    named = Mark(state="named", at=version.created_at, by=version.author)
    return [
        Put(
            keys.item(keys.object_partition(key), keys.OBJECT, named),
            absent=mark is None,
            equals={} if mark is None else {"state": mark.state, "version_id": mark.version_id},
        )
        for key, mark in marks.items()
        if mark is None or mark.state != "named"
    ]


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
    version: Version, before: ModelRecord | None, operation: str, told: dict[str, Any], details: dict[str, Any]
) -> list[Put]:
    """What makes ``version`` visible; ``told`` is what the caller says about the model, ``details`` about breaks."""
    manifest, number, now = version.manifest, version.number, version.created_at
    if number > HIGHEST_VERSION:
        raise ConflictError(f"model {manifest.model!r} has {HIGHEST_VERSION} versions, the most a model can have")
    pk = keys.partition(manifest.model)
    known = {} if before is None else {key: getattr(before, key) for key in ("description", "owner", "tags")}
    line = CatalogueLine(
        name=manifest.model,
        task=manifest.task,
        created_at=before.created_at if before else now,
        **(known | told),
    )
    record = ModelRecord(versions=number, **msgspec.structs.asdict(line))
    entry = LedgerEntry(
        model=manifest.model,
        at=now,
        operation=operation,
        kind="registered",
        actor=version.author,
        reason=details.get("accept_breaking") or manifest.note,
        version=number,
        run_id=manifest.lineage.run_id,
        details=details,
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


def _contended(model: str, deadline_s: float) -> ConflictError:
    return ConflictError(
        f"model {model!r} was written by others for {deadline_s:.0f} s without a pause; the version was not registered",
        code="contended",
        next_step="Run the command again: repeating it is safe.",
    )
