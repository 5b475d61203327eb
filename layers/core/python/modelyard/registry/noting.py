"""The owner's notes about a model: words beside what the registry knows, kept with who wrote them and when."""

from modelyard.deployment import LedgerEntry
from modelyard.errors import ConflictError
from modelyard.names import LONGEST_NOTES, check_id, check_name, check_text
from modelyard.ports import ConditionFailedError, Put
from modelyard.registry import keys
from modelyard.registry.reading import Reader
from modelyard.registry.records import Notes


class Noter(Reader):
    """The registry's verbs for notes."""

    def notes(self, model: str) -> Notes | None:
        """The notes about a model, or None."""
        return self._read(keys.partition(check_name(model)), keys.NOTES, Notes)

    def write_notes(self, model: str, text: str, *, expected_revision: int | None = None) -> Notes:
        """Replace the notes about a model; the ledger keeps what was written when, and by whom.

        Args:
            model: The model's name.
            text: Markdown, at most 10,000 characters; empty takes the notes away.
            expected_revision: The revision that the caller read (0: there were none); None takes the present one.

        Returns:
            The notes as they are; unchanged when ``text`` is what they say already.

        Raises:
            NotFoundError: When the model does not exist.
            ConflictError: With code ``revision_changed`` when somebody else wrote them meanwhile.
        """
        check_text(text, field="notes", limit=LONGEST_NOTES)
        self.model(model)
        before = self.notes(model)
        revision = 0 if before is None else before.revision
        if text == ("" if before is None else before.text):
            return before or Notes(model=model, text="", at=self._now(), by=self.actor, revision=0)
        if expected_revision is not None and expected_revision != revision:
            raise _changed(model, before, expected_revision)
        operation, now = check_id(self._new_id(), field="operation"), self._now()
        after = Notes(model=model, text=text, at=now, by=self.actor, revision=revision + 1)
        entry = LedgerEntry(
            model=model, at=now, operation=operation, kind="noted", actor=self.actor,
            reason="wrote the notes" if text else "took the notes away", details={"text": text},
        )  # fmt: skip
        pk = keys.partition(model)
        try:
            self.records.transact(
                [
                    Put(
                        keys.item(pk, keys.NOTES, after),
                        absent=before is None,
                        equals={} if before is None else {"revision": revision},
                    ),
                    Put(keys.item(pk, keys.ledger(now, operation), entry), absent=True),
                ]
            )
        except ConditionFailedError as lost:
            found = self.notes(model)
            if found == after:
                return after  # ours: only the answer was lost
            raise _changed(model, found, revision) from lost
        return after


def _changed(model: str, found: Notes | None, expected: int) -> ConflictError:
    state = "they are gone" if found is None else f"{found.by} wrote revision {found.revision} at {found.at}"
    return ConflictError(
        f"the notes of model {model!r} are not at revision {expected} any more; {state}",
        code="revision_changed",
        field="expected_revision",
        next_step=f"Look at 'modelyard notes {model}' and repeat the change if it still holds.",
    )
