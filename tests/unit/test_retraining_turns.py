"""Whose turn it is to train, as a pure function: one holder, one waiter, limits in time and money."""

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.retraining.turn_records import Asking, Decision, Turn, TurnAnswer
from modelyard.retraining.turns import BEYOND_TRAINING_S, GRACE_S, ask, release, spent_in
from modelyard.times import stamp

T0 = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
NOBODY = Turn(model="m")
LEASE = 600 + BEYOND_TRAINING_S


def asking(run: str, **rules: Any) -> Asking:
    return Asking(run_id=run, **{"train_s": 600, "usd": 0.1} | rules)


class Table:
    """A turn, a clock, and what became of the runs."""

    def __init__(self) -> None:
        self.turn, self.now = NOBODY, T0
        self.ended: dict[str, tuple[str, str | None]] = {}

    def ask(self, run: str, *, after_s: float = 0, **rules: Any) -> TurnAnswer:
        self.now += dt.timedelta(seconds=after_s)
        return self.apply(ask(self.turn, asking(run, **rules), self.now)).answer

    def apply(self, decision: Decision) -> Decision:
        if decision.turn is not None:
            assert decision.turn.revision == self.turn.revision + 1
            self.turn = decision.turn
        for end in decision.ends:
            assert end.run_id not in self.ended, "a run ends once"
            self.ended[end.run_id] = (end.status, end.into)
        return decision

    def release(self, run: str, usd: float | None = 0.05, *, after_s: float = 0) -> float | None:
        self.now += dt.timedelta(seconds=after_s)
        self.turn, paid = release(self.turn, run, usd, self.now)
        return paid

    @property
    def holder(self) -> str | None:
        return None if self.turn.holder is None else self.turn.holder.run_id

    @property
    def waiter(self) -> str | None:
        return None if self.turn.waiter is None else self.turn.waiter.run_id


@pytest.fixture
def table() -> Table:
    return Table()


def test_the_first_run_trains_the_second_waits_and_the_others_join_it(table: Table) -> None:
    assert table.ask("a").status == "go"
    second = table.ask("b")
    assert (second.status, second.wait_s) == ("wait", 5)
    assert second.reason == "waits: this run starts when run a ends"
    third = table.ask("c")
    assert (third.status, third.into) == ("merged", "b")
    assert third.reason == "merged into run b, which starts when run a ends"
    assert table.ended == {"c": ("merged", "b")}
    table.release("a", after_s=60)
    assert table.ask("b").status == "go"
    assert (table.holder, table.waiter) == ("b", None)


def test_asked_again_a_run_hears_the_same(table: Table) -> None:
    assert table.ask("a") == table.ask("a")
    revision = table.turn.revision
    table.ask("a")
    assert table.turn.revision == revision, "and nothing is written"
    assert table.ask("b") == table.ask("b")
    assert table.waiter == "b"


def test_who_is_neither_holder_nor_waiter_releases_nothing(table: Table) -> None:
    table.ask("a")
    table.ask("b")
    before = table.turn
    assert table.release("c") is None
    assert table.turn is before


def test_a_waiter_that_fails_leaves_its_place(table: Table) -> None:
    table.ask("a")
    table.ask("b")
    assert table.release("b") is None
    assert (table.holder, table.waiter) == ("a", None)


def test_a_training_is_looked_at_every_five_seconds_at_first_and_then_every_minute(table: Table) -> None:
    table.ask("a", train_s=3600)
    waits = []
    answer = table.ask("b", train_s=3600)
    for _ in range(60):
        waits.append(answer.wait_s)
        answer = table.ask("b", after_s=answer.wait_s or 0, train_s=3600)
    assert waits[0] == 5
    assert waits == sorted(waits)
    assert waits[-1] == 60
    assert sum(1 for wait in waits if wait and wait < 60) < 50


def test_who_died_in_its_turn_blocks_the_others_until_its_lease_ends(table: Table) -> None:
    table.ask("a")
    answer = table.ask("b", after_s=1)
    for _ in range(200):
        if answer.status == "wait":
            answer = table.ask("b", after_s=answer.wait_s or 0)
    assert answer.status == "go"
    waited = (table.now - T0).total_seconds()
    assert LEASE < waited <= LEASE + 2, "it wakes when the lease ends, not a minute later"
    assert table.ended == {"a": ("failed", None)}
    assert table.turn.spent == {"2026-11": 0.1}, "what it cost is not known: all that was set aside"
    assert table.release("a") is None, "and what it says later changes nothing"
    assert table.holder == "b"


