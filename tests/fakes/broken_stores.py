"""Stores that fail at one chosen call: with an error, with a lost answer, or because the process ends there."""

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from modelyard.errors import AWSError
from modelyard.ports import UnfinishedUpload

IN_PARTS = "put in parts"
"""What the writing of an object larger than one part is called in ``Outage.calls``."""


class Harm(enum.Enum):
    """What happens to a call."""

    UNSENT = "error before sending"
    THROTTLED = "throttled"
    UNANSWERED = "applied, answer lost"
    REPEATED = "applied, answer lost, repeated by the client library"
    DIED_BEFORE = "process died before the call"
    DIED_BETWEEN_PARTS = "process died between the parts of an upload"
    DIED_AFTER = "process died after the call was applied"

    @property
    def is_death(self) -> bool:
        """Whether the process ends there."""
        return self in (Harm.DIED_BEFORE, Harm.DIED_BETWEEN_PARTS, Harm.DIED_AFTER)


@dataclass(frozen=True)
class Fault:
    """One harm at one call (0 is the first). ``lasting``: from there on nothing gets through."""

    at: int
    harm: Harm
    lasting: bool = False

    def __str__(self) -> str:
        return f"call {self.at}: {self.harm.value}{' for good' if self.lasting else ''}"


class Death(BaseException):
    """The process ended here: no ``except Exception`` of the code under test may survive it."""


class Outage:
    """Counts the calls to all stores that it wraps and harms one of them.

    Args:
        at: Number of the call that fails (0 is the first); None fails none, to count them.
        after: Let the call take effect, then fail.
        fault: The same said in full; for what ``at`` and ``after`` cannot say.
    """

    def __init__(self, at: int | None = None, *, after: bool = False, fault: Fault | None = None) -> None:
        if at is not None:
            fault = Fault(at, Harm.UNANSWERED if after else Harm.UNSENT)
        self.calls: list[str] = []
        self._fault = fault
        self._dead = False

    @property
    def happened(self) -> bool:
        """Whether the call that fails was reached."""
        return self._fault is not None and len(self.calls) > self._fault.at

    def over(self, store: Any) -> Any:
        """``store``, failing when its turn comes."""
        return _Wrapped(store, self)

    def call(self, name: str, act: Callable[[], Any], between_parts: Callable[[], Any] | None = None) -> Any:
        if self._dead:
            raise Death  # what is left of a dead process, like its `finally`, reaches no store
        number, fault = len(self.calls), self._fault
        self.calls.append(name)
        if fault is None or number < fault.at or (number > fault.at and not fault.lasting):
            return act()
        if number > fault.at:
            raise _error(fault.harm)
        if fault.harm in (Harm.UNANSWERED, Harm.REPEATED, Harm.DIED_AFTER):
            act()
        if fault.harm is Harm.REPEATED:
            return act()
        if fault.harm is Harm.DIED_BETWEEN_PARTS and between_parts is not None:
            between_parts()
        self._dead = fault.harm.is_death
        raise Death if self._dead else _error(fault.harm)


def _error(harm: Harm) -> AWSError:
    if harm is Harm.THROTTLED:
        return AWSError("AWS is throttling", code="throttled")
    return AWSError("the connection was cut", code="unreachable")


class _Wrapped:
    def __init__(self, store: Any, outage: Outage) -> None:
        self._store = store
        self._outage = outage

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found
        return lambda *args, **kwargs: self._outage.call(name, lambda: found(*args, **kwargs))

    def listing(self, prefix: str) -> Iterator[Any]:
        yield from self._outage.call("listing", lambda: tuple(self._store.listing(prefix)))

    def unfinished(self, prefix: str) -> Iterator[Any]:
        yield from self._outage.call("unfinished", lambda: tuple(self._store.unfinished(prefix)))

    def put_if_absent(self, key: str, body: bytes, **parts: Any) -> Any:
        def leave_parts() -> None:
            upload = UnfinishedUpload(key, f"parts of {key}", self._store.clock())
            self._store.uploads[upload.upload_id] = upload

        in_parts = parts.get("sha256") is not None and len(body) > self._store.part_bytes
        name = IN_PARTS if in_parts else "put_if_absent"
        return self._outage.call(name, lambda: self._store.put_if_absent(key, body, **parts), leave_parts)
