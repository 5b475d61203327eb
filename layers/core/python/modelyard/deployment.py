"""What is live, and how it may change: pure transitions over frozen structs.

    (nothing) ──promote──► revision 1 ──promote · rollback · start or end a trial──► revision 2 ──► …

Every transition takes the deployment as it is and gives the next one, with ``revision`` one higher and ``changed_at``
strictly later, so that the order of revisions is the order of times and "what was live at T" has one answer. The
registry applies a transition by compare-and-set on the revision; nothing here reads, writes or looks at a clock.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from modelyard.errors import ConflictError, UsageError
from modelyard.times import stamp_after
from modelyard.traffic import MOST_ON_TRIAL, POINTS, Slots, percent_of, points_by_version, points_of, reassign, whole

Mode = Literal["live", "shadow", "canary"]
Trial = Literal["shadow", "canary"]
ChangeKind = Literal["promoted", "rolled_back", "shadow_started", "canary_started", "split_started", "trial_ended"]
Kind = Literal[
    "registered", "rejected", "failed", "noted", "evaluation_frozen", "refresh_requested",
    "promoted", "rolled_back", "shadow_started", "canary_started", "split_started", "trial_ended",
    "rollout_started", "rollout_moved", "rollout_paused", "rollout_resumed", "rollout_asked", "rollout_approved",
    "rollout_refused", "rollout_ended", "release_override",
]  # fmt: skip


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions answer.

    ``split`` is the challenger's share of requests in percent, in mode ``canary``; ``others`` are further versions on
    trial, ``slots`` say who answers which part of the traffic (`modelyard.traffic`), and ``salt`` is the trial's own.
    Items from before there were slots have none; ask `slots_of`.
    """

    model: str
    champion: int
    challenger: int | None = None
    mode: Mode = "live"
    split: int | float = 0
    revision: int
    changed_at: str
    changed_by: str
    reason: str = ""
    others: tuple[int, ...] = ()
    slots: Slots = ()
    salt: str = ""

    @property
    def challengers(self) -> tuple[int, ...]:
        """Every version on trial."""
        return () if self.challenger is None else (self.challenger, *self.others)


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a model's history; never changed once written.

    ``previous`` is the champion before the change, ``revision`` the deployment's revision after it, ``steps`` how many
    promotions a rollback undid. ``run_id`` names the retraining run, ``details`` holds what its kind adds (findings,
    metrics, the report's key). Where a trial starts or ends, ``version`` is the challenger and ``previous`` the
    champion.
    """

    model: str
    at: str
    operation: str
    kind: Kind
    actor: str
    reason: str = ""
    version: int | None = None
    previous: int | None = None
    revision: int | None = None
    steps: int = 0
    run_id: str | None = None
    details: dict[str, Any] = {}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes a deployment, when and why."""

    model: str
    at: dt.datetime
    by: str
    reason: str = ""


def promote(current: Deployment | None, version: int, change: Change) -> Deployment:
    """The deployment with ``version`` as the champion; a challenger's trial ends with it.

    Raises:
        ConflictError: With code ``already_live`` when it is the champion now.
    """
    _refuse_champion(current, version)
    return _next(current, version, change)


def start_trial(
    current: Deployment | None, version: int, change: Change, *, mode: Trial, split: float = 0
) -> Deployment:
    """The deployment with ``version`` as the only challenger, in the place of any other.

    ``shadow``: it answers beside the champion and nobody sees its answers. ``canary``: it answers ``split`` percent of
    the requests. Starting the same trial with another split changes the split.

    Raises:
        UsageError: With code ``invalid_split``.
        ConflictError: With code ``no_champion``, ``already_live``, or ``already_on_trial`` when nothing would change.
    """
    if mode == "canary":
        return start_split(current, {version: split}, change)
    if current is None:
        raise _no_champion(change.model, "there is nothing to compare a challenger with")
    _refuse_champion(current, version)
    _refuse_the_same(current, {version: 0}, "shadow")
    return msgspec.structs.replace(_next(current, current.champion, change), challenger=version, mode="shadow")


def start_split(current: Deployment | None, shares: Mapping[int, float], change: Change) -> Deployment:
    """The deployment in which each version of ``shares`` answers so many percent, and the champion the rest.

    Where one of them was answering already, it is the same trial with other shares: only those callers change sides
    that have to.

    Raises:
        UsageError: With code ``invalid_split`` for a share that is none, for shares that leave the champion nothing,
            and for too many versions.
        ConflictError: As for `start_trial`.
    """
    field = "split" if len(shares) == 1 else "shares"
    points = {version: points_of(shares[version], field=field) for version in sorted(shares)}
    rest = POINTS - sum(points.values())
    if not 1 <= len(points) <= MOST_ON_TRIAL or rest <= 0:
        asked = ", ".join(f"version {version} {shares[version]} %" for version in points) or "nothing"
        raise UsageError(
            f"{asked} is no split: 1 to {MOST_ON_TRIAL} versions, and something must be left for the champion",
            code="invalid_split",
            field=field,
            next_step="Promote a version that shall answer every request.",
        )
    if current is None:
        raise _no_champion(change.model, "there is nothing to compare a challenger with")
    for version in points:
        _refuse_champion(current, version)
    wanted = {version: percent_of(share) for version, share in points.items()}
    _refuse_the_same(current, wanted, "canary")
    after = _next(current, current.champion, change)
    goes_on = current.mode == "canary" and not points.keys().isdisjoint(current.challengers)
    first, *others = points
    return msgspec.structs.replace(
        after,
        challenger=first,
        others=tuple(others),
        mode="canary",
        split=wanted[first],
        slots=reassign(slots_of(current) if goes_on else whole(current.champion), {current.champion: rest, **points}),
        salt=current.salt if goes_on else f"{change.model}/{after.revision}",
    )


def slots_of(deployment: Deployment) -> Slots:
    """Who answers which part of the traffic, also of a deployment that was written before there were slots."""
    if deployment.slots:
        return deployment.slots
    slots = whole(deployment.champion)
    if deployment.mode != "canary" or deployment.challenger is None:
        return slots
    points = points_of(deployment.split)
    return reassign(slots, {deployment.champion: POINTS - points, deployment.challenger: points})


def shares_of(deployment: Deployment) -> dict[int, int | float]:
    """The share of requests in percent that each version answers, the champion's too; of a shadow it is 0."""
    points = points_by_version(slots_of(deployment))
    versions = (deployment.champion, *deployment.challengers)
    return {version: percent_of(points.get(version, 0)) for version in versions}


def told(deployment: Deployment) -> dict[str, Any]:
    """A deployment as people and programs see it: who answers what share, and not by which points."""
    found: dict[str, Any] = msgspec.to_builtins(deployment)
    del found["slots"], found["salt"]
    return found | {"shares": {str(version): share for version, share in shares_of(deployment).items()}}


def _refuse_the_same(current: Deployment, shares: Mapping[int, float], mode: Trial) -> None:
    found = {version: share for version, share in shares_of(current).items() if version != current.champion}
    if (current.mode, found) == (mode, shares):
        first, *others = shares
        named = f"version {first}" if not others else f"versions {', '.join(map(str, shares))}"
        raise ConflictError(
            f"{named} of model {current.model!r} {'are' if others else 'is'} on trial already ({_shown(current)}), "
            f"since {current.changed_at} (revision {current.revision}, by {current.changed_by})",
            code="already_on_trial",
            field="version",
        )


def end_trial(current: Deployment | None, change: Change) -> Deployment:
    """The deployment without anything on trial.

    Raises:
        ConflictError: With code ``no_trial`` when there is none.
    """
    if current is None or current.challenger is None:
        raise ConflictError(
            f"model {change.model!r} has no version on trial",
            code="no_trial",
            next_step=f"Nothing to do; 'modelyard history {change.model}' shows who ended the last one.",
        )
    return _next(current, current.champion, change)


def _shown(deployment: Deployment) -> str:
    if deployment.mode != "canary":
        return deployment.mode
    shares = shares_of(deployment)
    return "canary, " + ", ".join(f"{shares[version]} %" for version in deployment.challengers)


def _no_champion(model: str, why: str) -> ConflictError:
    return ConflictError(
        f"model {model!r} has no live version, so {why}",
        code="no_champion",
        next_step=f"Run 'modelyard promote {model} VERSION'.",
    )


def _next(current: Deployment | None, version: int, change: Change) -> Deployment:
    return Deployment(
        model=change.model,
        champion=version,
        revision=1 if current is None else current.revision + 1,
        changed_at=stamp_after(change.at, None if current is None else current.changed_at),
        changed_by=change.by,
        reason=change.reason,
    )


def _refuse_champion(current: Deployment | None, version: int | None) -> None:
    if current is not None and current.champion == version:
        raise ConflictError(
            f"version {version} of model {current.model!r} is live already, since {current.changed_at} "
            f"(revision {current.revision}, by {current.changed_by})",
            code="already_live",
            field="version",
            next_step=f"Nothing to do; 'modelyard history {current.model}' shows who changed what.",
        )


def rollback(
    current: Deployment | None, ledger: Iterable[LedgerEntry], change: Change, *, to: int | None = None
) -> tuple[Deployment, int]:
    """The deployment with an earlier champion, and how many promotions that undoes.

    Args:
        current: The deployment as it is.
        ledger: The model's ledger, newest first; read only as far as needed.
        change: Who, when and why.
        to: The version to go back to; None is the one before the present one.

    Raises:
        ConflictError: With code ``no_predecessor``, ``not_a_predecessor`` or ``already_live``.
    """
    if current is None:
        raise ConflictError(
            f"model {change.model!r} has no live version, so there is nothing to roll back",
            code="no_predecessor",
            next_step=f"Run 'modelyard promote {change.model} VERSION'.",
        )
    _refuse_champion(current, to)
    passed: list[int] = []
    for version in predecessors(ledger):
        passed.append(version)
        if to in (None, version):
            return _next(current, version, change), len(passed)
    if to is None:
        raise ConflictError(
            f"version {current.champion} of model {change.model!r} has no predecessor: it is the first that was live",
            code="no_predecessor",
            next_step=f"Run 'modelyard promote {change.model} VERSION' to put another version live.",
        )
    earlier = ", ".join(str(version) for version in dict.fromkeys(passed)) or "none"
    raise ConflictError(
        f"version {to} of model {change.model!r} is not an earlier champion of version {current.champion}; "
        f"those are: {earlier}",
        code="not_a_predecessor",
        field="to",
        next_step=f"Run 'modelyard promote {change.model} {to}' if that version shall be live.",
    )


def predecessors(ledger: Iterable[LedgerEntry]) -> Iterator[int]:
    """The champions that can be rolled back to, nearest first, by a ledger read newest first.

    A promotion puts a version on a stack and a rollback takes ``steps`` of them off. So a second rollback goes one
    further back, and does not return to the version that the first one left.

    >>> def entry(kind, version, previous=None, steps=0):
    ...     return LedgerEntry(model="m", at="", operation="", kind=kind, actor="",
    ...                        version=version, previous=previous, steps=steps)
    >>> ledger = [entry("promoted", 1), entry("promoted", 2, 1), entry("promoted", 3, 2), entry("rolled_back", 2, 3, 1)]
    >>> list(predecessors(reversed(ledger)))
    [1]
    """
    undone = 0
    for entry in ledger:
        if entry.kind == "rolled_back":
            undone += entry.steps
        elif entry.kind == "promoted":
            if undone:
                undone -= 1
            elif entry.previous is not None:
                yield entry.previous
