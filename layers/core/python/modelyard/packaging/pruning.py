"""Fourth stage: remove what no function reads.

The rule: nothing goes without a reason in the table, and every row has been import-tested, with a session run (lean,
serving), a fit and conversion (training), a notebook (notebook) and a request (api). Lambda allows 250 MB for a
function and all its layers, and each file costs time when a layer is unpacked or compiled. Python sources stay:
tracebacks and ``inspect`` read them, and anyio parses its own when it is imported. Licences stay in the wheels on PyPI;
a layer is for running.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modelyard.packaging.elf import cut_to_what_is_loaded, is_compiled


@dataclass(frozen=True)
class Rule:
    """Files to remove, and why.

    Patterns are matched against ``/`` and the path inside ``python/``; ``*`` also matches ``/``, so ``*/x`` is an
    ``x`` at any depth and ``/x`` one at the top.
    """

    saves: str
    """In two or three words for the report; rules of one kind share it."""
    reason: str
    patterns: tuple[str, ...]
    keep: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    """Layers that the rule is for; empty: all."""
    emptied: bool = False
    """Whether an empty file takes the place, since others import it."""


_POWERTOOLS = "/aws_lambda_powertools"

RULES: tuple[Rule, ...] = (
    Rule("scripts", "scripts and uv's lock; a function has no command line", ("/bin/*", "/.lock")),
    Rule("tests", "tests and their data", ("*/tests/*", "*/conftest.py", "*/joblib/test/*", "*/onnx/backend/test/*")),
    Rule("type stubs", "types for editors and type checkers", ("*.pyi", "*/py.typed")),
    Rule(
        "sources and headers",
        "sources and headers of modules that arrive compiled",
        ("*.[acfh]", "*.cc", "*.cpp", "*.f90", "*.hpp", "*.proto", "*.px[di]", "*.pyf", "*.pyx", "*.tp"),
    ),
    Rule("build scripts", "build scripts", ("*/meson.build", "*/CMakeLists.txt", "*/setup.cfg")),
    Rule("documentation", "documentation and notices", ("*.md", "*.rst", "*/LICENSE*", "*/ThirdPartyNotices.txt")),
    Rule(
        "metadata",
        "what only an installer reads; importlib.metadata reads the two that stay (versions, plug-ins)",
        ("*.dist-info/*",),
        keep=("*.dist-info/METADATA", "*.dist-info/entry_points.txt"),
    ),
    Rule(
        "build scripts",
        "numpy's build system, packager hooks and examples; f2py stays, `from numpy import *` imports it (scipy does)",
        ("/numpy/distutils/*", "/numpy/_pyinstaller/*", "/numpy/random/_examples/*", "/numpy/f2py/src/*"),
    ),
    Rule(
        "tests",
        "numpy's compiled test modules; _simd (1.5 MB) only exposes the vector units to its tests",
        ("/numpy/_core/_*_tests.*", "/numpy/_core/_simd.*"),
    ),
    Rule(
        "tools",
        "the rest of f2py, which writes and compiles C for Fortran code",
        ("/numpy/f2py/*",),
        keep=("/numpy/f2py/__init__.py",),
        layers=("serving",),
    ),
    Rule(
        "tools",
        "f2py itself, empty: `from numpy import *` imports it",
        ("/numpy/f2py/__init__.py",),
        layers=("serving",),
        emptied=True,
    ),
    Rule(
        "documentation",
        "two modules that give numpy's functions their docstrings and do nothing else, in 5 ms of a cold start",
        ("/numpy/_core/_add_newdocs.py", "/numpy/_core/_add_newdocs_scalars.py"),
        layers=("serving",),
        emptied=True,
    ),
    Rule(
        "second engine",
        "the engine's second copy (29 MB): the pybind module holds its own and does not link this one",
        ("/onnxruntime/capi/libonnxruntime.*",),
        layers=("serving",),
    ),
    Rule(
        "second engine",
        "everything of onnxruntime but its C library, which the lean engine loads by path; the library of shared "
        "providers is for GPUs, and which version this is the library says itself",
        ("/onnxruntime/*", "/onnxruntime-*.dist-info/*"),
        keep=("/onnxruntime/capi/libonnxruntime.*",),
        layers=("lean",),
    ),
    Rule(
        "tools",
        "onnxruntime's own converters, optimisers and samples; onnxruntime/__init__ imports none of them",
        tuple(f"/onnxruntime/{name}/*" for name in ("backend", "datasets", "quantization", "tools", "transformers")),
        layers=("serving",),
    ),
    Rule(
        "sample data",
        "sample data sets and what downloads or generates them; a training run brings its own data",
        ("/sklearn/datasets/*",),
        layers=("training",),
    ),
    Rule(
        "unused parts",
        "the parts of scipy that neither the rest of scipy nor scikit-learn imports (io: its sample data sets only)",
        tuple(f"/scipy/{name}/*" for name in ("datasets", "differentiate", "fftpack", "io", "misc", "odr", "signal")),
        layers=("training",),
    ),
    Rule("tests", "onnx's fuzzing harness", ("/onnx/fuzz/*",), layers=("training",)),
    Rule(
        "tools",
        "what only somebody at a keyboard uses of a kernel: a debugger, completion, a terminal; ipykernel and IPython "
        "look whether they are there",
        tuple(f"/{name}/*" for name in ("debugpy", "jedi", "parso", "prompt_toolkit", "wcwidth")),
        layers=("notebook",),
    ),
    Rule(
        "unused parts",
        "colours for other languages than Python",
        ("/pygments/lexers/*",),
        keep=tuple(f"/pygments/lexers/{name}.py" for name in ("__init__", "_mapping", "python")),
        layers=("notebook",),
    ),
    Rule(
        "tests",
        "tests that are called otherwise",
        ("/tornado/test/*", "/jsonschema/benchmarks/*"),
        layers=("notebook",),
    ),
    Rule(
        "unused parts",
        "powertools but for its Logger and Metrics: requests are routed by FastAPI and checked by pydantic",
        (f"{_POWERTOOLS}/event_handler/*", f"{_POWERTOOLS}/utilities/*/*"),
        keep=(f"{_POWERTOOLS}/utilities/jmespath_utils/*", f"{_POWERTOOLS}/utilities/typing/*"),
        layers=("api",),
    ),
    Rule(
        "unused parts",
        "pydantic's version 1; FastAPI imports it at its start where it is there, only to refuse its models",
        ("/pydantic/v1/*",),
        layers=("api",),
    ),
    Rule("tools", "pydantic's plug-in for mypy", ("/pydantic/mypy.py",), layers=("api",)),
    Rule(
        "tests",
        "what only tests import: Starlette's client, which needs httpx, and AnyIO's plug-in for pytest",
        ("/starlette/testclient.py", "/fastapi/testclient.py", "/anyio/pytest_plugin.py"),
        layers=("api",),
    ),
    Rule(
        "unused parts",
        "AnyIO's half for Trio, which is in no layer: Mangum runs an app on asyncio; what sends metrics to Datadog",
        ("/anyio/_backends/_trio.py", f"{_POWERTOOLS}/metrics/provider/datadog/*"),
        layers=("api",),
    ),
)

_METADATA, _SYMBOLS = "metadata", "symbols"


def pruned(layer: str, paths: Iterable[str], rules: Iterable[Rule] = RULES) -> dict[str, Rule]:
    """Those of ``paths`` (inside ``python/``, with ``/``) that go from ``layer``, and the first rule that each fits."""
    table = [
        (rule, _matcher(rule.patterns), _matcher(rule.keep))
        for rule in rules
        if layer in rule.layers or not rule.layers
    ]
    found: dict[str, Rule] = {}
    for path in paths:
        for rule, go, keep in table:
            if go(f"/{path}") and not keep(f"/{path}"):
                found[path] = rule
                break
    return found


def prune(layer: str, tree: Path) -> dict[str, int]:
    """Remove from ``tree`` what the table names for ``layer``, and folders left empty; the bytes that each kind freed.

    Of what stays, descriptions of packages and symbols for debuggers are cut off: see ``elf.py``.
    """
    freed: dict[str, int] = {}
    files = {path.relative_to(tree).as_posix(): path for path in sorted(tree.rglob("*")) if not path.is_dir()}
    gone = pruned(layer, files)
    for inside, file in files.items():
        if inside in gone:
            kind, size = gone[inside].saves, file.lstat().st_size
            file.unlink()  # a link into the installer's cache, most likely
            if gone[inside].emptied:
                file.touch()
        elif file.name == "METADATA" and file.parent.suffix == ".dist-info":
            kind, size = _METADATA, _cut_description(file)
        elif is_compiled(file):
            kind, size = _SYMBOLS, cut_to_what_is_loaded(file)
        else:
            continue
        freed[kind] = freed.get(kind, 0) + size
    for folder in sorted((folder for folder in tree.rglob("*") if folder.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    return {kind: size for kind, size in freed.items() if size}


def _cut_description(metadata: Path) -> int:
    """Keep the headers (name, version, what it needs): the page for PyPI below them is up to 140 KB."""
    content = metadata.read_bytes()
    head = content.partition(b"\n\n")[0]
    if len(head) + 1 >= len(content):
        return 0
    metadata.unlink()  # a link into the installer's cache
    metadata.write_bytes(head + b"\n")
    return len(content) - len(head) - 1


@cache
def _matcher(patterns: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or r"(?!)").match
