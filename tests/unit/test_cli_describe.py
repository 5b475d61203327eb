"""diff, card and export as somebody types them: what is shown, what is written, and how mistakes end."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.admission import admit
from modelyard.cli import describe, main, session
from modelyard.cli.arguments import Reference, find_version, parse_reference, parse_two
from modelyard.cli.bring import register_artifact
from modelyard.errors import NotFoundError, UsageError
from modelyard.spec import load_model
from modelyard.version import Lineage, OutputSpec, Signature, TensorSpec
from tests.fakes.described import SIGNATURE, Described
from tests.fakes.onnx_models import row_sum
from tests.fakes.registries import register

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def yard() -> Described:
    return Described().with_a_past()


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, yard: Described) -> Iterator[Path]:
    """A project with the two models of this one, whose registry is the yard's."""
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    shutil.copy(PROJECT / "environments.toml", project)
    shutil.copytree(PROJECT / "models" / "digits", project / "models" / "digits")
    monkeypatch.chdir(project)
    monkeypatch.delenv("MODELYARD_ENV", raising=False)
    monkeypatch.setattr(session.Session, "registry", yard.ana)
    monkeypatch.setattr(describe.out, "width", 80)
    return project


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main.main(list(arguments))
    code = ended.value.code
    return code if isinstance(code, int) else 0 if code is None else 1


def plain(text: str) -> str:
    return " ".join(text.split())


# -- what is typed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["m", "1", "2"], (Reference("m", 1), Reference("m", 2))),
        (["m:1", "m:2"], (Reference("m", 1), Reference("m", 2))),
        (["m:1", "2"], (Reference("m", 1), Reference("m", 2))),
        (["m:1", "other:2"], (Reference("m", 1), Reference("other", 2))),
        (["m", "1", "other:2"], (Reference("m", 1), Reference("other", 2))),
        (["m", "3"], (Reference("m", None), Reference("m", 3))),
        (["m", "other"], (Reference("m", None), Reference("other", None))),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_two_versions_can_be_named_in_the_shortest_way_that_is_clear(
    words: list[str], expected: tuple[Reference, Reference]
) -> None:
    assert parse_two(words) == expected


@pytest.mark.parametrize(
    "words",
    [[], ["m"], ["m:1"], ["m:1", "2", "3"], ["m", "1", "2", "3"], ["1", "2"], ["m", "0", "1"], ["m", "1", "x:"]],
    ids=" ".join,
)
def test_what_does_not_name_two_versions_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        parse_two(words)
    assert refused.value.code == "invalid_reference"
    assert refused.value.next_step


