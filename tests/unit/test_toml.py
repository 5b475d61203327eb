"""TOML in, findings out: what every configuration file has in common."""

import pytest
from pydantic import Field, RootModel

from modelyard.errors import SpecError
from modelyard.plain_secrets import looks_like_secret
from modelyard.spec import Section
from modelyard.toml import dotted, every_field, read_toml, read_toml_file, validate, value_at


class Leaf(Section):
    kind: str = Field(description="Which.")
    size: int = Field(default=1, ge=1, le=9, description="How large.")


class Tree(Section):
    title: str = Field(default="", description="A name.")
    leaf: Leaf | None = None
    leaves: list[Leaf] = Field(default_factory=list, description="Several.")
    named: dict[str, Leaf] = Field(default_factory=dict, description="By name.")


class Trees(RootModel[dict[str, Tree]]):
    pass


def findings(text: str, schema: type = Tree) -> list[str]:
    with pytest.raises(SpecError) as caught:
        validate(schema, read_toml(text, file="f.toml"), file="f.toml")
    assert caught.value.message == "\n".join(caught.value.findings)
    assert all(finding.startswith("f.toml: ") for finding in caught.value.findings)
    return [finding.removeprefix("f.toml: ") for finding in caught.value.findings]


# -- text that is no TOML ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "\ufeff"])
def test_a_file_without_a_key_is_empty(text):
    assert findings(text) == ["is empty"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = \nleaf = 1", "at line 1"),
        ("title = 'a'\ntitle = 'b'\n\n", "the key or table is given twice"),
        ("title = 'a'\ntitle = 'b'", "the key or table is given twice"),
        ("[leaf]\nkind = 'a'\n[leaf]\n", "[leaf]; the key or table is given twice"),
        ("account = 000000000012", "account = 000000000012; a number with leading zeros, such as an account id"),
        ("a = " + "[" * 50_000, "nested too deeply"),
        ("a = " + "1" * 5_000, "not valid TOML"),
        ("a = \x00", "not valid TOML"),
        ("a = 'x\n", "not valid TOML"),
    ],
)
def test_broken_syntax_is_one_finding_that_says_where(text, said):
    (finding,) = findings(text)
    assert finding.startswith("not valid TOML: ")
    assert said in finding
    assert len(finding) < 300


def test_a_line_that_holds_a_secret_is_not_repeated():
    (finding,) = findings('owner = "AKIAIOSFODNN7EXAMPLE" x')
    assert "AKIA" not in finding


def test_a_byte_order_mark_is_tolerated(tmp_path):
    file = tmp_path / "f.toml"
    file.write_bytes(b"\xef\xbb\xbftitle = 'a'\r\n")
    assert read_toml_file(file, file="f.toml") == {"title": "a"}
    assert read_toml("\ufefftitle = 'a'", file="f.toml") == {"title": "a"}


@pytest.mark.parametrize("content", ["title = 'é'".encode("latin-1"), "title = 'a'".encode("utf-16")])
def test_another_encoding_is_named(tmp_path, content):
    file = tmp_path / "f.toml"
    file.write_bytes(content)
    with pytest.raises(SpecError, match=r"f.toml: is not UTF-8 \(byte \d+\); save the file as UTF-8"):
        read_toml_file(file, file="f.toml")


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("title = 3", "title: must be text (got 3); quotes make it text"),
        ("title = 2020-01-01", "title: must be text (got 2020-01-01); quotes make it text"),
        ("title = ['a']", "title: must be text (got a list)"),
        ("leaf = 'a'", "leaf: must be a table (got 'a')"),
        ("[[leaf]]\nkind = 'a'", "leaf: must be one table: write [leaf] (got a list)"),
        ("[leaves]\nkind = 'a'", "leaves: must be a list of tables: write [[leaves]] (got a table)"),
        ("leaf = {}", "leaf.kind: is required. Which."),
        ("leaf = { kind = 'a', size = '1' }", "leaf.size: must be a whole number (got '1')"),
        ("leaf = { kind = 'a', size = 1.5 }", "leaf.size: must be a whole number (got 1.5)"),
        ("leaf = { kind = 'a', size = true }", "leaf.size: must be a whole number (got true)"),
        ("leaf = { kind = 'a', size = 10 }", "leaf.size: must be at most 9 (got 10). How large."),
        ("leaf = { kind = 'a', size = 0 }", "leaf.size: must be at least 1 (got 0). How large."),
        ("named.'a b' = { kind = 1 }", 'named."a b".kind: must be text (got 1); quotes make it text'),
        ("[[leaves]]\nkind = 'a'\n[[leaves]]", "leaves[1].kind: is required. Which."),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(text, finding):
    assert findings(text) == [finding]