def test_who_died_waiting_is_replaced_a_quarter_of_an_hour_after_it_should_have_woken(table: Table) -> None:
    table.ask("a", train_s=7200)
    wait_s = table.ask("b").wait_s or 0
    assert table.ask("c", after_s=wait_s + GRACE_S).status == "merged"
    later = table.ask("d", after_s=1)
    assert (later.status, table.waiter) == ("wait", "d")
    assert table.ended["b"] == ("failed", None)


def test_a_waiter_that_is_late_keeps_its_place_while_nobody_took_it(table: Table) -> None:
    table.ask("a")
    table.ask("b")
    table.release("a")
    assert table.ask("b", after_s=GRACE_S * 10).status == "go"


def test_a_debounce_waits_until_nothing_comes_any_more(table: Table) -> None:
    first = table.ask("a", debounce_s=60)
    assert (first.status, first.wait_s) == ("wait", 60)
    assert "at 2026-11-21T10:01:00Z at the earliest (debounce of 60 s)" in first.reason
    assert table.ask("b", after_s=50, debounce_s=60).into == "a"
    again = table.ask("a", after_s=10, debounce_s=60)
    assert (again.status, again.wait_s) == ("wait", 50), "the second file came 10 s ago"
    assert table.ask("a", after_s=50, debounce_s=60).status == "go"


def test_a_debounce_ends_after_ten_times_its_length_whatever_comes(table: Table) -> None:
    table.ask("a", debounce_s=60)
    for number in range(11):
        assert table.ask(f"b{number}", after_s=50, debounce_s=60).into == "a"
    assert table.now == T0 + dt.timedelta(seconds=550)
    assert table.ask("a", after_s=49, debounce_s=60).wait_s == 1
    assert table.ask("a", after_s=1, debounce_s=60).status == "go"


def test_a_cooldown_counts_from_the_last_start(table: Table) -> None:
    table.ask("a", cooldown_s=3600)
    table.release("a", after_s=300)
    answer = table.ask("b", cooldown_s=3600)
    assert (answer.status, answer.wait_s) == ("wait", 3300)
    assert "2026-11-21T11:00:00Z at the earliest (cooldown of 3,600 s)" in answer.reason
    assert table.ask("b", after_s=3300, cooldown_s=3600).status == "go"


def test_a_manual_start_waits_for_the_turn_and_for_nothing_else(table: Table) -> None:
    rules = {"cooldown_s": 3600, "debounce_s": 60}
    table.ask("a")
    assert table.ask("m1", manual=True, **rules).status == "wait"
    table.release("a", after_s=10)
    assert table.ask("m1", manual=True, **rules).status == "go"


def test_a_manual_start_takes_what_waits_for_a_cooldown_with_it(table: Table) -> None:
    table.ask("a")
    table.release("a")
    table.ask("b", cooldown_s=3600)
    assert table.ask("m", manual=True).status == "go"
    assert table.ended == {"b": ("merged", "m")}
    assert table.waiter is None


def test_a_manual_start_takes_the_place_of_what_waits_for_the_turn(table: Table) -> None:
    table.ask("a")
    table.ask("b", cooldown_s=3600)
    assert table.ask("m", manual=True).status == "wait"
    assert (table.waiter, table.ended) == ("m", {"b": ("merged", "m")})
    assert table.ask("m2", manual=True).into == "m", "another one joins it"
    assert table.ask("c", debounce_s=600).into == "m"
    table.release("a")
    assert table.ask("m", manual=True).status == "go", "whose wishes do not hold it up"


def test_a_person_is_not_merged_into_a_run_that_nobody_asked_for(table: Table) -> None:
    """A manual start may ask for more than the others, such as an ablation."""
    table.ask("a")
    table.ask("b")
    assert table.ask("m", after_s=10, manual=True).status == "wait"
    assert (table.waiter, table.ended) == ("m", {"b": ("merged", "m")})


def test_who_may_start_earlier_makes_both_start(table: Table) -> None:
    table.ask("a")
    table.release("a")
    assert table.ask("slow", cooldown_s=86_400).status == "wait"
    assert table.ask("quick", after_s=60, cooldown_s=3600).status == "wait"
    assert table.ended == {"slow": ("merged", "quick")}
    assert table.ask("slower", after_s=60, cooldown_s=172_800).into == "quick"
    assert table.ask("quick", after_s=3480, cooldown_s=3600).status == "go"


