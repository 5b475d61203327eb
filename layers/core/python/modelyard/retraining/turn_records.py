"""What is known about whose turn it is to train: a question, the turn as it is stored, an answer."""

from typing import Literal

import msgspec

Outcome = Literal["go", "wait", "merged", "skipped", "collected"]
OVER = frozenset({"merged", "skipped", "collected"})
"""Outcomes that end the run; its record is the memory of the answer."""


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """A run that wants to train, and the rules of what started it.

    ``train_s`` is the time that the training itself may take. ``starts`` is false where the run brought a file that no
    trigger waits for. ``rows`` are those that it brought. ``usd`` is the most that the run can cost; None when nobody
    knows.
    """

    run_id: str
    train_s: int
    starts: bool = True
    manual: bool = False
    debounce_s: int = 0
    cooldown_s: int = 0
    monthly_usd: float | None = None
    count: int | None = None
    rows: int = 0
    usd: float | None = 0.0


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The run that trains; ``usd`` is set aside for it until it says what it cost."""

    run_id: str
    since: str
    until: str
    usd: float


class Waiter(msgspec.Struct, frozen=True, kw_only=True):
    """The run that trains next, with the rules of all that were merged into it.

    ``first`` and ``last`` are the arrivals that the debounce counts from; ``wakes_at`` is when it asks again.
    """

    run_id: str
    first: str
    last: str
    wakes_at: str
    manual: bool = False
    debounce_s: int = 0
    cooldown_s: int = 0
    monthly_usd: float | None = None


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """Who trains, who waits, and what has to be known about before.

    ``started_at`` and ``started_by`` are the last start of a training, ``rows`` those accepted since. ``spent`` is in
    USD by month (UTC), without what is set aside for the holder.
    """

    model: str
    revision: int = 0
    holder: Holder | None = None
    waiter: Waiter | None = None
    started_at: str | None = None
    started_by: str | None = None
    rows: int = 0
    spent: dict[str, float] = {}


class TurnAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a run that asked has to do; ``into`` is the run that it became a part of."""

    status: Outcome
    reason: str
    wait_s: int | None = None
    into: str | None = None


class RunEnd(msgspec.Struct, frozen=True, kw_only=True):
    """A run that ends with a transition."""

    run_id: str
    status: Outcome | Literal["failed"]
    reason: str
    into: str | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, the turn after it (None: nothing changes) and the runs that end with it."""

    answer: TurnAnswer
    turn: Turn | None = None
    ends: tuple[RunEnd, ...] = ()