def test_a_long_or_garbled_value_does_not_garble_the_finding():
    (finding,) = findings(f"leaf = {{ kind = 'a', size = '\u202e{'x' * 5000}' }}")
    assert finding.isascii()
    assert len(finding) < 120


# -- unknown keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("titel = 'a'", "titel: unknown key; did you mean 'title'?"),
        ("leaf = { kind = 'a', sise = 1 }", "leaf.sise: unknown key; did you mean 'size'?"),
        ("[[leaves]]\nkind = 'a'\nknd = 'a'", "leaves[0].knd: unknown key; did you mean 'kind'?"),
        ("named.kind = { kind = 'a', sze = 1 }", "named.kind.sze: unknown key; did you mean 'size'?"),
        ("zzz = 1", "zzz: unknown key; known here: title, leaf, leaves, named"),
        ("size = 1", "size: unknown key; it belongs in [leaf]"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_known_one(text, finding):
    assert findings(text) == [finding]


def test_an_unknown_key_is_found_in_a_table_of_tables():
    assert findings("[a]\ntitel = 'x'", Trees) == ["a.titel: unknown key; did you mean 'title'?"]


def test_all_findings_come_at_once_with_the_rules_between_keys():
    document = read_toml("titel = 'a'\nleaf = { size = 0 }", file="f")
    with pytest.raises(SpecError) as caught:
        validate(Tree, document, file="f", rules=[("", "is odd"), ("leaf", "is green")], docs="docs/f.md")
    assert len(caught.value.findings) == 5
    assert caught.value.findings[-2:] == ("f: is odd", "f: leaf: is green")
    assert caught.value.next_step == "Correct f; docs/f.md explains every key."
    assert caught.value.exit_code == 2


# -- secrets ----------------------------------------------------------------------------------------------------------

SECRETS = [
    "AKIAIOSFODNN7EXAMPLE",
    "key: ASIAIOSFODNN7EXAMPLE.",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "-----BEGIN RSA PRIVATE KEY-----\nabc",
    "ghp_" + "a1B2" * 9,
    "xoxb-123456789012-abcdef",
    "postgres://user:hunter2@db.example.com/x",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_in_plain_text_is_refused_and_not_repeated(secret):
    document = {"title": secret, "named": {"a": {"kind": secret, "size": secret}}}
    with pytest.raises(SpecError) as caught:
        validate(Tree, document, file="f")
    assert [finding.split(": holds")[0] for finding in caught.value.findings] == [
        "f: title",
        "f: named.a.kind",
        "f: named.a.size",
    ]
    assert secret not in str(caught.value)


def test_a_secret_in_the_place_of_a_key_is_not_repeated():
    with pytest.raises(SpecError) as caught:
        validate(Tree, {"AKIAIOSFODNN7EXAMPLE": 1}, file="f")
    assert "AKIA" not in str(caught.value)
    assert "holds an AWS access key id" in caught.value.findings[0]


@pytest.mark.parametrize(
    "text",
    [
        "One sentence for people who find the model in a list, and where to ask.",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",  # SHA-1
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",  # SHA-256
        "team@example.com",
        "https://example.com/wiki/models",
        "data/2024/Q1/training/Customers/EU/final/v2",
        "arn:aws:iam::111122223333:role/some-role",
    ],
)
def test_ordinary_text_is_no_secret(text):
    assert looks_like_secret(text) is None


# -- paths ------------------------------------------------------------------------------------------------------------


def test_a_path_of_keys_is_written_as_in_the_file():
    assert dotted(("a", 0, "b-c_1", "d e", 'f"')) == 'a[0].b-c_1."d e"."f\\""'


def test_a_value_is_looked_up_where_there_may_be_none():
    document = {"a": {"b": 1}, "c": [1]}
    assert value_at(document, "a", "b") == 1
    assert [value_at(document, *path) for path in (("a", "x"), ("x", "b"), ("c", "b"), ("a", "b", "c"))] == [None] * 4


def test_every_field_is_listed_with_its_path():
    assert [path for path, _ in every_field(Tree)] == [
        "title",
        "leaf.kind",
        "leaf.size",
        "leaves[].kind",
        "leaves[].size",
        "named.<name>.kind",
        "named.<name>.size",
    ]
