"""Stores that fail at one chosen call: before it does anything, or after, when only the answer is lost."""

from collections.abc import Callable
from typing import Any

from modelyard.errors import AWSError

WRITES = frozenset({"put", "transact", "put_if_absent", "put_if_match"})


class Outage:
    """Counts the calls to all stores that it wraps and fails the one with number ``at`` (0 is the first).

    Args:
        at: Which call fails; None fails none, to count them.
        after: Let the call take effect, then fail.
    """

    def __init__(self, at: int | None, *, after: bool = False) -> None:
        self.calls: list[str] = []
        self._at = at
        self._after = after

    def over(self, store: Any) -> Any:
        """``store``, failing when its turn comes."""
        return _Wrapped(store, self)

    def call(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        number = len(self.calls)
        self.calls.append(name)
        if number == self._at:
            if self._after:
                method(*args, **kwargs)
            raise AWSError("the connection was cut", code="unreachable")
        return method(*args, **kwargs)


class _Wrapped:
    def __init__(self, store: Any, outage: Outage) -> None:
        self._store = store
        self._outage = outage

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return lambda *args, **kwargs: self._outage.call(name, method, *args, **kwargs)
