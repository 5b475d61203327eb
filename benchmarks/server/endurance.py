"""What a server holds out: a million requests, ten thousand connections, callers that never read, versions that come
and go for a minute. Everything on 127.0.0.1.

- A million requests, by wrk over 16 connections, into one worker with its audit lines on: every answer is a 200, and
  the process has as much memory at the end as after the first tenth.
- Ten thousand connections that say nothing: what they cost in memory, what a new caller waits for, and what wrk gets
  beside them of what it gets without.
- Four hundred callers that ask for 5 MB each and never read it: what memory they hold, and what a new caller waits.
- Versions promoted and taken back every second for a minute, with two workers and a worker killed in the middle: each
  answer is checked; only callers of the worker that died may get none.

    python benchmarks/server/endurance.py [--quick] [--json]
"""

import contextlib
import os
import random
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring import wrk  # noqa: E402 - the project's folder has to be on the path first
from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.server import processors, resident_mb, running_on  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from benchmarks.measuring.workload import one_input  # noqa: E402
from benchmarks.measuring.wrk import Load  # noqa: E402
from benchmarks.server.contestants import ours, started  # noqa: E402
from tests.fakes import onnx_models  # noqa: E402
from tests.fakes.objects import promote  # noqa: E402
from tests.fakes.raw_callers import RawCaller, request, sums  # noqa: E402
from tests.fakes.served import ServedStand  # noqa: E402
from tests.fakes.server_load import Callers, workers_of  # noqa: E402

REQUESTS, QUICK_REQUESTS = 1_000_000, 20_000
CONNECTIONS, QUICK_CONNECTIONS = 10_000, 500
READERS, QUICK_READERS = 400, 20
SWAP_S, QUICK_SWAP_S = 60, 3
SLICE_S = 10
ROUNDS = 5
CALLERS = 8
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
SUMS = "sums"
SPARE_FILES = 200

Figures = dict[str, float]


def measure(quick: bool) -> Result:
    wrk.require()
    _allow_connections()
    figures: Figures = {}
    figures |= _million(QUICK_REQUESTS if quick else REQUESTS, 1 if quick else SLICE_S)
    figures |= _connections(QUICK_CONNECTIONS if quick else CONNECTIONS, 1 if quick else SLICE_S / 3)
    figures |= _unread(QUICK_READERS if quick else READERS)
    figures |= _swaps(QUICK_SWAP_S if quick else SWAP_S)
    lines = [[name, f"{value:,.3f}".rstrip("0").rstrip(".")] for name, value in figures.items()]
    return Result(table(["figure", "value"], lines), figures, _claims(figures))


def _claims(figures: Figures) -> list[Claim]:
    return [
        Claim("a million requests: growth of the process", figures["million.grown_mb"], 5.0, "MB"),
        Claim("idle connections: memory of one", figures["idle.kb_each"], 40.0, "KB"),
        Claim("idle connections: a new caller's answer", figures["idle.answer_ms"], 250.0, "ms"),
        Claim("idle connections: requests/s, of those without", figures["idle.share"], 0.8, at_least=True),
        Claim("callers that never read: growth of the process", figures["unread.grown_mb"], 800.0, "MB"),
        Claim("callers that never read: a new caller's answer", figures["unread.answer_ms"], 1000.0, "ms"),
        Claim("swaps: answers that are not right", figures["swaps.wrong"], 0.0, ""),
        Claim("swaps: callers without an answer, in the worker that was killed", figures["swaps.broken"], CALLERS, ""),
        Claim("swaps: the slowest answer", figures["swaps.slowest_ms"], 1000.0, "ms"),
    ]


