"""What may be written into a record: names, ids and text.

Every entry point (spec, CLI, control plane, registry) checks a name by the same rule, because a name becomes a key,
a path and part of a stack's name. This module imports the errors only: the registry and the endpoint's layer have no
pydantic.
"""

import re

from modelyard.errors import UsageError

NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,47}")
"""Model names: they become URL paths, S3 prefixes, layer folders and parts of stack names."""

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""Ids of runs and operations; ``#`` and ``/`` separate the parts of a key."""


def name_problem(name: object) -> str | None:
    """Why ``name`` cannot be a model's name, as a sentence; None when it can."""
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        return f"{_shown(name)} is not a model name: a lower-case letter, then at most 47 of a-z, 0-9 and '_'"
    return None


def check_name(name: object) -> str:
    """``name``, when it is a model name.

    Raises:
        UsageError: With code ``invalid_name`` when it is not.
    """
    problem = name_problem(name)
    if problem is not None:
        raise UsageError(problem, code="invalid_name", field="model", next_step="Rename the model.")
    return str(name)


def check_id(value: object, *, field: str) -> str:
    """``value``, when it can be part of a key.

    Raises:
        UsageError: With code ``invalid_id`` when it cannot.
    """
    if not isinstance(value, str) or not ID_PATTERN.fullmatch(value):
        raise UsageError(
            f"{field} {_shown(value)} is not an id: at most 128 of a-z, A-Z, 0-9, '.', '_', ':' and '-', "
            "a letter or digit first",
            code="invalid_id",
            field=field,
        )
    return value


def check_text(value: object, *, field: str, limit: int = 1000) -> str:
    """``value``, when it is text that every reader can decode and that fits.

    Raises:
        UsageError: With code ``invalid_text`` when it is not.
    """
    if not isinstance(value, str):
        raise UsageError(f"{field} is {type(value).__name__}; it must be text", code="invalid_text", field=field)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as broken:  # a command line in another encoding arrives as lone surrogates
        raise UsageError(
            f"{field} is not valid Unicode at character {broken.start}", code="invalid_text", field=field
        ) from None
    if len(value) > limit:
        raise UsageError(
            f"{field} has {len(value)} characters; at most {limit} are stored", code="invalid_text", field=field
        )
    return value


def _shown(value: object) -> str:
    """The value as ASCII, short: it may hold control or right-to-left characters that would garble the message."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
