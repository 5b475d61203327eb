"""The endpoint as it is deployed: its layers and its function's code, unpacked, and an interpreter with nothing else.

The layers are those of the local environment, as ``modelyard build`` left them. Lambda merges a function's layers into
``/opt/python`` and puts the code into ``/var/task``; so does this, once, below one folder.
"""

import venv
import zipfile
from pathlib import Path

from benchmarks.measuring.script import PROJECT
from modelyard.environments import load_environments
from modelyard.errors import BuildError
from modelyard.packaging import find_layer, function_asset
from modelyard.packaging.targets import PREDICT_LAYERS
from modelyard.spec import Engine

BUILD = "MODELYARD_ENV=local .venv/bin/modelyard build"


def empty_interpreter(folder: Path) -> Path:
    """An interpreter of this version without packages, made below ``folder``."""
    venv.create(folder / "python", with_pip=False, symlinks=True)
    return folder / "python" / "bin" / "python"


def unpacked(engine: Engine, folder: Path) -> list[Path]:
    """What an endpoint with this engine has on its path: the function's code, and its merged layers.

    Raises:
        SystemExit: With what to run, where a layer is not built or older than its sources.
    """
    local = load_environments(PROJECT)["local"]
    task, opt = folder / engine / "task", folder / engine / "opt"
    try:
        for name in PREDICT_LAYERS[engine]:
            with zipfile.ZipFile(find_layer(PROJECT, local, name).path) as archive:
                archive.extractall(opt)
        with zipfile.ZipFile(find_layer(PROJECT, local, function_asset("predict")).path) as archive:
            archive.extractall(task)
    except BuildError as error:
        raise SystemExit(f"{error.message}.\nThe endpoint is measured from its built layers; run: {BUILD}") from None
    return [task, opt / "python"]
