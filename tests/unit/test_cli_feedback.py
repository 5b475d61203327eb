"""The command ``feedback``: a file is read whole before the first call, and the endpoint gets what it says."""

import contextlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from modelyard import stack_names
from modelyard.aws import signed
from modelyard.cli import feedback
from modelyard.cli.session import Session
from modelyard.errors import NotFoundError
from tests.fakes import onnx_models
from tests.fakes.command_line import CommandLine
from tests.fakes.endpoint import EndpointStand

IDS = [f"{number:032x}" for number in range(6)]


class Line(CommandLine):
    """A project whose models ``sums`` (numbers) and ``weather`` (classes) have endpoints that take labels.

    Attributes:
        calls: How many labels each call had.
        refusals: Answered in the place of the endpoint, from the last to the first.
        waited: Seconds, between two attempts.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder, monkeypatch, capsys)
        spec = self.add_model("weather", onnx_models.classifier()) / "model.toml"
        spec.write_text(spec.read_text().replace("regression", "multiclass"))
        self.stands = {
            "sums": EndpointStand(onnx_models.row_sum(), name="sums"),
            "weather": EndpointStand(onnx_models.classifier()),
        }
        self.calls: list[int] = []
        self.refusals: list[SimpleNamespace] = []
        self.waited: list[float] = []
        monkeypatch.setattr(Session, "clients", property(lambda _: None))
        monkeypatch.setattr(Session, "outputs", lambda *_: {stack_names.API_URL: "http://127.0.0.1/api"})
        monkeypatch.setattr(signed, "call", self._call)
        monkeypatch.setattr(feedback.time, "sleep", self.waited.append)

    def _call(self, _: Any, method: str, url: str, body: Any) -> SimpleNamespace:
        assert (method, urlsplit(url).path.partition("/models/")[0]) == ("POST", "/api")
        self.calls.append(len(body["labels"]))
        if self.refusals:
            return self.refusals.pop()
        path = urlsplit(url).path.removeprefix("/api")
        with contextlib.redirect_stdout(io.StringIO()):  # the audit line
            answer = self.stands[path.split("/")[2]].post(path, body)
        return SimpleNamespace(status=answer.status, headers=answer.headers, body=answer.json)

    def stored(self, name: str) -> list[tuple[str, int, Any]]:
        objects = self.stands[name].objects._objects
        lines = [json.loads(line) for key in objects if key.startswith("feedback/") for line in objects[key].split()]
        return [(line["prediction_id"], line["row"], line["label"]) for line in lines]


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Line:
    return Line(tmp_path / "project", monkeypatch, capsys)


def csv(line: Line, *rows: str, header: str = "prediction_id,label", name: str = "labels.csv") -> str:
    (line.folder / name).write_text("\n".join((header, *rows)) + "\n")
    return name


def busy(status: int = 503, **headers: str) -> SimpleNamespace:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SimpleNamespace(status=status, headers=named, body={"code": "feedback_not_stored", "detail": "not stored"})


# -- sent -------------------------------------------------------------------------------------------------------------


def test_a_csv_file_is_sent_with_its_rows_and_numbers_where_the_model_answers_numbers(line: Line) -> None:
    file = csv(line, f"1.5,{IDS[0]},2", f"-3,{IDS[1]},0", header="label,prediction_id,row")
    said = line.run("feedback", "sums", file)
    assert said.done() == "sums: 2 labels accepted\n"
    assert line.stored("sums") == [(IDS[0], 2, 1.5), (IDS[1], 0, -3)]


def test_a_class_is_the_text_that_stands_there(line: Line) -> None:
    line.run("feedback", "weather", csv(line, f'{IDS[0]},"rain"', f"{IDS[1]},1.0")).done()
    assert line.stored("weather") == [(IDS[0], 0, "rain"), (IDS[1], 0, "1.0")]


def test_json_lines_keep_their_types(line: Line) -> None:
    entries = [{"prediction_id": IDS[0], "label": "sun"}, {"prediction_id": IDS[1], "label": "snow", "row": 3}]
    text = "\r\n\r\n".join(map(json.dumps, entries))
    (line.folder / "labels.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    line.run("feedback", "weather", "labels.jsonl").done()
    assert line.stored("weather") == [(IDS[0], 0, "sun"), (IDS[1], 3, "snow")]


def test_one_label_needs_no_file(line: Line) -> None:
    said = line.run("feedback", "sums", "--id", IDS[0], "--label", "2.5", "--row", "4").done()
    assert said == "sums: 1 label accepted\n"
    assert line.stored("sums") == [(IDS[0], 4, 2.5)]


def test_many_labels_go_in_batches_and_programs_get_json(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "BATCH", 2)
    file = csv(line, *(f"{name},{'fog' if name == IDS[3] else 'rain'}" for name in IDS[:5]))
    answer = json.loads(line.run("feedback", "weather", file, "--json").done())
    assert line.calls == [2, 2, 1]
    assert (answer["model"], answer["accepted"]) == ("weather", 5)
    (warning,) = answer["warnings"]
    assert (warning["place"], warning["code"]) == ("labels.csv line 5", "unknown_class")
    shown = line.run("feedback", "weather", file)
    assert "warning: labels.csv line 5: 'label' is 'fog'; the classes" in shown.err


def test_the_longest_labels_of_a_batch_fit_into_a_request(line: Line) -> None:
    rows = [f"{number:032x},{'é' * 256}" for number in range(feedback.BATCH)]
    line.run("feedback", "weather", csv(line, *rows)).done()
    assert line.calls == [feedback.BATCH]


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "header", "said"),
    [
        ([f"{IDS[0]},1", "abc,2"], "prediction_id,label", "labels.csv line 3: 'prediction_id' is 'abc'"),
        ([f"{IDS[0]},"], "prediction_id,label", "line 2: 'label' is empty"),
        ([f"{IDS[0]},1,x"], "prediction_id,label,row", "line 2: 'row' is a string"),
        ([f"{IDS[0]},1,-1"], "prediction_id,label,row", "line 2: 'row' is -1"),
        ([f"{IDS[0]},1,0"], "prediction_id,label,rows", "column 'rows' is no part of a label"),
        ([f"{IDS[0]}"], "prediction_id", "column 'label' is missing"),
        ([f"{IDS[0]};1"], "prediction_id;label", "separated by semicolons"),
        ([f"{IDS[0]},1,2"], "prediction_id,label", "line 2 has 3"),
        ([f"{IDS[0]},1", "", f"{IDS[0]},2"], "prediction_id,label", "line 4: the same row of the same prediction as"),
        ([], "prediction_id,label", "has a header and no rows"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_said_by_line_before_anything_is_sent(
    line: Line, rows: list[str], header: str, said: str
) -> None:
    ended = line.run("feedback", "sums", csv(line, *rows, header=header))
    assert ended.refused(2, "no label was sent")
    assert said in ended.err
    assert line.calls == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"prediction_id": 1}\n', "labels.jsonl line 1: 'label' is missing"),
        (b"\n\n[1]\n", "line 3: a label is an object"),
        (b'{"label": NaN}', "line 1: it is not JSON"),
        (b"\xff\xfe", "line 1: it is not JSON"),
        (b"[" * 20_000, "line 1: it is not JSON"),
        (b'{"prediction_id": "a", "prediction_id": "b", "label": 1}', "appears twice"),
        (b"\n \n", "has no labels"),
        (b"", "has no labels"),
    ],
)
def test_what_is_wrong_with_json_lines_is_said_by_line(line: Line, content: bytes, said: str) -> None:
    (line.folder / "labels.jsonl").write_bytes(content)
    ended = line.run("feedback", "sums", "labels.jsonl")
    ended.refused(2, "no label was sent")
    assert said in ended.err
    assert line.calls == []


def test_of_many_findings_the_first_are_told_and_the_others_counted(line: Line) -> None:
    ended = line.run("feedback", "sums", csv(line, *(f"x{number},1" for number in range(25))))
    ended.refused(2)
    assert ended.err.count("labels.csv line") == 10
    assert "and 15 more" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give either a FILE, or --id and --label"),
        (("labels.csv", "--id", IDS[0], "--label", "1"), "give either a FILE, or --id and --label"),
        (("labels.csv", "--label", "1"), "give either a FILE, or --id and --label"),
        (("--id", IDS[0]), "give either a FILE, or --id and --label"),
        (("none.csv",), "none.csv is not a file"),
        (("models",), "models is not a file"),
        (("labels.xlsx",), "labels.xlsx is neither a .csv nor a .jsonl file"),
        (("--id", "abc", "--label", "1"), "'prediction_id' is 'abc'"),
        (("--id", IDS[0], "--label", "\udcff"), "not valid Unicode"),
    ],
)
def test_what_is_no_feedback_is_refused_before_anything_is_sent(
    line: Line, arguments: tuple[str, ...], said: str
) -> None:
    csv(line, f"{IDS[0]},1")
    (line.folder / "labels.xlsx").write_bytes(b"PK")
    line.run("feedback", "sums", *arguments).refused(2, said)
    assert line.calls == []


def test_what_the_endpoint_refuses_has_its_place_in_the_file(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "BATCH", 2)
    ended = line.run("feedback", "sums", csv(line, *(f"{name},{number}" for number, name in enumerate(IDS[:3])),
                                            f"{IDS[3]},rain"))  # fmt: skip
    ended.refused(2, "answers a number", "(labels.csv line 5)", "2 of 4 labels were accepted before")
    assert "counts once" in ended.next_steps[0]
    assert len(line.stored("sums")) == 2


# -- an endpoint that is busy -----------------------------------------------------------------------------------------


def test_a_busy_endpoint_is_asked_again_after_as_long_as_it_says(line: Line) -> None:
    line.refusals = [busy(429), busy(retry_after="7")]
    line.run("feedback", "sums", csv(line, f"{IDS[0]},1")).done()
    assert (line.waited, len(line.calls)) == ([7.0, feedback.PAUSE_S], 3)
    assert len(line.stored("sums")) == 1


def test_an_endpoint_that_stays_busy_is_given_up(line: Line) -> None:
    line.refusals = [busy() for _ in range(9)]
    line.run("feedback", "sums", csv(line, f"{IDS[0]},1")).refused(1, "503: not stored")
    assert len(line.calls) == feedback.ATTEMPTS


def test_the_address_is_that_of_the_models_api(monkeypatch: pytest.MonkeyPatch, line: Line) -> None:
    urls = {stack_names.API_URL: "http://127.0.0.1/one", f"{stack_names.API_URL}2": "http://127.0.0.1/two"}
    monkeypatch.setattr(Session, "outputs", lambda *_: urls)
    spec = line.folder / "models" / "weather" / "model.toml"
    spec.write_text(spec.read_text() + "\n[endpoint]\napi = 2\n")
    session = Session("local", start=line.folder)
    here = session.local_aws.endpoint
    assert session.feedback_url("sums") == f"{here}/one/models/sums/feedback"
    assert session.feedback_url("weather") == f"{here}/two/models/weather/feedback"
    assert session.predict_url("weather") == f"{here}/two/models/weather/predict"


def test_after_another_port_the_address_has_the_new_one_though_the_stack_still_has_the_old(
    monkeypatch: pytest.MonkeyPatch, line: Line
) -> None:
    monkeypatch.setattr(Session, "outputs", lambda *_: {stack_names.API_URL: "http://127.0.0.1:4599/api/live"})
    session = Session("local", start=line.folder, environ={"MODELYARD_LOCAL_PORT": "4611"})
    assert session.predict_url("sums") == "http://127.0.0.1:4611/api/live/models/sums/predict"


def test_in_the_cloud_the_address_is_what_the_stack_says(monkeypatch: pytest.MonkeyPatch, line: Line) -> None:
    monkeypatch.setattr(Session, "outputs", lambda *_: {stack_names.API_URL: "https://id.execute-api.amazonaws.com"})
    (line.folder / "environments.toml").write_text('[dev]\naccount = "111122223333"\nregion = "eu-west-1"\n')
    session = Session("dev", start=line.folder)
    assert session.predict_url("sums") == "https://id.execute-api.amazonaws.com/models/sums/predict"


def test_a_model_without_a_folder_is_named_before_its_stack_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, line: Line
) -> None:
    monkeypatch.setattr(Session, "outputs", lambda *_: pytest.fail("no deployment brings a model without a folder"))
    with pytest.raises(NotFoundError, match="'sumz' has no models/sumz/model"):
        Session("local", start=line.folder).predict_url("sumz")
