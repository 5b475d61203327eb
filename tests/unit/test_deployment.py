"""Deployments: pure transitions, the order of times, and the pointer."""

import datetime as dt
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.deployment import (
    Change,
    Deployment,
    LedgerEntry,
    end_trial,
    predecessors,
    promote,
    rollback,
    shares_of,
    slots_of,
    start_split,
    start_trial,
)
from modelyard.errors import ConflictError, UsageError
from modelyard.pointer import encode_pointer, pointer_for, pointer_revision
from modelyard.serving.pointer import Pointer as ServedPointer
from modelyard.version import Lineage, Manifest, OutputSpec, Signature, TensorSpec, Version

NOON = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


def change(at: dt.datetime = NOON, **values: Any) -> Change:
    return Change(model="weather", at=at, by="ana", **values)


class History:
    """A model's deployment and its ledger, newest first, as the registry keeps them."""

    def __init__(self) -> None:
        self.current: Deployment | None = None
        self.ledger: list[LedgerEntry] = []

    def promote(self, version: int) -> None:
        self._apply("promoted", promote(self.current, version, change()), 0)

    def rollback(self, to: int | None = None) -> None:
        after, steps = rollback(self.current, self.ledger, change(), to=to)
        self._apply("rolled_back", after, steps)

    def _apply(self, kind: Any, after: Deployment, steps: int) -> None:
        previous = None if self.current is None else self.current.champion
        entry = LedgerEntry(
            model="weather",
            at=after.changed_at,
            operation=str(after.revision),
            kind=kind,
            actor="ana",
            version=after.champion,
            previous=previous,
            revision=after.revision,
            steps=steps,
        )
        self.current = after
        self.ledger.insert(0, entry)

    @property
    def champion(self) -> int | None:
        return None if self.current is None else self.current.champion


def test_the_first_promotion_is_revision_one() -> None:
    after = promote(None, 4, change(reason="first"))
    assert after == Deployment(
        model="weather",
        champion=4,
        revision=1,
        changed_at="2026-11-21T12:00:00.000000Z",
        changed_by="ana",
        reason="first",
    )
    assert (after.mode, after.split, after.challenger) == ("live", 0, None)


def test_a_promotion_ends_the_trial_of_a_challenger() -> None:
    before = Deployment(
        model="weather",
        champion=1,
        challenger=2,
        mode="canary",
        split=10,
        revision=7,
        changed_at="2026-11-21T11:00:00.000000Z",
        changed_by="bob",
    )
    after = promote(before, 2, change())
    assert (after.champion, after.challenger, after.mode, after.split, after.revision) == (2, None, "live", 0, 8)


def test_the_live_version_cannot_be_promoted() -> None:
    with pytest.raises(ConflictError, match=r"live already, since 2026-11-21T12:00:00\.000000Z") as refused:
        promote(promote(None, 4, change()), 4, change())
    assert (refused.value.code, refused.value.exit_code) == ("already_live", 4)


@pytest.mark.parametrize("late", [dt.timedelta(0), dt.timedelta(hours=-3)], ids=["one tick", "a clock that went back"])
def test_times_of_changes_strictly_increase(late: dt.timedelta) -> None:
    first = promote(None, 1, change())
    second = promote(first, 2, change(NOON + late))
    assert second.changed_at == "2026-11-21T12:00:00.000001Z"


def test_times_are_written_in_utc_whatever_zone_the_clock_has() -> None:
    berlin = NOON.astimezone(dt.timezone(dt.timedelta(hours=1)))
    assert promote(None, 1, change(berlin)).changed_at == "2026-11-21T12:00:00.000000Z"


def test_a_rollback_goes_to_the_champion_before() -> None:
    history = History()
    for version in (1, 2, 3):
        history.promote(version)
    history.rollback()
    assert history.champion == 2
    assert history.current is not None
    assert history.current.revision == 4


def test_a_second_rollback_goes_further_back_and_not_forth() -> None:
    history = History()
    for version in (1, 2, 3):
        history.promote(version)
    history.rollback()
    history.rollback()
    assert history.champion == 1


def test_a_version_promoted_twice_is_rolled_back_twice() -> None:
    history = History()
    for version in (1, 2, 1):
        history.promote(version)
    seen = []
    for _ in range(2):
        history.rollback()
        seen.append(history.champion)
    assert seen == [2, 1]
    with pytest.raises(ConflictError, match="no predecessor"):
        history.rollback()


def test_a_rollback_to_a_version_undoes_all_promotions_since() -> None:
    history = History()
    for version in (1, 2, 3, 4):
        history.promote(version)
    history.rollback(to=2)
    assert (history.champion, history.ledger[0].steps) == (2, 2)
    history.rollback()
    assert history.champion == 1


