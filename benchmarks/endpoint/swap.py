"""Promotions while a client sends requests without pause: is any answer late, wrong or missing?

Models of 4 KB, 14 MB (an image classifier) and 90 MB (a text encoder). Each version adds its number to the model's
output, so an answer shows which version made it.

- In process: the endpoint from its built layers, asked by threads, one and four of them. This is how a container asks.
- Under the Runtime API: AWS's own runtime client against a stand-in for Lambda, one request at a time, frozen between
  them as Lambda does. The caller's time counts from when it asks, so it holds what an environment that is still busy
  makes it wait.

First requests alone, then promotions one after another. The claims: no request fails, every answer names the version
that made it, the switch is seen within ``refresh_s``, and none that was under way from a promotion until the switch was
seen and a moment longer took more than 1.5 times the 99th percentile before. The slowest request before the first
promotion stands beside it: what a quiet endpoint does on the same machine.

    python benchmarks/endpoint/swap.py [--quick] [--json]
"""

import json
import marshal
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring import layers  # noqa: E402 - the project's folder has to be on the path first
from benchmarks.measuring.bucket import Bucket  # noqa: E402
from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.starting import write_event  # noqa: E402
from benchmarks.measuring.swapping import MODEL, SIZES, Versions  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from tests.fakes.lambda_service import LambdaService  # noqa: E402

REFRESH_S = 4.0
BEFORE_S, PROMOTIONS, AFTER_S = 5.0, 3, 0.2
QUICK_BEFORE_S, QUICK_PROMOTIONS = 1.0, 1
SLOWER = 1.5
PATIENCE_S = 60.0

CLIENT = """
import marshal, os, sys, threading, time
said = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
with open(sys.argv[1], "rb") as file:
    event = marshal.load(file)
from predict import handler
clock, stop = time.monotonic, False
def client(times, answers):
    while not stop:
        began = clock()
        response = handler(event, None)
        times.append((began, clock() - began))
        body = response["body"]
        head = body[: body.find('"prediction_id"')]
        answer = (response["statusCode"], head, body[body.find('"predictions"') :])
        if answer not in answers:
            answers[answer] = clock()
            said.write(head + "\\n")
kept = [([], {}) for _ in range(int(sys.argv[2]))]
threads = [threading.Thread(target=client, args=one) for one in kept]
for thread in threads:
    thread.start()
sys.stdin.readline()
stop = True
for thread in threads:
    thread.join()
with open(sys.argv[3], "wb") as file:
    marshal.dump(kept, file)
"""


@dataclass
class Asked:
    """What the clients saw. Times are those of `time.monotonic`, in seconds.

    Attributes:
        times: When each request began, and how long it took.
        answers: When each different answer was seen first: (status, head of the body, predictions).
        promoted: When each version was.
        settled: When each version had been seen by every client.
    """

    times: list[tuple[float, float]] = field(default_factory=list)
    answers: dict[tuple[int, str, str], float] = field(default_factory=dict)
    promoted: dict[int, float] = field(default_factory=dict)
    settled: dict[int, float] = field(default_factory=dict)


def measure(quick: bool) -> Result:
    before_s, promotions = (QUICK_BEFORE_S, QUICK_PROMOTIONS) if quick else (BEFORE_S, PROMOTIONS)
    rows, figures, claims = [], {}, []
    with tempfile.TemporaryDirectory() as name, Bucket() as bucket:
        folder = Path(name)
        python = layers.empty_interpreter(folder)
        for size in SIZES:
            versions = Versions(bucket, size)
            versions.prepare(promotions + 1)
            for engine in ("lean", "standard"):
                path = layers.unpacked(engine, folder)
                ways: list[tuple[str, Callable[[], Asked]]] = [
                    (f"{clients} thread{'s' if clients > 1 else ''}", _in_process(python, path, engine, clients, versions, folder, before_s, promotions))
                    for clients in (1, 4)
                ]
                ways.append(("Runtime API", _under_the_runtime(engine, versions, before_s, promotions)))
                for way, ask in ways:
                    versions.restart()
                    found = _found(ask())
                    label = f"{size}, {engine}, {way}"
                    print(f"{label}: worst {found['worst_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms", file=sys.stderr)
                    figures |= {f"{size}.{engine}.{way}.{key}": value for key, value in found.items()}
                    rows.append(_row(label, found))
                    claims += _claims(label, found)
    columns = [
        "while versions change", "requests", "failed", "wrong", "p50 ms", "p99 ms", "slowest before", "slowest after a promotion", "x p99", "seen after s",
    ]  # fmt: skip
    report = (
        f"{table(columns, rows)}\n\n{promotions} promotions each, refresh_s = {REFRESH_S:g}. p50, p99 and the slowest "
        f"before are of {before_s:g} s without a promotion."
    )
    return Result(report, figures, claims)


