"""What a card says: in plain words, with numbers that mean something, and nothing that the version does not know."""

import subprocess
import sys
from typing import Any

import pytest
from scipy.stats import binomtest

from modelyard.card import card_of, facts, gather, to_markdown
from modelyard.card.answers import kind_of
from modelyard.pages.words import day, likely_range, meaning, of_hundred, one_line, person, say, strong
from modelyard.version import Lineage, Signature, TensorSpec
from tests.fakes.described import ANA, AT, SIGNATURE, Described, report, said, section
from tests.fakes.registries import register
from tests.fakes.training_data import weather, weather_plan
from tests.fakes.workbench import Bench


@pytest.fixture(scope="module")
def past() -> Described:
    return Described().with_a_past()


# -- a model with a past ------------------------------------------------------------------------------------------


def test_a_glance_says_state_quality_origin_and_maker(past: Described) -> None:
    card = past.card(1)
    assert card.state == "live"
    assert said(card).startswith(
        "\nState: Live since 21 November 2026\nHow good: about 79 of 100 answered right\n"
        "Learnt from: 796 rows of 1 file\nMade: 21 November 2026 by the retraining workflow"
    )
    assert past.card(2).state == "not live"
    assert "State: Not live; it was, until 21 November 2026" in said(past.card(2))


def test_it_says_what_is_answered_from_what(past: Described) -> None:
    text = said(section(past.card(), "What it answers"))
    assert "it answers how probable each of 3 classes is: cheap, dear and free." in text
    assert "km | a number, which may be missing" in text
    assert "kind | text" in text
    assert "seen while it learnt" not in text  # there is no contract to say it


def test_an_accuracy_is_explained_by_what_it_counts(past: Described) -> None:
    text = said(section(past.card(), "How good it is"))
    assert "Of 100 rows it had not seen, about 83 were answered right. (166 of 200 rows." in text
    assert "between 77 and 88 of 100 are likely" in text
    assert "Without learning, by always giving the most frequent answer, about 40 of 100 would have been right." in text
    assert (
        "decided by another measure, log loss. What turned out to be true had been given a probability of 61 %" in text
    )
    assert "Measure | this version | version 1 | without learning\naccuracy | 0.83 | 0.8 | 0.4\n" in text


def test_it_is_compared_with_the_champion_on_the_same_rows(past: Described) -> None:
    text = said(section(past.card(), "Compared with version 1"))
    assert "On the same 200 rows, version 1 reached log loss 0.6 and this one 0.5: better by 0.1 (lower is" in text
    assert "Answered right were 160 and 166 of them." in text
    assert "chance alone hardly explains" in text
    assert "It takes the same inputs and gives the same outputs." in text
    assert "this is the first version" in said(section(past.card(1), "Compared with the version before"))


def test_the_files_it_learnt_from_have_rows_and_dates(past: Described) -> None:
    text = said(section(past.card(), "What it learnt from"))
    assert "Its files hold 1,000 rows, 4 of them twice. It learnt from 796 of them; 200 were held back" in text
    assert "It is a random forest (n_estimators 100, min_samples_leaf 3), the best of 2 that were tried." in text
    assert "2013.csv | 500 | 21 November 2026" in text
    assert "2013.csv: 4 rows are there twice" in text


def test_its_story_is_the_ledger_in_sentences(past: Described) -> None:
    assert said(section(past.card(1), "Who made it, and what happened since")).split("\n") == [
        "Who made it, and what happened since",
        "It was trained and registered by the retraining workflow on 21 November 2026, 10:00 UTC, with the note "
        "“random_forest: log_loss 0.5 against 0.6 of the champion”.",
        "ana put it live again on 21 November 2026, 10:00 UTC, and it is live. The reason given: “drivers complained”.",
        "21 November 2026, 10:00 UTC: registered by the retraining workflow",
        "21 November 2026, 10:00 UTC: put live by the retraining workflow, the first version to be so",
        "21 November 2026, 10:00 UTC: version 2 was put live in its place by the retraining workflow: “it is better”",
        "21 November 2026, 10:00 UTC: put live again by ana, in the place of version 2: “drivers complained”",
    ]
    other = said(section(past.card(2), "Who made it, and what happened since"))
    assert "the retraining workflow put it live on 21 November 2026, 10:00 UTC; it was live until 21 November" in other
    assert "taken back by ana; version 1 was live again" in other


