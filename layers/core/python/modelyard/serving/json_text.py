"""JSON text of a flat record, whatever strangers' text is in it: an error report must not fail over what it reports."""

from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder()


def json_text(record: dict[str, Any]) -> str:
    """The record as one line of JSON; text that is not UTF-8 gets question marks, an unknown value its `repr`."""
    try:
        return _ENCODER.encode(record).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        readable = {key: _readable(value) for key, value in record.items()}
        return msgspec.json.encode(readable, enc_hook=_shown).decode()


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    try:
        _ENCODER.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return _shown(value)
    return value


def _shown(value: Any) -> str:
    return ascii(value)[:1000]
