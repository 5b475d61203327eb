"""Changing what is live, and publishing it.

    read ──► decide (pure, modelyard.deployment) ──► one transaction: compare-and-set on the revision, ledger entry,
    deployment as of now, result of the operation ──► pointer

The transaction is the change; the pointer follows it. A writer that dies in between leaves a pointer that is behind,
which anybody may bring up to date: ``publish_pointer`` writes what the table says and never goes back to an older
revision.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from modelyard.deployment import (
    Change,
    ChangeKind,
    Deployment,
    LedgerEntry,
    end_trial,
    promote,
    rollback,
    shares_of,
    start_split,
    start_trial,
)
from modelyard.errors import AWSError, ConflictError, ModelyardError
from modelyard.names import check_id, check_name, check_text
from modelyard.pointer import Pointer, encode_pointer, pointer_for, pointer_revision
from modelyard.pointer_key import pointer_key
from modelyard.ports import ConditionFailedError, Put, every
from modelyard.registry import keys
from modelyard.registry.reading import Reader, check_number

Decision = Callable[[Deployment | None, Change], tuple[Deployment, int]]


class _Outcome(msgspec.Struct, frozen=True):
    """What an operation did, for whoever asks again after a lost answer."""

    kind: ChangeKind
    asked: int | None
    deployment: Deployment
    split: int | float = 0
    shares: tuple[tuple[int, int | float], ...] = ()


class _Asked(msgspec.Struct, frozen=True):
    """What a caller asks for; an operation that was applied has to be the same."""

    kind: ChangeKind
    version: int | None
    split: int | float = 0
    shares: tuple[tuple[int, int | float], ...] = ()

    @property
    def versions(self) -> tuple[int, ...]:
        """Every version that it names."""
        named = tuple(version for version, _ in self.shares)
        return named if self.version is None else (self.version, *named)


class Deployer(Reader):
    """The registry's verbs that change what is live."""

    def promote(
        self,
        model: str,
        version: int,
        *,
        reason: str = "",
        expected_revision: int | None = None,
        operation: str | None = None,
    ) -> Deployment:
        """Make ``version`` the champion and publish it.

        Args:
            model: The model's name.
            version: The version's number.
            reason: Why, for the ledger.
            expected_revision: The revision on which the caller decided (0: nothing is live yet); None takes the
                present one. Either way a change in between is a conflict and never overwritten.
            operation: Id of this change; a call with an id that was applied returns its result and changes nothing.

        Raises:
            NotFoundError: When the model or the version does not exist.
            ConflictError: ``already_live``; ``revision_changed``, naming who changed what and when;
                ``operation_reused`` when the id belongs to another change.
        """
        check_number(version)
        return self._change(
            model,
            _Asked("promoted", version),
            lambda current, change: (promote(current, version, change), 0),
            reason=reason,
            expected_revision=expected_revision,
            operation=operation,
        )

    def rollback(
        self,
        model: str,
        *,
        to: int | None = None,
        reason: str = "",
        expected_revision: int | None = None,
        operation: str | None = None,
    ) -> Deployment:
        """Put the champion before the present one live again, or the earlier champion ``to``, and publish it.

        A second rollback goes one further back. Arguments and errors as for ``promote``; also ``no_predecessor`` and
        ``not_a_predecessor``.
        """
        if to is not None:
            check_number(to)
        return self._change(
            model,
            _Asked("rolled_back", to),
            lambda current, change: rollback(current, self._ledger(model), change, to=to),
            reason=reason,
            expected_revision=expected_revision,
            operation=operation,
        )

    def start_shadow(
        self,
        model: str,
        version: int,
        *,
        reason: str = "",
        expected_revision: int | None = None,
        operation: str | None = None,
    ) -> Deployment:
        """Let ``version`` answer beside the champion, unseen, and publish it.

        Arguments and errors as for ``promote``; also ``no_champion`` and ``already_on_trial``.
        """
        check_number(version)
        return self._change(
            model,
            _Asked("shadow_started", version),
            lambda current, change: (start_trial(current, version, change, mode="shadow"), 0),
            reason=reason,
            expected_revision=expected_revision,
            operation=operation,
        )

    def start_canary(
        self,
        model: str,
        version: int,
        *,
        split: float,
        reason: str = "",
        expected_revision: int | None = None,
        operation: str | None = None,
    ) -> Deployment:
        """Let ``version`` answer ``split`` percent of the requests, and publish it; also to change the share.

        From 0.01 to 99.99, at most two decimals. Who is routed to it stays there while its share grows.
        Arguments and errors as for ``start_shadow``; also ``invalid_split``.
        """
        check_number(version)
        return self._change(
            model,
            _Asked("canary_started", version, split),
            lambda current, change: (start_trial(current, version, change, mode="canary", split=split), 0),
            reason=reason,
            expected_revision=expected_revision,
            operation=operation,
        )

    def start_split(
        self,
        model: str,
        shares: Mapping[int, float],
        *,
        reason: str = "",
        expected_revision: int | None = None,
        operation: str | None = None,
    ) -> Deployment:
        """Let each version of ``shares`` answer so many percent, the champion the rest, and publish it: an A/B test.

        Where one of them is answering already, its callers stay, as far as the shares allow.
        Arguments and errors as for ``start_canary``.
        """
        for version in shares:
            check_number(version)
        return self._change(
            model,
            _Asked("split_started", None, shares=tuple(sorted(shares.items()))),
            lambda current, change: (start_split(current, shares, change), 0),
            reason=reason,
            expected_revision=expected_revision,
            operation=operation,
        )

    def start_shares(
        self,
        model: str,
        shares: Mapping[int, float],
        *,
        reason: str = "",
        expected_revision: int | None = None,
        operation: str | None = None,
    ) -> Deployment:
        """``start_canary`` for one version and ``start_split`` for more, as the ledger calls them."""
        change: dict[str, Any] = {"reason": reason, "expected_revision": expected_revision, "operation": operation}
        if len(shares) == 1:
            ((version, split),) = shares.items()
            return self.start_canary(model, version, split=split, **change)
        return self.start_split(model, shares, **change)

    def end_trial(
        self, model: str, *, reason: str = "", expected_revision: int | None = None, operation: str | None = None
    ) -> Deployment:
        """Take every challenger off, whatever the trial, and publish it; the champion stays.

        Arguments and errors as for ``promote``; also ``no_trial``.
        """
        return self._change(
            model,
            _Asked("trial_ended", None),
            lambda current, change: (end_trial(current, change), 0),
            reason=reason,
            expected_revision=expected_revision,
            operation=operation,
        )

    def publish_pointer(self, model: str, *, even_back: bool = False) -> Pointer | None:
        """Bring the pointer up to the deployment in the table, never back; safe to call at any time, from anywhere.

        Args:
            model: The model's name.
            even_back: Also where the pointer is newer. For a person who knows that the table was restored from a
                backup; anything else that finds a newer pointer has read the table too early.

        Returns:
            The pointer as the table has it, or None when nothing is live. A pointer that is newer than what was read
            from the table stays as it is.

        Raises:
            ConflictError: When other writers kept changing the pointer until the deadline.
        """
        key = pointer_key(check_name(model))
        for _ in self._attempts():
            deployment = self.deployment(model)
            if deployment is None:
                return None
            numbers = (deployment.champion, *deployment.challengers)
            pointer = pointer_for(deployment, {number: self.version(model, number) for number in numbers})
            body = encode_pointer(pointer)
            there = self.artifacts.get(key)
            if there is None:
                written = self.artifacts.put_if_absent(key, body, content_type="application/json")
            elif there.body == body or (pointer_revision(there.body) >= pointer.revision and not even_back):
                return pointer
            else:
                written = self.artifacts.put_if_match(key, body, etag=there.etag, content_type="application/json")
            if written:
                return pointer
        raise ConflictError(
            f"the pointer of model {model!r} was written by others for {self._deadline_s:.0f} s without a pause",
            code="contended",
            next_step="Run the command again; repeating it is safe.",
        )

    def _change(
        self,
        model: str,
        asked: _Asked,
        decide: Decision,
        *,
        reason: str,
        expected_revision: int | None,
        operation: str | None,
    ) -> Deployment:
        check_name(model)
        check_text(reason, field="reason")
        operation = check_id(self._new_id() if operation is None else operation, field="operation")
        recorded = self._recorded(model, asked, operation)
        if recorded is None:
            if not asked.versions:
                self.model(model)  # raises when there is no such model, as reading the version does
            for version in asked.versions:
                self.version(model, version)
            try:
                recorded = self._apply(model, asked, decide, reason, expected_revision, operation)
            except ConflictError:
                # Ours, if only the answer was lost, or if the same operation was sent twice and the other was first.
                recorded = self._recorded(model, asked, operation)
                if recorded is None:
                    # Whoever repeats a change after its writer died: what is live shall be so for endpoints too.
                    with suppress(ModelyardError):
                        self.publish_pointer(model)
                    raise
        self._publish_change(recorded)
        return recorded

    def _apply(
        self,
        model: str,
        asked: _Asked,
        decide: Decision,
        reason: str,
        expected_revision: int | None,
        operation: str,
    ) -> Deployment:
        current = self.deployment(model)
        revision = 0 if current is None else current.revision
        if expected_revision is not None and expected_revision != revision:
            raise _changed(model, current, expected_revision)
        try:
            after, steps = decide(current, Change(model=model, at=self._clock(), by=self.actor, reason=reason))
        except ConflictError as refused:
            now = self.deployment(model)  # the ledger was read later: what it refuses may be about a newer revision
            if now != current:
                raise _changed(model, now, revision) from refused
            raise
        outcome = _Outcome(asked.kind, asked.version, after, asked.split, asked.shares)
        try:
            self.records.transact(_puts(current, after, steps, outcome, operation))
        except ConditionFailedError as lost:
            raise _changed(model, self.deployment(model), revision) from lost
        return after

    def _recorded(self, model: str, asked: _Asked, operation: str) -> Deployment | None:
        outcome = self._read(keys.partition(model), keys.OPERATION + operation, _Outcome)
        if outcome is None:
            return None
        if _Asked(outcome.kind, outcome.asked, outcome.split, outcome.shares) != asked:
            raise ConflictError(
                f"operation {operation!r} of model {model!r} was another change: {outcome.kind.replace('_', ' ')} at "
                f"{outcome.deployment.changed_at}, which left version {outcome.deployment.champion} live",
                code="operation_reused",
                field="operation",
                next_step="Use a new id for a new change.",
            )
        return outcome.deployment

    def _publish_change(self, deployment: Deployment) -> None:
        try:
            self.publish_pointer(deployment.model)
        except ModelyardError as failed:
            raise AWSError(
                f"version {deployment.champion} of model {deployment.model!r} is live in the registry (revision "
                f"{deployment.revision}), but endpoints may not follow yet: {failed.message}",
                code="pointer_behind",
                next_step=f"Run 'modelyard promote {deployment.model} {deployment.champion}': it publishes the pointer "
                "and changes nothing else.",
            ) from failed

    def _ledger(self, model: str) -> Iterator[LedgerEntry]:
        """The whole ledger, newest first, read page by page as it is asked for."""
        return every(lambda start: self.history(model, limit=100, start=start))


