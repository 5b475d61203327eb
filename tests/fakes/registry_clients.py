"""Clients of one registry that call random verbs, die in the middle, repeat themselves, and write everything down."""

import datetime as dt
import functools
import hashlib
import random
import re
from collections.abc import Callable
from typing import Any

from modelyard.deployment import Deployment
from modelyard.errors import ConflictError, ModelyardError
from modelyard.pointer import pointer_revision
from modelyard.pointer_key import pointer_key
from modelyard.registry import Notes, Registry
from modelyard.times import stamp
from tests.fakes.broken_stores import Death, Fault, Harm, Outage
from tests.fakes.clocks import Clock
from tests.fakes.interleaving import Interleaving, Plan, at_random
from tests.fakes.linearizability import Call
from tests.fakes.plain_registry import Answer, Line
from tests.fakes.registries import SIGNATURE
from tests.fakes.stores import InMemoryArtifactStore, InMemoryRecordStore
from tests.fakes.verbs import sweep

MODELS = ("ants", "bees")
CONTENTS = 40
"""Different artifacts of each model. Clients bring the same few at a time, so that they meet."""
FAULTS = 0.15
"""Share of the calls that are harmed."""
_REVISION = re.compile(r"revision (\d+)")
_UNCERTAIN = frozenset({"unreachable", "throttled", "pointer_behind"})
"""Errors after which a caller does not know whether the change was made."""


class World:
    """The stores, and the history of what clients did to them.

    Args:
        seed: Decides on everything.
        records: The store of records that the clients share.
        artifacts: The store of artifacts that they share.
        registry: What they call; another class where a test looks whether a mistake in it is found.
        plan: Who goes when; None leaves it to the seed.
    """

    def __init__(
        self,
        seed: int,
        *,
        records: Any = None,
        artifacts: Any = None,
        registry: type[Registry] = Registry,
        plan: Plan | None = None,
    ) -> None:
        self.seed = seed
        self.records = InMemoryRecordStore() if records is None else records
        self.artifacts = InMemoryArtifactStore() if artifacts is None else artifacts
        self.registry = registry
        self.clock = Clock(dt.timedelta(milliseconds=1))
        self.interleaving = Interleaving(at_random(seed) if plan is None else plan)
        self.calls: list[tuple[str, Call]] = []
        self.known = dict.fromkeys(MODELS, 0)
        self.under_way: dict[str, tuple[str, str, dict[str, Any]]] = {}
        self.weights = WEIGHTS | FOCUS[seed % len(FOCUS)]
        self.events = 0

    def run(self, clients: int, calls_each: int) -> None:
        """Let ``clients`` make so many calls each, and then one observer look at everything."""
        made = [Client(self, f"client {number}") for number in range(clients)]
        self.interleaving.run([functools.partial(client.run, calls_each) for client in made])
        self.observe()

    def observe(self) -> None:
        """Let one more client look at everything that is there in the end."""
        observer = Client(self, "observer", shared=False)
        for model in MODELS:
            for verb in ("deployment", "model", "versions", "history", "notes"):
                observer.call(verb, model, {})

    def event(self) -> int:
        """The next position in the history."""
        self.events += 1
        return self.events

    def of(self, model: str) -> list[Call]:
        """The history of one model."""
        return [call for of, call in self.calls if of == model]


