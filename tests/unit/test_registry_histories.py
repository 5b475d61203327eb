"""Sixteen clients at once call random verbs, die in the middle and repeat themselves; every answer has to make sense.

A history is made of a seed, over stores in memory, one store call at a time (tests/fakes/interleaving.py), and then
checked for linearizability, for the invariants, and for what the past was (tests/fakes/registry_history.py).
``MODELYARD_HISTORIES=5000 make unit ARGS="-k histories"`` looks at more of them.
"""

import functools
import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes import wrong_registries as wrong
from tests.fakes.interleaving import Plan, meetings
from tests.fakes.linearizability import Call, NotLinearizableError, linearize
from tests.fakes.registry_clients import VERBS, Client, World, artifact
from tests.fakes.registry_history import check
from tests.fakes.verbs import orphan

CLIENTS = 16
CALLS_EACH = 20
HISTORIES = int(os.environ.get("MODELYARD_HISTORIES", "40"))
IS_LONG = HISTORIES > 40
LEAST_CALLS = 10_000


def history(seed: int, **parts: Any) -> World:
    world = World(seed, **parts)
    world.run(CLIENTS, CALLS_EACH)
    return world


def test_every_history_of_many_clients_could_have_been_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    calls, answered, died = 0, dict.fromkeys(VERBS, 0), 0
    for seed in range(HISTORIES):
        world = history(seed)
        try:
            check(world)
        except AssertionError as broken:
            broken.add_note(f"history of seed {seed}")
            raise
        calls += len(world.calls)
        for _, call in world.calls:
            answered[call.verb] += call.answer is not None and call.answer[0] != "refused"
            died += call.answer is None
    with capsys.disabled():
        sys.stdout.write(f"\n{calls:,} calls by {CLIENTS} clients in {HISTORIES} histories, {died:,} interrupted\n")
    assert calls >= min(LEAST_CALLS, HISTORIES * CLIENTS * CALLS_EACH)
    assert min(answered.values()) > HISTORIES / 4, f"a verb that hardly ever succeeds is hardly checked: {answered}"
    assert died > calls / 50


def test_a_history_depends_on_its_seed_alone() -> None:
    assert history(7).calls == history(7).calls
    assert history(7).calls != history(8).calls


MEETINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "publish": ("register", {"content": "ants 9"}),
    "publish as number 4": ("register", {"content": "ants 9", "number": 4}),
    "publish another": ("register", {"content": "ants 8"}),
    "promote": ("promote", {"version": 3, "operation": "release-3"}),
    "promote from a revision": ("promote", {"version": 1, "expected_revision": 2}),
    "roll back": ("rollback", {}),
    "roll back to a version": ("rollback", {"to": 1, "operation": "undo-2"}),
    "start a shadow": ("start_shadow", {"version": 3, "operation": "trial-3"}),
    "write notes": ("write_notes", {"text": "short"}),
    "sweep": ("sweep", {}),
    "look": ("history", {}),
}


def meeting(first: str, second: str, plan: Plan, **parts: Any) -> World:
    """Two verbs at once, on a model with three versions of which two were live, and the bytes of a fourth."""
    world = World(0, plan=plan, **parts)
    owner = Client(world, "owner", shared=False)
    for content in ("ants 1", "ants 2", "ants 3"):
        owner.call("register", "ants", {"content": content})
    for version in (1, 2):
        owner.call("promote", "ants", {"version": version})
    orphan(world.registry(world.records, world.artifacts, actor="nobody"), artifact("ants 9"))
    clients = [Client(world, "one"), Client(world, "two")]
    world.interleaving.run(
        [
            functools.partial(client.call, verb, "ants", arguments)
            for client, (verb, arguments) in zip(clients, (MEETINGS[first], MEETINGS[second]), strict=True)
        ]
    )
    world.observe()
    return world


def check_meetings(first: str, second: str, *, twice: bool, **parts: Any) -> int:
    """Check each way in which the two can meet with one switch, or with two; how many there are."""
    count = 0
    for plan in meetings(twice=twice):
        world = meeting(first, second, plan, **made(parts))
        try:
            check(world)
        except AssertionError as broken:
            broken.add_note(f"{first}, {second}: {plan}")
            raise
        count += 1
    return count


