"""Compiling a whole model in its child process: what comes back, and what a hostile model does not achieve."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, load_from_string, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from modelyard import confined
from modelyard.compiling import compiler, kernel, packed_forest
from modelyard.compiling.child import Compilation
from modelyard.compiling.compiler import CompilationRefused, CompiledForm, CompiledModel, compile_model
from modelyard.compiling.loading import ANY, WEIGHTS, WEIGHTS_FOLDER, machine
from modelyard.compiling.outcome import SO_FAR, Step
from modelyard.compiling.proving import Measure
from modelyard.predictor.arrays import from_numpy, to_numpy
from modelyard.predictor.lean import LeanEngine
from modelyard.predictor.signature import signature_of
from tests.fakes import hostile_models, onnx_models, realistic_models
from tests.fakes.hand_made_trees import ensemble
from tests.fakes.native import forest_kernel

TRIES = 5
"""On a machine with much else to do a good form may seem slower than the raw file, and is left out."""


def compiled(model: bytes, *, forms: int = 1, **settings: Any) -> CompiledModel:
    for _ in range(TRIES):
        result = compile_model(model, **{"deadline_s": 30.0, **settings})
        if isinstance(result, CompiledModel) and len(result.forms) >= forms:
            break
    assert isinstance(result, CompiledModel), result
    return result


def for_our_kernel(model: bytes) -> tuple[list[CompiledForm], CompiledForm]:
    """The other forms, and that for our own kernel."""
    for _ in range(TRIES):
        *others, own = compiled(model).forms
        if own.requires == kernel.FOREST:
            return others, own
    raise AssertionError(own)


def refused(model: bytes, **settings: Any) -> CompilationRefused:
    result = compile_model(model, **{"deadline_s": 30.0, **settings})
    assert isinstance(result, CompilationRefused), result
    return result


def session(model: bytes, weights: bytes | None, folder: Path) -> Any:
    """A session as the engines make it."""
    options = onnxruntime.SessionOptions()
    if weights is not None:
        folder.mkdir(exist_ok=True)
        (folder / WEIGHTS).write_bytes(weights)
        options.add_session_config_entry(WEIGHTS_FOLDER, str(folder))
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def text_encoder() -> bytes:
    return realistic_models.text_encoder(layers=1, width=96, words=3000, heads=4)


@pytest.fixture(scope="module")
def text_forms(text_encoder: bytes) -> CompiledModel:
    return compiled(text_encoder)


def test_a_network_keeps_its_weights_beside_it_and_answers_the_same(
    text_encoder: bytes, text_forms: CompiledModel, tmp_path: Path
) -> None:
    (form,) = text_forms.forms
    assert form.architecture == "any"
    assert form.weights is not None
    assert len(form.weights) > 1_000_000
    assert len(form.model) < 50_000
    assert text_forms.onnxruntime == onnxruntime.__version__
    assert text_forms.checked["threads"] == [1, 2]
    assert text_forms.checked["rows"] >= 3
    assert [(step.name, step.outcome) for step in form.steps] == [("optimised graph (extended)", "kept")]
    ids = np.random.default_rng(1).integers(0, 3000, (3, 20))
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    engine = session(form.model, form.weights, tmp_path / "own")
    (raw,) = session(text_encoder, None, tmp_path).run(None, feeds)
    assert engine.run(None, feeds)[0].tobytes() == raw.tobytes()


def test_small_weights_stay_in_the_graph(text_forms: CompiledModel) -> None:
    """For each tensor outside, onnxruntime resolves a path and maps a file, which takes longer than to copy it."""
    (form,) = text_forms.forms
    graph = load_from_string(form.model).graph
    outside = [tensor for tensor in graph.initializer if tensor.external_data]
    lengths = [int(entry.value) for tensor in outside for entry in tensor.external_data if entry.key == "length"]
    assert len(lengths) == len(outside) > 0
    assert min(lengths) >= 32 << 10
    assert len(outside) < len(graph.initializer)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_its_weights_are_mapped_not_copied(text_forms: CompiledModel, tmp_path: Path) -> None:
    (form,) = text_forms.forms
    engine = session(form.model, form.weights, tmp_path / "own")
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path / "own") in line]
    assert mapped
    del engine


def test_the_same_bytes_come_out_again(text_encoder: bytes, text_forms: CompiledModel) -> None:
    again = compiled(text_encoder)
    assert [(form.model, form.weights, form.steps) for form in again.forms] == [
        (form.model, form.weights, form.steps) for form in text_forms.forms
    ]


def test_an_image_classifier_has_a_second_form_for_this_machine(tmp_path: Path) -> None:
    model = realistic_models.image_classifier(side=32, stages=realistic_models.MOBILE[:4], classes=100, last=1280)
    portable, own = compiled(model, forms=2).forms
    assert (portable.architecture, own.architecture) == ("any", machine())
    kinds = [{node.domain for node in load_from_string(form.model).graph.node} for form in (portable, own)]
    assert "com.microsoft.nchwc" not in kinds[0]
    assert "com.microsoft.nchwc" in kinds[1]
    feeds = {"image": np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)}
    answers = [session(model, None, tmp_path).run(None, feeds)[0].tobytes()]
    answers += [
        session(form.model, form.weights, tmp_path / form.architecture).run(None, feeds)[0].tobytes()
        for form in (portable, own)
    ]
    assert len(set(answers)) == 1


def test_where_the_optimised_graph_answers_otherwise_the_weights_alone_go_outside(tmp_path: Path) -> None:
    """Half floats are widened where the file is loaded; what was optimised before rounds elsewhere."""
    single = load_from_string(realistic_models.text_encoder(layers=2, width=96, words=9000, heads=2))
    model = convert_float_to_float16(single, keep_io_types=True).SerializeToString()
    (form,) = compiled(model).forms
    outcomes = [(step.name, step.outcome) for step in form.steps]
    assert outcomes == [
        ("optimised graph (extended)", "dropped"),
        ("optimised graph (basic)", "dropped"),
        ("weights outside", "kept"),
    ]
    assert (form.architecture, len(form.model) < len(model) / 4) == ("any", True)
    feeds = {name: np.ones((2, 5), np.int64) for name in ("input_ids", "attention_mask")}
    answers = [session(*one, tmp_path).run(None, feeds) for one in ((model, None), (form.model, form.weights))]
    assert answers[0][0].tobytes() == answers[1][0].tobytes()
    kept = load_from_string(model).graph
    moved = load_from_string(form.model).graph
    assert [node.SerializeToString() for node in moved.node] == [node.SerializeToString() for node in kept.node]


def test_half_floats_are_proven_for_this_machine_only() -> None:
    weights = numpy_helper.from_array(np.full((800, 800), 0.01, np.float16), "w")
    model = hostile_models.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        inputs=[hostile_models.value("x", [None, 800], TensorProto.FLOAT16)],
        outputs=[hostile_models.value("y", [None, 800], TensorProto.FLOAT16)],
        initializers=[weights],
    ).SerializeToString()
    (form,) = compiled(model).forms
    assert form.architecture == machine()


def test_a_forest_with_a_zipmap_gives_plain_probabilities_from_fewer_bytes(tmp_path: Path) -> None:
    model = realistic_models.forest(trees=30, rows=300, zipmap=True, labels=["rain", "snow", "sun"])
    form, *_ = compiled(model).forms
    assert [(step.name, step.outcome) for step in form.steps] == [
        ("plain probabilities", "kept"),
        ("tree ensemble", "kept"),
    ]
    assert form.weights is None
    assert len(form.model) < 0.3 * len(model)
    engine = session(form.model, None, tmp_path)
    signature = signature_of(engine)
    assert signature["outputs"][1]["classes"] == ["rain", "snow", "sun"]
    table = {"x": np.random.default_rng(3).standard_normal((30, 10)).astype(np.float32)}
    (label, rows), (same, array) = session(model, None, tmp_path).run(None, table), engine.run(None, table)
    assert label.tolist() == same.tolist()
    assert array.tolist() == [[row[name] for name in ("rain", "snow", "sun")] for row in rows]


def test_a_forest_has_a_form_for_our_own_kernel_beside_the_portable_one(tmp_path: Path) -> None:
    library = forest_kernel()
    model = realistic_models.forest("RandomForestRegressor")
    others, own = for_our_kernel(model)
    assert {form.requires for form in others} <= {""}
    assert own.architecture == ANY
    assert [(step.name, step.outcome) for step in own.steps] == [
        ("forest kernel", "kept"),
    ]
    assert len(own.model) < 10_000
    assert own.weights is not None
    assert len(own.weights) >= packed_forest.LEAST_OUTSIDE
    assert own.measured["compiled_create_ms"] < 0.3 * own.measured["raw_create_ms"]
    table = {"x": np.random.default_rng(3).standard_normal((30, 10)).astype(np.float32)}
    (expected,) = session(model, None, tmp_path).run(None, table)
    with pytest.raises(Exception, match="modelyard"):
        session(own.model, own.weights, tmp_path / "w")
    engine = LeanEngine(own.model, kernel=library, options={WEIGHTS_FOLDER: str(tmp_path / "w")})
    (answer,) = engine.run([from_numpy(table["x"])])
    assert to_numpy(answer).tobytes() == expected.tobytes()


def test_boosting_that_no_other_form_is_made_of_has_the_one_for_our_kernel_alone() -> None:
    forest_kernel()
    model = realistic_models.forest("GradientBoostingClassifier", trees=80, rows=500)
    others, own = for_our_kernel(model)
    assert own.weights is None, "small trees stay in the file"
    assert not any(step.name == "tree ensemble" and step.outcome == "kept" for form in others for step in form.steps)


def test_without_the_library_there_is_no_form_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.compiling.kernel.find", lambda name: None)
    model = realistic_models.forest(trees=30, rows=300)
    found = Compilation(model, Path(tempfile.mkdtemp()), [], 30.0).forms()
    assert [form.requires for form in found] == [""]


def test_a_form_whose_kernel_answers_otherwise_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    forest_kernel()
    packed = packed_forest.packed

    def turned(trees: Any) -> Any:
        words = packed(trees)
        words[3] = 1  # less, in place of less or equal
        return words

    monkeypatch.setattr(packed_forest, "packed", turned)
    compilation = Compilation(realistic_models.forest(trees=30, rows=300), Path(tempfile.mkdtemp()), [], 30.0)
    assert [form.requires for form in compilation.forms()] == [""]
    assert (compilation.steps[-1]["name"], compilation.steps[-1]["outcome"]) == ("forest kernel", "dropped")
    assert "another answer to" in compilation.steps[-1]["note"]


def test_a_step_that_onnxruntime_refuses_is_dropped_and_the_next_one_tried() -> None:
    """`TreeEnsemble` wants thresholds as wide as its input; the old operation takes float64 as it is."""
    (form,) = compiled(realistic_models.forest(trees=30, rows=300, wide=True)).forms
    (first, second) = form.steps
    assert (first.name, first.outcome) == ("tree ensemble", "dropped")
    assert "refuses" in first.note
    assert (second.name, second.outcome) == ("compact trees", "kept")


def test_a_sample_of_the_caller_is_what_it_is_proven_on() -> None:
    sample = [
        {"x": np.ones((5, 10), np.float32)},
        {"x": np.zeros((2, 10), np.float32)},
    ]
    model = realistic_models.forest(trees=30, rows=300)
    assert compiled(model, sample=sample).checked == {
        "samples": 2,
        "rows": 7,
        "values": ["given"],
        "threads": [1, 2],
    }


def test_text_and_missing_values_of_a_sample_reach_the_child() -> None:
    model = onnx_models.echo(("words", "string", [None, 1]), ("numbers", "float64", [None, 1]))
    sample = [{"words": np.array([["a"], [""]], object), "numbers": np.array([[np.nan], [2.0]])}]
    assert refused(model, sample=sample).code == "kept_as_it_is"
    wrong = refused(model, sample=[{"words": np.array([[1.0]]), "numbers": np.array([[1.0]])}])
    assert (wrong.code, "given" in wrong.reason) == ("not_provable", True)


def test_a_small_model_is_kept_as_it_is() -> None:
    assert refused(onnx_models.row_sum()).code == "kept_as_it_is"
    forest = refused(realistic_models.forest("GradientBoostingClassifier", trees=5, rows=200))
    assert forest.code == "kept_as_it_is"
    assert "213 nodes are loaded in no time; compact trees: does not pay" in forest.reason


HOSTILE: dict[str, tuple[bytes, str]] = {
    "external data": (hostile_models.external_initializer("/etc/passwd"), "external_data"),
    "32 GiB while it runs": (hostile_models.huge_at_run_time(), "not_provable"),
    "32 GiB while it loads": (hostile_models.huge_constant(), "not_provable"),
    "truncated": (hostile_models.harmless()[:-5], "not_onnx"),
    "empty": (b"", "not_onnx"),
    "no ONNX": (b"\x80\x04K\x01.", "not_onnx"),
    "no rows that it takes": (onnx_models.fails_unless_two_rows(), "not_provable"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_cannot_be_compiled_is_refused_with_a_reason(case: str) -> None:
    model, code = HOSTILE[case]
    result = refused(model)
    assert result.code == code
    assert result.reason
    assert "\n" not in result.reason
    assert "onnxruntime_src" not in result.reason


def test_a_model_that_runs_for_ever_is_ended_at_the_deadline() -> None:
    began = time.monotonic()
    result = refused(hostile_models.endless_loop(), deadline_s=1.5)
    assert result == CompilationRefused("timeout", "it took more than 1.5 s")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (subprocess.TimeoutExpired("python", 30.0), "it took more than 30 s"),
        ((-9, b""), "the process that compiles ended with SIGKILL"),
        ((0, b'{"outcome": "refused", "code": "memory", "reason": "too much"}'), "too much"),
    ],
    ids=["at the deadline", "killed", "without memory"],
)
def test_forms_that_were_proven_are_kept_when_the_child_does_not_come_to_its_end(
    ended: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: Any, **settings: Any) -> Any:
        confined_run(*arguments, **settings)
        if isinstance(ended, Exception):
            raise ended
        return ended

    model, confined_run = realistic_models.forest(trees=30, rows=300), confined.run_confined
    whole = compiled(model)
    monkeypatch.setattr(confined, "run_confined", run)
    found = compiled(model, forms=len(whole.forms))
    assert [form.requires for form in found.forms] == [form.requires for form in whole.forms]
    assert [form.model for form in found.forms] == [form.model for form in whole.forms]
    assert {form.steps[-1] for form in found.forms} == {Step("other forms", "skipped", reason)}


@pytest.mark.parametrize("left", ["nothing", "half of it", "a link"])
def test_what_a_child_left_is_read_with_care(left: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = b'{"outcome":"compiled","onnxruntime":"1","forms":[],"checked":{},"steps":[],"slower":[]}'
    (tmp_path / "elsewhere").write_bytes(whole)

    def run(*_: Any, folder: Path, **__: Any) -> Any:
        if left == "half of it":
            (folder / SO_FAR).write_bytes(whole[:40])
        if left == "a link":
            (folder / SO_FAR).symlink_to(tmp_path / "elsewhere")
        return -9, b""

    monkeypatch.setattr(confined, "run_confined", run)
    assert refused(onnx_models.row_sum()).code == "crashed"


def test_memory_is_limited(text_encoder: bytes) -> None:
    assert refused(text_encoder, memory_mb=250).code in ("memory", "failed", "crashed")
    # Where memory runs out in one of the engine's own threads, the process ends at once.
    large = refused(hostile_models.expanding(to_rows=40_000_000), memory_mb=1200)
    assert large.code in ("memory", "not_provable", "crashed")


def test_credentials_stay_with_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    real = confined.subprocess.Popen

    def noted(*arguments: Any, **settings: Any) -> Any:
        seen.update(settings)
        return real(*arguments, **settings)

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(confined.subprocess, "Popen", noted)
    refused(onnx_models.row_sum())
    assert not [name for name in seen["env"] if name.startswith("AWS_")]
    assert seen["cwd"] != Path.cwd()


@pytest.mark.parametrize(
    ("model", "weights", "fine"),
    [
        (hostile_models.harmless(), None, True),
        (hostile_models.external_initializer(WEIGHTS), b"0" * 12, True),
        (hostile_models.external_initializer(WEIGHTS), b"0" * 11, False),
        (hostile_models.external_initializer(WEIGHTS), None, False),
        (hostile_models.external_initializer("/etc/passwd"), b"0" * 12, False),
        (hostile_models.external_everywhere()["constant"], b"0" * 12, False),
        (hostile_models.external_everywhere()["graph in a graph"], b"0" * 12, False),
        (hostile_models.external_everywhere(WEIGHTS)["graph in a graph"], b"0" * 12, True),
        (hostile_models.external_everywhere(WEIGHTS)["graph in a graph"], b"0" * 11, False),
        (hostile_models.external_everywhere(WEIGHTS)["graph in a graph"], None, False),
        (b"no model", None, False),
    ],
)
def test_a_form_that_asks_for_more_than_its_own_weights_is_not_taken(
    model: bytes, weights: bytes | None, fine: bool
) -> None:
    form = CompiledForm("any", model, weights, (), {})
    assert compiler._keeps_to_itself(form) is fine


ONE_FORM = (
    b'{"outcome": "compiled", "onnxruntime": "1", "checked": {}, "steps": [], "slower": [], "forms": '
    b'[{"number": 0, "order": 0, "architecture": "any", "weights": false, "steps": [], "measured": {}}]}'
)


@pytest.mark.parametrize(
    "said",
    [
        *(b"", b"{", b"[]", b'{"outcome": "compiled", "forms": 7}'),
        ONE_FORM,
    ],
)
def test_an_answer_that_a_child_would_not_give_is_no_form(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "run_confined", lambda *_, **__: (0, said))
    assert refused(onnx_models.row_sum()).code in ("crashed", "failed")


def test_a_form_that_is_a_link_to_another_file_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def linked(*_: Any, folder: Path, **__: Any) -> tuple[int, bytes]:
        (folder / "0.onnx").symlink_to("/etc/hostname")
        return 0, ONE_FORM

    monkeypatch.setattr(confined, "run_confined", linked)
    assert "link" in refused(onnx_models.row_sum()).reason


def test_metadata_survives(text_encoder: bytes) -> None:
    made = load_from_string(text_encoder)
    helper.set_model_props(made, {"author": "grün"})
    (form,) = compiled(made.SerializeToString()).forms
    assert {entry.key: entry.value for entry in load_from_string(form.model).metadata_props} == {"author": "grün"}


def test_rows_to_time_are_cut_from_all_batches_of_one_kind() -> None:
    model = realistic_models.forest(trees=5, rows=100)
    measure = Measure(model, [], seconds=30.0, columns={})
    for rows in (1, 40):
        found = measure.many_rows(rows)
        assert {inputs["x"].shape for inputs in found} == {(rows, 10)}
        assert len({inputs["x"].tobytes() for inputs in found}) == len(found) == 240 // rows
    given = [{"x": np.random.default_rng(0).random((rows, 10)).astype(np.float32)} for rows in (1, 25)]
    measure = Measure(model, given, seconds=30.0, columns={})
    assert np.concatenate([inputs["x"] for inputs in measure.many_rows(12)]).tobytes() == given[1]["x"][:24].tobytes()
    assert measure.many_rows(13) == []
    assert Measure(model, given[:1], seconds=30.0, columns={}).many_rows(1) == []


def test_a_form_that_takes_longer_to_load_than_the_file_is_left_out() -> None:
    """onnxruntime takes a time for a `TreeEnsemble` that grows with the square of its trees."""
    stumps = [(number % 3, "LEQ", number / 5000, {0: number / 7}, {0: -1.0}) for number in range(5000)]
    result = compile_model(ensemble(*stumps), deadline_s=30.0)
    forms = result.forms if isinstance(result, CompiledModel) else ()
    assert not [form for form in forms if any(step.name == "tree ensemble" for step in form.steps)]
