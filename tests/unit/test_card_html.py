"""The card as a page: whole, self-contained, and deaf to whatever the registry or the owner wrote into it."""

import re
import sys
import time
from typing import Any

import pytest

from modelyard.card import picture, to_html
from modelyard.card.blocks import Course, Hundred, Point
from modelyard.card.notes import may_follow, notes_html
from modelyard.version import OutputSpec, Signature, TensorSpec
from tests.fakes.described import Described
from tests.fakes.html_pages import ATTACK, Page
from tests.fakes.registries import register


@pytest.fixture(scope="module")
def past() -> Described:
    yard = Described().with_a_past()
    yard.ana.write_notes("taxi", "Ask *Ana*.")
    return yard


def test_the_page_has_the_card_and_is_well_formed(past: Described) -> None:
    page = Page(to_html(past.card()))
    for words in (
        "taxi, version 2: model card",
        "not live",
        "Of 100 rows it had not seen, about 83 were answered right.",
        "Notes of the owner",
        "Written by ana on 21 November 2026, 10:00 UTC. These are the owner's words",
        "As the registry had it on 1 December 2026, 09:30 UTC.",
    ):
        assert words in page.text
    assert [attributes["class"] for attributes in page.all("svg")] == ["hundred", "plot"]
    headings = [tag for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert headings == ["h1", *["h2"] * 9]


def test_the_page_fetches_and_runs_nothing(past: Described) -> None:
    yard = Described()
    yard.train(b"1")
    yard.ana.write_notes("taxi", "![p](https://example.com/p.png) [l](https://example.com) <script>1</script>")
    for text in (to_html(past.card()), to_html(yard.card(1))):
        page = Page(text)
        assert page.tags() & {"script", "img", "iframe", "object", "embed", "base", "form", "style", "link"} == {
            "style",
            "link",
        }
        assert page.all("link") == [{"rel": "icon", "href": "data:,"}]
        assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
        assert not [
            name for _, attributes in page.elements for name in attributes if name in {"src", "srcset", "style"}
        ]
        style = text.partition("<style>")[2].partition("</style>")[0]
        assert "url(" not in style
        assert "@import" not in style
        policy = next(found["content"] for found in page.all("meta") if found.get("http-equiv"))
        assert policy is not None
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_the_page_is_for_light_and_dark_phone_and_paper(past: Described) -> None:
    text = to_html(past.card())
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    for rule in ("color-scheme: light dark", "prefers-color-scheme: dark", "max-width: 36rem", "@media print"):
        assert rule in text
    used = set(re.findall(r"var\((--[a-z-]+)\)", text))
    assert used <= set(re.findall(r"(--[a-z-]+):", text))


def test_everything_from_the_registry_is_text() -> None:
    yard = Described()
    signature = Signature(
        (TensorSpec(ATTACK, "string", (None, 1)),),
        (OutputSpec("p", "float32", (None, 2), (ATTACK, "yes")),),
    )
    field = {"dtype": "string", "shape": [None, 1], "mode": "reject", "nulls": False, "categories": {ATTACK: 1.0}}
    contract = {"format": 1, "rows": 5, "fields": {ATTACK: field}}
    settings: dict[str, Any] = {
        "signature": signature, "contract": contract, "metrics": {ATTACK: 1.0}, "note": ATTACK,
        "description": ATTACK, "owner": ATTACK,
    }  # fmt: skip
    eve = yard.registry(f"arn:aws:sts::1:assumed-role/x/{ATTACK}")
    for body in (b"1", b"22"):
        register(eve, "taxi", body, **settings)
    eve.promote("taxi", 2, reason=ATTACK)
    eve.write_notes("taxi", ATTACK)
    plain = to_html(Described().with_a_past().card())
    page = Page(to_html(yard.card(2)))
    assert page.tags() <= Page(plain).tags() | {"h1"}
    assert page.text.count("<script>alert(1)</script>") > 8
    assert "alert" not in str([(tag, names) for tag, names in page.elements if tag not in {"td", "svg"}])


# -- notes --------------------------------------------------------------------------------------------------------


def test_notes_are_markdown() -> None:
    html = notes_html(
        "# Title\n\n###### Deep\n\n*a* `b` [c](https://example.com/?x=1&y=2)\n\n| d | e |\n|---|---|\n| f | g |"
    )
    page = Page(html)
    assert [tag for tag, _ in page.elements if tag.startswith("h")] == ["h3", "h6"]
    assert {"em", "code", "table", "td"} <= page.tags()
    assert page.all("a") == [{"href": "https://example.com/?x=1&y=2", "rel": "noopener noreferrer nofollow"}]


@pytest.mark.parametrize(
    "notes",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "text <b onclick=alert(1)>b</b>",
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt:alert(1))",
        "[a](&#106;avascript:alert(1))",
        "[a](java\tscript:alert(1))",
        "[a](data:text/html;base64,PHNjcmlwdD4=)",
        "[a](vbscript:x)",
        "[a](file:///etc/passwd)",
        "[a](//example.com)",
        "[a][1]\n\n[1]: javascript:alert(1)",
        "<javascript:alert(1)>",
        "![a](javascript:alert(1))",
        "![a](data:image/svg+xml;base64,PHN2Zz4=)",
        '[a](https://example.com "\\"><script>alert(1)</script>")',
        "```html\n</code></pre><script>alert(1)</script>\n```",
        '```"><script>alert(1)</script>\n```',
        "</div></section></main><script>alert(1)</script>",
    ],
)
def test_notes_cannot_run_anything(notes: str) -> None:
    page = Page(notes_html(notes))
    assert page.tags() <= {"p", "a", "pre", "code"}
    for attributes in page.all("a"):
        assert str(attributes["href"]).startswith("https://example.com")
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_a_picture_in_notes_becomes_a_link() -> None:
    html = notes_html('![a "quoted" plan](https://example.com/p.png)')
    assert html.strip() == (
        '<p><a href="https://example.com/p.png" rel="noopener noreferrer nofollow">a &quot;quoted&quot; plan</a></p>'
    )


