"""The load: wrk, which keeps so many connections busy and counts. What it found comes back as numbers.

wrk sends the next request of a connection when the last one is answered, so a server is always as busy as it can be,
and a server that stalls is asked less meanwhile. Times are those of a server under full load: more connections at the
same throughput wait longer.
"""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
local file = io.open(os.getenv("WRK_BODY"), "rb")
wrk.method, wrk.body = "POST", file:read("*a")
file:close()
wrk.headers["Content-Type"] = "application/json"
function done(summary, latency, requests)
  local failed = summary.errors
  io.write(string.format(
    '\\n{"requests": %d, "us": %d, "mean_us": %.3f, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}\\n',
    summary.requests, summary.duration, latency.mean, latency:percentile(50), latency:percentile(99),
    failed.status, failed.connect + failed.read + failed.write + failed.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What is sent, and over how many connections at once."""

    body: bytes
    connections: int


@dataclass(frozen=True)
class Measured:
    """What wrk found.

    Attributes:
        requests_s: Answers in a second.
        mean_ms: From the request to the last byte of the answer, in the mean,
        p50_ms: of half of them,
        p99_ms: and of 99 in a hundred, at most.
    """

    requests_s: float
    mean_ms: float
    p50_ms: float
    p99_ms: float


def require() -> None:
    """Say what to install, before anything is measured.

    Raises:
        SystemExit: wrk is not there.
    """
    if shutil.which("wrk") is None:
        raise SystemExit(
            "The load comes from wrk, and there is none on the PATH. Install it: 'apt install wrk' on Debian and "
            "Ubuntu, 'brew install wrk' on macOS."
        )


def ask(url: str, load: Load, *, seconds: float, name: str = "the server") -> Measured:
    """Keep the connections busy for a while.

    Args:
        url: Where the body is posted.
        load: The body and the connections.
        seconds: How long; wrk counts in whole seconds.
        name: Of who is asked, for messages.

    Raises:
        SystemExit: An answer was no 2xx, or did not come: such figures say nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        script, body = Path(folder) / "ask.lua", Path(folder) / "body"
        script.write_text(_SCRIPT)
        body.write_bytes(load.body)
        command = ["wrk", "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
        ran = subprocess.run(
            [*command, "-s", str(script), url],
            env={"PATH": os.environ["PATH"], "WRK_BODY": str(body)},
            capture_output=True,
            text=True,
            check=False,
        )
    if ran.returncode:
        raise SystemExit(f"wrk ended with {ran.returncode}: {ran.stderr or ran.stdout}")
    return parsed(ran.stdout, name)


def parsed(printed: str, name: str = "the server") -> Measured:
    """What wrk printed last, as numbers.

    Raises:
        SystemExit: As `ask`.
    """
    found = json.loads(printed.rstrip().rpartition("\n")[2])
    if found["refused"] or found["broken"] or not found["requests"]:
        raise SystemExit(
            f"{name}: of {found['requests']} requests {found['refused']} were answered with an error and "
            f"{found['broken']} got no answer"
        )
    return Measured(
        requests_s=found["requests"] / found["us"] * 1e6,
        mean_ms=found["mean_us"] / 1000,
        p50_ms=found["p50_us"] / 1000,
        p99_ms=found["p99_us"] / 1000,
    )
