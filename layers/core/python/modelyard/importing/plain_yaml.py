"""YAML as MLflow writes it: maps, lists and text, from a file that anybody may have written.

Scalars stay text, so no value has a type that its reader did not ask for, and nothing is computed from it. Tags are
refused, whatever they name. Aliases are followed, since PyYAML writes them where a value appears twice; but a document
counts as large as it would be without them.
"""

from typing import Any

import yaml

from modelyard.errors import UsageError
from modelyard.names import legible

LARGEST_FILE = 1 << 20
"""Bytes of a file that is read as YAML; an MLmodel has a few kilobytes, and with 10,000 columns about 700."""

MOST_VALUES = 100_000
_NOTHING = ("", "~", "null", "Null", "NULL")


class _Loader(yaml.BaseLoader):
    """PyYAML's reader that leaves scalars as text, with a limit on what aliases stand for."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(None, None, "a tag; values are maps, lists and text", event.start_mark)
        before = self._values
        node = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            self._values += self._sizes.get(id(node), 1)
        else:
            self._values += 1
            self._sizes[id(node)] = self._values - before
        if self._values > MOST_VALUES:
            problem = f"more than {MOST_VALUES:,} values once its aliases are followed"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        return node


def read_yaml(content: bytes, *, name: str) -> dict[str, Any]:
    """The map that a file holds, with text for every scalar.

    Args:
        content: The file's bytes.
        name: What the file is called, for messages.

    Raises:
        UsageError: With code ``invalid_yaml`` when it is no such file.
    """
    if len(content) > LARGEST_FILE:
        raise _invalid(f"{name} has {len(content):,} bytes; at most {LARGEST_FILE:,} are read")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as broken:
        raise _invalid(f"{name} is not UTF-8 at byte {broken.start}") from broken
    try:
        document = _Loader(text).get_single_data()
    except RecursionError:
        raise _invalid(f"{name} is nested too deep to be read") from None
    except yaml.YAMLError as broken:
        raise _invalid(f"{name} is not the YAML that MLflow writes: {_said(broken)}") from broken
    if not isinstance(document, dict):
        raise _invalid(f"{name} holds no keys; an MLmodel begins with lines like 'flavors:'")
    return document


def text_at(document: dict[str, Any], key: str, *, name: str) -> str | None:
    """The text under ``key``; None where there is nothing or ``null``.

    Raises:
        UsageError: With code ``invalid_yaml`` when it is a list or a map.
    """
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise _invalid(f"{name}: {key} is a {type(value).__name__}; it must be text")
    return None if value in _NOTHING else value


def map_at(document: dict[str, Any], key: str, *, name: str) -> dict[str, Any] | None:
    """The map under ``key``; None where there is nothing or ``null``.

    Raises:
        UsageError: With code ``invalid_yaml`` when it is a list or text.
    """
    value = document.get(key)
    if value is None or value in _NOTHING:
        return None
    if not isinstance(value, dict):
        raise _invalid(f"{name}: {key} is a {type(value).__name__}; it must hold keys")
    return value


def _said(problem: yaml.YAMLError) -> str:
    """What PyYAML found and in which line, without quoting the file."""
    if isinstance(problem, yaml.MarkedYAMLError):
        line = problem.problem_mark.line + 1 if problem.problem_mark else 1
        return f"{legible(problem.problem or 'it does not parse')[:200]} (line {line})"
    if isinstance(problem, yaml.reader.ReaderError):
        return f"{problem.reason} (character {problem.position})"
    return legible(str(problem))[:200]


def _invalid(message: str) -> UsageError:
    return UsageError(
        message, code="invalid_yaml", field="source", next_step="Save the model with mlflow.onnx.save_model again."
    )
