"""A rollout as it is written down, and how it may change: pure transitions over one frozen struct.

    claimed ──begin──► begun ──move──► phase 0 ──move──► phase 1 ──► … ──► ended: promoted, aborted, refused, …
                                  look · pause · resume · ask · answer

The rule: every transition takes the record as it is and gives the next one, with ``revision`` one higher; the registry
applies it by compare-and-set, with a line in the ledger. An ended rollout changes no more, but for one that failed and
is taken up again. Nothing here reads, writes or looks at a clock.
"""

import datetime as dt
from typing import Any, Literal

import msgspec

from modelyard.deployment import Change, Kind
from modelyard.errors import ConflictError
from modelyard.rollout.plan import Phase, RolloutPlan
from modelyard.times import stamp, stamp_after

Outcome = Literal["promoted", "aborted", "refused", "undecided", "superseded", "failed"]
OUTCOMES: tuple[Outcome, ...] = ("promoted", "aborted", "refused", "undecided", "superseded", "failed")
STOPPED = "stopped_by_a_person"
"""The cause of a rollout that a person ended."""
MOST_REASONS = 3
"""Of a verdict's reasons, in the record; its document has them all."""


class Said(msgspec.Struct, frozen=True):
    """Who did something, when and why."""

    at: str
    by: str
    reason: str = ""


class Approval(msgspec.Struct, frozen=True):
    """A question to a person, and the answer; ``token`` lets the execution that waits go on at once."""

    asked_at: str
    token: str = ""
    answer: Literal["approved", "refused"] | None = None
    answered: Said | None = None

    def __repr__(self) -> str:
        return f"Approval(asked_at={self.asked_at!r}, answer={self.answer!r})"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the last look came to.

    Attributes:
        at: When.
        decision: ``promote``, ``continue`` or ``abort``: the verdict's.
        cause: What is wrong with the challenger, a code; None unless it aborts.
        reasons: Its first reasons.
        requests: Requests of this phase that the challenger was asked, as captured.
        counted: Of those, how many the verdict rests on.
        waits_for: What the rollout waits for, in words.
        wait_s: Seconds until the next look.
    """

    at: str
    decision: str
    cause: str | None = None
    reasons: tuple[str, ...] = ()
    requests: int = 0
    counted: int = 0
    waits_for: str = ""
    wait_s: int = 0


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """One rollout of one version.

    Attributes:
        champion: The version that answers until the promotion.
        deployed: The deployment's revision after the rollout's own last change, or at its start. A deployment of
            another revision was changed by somebody else.
        attempt: Rises when a failed rollout is taken up again, so that its changes have ids of their own.
        execution: The workflow's execution, once it has begun.
        phase: Which of the plan's phases it is in; -1 before the first.
        since: When that phase began.
        deadline: When it ends undecided.
        alarms: The endpoint's alarms that were firing when it began; they say nothing about it.
        looks: How often a verdict was asked for.
        outcome: How it ended; None while it goes on. ``cause`` is a code, ``end`` who ended it and why.
        revision: Rises with every change of this record.
    """

    model: str
    rollout_id: str
    version: int
    champion: int
    deployed: int
    started_at: str
    started_by: str
    reason: str = ""
    revision: int = 1
    attempt: int = 1
    execution: str = ""
    plan: RolloutPlan | None = None
    phase: int = -1
    since: str = ""
    deadline: str = ""
    alarms: tuple[str, ...] = ()
    looks: int = 0
    seen: Seen | None = None
    paused: Said | None = None
    approval: Approval | None = None
    outcome: Outcome | None = None
    cause: str | None = None
    end: Said | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing changes it any more."""
        return self.outcome is not None

    @property
    def phases(self) -> tuple[Phase, ...]:
        """What it goes through before the promotion."""
        return () if self.plan is None else self.plan.phases

    @property
    def present(self) -> Phase | None:
        """The phase that it is in."""
        return self.phases[self.phase] if 0 <= self.phase < len(self.phases) else None

    def operation(self, what: int | str) -> str:
        """The id of one of its changes of the deployment: a phase by its number, ``promote`` or ``back``."""
        return f"{self.rollout_id}-{self.attempt}-{what}"


class Step(msgspec.Struct, frozen=True):
    """A transition: the record after it, and what the ledger says; without a kind the ledger says nothing."""

    after: Rollout
    kind: Kind | None = None
    reason: str = ""
    details: dict[str, Any] = {}


def begin(
    rollout: Rollout,
    change: Change,
    *,
    plan: RolloutPlan,
    execution: str,
    alarms: tuple[str, ...],
    champion: int,
    deployed: int,
) -> Step:
    """The workflow has taken the rollout up; or again, where it had failed.

    Raises:
        ConflictError: With code ``begun_elsewhere`` when another execution has it; ``rollout_ended``.
    """
    if rollout.has_ended and rollout.outcome != "failed":
        raise _ended(rollout)
    if rollout.execution == execution and not rollout.has_ended:
        return Step(rollout)
    if rollout.execution not in ("", execution):
        raise ConflictError(
            f"rollout {rollout.rollout_id} of model {rollout.model!r} was begun by another execution",
            code="begun_elsewhere",
        )
    again = rollout.has_ended
    after = _next(
        rollout, plan=plan, execution=execution, alarms=alarms, since=stamp(change.at), phase=-1, looks=0,
        deadline=stamp(change.at + dt.timedelta(hours=plan.longest_hours)), champion=champion, deployed=deployed,
        outcome=None, cause=None, end=None, paused=None, approval=None, seen=None,
        attempt=rollout.attempt + int(again),
    )  # fmt: skip
    return Step(after, "rollout_resumed", change.reason) if again else Step(after)


