"""The endpoint with compiled forms: which one it takes, what it does without, and that answers are the same."""

import copy
import json
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from modelyard.compiling import loading
from modelyard.compiling.compiler import compile_model
from modelyard.compiling.outcome import CompiledModel
from modelyard.predictor.predictor import Predictor
from modelyard.registry.forms import described
from modelyard.serving.endpoint import Endpoint
from modelyard.serving.fetching import Fetch
from modelyard.serving.follow import PointerFollower
from modelyard.serving.loading import NICENESS, Loader
from modelyard.serving.pointer import Deployed
from modelyard.serving.settings import EndpointSettings
from tests.fakes import realistic_models
from tests.fakes.objects import InMemoryObjects, promote

EVENT = json.loads((Path(__file__).parents[1] / "events" / "http_api_v2_predict.json").read_text())
NAME = "seattle_weather"


@cache
def image_model() -> tuple[bytes, CompiledModel]:
    """A small convolutional network, with weights beside it and a form of this machine's own."""
    raw = realistic_models.image_classifier()
    compiled = compile_model(raw)
    assert isinstance(compiled, CompiledModel), compiled
    return raw, compiled


class Scene:
    """A bucket with one version and its forms, and an endpoint over it."""

    def __init__(
        self,
        engine: str,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        made: Callable[[], tuple[bytes, CompiledModel]] = image_model,
    ) -> None:
        monkeypatch.setenv("TMPDIR", str(folder))
        self.engine = engine
        self.objects = InMemoryObjects()
        self.raw, compiled = made()
        compilation, self.files = described(compiled)
        self.compilation = json.loads(json.dumps(_plain(compilation)))
        self.pointer = promote(self.objects, NAME, self.raw, version=1, revision=1)
        for key, (_, content) in self.files.items():
            self.objects.put(key, content)
        self.pointer["champion"] |= {
            "onnxruntime": self.compilation["onnxruntime"], "forms": self.compilation["forms"]
        }  # fmt: skip

    def start(self, **variables: str) -> "Scene":
        self.objects.put(f"deployments/{NAME}.json", json.dumps(self.pointer).encode())
        environ = {"MODELYARD_MODEL": NAME, "MODELYARD_ARTIFACT_BUCKET": "b", "MODELYARD_ENGINE": self.engine}
        loader = Loader(EndpointSettings.read(environ | variables))
        self.follower = PointerFollower(self.objects, NAME, refresh_s=60.0, load=loader)
        self.endpoint = Endpoint(self.follower, model=NAME)
        self.endpoint.start()
        return self

    def fetched(self) -> set[str]:
        return set(self.objects.reads) - {f"deployments/{NAME}.json"}

    def form(self, architecture: str) -> dict:
        return next(form for form in self.compilation["forms"] if form["architecture"] == architecture)

    def answer(self) -> list:
        event = copy.deepcopy(EVENT)
        shape = [size or 1 for size in self.pointer["champion"]["signature"]["inputs"][0]["shape"]]
        rows = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
        event["body"] = json.dumps({"instances": rows.tolist()})
        response = self.endpoint.handle(event, None)
        assert response["statusCode"] == 200, response
        return json.loads(response["body"])["predictions"]

    def expected(self, threads: int = 1) -> list:
        shape = [size or 1 for size in self.pointer["champion"]["signature"]["inputs"][0]["shape"]]
        rows = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
        return Predictor.load(self.raw, threads=threads).predict(rows.tolist())


def _plain(compilation: object) -> object:
    import msgspec

    return msgspec.to_builtins(compilation)


@pytest.fixture(params=["lean", "standard"])
def scene(request, tmp_path, monkeypatch) -> Scene:
    return Scene(request.param, tmp_path, monkeypatch)


def test_the_form_of_this_machine_is_taken_before_the_portable_one(scene):
    scene.start()
    own = scene.form(loading.machine())
    assert scene.fetched() == {own["model"]["key"], own["weights"]["key"]}
    assert scene.answer() == scene.expected()


def test_on_another_machine_the_portable_form_serves(scene, monkeypatch):
    monkeypatch.setattr("modelyard.serving.loading.machine", lambda: "x86_64-another")
    scene.start()
    portable = scene.form(loading.ANY)
    assert scene.fetched() == {portable["model"]["key"], portable["weights"]["key"]}
    assert scene.answer() == scene.expected()


def test_a_form_for_another_onnxruntime_is_left_alone(scene):
    scene.pointer["champion"]["onnxruntime"] = "1.30.0"
    scene.start()
    assert scene.fetched() == {scene.pointer["champion"]["key"]}
    assert scene.answer() == scene.expected()


@pytest.mark.parametrize("lost", ["model", "weights"])
@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_form_that_is_not_whole_is_reported_and_the_next_one_serves(scene, capsys, lost, how):
    for form in scene.compilation["forms"]:
        key = form[lost]["key"]
        if how == "missing":
            scene.objects.delete(key)
        else:
            scene.objects.put(key, b"\0" * form[lost]["size"])
    scene.start()
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in events] == ["form_not_loaded"] * len(scene.compilation["forms"]) + [
        "version_live"
    ]
    assert scene.answer() == scene.expected()


def test_weights_that_are_there_are_not_fetched_again(scene, tmp_path):
    scene.start()
    key = scene.form(loading.machine())["weights"]["key"]
    before = scene.objects.reads.count(key)
    Scene.start(scene)
    assert scene.objects.reads.count(key) == before == 1
    assert scene.answer() == scene.expected()
    assert not list(tmp_path.rglob("*.bin.*")), "no part of a file stays"


