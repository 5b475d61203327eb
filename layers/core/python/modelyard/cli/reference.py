"""The tables in ``docs/spec.md`` and ``docs/environments.md``, made from the fields that the files are read by.

``python -m modelyard.cli.reference`` rewrites them; a test fails where they differ. The text around the tables is
written by hand: a table is what stands between ``<!-- keys: NAME -->`` and ``<!-- end -->``.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from modelyard.environments import ENVIRONMENTS_DOCS, Environment
from modelyard.spec import SPEC_DOCS, ModelSpec
from modelyard.tasks import CANDIDATES, METRICS, SETTINGS

_TABLE = re.compile(r"(<!-- keys: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_TYPES: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_BOUNDS = {
    "ge": "at least {}",
    "gt": "more than {}",
    "le": "at most {}",
    "lt": "less than {}",
    "min_length": "at least {}",
    "max_length": "at most {} characters",
}


def tables() -> dict[str, dict[str, str]]:
    """Every table in Markdown, by document and name."""
    spec = {".".join(path): _keys(section) for path, section in _sections(ModelSpec, ())}
    return {
        SPEC_DOCS: {**spec, "settings": _settings(), "tasks": _tasks()},
        ENVIRONMENTS_DOCS: {"environment": _keys(Environment)},
    }


def rewritten(text: str, made: dict[str, str]) -> str:
    """A document with its tables as they are made."""
    return _TABLE.sub(lambda found: f"{found[1]}{made.get(found[2], '')}{found[3]}", text)


def _sections(schema: type[BaseModel], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """Every table that a file may have, with the path of its keys."""
    for name, field in schema.model_fields.items():
        for section in _sections_in(field.annotation):
            yield (*path, name), section
            yield from _sections(section, (*path, name))


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [section for argument in get_args(annotation) for section in _sections_in(argument)]


def _keys(section: type[BaseModel]) -> str:
    rows = [
        (f"`{name}`", _type(field.annotation), _default(field), _allowed(field), field.description or "")
        for name, field in section.model_fields.items()
    ]
    return _markdown(("Key", "Type", "Default", "Allowed", "Meaning"), rows)


def _settings() -> str:
    rows = [
        (f"`{kind}`", ", ".join(task for task, kinds in CANDIDATES.items() if kind in kinds), _listed(sorted(names)))
        for kind, names in SETTINGS.items()
    ]
    return _markdown(("Kind", "Tasks", "Settings of its grid"), rows)


def _tasks() -> str:
    return _markdown(("Task", "Metrics"), [(f"`{task}`", _listed(metrics)) for task, metrics in METRICS.items()])


def _markdown(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin in (Union, UnionType):
        sides = [_type(side) for side in arguments if side is not type(None)]
        if {*sides} == {_TYPES[float], _TYPES[int]}:
            return _TYPES[float]
        return sides[0] if len(sides) == 1 else "number, text, true or false"
    if origin is Literal:
        return _TYPES[type(arguments[0])]
    if origin is list:
        return "tables" if _sections_in(annotation) else f"list of: {_type(arguments[0])}"
    if origin is dict:
        return "tables" if _sections_in(annotation) else f"table of: {_type(arguments[1])}"
    return _TYPES.get(annotation, "table")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is None:
        return "none"
    if isinstance(default, BaseModel):
        return "its defaults"
    if default is PydanticUndefined:
        return "required"
    return f"`{json.dumps(default, default=lambda section: section.model_dump())}`"


def _allowed(field: FieldInfo) -> str:
    choices = [choice for option in _literals(field.annotation) for choice in get_args(option)]
    if choices:
        return _listed([json.dumps(choice) for choice in choices])
    bounds = ", ".join(
        text.format(getattr(rule, name))
        for rule in field.metadata
        for name, text in _BOUNDS.items()
        if hasattr(rule, name)
    )
    return bounds if field.annotation is str else bounds.replace(" characters", "")


def _literals(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Literal:
        return [annotation]
    return [option for argument in get_args(annotation) for option in _literals(argument)]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main(project: Path) -> None:
    """Rewrite the tables of a project's documents."""
    for document, made in tables().items():
        path = project / document
        before = path.read_text(encoding="utf-8")
        after = rewritten(before, made)
        path.write_text(after, encoding="utf-8")
        sys.stdout.write(f"{document}: {'rewritten' if after != before else 'up to date'}\n")


if __name__ == "__main__":
    main(Path.cwd())
