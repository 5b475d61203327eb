"""What the retraining workflow writes down: claims, runs, accepted training files, failures.

Events are delivered at least once and tasks are repeated, so each verb here may be called again with the same
arguments, and then gives the first answer instead of writing a second record.
"""

import hashlib
from typing import Any, Literal, get_args

import msgspec

from modelyard.canonical import check_json
from modelyard.deployment import LedgerEntry
from modelyard.errors import ConflictError, UsageError
from modelyard.names import LONGEST_NOTE, check_id, check_name, check_unicode, legible
from modelyard.ports import ConditionFailedError, Put
from modelyard.registry import keys
from modelyard.registry.reading import Reader, S, check_number
from modelyard.registry.records import WEIGHT, DatasetFile, Learnt, Run, Status


class RunLog(Reader):
    """The registry's verbs for retraining."""

    def claim(self, bucket: str, key: str, version_id: str, run_id: str) -> bool:
        """Whether ``run_id`` is the one run that works on this object version; the first to ask is.

        Raises:
            UsageError: When a part is empty. A bucket without versioning gives no version id: use the ETag.
        """
        check_id(run_id, field="run_id")
        pk = _claims_on(bucket, key, version_id)
        claim = {"run_id": run_id, "claimed_at": self._now()}
        try:
            self.records.put(Put(keys.item(pk, version_id, claim), absent=True))
        except ConditionFailedError:
            return self.claimant(bucket, key, version_id) == run_id
        return True

    def claimant(self, bucket: str, key: str, version_id: str) -> str | None:
        """The id of the run that claimed this object version; None while none has.

        Raises:
            UsageError: When a part is empty.
        """
        taken = self.records.get(_claims_on(bucket, key, version_id), version_id)
        return None if taken is None else str(taken["run_id"])

    def claim_event(self, model: str, event: str, run_id: str) -> str:
        """The id of the one run that works on an event that is no upload; the first to ask is.

        Args:
            model: The model's name.
            event: An id of the event that every delivery of it has.
            run_id: Who asks.
        """
        pk, sk = keys.partition(check_name(model)), keys.CLAIMED + check_id(event, field="event")
        claim = {"run_id": check_id(run_id, field="run_id"), "claimed_at": self._now()}
        try:
            self.records.put(Put(keys.item(pk, sk, claim), absent=True))
        except ConditionFailedError:
            taken = self.records.get(pk, sk)
            return run_id if taken is None else str(taken["run_id"])
        return run_id

    def record_run(
        self,
        model: str,
        run_id: str,
        *,
        status: Status,
        reason: str = "",
        object: dict[str, Any] | None = None,  # noqa: A002 - the name of the stored attribute
        version: int | None = None,
        trigger: str = "",
        into: str | None = None,
        report: str | None = None,
        usd: float | None = None,
    ) -> Run:
        """Start a run (``running``) or say how it ended; what is given replaces what is stored, the rest stays.

        A finished run keeps its status unless the new one weighs more (``records.WEIGHT``); the stored run is
        returned either way.
        """
        check_name(model)
        check_id(run_id, field="run_id")
        reason = legible(check_unicode(reason, field="reason", limit=LONGEST_NOTE))
        check_json(object, field="object")
        check_unicode(trigger, field="trigger", limit=48)
        if status not in WEIGHT:
            raise UsageError(
                f"status {ascii(status)[:40]} is not one of {', '.join(WEIGHT)}", code="invalid_status", field="status"
            )
        if version is not None:
            check_number(version)
        pk, sk = keys.partition(model), keys.RUN + run_id
        for _ in self._attempts():
            before = self._find_run(model, run_id)
            is_failed_again = (
                before is not None
                and status == before.status == "failed"
                and (reason, report or before.report) != (before.reason, before.report)
            )
            if before is not None and WEIGHT[status] <= WEIGHT[before.status] and not is_failed_again:
                return before
            now = self._now()
            run = Run(
                model=model,
                run_id=run_id,
                status=status,
                reason=reason or ("" if before is None else before.reason),
                started_at=now if before is None else before.started_at,
                ended_at=None if status == "running" else now,
                object=object if object is not None or before is None else before.object,
                version=version if version is not None or before is None else before.version,
                trigger=trigger or ("" if before is None else before.trigger),
                into=into if into is not None or before is None else before.into,
                report=report if report is not None or before is None else before.report,
                usd=usd if usd is not None or before is None else before.usd,
            )
            expected = {} if before is None else {"status": before.status}
            try:
                self.records.put(Put(keys.item(pk, sk, run), absent=before is None, equals=expected))
            except ConditionFailedError:
                continue  # another delivery of the same event wrote it
            return run
        raise _contended(f"run {run_id!r} of model {model!r}")

    def add_dataset_file(
        self, model: str, *, bucket: str, key: str, version_id: str, sha256: str, rows: int, size: int, run_id: str,
        is_back: bool = False,
    ) -> DatasetFile:  # fmt: skip
        """Accept a training file; the same content is accepted once per model, and then the first line is returned.

        With ``is_back`` it is accepted once more, as this object version: other content had taken its place.
        """
        check_name(model)
        check_id(run_id, field="run_id")
        check_id(sha256, field="sha256")
        for field, text in (("bucket", bucket), ("key", key), ("version_id", version_id)):
            check_unicode(text, field=field, limit=1024)
        now = self._now()
        file = DatasetFile(
            model=model, at=now, bucket=bucket, key=key, version_id=version_id, sha256=sha256, rows=rows, size=size,
            run_id=run_id,
        )  # fmt: skip
        again = hashlib.sha256(f"{key}\n{version_id}".encode()).hexdigest()[:16] if is_back else ""
        return self._once(model, f"dataset-{sha256}{again and '-' + again}", keys.dataset(now, sha256), file)

    def record_outcome(
        self,
        model: str,
        kind: Literal["rejected", "failed"],
        *,
        run_id: str,
        reason: str,
        details: dict[str, Any] | None = None,
    ) -> LedgerEntry:
        """Write into the ledger that a run brought no version, and why; once per run and kind."""
        check_name(model)
        check_id(run_id, field="run_id")
        reason = legible(check_unicode(reason, field="reason", limit=LONGEST_NOTE))
        check_json(details, field="details")
        if kind not in get_args(Literal["rejected", "failed"]):
            raise UsageError(f"kind {ascii(kind)[:40]} is not one of rejected, failed", code="invalid_kind")
        operation = check_id(f"{kind}-{run_id}", field="run_id")
        now = self._now()
        entry = LedgerEntry(
            model=model, at=now, operation=operation, kind=kind, actor=self.actor, reason=reason, run_id=run_id,
            details=details or {},
        )  # fmt: skip
        return self._once(model, operation, keys.ledger(now, operation), entry)

    def record_learnt(
        self, model: str, digest: str, *, run_id: str, status: Status, reason: str, champion: int | None = None,
        version: int | None = None,
    ) -> None:  # fmt: skip
        """Note what a training came to, under the digest of what it learnt from; the last one counts."""
        check_name(model)
        check_id(digest, field="digest")
        learnt = Learnt(
            digest=digest, run_id=check_id(run_id, field="run_id"), status=status,
            reason=legible(check_unicode(reason, field="reason", limit=LONGEST_NOTE)), at=self._now(),
            champion=champion, version=version,
        )  # fmt: skip
        self.records.put(Put(keys.item(keys.partition(model), keys.LEARNT + digest, learnt)))

    def learnt(self, model: str, digest: str) -> Learnt | None:
        """What a training came to that learnt from this; None when none did."""
        return self._read(keys.partition(check_name(model)), keys.LEARNT + digest, Learnt)

    def _once(self, model: str, operation: str, sk: str, record: S) -> S:
        """Write ``record`` unless this operation wrote one before; the one that is stored, either way."""
        pk = keys.partition(model)
        stored = {"record": msgspec.to_builtins(record)}
        try:
            self.records.transact(
                [
                    Put(keys.item(pk, keys.ONCE + operation, stored), absent=True),
                    Put(keys.item(pk, sk, record), absent=True),
                ]
            )
        except ConditionFailedError:
            found = self.records.get(pk, keys.ONCE + operation)
            if found is None:
                raise _contended(f"{operation} of model {model!r}") from None
            return msgspec.convert(found["record"], type(record))
        return record


def _claims_on(bucket: str, key: str, version_id: str) -> str:
    """Where the claims on an upload lie, when its parts can name one."""
    for field, value in (("bucket", bucket), ("key", key), ("version_id", version_id)):
        if not check_unicode(value, field=field, limit=1024):
            raise UsageError(f"{field} is empty; a claim needs it", code="invalid_claim", field=field)
    return keys.claim_partition(bucket, key)


def _contended(what: str) -> ConflictError:
    return ConflictError(
        f"{what} is being written by somebody else", code="contended", next_step="Try again; repeating it is safe."
    )
