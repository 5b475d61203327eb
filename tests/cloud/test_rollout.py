"""Rollouts against the deployed system: from an upload to the promotion, and back to the champion."""

import csv
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.datasets import load_breast_cancer

from tests.cloud.conftest import System, brought_up
from tests.cloud.projects import project_without_models
from tests.cloud.signing import request

MODEL = "tumours"
INPUTS = ["mean_radius", "mean_texture", "mean_smoothness", "mean_concavity", "mean_symmetry"]
FIRST_ROWS = 80
"""Of the first training: few, so that a later one, with more, is surely better."""

FEATURES = "\n".join(f'{name} = {{ kind = "number" }}' for name in INPUTS)
SPEC = f"""
[model]
name = "{MODEL}"
task = "binary"

[endpoint]
refresh_s = 1

[training]
target = "diagnosis"
candidates = [{{ kind = "logistic_regression", grid = {{ C = [1.0] }} }}]

[training.features]
{FEATURES}

[[triggers]]
kind = "upload"

[evaluation]
metric = "log_loss"
holdout = 0.3
min_improvement = 0.0
confidence = 0.6

[rollout]
mode = "gradual"
shadow = {{ minutes = 10, requests = 60 }}
steps = [{{ share = 50, minutes = 0.05 }}]
approval = "promotion"
judge_every_s = 5

[rollout.policy]
min_samples = 40
max_error_rate = 0.02
min_agreement = 0.5
max_shift = 2.0
max_latency_ratio = 50.0
"""
PATIENCE_S = 150


def rows() -> list[dict[str, Any]]:
    """The data set in an order that does not go with anything."""
    found = load_breast_cancer()
    columns = [list(found.feature_names).index(name.replace("_", " ")) for name in INPUTS]
    order = np.random.default_rng(0).permutation(len(found.data))
    return [
        dict(zip(INPUTS, map(float, found.data[row, columns]), strict=True))
        | {"diagnosis": str(found.target_names[found.target[row]])}
        for row in order
    ]


def write(path: Path, table: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*INPUTS, "diagnosis"])
        writer.writeheader()
        writer.writerows(table)


@pytest.fixture(scope="module")
def gradual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A project with one model, whose versions become the champion in steps."""
    folder = tmp_path_factory.mktemp("gradual")
    project = project_without_models(folder / "project")
    (project / "models" / MODEL / "data").mkdir(parents=True)
    (project / "models" / MODEL / "model.toml").write_text(SPEC)
    write(project / "models" / MODEL / "data" / "first.csv", rows()[:FIRST_ROWS])
    with brought_up(folder / "home", project) as found:
        yield found


@contextmanager
def traffic(system: System) -> Iterator[list[tuple[int, Any]]]:
    """Callers who ask on and on; what each of them got: status and answer."""
    instances = [{name: row[name] for name in INPUTS} for row in rows()[:FIRST_ROWS]]
    url, stop, got = system.url(f"/models/{MODEL}/predict"), threading.Event(), list[tuple[int, Any]]()

    def ask() -> None:
        for turn in range(100_000):
            if stop.is_set():
                return
            body = {"instances": [instances[turn % len(instances)]]}
            status, _, answer = request("POST", url, body, credentials=system.developer)
            got.append((status, answer))
            time.sleep(0.02)

    caller = threading.Thread(target=ask)
    caller.start()
    try:
        yield got
    finally:
        stop.set()
        caller.join()


def until(system: System, *wanted: str) -> Any:
    """The rollout, as soon as its status is one of those."""
    for _ in range(PATIENCE_S):
        found = system.json("rollout", "status", MODEL)
        if found["status"] in wanted:
            return found
        assert found["outcome"] is None, found
        time.sleep(1)
    raise AssertionError(f"not {wanted} after {PATIENCE_S} s: {found}")


def live(system: System) -> int:
    (row,) = system.json("status")
    return int(row["live"])


def kinds(system: System, version: int) -> list[str]:
    """What the ledger says of a version's rollout, oldest first."""
    entries = system.json("history", MODEL)
    return [entry["kind"] for entry in reversed(entries) if entry["version"] == version and "roll" in entry["kind"]]


