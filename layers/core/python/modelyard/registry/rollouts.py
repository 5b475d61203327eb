"""The rollouts of a model, as the registry keeps them: one at a time.

    read ──► decide (pure, modelyard.rollout.record) ──► one transaction: compare-and-set on the record's revision, and
    the line in the ledger

The item ``ROLLOUT`` says which rollout is the present or the last one; who begins another replaces it by
compare-and-set. What a rollout changes of the deployment it changes by the registry's own verbs, under operation ids
that follow from its own id, so that a step that is repeated changes nothing twice, and anybody can tell its changes
from those of others.

The rule: traffic is taken back first, and the end is written down after it. Who dies in between leaves the champion
answering everything and a rollout that still says that it runs, which the next look ends.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from modelyard.deployment import Change, Deployment, LedgerEntry
from modelyard.errors import AWSError, ConflictError, NotFoundError, UsageError
from modelyard.names import LONGEST_REASON, check_id, check_name, check_text, legible
from modelyard.ports import ConditionFailedError, Page, Put
from modelyard.registry import keys
from modelyard.registry.deploying import Deployer
from modelyard.registry.reading import PAGE, check_number
from modelyard.rollout import record
from modelyard.rollout.plan import RolloutPlan
from modelyard.rollout.record import Outcome, Rollout, Seen, Step

Decide = Callable[[Rollout, Change], Step]
LONGEST_ID = 100


class Rollouts(Deployer):
    """The registry's verbs for rollouts."""

    def rollout(self, model: str) -> Rollout | None:
        """The present rollout, or the last one; None when there never was one."""
        claim = self.records.get(keys.partition(check_name(model)), keys.ROLLOUT)
        return None if claim is None else self.rollout_called(model, str(claim["rollout_id"]))

    def latest_rollout(self, model: str) -> Rollout:
        """The present rollout, or the last one.

        Raises:
            NotFoundError: When there is no such model, or it never had one (code ``no_rollout``).
        """
        found = self.rollout(model)
        if found is None:
            self.model(model)  # raises when there is no such model
            raise NotFoundError(
                f"model {model!r} has had no rollout",
                code="no_rollout",
                field="model",
                next_step=f"Begin one: modelyard rollout start {model} VERSION",
            )
        return found

    def rollout_called(self, model: str, rollout_id: str) -> Rollout | None:
        """One of them; None when there is none of that id."""
        check_id(rollout_id, field="rollout_id")
        return self._read(keys.partition(check_name(model)), keys.ROLLOUTS + rollout_id, Rollout)

    def rollouts(self, model: str, *, limit: int = PAGE, start: str | None = None) -> Page[Rollout]:
        """All of them by id, highest first."""
        return self._list_of_model(model, keys.ROLLOUTS, Rollout, limit=limit, start=start)

    def start_rollout(self, model: str, version: int, *, rollout_id: str | None = None, reason: str = "") -> Rollout:
        """Claim the model's traffic for a rollout of ``version``.

        Asked again, by anybody, for the same version before its workflow has begun, it is the same rollout: so a start
        whose answer was lost, or whose execution never started, is simply repeated.

        Args:
            model: The model's name.
            version: The version that is to become the champion.
            rollout_id: Its id; a call with an id that was claimed returns that rollout.
            reason: Why, for the ledger.

        Raises:
            NotFoundError: When the model or the version does not exist.
            ConflictError: ``rollout_running``, naming the one there is; ``rollout_reused`` when the id is of another
                version's; ``trial_running`` when somebody put a version on trial by hand; ``no_champion``;
                ``already_live``.
        """
        check_number(version)
        check_text(reason, field="reason")
        given = None if rollout_id is None else _check_rollout_id(rollout_id)
        new_id = self._new_id()  # one for all attempts: after a lost answer it is recognised
        for _ in self._attempts():
            before = self.rollout(model)
            mine = given or new_id
            known = self.rollout_called(model, mine)
            if known is not None and known.version != version:
                raise ConflictError(
                    f"rollout {mine} of model {model!r} is of version {known.version} and not of version {version}",
                    code="rollout_reused",
                    field="rollout_id",
                    next_step="Use a new id for a new rollout.",
                )
            if known is not None:
                return known
            if before is not None and not before.has_ended:
                if given is None and before.version == version and not before.execution:
                    return before
                raise _running(before)
            claimed = self._claimed(model, version, mine, reason)
            if self._claim(claimed, before):
                return claimed
        raise _contended(model)

    def _claimed(self, model: str, version: int, rollout_id: str, reason: str) -> Rollout:
        self.version(model, version)
        live = self.deployment(model)
        if live is None:
            raise ConflictError(
                f"model {model!r} has no live version, so there is nothing to compare a challenger with",
                code="no_champion",
                next_step=f"Run 'modelyard promote {model} {version}'.",
            )
        if live.champion == version:
            raise ConflictError(
                f"version {version} of model {model!r} is live already, since {live.changed_at}",
                code="already_live",
                field="version",
            )
        if live.challengers:
            raise ConflictError(
                f"version {live.challenger} of model {model!r} is on trial ({live.mode}), since {live.changed_at} by "
                f"{live.changed_by}",
                code="trial_running",
                next_step=f"End it first: modelyard trial {model} --end",
            )
        return Rollout(
            model=model, rollout_id=rollout_id, version=version, champion=live.champion, deployed=live.revision,
            started_at=self._now(), started_by=self.actor, reason=reason,
        )  # fmt: skip

    def _claim(self, claimed: Rollout, before: Rollout | None) -> bool:
        pk = keys.partition(claimed.model)
        claim = Put(
            keys.item(pk, keys.ROLLOUT, {"rollout_id": claimed.rollout_id}),
            absent=before is None,
            equals={} if before is None else {"rollout_id": before.rollout_id},
        )
        entry = self._entry(claimed, Step(claimed, "rollout_started", claimed.reason), claimed.started_at)
        writes = [
            claim,
            Put(keys.item(pk, keys.ROLLOUTS + claimed.rollout_id, claimed), absent=True),
            Put(keys.item(pk, keys.ledger(entry.at, entry.operation), entry), absent=True),
        ]
        if before is not None:  # it has ended; a failed one that is taken up again at this moment has not
            writes.append(_put(before, equals=before.revision))
        try:
            self.records.transact(writes)
        except ConditionFailedError:
            return False
        return True

    # -- what a person does -------------------------------------------------------------------------------------------

    def pause_rollout(self, model: str, *, reason: str = "") -> Rollout:
        """Stay in the present step until somebody resumes; a bad verdict still takes the traffic back."""
        return self._by_person(model, record.pause, reason)

    def resume_rollout(self, model: str, *, reason: str = "") -> Rollout:
        """Go on."""
        return self._by_person(model, record.resume, reason)

    def approve_rollout(self, model: str, *, reason: str = "") -> Rollout:
        """Say that the version may become the champion. The record has the token of the execution that waits."""
        return self._by_person(model, lambda found, change: record.answer(found, change, approved=True), reason)

    def reject_rollout(self, model: str, *, reason: str = "") -> Rollout:
        """Say that it may not."""
        return self._by_person(model, lambda found, change: record.answer(found, change, approved=False), reason)

    def abort_rollout(self, model: str, *, reason: str = "") -> Rollout:
        """Give the champion all the traffic again, now, and end the rollout.

        Raises:
            ConflictError: ``rollout_ended``; ``already_live`` when its version has become the champion.
        """
        check_text(reason, field="reason")
        rollout = self.latest_rollout(model)
        if self.is_promoted(rollout):
            raise ConflictError(
                f"version {rollout.version} of model {model!r} is live already: the rollout has come to its end",
                code="already_live",
                next_step=f"Run 'modelyard rollback {model}'.",
            )
        self.take_back(rollout, reason=reason, by_person=True)
        return self._by_person(
            model, lambda found, change: record.finish(found, change, outcome="aborted", cause=record.STOPPED), reason
        )

    # -- what the workflow does ---------------------------------------------------------------------------------------

    def begin_rollout(
        self, model: str, rollout_id: str, *, plan: RolloutPlan, execution: str, alarms: tuple[str, ...] = ()
    ) -> Rollout:
        """Take up a rollout that was claimed, or again one that failed; done before, it is done.

        Raises:
            ConflictError: ``begun_elsewhere`` when another execution has it; ``rollout_ended``; when a failed one is
                taken up again also what `start_rollout` raises.
        """

        def decide(found: Rollout, change: Change) -> Step:
            there = self._claimed(model, found.version, rollout_id, "") if found.has_ended else found
            return record.begin(
                found, change, plan=plan, execution=execution, alarms=alarms, champion=there.champion,
                deployed=there.deployed,
            )  # fmt: skip

        return self.change_rollout(model, rollout_id, decide)

    def change_rollout(self, model: str, rollout_id: str, decide: Decide, *, reason: str = "") -> Rollout:
        """Apply a transition, however others change the record meanwhile; the record after it.

        Args:
            model: The model's name.
            rollout_id: Which rollout.
            decide: Gives the transition for the record as it is; the same record means that nothing is to change.
            reason: Why, for the ledger.

        Raises:
            NotFoundError: When there is no such rollout.
            ConflictError: What ``decide`` raises.
            AWSError: With code ``contended``, when others kept changing it until the deadline.
        """
        for _ in self._attempts():
            before = self.rollout_called(model, rollout_id)
            if before is None:
                raise _unknown(model, rollout_id)
            change = Change(model=model, at=self._clock(), by=self.actor, reason=legible(reason)[:LONGEST_REASON])
            step = decide(before, change)
            if step.after is before or self._changed(before, step):
                return step.after
            present = self.rollout(model)
            if before.has_ended and present is not None and present.rollout_id != rollout_id:
                raise _running(present)
        raise _contended(model)

    def note_look(self, model: str, rollout_id: str, seen: Callable[[Rollout], Seen]) -> Rollout:
        """Write down what a look came to; ``seen`` is asked for the record as it is now."""
        return self.change_rollout(model, rollout_id, lambda found, _: record.look(found, seen(found)))

    def end_rollout(
        self, model: str, rollout_id: str, *, outcome: Outcome, cause: str | None = None, reason: str = ""
    ) -> Rollout:
        """Write down how it ended; one that has ended stays as it is."""

        def decide(found: Rollout, change: Change) -> Step:
            if found.has_ended:
                return Step(found)
            return record.finish(found, change, outcome=outcome, cause=cause)

        return self.change_rollout(model, rollout_id, decide, reason=reason)

    def start_phase(self, rollout: Rollout, phase: int, *, reason: str = "") -> Rollout:
        """Move the traffic as a phase says, and write it down; done before, it is done.

        Raises:
            ConflictError: ``revision_changed`` when somebody else changed what is live; ``rollout_ended``.
        """
        if rollout.phase >= phase:
            return rollout
        there, model = rollout.phases[phase], rollout.model
        given: dict[str, Any] = {
            "reason": _why(rollout, reason),
            "expected_revision": rollout.deployed,
            "operation": rollout.operation(phase),
        }
        if there.mode == "shadow":
            live = self.start_shadow(model, rollout.version, **given)
        else:
            live = self.start_canary(model, rollout.version, split=there.share, **given)

        def decide(found: Rollout, change: Change) -> Step:
            if found.phase >= phase and not found.has_ended:
                return Step(found)
            return record.move(found, change, phase=phase, deployed=live.revision, since=live.changed_at)

        return self.change_rollout(model, rollout.rollout_id, decide, reason=reason)

    def promote_rollout(self, rollout: Rollout, *, reason: str = "") -> Rollout:
        """Make its version the champion, and end it; done before, it is done.

        Raises:
            ConflictError: ``revision_changed`` when somebody else changed what is live.
        """
        self.promote(
            rollout.model,
            rollout.version,
            reason=_why(rollout, reason),
            expected_revision=rollout.deployed,
            operation=rollout.operation("promote"),
        )
        return self.end_rollout(rollout.model, rollout.rollout_id, outcome="promoted", reason=reason)

    def is_promoted(self, rollout: Rollout) -> bool:
        """Whether it has made its version the champion, written down or not."""
        return self._applied(rollout, "promote") is not None

    def was_aborted(self, rollout: Rollout) -> Deployment | None:
        """The deployment by which a person took its traffic back, written down or not; None when nobody did."""
        return self._applied(rollout, "abort")

    def take_back(self, rollout: Rollout, *, reason: str = "", by_person: bool = False) -> bool:
        """Give the champion all the traffic that this rollout has taken; whether there was any.

        What somebody else changed since stays as it is.
        """
        for _ in self._attempts():
            live = self.deployment(rollout.model)
            if live is None or rollout.version not in live.challengers or not self._is_own(rollout, live):
                self.publish_pointer(rollout.model)  # for endpoints too, should a writer have died
                return False
            try:
                self.end_trial(
                    rollout.model,
                    reason=legible(reason) if by_person else _why(rollout, reason),
                    expected_revision=live.revision,
                    operation=rollout.operation("abort" if by_person else "back"),
                )
            except ConflictError as changed:
                if changed.code not in ("revision_changed", "no_trial"):
                    raise
                continue
            return True
        raise _contended(rollout.model)

    def _is_own(self, rollout: Rollout, live: Deployment) -> bool:
        """Whether the deployment is as this rollout left it, also where that was not written down any more."""
        if live.revision == rollout.deployed and rollout.phase >= 0:
            return True
        found = self._applied(rollout, rollout.phase + 1)
        if found is None:  # the record may have gone on meanwhile
            now = self.rollout_called(rollout.model, rollout.rollout_id)
            return now is not None and now.phase >= 0 and live.revision == now.deployed
        return live.revision == found.revision

    def _applied(self, rollout: Rollout, what: int | str) -> Deployment | None:
        """What one of its changes of the deployment left; None when it was not made."""
        item = self.records.get(keys.partition(rollout.model), keys.OPERATION + rollout.operation(what))
        return None if item is None else msgspec.convert(item["deployment"], Deployment)

    def _by_person(self, model: str, decide: Decide, reason: str) -> Rollout:
        check_text(reason, field="reason")
        return self.change_rollout(model, self.latest_rollout(model).rollout_id, decide, reason=reason)

    def _changed(self, before: Rollout, step: Step) -> bool:
        """Whether the record could be changed, with its line in the ledger; false when somebody else was first."""
        writes = [_put(step.after, equals=before.revision)]
        if before.has_ended:  # it is taken up again, if no other has begun since
            mine = {"rollout_id": before.rollout_id}
            writes.append(Put(keys.item(keys.partition(before.model), keys.ROLLOUT, mine), equals=mine))
        if step.kind is not None:
            entry = self._entry(step.after, step, self._now())
            place = keys.ledger(entry.at, entry.operation)
            writes.append(Put(keys.item(keys.partition(before.model), place, entry), absent=True))
        try:
            self.records.transact(writes)
        except ConditionFailedError:
            return False
        return True

    def _entry(self, rollout: Rollout, step: Step, at: str) -> LedgerEntry:
        assert step.kind is not None  # noqa: S101 - a step without a kind has no entry
        return LedgerEntry(
            model=rollout.model, at=at, operation=f"{rollout.rollout_id}-r{rollout.revision}", kind=step.kind,
            actor=self.actor, reason=step.reason, version=rollout.version, previous=rollout.champion,
            details={"rollout": rollout.rollout_id, **step.details},
        )  # fmt: skip