class Client:
    """One caller, who makes a new registry for each call, as a new process does."""

    def __init__(self, world: World, name: str, *, shared: bool = True) -> None:
        self.world, self.name = world, name
        self._random = random.Random(f"{world.seed} {name}")  # noqa: S311 - a workload, not a secret
        self._skew = dt.timedelta(milliseconds=self._random.randint(-50, 50))
        over = world.interleaving.over if shared else lambda store: store
        self._records, self._artifacts = over(world.records), over(world.artifacts)
        self._count = 0

    def run(self, calls: int) -> None:
        again: tuple[str, str, dict[str, Any]] | None = None
        for _ in range(calls):
            verb, model, arguments = again or self._next()
            fault = None
            if again is None and self._random.random() < FAULTS:
                harm = self._random.choice([harm for harm in Harm if harm is not Harm.DIED_BETWEEN_PARTS])
                fault = Fault(self._random.randrange(9), harm, lasting=self._random.random() < 0.5)
            sure = self.call(verb, model, arguments, fault)
            again = None if sure or self._random.random() < 0.2 else (verb, model, arguments)

    def call(self, verb: str, model: str, arguments: dict[str, Any], fault: Fault | None = None) -> bool:
        """Call and write down; whether the outcome is known."""
        self._count += 1
        own_id = f"{self.name.replace(' ', '-')}.{self._count}"
        outage = Outage(fault=fault)
        registry = self.world.registry(
            outage.over(self._records), outage.over(self._artifacts), actor=self.name, sleep=lambda _: None,
            clock=lambda: self.world.clock() + self._skew, new_id=lambda: own_id,
        )  # fmt: skip
        self.world.under_way[self.name] = (verb, model, arguments)
        invoked, known = self.world.event(), self.world.known[model]
        answer: Answer | None = None
        try:
            answer = VERBS[verb](registry, model, **arguments)
        except Death:
            pass
        except ModelyardError as error:
            if error.code not in _UNCERTAIN:
                answer = _refusal(error)
        del self.world.under_way[self.name]
        if answer is not None and answer[0] == "live":
            self.world.known[model] = max(self.world.known[model], answer[1])
        said = {"operation": own_id, "by": self.name, **arguments}
        when = {} if answer is None else {"answered": self.world.event()}
        self.world.calls.append((model, Call(self.name, verb, said, invoked, answer=answer, known=known, **when)))
        return answer is not None

    def _next(self) -> tuple[str, str, dict[str, Any]]:
        draw = self._random
        others = [call for call in self.world.under_way.values() if "operation" in call[2]]
        if others and draw.random() < 0.05:
            return draw.choice(others)  # a repetition that does not wait for the end of the first
        verb = draw.choices(list(self.world.weights), self.world.weights.values())[0]
        model = draw.choice(MODELS)
        version = draw.randint(1, 12)
        newest = min(CONTENTS, 3 + self.world.events // 25)
        content = draw.randrange(max(0, newest - 3), newest) if draw.random() < 0.8 else draw.randrange(newest)
        about: dict[str, dict[str, Any]] = {
            "register": {"content": f"{model} {content}"} | self._sometimes(0.2, number=version),
            "promote": {"version": version},
            "rollback": self._sometimes(0.4, to=version),
            "start_shadow": {"version": version},
            "start_canary": {"version": version, "split": draw.choice([5, 50])},
            "start_split": {"shares": dict.fromkeys(draw.sample(range(1, 6), 2), draw.choice([5, 0.5]))},
            "write_notes": {"text": draw.choice(["", "short", "long"])},
            "version": {"number": version},
            "deployment_at": {"when": stamp(self.world.clock.now - dt.timedelta(milliseconds=draw.randint(-60, 999)))},
        }
        arguments = about.get(verb, {})
        if verb in CHANGES:
            arguments |= self._sometimes(0.4, operation=f"{self.name.replace(' ', '-')}.given.{draw.randrange(9)}")
        if verb in CHANGES or verb == "write_notes":
            arguments |= self._sometimes(
                0.5, expected_revision=max(0, self.world.known[model] - draw.choice([0, 0, 1]))
            )
        return verb, model, arguments

    def _sometimes(self, probability: float, **arguments: Any) -> dict[str, Any]:
        return arguments if self._random.random() < probability else {}


def artifact(content: str) -> bytes:
    """The bytes of this content."""
    return f"artifact {content}".encode()


_CONTENT = {
    hashlib.sha256(artifact(content)).hexdigest(): content
    for content in (f"{model} {number}" for model in MODELS for number in range(CONTENTS))
}


def _refusal(error: ModelyardError) -> Answer:
    if error.code != "revision_changed":
        return ("refused", error.code)
    assert isinstance(error, ConflictError)
    revisions = [int(found) for found in _REVISION.findall(error.message)]
    return ("refused", error.code, revisions[0], revisions[1] if len(revisions) > 1 else 0, error.message)


def _live(found: Deployment | None) -> Answer:
    if found is None:
        return ("nothing",)
    return (
        "live", found.revision, found.champion, found.challenger, found.mode, found.split, found.changed_at,
        found.changed_by,
    )  # fmt: skip


def _noted(found: Notes | None) -> Answer:
    return ("nothing",) if found is None else ("notes", found.revision, found.text, found.at, found.by)


def _register(registry: Registry, model: str, content: str, number: int | None = None) -> Answer:
    kind = int(content.rpartition(" ")[2])  # so that what the search index holds of a model changes with its champion
    made = registry.register(
        model, artifact(content), task="binary", signature=SIGNATURE, number=number,
        metrics={"score": float(kind)}, tags=[f"tag-{kind % 3}"],
    )  # fmt: skip
    return ("registered", made.version.number, made.created, made.version.created_at, made.version.author)


def _history(registry: Registry, model: str) -> Answer:
    found = registry.history(model, limit=500).items
    return ("history", *(Line(e.at, e.operation, e.kind, e.version, e.revision) for e in found))


def _follow(registry: Registry, model: str) -> Answer:
    found = registry.artifacts.get(pointer_key(model))
    return ("pointer", 0 if found is None else pointer_revision(found.body))


def _publish(registry: Registry, model: str) -> Answer:
    found = registry.publish_pointer(model)
    return ("published", 0 if found is None else found.revision)


def _index(registry: Registry, model: str) -> Answer:
    registry.index(model)
    return ("indexed",)


def _load(registry: Registry, model: str) -> Answer:
    """What an endpoint does: the bytes of the champion have to be there."""
    live = registry.deployment(model)
    if live is None:
        return ("loaded", True)
    return ("loaded", registry.artifacts.get(registry.version(model, live.champion).manifest.key) is not None)


def _sweep(registry: Registry, model: str) -> Answer:
    sweep(registry, model)
    return ("swept",)


def _change(verb: str) -> Callable[..., Answer]:
    return lambda registry, model, **arguments: _live(getattr(registry, verb)(model, **arguments))


CHANGES = ("promote", "rollback", "start_shadow", "start_canary", "start_split", "end_trial")
WRITES = (*CHANGES, "register", "write_notes")
VERBS: dict[str, Callable[..., Answer]] = {
    "register": _register,
    **{verb: _change(verb) for verb in CHANGES},
    "write_notes": lambda r, m, **given: _noted(r.write_notes(m, **given)),
    "notes": lambda r, m: _noted(r.notes(m)),
    "deployment": lambda r, m: _live(r.deployment(m)),
    "deployment_at": lambda r, m, when: _live(r.deployment_at(m, when)),
    "model": lambda r, m: ("model", r.model(m).versions),
    "version": lambda r, m, number: ("version", _CONTENT[r.version(m, number).manifest.digest]),
    "versions": lambda r, m: ("versions", *(_CONTENT[v.manifest.digest] for v in r.versions(m, limit=500).items)),
    "history": _history,
    "follow": _follow,
    "publish": _publish,
    "load": _load,
    "index": _index,
    "sweep": _sweep,
}
WEIGHTS = {
    "register": 20, "promote": 20, "rollback": 10, "start_shadow": 4, "start_canary": 4, "start_split": 2,
    "end_trial": 4,
    "write_notes": 3, "notes": 1, "deployment": 6, "deployment_at": 5, "model": 2, "version": 2, "versions": 3,
    "history": 3, "follow": 6, "publish": 4, "load": 2, "index": 4, "sweep": 4,
}  # fmt: skip
FOCUS: list[dict[str, int]] = [{}, {"register": 80, "sweep": 40}, {"promote": 60, "rollback": 40, "follow": 20}]
"""What some histories are mostly about: the races of two verbs need many of both."""