def test_the_course_marks_the_live_version_and_this_one(past: Described) -> None:
    course = section(past.card(), "Version by version").blocks[0]
    assert course.metric == "log_loss"  # type: ignore[union-attr]
    assert [(p.version, p.value, p.live, p.this) for p in course.points] == [  # type: ignore[union-attr]
        (1, 0.62, True, False),
        (2, 0.5, False, True),
    ]
    assert course.rival == (1, 0.6)  # type: ignore[union-attr]
    text = to_markdown(past.card())
    assert "| 2 | 0.5 | this card |\n| 1 | 0.6 | on the rows of version 2 |\n" in text
    assert section(past.card(1), "Version by version").blocks[0].rival is None  # type: ignore[union-attr]


def test_limits_are_those_that_are_known(past: Described) -> None:
    text = said(section(past.card(), "Known limits"))
    assert "It knows cheap, dear and free only." in text
    assert "It has no data contract" in text
    assert "files that were accepted up to 21 November 2026" in text
    assert "rows only" not in text  # 200 held-out rows are not few
    assert "never recorded" not in text


# -- states -------------------------------------------------------------------------------------------------------


def test_a_trial_is_said_to_be_one() -> None:
    yard = Described().with_a_past()
    yard.ana.start_canary("taxi", 2, split=10, reason="carefully")
    assert yard.card().state == "on trial, 10 % of requests"
    assert "put on trial for 10 % of the requests, beside version 1, by ana: “carefully”" in said(yard.card())
    yard.ana.end_trial("taxi")
    assert "taken off its trial by ana (no reason was given)" in said(yard.card())
    yard.ana.start_shadow("taxi", 2)
    assert yard.card().state == "on trial, unseen"
    assert "nobody is shown its answers" in said(yard.card())


def test_what_was_never_live_is_said_so() -> None:
    yard = Described()
    yard.add("taxi")
    card = yard.card(1)
    assert "State: Not live; it never was" in said(card)
    assert "It was never live." in said(card)


def test_a_ledger_too_long_to_read_is_not_guessed_about(monkeypatch: pytest.MonkeyPatch) -> None:
    yard = Described().with_a_past()
    monkeypatch.setattr(facts, "LEDGER_PAGE", 1)
    monkeypatch.setattr(facts, "MOST_LEDGER_PAGES", 2)
    text = said(yard.card(2))
    assert "only its newest lines were looked at" in text
    assert "never was" not in text
    assert "It was never live" not in text
    monkeypatch.setattr(facts, "MOST_LEDGER_PAGES", 1)
    yard.ana.start_shadow("taxi", 2)
    assert "Live; since when is not recorded" in said(yard.card(1))


def test_a_ledger_is_not_read_beyond_the_versions_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    yard = Described().with_a_past()
    yard.train(b"333")
    monkeypatch.setattr(facts, "LEDGER_PAGE", 1)
    monkeypatch.setattr(facts, "MOST_LEDGER_PAGES", 2)
    assert "It was never live." in said(yard.card(3))


# -- what is not known --------------------------------------------------------------------------------------------


def test_a_file_from_elsewhere_is_not_given_a_past() -> None:
    yard = Described()
    yard.add("taxi", lineage=Lineage(code_digest="c" * 64))
    card = yard.card(1)
    text = said(card)
    for line in (
        "How good: not recorded",
        "Learnt from: not recorded: it was brought as a file",
        "Its quality is not recorded: it came without a measure.",
        "It was brought as a finished file. What it learnt from is not recorded.",
        "Code of the model's own stands between a caller and what is listed here.",
        "How good it is was never recorded.",
        "Its answers depend on code beside the file.",
        "Evaluation report: not recorded",
        "None were written.",
    ):
        assert line in text
    assert "Version by version" not in [found.title for found in card.sections]
    for invented in ("held back", "measured on", "accepted"):
        assert invented not in text