@pytest.mark.parametrize(
    ("promoted", "to", "code"),
    [
        ([], None, "no_predecessor"),
        ([1], None, "no_predecessor"),
        ([1, 2], 2, "already_live"),
        ([1, 2], 9, "not_a_predecessor"),
    ],
    ids=["nothing live", "the first", "the live one", "never live"],
)
def test_a_rollback_that_cannot_be_says_what_can(promoted: list[int], to: int | None, code: str) -> None:
    history = History()
    for version in promoted:
        history.promote(version)
    with pytest.raises(ConflictError) as refused:
        history.rollback(to=to)
    assert refused.value.code == code
    assert refused.value.next_step


def test_a_version_that_was_rolled_back_is_promoted_not_rolled_back_to() -> None:
    history = History()
    history.promote(1)
    history.promote(2)
    history.rollback()
    with pytest.raises(ConflictError, match="not an earlier champion of version 1; those are: none"):
        history.rollback(to=2)


@given(st.lists(st.one_of(st.integers(1, 4), st.just("back"), st.tuples(st.integers(1, 4))), max_size=30))
def test_any_history_keeps_its_rules(steps: list[Any]) -> None:
    history = History()
    stack: list[int] = []  # the rule in its plainest form: promotions push, rollbacks pop
    for step in steps:
        revision = 0 if history.current is None else history.current.revision
        try:
            if step == "back":
                allowed = len(stack) > 1
                history.rollback()
                stack.pop()
            elif isinstance(step, tuple):
                (to,) = step
                allowed = to in stack[:-1] and stack[-1] != to
                history.rollback(to=to)
                stack.pop()
                while stack[-1] != to:
                    stack.pop()
            else:
                allowed = not stack or stack[-1] != step
                history.promote(step)
                stack.append(step)
        except ConflictError:
            assert not allowed
            assert (0 if history.current is None else history.current.revision) == revision
        else:
            assert allowed
            assert history.current is not None
            assert history.current.revision == revision + 1
        assert history.champion == (stack[-1] if stack else None)
        assert list(predecessors(history.ledger)) == stack[-2::-1]
    times = [entry.at for entry in reversed(history.ledger)]
    assert times == sorted(set(times))


def test_a_shadow_answers_beside_the_champion_and_gets_no_share() -> None:
    after = start_trial(promote(None, 1, change()), 2, change(reason="try"), mode="shadow", split=50)
    assert (after.champion, after.challenger, after.mode, after.split) == (1, 2, "shadow", 0)
    assert (after.revision, after.reason, after.changed_at) == (2, "try", "2026-11-21T12:00:00.000001Z")


@pytest.mark.parametrize("split", [1, 50, 99, 0.01, 5.25, 99.99])
def test_a_canary_answers_its_share(split: float) -> None:
    after = start_trial(promote(None, 1, change()), 2, change(), mode="canary", split=split)
    assert (after.champion, after.challenger, after.mode, after.split) == (1, 2, "canary", split)


@pytest.mark.parametrize("split", [0, 100, -1, 10**6, True, 5.001, "5", None])
def test_a_share_that_is_none_is_refused_even_where_nothing_is_live(split: Any) -> None:
    for current in (None, promote(None, 1, change())):
        with pytest.raises(UsageError, match=r"from 0\.01 to 99\.99") as refused:
            start_trial(current, 2, change(), mode="canary", split=split)
        assert (refused.value.code, refused.value.field) == ("invalid_split", "split")


def canary(*splits: float, first: int = 1) -> Deployment:
    """A trial of version 2 whose share was changed so often."""
    found = promote(None, first, change())
    for split in splits:
        found = start_trial(found, 2, change(), mode="canary", split=split)
    return found


def test_a_trial_keeps_its_salt_and_its_callers_while_its_share_changes() -> None:
    small, large = canary(10), canary(10, 50)
    assert small.salt == large.salt == "weather/2"
    assert [(slot.until, slot.version) for slot in small.slots] == [(9000, 1), (10_000, 2)]
    assert [(slot.until, slot.version) for slot in large.slots] == [(5000, 1), (10_000, 2)]


def test_another_trial_has_another_salt() -> None:
    again = start_trial(end_trial(canary(10), change()), 2, change(), mode="canary", split=10)
    other = start_trial(canary(10), 3, change(), mode="canary", split=10)
    assert len({canary(10).salt, again.salt, other.salt}) == 3
    assert [slot.version for slot in other.slots] == [1, 3]


