"""The child's steps, one form after the other: which comes first, which takes another's place, what is made once."""

import re
import tempfile
from pathlib import Path
from typing import Any

import pytest

from modelyard.compiling import child, kernel, proving
from modelyard.compiling.child import Compilation
from modelyard.compiling.onnx_file import OnnxFile
from tests.fakes import realistic_models
from tests.fakes.native import forest_kernel


def test_the_form_that_saves_most_is_proven_first() -> None:
    forest_kernel()
    made = Compilation(realistic_models.forest(trees=30, rows=300), Path(tempfile.mkdtemp()), [], 30.0).forms()
    assert [form.requires for form in made] == [kernel.FOREST, ""]


def trees_apart(kind: str = "IsolationForest") -> bytes:
    return realistic_models.forest(kind, trees=30, rows=300, features=3)


def test_trees_that_are_written_apart_are_one_forest_in_every_form() -> None:
    forest_kernel()
    made = Compilation(trees_apart(), Path(tempfile.mkdtemp()), [], 30.0).forms()
    first = {form.requires: form.steps[0] for form in made}
    assert list(first) == [kernel.FOREST, ""]
    assert {(step["name"], step["outcome"]) for step in first.values()} == {("single trees", "kept")}
    left = re.match(r"30 operations of one tree as one forest: 820 operations became (\d+),", first[""]["note"])
    assert left is not None
    assert int(left[1]) < 80


def test_one_forest_that_runs_slower_than_its_trees_apart_leaves_them_apart() -> None:
    forest_kernel()
    made = Compilation(trees_apart("BaggingRegressor"), Path(tempfile.mkdtemp()), [], 30.0).forms()
    packed, joined = next(made), next(made)
    assert [form.steps[0]["outcome"] for form in (packed, joined)] == ["kept", "kept"]
    joined.slower = True
    (apart,) = made
    assert apart.steps[0] == {"name": "single trees", "outcome": "dropped", "note": "slower on several rows"}
    assert apart.requires == ""
    assert apart.changed


def test_one_forest_that_answers_otherwise_on_several_threads_leaves_them_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compilation = Compilation(trees_apart(), Path(tempfile.mkdtemp()), [], 30.0)
    differs = compilation.measure.differs

    def on_two(model: bytes, **settings: Any) -> str | None:
        one_forest = any(node.kind == "Split" for _, node in OnnxFile(model).nodes())
        several = settings.get("threads", proving.THREADS) == proving.THREADS and settings.get("kernel") is None
        return "another answer on 2 threads" if one_forest and several else differs(model, **settings)

    monkeypatch.setattr(compilation.measure, "differs", on_two)
    portable = [form.model for form in compilation.forms() if not form.requires]
    assert not any(node.kind == "Split" for model in portable for _, node in OnnxFile(model).nodes())
    assert compilation.steps[0] == {
        "name": "single trees",
        "outcome": "dropped",
        "note": "another answer on 2 threads",
    }


def test_a_session_of_a_file_that_takes_long_to_create_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(model: bytes, **settings: Any) -> Any:
        made.append((model, settings.get("threads", 1)))
        return one_session(model, **settings)

    model, one_session = trees_apart(), proving.session
    monkeypatch.setattr(proving, "LONG_CREATION_S", 0.0)
    monkeypatch.setattr(proving, "session", counted)
    monkeypatch.setattr(child, "session", counted)
    compilation = Compilation(model, Path(tempfile.mkdtemp()), [], 30.0)
    for form in compilation.forms():
        times, form.slower = compilation.timed(form)
        assert times["raw_create_ms"] == round(compilation.measure.created_s * 1000, 4)
        assert not form.slower
    assert [threads for asked, threads in made if asked == model] == [1, 2]
