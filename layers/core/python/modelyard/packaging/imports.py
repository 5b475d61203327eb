"""Does what a function imports lie in its layers? Asked of an interpreter that has nothing else, right after a build.

A developer's environment holds every package, so a missing one shows first in the cloud, as a function that cannot
start. So the layers of each function are unpacked and its import statements run, and a model's own app is looked at, by
a Python without site-packages. Beside them lies only boto3, as in Lambda's runtime. The rest of the function's file,
which wants a bucket and a table, does not run, and the process gets nothing of the caller's environment: no
credentials, no home.

What passed is noted by digest, and a set is tried again only when something in it changed. A target for another
processor cannot be tried; its layers come from the same locks and pruning table, and every compiled file in them is
checked for its processor.
"""

import hashlib
import importlib.util
import platform
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from modelyard.errors import BuildError
from modelyard.packaging.bytecode import Interpreter
from modelyard.packaging.manifest import LayerManifest
from modelyard.packaging.process import Checkpoint, run_program, unchecked
from modelyard.packaging.targets import BuildTarget, FunctionSet, function_asset, owner_of

PASSED = ".imported"
"""In a target's folder: one line for each set whose imports passed."""

_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six")
"""What Lambda's Python runtimes bring."""

_DEADLINE_S = 120
_NAMES_OF_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}

_PROGRAM = """
import ast, contextlib, os, sys
split = sys.argv.index("--")
sys.path[:0] = sys.argv[1:split]
for name in sys.argv[split + 1:]:
    if name.endswith(".py"):
        with open(name, encoding="utf-8") as file:
            body = ast.parse(file.read()).body
        wanted = [node for node in body if isinstance(node, (ast.Import, ast.ImportFrom))]
    elif ":" in name:
        find = "from modelyard.serving.asgi.finding import find_app; find_app"
        wanted = ast.parse(f"import {name.partition(':')[0]}; {find}({name!r})").body
    else:
        wanted = ast.parse(name if name.startswith("from ") else "import " + name).body
    try:
        with open(os.devnull, "w") as away, contextlib.redirect_stdout(away), contextlib.redirect_stderr(away):
            exec(compile(ast.Module(wanted, []), name, "exec"), {})
    except BaseException as error:
        print(name.rpartition("/")[2], f"{type(error).__name__}: {error}", sep="\\n")
        sys.exit(1)
"""


def can_run(target: BuildTarget, interpreter: Interpreter | None) -> bool:
    """Whether this machine can load the target's compiled modules."""
    if interpreter is None or target.is_local:
        return interpreter is not None
    here = _NAMES_OF_MACHINES.get(platform.machine().lower())
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc" and here == target.platform


def check_imports(
    folder: Path,
    sets: Sequence[FunctionSet],
    layers: Mapping[str, LayerManifest],
    interpreter: Interpreter,
    *,
    checkpoint: Checkpoint = unchecked,
) -> int:
    """Import what the functions of one target import; how many sets were tried, those that passed before not counted.

    Args:
        folder: Of the target, where what passed is noted.
        sets: The functions, all of this target.
        layers: The target's built layers and functions by name.
        interpreter: A Python of the target's version.
        checkpoint: Called again and again; whatever it raises ends the work.

    Raises:
        BuildError: With the function, what could not be imported, and where it belongs.
    """
    keys = {function_set: _key(function_set, layers, interpreter) for function_set in sets}
    noted = folder / PASSED
    passed = set(noted.read_text(encoding="utf-8").split()) if noted.is_file() else set()
    due = [function_set for function_set, key in keys.items() if key not in passed]
    if due:
        with tempfile.TemporaryDirectory(prefix=".imports-", dir=folder) as scratch:
            trial = _Trial(Path(scratch), layers, interpreter, checkpoint)
            for function_set in due:
                trial.run(function_set)
    noted.write_text("".join(f"{key}\n" for key in sorted(set(keys.values()))), encoding="utf-8")
    return len(due)


def _parts(function_set: FunctionSet) -> Iterable[str]:
    return (*function_set.layers, *map(function_asset, function_set.files))


def _key(function_set: FunctionSet, layers: Mapping[str, LayerManifest], interpreter: Interpreter) -> str:
    digests = [layers[name].digest for name in _parts(function_set)]
    text = "\n".join((Path(__file__).read_text(encoding="utf-8"), interpreter.version, *function_set.modules, *digests))
    return hashlib.sha256(text.encode()).hexdigest()


class _Trial:
    """Layers unpacked once each, and a process for each set."""

    def __init__(
        self, scratch: Path, layers: Mapping[str, LayerManifest], interpreter: Interpreter, checkpoint: Checkpoint
    ) -> None:
        self._scratch, self._layers = scratch, layers
        self._interpreter, self._checkpoint = interpreter, checkpoint
        lay_out_runtime(scratch / "runtime")

    def run(self, function_set: FunctionSet) -> None:
        # Lambda puts the function first, then the layers, then what the runtime brings.
        path = [self._unpacked(name) for name in function_set.layers]
        files = [self._unpacked(function_asset(file)) / f"{file}.py" for file in function_set.files]
        outcome = run_program(
            [
                *(self._interpreter.executable, "-I", "-S", "-B", "-c", _PROGRAM),
                *(str(folder / "python") for folder in path),
                *(str(self._scratch / "runtime"), "--", *map(str, files), *function_set.modules),
            ],
            env={"PYTHONUTF8": "1"},
            folder=self._scratch,
            deadline_s=_DEADLINE_S,
            checkpoint=self._checkpoint,
        )
        if outcome.status != 0:
            raise _failure(function_set, outcome.output, self._scratch)

    def _unpacked(self, name: str) -> Path:
        folder = self._scratch / name
        if not folder.is_dir():
            layer = self._layers[name]
            try:
                with zipfile.ZipFile(layer.path) as archive:
                    for entry in archive.infolist():
                        self._checkpoint()
                        archive.extract(entry, folder)
            except (zipfile.BadZipFile, zlib.error, EOFError) as damage:
                raise BuildError(
                    f"what was built of {name} for {layer.target} is damaged: {damage}",
                    code="damaged_layer",
                    next_step=f"Delete {layer.path}, then run 'modelyard build' again.",
                ) from damage
        return folder


def lay_out_runtime(folder: Path) -> None:
    """Link into ``folder`` what Lambda's runtime brings, from the environment that runs this."""
    folder.mkdir()
    for name in _RUNTIME:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin)
        place = origin.parent if origin.name == "__init__.py" else origin
        (folder / place.name).symlink_to(place)


def _failure(function_set: FunctionSet, output: str, scratch: Path) -> BuildError:
    said = [line.replace(f"{scratch}/", "") for line in output.strip().splitlines()] or ["the interpreter crashed"]
    what, cause = (said[0], " ".join(said[1:])) if len(said) > 1 else (function_set.title, said[0])
    if cause.startswith("ModuleNotFoundError") and "'modelyard" not in cause:
        third_party = [name for name in function_set.layers if name != "core" and owner_of(name) is None]
        next_step = (
            f"Add the package to layers/{third_party[-1]}/requirements.in and run 'make lock'; if it is there, a row "
            "of modelyard/packaging/pruning.py removes too much. Then run 'modelyard build' again."
        )
    else:
        next_step = "Correct the import, then run 'modelyard build' again."
    return BuildError(
        f"{what} does not import from the layers of {function_set.title} ({function_set.target.name}): {cause}",
        code="import_failed",
        next_step=next_step,
    )
