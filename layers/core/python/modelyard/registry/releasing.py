"""Overrides of code releases: which alarms somebody let a release pass, until when, and why. All of them stay."""

from collections.abc import Sequence

from modelyard.deployment import LedgerEntry
from modelyard.errors import ConflictError, UsageError
from modelyard.names import check_id, check_name, check_text
from modelyard.ports import ConditionFailedError, Put
from modelyard.registry import keys
from modelyard.registry.reading import Reader
from modelyard.release_override import VALID, ReleaseOverride, check_alarms
from modelyard.times import stamp


class Releaser(Reader):
    """The registry's verbs for overrides of code releases."""

    def release_override(self, model: str, operation: str) -> ReleaseOverride | None:
        """The override of this id; None when there is none."""
        pk = keys.partition(check_name(model))
        return self._read(pk, keys.RELEASE_OVERRIDE + check_id(operation, field="operation"), ReleaseOverride)

    def override_release(
        self, model: str, alarms: Sequence[str], *, reason: str, operation: str | None = None
    ) -> ReleaseOverride:
        """Write down that a release of the endpoint's code may pass these alarms, which fire already.

        A model without versions has an endpoint too, so none is asked for.

        Args:
            model: The model's name.
            alarms: Of ``modelyard.release_override.ALARMS``.
            reason: Why, for the ledger.
            operation: Id of the override; a call with an id that was written returns what it wrote, and writes nothing.

        Raises:
            UsageError: Without a reason, or with other alarms.
            ConflictError: ``operation_reused`` when the id belongs to an override of other alarms.
        """
        check_name(model)
        chosen = check_alarms(alarms)
        if not check_text(reason, field="reason").strip():
            raise UsageError(
                "an override needs a reason: a release passes alarms that fire",
                code="reason_required",
                field="reason",
                next_step="Say it with --reason.",
            )
        operation = check_id(self._new_id() if operation is None else operation, field="operation")
        moment, pk = self._clock(), keys.partition(model)
        override = ReleaseOverride(model=model, operation=operation, alarms=chosen, until=stamp(moment + VALID))
        entry = LedgerEntry(
            model=model, at=stamp(moment), operation=operation, kind="release_override", actor=self.actor,
            reason=reason, details={"alarms": list(chosen), "until": override.until},
        )  # fmt: skip
        try:
            self.records.transact(
                [
                    Put(keys.item(pk, keys.RELEASE_OVERRIDE + operation, override), absent=True),
                    Put(keys.item(pk, keys.ledger(entry.at, operation), entry), absent=True),
                ]
            )
        except ConditionFailedError as there:
            # Written before, or ours, if only the answer was lost.
            found = self.release_override(model, operation)
            if found is None or found.alarms != chosen:
                raise _reused(model, operation, found) from there
            return found
        return override


def _reused(model: str, operation: str, found: ReleaseOverride | None) -> ConflictError:
    was = "another change" if found is None else f"an override of {', '.join(found.alarms)}, good until {found.until}"
    return ConflictError(
        f"operation {operation!r} of model {model!r} was {was}",
        code="operation_reused",
        field="operation",
        next_step="Use a new id for a new override.",
    )
