"""``GET /docs``: one HTML page, rendered from the OpenAPI document and needing nothing else.

The rule: no request leaves the page, for a script, a font or a style. It is read where there is no internet and behind
IAM, where a browser could not sign a second request. So there is no script at all, and the policy header says so.
"""

import json
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from typing import Any

PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
CALL = """\
curl --aws-sigv4 "aws:amz:$AWS_REGION:execute-api" \\
     --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \\
     --header "x-amz-security-token: $AWS_SESSION_TOKEN" \\
     "$URL/models"
"""
_DEEPEST = 6

Schema = Mapping[str, Any]


def docs_page(document: Mapping[str, Any]) -> str:
    """The page for an OpenAPI document."""
    return _Page(document).html()


def example_of(schema: Schema, document: Mapping[str, Any]) -> Any:
    """A value that this schema allows, made of the examples in it."""
    schema = _resolved(schema, document)
    for given in (*schema.get("examples", ())[:1], *([schema["default"]] if "default" in schema else ())):
        return given
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], document)
    if schema.get("type") == "array":
        return [example_of(schema["items"], document)]
    return {name: example_of(part, document) for name, part in schema.get("properties", {}).items()}


class _Page:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._operations = [
            (method.upper(), path, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        ]

    def html(self) -> str:
        about = self._document["info"]
        style = files("modelyard.control").joinpath("page.css").read_text("utf-8")
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<link rel="icon" href="data:,"><title>{escape(about["title"])}</title><style>{style}</style></head><body>'
            f"<header><h1>{escape(about['title'])} <small>{escape(about['version'])}</small></h1>"
            f"{_prose(about.get('description', ''))}<pre>{escape(CALL)}</pre></header>"
            f'<nav aria-label="Routes">{"".join(self._contents())}</nav>'
            f"<main>{''.join(self._sections())}{self._errors()}</main></body></html>"
        )

    def _tagged(self) -> Iterator[tuple[Mapping[str, Any], list[tuple[str, str, Mapping[str, Any]]]]]:
        for tag in self._document.get("tags", ()):
            yield tag, [entry for entry in self._operations if tag["name"] in entry[2].get("tags", ())]

    def _contents(self) -> Iterator[str]:
        for tag, operations in self._tagged():
            links = "".join(
                f'<li><a href="#{escape(operation["operationId"])}">{_badge(method)}'
                f"<span>{_breaking(path)}</span></a></li>"
                for method, path, operation in operations
            )
            yield f"<h2>{escape(tag['name'])}</h2><ul>{links}</ul>"
        yield '<h2>Errors</h2><ul><li><a href="#problem"><span>Problem document</span></a></li></ul>'

    def _sections(self) -> Iterator[str]:
        for tag, operations in self._tagged():
            articles = "".join(self._article(*entry) for entry in operations)
            yield f"<section><h2>{escape(tag['name'])}</h2>{_prose(tag.get('description', ''))}{articles}</section>"

    def _errors(self) -> str:
        schema = self._document["components"]["schemas"]["Problem"]
        return (
            f'<section id="problem"><h2>Errors</h2>{_prose(schema["description"])}{self._example(schema)}'
            f"{_table(list(self._fields(schema)))}</section>"
        )

    def _article(self, method: str, path: str, operation: Mapping[str, Any]) -> str:
        return (
            f'<article id="{escape(operation["operationId"])}"><h3>{_badge(method)}<code>{_breaking(path)}</code></h3>'
            f"<p><strong>{escape(operation.get('summary', ''))}</strong></p>{_prose(operation.get('description', ''))}"
            f"{self._parameters(operation)}{self._body(operation)}{self._answers(operation)}</article>"
        )

    def _parameters(self, operation: Mapping[str, Any]) -> str:
        rows = [
            (
                _field(parameter["name"], "path" if parameter["in"] == "path" else "query"),
                _kind(parameter["schema"], self._document),
                parameter.get("description", ""),
            )
            for parameter in operation.get("parameters", ())
        ]
        return f"<h4>Parameters</h4>{_table(rows)}" if rows else ""

    def _body(self, operation: Mapping[str, Any]) -> str:
        if "requestBody" not in operation:
            return ""
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        return f"<h4>Body</h4>{_table(list(self._fields(schema)))}{self._example(schema)}"

    def _answers(self, operation: Mapping[str, Any]) -> str:
        by_status = sorted(operation["responses"].items())  # "default" comes after every number
        told = "".join(
            f"<p><b>{'other' if status == 'default' else escape(status)}</b> {_inline(response['description'])}</p>"
            for status, response in by_status
        )
        # All successes of a route have one form; problems have theirs at the end of the page.
        given = (response.get("content", {}).get("application/json") for _, response in by_status)
        schema = next((content["schema"] for content in given if content is not None), None)
        if schema is None:
            return f"<h4>Answers</h4>{told}"
        fields = _table(list(self._fields(schema)))
        return f"<h4>Answers</h4>{told}{self._example(schema)}<details><summary>Fields</summary>{fields}</details>"

    def _example(self, schema: Schema) -> str:
        text = json.dumps(example_of(schema, self._document), indent=2, ensure_ascii=False)
        return f"<pre>{escape(text)}</pre>"

    def _fields(self, schema: Schema, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str, str]]:
        """Every field below ``schema`` with its dotted name; ``[]`` stands for each entry of a list."""
        schema = _resolved(schema, self._document)
        schema = next((_resolved(part, self._document) for part in schema.get("anyOf", ())), schema)
        for name, part in schema.get("properties", {}).items():
            mark = "required" if name in schema.get("required", ()) and "default" not in part else ""
            yield _field(prefix + name, mark), _kind(part, self._document), part.get("description", "")
            if depth < _DEEPEST:
                inner = _resolved(part, self._document)
                inner = next((_resolved(option, self._document) for option in inner.get("anyOf", ())), inner)
                if inner.get("type") == "array":
                    yield from self._fields(inner["items"], f"{prefix}{name}[].", depth + 1)
                else:
                    yield from self._fields(inner, f"{prefix}{name}.", depth + 1)


