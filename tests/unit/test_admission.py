"""Admission: what is refused by content, what is refused by trial, and what comes through."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from modelyard.admission import admit
from modelyard.errors import AdmissionError, ModelyardError
from modelyard.version import OutputSpec, Signature, TensorSpec
from tests.fakes import hostile_models as models
from tests.fakes.hostile_models import model, value


def refusal(artifact: bytes, **limits: Any) -> AdmissionError:
    with pytest.raises(AdmissionError) as refused:
        admit(artifact, **limits)
    assert refused.value.status in (413, 422)
    assert "Traceback" not in refused.value.message
    assert "onnxruntime_src" not in refused.value.message
    assert "\n" not in refused.value.message
    return refused.value


def archive(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("model.onnx", content)
    return buffer.getvalue()


def array(content: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, content, allow_pickle=True)
    return buffer.getvalue()


class Bomb:
    """Unpickling it runs a command."""

    def __reduce__(self) -> Any:
        return os.system, ("exit 1",)


OTHER_FORMATS = {
    **{f"pickle protocol {protocol}": (pickle.dumps(Bomb(), protocol), "pickle") for protocol in range(6)},
    "pickled dictionary, protocol 0": (pickle.dumps({"weights": [1, 2]}, 0), "pickle"),
    "pickled list, protocol 1": (pickle.dumps([1, 2], 1), "pickle"),
    "numpy with objects": (array(np.array([Bomb()], dtype=object)), "NPY"),
    "numpy": (array(np.zeros(3)), "NPY"),
    "zip": (archive(models.harmless()), "zip"),
    "gzip": (gzip.compress(models.harmless()), "gzip"),
    "zlib, as joblib writes it": (zlib.compress(models.harmless()), "compressed"),
    "bzip2": (bz2.compress(models.harmless()), "compressed"),
    "xz": (lzma.compress(models.harmless()), "compressed"),
    "HTML": (b"\r\n  <!DOCTYPE html><html><body>404</body></html>", "HTML"),
    "HTML with a byte order mark": (b"\xef\xbb\xbf<HTML>", "HTML"),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "JSON": (b'{"learner": {}}', "JSON"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "ORT": (b"\x18\x00\x00\x00ORTM" + bytes(100), "ORT format"),
    "TensorFlow Lite": (b"\x1c\x00\x00\x00TFL3" + bytes(100), "TensorFlow Lite"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_another_format_is_named_and_never_loaded(name: str) -> None:
    content, said = OTHER_FORMATS[name]
    refused = refusal(content)
    assert refused.code == "not_onnx"
    assert said in refused.message
    assert refused.next_step


def test_a_table_whose_header_begins_with_c_is_called_no_pickle() -> None:
    refused = refusal(b"customer id,signup,plan,churned\n1000,2022-11-30,basic,no\n")
    assert refused.code == "not_onnx"
    assert "pickle" not in refused.message


def test_an_empty_file_is_refused() -> None:
    assert refusal(b"").code == "empty_artifact"


def test_a_file_over_the_limit_is_refused_with_both_sizes() -> None:
    refused = refusal(models.harmless(), max_bytes=50)
    assert (refused.code, refused.status) == ("artifact_too_large", 413)
    assert "at most 50" in refused.message


@pytest.mark.parametrize(
    "artifact",
    [models.harmless()[:-7], models.harmless()[:1], bytes(1000), bytes(range(256)), b"text, not a model" * 10],
    ids=["truncated", "one byte", "zeros", "noise", "text"],
)
def test_a_damaged_file_is_not_onnx(artifact: bytes) -> None:
    assert refusal(artifact).code == "not_onnx"


def test_a_model_that_answers_is_admitted_with_its_signature() -> None:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [0.0] * 6)
    artifact = model(
        [
            helper.make_node("MatMul", ["x", "w"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
            helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
        ],
        inputs=[value("x", ["batch", 3])],
        outputs=[value("label", [None], TensorProto.INT64), value("probabilities", [None, 2])],
        initializers=[tensor],
        metadata={"modelyard.classes": json.dumps(["rain", "sun"])},
    ).SerializeToString()
    assert admit(artifact) == Signature(
        (TensorSpec("x", "float32", (None, 3)),),
        (
            OutputSpec("label", "int64", (None,)),
            OutputSpec("probabilities", "float32", (None, 2), ("rain", "sun")),
        ),
    )


@pytest.mark.parametrize(
    ("element", "dtype"),
    [
        ("FLOAT16", "float16"),
        ("DOUBLE", "float64"),
        ("INT8", "int8"),
        ("UINT64", "uint64"),
        ("BOOL", "bool"),
        ("STRING", "string"),
    ],
)
def test_inputs_of_every_kind_can_be_tried(element: str, dtype: str) -> None:
    kind = getattr(TensorProto, element)
    artifact = model(
        [helper.make_node("Identity", ["x"], ["y"])],
        inputs=[value("x", [None, 2], kind)],
        outputs=[value("y", [None, 2], kind)],
    ).SerializeToString()
    assert admit(artifact).inputs == (TensorSpec("x", dtype, (None, 2)),)  # type: ignore[arg-type]


def test_text_that_the_model_parses_as_a_number_is_tried_with_a_number() -> None:
    artifact = model(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        inputs=[value("x", [None, 1], TensorProto.STRING)],
        outputs=[value("y", [None, 1])],
    ).SerializeToString()
    assert admit(artifact).inputs[0].dtype == "string"


def test_a_loop_without_end_is_killed_at_the_deadline() -> None:
    start = time.monotonic()
    refused = refusal(models.endless_loop(), deadline_s=2)
    assert refused.code == "trial_timeout"
    assert time.monotonic() - start < 6
    assert not children_of_this_process(), "the child is still running"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not enforce a limit on the address space")
@pytest.mark.parametrize("bomb", [models.huge_constant, models.huge_at_run_time])
def test_a_model_that_asks_for_all_memory_gets_an_error_instead(bomb: Any) -> None:
    artifact = bomb()
    assert len(artifact) < 300
    assert refusal(artifact).code == "trial_memory"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not enforce a limit on the address space")
def test_the_limit_on_memory_is_the_one_that_was_asked_for() -> None:
    artifact = models.expanding(to_rows=2**25)  # 384 MiB
    assert refusal(artifact, memory_mb=400).code == "trial_memory"
    assert admit(artifact, memory_mb=2048)


def test_one_row_that_does_not_fit_is_refused_before_it_is_made() -> None:
    artifact = model(
        [helper.make_node("Abs", ["x"], ["y"])], inputs=[value("x", [None, 2**20, 2**20])], outputs=[value("y", None)]
    ).SerializeToString()
    refused = refusal(artifact)
    assert (refused.code, refused.field) == ("trial_memory", "x")


@pytest.mark.parametrize("location", ["w.bin", "../w.bin", "hard.bin", "soft.bin", "absolute", "*/_ORT_MEM_ADDR_/*"])
def test_external_data_is_refused_even_where_the_file_is_there(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = np.ones(3, dtype=np.float32).tobytes()
    (tmp_path / "w.bin").write_bytes(weights)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "w.bin").write_bytes(weights)
    (folder / "hard.bin").hardlink_to(tmp_path / "w.bin")
    (folder / "soft.bin").symlink_to(tmp_path / "w.bin")
    monkeypatch.chdir(folder)
    named = str(tmp_path / "w.bin") if location == "absolute" else location
    assert refusal(models.external_initializer(named)).code == "external_data"


@pytest.mark.parametrize(
    ("artifact", "code", "said"),
    [
        (model([helper.make_node("Foo", ["x"], ["y"], domain="my")]), "not_loadable", "my"),
        (model([helper.make_node("Nonsense", ["x"], ["y"])]), "not_loadable", "Nonsense"),
        (model([helper.make_node("Abs", ["x"], ["y"])], opset=99), "not_loadable", "99"),
        (model([helper.make_node("Abs", ["missing"], ["y"])]), "not_loadable", "missing"),
        (
            model([helper.make_node("Constant", [], ["y"], value_float=1.0)], inputs=[]),
            "unsupported_signature",
            "no inputs",
        ),
        (model([helper.make_node("Abs", ["x"], ["y"])], inputs=[value("x", [])]), "unsupported_signature", "batch"),
    ],
    ids=["custom operator", "unknown operator", "unknown opset", "broken graph", "no inputs", "no batch axis"],
)
def test_a_model_that_cannot_serve_is_refused_with_the_cause(artifact: Any, code: str, said: str) -> None:
    refused = refusal(artifact.SerializeToString())
    assert refused.code == code
    assert said in refused.message


def test_a_locale_that_systems_lack_is_answered_with_one_that_they_have() -> None:
    def lowered(locale: str) -> bytes:
        node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale=locale)
        texts = [helper.make_tensor_value_info(name, TensorProto.STRING, ["n"]) for name in "xy"]
        return model([node], inputs=texts[:1], outputs=texts[1:]).SerializeToString()

    refused = refusal(lowered("xx_XX.UTF-8"))
    assert refused.code == "not_loadable"
    assert "'C.UTF-8'" in str(refused.next_step)
    assert admit(lowered("C")).inputs[0].dtype == "string"


def test_a_zipmap_counts_as_the_probabilities_that_it_was_made_of() -> None:
    zipmap = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    output = helper.make_value_info(
        "y",
        helper.make_sequence_type_proto(
            helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        ),
    )
    made = model([zipmap], inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])], outputs=[output])
    made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    (probabilities,) = admit(made.SerializeToString()).outputs
    assert (probabilities.dtype, probabilities.shape, probabilities.classes) == ("float32", (None, 3), ("0", "1", "2"))


def test_names_that_are_not_text_are_refused() -> None:
    artifact = models.harmless().replace(b"\x01y", b"\x01\xff")
    assert "not UTF-8" in refusal(artifact).message


def test_a_model_that_always_fails_is_refused_with_what_it_said() -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [7, 7])
    artifact = model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])], initializers=[shape], outputs=[value("y", None)]
    ).SerializeToString()
    refused = refusal(artifact)
    assert refused.code in ("trial_failed", "not_loadable")
    assert "Reshape" in refused.message


def test_a_process_that_does_not_work_is_not_blamed_on_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(ModelyardError) as broken:
        admit(models.harmless())
    assert broken.value.code == "trial_unavailable"
    assert not isinstance(broken.value, AdmissionError)


def test_a_child_without_onnxruntime_is_not_blamed_on_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text(
        "import os\nos.write(1, b'what an engine prints')\nraise ImportError('the layer is missing')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelyardError, match="the layer is missing") as broken:
        admit(models.harmless())
    assert broken.value.code == "trial_unavailable"


def test_the_child_sees_no_credentials_and_no_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    real = subprocess.Popen

    def watched(command: Any, **settings: Any) -> Any:
        seen.update(settings)
        seen["listing"] = os.listdir(settings["cwd"])  # noqa: PTH208
        return real(command, **settings)

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(subprocess, "Popen", watched)
    admit(models.harmless())
    assert not [name for name in seen["env"] if name.startswith("AWS")]
    assert (seen["listing"], Path(seen["cwd"]).exists()) == ([], False)


def test_what_the_engine_prints_does_not_reach_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    admit(models.harmless())
    refusal(models.harmless().replace(b"\x01x", b"\x01\xff"))
    refusal(model([helper.make_node("Foo", ["x"], ["y"], domain="my")]).SerializeToString())
    assert capfd.readouterr() == ("", "")


def test_admissions_at_once_do_not_disturb_each_other() -> None:
    outcomes: list[Any] = []

    def attempt(artifact: bytes) -> None:
        try:
            outcomes.append(admit(artifact).inputs[0].name)
        except AdmissionError as refused:
            outcomes.append(refused.code)

    threads = [
        threading.Thread(target=attempt, args=(artifact,)) for artifact in (models.harmless(), b"\x80\x04.", b"")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["empty_artifact", "not_onnx", "x"]


def children_of_this_process() -> list[str]:
    listing = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if not listing.exists():  # macOS
        return []
    return [
        pid for pid in listing.read_text().split() if b"modelyard.trial" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
