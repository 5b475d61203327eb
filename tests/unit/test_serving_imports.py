"""What an endpoint imports while it loads a version: whole packages, and in one thread at a time."""

import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.serving import loading
from modelyard.serving.loading import Loader
from modelyard.serving.settings import EndpointSettings

ORDER = """
import sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("numpy", "onnxruntime"):
            print(name)

sys.meta_path.insert(0, Watch())
from modelyard.serving.loading import Loader
from modelyard.serving.settings import EndpointSettings

environ = {"MODELYARD_MODEL": "m", "MODELYARD_ARTIFACT_BUCKET": "b", "MODELYARD_ENGINE": "standard"}
Loader(EndpointSettings.read(environ)).prepare()
"""


def test_numpy_is_imported_whole_before_onnxruntime_asks_for_a_part_of_it() -> None:
    found = subprocess.run([sys.executable, "-c", ORDER], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["numpy", "onnxruntime"]


@pytest.mark.parametrize(("engine", "forms"), [("lean", ()), ("standard", ()), ("standard", ("a form",))])
def test_a_version_is_fetched_but_not_loaded_while_another_thread_imports(
    engine: str, forms: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched, loaded = threading.Event(), threading.Event()

    def fetch(_: Any) -> bytes:
        fetched.set()
        return b"a model"

    got: Any = fetch
    got.beside, got.in_haste = False, True
    monkeypatch.setattr(loading.Predictor, "load", lambda *_, **__: loaded.set())
    environ = {"MODELYARD_MODEL": "m", "MODELYARD_ARTIFACT_BUCKET": "b", "MODELYARD_ENGINE": engine}
    deployed: Any = SimpleNamespace(
        forms=forms, onnxruntime="another", file=SimpleNamespace(size=1), contract=None, signature=None
    )
    loader = Loader(EndpointSettings.read(environ))
    thread = threading.Thread(target=loader, args=(deployed, got))
    with loading._IMPORTING:
        thread.start()
        assert fetched.wait(0.5) == (not forms)  # to know whether a form fits takes the engine's version
        assert not loaded.wait(0.2)
    assert loaded.wait(10)
    thread.join(10)