def test_several_versions_share_the_traffic_with_the_champion() -> None:
    after = start_split(promote(None, 1, change()), {4: 10, 3: 2.5}, change(reason="A/B"))
    assert (after.champion, after.challenger, after.others, after.mode, after.split) == (1, 3, (4,), "canary", 2.5)
    assert after.challengers == (3, 4)
    assert shares_of(after) == {1: 87.5, 3: 2.5, 4: 10}
    assert end_trial(after, change()).challengers == ()
    assert shares_of(promote(after, 4, change())) == {4: 100}


def test_a_version_that_joins_a_trial_takes_callers_of_the_champion_alone() -> None:
    before = canary(10)
    after = start_split(before, {2: 10, 3: 10}, change())
    assert after.salt == before.salt
    assert [(slot.until, slot.version) for slot in after.slots] == [(8000, 1), (9000, 3), (10_000, 2)]


@pytest.mark.parametrize(
    "shares",
    [
        {}, {2: 50, 3: 50}, {2: 60, 3: 50}, {2: 99.99, 3: 0.01}, {2: 0, 3: 5}, {2: 5, 3: "5"}, {2: 5, 3: 0.001},
        dict.fromkeys(range(2, 7), 1),
    ],
    ids=str,
)  # fmt: skip
def test_shares_that_are_no_split_are_refused(shares: Any) -> None:
    with pytest.raises(UsageError) as refused:
        start_split(promote(None, 1, change()), shares, change())
    assert (refused.value.code, refused.value.field) == ("invalid_split", "shares")


def test_the_same_split_again_changes_nothing_and_is_said() -> None:
    before = start_split(promote(None, 1, change()), {2: 5, 3: 10}, change())
    with pytest.raises(ConflictError, match=r"versions 2, 3 .* are on trial already \(canary, 5 %, 10 %\)") as refused:
        start_split(before, {3: 10.0, 2: 5}, change())
    assert refused.value.code == "already_on_trial"
    with pytest.raises(ConflictError) as refused:
        start_split(before, {1: 10}, change())
    assert refused.value.code == "already_live"


def test_a_deployment_from_before_there_were_slots_reads_and_goes_on() -> None:
    old = {"model": "weather", "champion": 1, "challenger": 2, "mode": "canary", "split": 10, "revision": 2,
           "changed_at": "2026-11-21T10:00:00.000000Z", "changed_by": "ana", "reason": ""}  # fmt: skip
    before = msgspec.convert(old, Deployment)
    assert shares_of(before) == {1: 90, 2: 10}
    assert [slot.version for slot in slots_of(before)] == [1, 2]
    after = start_trial(before, 2, change(), mode="canary", split=50)
    assert (after.salt, shares_of(after)) == ("", {1: 50, 2: 50})
    assert all(slot.until in {9000, 5000, 10_000} for slot in (*slots_of(before), *after.slots))


@pytest.mark.parametrize("mode", ["shadow", "canary"])
def test_a_trial_needs_a_champion_and_another_version(mode: Any) -> None:
    with pytest.raises(ConflictError) as refused:
        start_trial(None, 2, change(), mode=mode, split=5)
    assert (refused.value.code, bool(refused.value.next_step)) == ("no_champion", True)
    with pytest.raises(ConflictError) as refused:
        start_trial(promote(None, 2, change()), 2, change(), mode=mode, split=5)
    assert refused.value.code == "already_live"


TRIALS: list[tuple[int, Any, int]] = [(2, "shadow", 0), (2, "canary", 5), (2, "canary", 50), (3, "canary", 5)]


@pytest.mark.parametrize("second", TRIALS, ids=str)
@pytest.mark.parametrize("first", TRIALS, ids=str)
def test_a_trial_takes_the_place_of_any_other_but_not_of_itself(
    first: tuple[int, Any, int], second: tuple[int, Any, int]
) -> None:
    before = start_trial(promote(None, 1, change()), first[0], change(), mode=first[1], split=first[2])
    if first == second:
        with pytest.raises(ConflictError, match=rf"on trial already \({first[1]}") as refused:
            start_trial(before, second[0], change(), mode=second[1], split=second[2])
        assert refused.value.code == "already_on_trial"
    else:
        after = start_trial(before, second[0], change(), mode=second[1], split=second[2])
        assert (after.challenger, after.mode, after.split) == second
        assert (after.champion, after.revision) == (1, 3)


def test_the_end_of_a_trial_leaves_the_champion() -> None:
    before = start_trial(promote(None, 1, change()), 2, change(), mode="canary", split=5)
    after = end_trial(before, change(reason="worse"))
    assert (after.champion, after.challenger, after.mode, after.split) == (1, None, "live", 0)
    assert (after.revision, after.reason) == (3, "worse")


