"""``modelyard report`` as somebody types it: which page is shown, where it is written, and how mistakes end."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelyard.cli import report as command
from modelyard.registry import Registry
from modelyard.report import page, page_key
from modelyard.version import Lineage
from tests.fakes import run_documents as documents
from tests.fakes.command_line import CommandLine
from tests.fakes.registries import register

KEY = "reports/taxi/run-1-0011223344556677.json"


class Reported(CommandLine):
    """A registry with versions and runs of ``taxi`` that have reports, and a browser that only listens."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder, monkeypatch, capsys)
        self.opened: list[str] = []
        self.has_browser = True
        monkeypatch.setattr(command.webbrowser, "open", self._open)

    def _open(self, url: str) -> bool:
        self.opened.append(url)
        return self.has_browser

    @property
    def workflow(self) -> Registry:
        return self.registry("workflow")

    def store(self, document: Any, key: str = KEY) -> str:
        body = document if isinstance(document, bytes) else msgspec.json.encode(document)
        self.artifacts.put_if_absent(key, body, content_type="application/json")
        return key

    def store_page(self, html: str, key: str = KEY) -> None:
        self.artifacts.put_if_absent(page_key(key), html.encode(), content_type="text/html; charset=utf-8")

    def version(self, key: str | None = KEY, run_id: str | None = "run-1") -> None:
        lineage = Lineage(source="trained" if run_id else "brought", run_id=run_id)
        register(self.workflow, "taxi", b"model", evaluation=key, lineage=lineage)

    def run_ended(self, kind: Any, document: documents.Document | None, run_id: str = "run-9") -> None:
        self.workflow.record_run("taxi", run_id, status="running")
        details = {} if document is None else {"report": self.store(document, f"reports/taxi/{run_id}-00.json")}
        self.workflow.record_outcome("taxi", kind, run_id=run_id, reason="too bad", details=details)
        self.workflow.record_run("taxi", run_id, status=kind, reason="too bad")

    @property
    def reports(self) -> Path:
        return self.folder.parent / "home" / "reports" / "taxi"


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Reported:
    return Reported(tmp_path / "project", monkeypatch, capsys)


def test_the_stored_page_of_a_version_is_written_and_its_place_is_told(line: Reported) -> None:
    line.store(documents.regression())
    line.store_page("<!doctype html><title>the stored one</title>")
    line.version()
    shown = line.run("report", "taxi:1").done()
    written = line.reports / "version-1.html"
    assert written.read_text() == "<!doctype html><title>the stored one</title>"
    assert shown == f"the report of taxi version 1 is in {written}\n"
    assert line.opened == []  # there is no terminal


def test_a_version_without_a_stored_page_gets_one_that_knows_its_number_and_fate(line: Reported) -> None:
    line.store(documents.regression())
    line.version()
    line.workflow.record_run("taxi", "run-1", status="promoted", version=1)
    line.run("report", "taxi").done()
    html = (line.reports / "version-1.html").read_text()
    assert html == page(documents.regression(version=1, verdict="promoted"))


def test_a_version_of_a_run_that_the_registry_does_not_know_has_its_report_all_the_same(line: Reported) -> None:
    line.store(documents.before_this_release())
    line.version(run_id="elsewhere")
    line.run("report", "taxi:1").done()
    assert "Passed" in (line.reports / "version-1.html").read_text()


@pytest.mark.parametrize("kind", ["rejected", "failed"])
def test_a_run_that_made_no_version_is_shown_by_its_id(line: Reported, kind: str) -> None:
    document = documents.rejected("slices") if kind == "rejected" else documents.failed()
    line.version()
    line.run_ended(kind, document)
    line.workflow.record_outcome("taxi", "rejected", run_id="run-10", reason="later", details={"report": "other.json"})
    line.run("report", "taxi", "--run", "run-9").done()
    assert f"</span>{kind.capitalize()}</b>" in (line.reports / "run-9.html").read_text()


