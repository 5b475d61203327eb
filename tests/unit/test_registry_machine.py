"""A state machine over the registry's verbs: whatever follows whatever, it answers what the plain registry answers."""

import datetime as dt
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from modelyard.errors import ModelyardError
from modelyard.pointer_key import pointer_key
from modelyard.registry import Registry
from modelyard.times import parse_stamp, stamp
from tests.fakes.invariants import Shelf
from tests.fakes.plain_registry import Answer, Plain, time_of
from tests.fakes.registries import Yard
from tests.fakes.registry_clients import MODELS, VERBS, artifact
from tests.fakes.verbs import orphan, sweep

MODEL = MODELS[0]
VERSIONS = st.integers(1, 4)
OPERATIONS = st.sampled_from([None, None, None, "a", "b", "c"])
OFF_BY = st.sampled_from([None, None, None, 0, 0, 1, -1])
"""How far from the truth the revision or the number is that a caller expects; None: he says nothing."""


class Machine(RuleBasedStateMachine):
    """The registry beside the plain one."""

    @initialize(versions=st.integers(0, 4), live=st.lists(VERSIONS, max_size=6))
    def begin(self, versions: int, live: list[int]) -> None:
        self.yard, self.plain = Yard(), Plain()
        self.count = 0
        for content in range(versions):
            self.call("register", content=f"{MODEL} {content}")
        for version in live:
            self.call("promote", version=version)

    # -- verbs ------------------------------------------------------------------------------------------------------

    @rule(content=st.integers(0, 5), off_by=OFF_BY)
    def register(self, content: int, off_by: int | None) -> None:
        number = None if off_by is None else max(1, len(self.plain.contents) + 1 + off_by)
        self.call("register", content=f"{MODEL} {content}", number=number)

    @rule(version=VERSIONS, operation=OPERATIONS, off_by=OFF_BY)
    def promote(self, **arguments: Any) -> None:
        self.call("promote", **arguments)

    @rule(to=st.none() | VERSIONS, operation=OPERATIONS, off_by=OFF_BY)
    def roll_back(self, **arguments: Any) -> None:
        self.call("rollback", **arguments)

    @rule(version=VERSIONS, operation=OPERATIONS, off_by=OFF_BY)
    def start_shadow(self, **arguments: Any) -> None:
        self.call("start_shadow", **arguments)

    @rule(version=VERSIONS, operation=OPERATIONS, off_by=OFF_BY, split=st.sampled_from([1, 50, 99]))
    def start_canary(self, **arguments: Any) -> None:
        self.call("start_canary", **arguments)

    @rule(
        shares=st.dictionaries(VERSIONS, st.sampled_from([0.5, 5, 40]), min_size=1, max_size=2),
        operation=OPERATIONS,
        off_by=OFF_BY,
    )
    def start_split(self, **arguments: Any) -> None:
        self.call("start_split", **arguments)

    @rule(operation=OPERATIONS, off_by=OFF_BY)
    def end_trial(self, **arguments: Any) -> None:
        self.call("end_trial", **arguments)

    @rule(text=st.sampled_from(["", "short", "long"]), off_by=OFF_BY)
    def write_notes(self, **arguments: Any) -> None:
        self.call("write_notes", **arguments)

    # -- what happens meanwhile -------------------------------------------------------------------------------------

    @rule(content=st.integers(0, 5))
    def a_publication_ends_too_early(self, content: int) -> None:
        orphan(self.yard.registry(), artifact(f"{MODEL} {content}"))

    @rule()
    def a_sweep_passes(self) -> None:
        sweep(self.yard.registry("sweeper"), MODEL)
        named = {version.manifest.key for version in self.shelf().versions}
        assert {line.key for line in self.yard.artifacts.listing("artifacts/")} == named

    @rule(body=st.sampled_from([None, b"", b'{"revision": 0}']))
    def the_pointer_is_damaged_and_published_again(self, body: bytes | None) -> None:
        self.yard.artifacts.objects.pop(pointer_key(MODEL), None)
        if body is not None:
            self.yard.artifacts.objects[pointer_key(MODEL)] = body
        published = self.yard.registry().publish_pointer(MODEL)
        assert (0 if published is None else published.revision) == self.plain.revision()
        if published is None:
            self.yard.artifacts.objects.pop(pointer_key(MODEL), None)

    @rule(seconds=st.integers(-5, 5))
    def the_clock_is_set(self, seconds: int) -> None:
        self.yard.clock.now += dt.timedelta(seconds=seconds)

    # -- what holds at every moment ---------------------------------------------------------------------------------

    @invariant()
    def every_question_has_the_plain_answer(self) -> None:
        registry = self.yard.registry()
        for verb in ("deployment", "model", "versions", "history", "notes"):
            assert answer_of(VERBS[verb], registry) == getattr(self.plain, verb)()
        for change in self.plain.changes:
            for shift in (-1, 0, 1):
                when = stamp(parse_stamp(change.at) + dt.timedelta(microseconds=shift))
                assert answer_of(VERBS["deployment_at"], registry, when=when) == self.plain.deployment_at(when)

    @invariant()
    def nothing_is_lost_half_published_or_dangling(self) -> None:
        assert self.shelf().violations() == []
        assert not self.shelf().pointer_is_behind()

    # -- how --------------------------------------------------------------------------------------------------------

    def call(self, verb: str, **arguments: Any) -> None:
        off_by = arguments.pop("off_by", None)
        if off_by is not None:
            present = len(self.plain.noted) if verb == "write_notes" else self.plain.revision()
            arguments["expected_revision"] = max(0, present + off_by)
        given = {name: value for name, value in arguments.items() if value is not None}
        self.count += 1
        own_id = f"own-{self.count}"
        registry = self.yard.registry(f"caller {self.count % 3}", new_id=lambda: own_id)
        answer = answer_of(VERBS[verb], registry, **given)
        said = {"operation": own_id, "by": registry.actor, **given}
        self.plain, expected = getattr(self.plain, verb)(**said, at=time_of(answer))
        assert answer[:2] == expected[:2] if answer[0] == "refused" else answer == expected

    def shelf(self) -> Shelf:
        return Shelf(self.yard.records, self.yard.artifacts, MODEL)


def answer_of(verb: Callable[..., Answer], registry: Registry, **arguments: Any) -> Answer:
    try:
        return verb(registry, MODEL, **arguments)
    except ModelyardError as error:
        return ("refused", error.code)


TestRegistryMachine = Machine.TestCase
TestRegistryMachine.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
