"""Whose turn it is to train: pure transitions over one frozen struct for each model.

    nobody ──ask──► holder ──release──► nobody
       └───ask──► waiter ──ask again──► holder         whoever asks meanwhile is merged into the waiter

One run trains at a time and one waits. A file joins the data set before its run asks, so the waiter learns from the
files of all that were merged into it. Everybody's wishes are kept: the waiter starts as early as the most hasty of
them may, and may spend what the most generous of them may. A holder has a lease and a waiter says when it asks next; of
whom nothing is heard any more, the place is free.

The registry applies a transition by compare-and-set on the revision; nothing here reads, writes or looks at a clock.
"""

import datetime as dt
import math

import msgspec

from modelyard.retraining.turn_records import Asking, Decision, Holder, RunEnd, Turn, TurnAnswer, Waiter
from modelyard.times import parse_stamp, stamp

SHORTEST_WAIT_S, LONGEST_WAIT_S = 5, 60
"""Between two looks at a training that goes on; one that may take longer than 60,000 s is looked at 1,000 times."""
LONGEST_NAP_S = 3600
"""Between two looks while a debounce or a cooldown goes on. Of longer ones, a 500th of what remains: a year is about
2,000 looks, 9 history events each, and an execution has 25,000."""
BEYOND_TRAINING_S = 1800
"""How long a holder has for the steps beside its training; then its turn is over."""
GRACE_S = 900
"""How late a waiter may be before its place is free."""
MOST_DEBOUNCES = 10
MONTHS_KEPT = 13
ONE_MICRO_USD = 1e-6


def ask(turn: Turn, asking: Asking, now: dt.datetime) -> Decision:
    """Whether this run may train now; asked again, it says the same until something changed."""
    if turn.holder is not None and turn.holder.run_id == asking.run_id and turn.holder.until >= stamp(now):
        return Decision(answer=_go())
    after, ends = _without_the_silent(turn, asking.run_id, now)
    waits = after.waiter is not None and after.waiter.run_id == asking.run_id
    if not waits:
        after = msgspec.structs.replace(after, rows=after.rows + asking.rows)
        few = _too_few(after, asking)
        if few is not None:
            return _over(after, ends, TurnAnswer(status="collected", reason=few), asking.run_id)
    other = None if waits else after.waiter
    mine = after.waiter if waits and after.waiter is not None else _new_waiter(asking, now)
    joined = mine if other is None else _joined(mine, other)
    due = _due(after, joined)
    if after.holder is None and due <= now:
        return _start(after, ends, joined, other, asking, now)
    if other is not None and not _goes_before(after, mine, other):
        after = msgspec.structs.replace(after, waiter=_joined(other, mine))
        when = _when(after, _joined(other, mine), now)
        answer = TurnAnswer(status="merged", reason=f"merged into run {other.run_id}, {when}", into=other.run_id)
        return _over(after, ends, answer, asking.run_id)
    wait_s = _wait_s(after.holder, joined, due, now)
    waiter = msgspec.structs.replace(joined, wakes_at=stamp(now + dt.timedelta(seconds=wait_s)))
    when = _when(after, waiter, now)
    if other is not None:
        said = f"merged into run {asking.run_id}, {when}"
        ends = (*ends, RunEnd(run_id=other.run_id, status="merged", reason=said, into=asking.run_id))
    answer = TurnAnswer(status="wait", reason=f"waits: this run {when.removeprefix('which ')}", wait_s=wait_s)
    return Decision(answer=answer, turn=_next(after, waiter=waiter), ends=ends)


def release(turn: Turn, run_id: str, usd: float | None, now: dt.datetime) -> tuple[Turn, float | None]:
    """The turn when ``run_id`` is done, and what it cost; unchanged when it neither trains nor waits.

    Where nobody knows the cost, it is the share of what was set aside that its time has of the time that it had.
    """
    holder = turn.holder
    if holder is not None and holder.run_id == run_id:
        if usd is None:
            since, until = parse_stamp(holder.since), parse_stamp(holder.until)
            most = max(1.0, (until - since).total_seconds() - BEYOND_TRAINING_S)
            usd = holder.usd * min(1.0, (now - since).total_seconds() / most)
        return _next(turn, holder=None, spent=_with_spent(turn.spent, holder.since, usd)), round(usd, 6)
    if turn.waiter is not None and turn.waiter.run_id == run_id:
        return _next(turn, waiter=None), None
    return turn, None


