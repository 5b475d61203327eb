"""Models on SageMaker against the deployed system, with a process of this machine in SageMaker's place.

The URL, the signatures, the way in and its role are those of the deployed system; what is behind them is the server
that the container runs, with the local AWS's S3 and an identity of its own.
"""

import io
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cloud.conftest import System, brought_up
from tests.cloud.projects import project_without_models
from tests.cloud.signing import request
from tests.fakes import onnx_models

TARGETS = {
    "sums": 'target = "sagemaker-realtime"',
    "small": 'target = "sagemaker-serverless"',
    "later": 'target = "sagemaker-async"',
    "left": 'target = "sagemaker-realtime"\nhost = "pair"',
    "right": 'target = "sagemaker-realtime"\nhost = "pair"',
    "plain": 'target = "lambda"',
}
AT_ONCE = [name for name in TARGETS if name != "later"]
PATIENCE_S = 30.0


def add_model(project: Path, name: str, *, plus: float = 0.0) -> None:
    folder = project / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.toml").write_text(
        f'[model]\nname = "{name}"\ntask = "regression"\nartifact = "model.onnx"\nexample = "example.json"\n\n'
        f"[endpoint]\nrefresh_s = 1\n{TARGETS[name]}\n"
    )
    (folder / "example.json").write_text('{"instances": [[1, 2]]}')
    (folder / "model.onnx").write_bytes(onnx_models.row_sum(plus))


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A project with a model on each target, and two that share a server."""
    folder = tmp_path_factory.mktemp("hosted")
    project = project_without_models(folder / "project")
    for name in TARGETS:
        add_model(project, name)
    with brought_up(folder / "home", project) as found:
        yield found


def ask(system: System, name: str, body: Any, *, route: str = "predict", **more: Any) -> tuple[int, Any, Any]:
    return request("POST", system.url(f"/models/{name}/{route}"), body, credentials=system.developer, **more)


def get(system: System, path: str) -> tuple[int, Any, Any]:
    return request("GET", system.url(path), credentials=system.developer)


def audits(system: System) -> list[dict[str, Any]]:
    lines = (system.home / "servers" / "servers.log").read_text().splitlines()
    return [json.loads(line) for line in lines if '"kind":"audit"' in line]


def answering(system: System, name: str, version: int) -> float:
    """Asks until a version answers; its prediction."""
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        status, _, answer = ask(system, name, {"instances": [[1, 2]]})
        assert status == 200
        if answer["version"] == version:
            return float(answer["predictions"][0])
        time.sleep(0.2)
    raise AssertionError(f"version {version} does not answer after {PATIENCE_S} s")


@pytest.mark.parametrize("name", AT_ONCE)
def test_every_target_answers_at_the_same_url_with_the_same_words(hosted: System, name: str) -> None:
    status, headers, answer = ask(hosted, name, {"instances": [[1, 2], [3, 4]]})
    assert (status, headers["content-type"]) == (200, "application/json")
    assert (answer["model"], answer["version"], answer["predictions"]) == (name, 1, [3.0, 7.0])
    status, headers, problem = ask(hosted, name, {"instances": [[1, 2], [3]]})
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert (problem["code"], problem["row"]) == ("wrong_shape", 1)
    assert get(hosted, f"/v2/models/{name}/ready")[2] == {"name": name, "version": "1", "ready": True}
    assert get(hosted, f"/v2/models/{name}/versions/9/ready")[2]["code"] == "unknown_version"


@pytest.mark.parametrize("name", ["sums", "left"])
def test_binary_bodies_come_through_both_ways(hosted: System, name: str) -> None:
    sent = io.BytesIO()
    np.save(sent, np.array([[1, 2], [3, 4]], np.float32))
    more = {"content_type": "application/x-npy", "more": {"accept": "application/x-npy"}}
    status, headers, answer = ask(hosted, name, sent.getvalue(), **more)
    assert (status, headers["content-type"], headers["modelyard-version"]) == (200, "application/x-npy", "1")
    assert np.load(io.BytesIO(answer)).tolist() == [3.0, 7.0]


def test_the_server_writes_the_audit_line_and_names_the_caller(hosted: System) -> None:
    before = len(audits(hosted))
    _, _, answer = ask(hosted, "sums", {"instances": [[5, 6]]})
    (line,) = audits(hosted)[before:]
    assert line["caller"].endswith(":user/developer")
    assert (line["model"], line["status"], line["prediction_id"]) == ("sums", 200, answer["prediction_id"])
    assert answer["prediction_id"] in hosted.run("logs", "sums")
    assert "INIT_START" not in hosted.run("logs", "sums", "--step", "invoke")


def test_a_release_takes_effect_without_a_deployment_and_nobody_notices(hosted: System) -> None:
    add_model(hosted.project, "sums", plus=100.0)
    hosted.run("register", "sums")
    got: list[int] = []
    stop = threading.Event()

    def callers() -> None:
        for _ in range(10_000):
            if stop.is_set():
                return
            got.append(ask(hosted, "sums", {"instances": [[1, 2]]})[0])

    caller = threading.Thread(target=callers)
    caller.start()
    try:
        hosted.run("promote", "sums", "2")
        assert answering(hosted, "sums", 2) == 103.0
        hosted.run("rollback", "sums")
        assert answering(hosted, "sums", 1) == 3.0
    finally:
        stop.set()
        caller.join()
    assert set(got) == {200}
    assert len(got) > 20


def test_a_version_on_trial_takes_its_share(hosted: System) -> None:
    add_model(hosted.project, "right", plus=100.0)
    hosted.run("register", "right")
    hosted.run("trial", "right", "2", "--share", "50")
    ends = time.monotonic() + PATIENCE_S
    versions: set[int] = set()
    while versions != {1, 2} and time.monotonic() < ends:
        versions.add(ask(hosted, "right", {"instances": [[1, 2]]})[2]["version"])
    assert versions == {1, 2}
    assert ask(hosted, "left", {"instances": [[1, 2]]})[2]["version"] == 1
    hosted.run("trial", "right", "--end")


def test_labels_are_stored(hosted: System) -> None:
    _, _, answer = ask(hosted, "small", {"instances": [[5, 6]]})
    labels = {"labels": [{"prediction_id": answer["prediction_id"], "label": 11.0}]}
    status, _, taken = ask(hosted, "small", labels, route="feedback")
    assert (status, taken["accepted"]) == (200, 1)


def test_an_asynchronous_answer_is_fetched_later(hosted: System) -> None:
    status, headers, taken = ask(hosted, "later", {"instances": [[1, 2]]})
    assert (status, taken["status"]) == (202, "pending")
    assert headers["location"].endswith(taken["status_url"])
    ends = time.monotonic() + PATIENCE_S
    while status == 202 and time.monotonic() < ends:
        time.sleep(0.2)
        status, _, answer = get(hosted, f"/models/later/predictions/{taken['id']}")
    assert (status, answer["predictions"]) == (200, [3.0])
    assert get(hosted, f"/models/later/predictions/{'0' * 32}")[0] == 404
    status, _, taken = ask(hosted, "later", {"instances": []})
    assert status == 202
    ends, status = time.monotonic() + PATIENCE_S, 202
    while status == 202 and time.monotonic() < ends:
        time.sleep(0.2)
        status, _, problem = get(hosted, f"/models/later/predictions/{taken['id']}")
    assert (status, problem["code"]) == (400, "empty_batch")


def test_the_server_may_read_its_models_and_write_what_they_capture(hosted: System) -> None:
    keys = json.loads((hosted.home / "servers" / "server.json").read_text())
    s3 = hosted.client("s3", aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"])
    bucket = hosted.outputs("Registry")["ArtifactBucket"]
    assert s3.get_object(Bucket=bucket, Key="deployments/sums.json")["Body"].read()
    for call, arguments in (
        (s3.get_object, {"Key": "deployments/plain.json"}),
        (s3.put_object, {"Key": "deployments/sums.json", "Body": b"{}"}),
        (s3.put_object, {"Key": "artifacts/sha256/x", "Body": b"{}"}),
        (s3.delete_object, {"Key": "deployments/sums.json"}),
    ):
        with pytest.raises(Exception, match=r"AccessDenied|403|not authorized"):
            call(Bucket=bucket, **arguments)


def test_a_server_that_is_gone_is_a_503_until_up_has_brought_it_back(hosted: System) -> None:
    record = hosted.home / "servers" / "process.json"
    os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
    time.sleep(0.5)
    status, headers, problem = ask(hosted, "sums", {"instances": [[1, 2]]})
    assert (status, problem["code"]) == (503, "endpoint_unavailable")
    assert headers["retry-after"]
    assert "does not run" in hosted.run("doctor", code=5)
    assert ask(hosted, "plain", {"instances": [[1, 2]]})[0] == 200
    hosted.run("up")
    assert answering(hosted, "sums", 1) == 3.0
    assert "everything is in order" in hosted.run("doctor")
