"""A model that trains itself, through the steps of the workflow: by a package, by a notebook, as layers have them."""

import json
import sys
import textwrap
from pathlib import Path

import pytest

from modelyard.registry.sweeping import Sweeper
from modelyard.retraining.training_step import collect_output
from modelyard.training import job, notebook
from tests.fakes.training_data import dealt_weather, weather_plan
from tests.fakes.trigger_events import manual_input
from tests.fakes.workbench import Bench, State
from tests.unit.test_retraining_training_step import archive, stored
from tests.unit.test_training_entry import TRAIN as ENTRY
from tests.unit.test_training_notebook import WITH_A_PREDICT, notebook_of

FIRST, SECOND, *_ = dealt_weather()
GOOD_ENTRY = ENTRY.replace('"n_estimators": 5', '"n_estimators": 50, "min_samples_leaf": 5')
GOOD_NOTEBOOK = WITH_A_PREDICT.replace('"n_estimators": 3', '"n_estimators": 50, "min_samples_leaf": 5')
PACKAGE = "code_of_a_layer"


@pytest.fixture
def layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, as a layer of the model's own is."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def by_code(layer: Path, code: str) -> Bench:
    (layer / PACKAGE).mkdir(exist_ok=True)
    (layer / PACKAGE / "__init__.py").write_text(textwrap.dedent(code), encoding="utf-8")
    return Bench(weather_plan(kinds=[], metric="accuracy", entry=f"{PACKAGE}:train"))


def by_notebook(layer: Path, code: str) -> Bench:
    (layer / notebook.FOLDER).mkdir(exist_ok=True)
    (layer / notebook.FOLDER / "train.ipynb").write_text(notebook_of(code), encoding="utf-8")
    return Bench(weather_plan(kinds=[], metric="accuracy", entry="train.ipynb"))


def text_of(bench: Bench, key: str) -> str:
    return bench.yard.artifacts.objects[key].decode()


def test_a_package_becomes_a_version_whose_record_names_it(layer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_OWN_DIGEST", "0a" * 32)
    bench = by_code(layer, GOOD_ENTRY)
    state = bench.run(bench.upload(FIRST), "run-1")
    found = bench.report(state)
    assert state["promoted"]["version"] == 1
    assert found["parity"]["passed"] is True
    assert found["parity"]["rows"] == found["rows"], "the framework's answers were compared with the file's"
    assert (found["training"]["candidate"], found["training"]["settings"]) == (f"{PACKAGE}:train", {"trees": 5})
    assert found["training"]["environment"]["own_digest"] == "0a" * 32
    assert "notebook" not in found["training"]


def test_other_code_is_a_reason_to_train_again_on_the_same_rows(layer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_OWN_DIGEST", "0a" * 32)
    bench = by_code(layer, GOOD_ENTRY)
    bench.run(bench.upload(FIRST), "run-1")
    again = bench.by_hand("run-2")
    assert bench.prepare(again, "run-2")["status"] == "unchanged"
    monkeypatch.setenv("MODELYARD_OWN_DIGEST", "0b" * 32)
    other = bench.by_hand("run-3")
    assert bench.prepare(other, "run-3")["status"] == "prepared"


def test_own_code_is_called_once_more_without_the_newest_file(layer: Path) -> None:
    bench = by_code(layer, GOOD_ENTRY)
    bench.run(bench.upload(FIRST), "run-1")
    bench.accept(SECOND, "2013.csv", "run-2")
    state = bench.run(manual_input(ablate=True, again=True), "run-3")
    assert "said" in bench.report(state)["ablation"]


def failed(bench: Bench) -> State:
    state = bench.run(bench.upload(FIRST), "run-1")
    assert bench.yard.registry().run("tested", "run-1").status == "failed"
    return state


def test_code_that_raises_fails_the_run_in_words_and_corrected_code_takes_it_up_again(
    layer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = by_code(layer, "def train(job):\n    raise KeyError('no column of snow')\n")
    state = failed(bench)
    assert f"{PACKAGE}:train did not train a model: KeyError: 'no column of snow' (__init__.py, line 2)" in reason(
        state
    )
    by_code(layer, GOOD_ENTRY)
    monkeypatch.delitem(sys.modules, PACKAGE)  # the next deployment is another process
    assert bench.redrive(state, "run-1")["promoted"]["version"] == 1


def reason(state: State) -> str:
    return str(state["conclusion"]["reason"])


def test_a_notebook_becomes_a_version_and_is_kept_beside_its_report_as_it_ran(layer: Path) -> None:
    bench = by_notebook(layer, GOOD_NOTEBOOK + "\nPath(job_out, 'much_more.bin').write_bytes(b'x')\nprint('it ran')")
    state = bench.run(bench.upload(FIRST), "run-1")
    assert state["promoted"]["version"] == 1
    folder, objects = state["prepared"]["job"], bench.yard.artifacts.objects
    assert state["training"]["notebook_key"] == f"{folder}/out/notebook.ipynb"
    assert {key.rpartition("/")[2] for key in objects if key.startswith(f"{folder}/out/")} == {
        "model.onnx", "notebook.ipynb", "training.json",
    }  # fmt: skip
    found = bench.report(state)
    kept = found["training"]["notebook"]
    assert kept == state["evaluation"]["report_key"].replace(".json", ".ipynb")
    assert "it ran" in text_of(bench, kept)
    assert found["parity"]["rows"] == found["rows"]
    sweeper = bench.yard.registry()
    assert isinstance(sweeper, Sweeper)
    assert kept in sweeper._named(set()), "a sweep leaves it"
    # The same files out of SageMaker's archive.
    names = {job.MODEL: "model_key", job.TRAINED: "trained_key", notebook.EXECUTED: "notebook_key"}
    output = {name: objects.pop(state["training"][key]) for name, key in names.items()}
    event = stored(bench, state, archive(*output.items(), (notebook.PREDICTIONS, b"[]")))
    assert collect_output(bench.workbench, event) == state["training"]
    assert objects[state["training"]["notebook_key"]] == output[notebook.EXECUTED]


def test_a_notebook_that_fails_is_kept_where_the_reason_says(layer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = {"output_type": "error", "ename": "KeyError", "evalue": "'no column of snow'", "traceback": []}
    cell = {"cell_type": "code", "source": ["\n", "clear(\n", "snow)"], "outputs": [problem]}

    def papermill(_command: object, _notebook: object, folder: Path, *_: object) -> tuple[str, int]:
        (folder / notebook.EXECUTED).write_text(json.dumps({"cells": [cell, {"cell_type": "markdown"}]}))
        return "a traceback of hundreds of lines", 1

    monkeypatch.setattr(notebook, "_run", papermill)
    bench = by_notebook(layer, GOOD_NOTEBOOK)
    said = reason(failed(bench))
    assert "KeyError: 'no column of snow' (in the cell that begins 'clear(')" in said
    assert "hundreds of lines" not in said
    (key,) = [word for word in said.split() if word.endswith(".ipynb") and word.startswith("runs/")]
    assert json.loads(text_of(bench, key))["cells"][0] == cell
