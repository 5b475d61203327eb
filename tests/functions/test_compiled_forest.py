"""The endpoint with forests on our own kernel: where it is taken, and that every other way ends in the same answer."""

import json
import sys
from functools import cache
from pathlib import Path

import pytest

from modelyard.compiling import kernel
from modelyard.compiling.compiler import compile_model
from modelyard.compiling.outcome import CompiledModel
from tests.fakes import realistic_models
from tests.fakes.native import forest_kernel
from tests.functions.test_compiled import Scene


@cache
def a_forest() -> tuple[bytes, CompiledModel]:
    forest_kernel()
    raw = realistic_models.forest()
    for _ in range(5):  # on a busy machine a form may seem slower than the raw file
        compiled = compile_model(raw)
        if isinstance(compiled, CompiledModel) and len(compiled.forms) == 2:
            return raw, compiled
    raise AssertionError(compiled)


@pytest.fixture(params=["lean", "standard"])
def scene(request, tmp_path, monkeypatch) -> Scene:
    return Scene(request.param, tmp_path, monkeypatch, a_forest)


def keys(form: dict) -> set[str]:
    return {form[part]["key"] for part in ("model", "weights") if form[part] is not None}


def forms(scene: Scene) -> tuple[dict, dict]:
    """The portable one, and the kernel's."""
    portable, own = scene.compilation["forms"]
    assert (portable["requires"], own["requires"]) == ("", kernel.FOREST)
    return portable, own


def test_the_form_for_our_kernel_is_taken_before_the_others(scene):
    scene.start()
    assert scene.fetched() == keys(forms(scene)[1])
    assert scene.answer() == scene.expected()


def test_a_function_with_more_threads_takes_the_portable_form(scene):
    """On two threads onnxruntime adds up the trees in another order: the kernel is not for it."""
    scene.start(MODELYARD_THREADS="2")
    assert scene.fetched() == keys(forms(scene)[0])
    assert scene.answer() == scene.expected(threads=2)


def test_where_the_library_is_not_the_portable_form_serves(scene, monkeypatch):
    monkeypatch.setattr(kernel, "built_in", lambda: "/nowhere")
    scene.start()
    assert scene.fetched() == keys(forms(scene)[0])
    assert scene.answer() == scene.expected()


def damaged_libraries() -> dict[str, bytes]:
    whole = Path(forest_kernel()).read_bytes()
    return {
        "empty": b"",
        "text": b"no library",
        "another one": Path(sys.executable).read_bytes(),
        "cut off": whole[: len(whole) // 2],
        "without its last byte": whole[:-1],
    }


@pytest.mark.parametrize("damage", ["empty", "text", "another one", "cut off", "without its last byte"])
def test_a_library_that_does_not_load_is_an_event_and_the_next_form_serves(
    scene, monkeypatch, tmp_path, capsys, damage
):
    place = tmp_path / "layer" / kernel.FOLDER / f"{kernel.FOREST}.so"
    place.parent.mkdir(parents=True)
    place.write_bytes(damaged_libraries()[damage])
    monkeypatch.syspath_prepend(str(tmp_path / "layer"))
    scene.start()
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in events] == ["form_not_loaded", "version_live"]
    assert events[0]["digest"] == forms(scene)[1]["model"]["digest"]
    assert scene.answer() == scene.expected()


def test_a_form_that_asks_for_something_unknown_is_left_alone(scene):
    for form in scene.compilation["forms"]:
        if form["requires"]:
            form["requires"] = "../../tmp/forest-1"
    scene.start()
    assert scene.fetched() == keys(scene.compilation["forms"][0])
    assert scene.answer() == scene.expected()


def test_pointers_of_earlier_releases_say_nothing_of_it(scene):
    portable, _ = forms(scene)
    del portable["requires"]
    scene.pointer["champion"]["forms"] = [portable]
    scene.start()
    assert scene.fetched() == keys(portable)
    assert scene.answer() == scene.expected()


def test_a_damaged_forest_is_refused_and_the_next_form_serves(scene, capsys):
    model = forms(scene)[1]["model"]
    scene.objects.put(model["key"], b"\0" * model["size"])
    scene.start()
    assert "form_not_loaded" in capsys.readouterr().out
    assert scene.answer() == scene.expected()


def test_the_library_comes_from_the_layer_before_that_of_this_machine(tmp_path, monkeypatch):
    own = forest_kernel()
    place = tmp_path / kernel.FOLDER / f"{kernel.FOREST}.so"
    place.parent.mkdir()
    place.write_bytes(Path(own).read_bytes())
    monkeypatch.syspath_prepend(str(tmp_path))
    assert kernel.find(kernel.FOREST) == str(place)