def move(rollout: Rollout, change: Change, *, phase: int, deployed: int, since: str) -> Step:
    """The traffic is as a phase says."""
    _refuse_ended(rollout)
    there = rollout.phases[phase]
    details = {"phase": phase, "mode": there.mode, "share": there.share}
    return Step(
        _next(rollout, phase=phase, deployed=deployed, since=since, seen=None), "rollout_moved", change.reason, details
    )


def look(rollout: Rollout, seen: Seen) -> Step:
    """A verdict was asked for."""
    _refuse_ended(rollout)
    return Step(_next(rollout, seen=seen, looks=rollout.looks + 1))


def pause(rollout: Rollout, change: Change) -> Step:
    """It stays where it is until somebody resumes it; a bad verdict still takes the traffic back.

    Raises:
        ConflictError: With code ``already_paused`` or ``rollout_ended``.
    """
    _refuse_ended(rollout)
    if rollout.paused is not None:
        raise ConflictError(
            f"the rollout of version {rollout.version} of model {rollout.model!r} is paused already, since "
            f"{rollout.paused.at} (by {rollout.paused.by})",
            code="already_paused",
            next_step=f"Run 'modelyard rollout resume {rollout.model}' to let it go on.",
        )
    return Step(_next(rollout, paused=_said(change)), "rollout_paused", change.reason)


def resume(rollout: Rollout, change: Change) -> Step:
    """It goes on.

    Raises:
        ConflictError: With code ``not_paused`` or ``rollout_ended``.
    """
    _refuse_ended(rollout)
    if rollout.paused is None:
        raise ConflictError(
            f"the rollout of version {rollout.version} of model {rollout.model!r} is not paused",
            code="not_paused",
            next_step=f"Nothing to do; 'modelyard rollout status {rollout.model}' shows what it waits for.",
        )
    return Step(_next(rollout, paused=None), "rollout_resumed", change.reason)


def wait_for_person(rollout: Rollout, change: Change, *, token: str) -> Step:
    """A person is asked; asked again, only the token is another one."""
    _refuse_ended(rollout)
    if rollout.approval is not None:
        return Step(_next(rollout, approval=msgspec.structs.replace(rollout.approval, token=token)))
    return Step(_next(rollout, approval=Approval(stamp(change.at), token)), "rollout_asked", change.reason)


def answer(rollout: Rollout, change: Change, *, approved: bool) -> Step:
    """A person has decided.

    Raises:
        ConflictError: With code ``not_asked``, ``already_answered`` or ``rollout_ended``.
    """
    _refuse_ended(rollout)
    asked = rollout.approval
    if asked is None:
        raise ConflictError(
            f"the rollout of version {rollout.version} of model {rollout.model!r} does not wait for a person yet",
            code="not_asked",
            next_step=f"Run 'modelyard rollout status {rollout.model}'; 'modelyard rollout abort' ends it at any time.",
        )
    if asked.answer is not None and asked.answered is not None:
        raise ConflictError(
            f"the rollout of version {rollout.version} of model {rollout.model!r} was {asked.answer} already, at "
            f"{asked.answered.at} by {asked.answered.by}",
            code="already_answered",
            next_step=f"Run 'modelyard rollout status {rollout.model}'; 'modelyard rollout abort' ends it at any time.",
        )
    after = Approval(asked.asked_at, asked.token, "approved" if approved else "refused", _said(change))
    return Step(_next(rollout, approval=after), "rollout_approved" if approved else "rollout_refused", change.reason)


def finish(rollout: Rollout, change: Change, *, outcome: Outcome, cause: str | None = None) -> Step:
    """It ends."""
    _refuse_ended(rollout)
    approval = rollout.approval and msgspec.structs.replace(rollout.approval, token="")
    after = _next(rollout, outcome=outcome, cause=cause, end=_said(change), paused=None, approval=approval)
    details: dict[str, Any] = {"outcome": outcome, **({} if cause is None else {"cause": cause})}
    if rollout.present is not None:
        details |= {"mode": rollout.present.mode, "share": rollout.present.share}
    return Step(after, "rollout_ended", change.reason, details)


def _next(rollout: Rollout, **changes: Any) -> Rollout:
    return msgspec.structs.replace(rollout, revision=rollout.revision + 1, **changes)


def _said(change: Change) -> Said:
    return Said(stamp_after(change.at, None), change.by, change.reason)


def _refuse_ended(rollout: Rollout) -> None:
    if rollout.has_ended:
        raise _ended(rollout)


def _ended(rollout: Rollout) -> ConflictError:
    end = rollout.end
    said = f" at {end.at} (by {end.by}): {end.reason}" if end is not None else ""
    return ConflictError(
        f"the rollout of version {rollout.version} of model {rollout.model!r} has ended: {rollout.outcome}{said}",
        code="rollout_ended",
        next_step=f"Begin another: modelyard rollout start {rollout.model} {rollout.version}",
    )
