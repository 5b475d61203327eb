"""Fourth stage: remove what no function reads.

The rule: nothing goes without a reason in the table, and every row has been import-tested, with a session run
(serving) and a fit and conversion (training). Lambda allows 250 MB for a function and all its layers, and each file
costs time when a layer is unpacked or compiled. Python sources stay: tracebacks and ``inspect`` read them,
and anyio parses its own when it is imported. Licences stay in the wheels on PyPI; a layer is for running.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Rule:
    """Files to remove, and why.

    Patterns are matched against ``/`` and the path inside ``python/``; ``*`` also matches ``/``, so ``*/x`` is an
    ``x`` at any depth and ``/x`` one at the top.
    """

    reason: str
    patterns: tuple[str, ...]
    keep: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    """Layers that the rule is for; empty: all."""


RULES: tuple[Rule, ...] = (
    Rule("scripts and uv's lock; a function has no command line", ("/bin/*", "/.lock")),
    Rule("tests and their data", ("*/tests/*", "*/conftest.py", "*/joblib/test/*", "*/onnx/backend/test/*")),
    Rule("types for editors and type checkers", ("*.pyi", "*/py.typed")),
    Rule(
        "sources and headers of modules that arrive compiled",
        ("*.[acfh]", "*.cc", "*.cpp", "*.f90", "*.hpp", "*.proto", "*.px[di]", "*.pyf", "*.pyx", "*.tp"),
    ),
    Rule("build scripts", ("*/meson.build", "*/CMakeLists.txt", "*/setup.cfg")),
    Rule("documentation and notices", ("*.md", "*.rst", "*/LICENSE*", "*/ThirdPartyNotices.txt")),
    Rule(
        "what only an installer reads; importlib.metadata reads the two that stay (versions, plug-ins)",
        ("*.dist-info/*",),
        keep=("*.dist-info/METADATA", "*.dist-info/entry_points.txt"),
    ),
    Rule(
        "numpy's build system, packager hooks and examples; f2py stays, `from numpy import *` imports it (scipy does)",
        ("/numpy/distutils/*", "/numpy/_pyinstaller/*", "/numpy/random/_examples/*", "/numpy/f2py/src/*"),
    ),
    Rule(
        "numpy's compiled test modules; _simd (1.5 MB) only exposes the vector units to its tests",
        ("/numpy/_core/_*_tests.*", "/numpy/_core/_simd.*"),
    ),
    Rule(
        "the engine's second copy (29 MB): the pybind module holds its own and does not link this one",
        ("/onnxruntime/capi/libonnxruntime.*",),
        layers=("serving",),
    ),
    Rule(
        "onnxruntime's own converters, optimisers and samples; onnxruntime/__init__ imports none of them",
        tuple(f"/onnxruntime/{name}/*" for name in ("backend", "datasets", "quantization", "tools", "transformers")),
        layers=("serving",),
    ),
    Rule(
        "dependencies of those converters and of nothing else here",
        tuple(f"/{name}/*" for name in ("flatbuffers", "google/protobuf", "google/_upb", "packaging"))
        + tuple(f"/{name}-*.dist-info/*" for name in ("flatbuffers", "protobuf", "packaging")),
        layers=("serving",),
    ),
    Rule(
        "sample data sets and what downloads or generates them; a training run brings its own data",
        ("/sklearn/datasets/*",),
        layers=("training",),
    ),
    Rule(
        "the parts of scipy that neither the rest of scipy nor scikit-learn imports (io: its sample data sets only)",
        tuple(f"/scipy/{name}/*" for name in ("datasets", "differentiate", "fftpack", "io", "misc", "odr", "signal")),
        layers=("training",),
    ),
    Rule("onnx's fuzzing harness", ("/onnx/fuzz/*",), layers=("training",)),
    Rule(
        "powertools' Swagger pages; the control plane has FastAPI's",
        ("/aws_lambda_powertools/event_handler/openapi/swagger_ui/*.js", "*/openapi/swagger_ui/*.css"),
        layers=("api",),
    ),
    Rule(
        "powertools' utilities that need packages which this layer does not have",
        tuple(
            f"/aws_lambda_powertools/utilities/{name}/*"
            for name in ("auth_alpha", "data_masking", "kafka", "validation")
        ),
        layers=("api",),
    ),
    Rule("pydantic's plug-in for mypy", ("/pydantic/mypy.py", "/pydantic/v1/mypy.py"), layers=("api",)),
)
"""A lean engine that loads ``libonnxruntime`` itself takes its row out and puts the pybind module in."""


def pruned(layer: str, paths: Iterable[str], rules: Iterable[Rule] = RULES) -> list[str]:
    """Those of ``paths`` (inside ``python/``, with ``/``) that go from ``layer``."""
    table = [
        (_matcher(rule.patterns), _matcher(rule.keep)) for rule in rules if layer in rule.layers or not rule.layers
    ]
    return [path for path in paths if any(go(f"/{path}") and not keep(f"/{path}") for go, keep in table)]


def prune(layer: str, tree: Path) -> int:
    """Remove from ``tree`` what the table names for ``layer``, and folders left empty; how many bytes that freed."""
    freed = 0
    for path in pruned(layer, [file.relative_to(tree).as_posix() for file in tree.rglob("*") if not file.is_dir()]):
        file = tree / path
        freed += file.lstat().st_size
        file.unlink()
    for folder in sorted((folder for folder in tree.rglob("*") if folder.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    return freed


@cache
def _matcher(patterns: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or r"(?!)").match