def test_labels_are_collected_until_there_are_enough(table: Table) -> None:
    answers = [table.ask(f"r{number}", count=500, rows=120) for number in range(5)]
    assert [answer.status for answer in answers] == ["collected"] * 4 + ["go"]
    assert answers[0].reason.startswith("120 of 500 new rows")
    assert answers[3].reason.startswith("480 of 500 new rows")
    table.release("r4")
    assert table.ask("r5", count=500, rows=499).status == "collected", "it counts from the last start on"
    assert table.ask("r6", count=500, rows=1).status == "go"


def test_rows_of_a_run_count_once(table: Table) -> None:
    table.ask("a")
    table.ask("b", count=100, rows=100)
    for _ in range(3):
        table.ask("b", count=100, rows=100)
    assert table.turn.rows == 100


def test_rows_that_no_trigger_waits_for_count_as_well(table: Table) -> None:
    assert table.ask("a", starts=False, rows=400).status == "collected"
    assert table.ask("b", count=500, rows=100).status == "go"


def test_a_cap_is_kept_with_what_goes_on_set_aside(table: Table) -> None:
    rules = {"monthly_usd": 0.25}
    table.ask("a", **rules)
    assert spent_in(table.turn, table.now) == pytest.approx(0.1)
    table.release("a", 0.04)
    assert spent_in(table.turn, table.now) == pytest.approx(0.04)
    for run, usd in (("b", 0.07), ("c", 0.05)):
        assert table.ask(run, **rules).status == "go"
        table.release(run, usd)
    answer = table.ask("d", **rules)
    assert answer.status == "skipped"
    assert answer.reason == (
        "0.1600 of 0.2500 USD are spent in 2026-11 (UTC), and this training could cost 0.1000. The next training may "
        "start on 2026-12-01; before that, raise monthly_usd and deploy"
    )
    assert table.ended == {"d": ("skipped", None)}
    assert table.ask("e").status == "go", "a trigger without a cap may"


def test_a_new_month_has_a_new_cap(table: Table) -> None:
    table.ask("a", monthly_usd=0.15)
    table.release("a", 0.1)
    assert table.ask("b", monthly_usd=0.15).status == "skipped"
    table.now = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    assert table.ask("c", monthly_usd=0.15).status == "go"
    table.release("c", 0.1)
    assert table.turn.spent == {"2026-11": 0.1, "2026-12": 0.1}


def test_a_month_begins_in_utc_and_a_training_counts_where_it_began(table: Table) -> None:
    table.now = dt.datetime(2026, 12, 31, 23, 59, tzinfo=dt.UTC)
    table.ask("a", monthly_usd=1.0)
    table.release("a", 0.1, after_s=120)
    assert table.turn.spent == {"2026-12": 0.1}
    assert spent_in(table.turn, table.now) == 0


def test_a_cap_below_a_single_training_says_that_none_will_ever_start(table: Table) -> None:
    assert "more than the whole cap" in table.ask("a", monthly_usd=0.05).reason


def test_a_cap_cannot_be_kept_where_the_price_is_not_known(table: Table) -> None:
    answer = table.ask("a", monthly_usd=5.0, usd=None)
    assert (answer.status, "training.usd_per_hour" in answer.reason) == ("skipped", True)
    assert table.ask("b", usd=None).status == "go"


def test_who_is_skipped_leaves_what_waits_where_it_is(table: Table) -> None:
    table.ask("a")
    table.release("a")
    table.ask("b", cooldown_s=3600, monthly_usd=0.05)
    assert table.ask("m", manual=True, monthly_usd=0.01).status == "skipped"
    assert (table.waiter, table.holder) == ("b", None)
    assert set(table.ended) == {"m"}


def test_the_more_generous_cap_pays_for_both(table: Table) -> None:
    table.ask("a")
    table.ask("b", monthly_usd=0.01)
    table.ask("c", monthly_usd=9.0)
    table.release("a")
    assert table.ask("b", monthly_usd=0.01).status == "go"


