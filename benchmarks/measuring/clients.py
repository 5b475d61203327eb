"""Clients that send requests without pause: threads in the endpoint's own process, or a caller of Lambda.

Both ask for a while, then promote version after version: each is waited for until every client has seen it, and a
moment longer. What they saw comes back as `Asked`.
"""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measuring.starting import write_event
from benchmarks.measuring.versions import Versions
from tests.fakes.lambda_service import LambdaService

AFTER_S = 0.2
"""How long requests are watched on after a new version was seen: the old one is let go meanwhile."""
PATIENCE_S = 60.0

_THREADS = """
import array, marshal, os, sys, threading, time
said = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
with open(sys.argv[1], "rb") as file:
    event = marshal.load(file)
from predict import handler
clock, stop = time.monotonic, False
ends = clock() + float(sys.argv[4])
def client(times, answers):  # times: flat, or the garbage collector would have a million tuples to look through
    try:  # Linux counts how long a thread waited for a processor
        counted = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        queued = lambda: int(os.pread(counted, 100, 0).split()[1]) / 1e9
    except OSError:
        queued = float
    waited = queued()
    while not stop and clock() < ends:
        began = clock()
        response = handler(event, None)
        took = clock() - began
        before, waited = waited, queued()
        times.extend((began, took, min(took, waited - before)))
        body = response["body"]
        head = body[: body.find('"prediction_id"')]
        answer = (response["statusCode"], head, body[body.find('"predictions"') :])
        if answer not in answers:
            answers[answer] = clock()
            said.write(f"{response['statusCode']} {head}\\n")
kept = [(array.array("d"), {}) for _ in range(int(sys.argv[2]))]
threads = [threading.Thread(target=client, args=one) for one in kept]
for thread in threads:
    thread.start()
sys.stdin.readline()
stop = True
for thread in threads:
    thread.join()
import json
with open(sys.argv[3], "w") as file:
    json.dump([(times.tolist(), list(answers.items())) for times, answers in kept], file)
"""


@dataclass
class Asked:
    """What the clients saw. Times are those of `time.monotonic`, in seconds.

    Attributes:
        times: When each request began, how long it took, and how much of that its thread waited for a processor.
        answers: Each different answer, (status, head of the body, predictions), and when the last client saw it first.
        counts_waits: Whether the last is known.
        promoted: When each version was.
        settled: When every client had seen it.
    """

    times: list[tuple[float, float, float]] = field(default_factory=list)
    counts_waits: bool = False
    answers: dict[tuple[int, str, str], float] = field(default_factory=dict)
    promoted: dict[int, float] = field(default_factory=dict)
    settled: dict[int, float] = field(default_factory=dict)


def ask_in_process(
    python: Path,
    versions: Versions,
    environment: dict[str, str],
    *,
    folder: Path,
    threads: int,
    before_s: float,
    promotions: int,
) -> Asked:
    """Ask from threads of the process that has the endpoint. ``environment`` has the layers on ``PYTHONPATH``."""
    asked, kept = Asked(), folder / "kept.json"
    event = write_event(versions.event, folder / "event")
    with subprocess.Popen(
        [str(python), "-c", _THREADS, str(event), str(threads), str(kept), str(before_s + PATIENCE_S * promotions)],
        env=environment | {"TMPDIR": str(folder)},
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - PIPE was asked for
        _wait_for(process.stdout, 1, threads)
        time.sleep(before_s)
        for version in range(2, promotions + 2):
            asked.promoted[version] = versions.promote(version)
            _wait_for(process.stdout, version, threads)
            asked.settled[version] = time.monotonic()
            time.sleep(AFTER_S)
        process.stdin.write("stop\n")
        process.stdin.close()
        process.stdout.read()
    for times, answers in json.loads(kept.read_text()):
        asked.times += zip(times[::3], times[1::3], times[2::3], strict=True)
        asked.counts_waits |= any(times[2::3])
        for answer, moment in answers:
            key = (answer[0], answer[1], answer[2])
            asked.answers[key] = max(moment, asked.answers.get(key, 0.0))
    return asked


def ask_through_lambda(
    handler: str, versions: Versions, environment: dict[str, str], *, folder: Path, before_s: float, promotions: int
) -> Asked:
    """Ask as a caller of Lambda does, one request at a time; what an environment that is busy costs is in the times."""
    asked = Asked()
    service = LambdaService(handler, environment=environment | {"TMPDIR": str(folder)}, timeout_s=30.0)

    def ask_until(enough: Callable[[str], bool], *, for_s: float) -> None:
        ends = time.monotonic() + for_s
        while time.monotonic() < ends:
            began = time.monotonic()
            invocation = service.invoke(versions.raw_event)
            answered = invocation.answered or time.monotonic()
            asked.times.append((began, answered - began, 0.0))
            response = invocation.result
            body = str(response.get("body", response))
            head = body[: body.find('"prediction_id"')]
            answer = (response.get("statusCode", 0), head, body[body.find('"predictions"') :])
            asked.answers.setdefault(answer, answered)
            if enough(head):
                return

    try:
        service.invoke(versions.raw_event)
        ask_until(lambda _: False, for_s=before_s)
        for version in range(2, promotions + 2):
            asked.promoted[version] = versions.promote(version)
            ask_until(lambda head, wanted=version: _names(head, wanted), for_s=PATIENCE_S)  # type: ignore[misc]
            asked.settled[version] = time.monotonic()
            ask_until(lambda _: False, for_s=AFTER_S)
    finally:
        service.close()
    return asked


def _wait_for(lines: Any, version: int, clients: int) -> None:
    """Wait until every client has told of an answer of this version."""
    while clients:
        line = lines.readline()
        if not line.startswith("200 "):
            raise SystemExit(f"no answer of version {version}: {line or 'the process ended'}")
        clients -= _names(line, version)


def _names(head: str, version: int) -> bool:
    return f'"version":{version},' in head.replace(" ", "")
