"""Putting versions live and taking them back over HTTP: who is told what when somebody else was first."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelyard.errors import AWSError
from modelyard.pointer_key import pointer_key
from modelyard.registry import Registry
from tests.fakes.broken_stores import Outage
from tests.fakes.control import MODEL, ControlStand
from tests.fakes.gateway import CALLER, Answer
from tests.fakes.stores import InMemoryArtifactStore, InMemoryRecordStore

BOB = "arn:aws:iam::111122223333:user/bob"


@pytest.fixture
def stand() -> ControlStand:
    return ControlStand().with_versions(3)


def test_a_promoted_version_is_live_for_endpoints_too(stand: ControlStand) -> None:
    answer = stand.promote(2, reason="better")
    assert answer.status == 200
    assert (answer.body["champion"], answer.body["revision"], answer.body["changed_by"]) == (2, 1, CALLER)
    stored = stand.artifacts.get(pointer_key(MODEL))
    assert stored is not None
    assert json.loads(stored.body)["champion"]["version"] == 2


def test_the_ledger_names_the_caller_that_api_gateway_established(stand: ControlStand) -> None:
    stand.promote(1)
    stand.gateway.caller = BOB
    assert stand.promote(2).body["changed_by"] == BOB
    actors = [entry["actor"] for entry in stand.get(f"/models/{MODEL}/history").body["items"]]
    assert actors[:2] == [BOB, CALLER]


def test_a_trial_is_started_changed_and_ended(stand: ControlStand) -> None:
    stand.promote(1)
    shadow = stand.post(f"/models/{MODEL}/trial", {"shadow": 2, "reason": "look at it"}).body
    assert (shadow["champion"], shadow["challenger"], shadow["mode"], shadow["shares"]) == (
        1,
        2,
        "shadow",
        {"1": 100, "2": 0},
    )
    canary = stand.post(f"/models/{MODEL}/trial", {"shares": [{"version": 2, "percent": 0.5}]}).body
    assert (canary["mode"], canary["split"], canary["shares"]) == ("canary", 0.5, {"1": 99.5, "2": 0.5})
    shares = [{"version": 3, "percent": 10}, {"version": 2, "percent": 5}]
    split = stand.post(f"/models/{MODEL}/trial", {"shares": shares, "operation": "ab-1", "expected_revision": 3})
    assert (split.body["challenger"], split.body["others"], split.body["changed_by"]) == (2, [3], CALLER)
    assert split.body["shares"] == {"1": 85, "2": 5, "3": 10}
    assert stand.post(f"/models/{MODEL}/trial", {"shares": shares, "operation": "ab-1"}).body == split.body
    again = stand.post(f"/models/{MODEL}/trial", {"shares": shares})
    assert (again.status, again.code) == (409, "already_on_trial")
    ended = stand.post(f"/models/{MODEL}/trial/end", {"reason": "worse"}).body
    assert (ended["challenger"], ended["others"], ended["mode"]) == (None, [], "live")
    assert stand.post(f"/models/{MODEL}/trial/end").code == "no_trial"
    kinds = [entry["kind"] for entry in stand.get(f"/models/{MODEL}/history").body["items"]]
    assert kinds[:4] == ["trial_ended", "split_started", "canary_started", "shadow_started"]


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({}, 400, "invalid_request"),
        ({"shadow": 2, "shares": [{"version": 3, "percent": 5}]}, 400, "invalid_request"),
        ({"shares": []}, 400, "invalid_request"),
        ({"shares": [{"version": 2, "percent": 5}, {"version": 2, "percent": 6}]}, 400, "invalid_request"),
        ({"shares": [{"version": 2, "percent": 0}]}, 400, "invalid_request"),
        ({"shares": [{"version": 2, "percent": "5"}]}, 400, "invalid_request"),
        ({"shares": [{"version": 2, "percent": True}]}, 400, "invalid_request"),
        ({"shares": [{"version": 2, "percent": 1.005}]}, 400, "invalid_split"),
        ({"shares": [{"version": 2, "percent": 60}, {"version": 3, "percent": 40}]}, 400, "invalid_split"),
        ({"shares": {"2": 5}}, 400, "invalid_request"),
        ({"shadow": 2, "expected": 1}, 400, "invalid_request"),
        ({"shadow": 9}, 404, "not_found"),
        ({"shadow": 1}, 409, "already_live"),
        ({"shadow": 2, "expected_revision": 0}, 409, "revision_changed"),
    ],
    ids=str,
)
def test_a_trial_that_cannot_be_is_refused_and_changes_nothing(
    stand: ControlStand, asked: dict[str, object], status: int, code: str
) -> None:
    before = stand.promote(1).body
    answer = stand.post(f"/models/{MODEL}/trial", asked)
    assert (answer.status, answer.code) == (status, code)
    assert stand.get(f"/models/{MODEL}/deployment").body == before


def test_promoting_twice_is_a_conflict_and_changes_nothing(stand: ControlStand) -> None:
    stand.promote(2)
    again = stand.promote(2)
    assert (again.status, again.code, again.body["field"]) == (409, "already_live", "version")
    assert stand.get(f"/models/{MODEL}/deployment").body["revision"] == 1


def test_a_version_that_does_not_exist_cannot_be_live(stand: ControlStand) -> None:
    answer = stand.promote(4)
    assert (answer.status, answer.code) == (404, "not_found")
    assert "1 to 3" in answer.body["detail"]
    assert stand.get(f"/models/{MODEL}/deployment").code == "nothing_live"


def test_a_repeated_operation_gives_the_first_answer(stand: ControlStand) -> None:
    first = stand.promote(1, operation="release-1")
    stand.promote(2)
    assert stand.promote(1, operation="release-1").body == first.body
    assert stand.get(f"/models/{MODEL}/deployment").body["champion"] == 2


def test_an_operation_stands_for_one_change_only(stand: ControlStand) -> None:
    stand.promote(1, operation="release-1")
    answer = stand.promote(2, operation="release-1")
    assert (answer.status, answer.code, answer.body["field"]) == (409, "operation_reused", "operation")


def test_a_change_in_between_is_a_conflict_that_names_the_present_revision(stand: ControlStand) -> None:
    seen = stand.promote(1).body["revision"]
    stand.gateway.caller = BOB
    stand.promote(2)
    stand.gateway.caller = CALLER
    late = stand.promote(3, expected_revision=seen)
    assert (late.status, late.code, late.body["field"]) == (409, "revision_changed", "expected_revision")
    assert "revision 2" in late.body["detail"]
    assert BOB in late.body["detail"]
    assert stand.get(f"/models/{MODEL}/deployment").body["champion"] == 2


def test_who_loses_a_race_is_told_who_won_it() -> None:
    """Somebody promotes another version between our reading of the deployment and our writing."""

    class Raced(InMemoryRecordStore):
        race: ControlStand | None = None

        def transact(self, puts: object) -> None:
            race, kinds = self.race, {put.item["sk"].partition("#")[0] for put in puts}  # type: ignore[attr-defined]
            if race is not None and "DEPLOYMENT" in kinds:
                self.race = None
                race.registry("somebody").promote(MODEL, 1)
            super().transact(puts)  # type: ignore[arg-type]

    records = Raced()
    stand = ControlStand(records=records).with_versions(2)
    records.race = stand
    answer = stand.promote(2)
    assert (answer.status, answer.code) == (409, "revision_changed")
    assert "revision 1: somebody changed it at" in answer.body["detail"]
    assert stand.get(f"/models/{MODEL}/deployment").body["champion"] == 1


@pytest.mark.parametrize("after", [False, True], ids=["before it acts", "after it acted"])
def test_a_promotion_that_was_cut_anywhere_can_be_repeated(after: bool) -> None:
    """Every single store call fails once; the same request again ends as if nothing had happened."""

    def attempt(at: int | None) -> tuple[ControlStand, Outage, Answer]:
        records, artifacts, outage = InMemoryRecordStore(), InMemoryArtifactStore(), Outage(at, after=after)
        ControlStand(records=records, artifacts=artifacts).with_versions(1)
        stand = ControlStand(records=outage.over(records), artifacts=outage.over(artifacts))
        first = stand.promote(1, reason="first", operation="release-1")
        assert first.status in (200, 502), first.text
        return stand, outage, first if first.status == 200 else stand.promote(1, reason="first", operation="release-1")

    calls = len(attempt(None)[1].calls)
    assert calls > 4
    for at in range(calls):
        stand, _, answer = attempt(at)
        assert (answer.status, answer.body["champion"], answer.body["revision"]) == (200, 1, 1), (at, answer.text)
        kinds = [entry["kind"] for entry in stand.get(f"/models/{MODEL}/history").body["items"]]
        assert kinds == ["promoted", "registered"]
        stored = stand.artifacts.get(pointer_key(MODEL))
        assert json.loads(stored.body)["revision"] == 1


def test_revision_0_means_that_nothing_is_live_yet(stand: ControlStand) -> None:
    assert stand.promote(1, expected_revision=0).status == 200
    assert stand.promote(2, expected_revision=0).code == "revision_changed"


def test_a_rollback_goes_back_one_and_the_next_one_further(stand: ControlStand) -> None:
    for version in (1, 2, 3):
        stand.promote(version)
    assert stand.rollback(reason="worse").body["champion"] == 2
    assert stand.rollback().body["champion"] == 1
    answer = stand.rollback()
    assert (answer.status, answer.code) == (409, "no_predecessor")


def test_a_rollback_needs_no_body(stand: ControlStand) -> None:
    stand.promote(1)
    stand.promote(2)
    assert stand.post(f"/models/{MODEL}/rollback").body["champion"] == 1


def test_a_rollback_goes_to_an_earlier_champion_by_number(stand: ControlStand) -> None:
    stand.promote(1)
    stand.promote(2)
    never = stand.rollback(to=3)
    assert (never.status, never.code, never.body["field"]) == (409, "not_a_predecessor", "to")
    assert stand.rollback(to=2).code == "already_live"
    assert stand.rollback(to=1).body["champion"] == 1
    assert stand.rollback(to=99).code == "not_found"


def test_there_is_nothing_to_roll_back_before_the_first_promotion(stand: ControlStand) -> None:
    assert (stand.rollback().status, stand.rollback().code) == (409, "no_predecessor")


def test_of_callers_at_once_one_wins_and_the_others_are_told(stand: ControlStand) -> None:
    stand.promote(1)

    def promote(version: int) -> object:  # what a request does, without the event loop that threads cannot share
        try:
            return Registry(stand.records, stand.artifacts, actor=BOB).promote(MODEL, version, expected_revision=1)
        except Exception as lost:  # noqa: BLE001 - looked at below
            return lost

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(promote, [2, 3, 2, 3]))
    assert [getattr(outcome, "code", "ok") for outcome in outcomes].count("revision_changed") == 3
    assert stand.promote(1, expected_revision=1).code == "revision_changed"


class TestWhereAReasonIsRequired:
    @pytest.fixture
    def strict(self) -> ControlStand:
        return ControlStand(require_reason=True).with_versions(2)

    @pytest.mark.parametrize("reason", [{}, {"reason": ""}, {"reason": "  \n"}])
    def test_a_change_without_one_is_refused(self, strict: ControlStand, reason: dict) -> None:
        for answer in (strict.promote(1, **reason), strict.rollback(**reason)):
            assert (answer.status, answer.code, answer.body["field"]) == (400, "reason_required", "reason")
        assert strict.get(f"/models/{MODEL}/deployment").code == "nothing_live"

    def test_a_change_with_one_goes_through(self, strict: ControlStand) -> None:
        assert strict.promote(1, reason="first").status == 200
        assert strict.promote(2, reason="second").status == 200
        assert strict.rollback(reason="back").body["reason"] == "back"

    def test_registering_needs_none(self, strict: ControlStand) -> None:
        assert strict.register(b"model 3").status == 201


def test_a_pointer_that_cannot_be_written_is_said_and_repaired_by_repeating() -> None:
    class Failing(InMemoryArtifactStore):
        down = False

        def put_if_absent(self, key: str, body: bytes, **about: object) -> bool:
            if self.down and key.startswith("deployments/"):
                raise AWSError("cannot write s3://bucket/key: S3 is away", code="unreachable")
            return super().put_if_absent(key, body, **about)  # type: ignore[arg-type]

    store = Failing()
    stand = ControlStand(artifacts=store).with_versions(1)
    store.down = True
    behind = stand.promote(1, operation="release-1")
    assert (behind.status, behind.code) == (502, "pointer_behind")
    assert [failure.code for failure, _ in stand.journal.failures] == ["pointer_behind"]
    store.down = False
    assert stand.promote(1, operation="release-1").status == 200
    assert store.get(pointer_key(MODEL)) is not None
