"""Which rollout a model has: the present one, the last, all of them; and the claim of another.

The item ``ROLLOUT`` says which rollout is the present or the last one; who begins another replaces it by
compare-and-set, so a model has one at a time.
"""

from modelyard.deployment import LedgerEntry
from modelyard.errors import AWSError, ConflictError, NotFoundError, UsageError
from modelyard.names import check_id, check_name, check_text
from modelyard.ports import ConditionFailedError, Page, Put
from modelyard.registry import keys
from modelyard.registry.deploying import Deployer
from modelyard.registry.reading import PAGE, check_number
from modelyard.rollout.record import Rollout, Step

LONGEST_ID = 100


class RolloutClaims(Deployer):
    """The registry's verbs that find rollouts, and the one that claims a model's traffic for another."""

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
                raise running(before)
            claimed = self._claimed(model, version, mine, reason)
            if self._claim(claimed, before):
                return claimed
        raise contended(model)

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
                next_step=f"Name another version; 'modelyard versions {model}' lists them.",
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
            writes.append(put_rollout(before, equals=before.revision))
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


def put_rollout(rollout: Rollout, *, equals: int) -> Put:
    """The record's write, if its revision is still as expected."""
    item = keys.item(keys.partition(rollout.model), keys.ROLLOUTS + rollout.rollout_id, rollout)
    return Put(item, equals={"revision": equals})


def running(rollout: Rollout) -> ConflictError:
    """The error for a model that has a rollout already."""
    present = rollout.present
    where = "has not begun yet" if present is None else f"is at {present.said} since {rollout.since}"
    return ConflictError(
        f"rollout {rollout.rollout_id} of version {rollout.version} of model {rollout.model!r} {where}; it was started "
        f"by {rollout.started_by}, and a model has one at a time",
        code="rollout_running",
        next_step=f"Look at 'modelyard rollout status {rollout.model}'; 'modelyard rollout abort {rollout.model}' ends "
        "it.",
    )


def contended(model: str) -> AWSError:
    """The error where others kept writing until the deadline."""
    # No conflict: in the workflow that means that something else is live now.
    return AWSError(
        f"the rollout of model {model!r} is being written by others without a pause",
        code="contended",
        next_step="Try again; repeating it is safe.",
    )
