"""Where a model should run, from what is known of it: stays, or moves, and why."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.errors import UsageError
from modelyard.placement import Hour, Known, Prices, Supposition, Usage, fitting, judged, known_of, supposed, usage_of
from modelyard.placement.limits import LIMITS
from modelyard.spec import Model, load_model

MB = 1024 * 1024
QUIET = Usage(
    days=7, requests=7 * 86_400, mean_ms=20, p50_ms=18, p99_ms=40, worst_p99_ms=60, busiest_per_s=2, rows=1, most_rows=4
)


def known(**more: Any) -> Known:
    return Known(**{"model": "m", "wanted_p99_ms": 1000, **more})


def used(**more: Any) -> Usage:
    return dataclasses.replace(QUIET, **more)


def test_what_is_far_from_every_limit_stays_without_a_word() -> None:
    small = known(artifact_bytes=20_000, code_bytes=150_000_000, row_bytes=200.0, usage=QUIET)
    assert fitting(small) == []
    assert judged(small).move_to is None
    assert judged(small).headline == "stays on lambda"
    assert judged(small).unknown == ()


def test_a_rule_that_knows_nothing_says_nothing_and_what_is_missing_is_named() -> None:
    judgement = judged(known(unmeasured="no requests in 7 days"))
    assert judgement.findings == ()
    said = " ".join(judgement.unknown)
    for missing in ("no requests in 7 days", "model file", "layers", "model.example"):
        assert missing in said


@pytest.mark.parametrize(
    ("more", "about", "move_to", "shown"),
    [
        ({"code_bytes": 262_144_001}, "code", "sagemaker-realtime", "262,144,001 bytes unpacked / 262,144,000 ="),
        ({"code_bytes": 240_000_000}, "code", None, "91.6%"),
        ({"artifact_bytes": 100 * MB, "memory_mb": 481}, "memory", None, "50 MB engine + 2 versions x 2 x 100.0 MB"),
        ({"artifact_bytes": 4000 * MB}, "memory", "sagemaker-realtime", "= 16,082 MB at least"),
        ({"artifact_bytes": 257 * MB, "memory_mb": 4096}, "disk", None, "tmp has 536,870,912"),
        ({"row_bytes": 5.5e6}, "body", None, "1 x 5,500,000 bytes a row"),
        ({"row_bytes": 600.0, "usage": used(most_rows=9000)}, "body", None, "10,485 rows fit into a request"),
        (
            {"row_bytes": 3.9e6, "target": "sagemaker-serverless"},
            "body",
            "sagemaker-realtime",
            "of 4,194,304",
        ),
        ({"usage": used(worst_p99_ms=9000)}, "time", None, "9.0 s of endpoint.timeout_s = 10"),
        ({"usage": used(worst_p99_ms=28_000), "timeout_s": 29}, "time", "sagemaker-async", "async has an hour"),
        (
            {"usage": used(worst_p99_ms=28_000), "timeout_s": 29, "target": "sagemaker-realtime"},
            "time",
            "sagemaker-async",
            "28.0 s",
        ),
        ({"usage": used(p99_ms=1200), "engine_ms": 7.5}, "latency", None, "1.00 vCPU; Lambda has at most 10,240 MB"),
        ({"usage": used(p99_ms=1200), "memory_mb": 10_240}, "latency", "sagemaker-realtime", "5.79 vCPU"),
        ({"usage": used(busiest_per_s=45.0), "concurrency": 1}, "concurrency", None, "0.9 at a time of 1 (endpoint"),
    ],
)  # fmt: skip
def test_a_limit_that_is_near_is_found_with_its_arithmetic(
    more: dict[str, Any], about: str, move_to: str | None, shown: str
) -> None:
    found = {finding.about: finding for finding in fitting(known(**more))}
    assert about in found, found
    assert found[about].move_to == move_to
    assert shown in " | ".join(found[about].lines)


@pytest.mark.parametrize(
    "more",
    [
        {"code_bytes": 235_000_000},
        {"artifact_bytes": 100 * MB, "memory_mb": 482},
        {"artifact_bytes": 256 * MB, "memory_mb": 4096},
        {"row_bytes": 5.0e6},
        {"usage": used(worst_p99_ms=7900)},
        {"usage": used(p99_ms=1000)},
        {"usage": used(busiest_per_s=39.0), "concurrency": 1},
        {"usage": used(worst_p99_ms=3_000_000), "target": "sagemaker-async", "timeout_s": 3600, "wanted_p99_ms": None},
        {"code_bytes": 300_000_000, "target": "sagemaker-realtime"},
    ],
)
def test_just_below_a_limit_nothing_is_said(more: dict[str, Any]) -> None:
    assert fitting(known(**more)) == []


def test_no_target_lets_more_through_the_url_than_its_way_in() -> None:
    rows = supposed(known(), Supposition(requests_per_s=1, ms=20)).rows
    assert [row.target for row in rows] == list(LIMITS)
    assert ["4,194,304" in row.binds for row in rows] == [False, True, False, False]
    assert ["6,291,456" in row.binds for row in rows] == [True, False, True, True]


def test_what_no_caller_waits_for_is_left_to_async() -> None:
    rows = supposed(known(), Supposition(requests_per_s=1, ms=40_000)).rows
    assert [row.target for row in rows if row.usd is not None] == ["sagemaker-async"]
    assert supposed(known(), Supposition(requests_per_s=1, ms=40_000)).cheapest is None


BUSY = used(requests=100 * 7 * 86_400, busiest_per_s=100, mean_ms=100, worst_p99_ms=200)


def test_traffic_that_an_instance_carries_for_less_moves_there() -> None:
    # A function with more memory than its engine has threads for pays for processors that it does not use.
    cheap = Prices().with_hourly("ml.c5.large", 0.06)
    judgement = judged(known(memory_mb=2600, architecture="x86_64", usage=BUSY), cheap)
    assert judgement.move_to == "sagemaker-realtime"
    (cost,) = judgement.findings
    assert any("60,480,000 requests in 7 days = 100.00 a second" in line for line in cost.lines)
    assert any("with 9 x ml.c5.large all the time" in line for line in cost.lines)
    assert any("November 2026" in line for line in cost.lines)


def test_a_saving_of_less_than_a_tenth_is_shown_and_moves_nothing() -> None:
    judgement = judged(known(memory_mb=2300, architecture="x86_64", usage=BUSY))
    (cost,) = judgement.findings
    assert judgement.move_to is None
    assert not cost.warns
    assert "an instance is cheaper from" in cost.says


def test_an_instance_that_does_little_goes_back_to_lambda() -> None:
    judgement = judged(known(target="sagemaker-realtime", instance="ml.m5.large", usage=QUIET))
    assert judgement.move_to == "lambda"
    (cost,) = judgement.findings
    assert "on sagemaker-realtime and would cost" in cost.says
    assert any("ml.m5.large" in line for line in cost.lines)
    assert judgement.headline == 'should move: endpoint.target = "lambda"'


def test_a_model_on_a_gpu_is_not_compared_with_a_function() -> None:
    assert judged(known(target="sagemaker-realtime", instance="ml.g5.xlarge", gpu=True, usage=QUIET)).findings == ()


def test_a_limit_weighs_more_than_money() -> None:
    slow = used(worst_p99_ms=28_500)
    judgement = judged(known(target="sagemaker-realtime", instance="ml.m5.large", timeout_s=29, usage=slow))
    assert [finding.about for finding in judgement.findings] == ["time", "cost"]
    assert judgement.move_to == "sagemaker-async"


def test_hours_come_to_a_period_by_their_requests() -> None:
    hours = [
        Hour(requests=3600, latency_sum_ms=36_000, p50_ms=9, p99_ms=30, rows=7200, most_rows=10),
        Hour(requests=7200, latency_sum_ms=144_000, p50_ms=19, p99_ms=50, rows=7200, most_rows=3),
        Hour(requests=5, latency_sum_ms=5000, p50_ms=1000, p99_ms=9000, rows=5, most_rows=1),
    ]
    usage = usage_of(hours, days=1)
    assert usage is not None
    assert usage.requests == 10_805
    assert usage.mean_ms == pytest.approx(185_000 / 10_805)
    assert (usage.p50_ms, usage.p99_ms) == (19, 50)
    assert usage.worst_p99_ms == 50, "five requests have no 99th percentile"
    assert usage.busiest_per_s == 2
    assert usage.most_rows == 10
    assert usage.per_s == pytest.approx(10_805 / 86_400)
    assert usage_of(hours[2:], days=1).worst_p99_ms == 9000  # type: ignore[union-attr]
    assert usage_of([], days=1) is None


def test_nothing_measured_and_nothing_supposed_is_refused() -> None:
    for what, missing in ((Supposition(requests_per_s=1), "--ms"), (Supposition(ms=3), "--requests-per-second")):
        with pytest.raises(UsageError) as refused:
            supposed(known(unmeasured="no requests in 7 days"), what)
        assert "no requests in 7 days" in refused.value.message
        assert missing in str(refused.value.next_step)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    folder = tmp_path / "models" / "sums"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"x" * 1234)
    (folder / "example.json").write_text(json.dumps({"instances": [{"a": 1}, {"a": 100}]}, indent=4))
    (folder / "model.toml").write_text(
        '[model]\nname = "sums"\ntask = "regression"\nartifact = "model.onnx"\nexample = "example.json"\n'
    )
    return load_model(folder)


def test_a_folder_and_its_layers_say_what_they_weigh(model: Model) -> None:
    found = known_of(model, built=lambda name: SimpleNamespace(name=name, unzipped_bytes=10))  # type: ignore[arg-type,return-value]
    assert (found.artifact_bytes, found.artifact) == (1234, "models/sums/model.onnx")
    assert found.code_parts == ("core", "lean", "function-predict")
    assert found.code_bytes == 30
    assert found.row_bytes == 9, '{"a":1} and {"a":100}, a comma each'
    assert known_of(model).code_bytes is None


def test_the_busiest_hour_decides_how_many_instances_are_paid_all_the_time() -> None:
    usage = used(requests=10 * 7 * 86_400, busiest_per_s=100, mean_ms=100)
    (cost,) = judged(known(usage=usage)).findings
    months = [line for line in cost.lines if line.startswith("a month on sagemaker-realtime")]
    # 10 a second of 730 hours at 0.933 + 1 USD a million, and 9 x 0.102 USD an hour
    assert months == ["a month on sagemaker-realtime: 720.95 USD, with 9 x ml.c5.large all the time"]
