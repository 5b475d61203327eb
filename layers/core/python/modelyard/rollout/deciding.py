"""What a rollout does next: a pure function of its record, a verdict, and the time.

The order is the order of safety: who said no, what is wrong, what takes too long; only then what may go on. A pause
keeps a rollout from going on and not from going back.
"""

import datetime as dt
from typing import Literal

import msgspec

from modelyard.rollout.observed import Given
from modelyard.rollout.record import Outcome, Rollout
from modelyard.rollout.verdict import Verdict
from modelyard.times import parse_stamp

DENSE_LOOKS = 200
"""Looks of a phase before they come less often: after that each waits a 200th of the time that the phase has taken."""
MOST_LOOKS = 1_200
"""Of a rollout. Each is 9 events of an execution's history, which has 25,000; 13,000 are for asking a person."""
THRIFTY_LOOKS = 600
"""After so many, what is left of the looks is spread over the time that is left."""

Status = Literal["continue", "move", "ask", "waiting", "promote", "back"]


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """What to do.

    Attributes:
        status: ``continue``: wait and look again; ``move``: to ``phase``; ``ask`` a person; ``waiting`` for the
            answer; ``promote``; ``back`` to the champion, with ``outcome`` and ``cause``.
        reason: Why, in words.
        wait_s: Until the next look.
    """

    status: Status
    reason: str
    phase: int = 0
    wait_s: int = 0
    outcome: Outcome | None = None
    cause: str | None = None


def decide(
    rollout: Rollout,
    found: Verdict,
    *,
    now: dt.datetime,
    requests: int = 0,
    given: Given | None = None,
    firing: tuple[str, ...] = (),
) -> Next:
    """What to do after a verdict.

    Args:
        rollout: As it is written down.
        found: The verdict.
        now: The time.
        requests: Of this phase that the challenger was asked, as captured.
        given: An endpoint gave the challenger up.
        firing: The endpoint's alarms that fire now.
    """
    bad = _bad(rollout, found, given, firing)
    if bad is not None:
        return bad
    wait_s = next_look_s(rollout, now)
    open_points = _open_points(rollout, found, now, requests)
    if rollout.deadline and now >= parse_stamp(rollout.deadline):
        hours = 0 if rollout.plan is None else rollout.plan.longest_hours
        reason = f"{hours:g} hours were not enough: {'; '.join(open_points) or 'nobody let it go on'}"
        return Next(status="back", reason=reason, outcome="undecided", cause="out_of_time")
    if rollout.paused is not None:
        return Next(status="continue", reason=f"paused by {rollout.paused.by}", wait_s=wait_s)
    if open_points:
        return Next(status="continue", reason="; ".join(open_points), wait_s=wait_s)
    if rollout.phase + 1 < len(rollout.phases):
        there = rollout.phases[rollout.phase + 1]
        reason = f"{_passed(rollout, found)}; next is {there.said}"
        return Next(status="move", reason=reason, phase=rollout.phase + 1)
    if rollout.plan is not None and rollout.plan.approval == "promotion":
        if rollout.approval is None:
            reason = f"{_passed(rollout, found)}; a person decides about the promotion"
            return Next(status="ask", reason=reason, wait_s=rollout.plan.ask_every_s)
        if rollout.approval.answer is None:
            reason = "a person decides about the promotion"
            return Next(status="waiting", reason=reason, wait_s=rollout.plan.ask_every_s)
    return Next(status="promote", reason=_passed(rollout, found))


def next_look_s(rollout: Rollout, now: dt.datetime) -> int:
    """Seconds until the next look: often at first, and never more looks than an execution's history holds."""
    every_s = 60 if rollout.plan is None else rollout.plan.judge_every_s
    wait_s = max(every_s, int((now - parse_stamp(rollout.since)).total_seconds() / DENSE_LOOKS))
    if rollout.looks >= THRIFTY_LOOKS and rollout.deadline:
        left_s = (parse_stamp(rollout.deadline) - now).total_seconds()
        wait_s = max(wait_s, int(left_s / max(1, MOST_LOOKS - rollout.looks)) + 1)
    if rollout.deadline:
        wait_s = min(wait_s, max(1, int((parse_stamp(rollout.deadline) - now).total_seconds()) + 1))
    return wait_s


def minutes_left(rollout: Rollout, now: dt.datetime) -> float:
    """Of the present phase's least time."""
    if rollout.present is None:
        return 0.0
    taken = (now - parse_stamp(rollout.since)).total_seconds() / 60
    return max(0.0, rollout.present.minutes - taken)


def _bad(rollout: Rollout, found: Verdict, given: Given | None, firing: tuple[str, ...]) -> Next | None:
    """Why the traffic goes back; None where nothing says so."""
    approval = rollout.approval
    if approval is not None and approval.answer == "refused" and approval.answered is not None:
        reason = f"refused by {approval.answered.by}: {approval.answered.reason or 'no reason was given'}"
        return Next(status="back", reason=reason, outcome="refused", cause="refused")
    if found.decision == "abort":
        reason = found.reasons[0] if found.reasons else "the verdict is to abort"
        return Next(status="back", reason=reason, outcome="aborted", cause=found.cause)
    if given is not None:
        reason = given.message or "an endpoint gave the new version up"
        return Next(status="back", reason=reason, outcome="aborted", cause=given.cause)
    new = [name for name in firing if name not in rollout.alarms]
    if new:
        reason = f"alarm {', '.join(new)} fires, which was quiet when the rollout began"
        return Next(status="back", reason=reason, outcome="aborted", cause="alarm")
    return None


def _open_points(rollout: Rollout, found: Verdict, now: dt.datetime, requests: int) -> list[str]:
    """What the present phase still waits for."""
    there, left = rollout.present, minutes_left(rollout, now)
    said = [] if found.decision == "promote" else list(found.reasons[:1]) or ["more requests"]
    if there is not None and left > 0:
        if there.requests is None:
            said.append(f"{left:.1f} of {there.minutes:g} minutes are left")
        elif requests < there.requests:
            said.append(
                f"{left:.1f} of {there.minutes:g} minutes are left, or {there.requests - requests:,} of "
                f"{there.requests:,} requests"
            )
    return said


def _passed(rollout: Rollout, found: Verdict) -> str:
    there = "the rollout" if rollout.present is None else rollout.present.said
    counted = found.samples.counted
    return f"{there} went well on {counted:,} requests"
