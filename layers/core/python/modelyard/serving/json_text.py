"""JSON text of a flat record, whatever strangers' text is in it: an error report must not fail over what it reports."""

from typing import Any

import orjson


def json_text(record: dict[str, Any]) -> str:
    """The record as one line of JSON; text that is not UTF-8 gets question marks, an unknown value its `repr`."""
    try:
        return orjson.dumps(record).decode()
    except TypeError:
        readable = {
            key: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
            for key, value in record.items()
        }
        return orjson.dumps(readable, default=_readable).decode()


def _readable(value: Any) -> str:
    return ascii(value)[:1000]
