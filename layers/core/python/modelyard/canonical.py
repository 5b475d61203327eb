"""JSON that comes back as it went in: the check before it is stored, and the one text that it is hashed as.

The registry's database keeps one kind of number, so ``1`` and ``1.0`` are the same value there and must give the same
digest here. What it cannot keep (NaN, infinities, integers beyond 64 bits, empty keys) is refused before anything is
written, with the path of the value.
"""

import hashlib
import json
import math
from typing import Any

import msgspec

from modelyard.errors import UsageError
from modelyard.names import check_unicode

INTEGERS = range(-(2**63), 2**64)
DEEPEST = 20
LONGEST_TEXT = 100_000


def check_json(value: Any, *, field: str, depth: int = 0) -> None:
    """Return when ``value`` is JSON that every store and every reader keeps exactly.

    Raises:
        UsageError: With code ``invalid_json`` or ``invalid_text``, naming the path of the value.
    """
    if depth > DEEPEST:
        raise UsageError(f"{field} is nested deeper than {DEEPEST} levels", code="invalid_json", field=field)
    match value:
        case None | bool():
            return
        case str():
            check_unicode(value, field=field, limit=LONGEST_TEXT)
        case int():
            if value not in INTEGERS:
                raise UsageError(f"{field} = {value} does not fit into 64 bits", code="invalid_json", field=field)
        case float():
            if not math.isfinite(value):
                raise UsageError(f"{field} = {value} is not a finite number", code="invalid_json", field=field)
        case list() | tuple():
            for position, entry in enumerate(value):
                check_json(entry, field=f"{field}[{position}]", depth=depth + 1)
        case dict():
            for key, entry in value.items():
                if not isinstance(key, str) or not key:
                    raise UsageError(
                        f"{field} has the key {key!r}; keys are non-empty text", code="invalid_json", field=field
                    )
                check_unicode(key, field=f"a key of {field}", limit=LONGEST_TEXT)
                check_json(entry, field=f"{field}.{key}", depth=depth + 1)
        case _:
            raise UsageError(f"{field} is {type(value).__name__}, which JSON lacks", code="invalid_json", field=field)


def canonical_json(value: Any) -> bytes:
    """``value`` (structs allowed) as the one JSON text of its meaning: sorted keys, no spaces, ``1.0`` as ``1``."""
    plain = _one_kind_of_number(msgspec.to_builtins(value))
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _one_kind_of_number(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and int(value) in INTEGERS:
            return int(value)
        case list() | tuple():
            return [_one_kind_of_number(entry) for entry in value]
        case dict():
            return {key: _one_kind_of_number(entry) for key, entry in value.items()}
    return value
