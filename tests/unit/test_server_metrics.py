"""What ``GET /metrics`` shows: counts of all workers, added up, in a form that Prometheus reads."""

import re
from pathlib import Path

import pytest

from modelyard.server import metrics as module
from modelyard.server.metrics import BUCKETS_S, Metrics


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Metrics]:
    made = []
    for pid in (11, 12):
        monkeypatch.setattr(module.os, "getpid", lambda pid=pid: pid)
        made.append(Metrics(tmp_path))
    return made


def samples(text: str) -> dict[str, float]:
    """Every sample; a line that is none, or two of one name, fail."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP|TYPE) modelyard_\w+ .+", line), line
            continue
        match = re.fullmatch(r'(modelyard_\w+\{\w+="[^"]*"(?:,\w+="[^"]*")*\}) (\S+)', line)
        assert match, line
        assert match[1] not in found
        found[match[1]] = float(match[2])
    return found


def test_each_worker_tells_the_sums_of_all(workers: list[Metrics]) -> None:
    one, two = workers
    one.saw("wine", 200, 0.002, 3)
    one.saw("wine", 422, 0.001, 0)
    two.saw("wine", 200, 0.004, 1)
    two.saw("sums", 200, 0.004, 2)
    two.write()
    found = samples(one.text())
    assert found['modelyard_requests_total{model="wine",status="200"}'] == 2
    assert found['modelyard_requests_total{model="wine",status="422"}'] == 1
    assert found['modelyard_requests_total{model="sums",status="200"}'] == 1
    assert found['modelyard_instances_total{model="wine"}'] == 4
    assert found['modelyard_request_duration_seconds_sum{model="wine"}'] == pytest.approx(0.007)
    assert found['modelyard_request_duration_seconds_count{model="wine"}'] == 3
    assert samples(two.text()) == found


def test_a_worker_that_is_gone_leaves_its_counts(workers: list[Metrics], tmp_path: Path) -> None:
    one, two = workers
    one.saw("wine", 200, 0.1, 1)
    one.write()
    one.saw("wine", 200, 0.1, 1)  # what it did not write is lost with it
    found = samples(two.text())
    assert found['modelyard_requests_total{model="wine",status="200"}'] == 1
    assert [file.name for file in tmp_path.iterdir() if file.suffix != ".json"] == []


@pytest.mark.parametrize("place", range(len(BUCKETS_S)))
def test_a_bucket_counts_what_took_at_most_its_bound(workers: list[Metrics], place: int) -> None:
    bound = BUCKETS_S[place]
    for seconds in (bound * 0.999, bound, bound * 1.001):
        workers[0].saw("wine", 200, seconds, 1)
    found = samples(workers[0].text())
    counts = [
        found[f'modelyard_request_duration_seconds_bucket{{model="wine",le="{le}"}}'] for le in (*BUCKETS_S, "+Inf")
    ]
    assert counts == [0] * place + [2] + [3] * (len(BUCKETS_S) - place)


def test_before_the_first_request_there_are_no_samples(workers: list[Metrics]) -> None:
    assert samples(workers[0].text()) == {}
