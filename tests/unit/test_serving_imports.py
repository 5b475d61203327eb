"""What an endpoint imports while it loads a version: whole packages, and in one thread at a time."""

import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.errors import ModelyardError
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


@pytest.mark.parametrize("engine", ["lean", "standard"])
def test_a_version_is_not_loaded_while_another_thread_imports(engine: str) -> None:
    settings = EndpointSettings.read(
        {"MODELYARD_MODEL": "m", "MODELYARD_ARTIFACT_BUCKET": "b", "MODELYARD_ENGINE": engine}
    )
    asked = threading.Event()

    def fetch(_: Any) -> bytes:
        asked.set()
        raise ModelyardError("there are no bytes", code="gone")

    got: Any = fetch
    got.beside, got.in_haste = False, True
    deployed: Any = SimpleNamespace(forms=(), file=SimpleNamespace(size=1))
    loader = Loader(settings)

    def load() -> None:
        with pytest.raises(ModelyardError, match="no bytes"):
            loader(deployed, got)

    thread = threading.Thread(target=load)
    with loading._IMPORTING:
        thread.start()
        assert not asked.wait(0.2)
    assert asked.wait(10)
    thread.join(10)
