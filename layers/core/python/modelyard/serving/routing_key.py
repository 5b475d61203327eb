"""By what a request is routed while versions share the traffic: the spec's ``[rollout] routing``.

The rule: who asks comes from the authorizer, never from a header (`modelyard.serving.audit.identity`); a header or a
field that the spec names is the caller's own word, and all that it decides is which version answers. What a request
lacks is replaced by its id, which is another one for each: then it is not sticky, and the audit line says so.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from modelyard.serving.audit import identity

REQUEST, CALLER, HEADER, FIELD = "request", "caller", "header", "field"
First = Callable[[str], Any]
"""The value of an input in a request's first instance, or None."""


def routing_key(routing: str, event: Any, request_id: str, first: First | None) -> tuple[str, str]:
    """The key, and where it comes from.

    Args:
        routing: ``request``, ``caller``, ``header:<name>`` or ``field:<input>``.
        event: The Lambda event.
        request_id: As in the audit line.
        first: Looks into the first instance; None where there is none to look into.
    """
    kind, _, name = routing.partition(":")
    found: Any = None
    if kind == CALLER:
        found, _account = identity(event)
    elif kind == HEADER:
        headers = event.get("headers") if isinstance(event, dict) else None
        found = headers.get(name.lower()) if isinstance(headers, dict) else None
    elif kind == FIELD and first is not None:
        found = first(name)
    if found is None or found == "":
        return request_id, REQUEST
    return _text(found), kind


def first_in_text(body: str | bytes) -> First:
    """Looks into the first instance of a JSON body."""

    def first(name: str) -> Any:
        try:
            found = msgspec.json.decode(body, type=_Body).instances
            instance = msgspec.json.decode(found[0]) if found else None
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return None  # the version that answers says what is wrong with it
        return instance.get(name) if isinstance(instance, dict) else instance

    return first


class _Body(msgspec.Struct):
    """Instances that are decoded one by one."""

    instances: list[msgspec.Raw]


def _text(found: Any) -> str:
    """A value as text; ``5`` and ``5.0`` are one key, as they are one number."""
    if isinstance(found, str):
        return found
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    return msgspec.json.encode(found, order="sorted").decode()