def _changed(model: str, current: Deployment | None, expected: int) -> ConflictError:
    """The conflict that tells a writer what happened since the revision on which it decided."""
    if current is None:
        found = "nothing is live"
    else:
        found = (
            f"it is at revision {current.revision}: {current.changed_by} changed it at {current.changed_at}, "
            f"version {current.champion} is live"
        )
    return ConflictError(
        f"the deployment of model {model!r} is not at revision {expected} any more; {found}",
        code="revision_changed",
        field="expected_revision",
        next_step=f"Look at 'modelyard history {model}' and repeat the change if it still holds.",
    )


def _puts(before: Deployment | None, after: Deployment, steps: int, outcome: _Outcome, operation: str) -> list[Put]:
    """The one transaction that makes ``after`` the truth."""
    pk = keys.partition(after.model)
    entry = LedgerEntry(
        model=after.model,
        at=after.changed_at,
        operation=operation,
        kind=outcome.kind,
        actor=after.changed_by,
        reason=after.reason,
        version=_subject(before, after, outcome.kind),
        previous=None if before is None else before.champion,
        revision=after.revision,
        steps=steps,
        details=_details(after),
    )
    return [
        Put(
            keys.item(pk, keys.DEPLOYMENT, after),
            absent=before is None,
            equals={} if before is None else {"revision": before.revision},
        ),
        Put(keys.item(pk, keys.ledger(after.changed_at, operation), entry), absent=True),
        Put(keys.item(pk, keys.DEPLOYED + after.changed_at, after), absent=True),
        Put(keys.item(pk, keys.OPERATION + operation, outcome), absent=True),
    ]


def _details(after: Deployment) -> dict[str, Any]:
    """What the ledger keeps of a trial beside its version."""
    if after.mode != "canary":
        return {}
    if not after.others:
        return {"split": after.split}
    return {"shares": {str(version): share for version, share in shares_of(after).items()}}


def _subject(before: Deployment | None, after: Deployment, kind: ChangeKind) -> int | None:
    """The version that the change is about."""
    if kind == "trial_ended":
        return None if before is None else before.challenger
    return after.champion if after.challenger is None else after.challenger
