"""How long after ``modelyard rollback`` the old version still answers, while callers go on asking.

On the local AWS that ``make up`` started, with the real command in a process of its own and callers on as many
connections as there are threads. Each round promotes one version, lets every environment of the function come to it,
then rolls back. Told are the seconds from the start of the command, and from its end, to the last answer that names
the version that was taken back. No request may fail.

The claim: from the end of the command, less than ``endpoint.refresh_s`` + 1 s, in every round.

    python benchmarks/rollout/rollback.py [--quick] [--json]

It promotes and rolls back ``digits``, and registers a second version of it where there is only one.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import onnx

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from benchmarks.measuring.script import Claim, Result, run  # noqa: E402
from benchmarks.measuring.table import table  # noqa: E402
from modelyard.aws.signed import call  # noqa: E402
from modelyard.cli.session import Session  # noqa: E402

MODEL = "digits"
CALLERS = 8
ROUNDS, QUICK_ROUNDS = 7, 1
MARGIN_S = 1.0
PAUSE_S = 0.01


@dataclass
class Answers:
    """What callers got: when, and from which version; 0 for a request that failed."""

    got: list[tuple[float, int]] = field(default_factory=list)

    def last(self, version: int) -> float:
        """When that version answered last."""
        return max(at for at, answered in self.got if answered == version)

    @property
    def failed(self) -> int:
        return sum(not version for _, version in self.got)


def measure(quick: bool) -> Result:
    session = Session("local", start=PROJECT)
    refresh_s = session.model(MODEL).spec.endpoint.refresh_s
    old, new = _two_versions(session)
    rows, from_start, from_end, failed, asked = [], [], [], 0, 0
    with _asking(session) as answers:
        for number in range(QUICK_ROUNDS if quick else ROUNDS):
            _modelyard("promote", MODEL, str(new), "--reason", "benchmark")
            time.sleep(refresh_s + MARGIN_S)
            answers.got.clear()
            began = time.monotonic()
            _modelyard("rollback", MODEL, "--reason", "benchmark")
            ended = time.monotonic()
            time.sleep(refresh_s + 2 * MARGIN_S)
            found = Answers(list(answers.got))
            if {version for _, version in found.got if version} != {old, new}:
                raise SystemExit(f"round {number}: answers came from {sorted({one for _, one in found.got})}")
            last = found.last(new)
            from_start.append(last - began)
            from_end.append(last - ended)
            failed += found.failed
            asked += len(found.got)
            rows.append([number + 1, f"{last - began:.2f}", f"{last - ended:.2f}", f"{len(found.got):,}", found.failed])
    columns = ["round", "s from its start", "s from its end", "requests", "failed"]
    note = (
        f"{CALLERS} callers, refresh_s = {refresh_s:g}. A rollback is one write; environments of the function see it "
        "at their next look at the pointer."
    )
    figures = {
        "s from start, worst": max(from_start),
        "s from end, worst": max(from_end),
        "s from end, median": statistics.median(from_end),
        "failed": failed,
        "requests": asked,
        "refresh_s": refresh_s,
    }
    claims = [
        Claim("the old version's last answer after the rollback", max(from_end), refresh_s + MARGIN_S, "s"),
        Claim("failed requests", failed, 0, ""),
    ]
    return Result(f"{table(columns, rows)}\n\n{note}", figures, claims)


def _two_versions(session: Session) -> tuple[int, int]:
    """The live version, and another one."""
    numbers = [version.number for version in session.registry.versions(MODEL, limit=2).items]
    if len(numbers) < 2:
        folder = PROJECT / "models" / MODEL
        model = onnx.load(next(folder.glob("*.onnx")))
        model.doc_string = "the same model under another digest"
        with tempfile.TemporaryDirectory() as scratch:
            onnx.save(model, Path(scratch) / "model.onnx")
            _modelyard("register", MODEL, str(Path(scratch) / "model.onnx"))
        numbers = [version.number for version in session.registry.versions(MODEL, limit=2).items]
    live = session.registry.deployment(MODEL)
    if live is None:
        raise SystemExit(f"{MODEL} has no live version; run 'make up' first")
    return live.champion, next(number for number in numbers if number != live.champion)


@contextmanager
def _asking(session: Session) -> Iterator[Answers]:
    """Callers who ask on and on."""
    body = json.loads((PROJECT / "models" / MODEL / "example.json").read_text())
    url, clients, answers, stop = session.predict_url(MODEL), session.clients, Answers(), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = call(clients, "POST", url, body)
            version = answer.body["version"] if answer.status == 200 else 0
            answers.got.append((time.monotonic(), version))
            time.sleep(PAUSE_S)

    callers = [threading.Thread(target=ask, daemon=True) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield answers
    finally:
        stop.set()
        for caller in callers:
            caller.join(30)


def _modelyard(*arguments: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "modelyard", *arguments],
        cwd=PROJECT, env=dict(os.environ), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if ended.returncode != 0:
        raise SystemExit(f"modelyard {' '.join(arguments)}: {ended.stderr}")


if __name__ == "__main__":
    run(__doc__.splitlines()[0], measure)
