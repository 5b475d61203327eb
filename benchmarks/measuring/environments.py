"""Environments for programs whose packages do not go with ours: made from locks with hashes, kept in ``build/``."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.measuring.script import PROJECT
from modelyard.packaging.install import installer_environment

FOLDER = PROJECT / "build" / "benchmarks"
MADE_FROM = "made-from.txt"


def interpreter(name: str, lock: Path) -> Path:
    """The interpreter of an environment, which is made where it is missing or its lock has changed.

    Args:
        name: Of its folder below ``build/benchmarks``.
        lock: Requirements with hashes.

    Raises:
        CalledProcessError: The installer failed; it has said why.
    """
    place = FOLDER / name
    python = place / "bin" / "python"
    if installed(name, lock):
        return python
    print(f"install {place.name} into {place.relative_to(PROJECT)} …", file=sys.stderr)
    uv, settings = str(PROJECT / ".venv" / "bin" / "uv"), installer_environment(os.environ)
    for arguments in (
        ["venv", "--quiet", "--clear", "--python", sys.executable, str(place)],
        ["pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(lock)],
    ):
        subprocess.run([uv, *arguments], env=settings, check=True)
    (place / MADE_FROM).write_bytes(lock.read_bytes())
    return python


def installed(name: str, lock: Path) -> bool:
    """Whether an environment is there and made from this lock."""
    made_from = FOLDER / name / MADE_FROM
    return made_from.is_file() and made_from.read_bytes() == lock.read_bytes()
