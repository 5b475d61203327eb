"""The rollouts of a model, as the registry keeps them: one at a time.

    read ──► decide (pure, modelyard.rollout.record) ──► one transaction: compare-and-set on the record's revision, and
    the line in the ledger

What a rollout changes of the deployment it changes by the registry's own verbs, under operation ids that follow from
its own id, so that a step that is repeated changes nothing twice, and anybody can tell its changes from those of
others.

The rule: traffic is taken back first, and the end is written down after it. Who dies in between leaves the champion
answering everything and a rollout that still says that it runs, which the next look ends.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from modelyard.deployment import Change, Deployment
from modelyard.errors import ConflictError, NotFoundError
from modelyard.names import LONGEST_REASON, check_text, legible
from modelyard.ports import ConditionFailedError, Put
from modelyard.registry import keys
from modelyard.registry.rollout_claims import RolloutClaims, contended, put_rollout, running
from modelyard.rollout import record
from modelyard.rollout.plan import RolloutPlan
from modelyard.rollout.record import Outcome, Rollout, Seen, Step

Decide = Callable[[Rollout, Change], Step]


class Rollouts(RolloutClaims):
    """The registry's verbs for rollouts."""

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
        self.take_back(rollout, reason=reason, by_person=True)
        if self.is_promoted(rollout):  # asked for after that: until the traffic is back, it may still be promoted
            raise ConflictError(
                f"version {rollout.version} of model {model!r} is live already: the rollout has come to its end",
                code="already_live",
                next_step=f"Run 'modelyard rollback {model}'.",
            )
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
                raise running(present)
        raise contended(model)

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
        raise contended(rollout.model)

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
        writes = [put_rollout(step.after, equals=before.revision)]
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


def _why(rollout: Rollout, reason: str) -> str:
    """The reason of a change of the deployment: people who read the ledger find the rollout by it."""
    return legible(f"rollout {rollout.rollout_id}: {reason or rollout.reason or 'begun'}")[:LONGEST_REASON]


def _unknown(model: str, rollout_id: str) -> NotFoundError:
    return NotFoundError(
        f"model {model!r} has no rollout {rollout_id!r}",
        code="no_rollout",
        field="rollout_id",
        next_step=f"Run 'modelyard rollout status {model}'.",
    )
