"""The report of a run as a page: what it says, that it stands alone, and that everybody can read it."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelyard.report import page, page_key, read
from tests.fakes import run_documents as documents
from tests.fakes.html_pages import Page
from tests.fakes.training_data import weather, weather_plan
from tests.fakes.workbench import Bench

EVERY: dict[str, Callable[[], documents.Document]] = {
    "regression": documents.regression,
    "multiclass": documents.multiclass,
    "binary": documents.binary,
    "first version": documents.first,
    "forecast": documents.forecast,
    "refused": documents.refused,
    "failed": documents.failed,
    "of release 0.1": documents.before_this_release,
    "nothing at all": dict,
}
CHECKS = ("parity", "improvement", "slices", "gap", "latency", "size", "breaking")


@pytest.fixture(params=EVERY.values(), ids=EVERY.keys())
def text(request: pytest.FixtureRequest) -> str:
    return page(request.param())


def sections(text: str) -> dict[str, Page]:
    """The sections of a page by their heading."""
    found = re.findall(r'<section id="[a-z]+"><h2>([^<]*)</h2>(.*?)</section>', text, re.DOTALL)
    return {heading: Page(html) for heading, html in found}


def said(found: Page) -> str:
    return " ".join(found.text.split())


# -- what it says -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (documents.regression(), ("✓ Passed", "It is registered as a version and becomes the champion.")),
        (documents.regression(plan={"automatic": False}), ("✓ Passed", "waits for a person to make it the champion")),
        (documents.regression(verdict="promoted", version=4), ("✓ Promoted", "It is version 4 and was made the")),
        (documents.regression(verdict="registered", version=4), ("✓ Registered", "It is not the champion until")),
        (documents.multiclass(), ("✗ Rejected", "It became no version. The live model, version 7, is untouched.")),
        (
            documents.first(verdict="rejected"),
            ("✗ Rejected", "It became no version. The model still has no live version."),
        ),
        (documents.multiclass(verdict="rejected"), ("✗ Rejected", "Log loss is better by 0.036")),
        (documents.refused(), ("✗ Refused", "Nothing was trained. The live model, version 3, is untouched.")),
        (documents.refused() | {"verdict": "rejected"}, ("✗ Refused", "The file cannot be learnt from: 2 findings.")),
        (documents.failed(), ("✗ Failed", "The run broke off. The live model, version 3, is", "Timeout; the")),
        (
            documents.failed() | {"version": 4},
            ("✗ Failed", "after it had registered version 4; 'modelyard status' says"),
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_the_verdict_stands_above_everything_with_what_follows_from_it(
    document: documents.Document, words: tuple[str, ...]
) -> None:
    header = Page(re.findall(r"<header>.*?</header>", page(document), re.DOTALL)[0])
    for part in words:
        assert part in said(header)


@pytest.mark.parametrize("check", CHECKS)
def test_the_check_that_held_a_run_back_has_the_only_cross(check: str) -> None:
    document = documents.rejected(check)
    gate = re.findall(r'<li class="(yes|no)"><b class="tick" aria-hidden="true">(.)</b>.*?</li>', page(document))
    expected = [("yes", "✓") if one["passed"] else ("no", "✗") for one in document["checks"]]
    assert gate == expected
    assert gate.count(("no", "✗")) == 1
    sentence = next(one["said"] for one in document["checks"] if one["name"] == check)
    assert sentence[1:] in said(sections(page(document))["The gate"])


def test_sides_stand_beside_each_other_with_intervals_and_with_the_better_direction() -> None:
    found = said(sections(page(documents.regression()))["How good it is"])
    assert "MeasureThis runVersion 3, championWithout learning" in found
    assert "root mean squared error lower is better, decides9.05 8.71 to 9.49.62 9.27 to 9.9925.3" in found
    assert "R² higher is better" in found


def test_the_improvement_is_shown_against_nothing_and_against_what_was_asked_for() -> None:
    gate = page(documents.regression()).partition('<section id="gate">')[2].partition("</section>")[0]
    assert "0.57, from 0.31 to 0.84; asked for 0.1" in gate
    places = {
        name: float(re.findall(rf'<line class="{name}" x1="([0-9.]+)%"', gate)[0]) for name in ("zero", "asked", "cs")
    }
    dot = float(re.findall(r'<circle class="c" cx="([0-9.]+)%"', gate)[0])
    assert places["zero"] < places["asked"] < places["cs"] < dot
    assert "better by 0.57" in gate
    assert "Asked for: at least 0.1, with a confidence of 95 %." in gate


def test_a_first_version_is_measured_against_the_baseline() -> None:
    found = sections(page(documents.first()))
    assert "than that of the baseline without learning" in said(found["The gate"])
    assert "champion" not in said(found["How good it is"])
    assert "Improvement" not in said(found["Where it is better, and where worse"])


def test_slices_say_whether_each_holds() -> None:
    found = sections(page(documents.multiclass()))["Where it is better, and where worse"]
    assert "No slice may lose more than 0.1" in said(found)
    assert found.text.count("✓ yes") == 4
    text = page(documents.multiclass()).partition('<section id="slices">')[2].partition("</section>")[0]
    limits, nothing = (re.findall(rf'<line class="{kind}" x1="([0-9.]+)%"', text) for kind in ("asked", "zero"))
    assert len(limits) == len(nothing) == 6
    assert {float(limit) < float(zero) for limit, zero in zip(limits, nothing, strict=True)} == {True}
    assert "weather snow" in said(found)
    assert found.text.count("✗ no") == 1


def test_a_slice_of_few_rows_is_said_not_to_be_judged() -> None:
    section = "Where it is better, and where worse"
    found = said(sections(page(documents.multiclass()))[section])
    assert "weather fog 6" in found.replace("weather fog6", "weather fog 6")
    assert found.count("not judged: 6 rows, 20 are needed") == 1
    older = documents.multiclass()
    older["slices"] = [{name: told for name, told in one.items() if name != "judged"} for one in older["slices"]]
    assert "not judged" not in page(older), "documents of older releases do not say"


def test_where_no_loss_is_too_much_no_slice_is_said_to_hold() -> None:
    document = documents.multiclass()
    document["plan"]["evaluation"] |= {"max_slice_loss": None}
    found = sections(page(document))["Where it is better, and where worse"]
    assert "Holds" not in found.text
    assert "✓ yes" not in found.text


def test_what_was_learnt_from_is_told_with_the_evaluation_set() -> None:
    found = said(sections(page(documents.regression()))["What it learnt from"])
    for words in (
        "11,847 rows of 6 files were read: 31 came again in a later file and count once, 9,861 were learnt from",
        "evaluation set 1, 1,955 rows, frozen on 2 October 2026",
        "one row in five of every tenth of the target, drawn once with seed 0.",
        "2026-05.csv: 12 of 20 columns are missing",
        "column 'note' is empty in 31 % of them",
    ):
        assert words in found
    assert "column 'fare' is missing" in said(sections(page(documents.refused()))["What was wrong with the data"])


def test_a_run_that_failed_says_where_and_how_it_goes_on() -> None:
    text = page(documents.failed())
    assert "Ended atTrain the candidates" in said(Page(text))
    found = said(sections(text)["What to do next"])
    assert "modelyard runs taxi --run run-10" in found
    assert "modelyard logs taxi --step train" in found
    assert "modelyard train taxi --redrive run-10 --watch" in found


def test_a_refused_file_is_named_and_may_come_again() -> None:
    found = sections(page(documents.refused()))
    assert "2013-02.csv" in said(found["The file"])
    assert "modelyard upload taxi FILE.csv" in said(found["What to do next"])
    assert "What it learnt from" not in found


@pytest.mark.parametrize("document", [documents.regression(), documents.multiclass(), documents.before_this_release()])
def test_a_run_that_the_gate_decided_about_needs_nothing_next(document: documents.Document) -> None:
    assert "What to do next" not in sections(page(document))


def test_each_column_has_a_picture_of_both_sets_and_the_target_is_first() -> None:
    text = page(documents.regression())
    columns = re.findall(r"<article><h3>(.*?)</h3>(.*?)</article>", text, re.DOTALL)
    assert columns[0][0] == "fare <b>target</b>"
    assert [re.sub("<.*?>", "", name) for name, _ in columns][1:] == ["km", "passengers", "kind", "called_at", "note"]
    for name, html in columns[:3]:
        assert html.count('<path class="t"') == html.count('<path class="v"') == 1, name
    months = re.findall(r"<li><span>(.*?)</span>", columns[4][1])
    assert months == sorted(months)
    assert "31 % missing" in columns[5][1]


@pytest.mark.parametrize("edges", [[0, 0, 1], [1, 0, 2], [0, 1, None], [0, 1], [], [0, 1, 1e300]], ids=str)
def test_a_histogram_whose_edges_make_no_sense_is_left_out(edges: list[float | None]) -> None:
    histogram = {"edges": edges, "training": [3, 4], "evaluation": [1, 0]}
    text = page({"profile": {"km": {"kind": "number", "histogram": histogram, "minimum": 0, "maximum": 2}}})
    assert "<path" not in text
    assert "<h3>km</h3>" in text


def test_the_winner_is_marked_and_what_was_not_tried_is_named() -> None:
    document = documents.regression()
    found = said(sections(page(document))["What was tried"])
    assert found.count("✓ won") == 1
    for words in (
        "The training took 2 min 41 s. On Lambda: 4.1 of 75.2 MB of rows fit",
        "linear regression (positive yes): input holds NaN",
        "neural network, 4 settings: not tried: time budget",
        "✗ left early left after 2 of 5 folds",
        "The time budget of 360 s was spent before every setting was tried",
        "no learning",
    ):
        assert words in found
    assert "took 2 h 6 min. On SageMaker: 880 MB" in said(sections(page(documents.forecast()))["What was tried"])
    document["training"]["why_there"] = ""
    assert "took 2 min 41 s on Lambda." in said(sections(page(document))["What was tried"])


def test_a_winner_without_a_line_of_its_own_is_not_guessed() -> None:
    document = documents.regression()
    document["training"]["settings"] = {"learning_rate": 7}
    assert "won" not in page(document).partition("</style>")[2]


def test_probabilities_and_classes_are_shown_where_there_are_some() -> None:
    document = documents.multiclass()
    document["confusion"]["challenger"] = [[9 * (row == column) for column in range(5)] for row in range(5)]
    document["confusion"]["challenger"][3] = [0, 0, 7, 2, 0]
    found = said(sections(page(document))["What its answers are like"])
    assert "snow answered as rain: 7 rows" in found
    assert "rain answered as rain" not in found
    assert "22 %" in found
    assert "Are its probabilities right?" in found
    assert "Answers against the truth" not in found


def test_numbers_are_shown_against_the_truth() -> None:
    document = documents.regression(residuals={"challenger": [[1.0, 2.0], [5.0, 3.0], [9.0, 9.0]], "champion": None})
    text = page(document)
    assert text.count('<circle class="cd"') == 3
    assert "Half of the answers are within 1 of the truth, 9 of 10 within 2." in said(Page(text))


def test_parity_that_failed_shows_its_worst_rows_at_once() -> None:
    assert "<details open><summary>The rows that differ most" in page(documents.rejected("parity"))
    assert "<details><summary>The rows that differ most" in page(documents.regression())
    assert "35.45" in page(documents.rejected("parity"))


def test_the_command_that_makes_it_again_names_the_version_where_it_is_known() -> None:
    assert "modelyard reproduce taxi:4" in page(documents.regression(version=4))
    assert "modelyard reproduce taxi:VERSION" in page(documents.regression())
    assert "modelyard reproduce" not in page(documents.multiclass())
    digest = documents.regression()["files"][0]["sha256"]
    assert digest in page(documents.regression())


def test_a_document_of_release_0_1_shows_what_it_knew() -> None:
    found = sections(page(documents.before_this_release()))
    assert list(found) == ["The gate", "How good it is", "What it learnt from", "What was tried", "Fit for service",
                           "Where it comes from"]  # fmt: skip
    assert "1,000 rows of 1 file were read" in said(found["What it learnt from"])
    assert "2013.csv: 4 rows are there twice" in said(found["What it learnt from"])


def test_the_document_of_a_real_run_is_read_whole() -> None:
    bench = Bench(weather_plan())
    bench.run(bench.upload(weather(2012)[0]), "run-1")
    stored = {key: body for key, body in bench.registry.artifacts.objects.items() if key.startswith("reports/")}
    (key,) = (key for key in stored if key.endswith(".json"))
    document = msgspec.json.decode(stored[key])
    assert read(document).unreadable == ()
    assert stored[page_key(key)].decode() == page(document)
    found = sections(page(document))
    assert {"The gate", "How good it is", "What it learnt from", "What was tried", "What its answers are like",
            "Fit for service", "The columns", "Where it comes from"} <= found.keys()  # fmt: skip


def test_the_page_lies_beside_its_document() -> None:
    assert page_key("reports/taxi/run-1-00ff.json") == "reports/taxi/run-1-00ff.html"


# -- a file that stands alone -------------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_fetches_and_runs_nothing(text: str) -> None:
    found = Page(text)
    forbidden = {"script", "img", "iframe", "object", "embed", "base", "form", "use", "image", "foreignobject"}
    assert not found.tags() & forbidden
    assert found.all("link") == [{"rel": "icon", "href": "data:,"}]
    names = {name for _, attributes in found.elements for name in attributes}
    assert not names & {"src", "srcset", "style", "xlink:href"}
    assert not [name for name in names if name.startswith("on")]
    links = {attributes["href"] for attributes in found.all("a")}
    keys = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert links == {f"#{key}" for key in keys}
    assert len(set(keys)) == len(keys)
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(attributes["content"] for attributes in found.all("meta") if attributes.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_headings_tables_and_pictures_are_readable_by_everybody(text: str) -> None:
    found = Page(text)
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(attributes.get("scope") in {"col", "row"} for attributes in found.all("th"))
    for attributes, opening in re.findall(r"<svg ([^>]*)>(<title>[^<]+</title>)?", text):
        if "role=" in attributes:
            assert 'role="img"' in attributes
            assert opening, attributes
        else:  # within another picture, or beside words that say the same
            assert 'aria-hidden="true"' in attributes or re.search(r'\bx="', attributes) or "viewBox" in attributes


def test_large_pictures_are_described() -> None:
    for document in (documents.regression(), documents.multiclass()):
        for kind in ("plot square", "plot improvement", "went"):
            for found in re.findall(rf'<svg class="{kind}".*?</title>(<desc>[^<]+</desc>)?', page(document)):
                assert found


def test_colours_have_contrast_in_the_light_and_in_the_dark() -> None:
    style = "".join(css.partition("@media print")[0] for css in styles())
    light, dark = {}, {}
    for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL):
        for name, value in re.findall(r"--([a-z-]+): ([^;]+);", block):
            (dark if name in light else light)[name] = value
    assert light.keys() == dark.keys()
    for scheme in (light, dark):
        for ink, paper in (("ink", "paper"), ("dim", "paper"), ("dim", "soft"), ("accent", "paper"), ("bad", "paper"),
                           ("accent", "accent-soft"), ("amber", "amber-soft"), ("bad", "bad-soft"), ("amber", "paper"),
                           ("link", "paper"), ("ink", "soft"), ("amber", "band"), ("ink", "band")):  # fmt: skip
            assert contrast(rgb(scheme[ink]), rgb(scheme[paper])) >= 4.5, (ink, paper, scheme[ink], scheme[paper])
        shade = tuple(int(part) for part in scheme["ink-rgb"].split(","))
        for alpha in re.findall(r"\.h\d \{ background: rgba\(var\(--ink-rgb\), ([.\d]+)\)", style):
            cell = [a * float(alpha) + b * (1 - float(alpha)) for a, b in zip(shade, rgb(scheme["paper"]), strict=True)]
            assert contrast(rgb(scheme["ink"]), cell) >= 4.5, alpha
    used = set(re.findall(r"var\(--([a-z-]+)\)", style))
    assert used <= light.keys()


def styles() -> list[str]:
    """The rules of every page and those of this one."""
    library = Path(__file__).parents[2] / "layers/core/python/modelyard"
    return [(library / folder / "page.css").read_text() for folder in ("pages", "report")]


def rgb(colour: str) -> list[float]:
    digits = colour.strip().removeprefix("#")
    digits = "".join(2 * one for one in digits) if len(digits) == 3 else digits
    return [int(digits[place : place + 2], 16) for place in (0, 2, 4)]


def contrast(one: Any, two: Any) -> float:
    """The ratio of WCAG 2.2, "contrast ratio"."""

    def luminance(colour: Any) -> float:
        parts = [part / 255 for part in colour]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_largest_report_is_small_and_says_what_it_leaves_out() -> None:
    text = page(documents.largest())
    assert len(text.encode()) < 500_000
    words = said(Page(text))
    for left in ("And 141 columns more; --json has all.", "And 170 columns that matter less; --json has all.",
                 "And 140 slices that hold", "And 488 files before those.", "And 300 files before those.",
                 "And 250 more; --json has all."):  # fmt: skip
        assert left in words


def test_every_class_of_the_page_has_a_rule() -> None:
    texts = [page(build()) for build in EVERY.values()]
    used = {name for text in texts for names in re.findall(r'class="([^"]*)"', text) for name in names.split()}
    ruled = set(re.findall(r"\.([a-z][a-z0-9]*)", "".join(styles())))
    assert used <= ruled