@pytest.mark.parametrize("current", [None, promote(None, 1, change())], ids=["nothing live", "no challenger"])
def test_only_a_trial_that_is_can_end(current: Deployment | None) -> None:
    with pytest.raises(ConflictError) as refused:
        end_trial(current, change())
    assert refused.value.code == "no_trial"
    assert "history" in str(refused.value.next_step), "the same command again would be refused again"


@given(st.lists(st.sampled_from(["promote", "back", "shadow", "canary", "end"]), max_size=25), st.randoms())
def test_trials_change_neither_the_champion_nor_what_can_be_rolled_back_to(steps: list[str], draw: Any) -> None:
    plain, mixed = History(), History()
    for step in steps:
        version, split = draw.randint(1, 4), draw.randint(1, 99)
        try:
            match step:
                case "promote":
                    plain.promote(version)
                    mixed.promote(version)
                case "back":
                    plain.rollback()
                    mixed.rollback()
                case "end":
                    mixed._apply("trial_ended", end_trial(mixed.current, change()), 0)
                case _:
                    trial: Any = step
                    after = start_trial(mixed.current, version, change(), mode=trial, split=split)
                    mixed._apply(f"{step}_started", after, 0)
        except ConflictError:
            pass
        assert mixed.champion == plain.champion
        assert list(predecessors(mixed.ledger)) == list(predecessors(plain.ledger))
        if mixed.current is not None:
            assert (mixed.current.challenger is None) is (mixed.current.mode == "live")
            assert (mixed.current.split > 0) is (mixed.current.mode == "canary")
            assert mixed.current.challenger != mixed.current.champion
    times = [entry.at for entry in reversed(mixed.ledger)]
    assert times == sorted(set(times))


def version(number: int) -> Version:
    digest = f"{number:064x}"
    return Version(
        number=number,
        manifest=Manifest(
            model="weather",
            task="binary",
            digest=digest,
            key=f"artifacts/sha256/{digest}/model.onnx",
            size=10 * number,
            signature=Signature(
                (TensorSpec("date", "string", (None, 1)),), (OutputSpec("p", "float32", (None, 2), ("no", "yes")),)
            ),
            lineage=Lineage(code_digest="c0de" if number == 2 else None),
        ),
        author="ana",
        created_at="2026-11-21T09:00:00.000000Z",
    )


def test_the_pointer_has_exactly_what_an_endpoint_needs() -> None:
    deployment = Deployment(
        model="weather",
        champion=2,
        challenger=1,
        mode="canary",
        split=5,
        revision=3,
        changed_at="2026-11-21T10:00:00.000000Z",
        changed_by="ana",
        reason="better",
    )
    body = encode_pointer(pointer_for(deployment, {1: version(1), 2: version(2)}))

    def target(number: int, code_digest: str | None) -> dict[str, Any]:
        digest = f"{number:064x}"
        return {
            "version": number,
            "digest": digest,
            "key": f"artifacts/sha256/{digest}/model.onnx",
            "size": 10 * number,
            "signature": {
                "inputs": [{"name": "date", "dtype": "string", "shape": [None, 1]}],
                "outputs": [{"name": "p", "dtype": "float32", "shape": [None, 2], "classes": ["no", "yes"]}],
            },
            "contract": None,
            "code_digest": code_digest,
            "onnxruntime": "",
            "forms": [],
        }

    assert json.loads(body) == {
        "format": 1,
        "model": "weather",
        "revision": 3,
        "mode": "canary",
        "split": 5,
        "updated_at": "2026-11-21T10:00:00.000000Z",
        "champion": target(2, "c0de"),
        "challenger": target(1, None),
        "others": [],
        "slots": [{"until": 9500, "version": 2}, {"until": 10000, "version": 1}],
        "salt": "",
    }
    assert pointer_revision(body) == 3


def test_the_endpoint_reads_the_pointer_that_the_registry_writes() -> None:
    body = encode_pointer(pointer_for(promote(None, 2, change()), {2: version(2)}))
    served = ServedPointer.parse(body, model="weather")
    assert (served.revision, served.champion.version, served.champion.file.size) == (1, 2, 20)
    assert served.champion.signature == msgspec.json.decode(msgspec.json.encode(version(2).manifest.signature))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"revision": "7"}', b"\xff", b"null"])
def test_a_damaged_pointer_counts_as_the_oldest(body: bytes) -> None:
    assert pointer_revision(body) == 0
