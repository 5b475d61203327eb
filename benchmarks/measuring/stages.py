"""Where the time of a lean start goes: which imports, which threads, which requests, and when.

Starts of their own, in which every import statement and every thread is stamped from outside; nothing in the endpoint
knows of it. The stand-in for S3 stamps its requests by the same clock. One start is shown, the one whose time is the
median, so that the pieces belong together.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring.bucket import Bucket
from benchmarks.measuring.picture import Stretch, timeline
from benchmarks.measuring.starting import FUNCTION, Contestant, start
from benchmarks.measuring.table import table

_STAMPED = """
import time
_clock = time.monotonic
_interpreter = _clock()
import builtins, _thread
_marks, _import, _begin = [], builtins.__import__, _thread.start_new_thread
_main = _thread.get_ident()
def _stamped_import(name, globals=None, locals=None, fromlist=(), level=0):
    began = _clock()
    try:
        return _import(name, globals, locals, fromlist, level)
    finally:
        ended = _clock()
        if ended - began > 2e-5:
            whole = f"{name}.{fromlist[0]}" if fromlist else name
            _marks.append(("import", _thread.get_ident() == _main, whole, began, ended))
def _stamped_thread(function, arguments, *more):
    def stamped(*given):
        began = _clock()
        try:
            return function(*given)
        finally:
            name = getattr(getattr(function, "__self__", None), "name", None) or function.__name__
            _marks.append(("thread", False, name, began, _clock()))
    return _begin(stamped, arguments, *more)
builtins.__import__, _thread.start_new_thread = _stamped_import, _stamped_thread
"""


@dataclass
class Span:
    """One row: pieces (from, to) in ms since the process was made; ``at`` says on which thread."""

    name: str
    at: str
    pieces: list[tuple[float, float]]

    @property
    def ms(self) -> float:
        return sum(ended - began for began, ended in self.pieces)


def measure(
    python: Path, contestant: Contestant, environment: dict[str, str], bucket: Bucket, *, rounds: int, on: set[int]
) -> list[Span]:
    """The spans of the start with the median time."""
    program = FUNCTION.replace(
        'print("\\nanswered"',
        '_answered = _clock()\nprint("\\nmarks", (_interpreter, _imported, _answered, _marks))\nprint("answered"',
    ).replace("response = handler", "_imported = _clock()\nresponse = handler")
    stamped = Contestant(
        contestant.name, ["-c", _STAMPED + program, *contestant.arguments[2:]], contestant.path, contestant.answers
    )
    seen: list[tuple[float, list[Span]]] = []
    for _ in range(rounds + 1):
        bucket.requests()
        started = start(python, stamped, environment, resting={min(on)}, running=on)
        line = next(line for line in started.lines if line.startswith(b"marks"))
        stamps = ast.literal_eval(line.decode().partition(" ")[2])
        seen.append((started.wall, _spans(started.began, stamps, bucket.requests())))
    seen = sorted(seen[1:], key=lambda one: one[0])
    return seen[(len(seen) - 1) // 2][1]


def _spans(began: float, stamps: Any, requests: Sequence[tuple[str, str, float, float]]) -> list[Span]:
    interpreter, imported, answered, marks = stamps

    def ms(moment: float) -> float:
        return (moment - began) * 1000

    spans = [Span("start the interpreter", "main", [(0.0, ms(interpreter))])]
    imports = sorted((mark[3], mark[4], mark[2]) for mark in marks if mark[0] == "import" and mark[1])
    pieces: dict[str, list[tuple[float, float]]] = {}
    free = interpreter
    for moment, kind in _owners(imports, interpreter, imported):
        pieces.setdefault(kind, []).append((ms(free), ms(moment)))
        free = moment
    order = ["import ctypes", "import obstore", "import msgspec", "import standard library", "import modelyard", _REST]
    spans += [Span(name, "main", _merged(pieces[name])) for name in order if name in pieces]
    for kind, _, name, thread_began, ended in marks:
        if kind == "thread":
            spans.append(Span(_THREADS.get(name, name), "thread", [(ms(thread_began), ms(min(ended, answered)))]))
    for _, path, asked, there in requests:
        name = "S3: the pointer" if "/deployments/" in path else "S3: the model"
        spans.append(Span(name, "S3", [(ms(asked), ms(there))]))
    spans.append(Span("first request", "main", [(ms(imported), ms(answered))]))
    return spans


_REST = "make the S3 client, wait"
_THREADS = {
    "_load_library": "load libonnxruntime",
    "_fetch": "fetch the pointer",
    "pointer": "fetch the model, make the session",
}
"""What the endpoint's threads do, by the name of the thread or of its function; another one is shown by its name."""


def _owners(imports: list[tuple[float, float, str]], begin: float, end: float) -> list[tuple[float, str]]:
    """The main thread's time cut into pieces: until when, and what it was spent on; the innermost import counts."""
    cuts: list[tuple[float, str]] = []
    held: list[tuple[float, str]] = []

    def cut(moment: float) -> None:
        cuts.append((min(moment, end), held[-1][1] if held else _REST))

    for began, ended, name in imports:
        if began < begin or began >= end:
            continue
        while held and held[-1][0] <= began:
            cut(held[-1][0])
            held.pop()
        cut(began)
        held.append((ended, _kind(name, [kind for _, kind in held])))
    while held:
        cut(held[-1][0])
        held.pop()
    cut(end)
    return cuts


def _kind(name: str, within: list[str]) -> str:
    """What an import counts as: what one of the three big packages imports is its cost."""
    root = name.partition(".")[0]
    for package in ("obstore", "msgspec", "ctypes"):
        if root == package or f"import {package}" in within:
            return f"import {package}"
    if root in ("modelyard", "predict"):
        # The start itself runs inside `import predict`, so what is not an import of it is the rest.
        return _REST if root == "predict" else "import modelyard"
    return "import standard library"


def _merged(pieces: list[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for began, ended in pieces:
        if ended - began < 0.02:
            continue
        if merged and began - merged[-1][1] < 0.05:
            merged[-1] = (merged[-1][0], ended)
        else:
            merged.append((began, ended))
    return merged or pieces[:1]


def report(spans: list[Span]) -> str:
    """The stages as a table."""
    rows = [
        [span.name, span.at, f"{span.pieces[0][0]:.1f}", f"{span.pieces[-1][1]:.1f}", f"{span.ms:.1f}"]
        for span in spans
    ]
    return table(["a lean start", "thread", "from ms", "to ms", "ms"], rows)


def picture(spans: list[Span]) -> str:
    """The stages over time."""
    colours = {"main": "ours", "S3": "third"}
    rows = [Stretch(span.name, span.pieces, f"{span.ms:.1f}", colours.get(span.at, "second")) for span in spans]
    end = max(span.pieces[-1][1] for span in spans)
    return timeline("A lean start, ms", rows, end=end, unit="ms")