def spent_in(turn: Turn, now: dt.datetime) -> float:
    """USD that the trainings of this month (UTC) cost, with what is set aside for the one that goes on."""
    month = _month(stamp(now))
    holder = turn.holder
    return turn.spent.get(month, 0.0) + (holder.usd if holder is not None and _month(holder.since) == month else 0.0)


def _go() -> TurnAnswer:
    return TurnAnswer(status="go", reason="it is this run's turn")


def _next(turn: Turn, **changes: object) -> Turn:
    return msgspec.structs.replace(turn, revision=turn.revision + 1, **changes)


def _over(turn: Turn, ends: tuple[RunEnd, ...], answer: TurnAnswer, run_id: str) -> Decision:
    end = RunEnd(run_id=run_id, status=answer.status, reason=answer.reason, into=answer.into)
    return Decision(answer=answer, turn=_next(turn), ends=(*ends, end))


def _without_the_silent(turn: Turn, asking: str, now: dt.datetime) -> tuple[Turn, tuple[RunEnd, ...]]:
    """The turn without a holder whose lease is over and a waiter that did not wake up; they ended without a word."""
    ends: list[RunEnd] = []
    holder, waiter = turn.holder, turn.waiter
    if holder is not None and holder.until < stamp(now):
        # What it cost is not known; the most is what was set aside.
        turn = msgspec.structs.replace(turn, holder=None, spent=_with_spent(turn.spent, holder.since, holder.usd))
        if holder.run_id != asking:
            said = f"it trained from {_shown(holder.since)} on and said nothing until its turn ended at"
            ends.append(RunEnd(run_id=holder.run_id, status="failed", reason=f"{said} {_shown(holder.until)}"))
    late = stamp(now - dt.timedelta(seconds=GRACE_S))
    if waiter is not None and waiter.wakes_at < late and waiter.run_id != asking:
        turn = msgspec.structs.replace(turn, waiter=None)
        said = f"it waited for its turn and did not ask again at {_shown(waiter.wakes_at)}, as it had said"
        ends.append(RunEnd(run_id=waiter.run_id, status="failed", reason=said))
    return turn, tuple(ends)


def _too_few(turn: Turn, asking: Asking) -> str | None:
    """Why no training starts yet. A run that had started before, and is redriven, need not count again."""
    if not asking.starts:
        return "accepted; no trigger starts a training for this file, the next training learns from it"
    if asking.count is not None and turn.rows < asking.count and turn.started_by != asking.run_id:
        return f"{turn.rows:,} of {asking.count:,} new rows; the next training starts when all are there"
    return None


def _new_waiter(asking: Asking, now: dt.datetime) -> Waiter:
    at = stamp(now)
    return Waiter(
        run_id=asking.run_id,
        first=at,
        last=at,
        wakes_at=at,
        manual=asking.manual,
        debounce_s=0 if asking.manual else asking.debounce_s,
        cooldown_s=0 if asking.manual else asking.cooldown_s,
        monthly_usd=asking.monthly_usd,
    )


def _joined(one: Waiter, other: Waiter) -> Waiter:
    """``one`` with the wishes of both: who need not wait makes both start, and who may spend more pays for both."""
    caps = (one.monthly_usd, other.monthly_usd)
    return msgspec.structs.replace(
        one,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        manual=one.manual or other.manual,
        debounce_s=min(one.debounce_s, other.debounce_s),
        cooldown_s=min(one.cooldown_s, other.cooldown_s),
        monthly_usd=None if None in caps else max(cap for cap in caps if cap is not None),
    )


def _goes_before(turn: Turn, new: Waiter, waiting: Waiter) -> bool:
    """Whether a newcomer takes the waiter's place: a person's wish, or who may start earlier than the other wakes."""
    return (new.manual and not waiting.manual) or _due(turn, new) < _due(turn, waiting)


def _quiet_at(waiter: Waiter) -> dt.datetime:
    debounce = dt.timedelta(seconds=waiter.debounce_s)
    return min(parse_stamp(waiter.last) + debounce, parse_stamp(waiter.first) + MOST_DEBOUNCES * debounce)


