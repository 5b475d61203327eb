"""Where a stranger's model runs: a child process in an empty folder, with a deadline and without our credentials.

The parent's half of what `modelyard.trial` and `modelyard.compiling.child` do with a model. Each limits its own memory
and time (`modelyard.trial.limit`) before it looks at it.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

# What a child keeps of this process's environment. Credentials are not in it.
_INHERITED = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "TMPDIR")
_ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",  # do not import from the working directory
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",  # numpy's BLAS reserves memory for every core otherwise
    "OMP_NUM_THREADS": "1",
}


def run_confined(
    module: str, arguments: list[str], content: bytes, *, folder: Path, deadline_s: float, said: IO[bytes] | None = None
) -> tuple[int, bytes]:
    """Run one of our modules on a model, and end it at the deadline.

    Args:
        module: Run as ``python -m``.
        arguments: Of the command line.
        content: What it reads from standard input.
        folder: Its working directory: nothing in it that a model could name by a relative path.
        deadline_s: Wall time, from its start.
        said: Where its standard error goes; None forgets it.

    Returns:
        The exit status, negative for a signal, and what it wrote to standard output.

    Raises:
        OSError: When it cannot be started.
        subprocess.TimeoutExpired: When it was ended at the deadline.
    """
    with subprocess.Popen(  # noqa: S603 - our own module; the model goes in as bytes
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if said is None else said,
        cwd=folder,
        env=confined_environment(),
    ) as child:
        try:
            answer, _ = child.communicate(content, timeout=deadline_s)
        finally:
            child.kill()  # by its own id; does nothing when it has ended
    return child.returncode, answer


def confined_environment() -> dict[str, str]:
    """The environment of such a child: what it imports, and nobody's credentials."""
    paths = os.pathsep.join(str(Path(entry or ".").absolute()) for entry in sys.path)
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return kept | _ENVIRONMENT | {"PYTHONPATH": paths}


def memory_mb(size: int, *, least: int, factor: int, smallest: int = 512) -> int:
    """Address space for a child with a model of ``size`` bytes, within the memory of the function that this runs in.

    Args:
        size: Bytes of the file.
        least: MB without any model.
        factor: How often the file may lie in memory.
        smallest: MB below which a child does not start.
    """
    wanted = least + factor * size // 2**20
    function_mb = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0"))
    return max(smallest, min(wanted, function_mb - 256)) if function_mb else wanted