def test_metrics_without_a_report_are_not_said_to_be_of_the_same_rows() -> None:
    yard = Described()
    for number, accuracy in enumerate((0.8, 0.9)):
        yard.add("taxi", b"%d" % number, metrics={"accuracy": accuracy, "speed": 3.0})
    text = said(yard.card())
    assert "On which rows it was measured, and on how many, is not recorded." in text
    assert "Version 1 has accuracy 0.8, and this one 0.9: better by 0.1. Whether both were measured on the same" in text
    assert "On which rows each version was measured is not recorded" in text
    assert "decided by" not in text
    assert "of 100 are likely" not in text
    assert "speed | 3" in text


def test_a_report_about_another_champion_is_not_taken_for_a_comparison() -> None:
    yard = Described().with_a_past()
    lineage = Lineage(source="trained", parent_version=2)
    yard.train(b"333", report(champion=1), lineage=lineage)
    text = said(section(yard.card(3), "Compared with version 2"))
    assert "Version 2 has log loss 0.5, and this one 0.5: no different." in text
    assert "On the same" not in text


def test_a_report_that_is_gone_or_of_another_form_is_a_limit() -> None:
    yard = Described()
    version = yard.train(b"1", report(champion=None))
    key = str(version.manifest.evaluation)
    for body, why in ((b"[1]", "cannot be read"), (b'{"metric": "\xff"}', "cannot be read"), (None, "is not in the")):
        yard.artifacts.objects.pop(key)
        if body is not None:
            yard.artifacts.objects[key] = body
        text = said(yard.card(1))
        assert f"Its evaluation report {why}" in text
        assert "about 83 of 100 answered right" in text


def test_few_rows_and_a_bad_model_are_limits() -> None:
    yard = Described()
    told = report(champion=None, rows=40)
    told["metrics"] = {"challenger": {"log_loss": 1.4}, "champion": None, "baseline": {"log_loss": 1.1}}
    yard.train(b"1", told)
    text = said(section(yard.card(1), "Known limits"))
    assert "It was measured on 40 rows only" in text
    assert "Poor. By the measure that decides, it is worse than answering without learning." in text


def test_a_difference_that_may_be_chance_is_said_to_be_so() -> None:
    yard = Described().with_a_past()
    yard.train(b"333", report(interval={"low": -0.1, "high": 0.2}))
    assert "that chance may explain it" in said(yard.card(3))
    yard.train(b"4444", report(interval={"low": None, "high": 0.2}))
    assert "chance" not in said(section(yard.card(4), "Compared with version 1"))


def test_a_break_for_callers_is_said_to_be_one() -> None:
    yard = Described().with_a_past()
    fewer = Signature(SIGNATURE.inputs[:1], SIGNATURE.outputs)
    yard.train(b"333", signature=fewer, accept_breaking="they know")
    text = said(section(yard.card(3), "Compared with version 1"))
    assert "Not compatible. Whoever calls the model has to change with it:\ninput 'kind' is gone" in text


def promised(dtype: str, shape: list[int | None], **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "mode": "reject", "nulls": False} | more