@pytest.mark.parametrize(
    "text",
    ["", ":", "m:", ":1", "m:0", "m:01", "m:-1", "m:1.0", "m:latest", "m:1:2", "M", "../x", "a/b", "m:²", "m:٣",
     "m\x00", "x" * 300, "m:" + "9" * 9, "m: 1", "m\u202e:1"],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_version_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(UsageError, match=r"NAME or NAME:VERSION|is a whole number from 1 to 99999999") as refused:
        parse_reference(text)
    assert refused.value.code == "invalid_reference"
    assert refused.value.message.isascii()


def test_a_model_alone_is_its_champion_or_its_newest_version(yard: Described) -> None:
    assert find_version(yard.ana, Reference("taxi")).number == 1
    yard.add("other", b"1")
    yard.add("other", b"22")
    assert find_version(yard.ana, Reference("other")).number == 2
    for missing in (Reference("nobody"), Reference("taxi", 9), Reference("nobody", 1)):
        with pytest.raises(NotFoundError):
            find_version(yard.ana, missing)


# -- diff ---------------------------------------------------------------------------------------------------------


def test_diff_shows_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("diff", "taxi", "1", "2") == 0
    shown = capsys.readouterr().out
    for line in (
        "taxi version 1 (live) version 2",
        "by retraining retraining",
        "Metrics on the same 200 rows accuracy 0.8 0.83 (+0.03 better) log_loss 0.6 0.5 (-0.1 better)",
        "Metrics, registered each on rows of its own accuracy 0.79 0.83 log_loss 0.62 0.5 Signature",
        "Signature no difference",
        "Contract neither has one",
        "parent version none 1",
    ):
        assert line in plain(shown)
    assert "breaks callers" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_diff_compares_on_the_same_rows_in_either_order_and_only_where_it_can(
    yard: Described, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("diff", "taxi", "2", "1") == 0
    assert "on the same 200 rows accuracy 0.83 0.8 (-0.03 worse)" in plain(capsys.readouterr().out)
    yard.train(b"333", lineage=Lineage(source="trained", parent_version=1))
    assert run("diff", "taxi", "2", "3") == 0
    shown = plain(capsys.readouterr().out)
    assert "on the same" not in shown
    assert "Metrics each on rows of its own accuracy 0.83 0.83 " in shown
    assert run("diff", "taxi", "2", "3", "--json") == 0
    assert json.loads(capsys.readouterr().out)["together"] is None


def test_diff_names_what_breaks_callers_and_ends_well(
    yard: Described, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(describe.out, "width", 120)
    outputs = (OutputSpec("label", "string", (None,)), OutputSpec("probabilities", "float32", (None, 2), ("a", "free")))
    inputs = (SIGNATURE.inputs[0], TensorSpec("type", "string", (None, 1)))
    km = {"dtype": "float32", "shape": [None, 1], "mode": "warn", "nulls": True, "minimum": 1, "maximum": 80.5}
    kind = {"dtype": "string", "shape": [None, 1], "mode": "warn", "nulls": False, "categories": {"a": 0.25, "b": 0.75}}
    contract = {"format": 1, "rows": 40, "fields": {"km": km, "type": kind}}
    settings: dict[str, Any] = {"signature": Signature(inputs, outputs), "accept_breaking": "they know"}
    register(yard.ana, "taxi", b"333", contract=contract, task="multiclass", **settings)
    assert run("diff", "taxi:1", "taxi:3") == 0
    shown = plain(capsys.readouterr().out)
    assert "breaks callers: input 'kind' is gone; 'type' stands in its place" in shown
    assert "breaks callers: classes 'cheap', 'dear' of output 'probabilities' gone" in shown
    assert "output probabilities: classes 3, gone: cheap, dear 2, new: a" in shown
    assert "contract none 2 inputs, from 40 rows" in shown
    assert "log_loss 0.62 not recorded" in shown
    assert "source trained brought" in shown
    km |= {"maximum": 60, "seen": [2, 50]}
    other = kind | {"categories": {"c": 0.1, "a": 0.9}, "mode": "reject"}
    contract |= {"fields": {"km": km, "type": other}}
    register(yard.ana, "taxi", b"4444", contract=contract, task="multiclass", **settings)
    assert run("diff", "taxi:3", "taxi:4") == 0
    shown = plain(capsys.readouterr().out)
    assert "breaks callers: category 'b' of input 'type' gone" in shown
    assert "field km: maximum 80.5 60" in shown
    assert "field km: seen none 2 to 50" in shown
    assert "field type: categories b 75 %, a 25 % a 90 %, c 10 %" in shown


def test_diff_of_two_models_says_which_is_which(yard: Described, capsys: pytest.CaptureFixture[str]) -> None:
    yard.add("other")
    assert run("diff", "taxi", "other") == 0
    assert "taxi, version 1 (live) other, version 1 " in plain(capsys.readouterr().out)


def test_diff_keeps_hostile_text_on_its_line_and_as_text(yard: Described, capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[31mx\u202e[bold]"
    signature = Signature((TensorSpec(name, "float32", (None, 1)),), SIGNATURE.outputs)
    settings: dict[str, Any] = {"signature": signature, "metrics": {name: 1.0}, "accept_breaking": "they know"}
    register(yard.ana, "taxi", b"333", note="[red]n[/]\nsecond", **settings)
    assert run("diff", "taxi", "1", "3") == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[red]n[/] second" in plain(shown)
    assert "x\ufffd[bold]" in shown


def test_diff_as_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("diff", "taxi", "1", "2", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["a"]["version"], document["b"]["version"], document["breaking"]) == (1, 2, [])
    assert document["together"]["rows"] == 200
    assert document["metrics"][0] == {
        "name": "accuracy", "a": 0.79, "b": 0.83, "difference": pytest.approx(0.04), "better": True,
    }  # fmt: skip
    assert {found["what"] for found in document["lineage"]} == {
        "file taxi/2012.csv",
        "file taxi/2013.csv",
        "parent_version",
    }


def test_a_long_difference_is_cut_for_people_only(yard: Described, capsys: pytest.CaptureFixture[str]) -> None:
    lineage = Lineage(source="trained", objects=tuple(yard.accept(b"%d" % n, f"{n}.csv") for n in range(60)))
    register(yard.ana, "taxi", b"333", lineage=lineage, signature=SIGNATURE)
    assert run("diff", "taxi", "1", "3") == 0
    assert "and 22 more" in capsys.readouterr().out
    assert run("diff", "taxi", "1", "3", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["lineage"]) == 62


@pytest.mark.parametrize("width", [40, 80, 200])
def test_diff_fits_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(describe.out, "width", width)
    assert run("diff", "taxi", "1", "2") == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= width


# -- card ---------------------------------------------------------------------------------------------------------


def test_card_prints_markdown_of_the_champion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("card", "taxi") == 0
    assert capsys.readouterr().out.startswith("# taxi, version 1\n\n**Live**\n")


def test_card_prints_html(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("card", "taxi:2", "--html") == 0
    assert capsys.readouterr().out.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("name", "options", "start"),
    [("card.md", (), "# taxi"), ("card.html", (), "<!doctype"), ("card.txt", ("--html",), "<!doctype")],
)
def test_card_writes_a_file_whole(
    name: str,
    options: tuple[str, ...],
    start: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (here / name).write_text("an earlier one")
    real = Path.write_text

    def write(path: Path, *args: Any, **settings: Any) -> int:
        assert path.name != name, "in pieces"
        return real(path, *args, **settings)

    monkeypatch.setattr(Path, "write_text", write)
    assert run("card", "taxi", "--output", name, *options) == 0
    shown = capsys.readouterr()
    assert (shown.out, plain(shown.err)) == ("", f"the card of taxi version 1 is in {name}")
    assert (here / name).read_text().startswith(start)
    assert not [path for path in here.iterdir() if path.name.startswith(".")]


def test_a_card_that_cannot_be_written_leaves_the_earlier_one(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "card.md").write_text("an earlier one")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert run("card", "taxi", "--output", "card.md") == 1
    assert "No space left on device" in capsys.readouterr().err
    assert (here / "card.md").read_text() == "an earlier one"
    assert sorted(path.name for path in here.iterdir()) == ["card.md", "environments.toml", "models"]


@pytest.mark.parametrize("output", ["models", "nowhere/card.md"])
def test_a_card_goes_only_where_a_file_can_be(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("card", "taxi", "--output", output) == 2
    assert "is a folder" in capsys.readouterr().err.replace("not a folder", "is a folder")


# -- export -------------------------------------------------------------------------------------------------------


def with_digits(yard: Described, here: Path) -> None:
    class Session:
        registry = yard.ana
        project = here

    register_artifact(Session, load_model(here / "models" / "digits"))  # type: ignore[arg-type]


def test_export_writes_a_folder_with_the_models_own_code(
    yard: Described, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_digits(yard, here)
    assert run("export", "digits") == 0
    assert capsys.readouterr().out.splitlines() == [
        "digits version 1: 16 files in digits-1",
        "  next: python digits-1/predict.py",
    ]
    folder = here / "digits-1"
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert (folder / "python" / "digits_model" / "__init__.py").is_file()
    assert (folder / "example.json").read_bytes() == (here / "models" / "digits" / "example.json").read_bytes()


@pytest.mark.parametrize("change", ["changed", "gone", "no code"])
def test_code_that_is_not_the_versions_stays_out_and_is_said_to(
    change: str, yard: Described, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_digits(yard, here)
    folder = here / "models" / "digits"
    match change:
        case "changed":
            (folder / "python" / "digits_model" / "__init__.py").write_text("def postprocess(outputs): return []")
            said = "because that of this project is another (digest "
        case "gone":
            shutil.rmtree(folder)
            said = "because this project has none"
        case "no code":
            text = (folder / "model.toml").read_text()
            (folder / "model.toml").write_text("\n".join(line for line in text.splitlines() if "code = " not in line))
            said = "because this project has none"
    assert run("export", "digits", "out") == 0
    shown = plain(capsys.readouterr().out)
    readme = plain((here / "out" / "README.md").read_text())
    for text in (shown, readme):
        assert said in text
        assert "predict.py asks the bare model" in text
    assert not (here / "out" / "python").exists()
    assert not (here / "out" / "example.json").exists()  # it is for the code
    assert ("example.json of this project is left out" in shown) == (change != "gone")


def test_export_as_json_says_what_was_written(yard: Described, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register(yard.ana, "sums", row_sum(), signature=admit(row_sum()), task="regression")
    assert run("export", "sums:1", "out", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["model"], document["version"], document["folder"]) == ("sums", 1, str(here / "out"))
    assert sorted(document["files"]) == sorted(path.name for path in (here / "out").iterdir())
    assert document["remarks"] == []


def test_export_checks_the_bytes_before_it_writes(
    yard: Described, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = yard.ana.version("taxi", 1)
    yard.artifacts.objects[version.manifest.key] = b"2"
    assert run("export", "taxi:1", "out") == 5
    assert "1 of them); version 1 of model 'taxi' has 1 bytes with SHA-256" in plain(capsys.readouterr().err)
    del yard.artifacts.objects[version.manifest.key]
    assert run("export", "taxi:1", "out") == 5
    assert "is missing" in capsys.readouterr().err
    assert sorted(path.name for path in here.iterdir()) == ["environments.toml", "models"]


def test_export_looks_at_the_folder_before_it_asks_aws(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session.Session, "registry", None)
    assert run("export", "taxi", "models") == 4
    assert "was not written by an export: it holds digits" in plain(capsys.readouterr().err)
    assert run("export", "taxi", "nowhere/out") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("diff", "taxi"), "two versions are compared; named: 1"),
        (("diff", "taxi", "1", "9"), "model 'taxi' has no version 9; it has 1 to 2"),
        (("card", "taxi:x"), "'x' is not a version number"),
        (("card", "nobody"), "model 'nobody' is not in the registry"),
        (("export", "taxi:9"), "has no version 9"),
        (("export", "../x"), "'../x' is not a model name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_ends_with_2_and_a_next_step(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    shown = plain(capsys.readouterr().err)
    assert said in shown
    assert "next: " in shown
