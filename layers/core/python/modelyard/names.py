"""What may be written into a record: names, ids and text.

Every entry point (spec, CLI, control plane, registry) checks a name by the same rule, because a name becomes a key,
a path and part of a stack's name. This module imports the errors only: the registry and the endpoint's layer have no
pydantic.
"""

import re
from collections.abc import Iterable

from modelyard.errors import UsageError

NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,47}")
"""Model names: they become URL paths, S3 prefixes, layer folders and parts of stack names."""

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""Ids of runs and operations; ``#`` and ``/`` separate the parts of a key."""

LONGEST_REASON = 1000
"""Characters; of a description and an owner too."""

LONGEST_NOTE = 4000
LONGEST_NOTES = 10_000
"""Characters of an owner's notes about a model; a page of a ledger, 100 such, stays within Lambda's 6 MB."""

TAG_PATTERN = re.compile(r"[a-z0-9][a-z0-9._:-]{0,47}")
MOST_TAGS = 8

# Control characters (C0 and C1) and the marks that turn the direction of the text around them: in a ledger, a terminal
# or a log they make a sentence look like another one.
_GARBLING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LAYOUT = "\t\n"


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


def tag_problem(tag: object) -> str | None:
    """Why ``tag`` cannot be a model's tag, as a sentence; None when it can."""
    if isinstance(tag, str) and TAG_PATTERN.fullmatch(tag):
        return None
    return f"{_shown(tag)} is not a tag: at most 48 of a-z, 0-9, '.', '_', ':' and '-', a letter or digit first"


def check_tags(tags: Iterable[object]) -> tuple[str, ...]:
    """``tags`` in order and each once, when they can be a model's tags.

    Raises:
        UsageError: With code ``invalid_tag`` when they cannot.
    """
    if isinstance(tags, str):  # a text is a list of its letters, each of which could be a tag
        raise UsageError(f"tags is the text {_shown(tags)}; it must be a list", code="invalid_tag", field="tags")
    found = list(tags)
    problem = next(filter(None, map(tag_problem, found)), None)
    if problem is None and len(set(found)) > MOST_TAGS:
        problem = f"{len(set(found))} tags are too many; a model has at most {MOST_TAGS}"
    if problem is not None:
        raise UsageError(problem, code="invalid_tag", field="tags")
    return tuple(sorted({str(tag) for tag in found}))


def text_problem(text: str, *, lines: bool = True) -> str | None:
    """Why people could be deceived by ``text``, as the end of a sentence; None when they cannot.

    Args:
        text: What somebody wrote.
        lines: Whether tab and line feed are allowed. A carriage return never is: it hides what stands before it.
    """
    for found in _GARBLING.finditer(text):
        if not (lines and found[0] in _LAYOUT):
            return (
                f"has U+{ord(found[0]):04X} at character {found.start()}; control characters and marks that change the "
                "direction of text are not stored"
            )
    return None


def check_text(value: object, *, field: str, limit: int = LONGEST_REASON, lines: bool = True) -> str:
    """``value``, when it is a note, reason, description or owner: readable, and not to be mistaken for another text.

    Args:
        value: What somebody wrote.
        field: What it is for.
        limit: The most characters.
        lines: Whether tab and line feed are allowed.

    Raises:
        UsageError: With code ``invalid_text`` when it is not.
    """
    text = check_unicode(value, field=field, limit=limit)
    problem = text_problem(text, lines=lines)
    if problem is not None:
        raise UsageError(f"{field} {problem}", code="invalid_text", field=field)
    return text


def check_unicode(value: object, *, field: str, limit: int = LONGEST_REASON) -> str:
    """``value``, when it is text that every reader can decode and that fits: what was found, not what was written.

    Keys of uploads and values of training files are kept as they are, whatever characters they hold.

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


def legible(text: str) -> str:
    r"""``text`` that quotes a file, in the form that ``check_text`` takes: each character it refuses becomes U+FFFD.

    For reasons that a step wrote. Refusing one would lose the record of what happened.

    Example:
        >>> legible("line 3: \u202e12").encode("ascii", "backslashreplace")
        b'line 3: \\ufffd12'
    """
    return _GARBLING.sub(lambda found: found[0] if found[0] in _LAYOUT else "\ufffd", text)


def _shown(value: object) -> str:
    """The value as ASCII, short: it may hold control or right-to-left characters that would garble the message."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
