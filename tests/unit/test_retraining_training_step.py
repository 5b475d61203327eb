"""The train step: a job in, a model out, on Lambda and in SageMaker's container alike."""

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard.admission import LARGEST_ARTIFACT
from modelyard.errors import ModelError, UsageError
from modelyard.retraining.training_step import LARGEST_OUTPUT, collect_output, train_candidates
from modelyard.training import job, trainer
from modelyard.training.job import read_trained
from tests.fakes.training_data import csv_file, dealt_weather, plan, weather_plan
from tests.fakes.workbench import Bench, sent

FIRST, SECOND, THIRD, FOURTH = dealt_weather()
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def bench() -> Bench:
    return Bench(weather_plan())


@pytest.fixture
def state(bench: Bench) -> dict[str, Any]:
    """The state before the training."""
    return prepared(bench)


def prepared(bench: Bench, file: bytes = FIRST) -> dict[str, Any]:
    found = bench.accept(file)
    bench.turn(found)
    assert bench.prepare(found)["status"] == "prepared"
    return found


# -- on Lambda --------------------------------------------------------------------------------------------------------


def test_a_job_becomes_a_model_and_what_the_training_says_about_itself(bench: Bench, state: dict[str, Any]) -> None:
    answer = bench.train(state)
    folder = state["prepared"]["job"]
    assert (answer["status"], answer["reason"]) == ("trained", "")
    assert (answer["model_key"], answer["trained_key"]) == (
        f"{folder}/out/model.onnx",
        f"{folder}/out/training.json",
    )
    trained = read_trained(bench.yard.artifacts.objects[answer["trained_key"]])
    assert (trained.candidate, trained.settings) == (answer["candidate"], answer["settings"])
    assert trained.predictions is not None
    assert len(trained.predictions) == state["prepared"]["rows"]["evaluation"]
    assert [set(score) & {"folds"} for score in answer["leaderboard"]] == [set(), set()], "the state has no folds"
    assert answer["seconds"] == trained.seconds > 0


def test_the_step_needs_neither_registry_nor_data_bucket(bench: Bench, state: dict[str, Any]) -> None:
    bench.uploads._versions.clear()
    bench.yard.records._items.clear()
    assert bench.train(state)["status"] == "trained"