def test_what_a_run_cost_is_estimated_from_its_time_where_nobody_knows(table: Table) -> None:
    table.ask("a", usd=1.0)
    assert table.release("a", None, after_s=60) == pytest.approx(0.1)
    table.ask("b", usd=1.0)
    assert table.release("b", None, after_s=2000) == pytest.approx(1.0), "at most what was set aside"


def test_a_run_that_is_redriven_takes_its_turn_again_at_once(table: Table) -> None:
    rules = {"cooldown_s": 3600, "debounce_s": 60, "count": 10, "rows": 10}
    assert table.ask("a", **rules).status == "wait"
    assert table.ask("a", after_s=60, **rules).status == "go"
    table.release("a", after_s=10)
    assert table.ask("a", after_s=10, **rules).status == "go"
    assert table.turn.rows == 0, "its rows were learnt from, and counted, before"


def test_a_holder_whose_lease_ended_and_that_asks_again_is_not_its_own_successor(table: Table) -> None:
    table.ask("a")
    assert table.ask("a", after_s=LEASE + 60).status == "go"
    assert table.ended == {}
    assert table.turn.holder is not None
    assert table.turn.holder.until > stamp(table.now)


@pytest.mark.parametrize(
    ("cooldown_s", "train_s"),
    [(365 * 86_400, 600), (31 * 86_400, 432_000), (0, 432_000), (3600, 600)],
    ids=["a year of cooldown", "the longest of everything", "the longest training", "an hour"],
)
def test_the_longest_wait_fits_into_the_history_of_an_execution(cooldown_s: int, train_s: int) -> None:
    """Nine events for each look: the task's five, two of the choice, two of the wait. An execution has 25,000."""
    table = Table()
    table.ask("a", train_s=train_s)
    looks, answer = 1, table.ask("b", cooldown_s=cooldown_s, train_s=train_s, debounce_s=86_400)
    while answer.status == "wait" and looks < 3000:
        answer = table.ask("b", after_s=answer.wait_s or 0, cooldown_s=cooldown_s, train_s=train_s, debounce_s=86_400)
        looks += 1
    assert answer.status == "go"
    assert looks * 9 < 24_000
    if cooldown_s == 3600:
        assert looks < 30


RULES = st.fixed_dictionaries(
    {
        "manual": st.booleans(),
        "debounce_s": st.sampled_from([0, 30, 300]),
        "cooldown_s": st.sampled_from([0, 600, 7200]),
        "monthly_usd": st.sampled_from([None, 0.35, 1.0]),
        "count": st.sampled_from([None, 25]),
        "rows": st.sampled_from([0, 10, 30]),
        "starts": st.sampled_from([True, True, True, False]),
    }
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["new", "again", "release", "forget"]), st.integers(0, 2000), RULES), max_size=60
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_whatever_happens_there_is_one_holder_and_everybody_else_knows_where_it_stands(steps: list[Any]) -> None:
    table, alive = Table(), dict[str, dict[str, Any]]()
    starts: list[tuple[dt.datetime, dict[str, Any]]] = []
    for number, (act, seconds, rules) in enumerate(steps):
        table.now += dt.timedelta(seconds=seconds)
        if act == "release" and table.holder is not None:
            table.release(table.holder, 0.05)
            continue
        if act == "forget":
            alive.pop(table.holder or "", None)
            continue
        again = act == "again" and table.waiter is not None
        run = table.waiter if again and table.waiter is not None else f"run-{number}"
        rules = alive.get(run, rules)
        before = table.turn
        answer = table.ask(run, **rules)
        if answer.status == "go" and (before.holder is None or before.holder.run_id != run):
            assert before.holder is None or before.holder.until < stamp(table.now), "one holder at a time"
            starts.append((table.now, rules))
        alive[run] = rules
        here = {"go": table.holder, "wait": table.waiter}
        if answer.status in here:
            assert here[answer.status] == run
            assert (answer.wait_s or 0) > 0 or answer.status == "go"
        else:
            assert table.ended[run][0] == answer.status
            assert run not in (table.holder, table.waiter)
        if answer.status == "merged":
            assert answer.into == table.waiter
        if table.turn.holder is not None:
            assert table.turn.waiter is None or table.turn.waiter.run_id != table.turn.holder.run_id
        assert msgspec.convert(msgspec.to_builtins(table.turn), Turn) == table.turn
    for run, (status, _) in table.ended.items():
        assert run not in (table.holder, table.waiter), f"{run} ended {status}"
    assert all(usd >= 0 for usd in table.turn.spent.values())