def test_a_run_that_failed_after_it_had_registered_is_shown_as_it_ended(line: Reported) -> None:
    line.store(documents.regression())
    line.version()
    key = line.store(documents.failed(), "reports/taxi/run-1-failed.json")
    line.workflow.record_run("taxi", "run-1", status="failed", version=1, report=key)
    line.run("report", "taxi", "--run", "run-1").done()
    shown = (line.reports / "run-1.html").read_text()
    assert "</span>Failed</b>" in shown
    assert "States.Timeout" in shown, "not the document of the version"


def test_a_run_that_made_a_version_is_shown_by_its_id_too(line: Reported) -> None:
    line.store(documents.regression())
    line.version()
    line.workflow.record_run("taxi", "run-1", status="registered", version=1)
    line.run("report", "taxi", "--run", "run-1").done()
    assert "Registered" in (line.reports / "run-1.html").read_text()


@pytest.mark.parametrize(
    ("options", "is_terminal", "is_opened"),
    [((), True, True), ((), False, False), (("--open",), False, True), (("--no-open",), True, False)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_the_browser_shows_it_where_somebody_sits(
    line: Reported, options: tuple[str, ...], is_terminal: bool, is_opened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.store(documents.regression())
    line.version()
    monkeypatch.setattr(type(command.out), "is_terminal", is_terminal)
    line.run("report", "taxi:1", "--output", "a b.html", *options).done()
    assert line.opened == ([(line.folder / "a b.html").as_uri()] if is_opened else [])


def test_without_a_browser_it_says_so(line: Reported) -> None:
    line.store(documents.regression())
    line.version()
    line.has_browser = False
    assert "no browser was found" in line.run("report", "taxi:1", "--open").done()


def test_the_document_is_printed_for_programs(line: Reported) -> None:
    document = documents.regression()
    line.store(document)
    line.version()
    assert json.loads(line.run("report", "taxi:1", "--json").done()) == document
    assert not line.reports.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("taxi:1", "--run", "run-1"), 2, ("taxi:1 is a version and --run",)),
        (("taxi:1", "--json", "--output", "a.html"), 2, ("--json prints the document",)),
        (("taxi:1", "--output", "models"), 2, ("models is a folder",)),
        (("taxi:1", "--output", "nowhere/a.html"), 2, ("nowhere is not a folder",)),
        (("taxi:9",), 2, ("9",)),
        (("nobody",), 2, ("nobody",)),
        (("../x",), 2, ("is not a version",)),
        (("taxi", "--run", "nothing"), 2, ("nothing",)),
        (("taxi", "--run", "../x\u202e"), 2, ()),
        (("taxi", "--run", "run-running"), 2, ("run-running of taxi has no report; it is not at its end",)),
        (("taxi", "--run", "run-poor"), 2, ("has no report; it is failed: too bad",)),
        (("brought",), 2, ("brought version 1 has no report: it was brought as a file",)),
        (("gone",), 2, ("is not in the artifact bucket any more (reports/gone.json)",)),
        (("broken",), 2, ("cannot be read", "(reports/broken.json)")),
        (("broken", "--json"), 2, ("cannot be read",)),
    ],
    ids=lambda value: ascii(" ".join(value)) if isinstance(value, tuple) else "",
)
def test_a_report_that_is_not_there_is_one_line(
    line: Reported, arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    line.store(documents.regression())
    line.version()
    line.workflow.record_run("taxi", "run-running", status="running")
    line.run_ended("failed", None, run_id="run-poor")
    register(line.workflow, "brought", b"b", lineage=Lineage(source="brought"))
    for name in ("gone", "broken"):
        register(line.workflow, name, name.encode(), evaluation=f"reports/{name}.json")
    line.store(b'{"model": ', "reports/broken.json")
    line.run("report", *arguments).refused(code, *words)
    assert not line.reports.exists()
    assert line.opened == []


def test_the_folder_of_an_untidy_run_id_is_the_models_own(line: Reported) -> None:
    line.run_ended("rejected", documents.multiclass(), run_id="a:b..c-1")
    line.run("report", "taxi", "--run", "a:b..c-1").done()
    assert [path.name for path in line.reports.iterdir()] == ["a-b..c-1.html"]
