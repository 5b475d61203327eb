"""TOML in, typed sections out, every finding at once.

    text ──► table ──► secrets? ──► every key by its schema ──► rules between keys ──► sections, or all findings

Shared by the spec of a model and by the environments. A finding reads ``file: key: what is wrong``; an unknown key is
answered with the nearest known one. A later stage runs even where an earlier one found something, so that a user
corrects a file once.
"""

import datetime as dt
import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, ValidationError
from pydantic.fields import FieldInfo

from modelyard.errors import SpecError
from modelyard.plain_secrets import looks_like_secret

Schema = TypeVar("Schema", bound=BaseModel)
Location = tuple[str | int, ...]
"""A path of keys; a number is a place in a list."""
Problem = tuple[str, str]
"""A path as `dotted` writes it, and what is wrong there."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def read_toml_file(path: Path, *, file: str) -> dict[str, Any]:
    """Read and parse a TOML file; a byte order mark is tolerated.

    Args:
        path: The file.
        file: Its name in findings.

    Raises:
        FileNotFoundError: When it is not there.
        SpecError: When it is not UTF-8 or not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as broken:
        raise _one(f"{file}: is not UTF-8 (byte {broken.start}); save the file as UTF-8") from broken
    return read_toml(text, file=file)


def read_toml(text: str, *, file: str) -> dict[str, Any]:
    """Parse TOML text.

    Raises:
        SpecError: With the parser's line and column, and what stands there.
    """
    try:
        document = tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError as deep:
        raise _one(f"{file}: not valid TOML: nested too deeply") from deep
    except ValueError as error:  # TOMLDecodeError, and a number of thousands of digits
        raise _one(f"{file}: not valid TOML: {_syntax(text, str(error))}") from error
    if not document:
        raise _one(f"{file}: is empty")
    return document


def _one(finding: str) -> SpecError:
    return SpecError(finding, findings=(finding,), next_step="Correct the file and run the command again.")


def _syntax(text: str, said: str) -> str:
    """The parser's message with the line it means, and what the usual mistakes look like to it."""
    at = re.search(r"at line (\d+)", said)
    lines = text.splitlines()
    line = lines[int(at.group(1)) - 1].strip() if at and int(at.group(1)) <= len(lines) else ""
    hint = ""
    if "Cannot overwrite a value" in said or " twice" in said:
        hint = "; the key or table is given twice"
    elif re.search(r"=\s*0\d", line):
        hint = "; a number with leading zeros, such as an account id, needs quotes"
    shown = f": {line[:80]}" if line and not looks_like_secret(line) else ""
    return f"{said}{shown}{hint}"


def validate(
    schema: type[Schema], document: dict[str, Any], *, file: str, rules: Iterable[Problem] = (), docs: str = ""
) -> Schema:
    """Validate a parsed document against a schema and against rules between keys.

    Args:
        schema: What each key may be.
        document: From `read_toml`.
        file: The file's name in findings.
        rules: What is wrong beyond single keys. It was found in the raw document, because a typed one exists only when
            every key is right.
        docs: Where every key is explained, for the next step.

    Raises:
        SpecError: With all findings.
    """
    secrets: dict[str, str] = {}
    for at, value in _texts(document):
        if (kind := looks_like_secret(value)) is not None:
            secrets[dotted(at)] = f"holds {kind} in plain text; take it out, and revoke it if anyone has seen this file"
    problems: list[Problem] = []
    checked: Schema | None = None
    try:
        checked = schema.model_validate(document)
    except ValidationError as error:
        problems.extend(_problem(schema, dict(detail)) for detail in error.errors(include_url=False))
    problems.extend(rules)
    # What else is wrong with a secret's key would show the secret.
    problems = [*secrets.items(), *(problem for problem in problems if problem[0] not in secrets)]
    if checked is None or problems:
        findings = tuple(f"{file}: {key}: {problem}" if key else f"{file}: {problem}" for key, problem in problems)
        explained = f"; {docs} explains every key" if docs else ""
        raise SpecError("\n".join(findings), findings=findings, next_step=f"Correct {file}{explained}.")
    return checked


def value_at(document: object, *path: str) -> Any:
    """The value that a path of keys leads to; None where a key is missing or what should be a table is none."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def dotted(location: Location) -> str:
    """A path of keys as a file writes it, with quotes where TOML needs them; ``[0]`` is the first of a list."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            written = part if _BARE_KEY.fullmatch(part) else json.dumps(part)
            written = "(a secret)" if looks_like_secret(part) else written
            text += f".{written}" if text else written
    return text


