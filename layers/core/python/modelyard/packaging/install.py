"""Third stage: put a lock file's wheels into a folder, for a platform that this machine need not be.

The only stage that uses the network, and only for what uv's cache lacks. Every file is checked against the lock's
hashes; nothing is built from source, so no code of a package runs here. A package index that the user set for pip
counts for uv too; its address (it may hold a password) is passed on and never written down.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import uv

from modelyard.errors import BuildError
from modelyard.packaging.locks import Pin
from modelyard.packaging.process import Checkpoint, run_program, unchecked
from modelyard.packaging.targets import BuildTarget

_FROM_PIP = (
    ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    ("PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"),
)
"""pip's variable, uv's for the same, and uv's older name."""

_DEADLINE_S = 1800
_TOLD_LINES = 12

_NEXT_STEPS = (
    (
        ("has no wheels with a matching", "No solution found", "no usable wheels"),
        "Pin a version in {source} that has wheels for this platform and compile the lock again, or change "
        "endpoint.architecture or the environment's python.",
    ),
    (
        ("Hash mismatch", "hash mismatch", "must have a hash", "have their versions pinned"),
        "Compile {lock} again; the command is in its second line. If the pins did not change, find out why the "
        "index serves other files before you trust it.",
    ),
    (
        (
            "Failed to fetch",
            "error sending request",
            "dns error",
            "Connection refused",
            "timed out",
            "Could not connect",
        ),
        "Check the connection to the package index (PIP_INDEX_URL or UV_DEFAULT_INDEX where there is a mirror), then "
        "run 'modelyard build' again; what was downloaded is kept.",
    ),
    (("No space left",), "Free some disk space, then run 'modelyard build' again."),
)
"""What uv says, and what helps."""


def installer_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for uv: the caller's, with pip's index addresses under uv's names where uv has none."""
    settings = dict(environ)
    for pip_name, uv_name, older in _FROM_PIP:
        address = environ.get(pip_name)
        if address and not environ.get(uv_name) and not environ.get(older):
            settings[uv_name] = address
    return settings


def install_command(tree: Path, target: BuildTarget) -> list[str]:
    """The command line of uv, which reads the requirements from its standard input."""
    platform = target.wheel_platform
    return [
        *(uv.find_uv_bin(), "pip", "install", "--quiet", "--no-progress", "--color", "never"),
        *("--python", sys.executable, "--python-version", target.python),
        *(("--python-platform", platform) if platform else ()),
        *("--target", str(tree), "--only-binary", ":all:", "--require-hashes", "--no-deps", "--no-compile-bytecode"),
        *("-r", "-"),
    ]


def install(
    lock: Path,
    pins: Iterable[Pin],
    tree: Path,
    target: BuildTarget,
    *,
    environ: Mapping[str, str] = os.environ,
    checkpoint: Checkpoint = unchecked,
) -> None:
    """Install wheels into ``tree``.

    Args:
        lock: The file that a message names.
        pins: Those of its entries that the layer brings.
        tree: The folder, empty.
        target: The Python and platform.
        environ: The process environment: the package index, uv's settings.
        checkpoint: Called again and again; whatever it raises ends the work.

    Raises:
        BuildError: With what uv said and what helps.
    """
    try:
        outcome = run_program(
            install_command(tree, target),
            given="".join(f"{pin.text}\n" for pin in pins),
            env=installer_environment(environ),
            folder=tree,
            deadline_s=_DEADLINE_S,
            checkpoint=checkpoint,
        )
    except TimeoutError as late:
        raise install_failure(lock, target, f"timed out: {late}") from late
    if outcome.status != 0:
        raise install_failure(lock, target, outcome.output)


def install_failure(lock: Path, target: BuildTarget, said: str) -> BuildError:
    """The error for what uv said, with what helps."""
    shown = "/".join(lock.parts[-3:])
    lines = [line for line in said.strip().splitlines() if line.strip()][:_TOLD_LINES]
    source = shown.replace(".txt", ".in")
    for signs, advice in _NEXT_STEPS:
        if any(sign in said for sign in signs):
            next_step = advice.format(lock=shown, source=source)
            break
    else:
        next_step = f"Run 'uv pip install --dry-run --require-hashes -r {shown}' to see more."
    return BuildError(f"{shown} does not install for {target.name}:\n" + "\n".join(lines), next_step=next_step)