def test_a_training_that_is_repeated_answers_what_the_first_one_came_to(
    bench: Bench, state: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench.train(state)
    objects = dict(bench.yard.artifacts.objects)
    monkeypatch.setattr(trainer, "train", lambda *_, **__: pytest.fail("trained again"))
    assert bench.train(state) == first
    assert bench.yard.artifacts.objects == objects


def test_an_attempt_that_was_cut_off_between_its_files_is_made_again(bench: Bench, state: dict[str, Any]) -> None:
    first = bench.train(state)
    model = bench.yard.artifacts.objects[first["model_key"]]
    del bench.yard.artifacts.objects[first["trained_key"]]
    again = bench.train(state)
    assert {**again, "seconds": 0, "leaderboard": []} == {**first, "seconds": 0, "leaderboard": []}
    assert bench.yard.artifacts.objects[first["model_key"]] == model


def test_data_that_nothing_can_be_fitted_to_is_refused_with_the_trainers_words() -> None:
    bench = Bench(plan(target="y", features={"x": "number"}, task="binary", grids={"logistic_regression": {"C": [-1]}}))
    state = prepared(bench, csv_file(["x", "y"], [[at, "ab"[at % 2]] for at in range(60)]))
    answer = bench.train(state)
    assert set(answer) == {"status", "reason"}
    assert answer["status"] == "refused"
    assert answer["reason"].startswith("no candidate could be fitted to 48 rows; ")
    assert ":;" not in answer["reason"]
    assert not [key for key in bench.yard.artifacts.objects if "/out/" in key]


def test_a_plan_that_no_longer_fits_the_code_is_a_failure_and_no_rejection(bench: Bench) -> None:
    bench.plan = weather_plan(kinds=["linear_regression"])
    state = prepared(bench)
    with pytest.raises(UsageError, match="candidate 'linear_regression' does not fit task 'multiclass'"):
        bench.train(state)


def test_a_training_leaves_nothing_on_the_machine(
    bench: Bench, state: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    bench.train(state)
    assert list(tmp_path.iterdir()) == []


def test_what_is_trained_once_more_is_trained_without_a_search(bench: Bench, state: dict[str, Any]) -> None:
    given = {"candidate": "logistic_regression", "settings": {"C": 0.5}}
    folder = state["prepared"]["job"]
    bench.yard.artifacts.objects[f"{folder}/in/given.json"] = json.dumps(given).encode()
    answer = bench.train(state)
    assert (answer["candidate"], answer["settings"]) == ("logistic_regression", {"C": 0.5})


# -- in SageMaker's container -----------------------------------------------------------------------------------------


def container(bench: Bench, state: dict[str, Any], root: Path) -> subprocess.CompletedProcess[str]:
    """The container's process over SageMaker's folders, with what SageMaker puts there."""
    source = root / "input" / "data" / "job"
    source.mkdir(parents=True)
    folder = f"{state['prepared']['job']}/in/"
    for key, content in bench.yard.artifacts.objects.items():
        if key.startswith(folder):
            (source / key.removeprefix(folder)).write_bytes(content)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "modelyard.training.container"],
        env={**os.environ, "MODELYARD_ML_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
    )


def stored(bench: Bench, state: dict[str, Any], archive: bytes) -> dict[str, Any]:
    """The collect step's event, with SageMaker's output where it is stored."""
    key = f"{state['prepared']['job']}/sagemaker/name/output/model.tar.gz"
    bench.yard.artifacts.objects[key] = archive
    return sent(bench.parts("run-1", job=state["prepared"]["job"], output=f"s3://artifact-bucket/{key}"))


def packed(folder: Path) -> bytes:
    """As SageMaker packs the model folder."""
    text = io.BytesIO()
    with tarfile.open(fileobj=text, mode="w:gz") as archive:
        archive.add(folder, arcname=".")
    return text.getvalue()


def test_the_container_makes_the_same_model_as_the_step_and_its_output_is_the_same_answer(
    bench: Bench, state: dict[str, Any], tmp_path: Path
) -> None:
    ran = container(bench, state, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "293 rows to train on" in ran.stdout
    collected = sent(collect_output(bench.workbench, stored(bench, state, packed(tmp_path / "model"))))
    other = Bench(weather_plan())
    here = prepared(other)
    trained = other.train(here)
    assert here["prepared"]["job"] == state["prepared"]["job"]
    objects, others = bench.yard.artifacts.objects, other.yard.artifacts.objects
    assert objects[collected["model_key"]] == others[trained["model_key"]]
    measured = {"seconds": 0, "leaderboard": []}
    assert collected | measured == trained | measured
    found, expected = (read_trained(part[trained["trained_key"]]) for part in (objects, others))
    assert found.predictions == expected.predictions
    state["training"] = collected
    assert bench.evaluate(state)["passed"] is True


def test_data_that_the_container_refuses_is_an_outcome_with_its_words(tmp_path: Path) -> None:
    bench = Bench(plan(target="y", features={"x": "number"}, task="binary", grids={"logistic_regression": {"C": [-1]}}))
    state = prepared(bench, csv_file(["x", "y"], [[at, "ab"[at % 2]] for at in range(60)]))
    assert container(bench, state, tmp_path).returncode == 0
    answer = collect_output(bench.workbench, stored(bench, state, packed(tmp_path / "model")))
    assert answer == bench.train(state)
    assert answer["status"] == "refused"


def test_a_container_without_a_job_fails_where_sagemaker_looks_for_the_reason(
    bench: Bench, state: dict[str, Any], tmp_path: Path
) -> None:
    state["prepared"]["job"] = "runs/tested/run-1/elsewhere"
    ran = container(bench, state, tmp_path)
    assert ran.returncode == 1
    said = (tmp_path / "output" / "failure").read_text()
    assert said.startswith(f"there is no job in {tmp_path / 'input' / 'data' / 'job'}")
    assert "Traceback" not in ran.stderr


# -- what SageMaker stores --------------------------------------------------------------------------------------------

Member = tuple[str, bytes]


def archive(*members: Member | tarfile.TarInfo) -> bytes:
    text = io.BytesIO()
    with tarfile.open(fileobj=text, mode="w:gz") as opened:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                opened.addfile(member)
                continue
            name, content = member
            described = tarfile.TarInfo(name)
            described.size = len(content)
            opened.addfile(described, io.BytesIO(content))
    return text.getvalue()


def link(name: str, kind: bytes, to: str) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, to
    return found


@pytest.fixture
def output(bench: Bench, state: dict[str, Any]) -> dict[str, bytes]:
    """The two files of a training, which is then forgotten."""
    answer = bench.train(state)
    objects = bench.yard.artifacts.objects
    return {job.MODEL: objects.pop(answer["model_key"]), job.TRAINED: objects.pop(answer["trained_key"])}


TRAINED: Member = (job.TRAINED, b"{}")
HOSTILE: dict[str, tuple[Callable[[dict[str, bytes]], bytes], str]] = {
    "nothing": (lambda _: b"", "is no archive of a training job"),
    "no archive": (lambda _: b"<html>", "is no archive of a training job"),
    "an archive that is not compressed": (lambda _: gzip.decompress(archive(TRAINED)), "is no archive of a training"),
    "cut off": (lambda found: archive(*found.items())[:-400], "is no archive of a training job"),
    "cut off in its compression": (lambda found: archive(*found.items())[:40], "is no archive of a training job"),
    "damaged": (
        lambda found: archive(*found.items())[:200] + bytes(50) + archive(*found.items())[250:],
        "is no archive of a training job",
    ),
    "empty": (lambda _: archive(), "lacks model.onnx, training.json; it holds nothing"),
    "without the model": (
        lambda found: archive((job.TRAINED, found[job.TRAINED]), ("notes.txt", b"x")),
        "lacks model.onnx; it holds training.json, notes.txt",
    ),
    "a link in place of the model": (
        lambda found: archive(link(job.MODEL, tarfile.SYMTYPE, "/etc/passwd"), (job.TRAINED, found[job.TRAINED])),
        "lacks model.onnx",
    ),
    "a hard link in place of the model": (
        lambda found: archive((job.TRAINED, found[job.TRAINED]), link(job.MODEL, tarfile.LNKTYPE, job.TRAINED)),
        "lacks model.onnx",
    ),
    "a device in place of the model": (
        lambda found: archive(link(job.MODEL, tarfile.CHRTYPE, ""), (job.TRAINED, found[job.TRAINED])),
        "lacks model.onnx",
    ),
    "a folder in place of the model": (
        lambda found: archive(link(job.MODEL, tarfile.DIRTYPE, ""), (job.TRAINED, found[job.TRAINED])),
        "lacks model.onnx",
    ),
    "files of a folder above": (
        lambda found: archive(*((f"../{name}", content) for name, content in found.items())),
        "lacks model.onnx, training.json; it holds ../model.onnx, ../training.json",
    ),
    "files of a folder below": (
        lambda found: archive(*((f"deep/{name}", content) for name, content in found.items())),
        "lacks model.onnx, training.json",
    ),
    "absolute paths": (
        lambda found: archive(*((f"/opt/{name}", content) for name, content in found.items())),
        "lacks model.onnx, training.json",
    ),
    "words of another kind": (
        lambda found: archive((job.MODEL, found[job.MODEL]), (job.TRAINED, b'{"candidate": 7}')),
        "training.json is no archive of a training job: ",
    ),
    "words that are no JSON": (
        lambda found: archive((job.MODEL, found[job.MODEL]), (job.TRAINED, b"\xff{")),
        "training.json is no archive of a training job: ",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_output_of_a_training_is_refused_and_leaves_nothing(
    bench: Bench, state: dict[str, Any], output: dict[str, bytes], case: str
) -> None:
    made, said = HOSTILE[case]
    event = stored(bench, state, made(output))
    objects = dict(bench.yard.artifacts.objects)
    with pytest.raises(ModelError) as refused:
        collect_output(bench.workbench, event)
    assert said in refused.value.message
    assert refused.value.code == "training_output"
    assert refused.value.next_step
    assert bench.yard.artifacts.objects == objects


def test_an_archive_that_unpacks_to_more_than_any_model_is_not_unpacked(
    bench: Bench, state: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.retraining.training_step.LARGEST_OUTPUT", 1000)
    event = stored(bench, state, archive((job.MODEL, bytes(1001)), TRAINED))
    with pytest.raises(ModelError, match="it unpacks to more than 1,000 bytes"):
        collect_output(bench.workbench, event)
    assert LARGEST_OUTPUT > LARGEST_ARTIFACT


def test_what_else_is_in_an_archive_goes_nowhere(bench: Bench, state: dict[str, Any], output: dict[str, bytes]) -> None:
    others: list[Member] = [("../evil.onnx", b"x"), ("..", b"x"), ("notes.txt", b"x"), ("a/b/model.onnx", b"x")]
    event = stored(bench, state, archive(*others, *output.items(), link("latest", tarfile.SYMTYPE, "/")))
    before = set(bench.yard.artifacts.objects)
    answer = collect_output(bench.workbench, event)
    assert answer["status"] == "trained"
    assert set(bench.yard.artifacts.objects) - before == {answer["model_key"], answer["trained_key"]}
    assert bench.yard.artifacts.objects[answer["model_key"]] == output[job.MODEL]


def test_an_output_that_is_collected_again_is_the_same_answer(
    bench: Bench, state: dict[str, Any], output: dict[str, bytes]
) -> None:
    event = stored(bench, state, archive(*output.items()))
    first = collect_output(bench.workbench, event)
    bench.yard.artifacts.objects[event["output"].removeprefix("s3://artifact-bucket/")] = b"swept"
    assert collect_output(bench.workbench, event) == first == train_candidates(bench.workbench, event)