def test_a_contract_says_what_was_seen_and_what_is_taken() -> None:
    yard = Described()
    column: list[int | None] = [None, 1]
    fields = {
        "km": promised("float32", column, minimum=-40, maximum=120.5, seen=[0.5, 80.25], nulls=True, null_rate=0.02),
        "kind": promised("string", column, categories={"cab": 0.1, "van": 0.9}, null_rate=0.0),
        "free": promised("int64", [None], minimum=3, mode="warn"),
        "remark": promised("string", column, null_rate=0.5, nulls=True),
        "many": promised(
            "float32", [None, 2], mode="clip", minimum=[0, -1], maximum=[1, 9], seen=[[0, -0.5], [1, 8]], null_rate=0.0
        ),
    }
    more = (
        TensorSpec("free", "int64", (None,)), TensorSpec("remark", "string", (None, 1)),
        TensorSpec("many", "float32", (None, 2)),
    )  # fmt: skip
    contract = {"format": 1, "rows": 50, "fields": fields}
    signature = Signature((*SIGNATURE.inputs, *more), SIGNATURE.outputs)
    register(yard.ana, "taxi", b"1", signature=signature, contract=contract)
    text = said(yard.card(1))
    assert "km | a number, which may be missing | 0.5 to 80.25; missing in 2 % of the rows | -40 to 120.5; " in text
    assert "kind | text | van (90 %), cab (10 %) | these only; others are refused" in text
    assert "free | a whole number | not recorded | from 3 on; others with a warning" in text
    assert "remark | text | many different texts; missing in 50 % of the rows | any" in text
    assert (
        "many | a list of 2 numbers | -0.5 to 8 | -1 to 9, each element its own range; others are moved there"
    ) in text
    assert "Of kind it saw van and cab only." in text
    assert "no data contract" not in text


def test_an_import_says_from_where() -> None:
    yard = Described()
    yard.add("taxi", lineage=Lineage(imported_from="runs:/1/model", params={"depth": "3"}))
    text = said(yard.card(1))
    assert "It was imported from runs:/1/model." in text
    assert "depth | 3" in text


def test_the_report_of_a_real_run_is_understood() -> None:
    bench = Bench(weather_plan())
    bench.run(bench.upload(weather(2012)[0]), "run-1")
    found = gather(bench.registry, bench.registry.version("tested", 1), at=AT)
    assert (found.report_problem, found.report and found.report.rows) == ("", 73)
    assert found.report is not None
    assert found.report.training.rows is not None
    assert (found.report.training.rows.training, found.report.training.candidate) == (293, "logistic_regression")
    text = said(card_of(found))
    assert "Its files hold 366 rows. It learnt from 293 of them; 73 were held back" in text
    assert "It was measured on 73 rows only" in text
    assert "2012.csv | 366 | 21 November 2026" in text


# -- Markdown -----------------------------------------------------------------------------------------------------


def test_markdown_has_the_whole_card(past: Described) -> None:
    text = to_markdown(past.card())
    assert text.startswith(
        "# taxi, version 2\n\n**Not live**\n\n- State: **Not live**; it was, until 21 November 2026\n"
    )
    assert "## How good it is\n\n**Of 100 rows it had not seen, about 83 were answered right.** (166 of" in text
    assert (
        "| Version | log loss (lower is better) |  |\n| --- | --- | --- |\n| 1 | 0.62 | live |\n| 2 | 0.5 | this card |"
        in text
    )
    assert text.endswith("*As the registry had it on 1 December 2026, 09:30 UTC.*\n")
    assert "\n\n\n" not in text


HOSTILE = "<b>x</b> [a](javascript:b) *c* `d` | e_ f\nnext"


def test_what_the_registry_holds_is_no_markup_in_markdown() -> None:
    yard = Described()
    name = "a`b|c<script>\u202e"
    signature = Signature((TensorSpec(name, "float32", (None, 1)),), SIGNATURE.outputs)
    settings: dict[str, Any] = {"note": HOSTILE, "description": f"# {HOSTILE}", "owner": "<i>o</i>"}
    register(yard.ana, "taxi", b"1", signature=signature, **settings)
    yard.ana.promote("taxi", 1, reason="1. <u>r</u>")
    text = to_markdown(yard.card(1))
    assert r"\# \<b>x\</b> \[a\](javascript:b) \*c\* \`d\` \| e\_ f next" in text
    assert "``a`b\\|c<script>\ufffd``" in text  # in code nothing is markup; in a table a bar is
    for markup in ("<i>", "\n# <", "<u>", "\u202e"):
        assert markup not in text.replace("\\<", "")


