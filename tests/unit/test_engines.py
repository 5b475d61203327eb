"""The lean engine against the standard one: the same bits out of the same bits in, and nothing left behind."""

import concurrent.futures
import gc
import itertools
import resource
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest

from modelyard.errors import AdmissionError, ModelError, ModelyardError
from modelyard.predictor import c_api
from modelyard.predictor.array import Array
from modelyard.predictor.arrays import from_numpy
from modelyard.predictor.lean import MOST_SLOTS, LeanEngine
from modelyard.predictor.standard import StandardEngine
from tests.fakes import onnx_models

RANDOM = np.random.default_rng(0)
NUMBERS = [dtype for dtype in onnx_models.ELEMENTS if dtype != "string"]


def drawn(dtype: str, shape: tuple[int, ...]) -> Array:
    if dtype == "string":
        texts = ["", "a", "日本", "a\0b", "\U0001f600", "long " * 50, "\x7f", "é"]
        return Array("string", shape, [texts[at % len(texts)] for at in range(int(np.prod(shape)))])
    if dtype == "bool":
        return from_numpy(RANDOM.integers(0, 2, shape).astype(bool))
    if dtype.startswith("float"):
        found = RANDOM.normal(0, 100, shape).astype(dtype)
        found.ravel()[:4] = [np.nan, np.inf, -np.inf, -0.0][: found.size]
        return from_numpy(found)
    limits = np.iinfo(dtype)
    return from_numpy(RANDOM.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True))


@cache
def forest(labels: str, *, zipmap: bool) -> bytes:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    features, species = load_iris(return_X_y=True)
    named = np.array(["setosa", "versicolor", "virginica"])[species] if labels == "string" else species
    trees = RandomForestClassifier(n_estimators=5, random_state=0).fit(features, named)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = to_onnx(trees, initial_types=[("x", FloatTensorType([None, 4]))], options={"zipmap": zipmap})
    content: bytes = made.SerializeToString()
    return content


IRIS = from_numpy(np.array([[5.1, 3.5, 1.4, 0.2], [6.2, 2.2, 4.5, 1.5], [5.9, 3.0, 5.1, 1.8]], np.float32))
CASES = {
    **{
        f"{dtype} {shape}": (onnx_models.echo(("x", dtype, [None, *shape[1:]])), [drawn(dtype, shape)])
        for dtype in onnx_models.ELEMENTS
        for shape in ((8,), (3, 1), (2, 3, 4))
    },
    "a size that varies": (onnx_models.echo(("x", "float32", [None, "n"])), [drawn("float32", (2, 7))]),
    "an axis of no length": (onnx_models.echo(("x", "float32", [None, "n"])), [Array("float32", (2, 0), b"")]),
    "text of no length": (onnx_models.echo(("x", "string", [None, "n"])), [Array("string", (2, 0), [])]),
    "inputs of many kinds": (
        onnx_models.echo(*((f"in{at}", dtype, [None, 2]) for at, dtype in enumerate(onnx_models.ELEMENTS))),
        [drawn(dtype, (5, 2)) for dtype in onnx_models.ELEMENTS],
    ),
    "classes": (onnx_models.classifier(), [drawn("float32", (4, 3))]),
    "numbers as classes": (forest("int64", zipmap=False), [IRIS]),
    "texts as classes": (forest("string", zipmap=False), [IRIS]),
    "ZipMap of numbers": (forest("int64", zipmap=True), [IRIS]),
    "ZipMap of texts": (forest("string", zipmap=True), [IRIS]),
}


def bits(output: object) -> object:
    if not isinstance(output, Array):
        return output
    return output.dtype, tuple(output.shape), output.buffer if output.dtype == "string" else bytes(output.buffer)


@pytest.mark.parametrize("case", CASES)
def test_both_engines_give_the_same_bits(case):
    model, arrays = CASES[case]
    lean, standard = LeanEngine(model), StandardEngine(model)
    assert lean.signature() == standard.signature()
    assert list(map(bits, lean.run(arrays))) == list(map(bits, standard.run(arrays)))


@pytest.mark.parametrize("case", CASES)
def test_later_batches_of_the_same_shapes_give_the_same_bits(case):
    model, arrays = CASES[case]
    lean, standard = LeanEngine(model), StandardEngine(model)
    for _ in range(4):  # the first makes a slot, the second has its outputs written into it
        assert list(map(bits, lean.run(arrays))) == list(map(bits, standard.run(arrays)))
        arrays = [drawn(array.dtype, tuple(array.shape)) for array in arrays]


