"""What a history of many clients must be: linearizable against the plain registry, and true to the end.

Hints keep the search short. Whoever made a change was told its number and its time, and what was never answered is
either in the ledger, under its operation's id, or had no effect.
"""

import datetime as dt
import functools
from collections.abc import Sequence

from modelyard.canonical import canonical_json
from modelyard.registry import keys
from modelyard.registry.index import entries_of_model
from modelyard.times import parse_stamp, stamp
from tests.fakes.invariants import Shelf
from tests.fakes.linearizability import Call, linearize
from tests.fakes.plain_registry import Line, Plain, time_of
from tests.fakes.registry_clients import CHANGES, MODELS, VERBS, WRITES, World
from tests.fakes.verbs import sweep

UNORDERED = frozenset({"follow", "sweep", "index"})
"""What promises nothing about the order of calls, and is checked in another way."""


def check(world: World) -> None:
    """Raise AssertionError when the history, or what it left, breaks a promise."""
    for model in MODELS:
        calls, ledger = world.of(model), _ledger(world, model)
        _check_pointers(calls)
        ordered = [
            call
            for call in calls
            if call.verb not in UNORDERED and (call.answer is not None or call.arguments["operation"] in ledger)
        ]
        end = linearize(ordered, Plain(), functools.partial(_step, ledger))
        _check_the_past(world, model, end)
        _check_index(world, model)
        assert Shelf(world.records, world.artifacts, model).violations() == []
    _check_leftovers(world)


def _ledger(world: World, model: str) -> dict[str, Line]:
    """The lines of the ledger by operation."""
    shelf = Shelf(world.records, world.artifacts, model)
    lines = (Line(e["at"], e["operation"], e["kind"], e["version"], e["revision"]) for e in shelf.ledger)
    return {line.operation: line for line in lines}


def _step(ledger: dict[str, Line], state: Plain, call: Call) -> Plain | None:
    """The state after ``call``, or None when its answer is not possible in ``state``."""
    if call.answer is None:
        line = ledger[call.arguments["operation"]]
        after: Plain = getattr(state, call.verb)(**call.arguments, at=line.at)[0]
        return after if line in after.ledger and line not in state.ledger else None
    match call.verb, call.answer:
        case (_, ("refused", "revision_changed", *_)):
            return state if _is_a_true_conflict(state, call) else None
        case ("publish", (_, revision)):
            return state if revision == state.revision() else None
        case ("load", (_, found)):
            return state if found else None
    if call.verb in WRITES:
        return _change(state, call)
    given = {key: value for key, value in call.arguments.items() if key not in ("operation", "by")}
    return state if getattr(state, call.verb)(**given) == call.answer else None


def _change(state: Plain, call: Call) -> Plain | None:
    """The state after a verb that may change something, when its answer is possible here."""
    after, answer = getattr(state, call.verb)(**call.arguments, at=time_of(call.answer))
    moved_on = len(after.changes) > len(state.changes) > 0
    if answer != call.answer or (moved_on and after.changes[-1].at <= state.changes[-1].at):
        return None
    return after


def _is_a_true_conflict(state: Plain, call: Call) -> bool:
    """Whether "not at revision A any more, it is at B since … by …" is so: B is now, and A was when the call began."""
    _, _, decided_on, current, message = call.answer
    given = call.arguments
    last: tuple[str, str] | None
    if call.verb == "write_notes":
        now, last = len(state.noted), state.noted[-1][1:] if state.noted else None
    else:
        now, last = state.revision(), (state.changes[-1].at, state.changes[-1].by) if state.changes else None
        if any(change.operation == given["operation"] for change in state.changes):
            return False
    if current != now or decided_on == current or not state.contents:
        return False
    if "expected_revision" in given:
        began_there = decided_on == given["expected_revision"]
    else:
        began_there = call.verb == "write_notes" or call.known <= decided_on < current
    return began_there and (last is None or all(word in message for word in last))


def _check_pointers(calls: Sequence[Call]) -> None:
    """The pointer never goes back, and is there before whoever made the change hears that it is made."""
    ended = sorted((call for call in calls if call.answer is not None), key=lambda call: call.answered)
    for read in (call for call in ended if call.verb == "follow"):
        before = [call for call in ended if call.answered < read.invoked]
        least = max((call.answer[1] for call in before if _publishes(call)), default=0)
        assert read.answer[1] >= least, f"the pointer went back to {read.answer[1]}, it was at {least}: {read}"


def _publishes(call: Call) -> bool:
    return call.answer[0] in ("pointer", "published") or (call.verb in CHANGES and call.answer[0] == "live")


def _check_the_past(world: World, model: str, end: Plain) -> None:
    """``deployment_at`` tells what the changes, replayed, give: at each of them, just before, and just after."""
    registry = world.registry(world.records, world.artifacts, actor="historian")
    tick = dt.timedelta(microseconds=1)
    for change in end.changes:
        moment = parse_stamp(change.at)
        for when in (moment - tick, moment, moment + tick):
            assert VERBS["deployment_at"](registry, model, stamp(when)) == end.deployment_at(stamp(when))


def _check_index(world: World, model: str) -> None:
    """After it was brought up to date, the search index holds of a model what it should, and nothing older."""
    registry = world.registry(world.records, world.artifacts, actor="indexer")
    registry.index(model)
    if world.records.get(keys.partition(model), keys.MODEL) is None:
        return
    record, live = registry.model(model), registry.deployment(model)
    shown = registry.version(model, record.versions if live is None else live.champion)
    wanted = list(entries_of_model(record, live, shown).values())
    partitions = [pk for pk in world.records._items if pk.startswith(keys.FIND)]
    found = [item for pk in partitions for item in world.records.query(pk, prefix="").items if item["name"] == model]
    assert sorted(map(canonical_json, found)) == sorted(map(canonical_json, wanted))


def _check_leftovers(world: World) -> None:
    """After one more sweep only what versions name is there, and all of that."""
    sweep(world.registry(world.records, world.artifacts, actor="sweeper"), MODELS[0])
    shelves = [Shelf(world.records, world.artifacts, model) for model in MODELS]
    named = {version.manifest.key for shelf in shelves for version in shelf.versions}
    assert {line.key for line in world.artifacts.listing("artifacts/")} == named
    assert not list(world.artifacts.unfinished(""))
    assert [found for shelf in shelves for found in shelf.violations()] == []