def test_a_large_model_that_replaces_another_is_never_one_large_buffer(scene, monkeypatch, capsys):
    monkeypatch.setattr("modelyard.serving.loading.LARGE", 1)
    scene.pointer["champion"]["forms"] = []
    scene.start()
    expected, raw = scene.answer(), scene.objects.get(scene.pointer["champion"]["key"])[0]
    model = onnx.load_from_string(raw)
    model.doc_string = "another version"
    changed = promote(scene.objects, NAME, model.SerializeToString(), version=2, revision=2)
    gets, get = [], scene.objects.get
    monkeypatch.setattr(scene.objects, "get", lambda key: gets.append(key) or get(key))
    monkeypatch.setattr(scene.objects, "pieces", lambda key: iter(in_thousands(get(key)[0])))
    scene.follower.check_now()
    assert scene.follower.live.version == 2
    assert changed["champion"]["key"] not in gets
    assert scene.answer() == expected

    for number, damaged in enumerate((raw[:-1], raw + b"more", b"\0" * len(raw)), start=3):
        other = promote(scene.objects, NAME, raw, version=number, revision=number)
        scene.objects.put(other["champion"]["key"], damaged)
        scene.follower.check_now()
        assert scene.follower.live.version == 2
    failures = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "pointer_check_failed" in line]
    assert [line["code"] for line in failures] == ["wrong_digest"] * 3
    assert not [name for name in Path("/proc/self/fd").iterdir() if "memfd:model" in str(name.resolve())]


@pytest.mark.parametrize("lacks", ["memfd_create", "proc"])
def test_where_there_is_no_file_in_memory_a_large_model_is_one_buffer(scene, monkeypatch, lacks):
    monkeypatch.setattr("modelyard.serving.loading.LARGE", 1)
    if lacks == "proc":
        monkeypatch.setattr("modelyard.serving.loading._path_of", lambda descriptor: f"/nowhere/{descriptor}")
    else:
        monkeypatch.setattr("os.memfd_create", refused, raising=False)
    scene.pointer["champion"]["forms"] = []
    scene.start()
    expected = scene.answer()
    model = onnx.load_from_string(scene.raw)
    model.doc_string = "another version"
    promote(scene.objects, NAME, model.SerializeToString(), version=2, revision=2)
    scene.follower.check_now()
    assert scene.follower.live.version == 2
    assert scene.answer() == expected


def refused(*_: object) -> int:
    raise OSError(38, "Function not implemented")


@pytest.mark.skipif(sys.platform != "linux", reason="a policy by thread")
@pytest.mark.parametrize("processors", [1, 2])
@pytest.mark.parametrize(
    ("environ", "gives_way"),
    [
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9"}, True),
        ({}, False),
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3538"}, False),
        ({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9", "MODELYARD_REFRESH_S": "0.1"}, False),
    ],
    ids=["one request at a time", "several", "an engine with threads", "no time"],
)
def test_a_load_beside_requests_gives_way_where_that_harms_nobody(environ, gives_way, processors, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    objects = InMemoryObjects()
    raw = image_model()[0]
    champion = Deployed.parse(promote(objects, NAME, raw, version=1, revision=1)["champion"])
    loader = Loader(EndpointSettings.read({"MODELYARD_MODEL": NAME, "MODELYARD_ARTIFACT_BUCKET": "b", **environ}))
    seen: list[tuple[int, int]] = []

    def load(*, in_haste: bool) -> None:
        loader(champion, Fetch(objects, NAME, in_haste=in_haste))
        seen.append((os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))

    for in_haste in (True, False):
        thread = threading.Thread(target=load, kwargs={"in_haste": in_haste})
        thread.start()
        thread.join(30.0)
    own = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    less = (os.SCHED_IDLE, own[1]) if processors > 1 else (own[0], NICENESS)
    assert seen == [own, less if gives_way else own]


def in_thousands(content: bytes) -> list[bytes]:
    return [content[place : place + 1000] for place in range(0, len(content), 1000)]


def test_a_full_disk_costs_the_form_and_not_the_version(scene, monkeypatch, capsys):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    scene.start()
    assert "No space left" in capsys.readouterr().out
    assert scene.answer() == scene.expected()


def test_the_compiler_is_of_the_onnxruntime_that_serves():
    assert image_model()[1].onnxruntime == onnxruntime.__version__


def test_weights_of_a_version_leave_the_disk_with_the_next_load_but_one_and_what_maps_them_goes_on(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    raw, compiled = image_model()
    compilation, files = described(compiled)
    environ = {"MODELYARD_MODEL": NAME, "MODELYARD_ARTIFACT_BUCKET": "b", "MODELYARD_ENGINE": "lean"}
    loader = Loader(EndpointSettings.read(environ))
    objects = InMemoryObjects()
    for key, (_, content) in files.items():
        objects.put(key, content)
    pointer = promote(objects, NAME, raw, version=1, revision=1)
    plain = json.loads(json.dumps(_plain(compilation)))
    with_form = {**pointer["champion"], "onnxruntime": plain["onnxruntime"], "forms": plain["forms"]}
    fetch = Fetch(objects, NAME, in_haste=True)
    first = loader(Deployed.parse(with_form), fetch)
    assert len(list(tmp_path.rglob("weights.bin"))) == 1
    loader(Deployed.parse(pointer["champion"]), fetch)
    assert len(list(tmp_path.rglob("weights.bin"))) == 1  # for what is replaced now: the file would go with its session
    loader(Deployed.parse(pointer["champion"]), fetch)
    assert not list(tmp_path.iterdir())
    rows = np.zeros([size or 1 for size in pointer["champion"]["signature"]["inputs"][0]["shape"]], np.float32).tolist()
    assert first.predict(rows) == Predictor.load(raw).predict(rows)
