"""Reports of documents that lack something, are wrong somewhere, or hold text that would like to be more than text."""

import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from modelyard.report import page, read
from tests.fakes import run_documents as documents
from tests.fakes.html_pages import ATTACK, Page

WHOLE = (documents.regression, documents.multiclass, documents.before_this_release, documents.refused)
OTHERS: tuple[Any, ...] = (
    1, "x", [], {}, [1], {"a": 1}, [[1]], [None], True, {"challenger": []}, {"challenger": [[]]}, {"champion": [[1]]},
)  # fmt: skip


def changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """A document with every value in it changed, and every name of a column, metric or setting kept."""
    if isinstance(value, dict):
        return {key: changed(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [changed(inner, change) for inner in value]
    return change(value)


def thin(value: Any) -> Any:
    """A document with at most three of everything: as many kinds of things, and quick to read."""
    if isinstance(value, dict):
        return {key: thin(inner) for key, inner in value.items()}
    return [thin(inner) for inner in value[:3]] if isinstance(value, list) else value


# -- what is missing, and what is wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("build", WHOLE, ids=lambda build: build.__name__)
def test_a_document_without_any_one_key_is_shown(build: Callable[[], documents.Document]) -> None:
    document = thin(build())
    for key in document:
        text = page({name: value for name, value in document.items() if name != key})
        assert "cannot read" not in text, key


@pytest.mark.parametrize("build", WHOLE, ids=lambda build: build.__name__)
def test_a_document_without_what_is_deeper_in_it_is_shown(build: Callable[[], documents.Document]) -> None:
    for seed in range(20):
        draw = random.Random(seed)  # noqa: S311 - what is missing is the same each time

        def sparse(value: Any, draw: random.Random = draw) -> Any:
            if isinstance(value, dict):
                return {key: sparse(inner) for key, inner in value.items() if draw.random() < 0.7}
            return [sparse(inner) for inner in value] if isinstance(value, list) else value

        text = page(sparse(thin(build())))
        assert "cannot read" not in text, seed
        Page(text)


@pytest.mark.parametrize("build", WHOLE, ids=lambda build: build.__name__)
def test_a_document_full_of_nulls_is_shown(build: Callable[[], documents.Document]) -> None:
    text = page(changed(build(), lambda value: None if isinstance(value, float) else value))
    assert "cannot read" not in text
    Page(text)


@pytest.mark.parametrize("build", WHOLE, ids=lambda build: build.__name__)
def test_a_key_that_cannot_be_read_costs_its_own_section_and_is_named(build: Callable[[], documents.Document]) -> None:
    document = thin(build())
    for key in document:
        for other in OTHERS:
            assert page(document | {key: other}).endswith("</html>\n")
    broken = document | {"profile": [1], "checks": 7, "rows": -1}
    assert set(read(broken).unreadable) == {"rows", "profile", "checks"}
    text = page(broken)
    assert "this release cannot read it:" in text
    assert "<h2>The columns</h2>" not in text
    assert ("How good it is" in text) == ("How good it is" in page(document))


@pytest.mark.parametrize(
    "number",
    [0, -1, -0.0, 1e308, -1e308, 1e99, 5e-324, 1e-310, 1e16, float("nan"), float("inf"), 10**400, True, "text"],
    ids=lambda number: "10^400" if number == 10**400 else repr(number),
)
@pytest.mark.parametrize("build", WHOLE, ids=lambda build: build.__name__)
def test_no_number_breaks_a_picture(build: Callable[[], documents.Document], number: Any) -> None:
    def other(value: Any) -> Any:
        return number if isinstance(value, int | float) and not isinstance(value, bool) else value

    text = page(changed(build(), other))
    Page(text)
    places = re.findall(r' (?:[cr]?[xy][12]?|d[xy]|r|width|height|d)="([^"]*)"', text)
    assert not [place for place in places if re.search(r"nan|inf|e[+-]?\d", place)]


def test_one_number_far_from_all_others_is_shown() -> None:
    for build in (documents.regression, documents.multiclass):
        for seed in range(25):
            draw = random.Random(seed)  # noqa: S311 - the same numbers each time

            def far(value: Any, draw: random.Random = draw) -> Any:
                is_far = isinstance(value, float) and draw.random() < 0.1
                return value * 10.0 ** draw.randrange(-200, 200) if is_far else value

            assert page(changed(thin(build()), far)).endswith("</html>\n")


# -- text ---------------------------------------------------------------------------------------------------------

TEXTS = {
    "markup": ATTACK,
    "end of style": "</style></title></svg></section><b>",
    "right to left": "a\u202e\u2066b\u200f",
    "control": "nul \x00 bell \x07 line \n tab \t escape \x1b[2J",
    "emoji": "👩\u200d🚀 ﷽ z̸̡̛",
    "long": "0123456789" * 1000,
    "long without a break": "a_/" * 4000,
    "empty": "",
    "blank": " \u3000 ",
    "braces": "{} {0} %s ${x}",
    "comment": "<!-- ]]> -->",
}


def named(value: Any, text: str) -> Any:
    """A document in which every text and every free name is ``text``."""
    if isinstance(value, dict):
        keys = value.keys()
        free = keys and not keys & {"training", "low", "kind", "read", "challenger", "candidate", "metric", "python"}
        return {
            (f"{text}{place}" if free else key): named(inner, text) for place, (key, inner) in enumerate(value.items())
        }
    if isinstance(value, list):
        return [named(inner, text) for inner in value]
    return text if isinstance(value, str) else value


def hostile(document: documents.Document, text: str) -> documents.Document:
    found = {key: named(value, text) for key, value in document.items()}
    if "profile" in document:
        found["profile"] = {
            f"{text}{place}": named(one, text) for place, one in enumerate(document["profile"].values())
        }
    found["plan"] = {"training": {"target": f"{text}0"}, "evaluation": {"metric": text, text: text}, text: text}
    for key in ("metrics", "intervals"):
        sides = document.get(key) or {}
        found[key] = {side: values and {f"{text}{n}": one for n, one in enumerate(values.values())}
                      for side, values in sides.items()}  # fmt: skip
    if "calibration" in document:
        found["calibration"] = document["calibration"]
    for key in ("slices", "importance", "checks", "files"):
        found[key] = [{name: text if isinstance(value, str) else value for name, value in one.items()}
                      for one in document.get(key, ())]  # fmt: skip
    if isinstance(document.get("confusion"), dict):
        found["confusion"] = document["confusion"] | {"classes": [text] * len(document["confusion"]["classes"])}
    if "training" in document:
        settings = {text: text, f"{text}2": 1.5}
        found["training"] = {key: text if isinstance(value, str) else value
                             for key, value in document["training"].items()}  # fmt: skip
        found["training"] |= {"settings": settings, "environment": {text: text, "libraries": {text: text}}}
        found["training"]["leaderboard"] = [
            one | {"candidate": text, "settings": settings} for one in document["training"]["leaderboard"]
        ]
        found["training"]["remarks"] = [text] * 3
    return found | {"left_out": [text], "remarks": [text] * 100, "findings": [text], "breaks": [text] * 60}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("build", [documents.regression, documents.multiclass], ids=["regression", "multiclass"])
def test_text_from_outside_stays_text(build: Callable[[], documents.Document], text: str) -> None:
    plain, html = page(hostile(build(), "plain")), page(hostile(build(), text))
    assert "cannot read" not in html
    found, usual = Page(html), Page(plain)
    assert found.tags() <= usual.tags() | {"h3", "details", "summary", "ul", "li"}
    assert {name for _, one in found.elements for name in one} <= {name for _, one in usual.elements for name in one}
    html.encode("utf-8")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f]", html)
    assert len(html.encode()) < 500_000
    handlers = [name for _, one in found.elements for name in one if name.startswith("on") or name == "style"]
    assert not handlers
    if text == ATTACK:
        assert found.text.count("<script>alert(1)</script>") > 100
        values = [value or "" for tag, one in found.elements for name, value in one.items() if name != "data-name"]
        assert not [value for value in values if "alert" in value]
    if len(text) > 1000:
        assert "characters)" in found.text
        shown = Page(html.partition("<summary>The plan</summary>")[0] + "</details></section></main></body></html>")
        assert max(map(len, re.findall(r"\S+", shown.text))) < 2_500


def test_half_a_surrogate_pair_which_no_stored_document_has_breaks_nothing() -> None:
    text = page(hostile(documents.regression(), "half \ud800 pair"))
    assert text.encode("utf-8")
    assert "half ? pair" in Page(text).text
    assert "The gate" in text


def test_a_document_as_it_is_stored_is_shown_as_it_was_made() -> None:
    document = documents.multiclass()
    assert page(json.loads(json.dumps(document))) == page(document)
