"""A small project that is built offline: its wheels come from a folder that the test fills."""

import base64
import hashlib
import io
import os
import sys
import zipfile
from pathlib import Path

from rich.console import Console

from modelyard.packaging import Built, build
from modelyard.packaging.builder import Layers

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
LOCAL = f"python{HERE}-local"
ENVIRONMENTS = f"""
[local]
account = "000000000000"
region = "eu-west-1"
port = 4599
python = "host"

[dev]
account = "111122223333"
region = "eu-west-1"
python = "{HERE if HERE in ("3.12", "3.13") else "3.13"}"
"""
MODEL = """
[model]
name = "brought"
task = "regression"
artifact = "model.onnx"
code = "brought_model"
"""


def wheel(folder: Path, name: str, files: dict[str, str]) -> str:
    """Write a wheel of pure Python and return its line for a lock file."""
    info = f"{name}-1.0.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},"
        f"{len(text)}\n"
        for file, text in files.items()
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(file, text)
    folder.mkdir(exist_ok=True)
    (folder / f"{name}-1.0-py3-none-any.whl").write_bytes(content.getvalue())
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(content.getvalue()).hexdigest()}\n"


class Project:
    """A small project, and builds of it that use no network."""

    def __init__(self, root: Path) -> None:
        self.root = root / "project"
        self.wheels = root / "wheels"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "UV_OFFLINE": "1",
            "UV_NO_INDEX": "1",
            "UV_FIND_LINKS": str(self.wheels),
            "UV_CACHE_DIR": str(root / "cache"),
            "UV_NO_CONFIG": "1",
        }
        self.said = ""
        self.write("environments.toml", ENVIRONMENTS)
        self.write("models/brought/model.toml", MODEL)
        self.write("models/brought/model.onnx", "")
        self.write("models/brought/python/brought_model/__init__.py", "def preprocess(x):\n    return x\n")
        for module in ("__init__", "predictor/__init__", "predictor/standard", "predictor/code"):
            self.write(f"layers/core/python/modelyard/{module}.py", "")
        self.write("functions/predict.py", "")
        self.lock("serving", "engine", {"engine/__init__.py": "x = 1\n", "engine/tests/test_x.py": ""})
        self.lock("api", "web", {"web.py": "y = 1\n"})

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def lock(self, layer: str, name: str, files: dict[str, str]) -> None:
        self.write(f"layers/{layer}/requirements.txt", wheel(self.wheels, name, files))

    def build(self, *environments: str) -> Layers:
        return self.built(*environments).layers

    def built(self, *environments: str) -> Built:
        screen = io.StringIO()
        try:
            return build(
                self.root,
                environments or None,
                environ=self.environ,
                console=Console(file=screen, width=80, force_terminal=False),
            )
        finally:
            self.said = screen.getvalue()

    def folder(self, layer: str, target: str = LOCAL) -> Path:
        return self.root / "build" / "layers" / target / layer