def made(parts: dict[str, Any]) -> dict[str, Any]:
    """New stores, and registries as they are."""
    return {name: part if name == "registry" else part() for name, part in parts.items()}


PAIRS = list(itertools.combinations_with_replacement(MEETINGS, 2))
TWICE = [("publish", "publish"), ("publish", "sweep"), ("promote", "roll back")]
"""What meets with two switches in every run; the others with one, since there are many."""


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_verbs_may_meet_anywhere(first: str, second: str) -> None:
    assert check_meetings(first, second, twice=IS_LONG or (first, second) in TWICE) > 2


def in_a_history(**parts: Any) -> None:
    for seed in range(HISTORIES):
        check(history(seed, **made(parts)))


def when_a_publisher_meets_a_sweep(**parts: Any) -> None:
    check_meetings("publish", "sweep", twice=True, **parts)


@pytest.mark.parametrize(
    ("look", "parts"),
    [
        (in_a_history, {"records": wrong.TransactsWithoutConditions}),
        (in_a_history, {"records": wrong.ReadsWhatWas}),
        (in_a_history, {"artifacts": wrong.ReplacesWithoutLooking}),
        (in_a_history, {"registry": wrong.WritesTheLedgerLater}),
        (in_a_history, {"registry": wrong.ForgetsOperations}),
        (in_a_history, {"registry": wrong.SweepsWithoutCondemning}),
        (in_a_history, {"registry": wrong.PublishesNothing}),
        (when_a_publisher_meets_a_sweep, {"registry": wrong.SweepsWithoutCondemning}),
        (when_a_publisher_meets_a_sweep, {"artifacts": wrong.DeletesWhateverIsThere}),
    ],
    ids=lambda value: next(iter(value.values())).__name__ if isinstance(value, dict) else value.__name__,
)
def test_the_check_finds_a_mistake_that_was_made_on_purpose(look: Callable[..., None], parts: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        look(**parts)


def call(client: str, verb: str, invoked: int, answered: float, answer: Any = None) -> Call:
    return Call(client, verb, {}, invoked, answered, answer)


def counter(state: int, made: Call) -> int | None:
    """A counter that can be read and raised."""
    if made.verb == "read":
        return state if made.answer == state else None
    return state + 1


@pytest.mark.parametrize(
    ("calls", "end"),
    [
        ([call("a", "raise", 1, 2), call("b", "read", 3, 4, 1)], 1),
        ([call("a", "raise", 1, 4), call("b", "read", 2, 3, 0)], 1),
        ([call("a", "raise", 1, 4), call("b", "read", 2, 3, 1)], 1),
        ([call("a", "raise", 1, 8), call("b", "read", 2, 3, 1), call("b", "read", 4, 5, 1)], 1),
        ([call("a", "raise", 1, float("inf")), call("b", "read", 5, 6, 0)], 0),
        ([call("a", "raise", 1, float("inf")), call("b", "read", 5, 6, 1)], 1),
        ([call("a", "raise", 1, 9), call("b", "raise", 2, 8), call("c", "read", 3, 4, 2)], 2),
    ],
)
def test_an_order_is_found_where_there_is_one(calls: list[Call], end: int) -> None:
    assert linearize(calls, 0, counter) == end


@pytest.mark.parametrize(
    "calls",
    [
        [call("a", "raise", 1, 2), call("b", "read", 3, 4, 0)],
        [call("a", "raise", 3, 4), call("b", "read", 1, 2, 1)],
        [call("a", "raise", 1, 8), call("b", "read", 2, 3, 1), call("b", "read", 4, 5, 0)],
        [call("a", "raise", 5, float("inf")), call("b", "read", 1, 2, 1)],
        [call("a", "raise", 1, 9), call("b", "read", 2, 8, 2)],
    ],
)
def test_no_order_is_found_where_there_is_none(calls: list[Call]) -> None:
    with pytest.raises(NotLinearizableError):
        linearize(calls, 0, counter)
