"""The pages about configuration say what the code does."""

import re
from pathlib import Path

import pytest

from modelyard.cli.reference import main, rewritten, tables
from modelyard.environments import Environment, parse_environments
from modelyard.spec import ModelSpec, parse_model
from modelyard.toml import every_field, read_toml, value_at

PROJECT = Path(__file__).parents[2]


def page(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def examples(name: str) -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", page(name), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", sorted(tables()))
def test_the_tables_are_what_the_code_makes(name):
    for table in tables()[name]:
        assert f"<!-- keys: {table} -->\n" in page(name)
    assert rewritten(page(name), tables()[name]) == page(name), "run: python -m modelyard.cli.reference"


@pytest.mark.parametrize(("name", "schema"), [("docs/spec.md", ModelSpec), ("docs/environments.md", Environment)])
def test_every_field_stands_in_its_table_with_default_and_description(name, schema):
    fields = list(every_field(schema))
    assert len(fields) > 10
    for path, field in fields:
        section, _, key = path.rpartition(".")
        table = tables()[name][section.replace("[]", "").replace(".<name>", "") or "environment"]
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{key}` |")]
        assert field.description, f"{path} has no description"
        assert field.description.replace("<", "&lt;") in row
        assert ("| required |" in row) == field.is_required()


def test_the_examples_of_the_spec_are_accepted_and_hold_every_key():
    texts = examples("docs/spec.md")
    assert len(texts) == 6
    for text in texts:
        parse_model(text, file="docs/spec.md")
    documents = [read_toml(text, file="docs/spec.md") for text in texts]
    for path, _ in every_field(ModelSpec):
        parts = path.replace("[]", "").split(".")
        assert any(_has(document, parts) for document in documents), f"no example has {path}"


def _has(document: object, parts: list[str]) -> bool:
    if isinstance(document, list):
        return any(_has(entry, parts) for entry in document)
    if not parts:
        return document is not None
    if parts[0] == "<name>":
        return isinstance(document, dict) and any(_has(entry, parts[1:]) for entry in document.values())
    return _has(value_at(document, parts[0]), parts[1:])


def test_the_example_of_the_environments_is_accepted_and_holds_every_key():
    (text,) = examples("docs/environments.md")
    environments = parse_environments(text)
    used = {key for environment in environments.values() for key in environment.model_fields_set}
    assert used == set(Environment.model_fields)


def test_the_command_rewrites_a_table_and_leaves_the_text(tmp_path, capsys):
    (tmp_path / "docs").mkdir()
    for name in tables():
        text = page(name)
        (tmp_path / name).write_text(re.sub(r"^\| .*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
    main(tmp_path)
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in tables()] == [page(name) for name in tables()]
    main(tmp_path)
    assert capsys.readouterr().out.count("up to date") == 2
