"""Processes that a command has started and another one has to find again: by a recorded pid, and by what it runs."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from modelyard.errors import LocalError


def is_process(pid: int, named: str) -> bool:
    """Whether ``pid`` is alive and has ``named`` in its command line: pids are used again after a reboot."""
    if pid <= 0:
        return False
    if Path("/proc/self").exists():
        try:
            return named.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()  # empty for a zombie
        except OSError:
            return False
    listing = subprocess.run(  # noqa: S603 - fixed command
        ["/bin/ps", "-o", "stat=,command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    line = listing.stdout.strip()
    return named in line and not line.startswith("Z")


def has_ended(pid: int, named: str, child: "subprocess.Popen[Any] | None") -> bool:
    """Whether a process is gone.

    Args:
        pid: The process.
        named: As for `is_process`.
        child: What this command has started last, which may be it: it stays a zombie until it is asked for.
    """
    if child is not None and child.pid == pid:
        return child.poll() is not None
    return not is_process(pid, named)


def port_taken(host: str, port: int, setting: str) -> LocalError:
    """What to say where another program listens.

    Args:
        host: Ours.
        port: Which one.
        setting: Its name in ``environments.toml``.
    """
    return LocalError(
        f"port {port} on {host} is taken by another program",
        code="port_taken",
        next_step=f"Stop that program, or set another {setting} for [local] in environments.toml.",
    )


def kill_group(pid: int) -> None:
    """Kill a process and, where it leads a process group, what it has started."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