def _million(requests: int, slice_s: float) -> Figures:
    serving, asking = processors()
    workload = one_input()
    chosen = {"ours": ours("Modelyard", "lean")}
    asked, sizes = 0.0, []
    with running_on(asking), started(chosen, workload, batches=(1,), on=serving, reader_on=asking) as servers:
        server, load = servers["ours"], Load(chosen["ours"].body(workload, 1), 16)
        server.resume()
        process = server.process_id
        began = time.monotonic()
        while asked < requests:
            asked += wrk.ask(server.url, load, seconds=slice_s).requests_s * slice_s
            sizes.append(resident_mb(process))
        took = time.monotonic() - began
    first = sizes[len(sizes) // 10]
    return {
        "million.requests": round(asked),
        "million.requests_s": round(asked / took),
        "million.first_mb": round(first, 1),
        "million.last_mb": round(sizes[-1], 1),
        "million.grown_mb": round(sizes[-1] - first, 2),
    }


def _connections(count: int, slice_s: float) -> Figures:
    load, shares = Load(sums((1, 2)), 16), []
    with ServedStand({SUMS: onnx_models.row_sum()}) as stand:
        url = f"http://127.0.0.1:{stand.port}/models/{SUMS}/predict"
        wrk.ask(url, load, seconds=1)
        kb_each = 0.0
        for _ in range(ROUNDS):
            alone = wrk.ask(url, load, seconds=slice_s).requests_s
            before = resident_mb(stand.process.pid)
            with _idle(stand.port, count):
                answer_ms = median(_answer_ms(stand.port) for _ in range(20))
                each_kb = (resident_mb(stand.process.pid) - before) * 1024 / count
                shares.append(wrk.ask(url, load, seconds=slice_s).requests_s / alone)
            kb_each = max(kb_each, each_kb)  # of the first round: later ones use its memory again
    return {
        "idle.connections": count,
        "idle.kb_each": round(kb_each, 2),
        "idle.answer_ms": round(answer_ms, 2),
        "idle.share": round(median(shares), 3),
    }


def _unread(count: int) -> Figures:
    text = "a" * 5_000_000
    with ServedStand({"echo": onnx_models.echo(("s", "string", [None]))}) as stand, contextlib.ExitStack() as stack:
        asked = request(f'{{"instances": ["{text}"]}}'.encode(), path="/models/echo/predict")
        before, most_mb, slowest_ms = resident_mb(stand.process.pid), 0.0, 0.0
        for place in range(count):
            caller = stack.enter_context(RawCaller(stand.port, receive_bytes=4096))
            caller.send(asked)
            if place % 10 == 0:
                slowest_ms = max(slowest_ms, _answer_ms(stand.port))
                most_mb = max(most_mb, resident_mb(stand.process.pid) - before)
    return {
        "unread.callers": count,
        "unread.grown_mb": round(most_mb, 1),
        "unread.answer_ms": round(slowest_ms, 2),
    }


def _swaps(seconds: float) -> Figures:
    models = {version: onnx_models.row_sum(version * 100_000) for version in (4, 5)}
    promoted = 0
    with (
        ServedStand({SUMS: onnx_models.row_sum()}, SERVER_WORKERS=2, REFRESH_S=0.4) as stand,
        Callers(stand.port, threads=CALLERS) as callers,
    ):
        ends = time.monotonic() + seconds
        killed = False
        while time.monotonic() < ends:
            promoted += 1
            version = 4 + promoted % 2
            promote(stand.bucket, SUMS, models[version], version=version, revision=promoted + 1)
            time.sleep(1.0)
            if not killed and time.monotonic() > ends - seconds / 2:
                os.kill(random.choice(workers_of(stand.process.pid)), signal.SIGKILL)  # noqa: S311 - no secret
                killed = True
        callers.stop()
    wrong = callers.wrong()
    return {
        "swaps.promoted": promoted,
        "swaps.answers": len(callers.asked) - len(wrong),
        "swaps.wrong": sum(one.status is not None for one in wrong),
        "swaps.broken": sum(one.status is None for one in wrong),
        "swaps.slowest_ms": round(1000 * max(one.took for one in callers.asked), 2),
    }


@contextlib.contextmanager
def _idle(port: int, count: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        yield


def _answer_ms(port: int) -> float:
    began = time.monotonic()
    with RawCaller(port) as caller:
        caller.send(PING)
        answer = caller.answer()
    if answer is None or answer.status != 200:
        raise SystemExit(f"the server does not answer a new caller: {answer}")
    return (time.monotonic() - began) * 1000


def _allow_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < CONNECTIONS + SPARE_FILES:
        raise SystemExit(f"A process may have {most} files here, and this needs {CONNECTIONS + SPARE_FILES}.")


if __name__ == "__main__":
    run("What a server holds out.", measure)
