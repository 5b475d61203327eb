"""Many clients over the same stores, one store call at a time, in an order that can be had again.

Each client is a thread, and only the one that has the baton runs. Before each store call a plan says who goes next: one
that a seed decides, or one that stops clients at given calls. What was found once is found again.
"""

import math
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

LONGEST_STOP = 250
"""Turns of others."""

Plan = Callable[[int | None, Sequence[int]], int]
"""Who goes next, given who goes now (None before the first) and who has not ended."""


def at_random(seed: int) -> Plan:
    """Anybody goes next. Now and then one stops for long: that is how somebody decides on what he read long ago."""
    draw = random.Random(seed)  # noqa: S311 - a plan, not a secret
    stops = draw.choice([0.0, 0.02, 0.1])
    until: dict[int, int] = {}
    turns = 0

    def plan(running: int | None, alive: Sequence[int]) -> int:
        nonlocal turns
        turns += 1
        if running is not None and draw.random() < stops:
            until[running] = turns + draw.randint(1, LONGEST_STOP)
        return draw.choice([number for number in alive if until.get(number, 0) <= turns] or alive)

    return plan


class Switches:
    """A plan for two clients: ``first`` makes ``stop`` calls, the other ``other_stop``, then both the rest in turn."""

    def __init__(self, first: int, stop: float = math.inf, other_stop: float = math.inf) -> None:
        self._text = f"client {first} stops after {stop} calls, the other one after {other_stop}"
        self._order = (first, 1 - first)
        self._stops = (stop, other_stop)
        self.made = [0, 0]
        """Calls that each made before its stop."""

    def __call__(self, _running: int | None, alive: Sequence[int]) -> int:
        """Who goes next."""
        for place, client in enumerate(self._order):
            if self.made[place] < self._stops[place] and client in alive:
                self.made[place] += 1
                return client
        return self._order[0] if self._order[0] in alive else alive[0]

    def __str__(self) -> str:
        return self._text


def meetings(*, twice: bool) -> Iterator[Switches]:
    """Each way in which two clients can meet with one preemption, or with two; each has to be run before the next.

    Most mistakes need no more than two (Musuvathi, Qadeer: Iterative context bounding for systematic testing of
    multithreaded programs, PLDI 2007).
    """
    for first in (0, 1):
        one_by_one = Switches(first)
        yield one_by_one
        for stop in range(1, one_by_one.made[0]):
            once = Switches(first, stop)
            yield once
            for other_stop in range(1, once.made[1] if twice else 0):
                yield Switches(first, stop, other_stop)


class Interleaving:
    """One run of many clients.

    Args:
        plan: Decides on every turn.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._batons: list[threading.Lock] = []
        self._alive: list[int] = []
        self._running: int | None = None
        self._failures: list[BaseException] = []

    def run(self, clients: Sequence[Callable[[], None]]) -> None:
        """Run all to their ends; what any of them raises is raised here."""
        self._alive = list(range(len(clients)))
        self._batons = [threading.Lock() for _ in clients]
        for baton in self._batons:
            baton.acquire()
        threads = [
            threading.Thread(target=self._be, args=(number, client), daemon=True)
            for number, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        self._hand_on()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def turn(self) -> None:
        """Let whoever is next go; returns when it is the caller's turn."""
        me = self._running
        assert me is not None
        following = self._running = self._plan(me, self._alive)
        if following != me:
            self._batons[following].release()
            self._batons[me].acquire()

    def over(self, store: Any) -> Any:
        """``store``, each of whose calls is a turn."""
        return _Turns(store, self)

    def _be(self, number: int, client: Callable[[], None]) -> None:
        self._batons[number].acquire()
        try:
            client()
        except BaseException as failed:  # noqa: BLE001 - raised again in `run`
            self._failures.append(failed)
        self._alive.remove(number)
        self._hand_on()

    def _hand_on(self) -> None:
        if self._alive:
            self._running = self._plan(None, self._alive)
            self._batons[self._running].release()


class _Turns:
    def __init__(self, store: Any, interleaving: Interleaving) -> None:
        self._store = store
        self._interleaving = interleaving

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._interleaving.turn()
            answer = found(*args, **kwargs)
            return self._one_by_one(answer) if isinstance(answer, Iterator) else answer

        return call

    def _one_by_one(self, answer: Iterator[Any]) -> Iterator[Any]:
        for entry in answer:
            yield entry
            self._interleaving.turn()
