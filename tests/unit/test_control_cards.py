"""A model card over HTTPS: the form that was asked for, and a page that can do nothing."""

import pytest

from modelyard.control.cards import wanted
from modelyard.control.page import PAGE_HEADERS
from tests.fakes.control import MODEL, ControlStand

PATH = f"/models/{MODEL}/versions/1/card"


@pytest.fixture
def stand() -> ControlStand:
    return ControlStand().with_versions(1)


ACCEPTED = {
    "": "text/html",
    "*/*": "text/html",
    "text/*": "text/html",
    "text/html,application/xhtml+xml,*/*;q=0.8": "text/html",
    "application/json": "text/html",
    "text/markdown": "text/markdown",
    "TEXT/Markdown ; Q=0.5": "text/markdown",
    "text/html;q=0.5, text/markdown": "text/markdown",
    "text/markdown;q=0.4, text/*": "text/html",
    "text/markdown, text/html": "text/html",
    "text/markdown;q=0": "text/html",
    "text/markdown;q=nan": "text/html",
    "text/markdown;q=9": "text/html",
    "text/markdown;q": "text/html",
    ",;,;;=": "text/html",
    "text/markdown," * 50_000: "text/markdown",
}


@pytest.mark.parametrize(("accept", "kind"), ACCEPTED.items(), ids=[f"{accept[:50]} " for accept in ACCEPTED])
def test_a_card_is_html_unless_markdown_is_wanted_more(stand: ControlStand, accept: str, kind: str) -> None:
    card = stand.get(PATH, accept=accept)
    assert (card.status, card.headers["content-type"]) == (200, f"{kind}; charset=utf-8")
    assert card.text.startswith("<!doctype html>" if kind == "text/html" else "# seattle_weather, version 1\n")
    assert card.headers["vary"] == "accept"


def test_the_range_that_names_a_type_most_closely_decides() -> None:
    accept = "text/*;q=0.3, text/markdown;q=0.7, */*;q=0.1"
    assert [wanted(accept, kind) for kind in ("text/markdown", "text/html", "image/png")] == [0.7, 0.3, 0.1]


@pytest.mark.parametrize("accept", ["text/html", "text/markdown"])
def test_a_card_may_run_and_fetch_nothing(stand: ControlStand, accept: str) -> None:
    headers = stand.get(PATH, accept=accept).headers
    assert PAGE_HEADERS.items() <= headers.items()
    assert "default-src 'none'" in headers["content-security-policy"]


def test_a_card_holds_the_notes_of_the_owner_and_none_of_their_markup(stand: ControlStand) -> None:
    stand.put(f"/models/{MODEL}/notes", {"text": "**Ask** first. <script>alert(1)</script> [x](javascript:alert(1))"})
    page = stand.get(PATH).text
    assert "<strong>Ask</strong> first." in page
    assert "<script" not in page
    assert 'href="javascript' not in page
    assert "> **Ask** first." in stand.get(PATH, accept="text/markdown").text


@pytest.mark.parametrize(
    "text",
    [
        "|" * 4_999 + "\n" + "-|" * 2_499,
        "> " * 5_000,
        "[" * 10_000,
        "*a " * 3_333,
        "`" * 10_000,
        "\U0001f600" * 10_000,
    ],
    ids=["table", "quotes", "brackets", "emphasis", "backticks", "four bytes each"],
)
def test_notes_that_are_hard_to_read_do_not_break_the_card(stand: ControlStand, text: str) -> None:
    assert stand.put(f"/models/{MODEL}/notes", {"text": text}).status == 200
    assert stand.get(PATH).status == 200
    assert stand.get(PATH, accept="text/markdown").status == 200


def test_a_card_of_a_version_that_does_not_exist_is_not_found(stand: ControlStand) -> None:
    answer = stand.get(f"/models/{MODEL}/versions/9/card", accept="text/markdown")
    assert (answer.status, answer.code, answer.body["field"]) == (404, "not_found", "version")