def test_outputs_whose_shape_depends_on_the_values_are_as_they_are_each_time(capfd):
    lean, standard = LeanEngine(onnx_models.places()), StandardEngine(onnx_models.places())
    for values in ([1, 0, 2], [0, 3, 4], [0, 5, 0], [0, 0, 0], [6, 7, 8], [9, 0, 0]):
        arrays = [Array.pack("float32", (3,), values)]
        assert list(map(bits, lean.run(arrays))) == list(map(bits, standard.run(arrays)))
    assert capfd.readouterr().err == ""  # an attempt that did not fit is nobody's business


def test_an_output_that_is_an_input_or_a_constant_is_never_of_another_batch():
    lean, standard = LeanEngine(onnx_models.passes_on()), StandardEngine(onnx_models.passes_on())
    for _ in range(4):
        arrays = [drawn("float32", (5, 2))]
        assert list(map(bits, lean.run(arrays))) == list(map(bits, standard.run(arrays)))


def test_a_run_that_fails_between_others_changes_nothing():
    engine = LeanEngine(onnx_models.fails_unless_two_rows())
    two, three = drawn("float32", (2, 1)), drawn("float32", (3, 1))
    expected = list(map(bits, engine.run([two])))
    for _ in range(3):
        with pytest.raises(ModelError):
            engine.run([three])
        assert list(map(bits, engine.run([two]))) == expected


def test_of_many_shapes_the_ones_in_use_keep_their_slots():
    engine = LeanEngine(onnx_models.echo(("x", "float32", [None, 1])))
    often = [drawn("float32", (1, 1))]
    for rows in range(2, 40):
        engine.run(often)
        engine.run([drawn("float32", (rows, 1))])
    assert len(engine._slots) == MOST_SLOTS
    assert ((1, 1),) in engine._slots


def test_a_slot_serves_one_thread_at_a_time():
    engine = LeanEngine(onnx_models.echo(("x", "float32", [None, 2]), ("y", "int64", [None, 1])))
    batches = [[drawn("float32", (rows, 2)), drawn("int64", (rows, 1))] for rows in (1, 1, 1, 2, 3) * 4]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for asked, found in zip(batches * 50, pool.map(engine.run, batches * 50), strict=True):
            assert list(map(bits, found)) == list(map(bits, asked))


@pytest.mark.parametrize(
    "buffer",
    [
        bytes,
        bytearray,
        memoryview,
        lambda raw: memoryview(b"12345678" + raw)[8:],
        lambda raw: memoryview(b"1" + raw)[1:],
    ],
    ids=["bytes", "bytearray", "memoryview", "a slice", "a slice at an odd place"],
)
def test_a_buffer_is_taken_where_it_lies(buffer):
    raw = np.arange(6, dtype=np.float32).tobytes()
    (output,) = LeanEngine(onnx_models.echo(("x", "float32", [None, 2]))).run([Array("float32", (3, 2), buffer(raw))])
    assert output.buffer == raw


@pytest.mark.parametrize("engine", [LeanEngine, StandardEngine])
def test_a_model_may_be_a_buffer_or_the_name_of_a_file(engine, tmp_path):
    model, array = onnx_models.row_sum(2.0), Array.pack("float32", (1, 2), [3.0, 4.0])
    (tmp_path / "mödel").write_bytes(model)
    for source in (model, bytearray(model), memoryview(model), str(tmp_path / "mödel")):
        assert engine(source).run([array])[0].elements() == [9.0]
    with pytest.raises(AdmissionError):
        engine(str(tmp_path / "none"))


def test_an_output_outlives_the_run_and_the_engine():
    engine = LeanEngine(onnx_models.echo(("x", "float32", [None, 2])))
    outputs = [engine.run([drawn("float32", (50, 2))])[0] for _ in range(50)]
    kept = [bytes(output.buffer) for output in outputs]
    del engine
    gc.collect()
    assert [bytes(output.buffer) for output in outputs] == kept


def test_several_threads_run_one_engine():
    engine = LeanEngine(forest("int64", zipmap=True))
    alone = list(map(bits, engine.run([IRIS])))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: list(map(bits, engine.run([IRIS]))), range(400)):
            assert found == alone


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [b"", b"\0", b"not a model", onnx_models.row_sum()[:50]])
def test_bytes_that_are_no_model_are_refused_by_both(model):
    for engine in (LeanEngine, StandardEngine):
        with pytest.raises(AdmissionError) as caught:
            engine(model)
        assert caught.value.code == "not_loadable"


def test_a_model_that_raises_is_our_error_with_its_cause():
    for engine in (LeanEngine, StandardEngine):
        with pytest.raises(ModelError) as caught:
            engine(onnx_models.fails_unless_two_rows()).run([drawn("float32", (3, 1))])
        assert "Reshape" in str(caught.value.__cause__)