def every_field(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key that holds a value, with its full path: ``endpoint.memory_mb``, ``training.features.<name>.kind``.

    Args:
        schema: The sections, from the top.
        prefix: Where the schema stands.
    """
    for name, field in schema.model_fields.items():
        inner = list(_sections(field.annotation, f"{prefix}{name}"))
        if not inner:
            yield f"{prefix}{name}", field
        for section, path in inner:
            yield from every_field(section, f"{path}.")


def _sections(annotation: Any, path: str) -> Iterator[tuple[type[BaseModel], str]]:
    for option in _options(annotation):
        origin, arguments = get_origin(option), get_args(option)
        if isinstance(option, type) and origin is None and issubclass(option, BaseModel):
            yield option, path
        elif origin is list:
            yield from _sections(arguments[0], f"{path}[]")
        elif origin is dict:
            yield from _sections(arguments[1], f"{path}.<name>")


def _options(annotation: Any) -> list[Any]:
    """What an annotation stands for: the sides of a union, without what is annotated on them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [option for side in get_args(annotation) for option in _options(side)]
    if isinstance(annotation, type) and origin is None and issubclass(annotation, RootModel):
        return _options(annotation.model_fields["root"].annotation)
    return [annotation]


def _known_at(schema: type[BaseModel], location: Location) -> dict[str, FieldInfo]:
    """The keys of the section that ``location`` leads to."""
    found: list[Any] = _options(schema)
    for part in location:
        following: list[Any] = []
        for option in found:
            origin, arguments = get_origin(option), get_args(option)
            if origin in (list, dict):
                following.extend(_options(arguments[-1]))
            elif isinstance(option, type) and issubclass(option, BaseModel) and part in option.model_fields:
                following.extend(_options(option.model_fields[str(part)].annotation))
        found = following
    sections = [option for option in found if isinstance(option, type) and issubclass(option, BaseModel)]
    return {name: field for section in sections for name, field in section.model_fields.items()}


def _problem(schema: type[BaseModel], detail: dict[str, Any]) -> Problem:
    """One of pydantic's errors in the words of a TOML file."""
    location: Location = detail["loc"]
    kind, context, value = detail["type"], detail.get("ctx", {}), detail.get("input")
    key = dotted(location)
    if kind == "extra_forbidden":
        return key, f"unknown key; {_where(schema, location)}"
    if kind == "value_error":
        return key, str(context["error"])
    field = _known_at(schema, location[:-1]).get(str(location[-1])) if location else None
    explained = f". {field.description}" if field is not None and field.description else ""
    if kind == "missing":
        return key, f"is required{explained}"
    say = _MESSAGES.get(kind)
    message = say(context, value, location) if say else detail["msg"][0].lower() + detail["msg"][1:]
    hint = explained if kind in _BOUNDS else ""
    if kind == "literal_error":
        close = difflib.get_close_matches(str(value), re.findall("'([^']*)'", context["expected"]), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
    elif kind == "string_type" and not isinstance(value, dict | list):
        hint = "; quotes make it text"
    return key, f"{message} (got {_shown(value)}){hint}"


def _where(schema: type[BaseModel], location: Location) -> str:
    known = _known_at(schema, location[:-1])
    unknown = str(location[-1])
    elsewhere = [path for path, _ in every_field(schema) if path.rpartition(".")[2] == unknown]
    if elsewhere and not difflib.get_close_matches(unknown, known, n=1):
        return f"it belongs in [{elsewhere[0].rpartition('.')[0]}]"
    return nearest(unknown, known)


def nearest(unknown: str, known: Iterable[str]) -> str:
    """Which of the known names was meant, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(unknown, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(names)}"


def _table(_: dict[str, Any], value: object, location: Location) -> str:
    return f"must be one table: write [{dotted(location)}]" if isinstance(value, list) else "must be a table"


def _list(_: dict[str, Any], value: object, location: Location) -> str:
    return f"must be a list of tables: write [[{dotted(location)}]]" if isinstance(value, dict) else "must be a list"


_Say = Callable[[dict[str, Any], object, Location], str]
_BOUNDS: dict[str, _Say] = {
    "greater_than": lambda context, *_: f"must be more than {context['gt']}",
    "greater_than_equal": lambda context, *_: f"must be at least {context['ge']}",
    "less_than": lambda context, *_: f"must be less than {context['lt']}",
    "less_than_equal": lambda context, *_: f"must be at most {context['le']}",
}
_MESSAGES: dict[str, _Say] = {
    **_BOUNDS,
    "string_type": lambda *_: "must be text",
    "string_too_long": lambda context, *_: f"must have at most {context['max_length']} characters",
    "int_type": lambda *_: "must be a whole number",
    "int_from_float": lambda *_: "must be a whole number",
    "float_type": lambda *_: "must be a number",
    "finite_number": lambda *_: "must be a finite number",
    "bool_type": lambda *_: "must be true or false",
    "too_short": lambda context, *_: f"needs at least {context['min_length']} entry",
    "literal_error": lambda context, *_: f"must be {context['expected']}",
    "model_type": _table,
    "dict_type": _table,
    "list_type": _list,
}
"""pydantic's errors in the words of TOML, by their type."""


def _shown(value: object) -> str:
    """A value as TOML writes it, short, and never a secret."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.date | dt.time):
        return str(value)
    text = str(value)
    if looks_like_secret(text):
        return "what looks like a secret"
    shown = ascii(value)  # control and right-to-left characters would garble the message
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _texts(value: object, at: Location = ()) -> Iterator[tuple[Location, str]]:
    """Every text in a document, with its place; keys are texts too."""
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield at, key
            yield from _texts(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*at, index))
