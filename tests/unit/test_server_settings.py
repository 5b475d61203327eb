"""The server's environment: what it says, its limits, and that everything wrong with it is said before a start."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from modelyard.errors import UsageError
from modelyard.server import settings as module
from modelyard.server.settings import ServerSettings, processors

ONE = {"MODELYARD_MODEL": "wine", "MODELYARD_ARTIFACT_BUCKET": "bucket"}


def read(**variables: object) -> ServerSettings:
    return ServerSettings.read({**ONE, **{f"MODELYARD_{name}": str(value) for name, value in variables.items()}})


def several(*models: object) -> ServerSettings:
    numbered = {f"MODELYARD_MODEL_{at}": json.dumps(model) for at, model in enumerate(models, start=1)}
    return ServerSettings.read({"MODELYARD_ARTIFACT_BUCKET": "bucket", **numbered})


def test_what_is_not_said_has_a_default() -> None:
    found = read()
    assert (found.host, found.port, found.workers) == ("127.0.0.1", 8080, processors())
    assert (found.max_batch, found.max_wait_ms, found.queue) == (64, 5, 256)
    assert (found.max_body, found.memory_mb) == (25 * 1024 * 1024, 0)
    assert [model["MODELYARD_MODEL"] for model in found.models] == ["wine"]


def test_an_empty_variable_is_one_that_is_not_there() -> None:
    empty, without = read(SERVER_HOST="", SERVER_PORT="", MAX_BATCH="", QUEUE="", SERVER_WORKERS=""), read()
    assert msgspec.structs.asdict(empty) | {"models": ()} == msgspec.structs.asdict(without) | {"models": ()}


LIMITS: dict[str, tuple[Callable[[ServerSettings], float], float, float, float]] = {
    "SERVER_PORT": (lambda found: found.port, 0, 65_535, 1),
    "SERVER_WORKERS": (lambda found: found.workers, 1, 256, 1),
    "MAX_BATCH": (lambda found: found.max_batch, 1, 10_000, 1),
    "MAX_WAIT_MS": (lambda found: found.max_wait_ms, 0, 10_000, 0.5),
    "QUEUE": (lambda found: found.queue, 1, 100_000, 1),
    "MAX_BODY_MB": (lambda found: found.max_body_mb, 0.001, 1024, 0.0005),
    "MEMORY_MB": (lambda found: found.memory_mb, 0, 10_000_000, 1),
}


@pytest.mark.parametrize("name", LIMITS)
def test_each_number_has_its_limits(name: str) -> None:
    value_of, least, most, step = LIMITS[name]
    for allowed in (least, least + step, most - step, most):
        assert value_of(read(**{name: f"{allowed:.10g}"})) == pytest.approx(allowed)
    below = -1 if name == "SERVER_WORKERS" else least - step  # no workers: as many as processors
    for refused in (f"{below:.10g}", f"{most + step:.10g}", "x", "nan", "inf", "-inf"):
        with pytest.raises(UsageError, match=f"MODELYARD_{name} is '{refused}'") as found:
            read(**{name: refused})
        assert found.value.code == "invalid_settings"


def test_all_findings_are_said_at_once() -> None:
    with pytest.raises(UsageError) as found:
        read(QUEUE="0", MAX_BATCH="many", ENGINE="fast", TIMEOUT_S="soon", REDACT="[1]")
    for name in ("QUEUE", "MAX_BATCH", "ENGINE", "TIMEOUT_S", "REDACT"):
        assert f"MODELYARD_{name} is" in found.value.message


@pytest.mark.parametrize("name", ONE)
def test_a_server_without_a_model_or_a_bucket_does_not_start(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is not set"):
        ServerSettings.read({key: value for key, value in ONE.items() if key != name})


def test_several_models_have_variables_of_their_own_and_share_the_rest() -> None:
    wine, sums = several({"MODELYARD_MODEL": "wine", "MODELYARD_CAPTURE": "0.5"}, {"MODELYARD_MODEL": "sums"}).models
    assert (wine["MODELYARD_CAPTURE"], "MODELYARD_CAPTURE" in sums) == ("0.5", False)
    assert wine["MODELYARD_ARTIFACT_BUCKET"] == sums["MODELYARD_ARTIFACT_BUCKET"] == "bucket"
    assert not [name for name in wine if name.startswith("MODELYARD_MODEL_")]


def test_models_come_in_the_order_of_their_numbers() -> None:
    names = [f"m{number}" for number in range(1, 13)]
    found = several(*({"MODELYARD_MODEL": name} for name in names)).models
    assert [model["MODELYARD_MODEL"] for model in found] == names


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([{"MODELYARD_MODEL": "a"}, {"MODELYARD_MODEL": "a"}], "name the models"),
        ([{"MODELYARD_MODEL": "a"}, {}], "name the models"),
        ([{"MODELYARD_MODEL": "a"}, []], "MODELYARD_MODEL_2 is no JSON object of texts"),
        ([{"MODELYARD_MODEL": "a", "MODELYARD_CAPTURE": 0.5}], "MODELYARD_MODEL_1 is no JSON object of texts"),
        ([{"MODELYARD_MODEL": "a", "MODELYARD_CAPTURE": "-1"}], "a: .*MODELYARD_CAPTURE is '-1'"),
    ],
)
def test_several_models_are_checked_each(models: list[object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        several(*models)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("900000 100000", 8), ("", 8)],
)
def test_a_containers_share_of_the_processors_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, expected: int
) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(module, "open", lambda _: (tmp_path / "cpu.max").open(), raising=False)
    assert processors() == expected