def _resolved(schema: Schema, document: Mapping[str, Any]) -> Schema:
    """What a reference points to, under what stands beside the reference."""
    if "$ref" not in schema:
        return schema
    target: Any = document
    for step in schema["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


def _kind(schema: Schema, document: Mapping[str, Any]) -> str:
    """The type of a value and its limits, in words."""
    schema = _resolved(schema, document)
    if "anyOf" in schema:
        return " or ".join(_kind(option, document) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind = str(schema.get("type", "any JSON"))
    if kind == "array":
        return f"list of {_kind(schema['items'], document)}"
    limits = {"minimum": "from {:.0f}", "maximum": "to {:.0f}", "maxLength": "at most {} characters", "pattern": "`{}`"}
    parts = [kind, *(text.format(schema[key]) for key, text in limits.items() if key in schema)]
    if schema.get("default") not in (None, ""):
        parts.append(f"default `{json.dumps(schema['default'])}`")
    return ", ".join(parts)


def _table(rows: list[tuple[str, str, str]]) -> str:
    """Rows of a field (HTML), its type and its meaning (prose)."""
    cells = "".join(
        f"<tr><th>{name}</th><td>{_inline(kind)}</td><td>{_inline(text)}</td></tr>" for name, kind, text in rows
    )
    return f"<table><tbody>{cells}</tbody></table>"


def _field(name: str, mark: str) -> str:
    return f"<code>{_breaking(name)}</code>" + (f" <small>{escape(mark)}</small>" if mark else "")


def _badge(method: str) -> str:
    return f'<b class="{escape(method.lower())}">{escape(method)}</b>'


def _breaking(text: str) -> str:
    """Text that may break after a slash, a dot or an underscore, and nowhere else."""
    shown = escape(text)
    for mark in ("/", ".", "_"):
        shown = shown.replace(mark, f"{mark}<wbr>")
    return shown


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph.strip())


def _inline(text: str) -> str:
    """Plain text with `code`."""
    return "".join(
        f"<code>{escape(part)}</code>" if place % 2 else escape(part) for place, part in enumerate(text.split("`"))
    )
