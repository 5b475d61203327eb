"""A new process until its first answer: its time by the clock and on the processors.

Lambda's runtime client is not part of it: a few lines stand for it that import the function, hand it one event and
write down the answer. They use what the interpreter has built in, so nobody's imports are paid for by them.
"""

import json
import marshal
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FUNCTION = """
import marshal, sys
with open(sys.argv[2], "rb") as file:
    event = marshal.load(file)
context = type(sys.implementation)(
    aws_request_id="8f5f1c1e-0c5e-4f0e-9d0a-6b1f0e9c2d11", function_name="predict", function_version="1",
    invoked_function_arn="arn:aws:lambda:eu-west-1:111122223333:function:predict", memory_limit_in_mb=1769,
    get_remaining_time_in_millis=lambda: 9000,
)
handler = __import__(sys.argv[1]).handler
response = handler(event, context)
print("\\nanswered", response["statusCode"], response["body"], flush=True)
sys.stdin.read()
"""


@dataclass
class Contestant:
    """Something that starts.

    Attributes:
        name: In tables.
        arguments: Of the interpreter.
        path: Its ``PYTHONPATH``.
        answers: Whether what it writes after ``answered`` is an HTTP status and a body that has to be right.
    """

    name: str
    arguments: list[str]
    path: list[Path]
    answers: bool = True


@dataclass
class Start:
    """One start, in seconds."""

    wall: float
    cpu: float
    began: float
    lines: list[bytes]


def start(
    python: Path, contestant: Contestant, environment: dict[str, str], *, resting: set[int], running: set[int]
) -> Start:
    """Start it, wait for its answer, end it.

    The clock runs from before the process is made until ``answered`` is read. Processor time is that of the whole
    process, so it ends with the answer: the process then waits until it is killed.

    Args:
        python: The interpreter.
        contestant: What to start.
        environment: All variables but ``PYTHONPATH``.
        resting: Processors of this process, before and after.
        running: Processors of the child. A child has those of its parent, so this one moves there to make it, which
            costs it nothing, where a ``preexec_fn`` would make the fork slow.
    """
    command = [str(python), *contestant.arguments]
    variables = {**environment, "PYTHONPATH": os.pathsep.join(map(str, contestant.path))}
    _move(running)
    began = time.monotonic()
    process = subprocess.Popen(
        command, env=variables, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _move(resting)
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - PIPE was asked for
    lines, ended = [], None
    for line in process.stdout:
        lines.append(line)
        if line.startswith(b"answered"):
            ended = time.monotonic()
            break
    process.kill()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    said = process.stderr.read().decode(errors="replace")
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    if ended is None:
        raise SystemExit(f"{contestant.name} ended without an answer:\n{said[-3000:]}")
    return Start(ended - began, usage.ru_utime + usage.ru_stime, began, lines)


def answer_of(found: Start) -> tuple[int, Any]:
    """Status and body of what a function answered."""
    _, status, body = found.lines[-1].decode().split(" ", 2)
    return int(status), json.loads(body)


def write_event(event: dict[str, Any], path: Path) -> Path:
    """Leave an event where `FUNCTION` reads it."""
    path.write_bytes(marshal.dumps(event))
    return path


def _move(processors: set[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, processors)