def test_notes_are_quoted_and_cannot_leave_their_quotation() -> None:
    yard = Described().with_a_past()
    yard.ana.write_notes("taxi", "# Mine\n\n```\nnever closed\n\n- and more")
    text = to_markdown(yard.card())
    assert "## Notes of the owner\n\nWritten by ana on 21 November 2026, 10:00 UTC. These are the owner's words" in text
    assert "\n> # Mine\n>\n> ```\n> never closed\n>\n> - and more\n\n## For engineers" in text
    yard.ana.write_notes("taxi", "")
    assert "None were written." in to_markdown(yard.card())


# -- words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "value", "words"),
    [
        ("accuracy", 0.826, "about 83 were answered right"),
        ("accuracy", 1.0, "all of them were answered right"),
        ("accuracy", 0.0, "none of them were answered right"),
        ("balanced_accuracy", 0.5, "about 50 of 100 of a class"),
        ("f1_macro", 0.5, "1 would be without fault"),
        ("log_loss", 0.6931, "a probability of 50 %"),
        ("log_loss", 9.0, "a probability of less than 1 %"),
        ("mae", 12.345678, "off by 12.35 on average"),
        ("rmse", 3.0, "off by 3, where large misses count for more"),
        ("r2", 0.714, "explains 71 % of how"),
        ("r2", -0.2, "worse than always answering with the average"),
        ("speed", 3.0, "what it measures is not recorded"),
    ],
)
def test_a_metric_is_explained_in_a_sentence(metric: str, value: float, words: str) -> None:
    assert words in meaning(metric, value)


def test_a_share_that_is_not_all_is_not_rounded_to_all() -> None:
    assert [of_hundred(share) for share in (0.0, 0.001, 0.5, 0.999, 1.0)] == [
        "none of them",
        "fewer than 1 of 100",
        "about 50 of 100",
        "more than 99 of 100",
        "all of them",
    ]


def test_the_likely_range_is_wilsons() -> None:
    for right, rows in ((166, 200), (10, 10), (0, 10), (1, 2), (9_999, 10_000)):
        expected = binomtest(right, rows).proportion_ci(0.95, method="wilson")
        assert likely_range(right / rows, rows) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_text_keeps_its_parts_apart_and_on_one_line() -> None:
    spans = say("a {} c {}", strong("b\n\x1b[31m"), say("{}", 4))
    assert "".join(span.text for span in spans) == "a b \ufffd[31m c 4"
    assert [span.kind for span in spans] == ["plain", "strong", "plain", "plain"]
    assert one_line("a\tb\nc\u202ed") == "a b c\ufffdd"
    with pytest.raises(ValueError, match="1 parts for 2 places"):
        say("{} {}", 1)


def test_people_and_days_are_words() -> None:
    assert person(ANA) == "ana"
    assert person("arn:aws:sts::1:assumed-role/Admin/ana@example.com") == "ana@example.com"
    assert person("arn:aws:iam::1:root") == "the root user of the account"
    assert day("2026-01-02T23:59:59.999999Z") == "2 January 2026"


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (TensorSpec("x", "float32", (None,)), "a number"),
        (TensorSpec("x", "int64", (None, 1)), "a whole number"),
        (TensorSpec("x", "bool", (None, 1)), "yes or no (true, false)"),
        (TensorSpec("x", "float32", (None, 64)), "a list of 64 numbers"),
        (TensorSpec("x", "string", (None, None)), "a list of texts, of any length"),
        (TensorSpec("x", "uint8", (None, 3, 8, None)), "3 x 8 x any whole numbers"),
    ],
)
def test_an_input_is_described_in_words(tensor: TensorSpec, words: str) -> None:
    assert kind_of(tensor) == words


def test_the_card_needs_nothing_that_a_function_lacks() -> None:
    """The control plane serves it too: msgspec and numpy are there, the command line's packages are not."""
    blocked = ("rich", "typer", "markdown_it", "pydantic", "boto3", "botocore", "onnxruntime", "sklearn", "onnx")
    program = f"""
import sys
for name in {blocked!r}:
    sys.modules[name] = None
from modelyard.card import card_of, gather, to_html, to_markdown
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
