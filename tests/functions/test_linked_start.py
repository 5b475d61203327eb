"""The modules of a start in one file: which they are, that they come from there, and that nothing needs the file."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from modelyard.packaging.bytecode import Interpreter, compile_tree
from modelyard.packaging.linking import FILE, MODULES, link
from modelyard.packaging.sources import layer_source
from tests.fakes import onnx_models
from tests.fakes.http_bucket import HttpBucket
from tests.fakes.objects import promote
from tests.functions.test_layers import PREDICT, PROJECT, built

LOADED = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import functions.predict as predict
said = predict.handler(json.loads(sys.stdin.read()), None)
assert said["statusCode"] == 200, said
names = [name for name in sys.modules if name.partition(".")[0] == "modelyard"]
print(json.dumps(sorted(names)))
"""


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core layer, compiled and linked by the Python of the tests."""
    tree = tmp_path_factory.mktemp("core")
    for inside, file in layer_source(PROJECT, "core").files:
        (tree / inside).parent.mkdir(parents=True, exist_ok=True)
        (tree / inside).write_bytes(file.read_bytes())
    version = ".".join(map(str, sys.version_info[:3]))
    for docstrings in (False, True):
        python = Interpreter(sys.executable, version)
        assert compile_tree(tree, python, root="/opt/python", docstrings=docstrings).complete
        if not docstrings:
            link(tree)
    return tree


def run(core: Path, program: str, *arguments: str, text: str = "", **environ: str) -> Any:
    ended = subprocess.run(
        [sys.executable, "-c", program, str(core), *arguments], input=text, cwd=PROJECT, capture_output=True, text=True,
        env={"PYTHONDONTWRITEBYTECODE": "1", **environ}, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("engine", ["lean", "standard"])
def test_every_module_of_a_start_is_in_the_file(bucket: HttpBucket, core: Path, engine: str) -> None:
    promote(bucket, "sums", onnx_models.row_sum(), version=1, revision=1)
    event = {**PREDICT, "routeKey": "POST /models/sums/predict", "body": '{"instances": [[1, 2]]}'}
    loaded = run(
        core, LOADED, text=json.dumps(event), **bucket.environment, MODELYARD_MODEL="sums",
        MODELYARD_ARTIFACT_BUCKET=bucket.name, MODELYARD_ENGINE=engine, MODELYARD_REFRESH_S="3600",
    )  # fmt: skip
    assert set(loaded) - set(MODULES) == {"modelyard"}
    other = {"lean": {"arrays", "standard"}, "standard": {"c_api", "lean", "slot"}}[engine]
    conditional = {"modelyard.compiling.kernel", "modelyard.predictor.code"}
    assert set(MODULES) - set(loaded) == conditional | {f"modelyard.predictor.{name}" for name in other}


WHERE = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
opened = []
sys.addaudithook(lambda event, about: opened.append(str(about[0])) if event == "open" else None)
import modelyard.serving.settings as settings, modelyard.serving as package, modelyard.metrics
from importlib import resources
import inspect
try:
    settings.EndpointSettings.read({})
except Exception as refused:
    import traceback
    said = "".join(traceback.format_exception(refused))
print(json.dumps({
    "opened": [path for path in opened if path.startswith(sys.argv[1])],
    "file": settings.__file__, "path": list(package.__path__), "cached": settings.__spec__.cached,
    "source": inspect.getsource(settings)[:20], "listed": (resources.files(package) / "start.py").is_file(),
    "said": said, "again": importlib.reload(settings).__name__,
}))
"""


def test_a_module_from_the_file_is_a_module_like_any_other(core: Path) -> None:
    found = run(core, WHERE)
    assert found["file"] == f"{core}/modelyard/serving/settings.py"
    assert found["path"] == [f"{core}/modelyard/serving"]
    assert found["cached"].endswith(".pyc")
    assert found["source"] == (core / "modelyard/serving/settings.py").read_text()[:20]
    assert found["listed"]
    assert found["again"] == "modelyard.serving.settings"
    assert 'File "/opt/python/modelyard/serving/settings.py"' in found["said"]
    imported = [path for path in found["opened"] if "settings" in path and path.endswith(".pyc")]
    assert len(imported) <= 1, "its bytecode is read once, to import it again"
    assert any("metrics" in path for path in found["opened"]), "what is not in the file comes from its own"


PLAIN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import modelyard.serving.start as start
print(json.dumps(start.__name__))
"""
DAMAGED = {"empty": slice(0, 0), "cut off": slice(0, 200_000), "its second half": slice(200_000, None)}


@pytest.mark.parametrize("damage", ["gone", *DAMAGED])
def test_without_the_file_or_with_a_damaged_one_the_modules_beside_it_serve(
    core: Path, tmp_path: Path, damage: str
) -> None:
    copy = Path(shutil.copytree(core, tmp_path / "core"))
    file = copy / "modelyard" / FILE
    whole = file.read_bytes()
    file.unlink()
    if damage in DAMAGED:
        file.write_bytes(whole[DAMAGED[damage]])
    assert run(copy, PLAIN) == "modelyard.serving.start"


def test_the_layer_that_was_built_has_it() -> None:
    with zipfile.ZipFile(built("core").path) as archive:
        assert f"python/modelyard/{FILE}" in archive.namelist()
