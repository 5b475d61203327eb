"""The frameworks that the endpoint is measured against, installed as Lambda layers are: one folder on the path.

From a lock with hashes into ``build/benchmarks/rivals``, with bytecode of the kind that our own layers have
(``unchecked-hash``), which is more than most deployments give them. A second tree, of the same files without bytecode,
is what ``pip install --target`` and a read-only ``/opt`` leave: every cold start compiles it again.
"""

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.measuring.script import PROJECT
from modelyard.packaging.install import installer_environment

HANDLERS = PROJECT / "benchmarks" / "endpoint" / "rivals"
LOCK = HANDLERS / "requirements.txt"
FOLDER = PROJECT / "build" / "benchmarks" / "rivals"


def installed() -> list[Path]:
    """What a rival has on its path, with bytecode: handlers and packages. Installed where the lock has changed."""
    packages, made_from = FOLDER / "packages", FOLDER / "made-from.txt"
    wanted = f"{sys.implementation.cache_tag}\n{LOCK.read_text(encoding='utf-8')}"
    if not made_from.is_file() or made_from.read_text(encoding="utf-8") != wanted:
        print("install the rivals into build/benchmarks/rivals …", file=sys.stderr)
        shutil.rmtree(FOLDER, ignore_errors=True)
        command = ["pip", "install", "--quiet", "--python", sys.executable, "--target", str(packages)]
        subprocess.run(
            [str(PROJECT / ".venv" / "bin" / "uv"), *command, "--only-binary", ":all:", "--require-hashes", "-r", LOCK],
            env=installer_environment(os.environ),
            check=True,
        )
        _compile(packages)
        _without_bytecode(packages, FOLDER / "packages-as-text")
        made_from.write_text(wanted, encoding="utf-8")
    handlers = FOLDER / "handlers"
    shutil.rmtree(handlers, ignore_errors=True)
    shutil.copytree(HANDLERS, handlers, ignore=shutil.ignore_patterns("*.txt", "*.in", "__pycache__"))
    _without_bytecode(handlers, FOLDER / "handlers-as-text")
    _compile(handlers)
    return [handlers, packages]


def installed_without_bytecode() -> list[Path]:
    """The same as source text; call `installed` first."""
    return [FOLDER / "handlers-as-text", FOLDER / "packages-as-text"]


def _compile(folder: Path) -> None:
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder, quiet=2, invalidation_mode=mode)  # templates that are no Python stay as they are


def _without_bytecode(folder: Path, copy: Path) -> None:
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, copy_function=os.link, ignore=shutil.ignore_patterns("__pycache__"))