def _due(turn: Turn, waiter: Waiter) -> dt.datetime:
    """The earliest time at which debounce and cooldown let the waiter start. One that had started may start again."""
    first = parse_stamp(waiter.first)
    if turn.started_at is None:
        return _quiet_at(waiter)
    if turn.started_by == waiter.run_id:
        return first
    return max(_quiet_at(waiter), parse_stamp(turn.started_at) + dt.timedelta(seconds=waiter.cooldown_s))


def _start(
    turn: Turn, ends: tuple[RunEnd, ...], joined: Waiter, other: Waiter | None, asking: Asking, now: dt.datetime
) -> Decision:
    """The turn goes to this run and what waited is merged into it; unless that could cost too much."""
    dear = _too_dear(turn, joined.monthly_usd, asking.usd, now)
    if dear is not None:
        left = msgspec.structs.replace(turn, waiter=other)
        return _over(left, ends, TurnAnswer(status="skipped", reason=dear), asking.run_id)
    if other is not None:
        said = f"merged into run {asking.run_id}, which starts now"
        ends = (*ends, RunEnd(run_id=other.run_id, status="merged", reason=said, into=asking.run_id))
    since = stamp(now)
    until = stamp(now + dt.timedelta(seconds=asking.train_s + BEYOND_TRAINING_S))
    holder = Holder(run_id=asking.run_id, since=since, until=until, usd=asking.usd or 0.0)
    after = _next(turn, holder=holder, waiter=None, started_at=since, started_by=asking.run_id, rows=0)
    return Decision(answer=_go(), turn=after, ends=ends)


def _too_dear(turn: Turn, cap: float | None, usd: float | None, now: dt.datetime) -> str | None:
    """Why the cap of the month forbids a training, with the numbers and what to do."""
    if cap is None:
        return None
    if usd is None:
        return (
            "what its training can cost is not known, so monthly_usd cannot be kept; give the instance's price as "
            "training.usd_per_hour in model.toml and deploy"
        )
    spent, month = spent_in(turn, now), _month(stamp(now))
    if spent + usd <= cap + ONE_MICRO_USD:
        return None
    numbers = f"{_usd(spent)} of {_usd(cap)} USD are spent in {month} (UTC), and this training could cost {_usd(usd)}"
    if usd > cap:
        return f"{numbers}: more than the whole cap. Raise monthly_usd, or lower training.timeout_s, and deploy"
    following = (now.astimezone(dt.UTC).replace(day=1) + dt.timedelta(days=32)).strftime("%Y-%m-01")
    return f"{numbers}. The next training may start on {following}; before that, raise monthly_usd and deploy"


def _usd(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 1 else f"{amount:.4f}"


def _with_spent(spent: dict[str, float], since: str, usd: float) -> dict[str, float]:
    month = _month(since)
    months = spent | {month: round(spent.get(month, 0.0) + usd, 6)}
    return dict(sorted(months.items())[-MONTHS_KEPT:])


def _month(at: str) -> str:
    return at[:7]


def _wait_s(holder: Holder | None, waiter: Waiter, due: dt.datetime, now: dt.datetime) -> int:
    """Seconds until the waiter asks again; see the limits at the top."""
    if due > now:
        remaining = math.ceil((due - now).total_seconds())
        return min(remaining, max(LONGEST_NAP_S, remaining // 500))
    if holder is None:
        return SHORTEST_WAIT_S
    waited = (now - max(due, parse_stamp(waiter.first))).total_seconds()
    since, until = parse_stamp(holder.since), parse_stamp(holder.until)
    longest = max(LONGEST_WAIT_S, int((until - since).total_seconds()) // 1000)
    left = max(1, math.ceil((until - now).total_seconds()) + 1)
    return min(left, longest, max(SHORTEST_WAIT_S, int(waited / 10)))


def _when(turn: Turn, waiter: Waiter, now: dt.datetime) -> str:
    """When a waiter starts, as a clause."""
    due = _due(turn, waiter)
    said = []
    if turn.holder is not None:
        said.append(f"when run {turn.holder.run_id} ends")
    if due > now:
        cooled = turn.started_at is not None and _quiet_at(waiter) < due
        why = f"cooldown of {waiter.cooldown_s:,} s" if cooled else f"debounce of {waiter.debounce_s:,} s"
        said.append(f"at {_shown(stamp(due))} at the earliest ({why})")
    return f"which starts {' and '.join(said) or 'when it asks again'}"


def _shown(at: str) -> str:
    """A stamp without its fraction."""
    return f"{at[:19]}Z"