@pytest.mark.parametrize(
    ("url", "follow"),
    [
        ("https://example.com", True),
        ("HTTP://example.com", True),
        ("mailto:ana@example.com", True),
        ("javascript:alert(1)", False),
        ("#anchor", False),
        ("http://[", False),
    ],
)
def test_only_whole_addresses_are_followed(url: str, follow: bool) -> None:
    assert may_follow(url) is follow


@pytest.mark.parametrize("notes", ["*a " * 6_000, "> " * 9_000, "[" * 19_000, "- " * 9_000, "`" * 19_000, "![" * 9_000])
def test_hostile_notes_take_no_time(notes: str) -> None:
    began = time.perf_counter()
    Page(notes_html(notes))
    assert time.perf_counter() - began < 2


def test_without_a_markdown_reader_notes_are_shown_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "markdown_it", None)
    assert notes_html("# <b>\nline") == '<p class="written"># &lt;b&gt;\nline</p>'


# -- pictures -----------------------------------------------------------------------------------------------------


def test_a_hundred_dots_are_a_hundred() -> None:
    page = Page(picture.hundred(Hundred(83, "about 83 of 100")))
    kinds = [attributes["class"] for attributes in page.all("circle")]
    assert (kinds.count("full"), kinds.count("empty")) == (83, 17)
    assert page.all("svg")[0]["aria-label"] == "about 83 of 100"


def course(*values: float, live: int = 1, this: int = 2) -> Course:
    points = (
        Point(version=number, value=value, live=number == live, this=number == this)
        for number, value in enumerate(values, start=1)
    )
    return Course("log_loss", True, tuple(points))


def test_the_course_draws_higher_values_higher_and_marks_two_versions() -> None:
    page = Page(picture.course(course(0.62, 0.5, 0.7)))
    dots = {str(found["class"]): found for found in page.all("circle")}
    heights = [float(str(found["cy"])) for found in page.all("circle") if found["class"] != "ring"]
    assert heights[2] < heights[0] < heights[1]
    assert dots["ring"]["cy"] == f"{heights[1]:.1f}"
    assert dots["live"]["cy"] == f"{heights[0]:.1f}"
    assert [found["class"] for found in page.all("line")].count("course") == 2
    assert page.all("svg")[0]["aria-label"] == (
        "log loss of the last versions: version 1 0.62, live; version 2 0.5, this card; version 3 0.7"
    )
    assert not [found for found in page.all("circle") if found["class"] == "rival"]
    assert "this, live" in Page(picture.course(course(1, 2, live=2))).text


def test_the_version_before_stands_beside_this_one_at_its_value_on_the_same_rows() -> None:
    page = Page(picture.course(Course("log_loss", True, course(0.94, 1.09).points, (1, 2.49))))
    rival = next(found for found in page.all("circle") if found["class"] == "rival")
    this = next(found for found in page.all("circle") if found["class"] == "ring")
    assert rival["cx"] == this["cx"]
    assert picture.TOP <= float(str(rival["cy"])) < float(str(this["cy"]))
    assert "version 1: 2.49" in page.text
    assert str(page.all("svg")[0]["aria-label"]).endswith("; version 1 on the rows of this card 2.49")


@pytest.mark.parametrize("values", [(0.5, 0.5), (0.0, 0.0), (-3.0, 1e9), (1e-12, 2e-12), (1e300, 1.5e300)])
def test_a_course_of_any_values_stays_in_its_frame(values: tuple[float, ...]) -> None:
    page = Page(picture.course(course(*values)))
    for found in page.all("circle"):
        assert picture.TOP <= float(str(found["cy"])) <= picture.BOTTOM


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.71, 0.93, [0.7, 0.8, 0.9, 1.0]),
        (1.108, 1.193, [1.1, 1.15, 1.2]),
        (0, 100, [0, 50, 100]),
        (5, 5, [4.6, 4.8, 5.0, 5.2, 5.4]),
    ],
)
def test_ticks_are_round_and_enclose(low: float, high: float, expected: list[float]) -> None:
    assert picture.ticks(low, high) == expected