@pytest.mark.parametrize("engine", [LeanEngine, StandardEngine])
def test_a_text_that_is_no_utf_8_is_the_models_failure_and_not_another_text(engine):
    loaded = engine(onnx_models.named(b"rain", b"Nebel \xfcber", b"\xed\xa0\x80", b"a\0b"))
    for place in (1, 2):
        with pytest.raises(ModelError) as caught:
            loaded.run([Array.pack("int64", (2,), [0, place])])
        assert isinstance(caught.value.__cause__, UnicodeDecodeError)
    assert loaded.run([Array.pack("int64", (2,), [0, 3])])[0].elements() == ["rain", "a\0b"]


def test_an_array_of_another_dtype_or_size_is_an_error_and_no_crash():
    engine = LeanEngine(onnx_models.echo(("x", "float32", [None, 2])))
    for _ in range(2):
        for array in (drawn("int64", (3, 2)), Array("float32", (3, 2), b"\0" * 20), drawn("float32", (3, 5))):
            with pytest.raises(ModelError):
                engine.run([array])
        engine.run([drawn("float32", (3, 2))])  # which leaves a slot


def test_a_library_without_the_api_is_refused(tmp_path):
    with pytest.raises(ModelyardError, match="does not start") as caught:
        c_api.CApi(str(tmp_path / "libonnxruntime.so"))
    assert caught.value.code == "engine_unavailable"


def test_a_library_that_is_too_old_for_us_is_refused_with_its_version(monkeypatch, capfd):
    monkeypatch.setattr(c_api, "API_VERSION", 9999)
    with pytest.raises(ModelyardError, match=r"onnxruntime 1\.\d+\.\d+, which has no C API of version 9999"):
        c_api.CApi(c_api.find_library())
    capfd.readouterr()  # onnxruntime says so too


def test_where_no_folder_has_the_library_the_next_step_says_what_to_do(monkeypatch):
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(ModelyardError) as caught:
        c_api.find_library()
    assert "modelyard build" in (caught.value.next_step or "")


def test_the_first_session_of_a_process_is_of_the_smallest_model():
    value = onnx.helper.make_tensor_value_info
    ends = [[value(name, onnx.TensorProto.FLOAT, [1])] for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", *ends)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=7)
    assert model.SerializeToString() == c_api._IDENTITY
    assert LeanEngine(c_api._IDENTITY).run([Array.pack("float32", (1,), [2.5])])[0].elements() == [2.5]


# -- nothing is left behind -------------------------------------------------------------------------------------------


STATM = Path("/proc/self/statm")
linux = pytest.mark.skipif(not STATM.exists(), reason="tells resident memory by /proc")


def resident_mb() -> float:
    return int(STATM.read_text().split()[1]) * resource.getpagesize() / 2**20


def grown_mb(work, times: int) -> float:
    for _ in range(times // 10):
        work()
    gc.collect()
    before = resident_mb()
    for _ in range(times):
        work()
    gc.collect()
    return resident_mb() - before


@linux
@pytest.mark.parametrize(
    "case", ["inputs of many kinds", "ZipMap of texts", "string (3, 1)", "numbers as classes", "float64 (2, 3, 4)"]
)
def test_runs_leave_nothing_behind(case):
    model, arrays = CASES[case]
    engine = LeanEngine(model)
    # What one run allocates is more than 1 KB in each case: 5,000 lost ones would be seen.
    assert grown_mb(lambda: engine.run(arrays), 5000) < 2


@linux
def test_runs_that_fail_leave_nothing_behind():
    engine = LeanEngine(onnx_models.echo(("x", "float32", [None, 2]), ("t", "string", [None, 50])))
    wrong = [drawn("float32", (3, 2)), drawn("string", (3, 49))]

    def fail() -> None:
        with pytest.raises(ModelError):
            engine.run(wrong)

    assert grown_mb(fail, 3000) < 2


@linux
def test_batches_of_ever_new_shapes_leave_nothing_behind():
    engine = LeanEngine(onnx_models.echo(("x", "float32", [None, "n"])))
    widths = itertools.cycle(RANDOM.permutation(3000) + 1)

    def work() -> None:
        engine.run([drawn("float32", (1, int(next(widths))))])

    grown_mb(work, 3000)  # until the allocator has found its sizes
    assert grown_mb(work, 6000) < 2


@linux
def test_engines_leave_nothing_behind():
    model = forest("int64", zipmap=True)
    assert grown_mb(lambda: LeanEngine(model).run([IRIS]), 200) < 3