def _in_process(
    python: Path, path: list[Path], engine: str, clients: int, versions: Versions, folder: Path, before_s: float, promotions: int
) -> Callable[[], Asked]:
    def ask() -> Asked:
        asked, kept = Asked(), folder / "kept"
        event = write_event(versions.event, folder / "event")
        environment = {**_environment(engine, versions), "PYTHONPATH": os.pathsep.join(map(str, path))}
        command = [str(python), "-c", CLIENT, str(event), str(clients), str(kept)]
        with subprocess.Popen(
            command, env=environment, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - PIPE was asked for
            _seen_by(process.stdout, 1, clients)
            time.sleep(before_s)
            for version in range(2, promotions + 2):
                asked.promoted[version] = versions.promote(version)
                _seen_by(process.stdout, version, clients)
                asked.settled[version] = time.monotonic()
                time.sleep(AFTER_S)
            process.stdin.write("stop\n")
            process.stdin.close()
            process.stdout.read()
        with kept.open("rb") as file:
            for times, answers in marshal.load(file):
                asked.times += times
                for answer, moment in answers.items():
                    asked.answers[answer] = max(moment, asked.answers.get(answer, 0.0))
        return asked

    return ask


def _seen_by(lines: Any, version: int, clients: int) -> None:
    """Wait until every client has told of an answer of this version."""
    while clients:
        line = lines.readline()
        if not line:
            raise SystemExit("the endpoint's process ended; what it wrote is above")
        clients -= f'"version":{version},' in line.replace(" ", "")


def _under_the_runtime(engine: str, versions: Versions, before_s: float, promotions: int) -> Callable[[], Asked]:
    def ask() -> Asked:
        asked = Asked()
        service = LambdaService(
            "functions.predict.handler", environment=_environment(engine, versions), timeout_s=30.0
        )
        try:
            service.invoke(versions.event)
            _ask_until(service, versions, asked, lambda _: time.monotonic() > ends, ends := time.monotonic() + before_s)
            for version in range(2, promotions + 2):
                asked.promoted[version] = versions.promote(version)
                _ask_until(
                    service, versions, asked, lambda head, wanted=version: f'"version":{wanted},' in head.replace(" ", ""),
                    time.monotonic() + PATIENCE_S,
                )  # fmt: skip
                asked.settled[version] = time.monotonic()
                _ask_until(service, versions, asked, lambda _: False, time.monotonic() + AFTER_S)
        finally:
            service.close()
        return asked

    return ask


def _ask_until(service: LambdaService, versions: Versions, asked: Asked, enough: Callable[[str], bool], ends: float) -> None:
    while time.monotonic() < ends:
        began = time.monotonic()
        invocation = service.invoke(versions.raw_event)
        answered = invocation.answered or time.monotonic()
        asked.times.append((began, answered - began))
        response = invocation.result
        body = response.get("body", "") if invocation.error is None else str(response)
        head = body[: body.find('"prediction_id"')]
        answer = (response.get("statusCode", 0), head, body[body.find('"predictions"') :])
        asked.answers.setdefault(answer, answered)
        if enough(head):
            return


def _environment(engine: str, versions: Versions) -> dict[str, str]:
    return {
        **versions.bucket.environment,
        "MODELYARD_MODEL": MODEL,
        "MODELYARD_ARTIFACT_BUCKET": versions.bucket.name,
        "MODELYARD_REFRESH_S": f"{REFRESH_S:g}",
        "MODELYARD_ENGINE": engine,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _found(asked: Asked) -> dict[str, float]:
    first = min(asked.promoted.values())
    before = sorted(took for began, took in asked.times if began + took < first)
    windows = [(moment, asked.settled[version] + AFTER_S) for version, moment in asked.promoted.items()]
    during = [
        took for began, took in asked.times if any(began + took >= start and began <= end for start, end in windows)
    ]
    p99 = before[min(len(before) - 1, int(len(before) * 0.99))]
    failed = sum(status != 200 for status, _, _ in asked.answers)
    seen: dict[int, float] = {}
    values: dict[int, set[float]] = {}
    for (status, head, predictions), moment in asked.answers.items():
        if status == 200:
            version = json.loads(f"{head.rstrip().rstrip(',')}}}")["version"]
            seen[version] = max(moment, seen.get(version, 0.0))
            values.setdefault(version, set()).add(_first_number(predictions) - version)
    base = next(iter(values[1]))
    wrong = sum(abs(value - base) > 0.01 for found in values.values() for value in found)
    late = [seen[version] - moment for version, moment in asked.promoted.items()]
    return {
        "requests": len(asked.times),
        "failed": failed,
        "wrong": wrong,
        "p50_ms": before[len(before) // 2] * 1000,
        "p99_ms": p99 * 1000,
        "worst_before_ms": before[-1] * 1000,
        "worst_ms": max(during) * 1000,
        "over_p99": max(during) / p99,
        "slow": sum(took > SLOWER * p99 for took in during),
        "slow_before": sum(took > SLOWER * p99 for took in before),
        "seen_after_s": max(late),
    }


def _first_number(predictions: str) -> float:
    found: Any = json.loads("{" + predictions)["predictions"]
    while not isinstance(found, float | int):
        found = found[0] if isinstance(found, list) else next(iter(found.values()))
    return float(found)


def _row(label: str, found: dict[str, float]) -> list[str]:
    return [
        label,
        f"{found['requests']:,.0f}",
        f"{found['failed']:.0f}",
        f"{found['wrong']:.0f}",
        *(f"{found[key]:,.2f}" for key in ("p50_ms", "p99_ms", "worst_before_ms", "worst_ms", "over_p99", "seen_after_s")),
    ]


def _claims(label: str, found: dict[str, float]) -> list[Claim]:
    return [
        Claim(f"{label}: failed requests and wrong answers", found["failed"] + found["wrong"], 0, ""),
        Claim(f"{label}: switch seen", round(found["seen_after_s"], 2), REFRESH_S, "s"),
        Claim(f"{label}: slowest request against p99 before", round(found["over_p99"], 2), SLOWER),
    ]


if __name__ == "__main__":
    run("Promotions while a client sends requests without pause.", measure)
