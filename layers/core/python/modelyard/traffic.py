"""Who answers which part of the traffic: shares, slots, and the point at which a key lies. Pure.

::

    key ──keyed hash──► point, 0 to 9,999 ──slots──► version

Shares are exact, in hundredths of a percent, because there are 10,000 points and a key lies at each with the same
probability. The rule: a change of shares moves the fewest points that it can. Each version keeps the smaller one of
what it had and what it gets, so a caller changes sides only where the shares make somebody change.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

import msgspec

from modelyard.errors import UsageError

POINTS = 10_000
"""Of a whole: a point is a hundredth of a percent."""

MOST_ON_TRIAL = 4
"""Versions that may answer beside the champion: each is in the endpoint's memory."""


class Slot(msgspec.Struct, frozen=True):
    """The points from where the slot before it ends, up to and without ``until``, are answered by ``version``."""

    until: int
    version: int


Slots = tuple[Slot, ...]


def points_of(percent: object, *, field: str = "split") -> int:
    """A share in percent as points.

    Raises:
        UsageError: With code ``invalid_split`` for what is no share of the requests, or has more than two decimals.

    >>> points_of(5), points_of(0.25)
    (500, 25)
    """
    if isinstance(percent, int | float) and not isinstance(percent, bool) and 0 < percent < 100:
        points = round(percent * 100)
        # 0.29 * 100 is no whole number in binary: what was written is compared, not what a float makes of it.
        if 0 < points < POINTS and points / 100 == percent:
            return points
    raise UsageError(
        f"{field} {ascii(percent)[:40]} is not a share of requests: percent from 0.01 to 99.99, at most two decimals",
        code="invalid_split",
        field=field,
        next_step="Promote a version that shall answer every request; end the trial of one that shall answer none.",
    )


def percent_of(points: int) -> int | float:
    """Points as a share in percent; a whole number where it is one."""
    return points // 100 if points % 100 == 0 else points / 100


def whole(version: int) -> Slots:
    """Everything is answered by one version."""
    return (Slot(POINTS, version),)


def points_by_version(slots: Slots) -> dict[int, int]:
    """How many points each version has, in the order of the slots."""
    found: dict[int, int] = {}
    start = 0
    for slot in slots:
        found[slot.version] = found.get(slot.version, 0) + slot.until - start
        start = slot.until
    return found


def reassign(slots: Slots, wanted: Mapping[int, int]) -> Slots:
    """The slots that give each version its points, with the fewest points moved.

    A version that shrinks gives up its smallest ranges first, and of a range that it keeps a part of the end that lies
    beside a version that grows. So there are few ranges, and one challenger's range only ever grows and shrinks: who is
    in at 5 % is in at 10 %, whatever came in between.

    Args:
        slots: As it is; they cover all points.
        wanted: Points of every version that is to answer; they add up to `POINTS`.

    Raises:
        ValueError: When they do not.

    >>> reassign(whole(1), {1: 9500, 2: 500})
    (Slot(until=9500, version=1), Slot(until=10000, version=2))
    """
    if sum(wanted.values()) != POINTS or any(points < 0 for points in wanted.values()):
        raise ValueError(f"{dict(wanted)} does not add up to {POINTS} points")
    had = points_by_version(slots)
    needs = {
        version: wanted[version] - had.get(version, 0)
        for version in sorted(wanted)
        if wanted[version] > had.get(version, 0)
    }
    surplus = {version: had[version] - wanted.get(version, 0) for version in sorted(had)}
    owners = _ranges(slots)
    free: list[tuple[int, int]] = []
    for version, points in surplus.items():
        free += _give_up(owners, version, points, needs)
    owners += _take(owners, sorted(free), needs)
    return _merged(owners)


_Range = tuple[int, int, int]
"""Start, end, version."""


def _ranges(slots: Slots) -> list[_Range]:
    starts = (0, *(slot.until for slot in slots))
    return [(start, slot.until, slot.version) for start, slot in zip(starts, slots, strict=False)]


def _give_up(owners: list[_Range], version: int, points: int, needs: Mapping[int, int]) -> list[tuple[int, int]]:
    """Take ``points`` away from a version in ``owners``; the ranges that are free then."""
    free = []
    own = sorted((one for one in owners if one[2] == version), key=lambda one: (one[1] - one[0], -one[0]))
    for one in own:
        if points <= 0:
            break
        start, end, _ = one
        owners.remove(one)
        size = min(points, end - start)
        points -= size
        if size == end - start:
            free.append((start, end))
        elif any(end == other[0] and other[2] in needs for other in owners) or not any(
            start == other[1] and other[2] in needs for other in owners
        ):
            free.append((end - size, end))
            owners.append((start, end - size, version))
        else:
            free.append((start, start + size))
            owners.append((start + size, end, version))
    return free


def _take(owners: Iterable[_Range], free: list[tuple[int, int]], needs: dict[int, int]) -> list[_Range]:
    """The free ranges with those who get them: who lies beside one first, then in the order of the versions."""
    taken: list[_Range] = []
    beside = {place: version for start, end, version in owners for place in (start, end)}
    for start, end in free:
        while start < end:
            near = [version for version in (beside.get(start), beside.get(end)) if version is not None]
            version = next((one for one in near if needs.get(one)), None) or next(one for one in needs if needs[one])
            size = min(needs[version], end - start)
            needs[version] -= size
            if beside.get(start) != version and beside.get(end) == version:  # so that the two ranges are one
                taken.append((end - size, end, version))
                end -= size
                beside[end] = version
            else:
                taken.append((start, start + size, version))
                start += size
                beside[start] = version
    return taken


def _merged(ranges: Iterable[_Range]) -> Slots:
    merged: list[Slot] = []
    for _, end, version in sorted(ranges):
        if merged and merged[-1].version == version:
            merged[-1] = Slot(end, version)
        else:
            merged.append(Slot(end, version))
    return tuple(merged)


def point_of(key: str, salt: str) -> int:
    """The point at which a key lies in one trial: a keyed hash, even over all points to one part in 10^15.

    Args:
        key: What is routed by.
        salt: Of the trial, so that it is not the same callers that meet every new version first.
    """
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=salt.encode()[:64]).digest()
    return int.from_bytes(digest) % POINTS


def version_at(untils: Sequence[int], versions: Sequence[int], point: int) -> int:
    """The version that answers at a point, by the ends and versions of the slots."""
    return versions[bisect_right(untils, point)]