def _check_rollout_id(rollout_id: str) -> str:
    """The id, when there is room for what its changes add to it."""
    check_id(rollout_id, field="rollout_id")
    if len(rollout_id) > LONGEST_ID:
        raise UsageError(
            f"rollout_id has {len(rollout_id)} characters; at most {LONGEST_ID} are allowed",
            code="invalid_id",
            field="rollout_id",
        )
    return rollout_id


def _why(rollout: Rollout, reason: str) -> str:
    """The reason of a change of the deployment: people who read the ledger find the rollout by it."""
    return legible(f"rollout {rollout.rollout_id}: {reason or rollout.reason or 'begun'}")[:LONGEST_REASON]


def _put(rollout: Rollout, *, equals: int) -> Put:
    item = keys.item(keys.partition(rollout.model), keys.ROLLOUTS + rollout.rollout_id, rollout)
    return Put(item, equals={"revision": equals})


def _running(rollout: Rollout) -> ConflictError:
    present = rollout.present
    where = "has not begun yet" if present is None else f"is at {present.said} since {rollout.since}"
    return ConflictError(
        f"rollout {rollout.rollout_id} of version {rollout.version} of model {rollout.model!r} {where}; it was started "
        f"by {rollout.started_by}, and a model has one at a time",
        code="rollout_running",
        next_step=f"Look at 'modelyard rollout status {rollout.model}'; 'modelyard rollout abort {rollout.model}' ends "
        "it.",
    )


def _unknown(model: str, rollout_id: str) -> NotFoundError:
    return NotFoundError(
        f"model {model!r} has no rollout {rollout_id!r}",
        code="no_rollout",
        field="rollout_id",
        next_step=f"Run 'modelyard rollout status {model}'.",
    )


def _contended(model: str) -> AWSError:
    # No conflict: in the workflow that means that something else is live now.
    return AWSError(
        f"the rollout of model {model!r} is being written by others without a pause",
        code="contended",
        next_step="Try again; repeating it is safe.",
    )
