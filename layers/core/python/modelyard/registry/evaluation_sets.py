"""The frozen evaluation sets of a model: which rows judge its versions, and who decided about them.

Sets are numbered from 1 and never change. The first is frozen by the first training; once there is a version, another
only after somebody asked for it, and said why. Both stand in the ledger.
"""

import msgspec

from modelyard.deployment import LedgerEntry
from modelyard.errors import ConflictError, NotFoundError, UsageError
from modelyard.names import LONGEST_REASON, check_id, check_name, check_text, check_unicode
from modelyard.ports import ConditionFailedError, Put
from modelyard.registry import keys
from modelyard.registry.reading import Reader
from modelyard.registry.records import FrozenSet, ModelRecord, RefreshRequest

_UNUSED = "no version was measured on the set before"


class EvaluationSets(Reader):
    """The registry's verbs for frozen evaluation sets."""

    def evaluation_set(self, model: str) -> FrozenSet | None:
        """The set that is in force; None before the first training."""
        found = self.records.query(keys.partition(check_name(model)), prefix=keys.EVALUATION_SET, reverse=True, limit=1)
        return msgspec.convert(found.items[0], FrozenSet) if found.items else None

    def has_versions(self, model: str) -> bool:
        """Whether any version was registered."""
        found = self._read(keys.partition(check_name(model)), keys.MODEL, ModelRecord)
        return found is not None and found.versions > 0

    def evaluation_sets(self, model: str) -> tuple[FrozenSet, ...]:
        """All of them, oldest first."""
        found = self.records.query(keys.partition(check_name(model)), prefix=keys.EVALUATION_SET)
        return tuple(msgspec.convert(item, FrozenSet) for item in found.items)

    def evaluation_set_numbered(self, model: str, number: int) -> FrozenSet | None:
        """One of them."""
        return self._read(keys.partition(check_name(model)), keys.evaluation_set(number), FrozenSet)

    def refresh_request(self, model: str) -> RefreshRequest | None:
        """Who asked for another set than the one in force, and why; None when nobody did since it was frozen."""
        current = self.evaluation_set(model)
        if current is None:
            return None
        return self._read(keys.partition(model), keys.refresh(current.number), RefreshRequest)

    def request_refresh(self, model: str, *, reason: str) -> RefreshRequest:
        """Ask for another evaluation set; the next training freezes it. Asked twice, the first request stands.

        Raises:
            UsageError: Without a reason.
            NotFoundError: When there is no set yet: the first training freezes one by itself.
        """
        check_name(model)
        if not check_text(reason, field="reason", limit=LONGEST_REASON).strip():
            raise UsageError(
                "a refresh needs a reason: from then on new versions are measured on other rows",
                code="reason_required",
                field="reason",
                next_step="Say it with --reason.",
            )
        current = self.evaluation_set(model)
        if current is None:
            raise NotFoundError(
                f"model {model!r} has no evaluation set yet; its first training freezes one",
                code="no_evaluation_set",
                next_step=f"Upload data: modelyard upload {model} FILE",
            )
        now, pk = self._now(), keys.partition(model)
        request = RefreshRequest(model=model, replaces=current.number, at=now, by=self.actor, reason=reason)
        operation = f"refresh-{current.number}"
        entry = LedgerEntry(
            model=model, at=now, operation=operation, kind="refresh_requested", actor=self.actor, reason=reason,
            details={"evaluation_set": current.number},
        )  # fmt: skip
        try:
            self.records.transact(
                [
                    Put(keys.item(pk, keys.refresh(current.number), request), absent=True),
                    Put(keys.item(pk, keys.ledger(now, operation), entry), absent=True),
                ]
            )
        except ConditionFailedError:
            found = self.refresh_request(model)
            if found is None:
                raise _contended(model) from None
            return found
        return request

    def freeze_evaluation_set(
        self, model: str, *, number: int, key: str, sha256: str, rows: int, rule: str, run_id: str
    ) -> FrozenSet:
        """Put a set in force: the first, one that was asked for, or any while there is no version to have used it.

        Whoever is first wins; theirs is returned.

        Args:
            model: The model's name.
            number: The set's number: one more than that of the set in force.
            key: Where its rows lie in the artifact bucket.
            sha256: Of those bytes, in hex.
            rows: How many there are.
            rule: How they were chosen, in words.
            run_id: The run that chose.
        """
        check_name(model)
        check_id(run_id, field="run_id")
        check_id(sha256, field="sha256")
        check_unicode(key, field="key", limit=1024)
        now, pk = self._now(), keys.partition(model)
        request = self._read(pk, keys.refresh(number - 1), RefreshRequest) if number > 1 else None
        is_used = number > 1 and self.has_versions(model)
        if is_used and request is None:
            raise ConflictError(
                f"nobody asked for evaluation set {number} of model {model!r}",
                code="refresh_not_requested",
                next_step=f"Run 'modelyard dataset {model} --refresh-evaluation --reason ...'.",
            )
        frozen = FrozenSet(
            model=model, number=number, key=key, sha256=sha256, rows=rows, rule=rule, at=now, by=self.actor,
            run_id=run_id, reason=request.reason if request else "" if number == 1 else _UNUSED,
        )  # fmt: skip
        operation = f"frozen-{number}"
        entry = LedgerEntry(
            model=model, at=now, operation=operation, kind="evaluation_frozen", actor=self.actor, run_id=run_id,
            reason=f"evaluation set {number}: {rows:,} rows, {rule}"[:LONGEST_REASON],
            details={"evaluation_set": number, "rows": rows, "sha256": sha256, "key": key},
        )  # fmt: skip
        try:
            self.records.transact(
                [
                    Put(keys.item(pk, keys.evaluation_set(number), frozen), absent=True),
                    Put(keys.item(pk, keys.ledger(now, operation), entry), absent=True),
                ]
            )
        except ConditionFailedError:
            found = self._read(pk, keys.evaluation_set(number), FrozenSet)
            if found is None:
                raise _contended(model) from None
            return found
        return frozen


def _contended(model: str) -> ConflictError:
    return ConflictError(
        f"the evaluation sets of model {model!r} are being written by somebody else",
        code="contended",
        next_step="Try again; repeating it is safe.",
    )
