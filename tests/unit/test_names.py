"""Text that people write into records, and text that is only found: what is refused, what is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import UsageError
from modelyard.names import MOST_TAGS, check_tags, check_text, check_unicode, legible, tag_problem

GARBLING = {
    "NUL": "\0",
    "backspace": "\b",
    "carriage return": "\r",
    "escape": "\x1b",
    "delete": "\x7f",
    "next line": "\x85",
    "control sequence": "\x9b",
    "right-to-left mark": "\u200f",
    "Arabic letter mark": "\u061c",
    "right-to-left override": "\u202e",
    "isolate": "\u2066",
}


@pytest.mark.parametrize("check", [check_text, check_unicode])
@pytest.mark.parametrize("value", [None, b"bytes", "\udcff", "x" * 1001], ids=["None", "bytes", "surrogate", "1001"])
def test_text_is_refused_by_type_encoding_and_length(check, value) -> None:
    assert check("ärger", field="reason") == "ärger"
    with pytest.raises(UsageError) as refused:
        check(value, field="reason")
    assert (refused.value.code, refused.value.field) == ("invalid_text", "reason")


@pytest.mark.parametrize("character", GARBLING.values(), ids=GARBLING)
def test_what_people_write_has_no_character_that_makes_it_look_like_another_text(character: str) -> None:
    with pytest.raises(UsageError, match=f"has U.{ord(character):04X} at character 5") as refused:
        check_text(f"fine {character} end", field="note")
    assert (refused.value.code, refused.value.field) == ("invalid_text", "note")
    assert refused.value.message.isprintable()
    assert refused.value.message.isascii()


@pytest.mark.parametrize("text", ["", "Grüße", "سبب", "סיבה", "理由", "👩\u200d🔬 says yes", "a\u00a0b", "x" * 1000])
def test_every_script_may_be_written(text: str) -> None:
    assert check_text(text, field="owner", lines=False) == text


@pytest.mark.parametrize("text", ["two\nlines", "a\ttab"])
def test_text_may_have_lines_unless_it_is_one(text: str) -> None:
    assert check_text(text, field="reason") == text
    with pytest.raises(UsageError, match="control characters"):
        check_text(text, field="owner", lines=False)


def test_what_was_found_is_kept_as_it_is() -> None:
    for character in GARBLING.values():
        assert check_unicode(f"weather/{character}.csv", field="key") == f"weather/{character}.csv"


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from([*GARBLING.values()]), max_size=50))
def test_a_quotation_becomes_text_of_the_same_length(found: str) -> None:
    shown = legible(found)
    assert check_text(shown, field="reason") == shown
    assert len(shown) == len(found)
    assert legible(shown) == shown


def test_a_quotation_without_such_characters_stays_as_it_is() -> None:
    assert legible("Käse:\n\tline 3") == "Käse:\n\tline 3"
    assert legible("line 3: \u202e12") == "line 3: \ufffd12"


@pytest.mark.parametrize("tag", ["a", "7", "team:a", "v1.2-rc_3", "x" * 48])
def test_a_tag_is_short_and_plain(tag: str) -> None:
    assert tag_problem(tag) is None
    assert check_tags([tag]) == (tag,)


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "Prod",
        "-x",
        ".x",
        "a b",
        "a/b",
        "a#b",
        "a&b",
        "x" * 49,
        "ä",
        "a\n",
        "\u202ea",
        "\udcff",
        None,
        7,
        b"a",
        ["a"],
    ],
    ids=ascii,
)
def test_what_is_no_tag_is_said_in_one_line_that_deceives_nobody(tag: object) -> None:
    problem = tag_problem(tag)
    assert problem is not None
    assert problem.isprintable()
    assert problem.isascii()
    assert len(problem) < 250
    with pytest.raises(UsageError) as refused:
        check_tags(["fine", tag])
    assert (refused.value.code, refused.value.field) == ("invalid_tag", "tags")


def test_tags_are_kept_once_each_in_order() -> None:
    assert check_tags([]) == ()
    assert check_tags(iter(["b", "a", "b"])) == ("a", "b")
    most = [f"t{number}" for number in range(MOST_TAGS)]
    assert check_tags([*most, *most]) == tuple(most)
    with pytest.raises(UsageError, match="9 tags are too many; a model has at most 8"):
        check_tags([*most, "one-more"])


def test_a_text_is_not_a_list_of_one_letter_tags() -> None:
    with pytest.raises(UsageError, match="it must be a list") as refused:
        check_tags("prod")
    assert refused.value.code == "invalid_tag"
