"""``modelyard place`` and what ``doctor`` says of it, over a registry in memory and a CloudWatch that counted."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from modelyard import stack_names
from modelyard.aws.usage import STATISTICS, hourly_usage
from modelyard.cli.session import Session
from tests.fakes.command_line import CommandLine
from tests.fakes.sagemaker_endpoints import FakeSageMaker

NAME = "sums"
NOON = dt.datetime(2026, 11, 22, 12, 34, tzinfo=dt.UTC)
WHAT_IF = ("--requests-per-second", "20", "--ms", "52", "--memory-mb", "2600")


class Counted:
    """As much of CloudWatch as is asked: hours of a week, in two pages. The model's endpoint runs as it should."""

    def __init__(self, hours: int = 0, *, requests: float = 360_000.0, mean_ms: float = 100.0) -> None:
        self.hours, self.values = hours, (requests, requests * mean_ms, 90.0, 400.0, requests, 3.0)
        self.refuses = ""
        self.asked: list[dict[str, Any]] = []
        self._sagemaker = FakeSageMaker()
        self._sagemaker.create("endpoint", "configuration")

    def client(self, service: str) -> Any:
        return {"cloudwatch": self, "sagemaker": self._sagemaker}[service]

    def get_metric_data(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        if self.refuses:
            raise ClientError({"Error": {"Code": self.refuses, "Message": "no"}}, "GetMetricData")
        first, later = range(self.hours // 2), range(self.hours // 2, self.hours)
        page, token = (later, {}) if "NextToken" in asked else (first, {"NextToken": "2"})
        return {
            "MetricDataResults": [
                {
                    "Id": name,
                    "Timestamps": [NOON - dt.timedelta(hours=hour) for hour in page],
                    "Values": [value] * len(page),
                }
                for name, value in zip(STATISTICS, self.values, strict=True)
            ],
            **token,
        }


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], counted: Counted
) -> CommandLine:
    made = CommandLine(tmp_path / "project", monkeypatch, capsys)
    monkeypatch.setenv("MODELYARD_ENV", "dev")  # the local AWS counts nothing
    outputs = {
        "Url": "https://x",
        "RegistryTable": "t",
        "ReportFunction": "r",
        stack_names.SAGEMAKER_ENDPOINT: "endpoint",
        stack_names.SAGEMAKER_CONFIG: "configuration",
    }
    monkeypatch.setattr(Session, "outputs", lambda *_: outputs)
    monkeypatch.setattr(Session, "clients", property(lambda _: counted))
    return made


def said(text: str) -> str:
    return " ".join(text.split())


def test_what_if_shows_every_target_with_its_price_its_limits_and_the_break_even(line: CommandLine) -> None:
    told = said(line.run("place", NAME, *WHAT_IF).done())
    for shown in (
        "lambda 155.60 2.960 2,600 of 10,240 MB",
        "sagemaker-serverless",
        "sagemaker-realtime 1",
        "sagemaker-async",
        "1.347 USD saved a million = 21.0 requests a second on ml.c5.large",
        "list prices of us-east-1, November 2026",
        "the cheapest that answers at once: lambda, 155.60 USD a month",
    ):
        assert shown in told


def test_what_if_asks_no_aws(line: CommandLine, counted: Counted) -> None:
    line.run("place", NAME, *WHAT_IF).done()
    assert counted.asked == []
    line.run("place", NAME, "--ms", "5").refused(2, "no requests in 7 days")
    assert counted.asked != []


def test_the_same_as_json(line: CommandLine) -> None:
    told = json.loads(line.run("place", NAME, *WHAT_IF, "--json").done())
    assert [row["target"] for row in told["targets"]] == [
        "lambda", "sagemaker-serverless", "sagemaker-realtime", "sagemaker-async",
    ]  # fmt: skip
    assert told["break_even"]["requests_per_second"] == pytest.approx(21.03, abs=0.01)
    assert "512/1,024 GB" in told["break_even"]["arithmetic"][1]
    assert told["cheapest"] == "lambda"


