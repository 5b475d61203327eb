"""TOML in, typed sections out, every finding at once.

Shared by the spec of a model and by the environments. A finding reads ``file: key: what is wrong``.
"""

import difflib
import tomllib
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from modelyard.errors import SpecError

Schema = TypeVar("Schema", bound=BaseModel)


def read_toml(text: str, *, file: str) -> dict[str, Any]:
    """Parse TOML text.

    Raises:
        SpecError: With the parser's line and column.
    """
    try:
        document = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        finding = f"{file}: not valid TOML: {error}"
        raise SpecError(finding, findings=(finding,)) from error
    if not document:
        finding = f"{file}: is empty"
        raise SpecError(finding, findings=(finding,))
    return document


def validate(schema: type[Schema], document: dict[str, Any], *, file: str) -> Schema:
    """Validate a parsed document against a schema.

    Raises:
        SpecError: With all findings, an unknown key with the nearest known one.
    """
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        findings = tuple(f"{file}: {_finding(schema, dict(detail))}" for detail in error.errors())
        raise SpecError("\n".join(findings), findings=findings) from error


def _finding(schema: type[BaseModel], detail: dict[str, Any]) -> str:
    location: tuple[str | int, ...] = detail["loc"]
    key = _dotted(location)
    kind: str = detail["type"]
    if kind == "extra_forbidden":
        known = list(_fields_at(schema, location[:-1]))
        nearest = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known here: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if kind == "missing":
        return f"{key}: is required"
    if kind == "value_error":
        message = str(detail["ctx"]["error"])
        return f"{key}: {message}" if key else message
    message = detail["msg"][0].lower() + detail["msg"][1:]
    value = detail.get("input")
    shown = f" (got {value!r})" if isinstance(value, str | int | float | bool) else ""
    return f"{key}: {message}{shown}"


def _dotted(location: tuple[str | int, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _fields_at(schema: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Names of the fields of the section that ``location`` leads to."""
    sections: list[type[BaseModel]] = [schema]
    for part in location:
        if isinstance(part, int):
            continue
        following: list[type[BaseModel]] = []
        for section in sections:
            field = section.model_fields.get(part)
            following.extend(_sections_in(field.annotation) if field else [section])
        sections = following or sections
    return [name for section in sections for name in section.model_fields]


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for argument in get_args(annotation) for section in _sections_in(argument)]
