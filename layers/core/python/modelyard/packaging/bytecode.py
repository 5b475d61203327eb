"""Fifth stage: compile the modules of a layer or function for the exact Python that will import them.

``/opt`` and ``/var/task`` are read-only in Lambda, so a module that arrives without bytecode is compiled again in every
cold start, which then takes about twice as long, and up to 3.7 times with the imports of the control plane. Bytecode is
``unchecked-hash``: the import system neither stats the source nor trusts the zip's timestamps. The paths inside say
where Lambda puts the file, so the bytes do not depend on where they were compiled.

Third-party packages of the lean endpoint and of the API lose their docstrings, which nothing there shows and every cold
start reads. numpy keeps its own: ``numpy.ma``, which ``numpy.median`` and others import, rewrites them and fails
without. Our own stay: those of routes are what the API's description says of them.

One interpreter process compiles one layer, in the order of the names and with a fixed hash seed: what a process
compiled before can show in the bytes that it writes next.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import uv

from modelyard.errors import BuildError
from modelyard.packaging.process import Checkpoint, run_program, unchecked

_DESCRIBE = (
    "import sys; v = sys.version_info; "
    "print(sys.implementation.name, v.releaselevel, '.'.join(map(str, v[:2])), '.'.join(map(str, v[:3])))"
)
_WITHOUT_DOCSTRINGS = Path(__file__).with_name("without_docstrings.py")
_PATIENCE_S = 20
_DEADLINE_S = 900
_ALL, _SOME = 0, 1
"""Exit statuses of compileall: every file compiled, or not every one."""


@dataclass(frozen=True)
class Interpreter:
    """A Python that was run and said which version it is."""

    executable: str
    version: str


@dataclass(frozen=True)
class Compilation:
    """Whether every file compiled, and what the compiler said."""

    complete: bool
    output: str


def find_interpreter(
    version: str, *, environ: Mapping[str, str] = os.environ, home: Path | None = None
) -> Interpreter | None:
    """A CPython of that minor version on this machine, or None.

    Being found on PATH is not enough: a version manager's shim exists for versions that it then refuses to run. So
    every candidate is run before it counts. Nothing is downloaded.

    Args:
        version: Like ``3.13``.
        environ: Where PATH comes from.
        home: Where version managers keep theirs; default the user's home.
    """
    for candidate in _candidates(version, environ, home or Path.home()):
        found = describe_interpreter(candidate)
        if found is not None and found.version.rsplit(".", 1)[0] == version:
            return found
    return None


def _candidates(version: str, environ: Mapping[str, str], home: Path) -> Iterator[str]:
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        yield sys.executable
    for folder in environ.get("PATH", "").split(os.pathsep):
        found = shutil.which(f"python{version}", path=folder) if folder else None
        if found is not None:
            yield found
    try:
        answer = subprocess.run(  # noqa: S603 - uv's own binary, and a version that the schema checked
            [uv.find_uv_bin(), "python", "find", "--no-project", "--managed-python", version],
            env={**environ, "UV_PYTHON_DOWNLOADS": "never"},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        pass
    else:
        if answer.returncode == 0:
            yield answer.stdout.strip()
    managed = home / ".pyenv" / "versions"
    yield from sorted((str(path) for path in managed.glob(f"{version}*/bin/python{version}")), reverse=True)


def describe_interpreter(executable: str) -> Interpreter | None:
    """Run an interpreter and ask its version; None for what does not run, a pre-release or another Python."""
    try:
        answer = subprocess.run(  # noqa: S603 - an interpreter that find_interpreter chose
            [executable, "-I", "-S", "-c", _DESCRIBE],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.split()
    if answer.returncode != 0 or words[:2] != ["cpython", "final"]:
        return None
    return Interpreter(executable=executable, version=words[3])


def compile_tree(
    tree: Path, interpreter: Interpreter, *, root: str, docstrings: bool = True, checkpoint: Checkpoint = unchecked
) -> Compilation:
    """Write ``__pycache__`` beside every ``.py`` under ``tree``, in the order of their names.

    Args:
        tree: The folder to compile.
        interpreter: Who compiles.
        root: Where Lambda puts the folder, for tracebacks: ``/opt/python`` or ``/var/task``.
        docstrings: Whether the bytecode has them.
        checkpoint: Called again and again; whatever it raises ends the work.

    Raises:
        BuildError: When the compiler was killed, for lack of memory perhaps; a file it refuses is no error here.
    """
    files = sorted(str(path) for path in tree.rglob("*.py"))
    program = ["-m", "compileall"] if docstrings else [str(_WITHOUT_DOCSTRINGS)]
    settings = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    try:
        outcome = run_program(
            [
                *(interpreter.executable, "-P", "-S", *program, "-q", "-f"),
                *("--invalidation-mode", "unchecked-hash", "-s", str(tree), "-p", root, "-i", "-"),
            ],
            given="\n".join(files),
            env={**settings, "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTHONWARNINGS": "ignore"},
            folder=tree,
            deadline_s=_DEADLINE_S,
            checkpoint=checkpoint,
        )
    except TimeoutError as late:
        raise _unfinished(interpreter, str(late)) from late
    if outcome.status not in (_ALL, _SOME):
        raise _unfinished(interpreter, f"ended with status {outcome.status}")
    return Compilation(complete=outcome.status == _ALL, output=outcome.output.strip())


def _unfinished(interpreter: Interpreter, what: str) -> BuildError:
    return BuildError(
        f"compiling with Python {interpreter.version}: {what}",
        next_step="Check that the machine has memory to spare, then run 'modelyard build' again.",
    )