@pytest.fixture(scope="module")
def promoted(gradual: System, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An upload, its training, its rollout with callers all the while, and a person's approval."""
    more = tmp_path_factory.mktemp("more") / "more.csv"
    write(more, rows()[FIRST_ROWS:])
    run = gradual.json("upload", MODEL, str(more))
    assert run["status"] == "registered", run
    with traffic(gradual) as got:
        asked = until(gradual, "waiting")
        before = live(gradual)
        refused = gradual.run("rollout", "start", MODEL, code=4)
        gradual.run("approve", MODEL, "--reason", "seen and good")
        ended = until(gradual, "promoted")
        time.sleep(2)
        answered = len(got)
        time.sleep(1)
    return {"asked": asked, "live": before, "refused": refused, "ended": ended, "got": got, "after": got[answered:]}


def test_an_upload_goes_through_shadow_and_canary_to_the_promotion(gradual: System, promoted: dict[str, Any]) -> None:
    assert [step["state"] for step in promoted["asked"]["steps"]] == ["done", "now", "ahead"]
    assert promoted["asked"]["traffic"] == {"1": 50, "2": 50}
    assert promoted["live"] == 1, "it is no champion before a person has said so"
    assert promoted["ended"]["outcome"] == "promoted"
    assert promoted["ended"]["approval"]["answered"]["reason"] == "seen and good"
    assert live(gradual) == 2


def test_no_caller_noticed_and_both_versions_answered(promoted: dict[str, Any]) -> None:
    assert {status for status, _ in promoted["got"]} == {200}
    versions = Counter(answer["version"] for _, answer in promoted["got"])
    assert set(versions) == {1, 2}, versions
    assert promoted["after"]
    assert {answer["version"] for _, answer in promoted["after"]} == {2}


def test_its_steps_are_in_the_ledger(gradual: System, promoted: dict[str, Any]) -> None:
    assert promoted["ended"]["version"] == 2
    assert kinds(gradual, 2) == [
        "rollout_started",
        "rollout_moved",
        "rollout_moved",
        "rollout_asked",
        "rollout_approved",
        "rollout_ended",
    ]


def test_one_rollout_at_a_time(promoted: dict[str, Any]) -> None:
    assert "rollout" in promoted["refused"]
    assert "Traceback" not in promoted["refused"]


def test_a_version_with_swapped_classes_is_taken_back_before_anybody_meets_it(
    gradual: System, promoted: dict[str, Any], tmp_path: Path
) -> None:
    (newest, *_) = gradual.json("versions", MODEL)
    key = f"artifacts/sha256/{newest['manifest']['digest'].removeprefix('sha256:')}/model.onnx"
    bucket = gradual.outputs("Registry")["ArtifactBucket"]
    model = onnx.load_from_string(gradual.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    swapped = 0
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in {"classlabels_strings", "cats_strings"}:
                names = list(attribute.strings)
                del attribute.strings[:]
                attribute.strings.extend(reversed(names))
                swapped += 1
    assert swapped
    worse = tmp_path / "worse.onnx"
    onnx.save(model, worse)
    champion = promoted["ended"]["version"]
    gradual.run("register", MODEL, str(worse))
    with traffic(gradual) as got:
        gradual.run("rollout", "start", MODEL, "--reason", "an end-to-end test")
        ended = until(gradual, "aborted")
    assert ended["cause"] == "swapped_classes", ended["end"]
    assert ended["steps"][0]["state"] == "ended", "in shadow"
    assert {(status, answer["version"]) for status, answer in got} == {(200, champion)}
    assert live(gradual) == champion
    assert kinds(gradual, 3)[-1] == "rollout_ended"
    assert gradual.json("history", MODEL)[0]["kind"] == "rollout_ended"


def test_a_replay_of_what_was_captured_comes_to_the_same_before_any_rollout(
    gradual: System, promoted: dict[str, Any], tmp_path: Path
) -> None:
    for version, cause, code in ((3, "swapped_classes", 1), (promoted["ended"]["version"], None, 0)):
        found = tmp_path / f"{version}.json"
        gradual.run("replay", MODEL, "--version", str(version), "--since", "1h", "--output", str(found), code=code)
        assert json.loads(found.read_text())["verdict"]["cause"] == cause


def test_labels_reach_the_verdict_and_a_person_ends_a_rollout_at_once(
    gradual: System, promoted: dict[str, Any], tmp_path: Path
) -> None:
    gradual.run("rollout", "start", MODEL, "1", "--reason", "back to the first")
    until(gradual, "running")
    with traffic(gradual) as got:
        time.sleep(6)
    table = rows()
    labels = tmp_path / "labels.csv"
    lines = [
        f"{answer['prediction_id']},{table[turn % FIRST_ROWS]['diagnosis']}" for turn, (_, answer) in enumerate(got)
    ]
    labels.write_text("\n".join(["prediction_id,label", *lines]) + "\n")
    assert gradual.json("feedback", MODEL, str(labels))["accepted"] == len(got)
    for _ in range(PATIENCE_S):
        checks = (gradual.json("rollout", "status", MODEL)["verdict"] or {}).get("checks", ())
        if any(check["name"] == "quality" and check["samples"] for check in checks):
            break
        time.sleep(1)
    else:
        raise AssertionError(checks)
    gradual.run("rollout", "pause", MODEL, "--reason", "lunch")
    assert gradual.json("rollout", "status", MODEL)["status"] == "paused"
    gradual.run("rollout", "resume", MODEL)
    gradual.run("rollout", "abort", MODEL, "--reason", "enough seen")
    ended = gradual.json("rollout", "status", MODEL)
    assert (ended["outcome"], ended["end"]["reason"]) == ("aborted", "enough seen")
    assert ended["end"]["by"] == "arn:aws:iam::000000000000:user/developer"
    assert ended["traffic"] == {"2": 100}