def test_a_price_of_ones_own_is_taken(line: CommandLine) -> None:
    told = line.run("place", NAME, *WHAT_IF, "--instance", "ml.c6i.large", "--usd-per-hour", "0.05").done()
    assert "ml.c6i.large as you said" in said(told)
    assert "1 x ml.c6i.large at 0.05 USD an hour" in said(told)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--usd-per-hour", "0.1"), "none is named"),
        (("--instance", "ml.c9.large"), "price table has no 'ml.c9.large'"),
        (("--instance", "ml.c9", "--usd-per-hour", "1"), "no instance whose size is known"),
        (("--requests-per-second", "0"), "--requests-per-second 0"),
    ],
)
def test_what_cannot_be_computed_is_refused(line: CommandLine, arguments: tuple[str, ...], words: str) -> None:
    line.run("place", NAME, *WHAT_IF, *arguments).refused(2, words)


def test_measured_traffic_takes_the_place_of_a_supposition(line: CommandLine, counted: Counted) -> None:
    counted.hours = 168
    told = said(line.run("place", NAME).done())
    assert "sums: 100.00 requests a second, 100.0 ms on Lambda" in told


def test_the_doctor_says_what_it_does_not_know_and_is_in_order(line: CommandLine, counted: Counted) -> None:
    told = said(line.run("doctor").done())
    assert "stays on lambda" in told
    assert "not known: latency and traffic: no requests in 7 days" in told
    assert "everything is in order" in told
    counted.refuses = "AccessDenied"
    told = said(line.run("doctor").done())
    assert "not known: latency and traffic:" in told
    assert "everything is in order" in told


def test_the_local_aws_has_nothing_measured(
    line: CommandLine, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELYARD_ENV", "local")
    counted.hours = 168
    line.run("place", NAME).refused(2, "the local AWS keeps no metrics")
    assert counted.asked == []


def test_the_doctor_says_when_a_model_should_move_and_shows_the_sum(line: CommandLine, counted: Counted) -> None:
    (line.folder / "models" / NAME / "model.toml").write_text(
        f'[model]\nname = "{NAME}"\ntask = "regression"\nartifact = "model.onnx"\n'
        '[endpoint]\ntarget = "sagemaker-realtime"\n'
    )
    counted.hours = 168
    told = said(line.run("doctor").done())
    assert '! should move: endpoint.target = "lambda"' in told
    assert "60,480,000 requests in 7 days = 100.00 a second" in told
    assert "a month on sagemaker-realtime: 1,263.63 USD, with 9 x ml.m5.large all the time" in told


def test_the_version_that_is_live_counts_and_not_the_file_in_the_folder(line: CommandLine) -> None:
    file = line.folder / "models" / NAME / "model.onnx"
    small = file.read_bytes()
    with file.open("r+b") as large:
        large.truncate(500 * 1024 * 1024)
    assert "2 versions x 2 x 500.0 MB (models/sums/model.onnx)" in said(line.run("doctor").done())
    (line.folder / "small.onnx").write_bytes(small)
    line.run("register", NAME, "small.onnx", "--promote").done()
    assert "memory: it" not in said(line.run("doctor").done())


def test_whole_hours_of_the_model_are_asked_for_and_both_pages_read(counted: Counted) -> None:
    counted.hours = 4
    hours = hourly_usage(counted, NAME, until=NOON, days=7)
    assert len(hours) == 4
    assert hours[0] == dict(zip(STATISTICS, counted.values, strict=True))
    asked = counted.asked[0]
    assert (asked["StartTime"], asked["EndTime"]) == (
        dt.datetime(2026, 11, 15, 12, tzinfo=dt.UTC), dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC),
    )  # fmt: skip
    for query in asked["MetricDataQueries"]:
        metric = query["MetricStat"]["Metric"]
        assert (metric["Namespace"], metric["Dimensions"]) == ("Modelyard", [{"Name": "model", "Value": NAME}])
